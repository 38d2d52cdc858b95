import json

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from modeling_pamela.cli.data import data_app
from modeling_pamela.data.files import DataError
from modeling_pamela.evaluation.variance import taste_variance


@pytest.fixture
def table():
    rng = np.random.default_rng(0)
    users, images = (index.ravel() for index in np.indices((8, 6)))
    rows = pd.DataFrame(
        {"user_id": [f"u{user}" for user in users], "image_id": images, "rating": rng.integers(1, 8, 48)}
    )
    return pd.concat([rows, rows.assign(rating=rng.integers(1, 8, 48))])


def invoke(*arguments):
    return CliRunner().invoke(data_app, ["taste-variance", *map(str, arguments), "--draws", "20"])


def test_a_table_with_repeated_ratings(table, tmp_path):
    table.to_csv(tmp_path / "ratings.csv", index=False)
    run = invoke(tmp_path / "ratings.csv", "--json")
    assert run.exit_code == 0, run.output
    expected = taste_variance(table["user_id"], table["image_id"], table["rating"], n=20)
    assert json.loads(run.output)["taste"]["mean"] == pytest.approx(expected.taste.mean)
    assert "48 of them repeated" in invoke(tmp_path / "ratings.csv").output


def test_a_data_folder_without_any(taste_folder):
    run = invoke(taste_folder.path)
    assert run.exit_code == 0, run.output
    assert "1,152 ratings of 48 pictures by 24 people, 0 of them repeated" in run.output
    assert "person x picture and noise together" in run.output


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda table: table.drop(columns="rating"), r"lacks the columns \['rating'\]"),
        (lambda table: table.assign(rating=[None, *table["rating"][1:]]), "1 rows of .* the first is row 1"),
        (lambda table: table[:1], "cannot be told apart"),
    ],
)
def test_bad_tables(table, tmp_path, change, message):
    change(table).to_csv(tmp_path / "bad.csv", index=False)
    with pytest.raises(DataError, match=message):
        CliRunner().invoke(data_app, ["taste-variance", str(tmp_path / "bad.csv")], catch_exceptions=False)


def test_names_are_text(table, tmp_path):
    names = {"u0": "7", "u1": "007"}
    table.assign(user_id=table["user_id"].map(lambda name: names.get(name, f"9{name[1:]}"))).to_csv(
        tmp_path / "ratings.csv", index=False
    )
    assert "by 8 people, 48 of them repeated" in invoke(tmp_path / "ratings.csv").output
