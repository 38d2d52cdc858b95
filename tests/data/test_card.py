import re

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import pearsonr
from typer.testing import CliRunner

from modeling_pamela.cli.data import data_app
from modeling_pamela.data.card import QUESTIONS, agreement, render_card, theme_column, update_card
from modeling_pamela.data.folder import DataFolder, write_card
from modeling_pamela.data.splits import SplitOptions, split_folder
from modeling_pamela.data.validate import validate_folder


@given(seed=st.integers(0, 1000), share=st.floats(0.3, 1))
def test_agreement_is_scipys_correlation_with_the_others(seed, share):
    rng = np.random.default_rng(seed)
    table = pd.DataFrame([(u, i, rng.normal() + i) for u in range(4) for i in range(12) if rng.random() < share])
    table.columns = ["user", "image", "rating"]
    expected = []
    for user, rows in table.groupby("user"):
        others = table[table["user"] != user].groupby("image")["rating"].mean()
        rows = rows[rows["image"].isin(others.index)]
        if len(rows) >= 5:
            expected.append(pearsonr(rows["rating"], others[rows["image"]]).statistic)
    found = agreement(*(table[name].to_numpy() for name in ("user", "image", "rating")))
    np.testing.assert_allclose(found, expected, atol=1e-9)


def test_agreement_leaves_out_who_does_not_tell_pictures_apart():
    users, images = np.repeat([0, 1, 2], 6), np.tile(np.arange(6), 3)
    ratings = np.concatenate([np.full(6, 3.0), np.arange(6.0), np.arange(6.0) * 2])
    assert len(agreement(users, images, ratings)) == 2


@pytest.fixture
def split(folder):
    options = SplitOptions(0, test_users=3, val_users=2, test_pictures=3, val_pictures=3, group="set")
    split_folder(folder, SplitOptions(**(vars(options) | {"max_query_context": 2, "min_queries": 2})))
    return folder


def test_counts_come_from_the_data(split):
    data = DataFolder(split)
    text = render_card(data, None)
    assert "12 people gave 240 ratings of 20 pictures on a scale from 1 to 5" in text
    for name in data.splits:
        rows = data.table("ratings", name).to_pandas()
        counts = f"| `{name}` | {len(rows)} | {rows['user_id'].nunique()} | {rows['image_id'].nunique()} |"
        assert counts in text
    everything = pd.concat([data.table("ratings", name).to_pandas() for name in data.splits])
    everything = everything.merge(data.images.select(["image_id", "set"]).to_pandas())
    for name, rows in everything.groupby("set"):
        assert f"| {name} | 10 | 120 | {rows['rating'].mean():.2f} | {rows['rating'].std():.2f} |" in text
    assert "| age | 20-29 10 · rare 2 |" in text
    assert "| gender | rare 8 · not stated 4 |" in text
    assert "| `rating_norm` | float64 | (rating - low) / (high - low): 0 to 1. |" in text
    assert "| `year` | int64 | As in the source. |" in text
    assert "| `rating_ids` | list of int64 |" in text
    assert "![" not in text


def test_every_table_is_well_formed(split):
    update_card(split)
    tables = re.findall(r"(?:^\|.*\|\n)+", (split / "README.md").read_text(), re.MULTILINE)
    assert len(tables) == 10
    for table in tables:
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in table.splitlines()}) == 1, table


def test_what_is_not_known_is_said_to_be_missing(split):
    text = render_card(DataFolder(split), None)
    for key in ["license", "pamela.source", "pamela.source.citation", *(f"pamela.{key}" for key in QUESTIONS)]:
        assert f"states it as `{key}`" in text
    metadata = DataFolder(split).metadata | {"license": "cc-by-4.0", "pretty_name": "Tiny"}
    metadata["pamela"] |= {
        "anchors": [[1, "bad"], [5, "good|best"]],
        "source": {"name": "A study", "url": "https://example.org", "citation": "@misc{study}"},
        "limits": ["Only noise."],
    } | dict.fromkeys(QUESTIONS, "As stated.")
    write_card(split, metadata)
    text = render_card(DataFolder(split), None)
    assert "Not stated by the source" not in text
    assert text.startswith("# Tiny\n")
    for expected in (
        "cc-by-4.0",
        "A study https://example.org",
        "```bibtex\n@misc{study}\n```",
        "- Only noise.",
        "good\\|best",
    ):
        assert expected in text


def test_update_keeps_the_front_matter_and_gives_the_same_bytes(split):
    before = DataFolder(split).metadata
    run = CliRunner().invoke(data_app, ["card", str(split)])
    assert run.exit_code == 0, run.output
    names = ["agreement.png", "pictures.png", "ratings.png", "themes.png"]
    assert sorted(file.name for file in (split / "assets").iterdir()) == names
    text = (split / "README.md").read_text()
    assert all(f"](assets/{name})" in text for name in names)
    files = {name: (split / "assets" / name).read_bytes() for name in names}
    update_card(split)
    assert (split / "README.md").read_text() == text
    assert files == {name: (split / "assets" / name).read_bytes() for name in names}
    assert DataFolder(split).metadata == before
    assert validate_folder(split).violations == []


def test_without_themes_or_demographics(folder):
    for file, columns in [
        ("images/train-00000-of-00001.parquet", ["set"]),
        ("users/train.parquet", ["age", "gender"]),
    ]:
        pq.write_table(pq.read_table(folder / file).drop(columns), folder / file)
    assert theme_column(DataFolder(folder)) is None
    update_card(folder)
    text = (folder / "README.md").read_text()
    assert "The pictures have no column of themes." in text
    assert "Nothing but their ratings is known of the people." in text
    assert "Row by row from pictures with a low mean rating" in text
    assert "| `train` | 240 | 12 | 20 | not split yet |" in text


def test_missing_themes_and_a_single_rating(folder):
    table = pq.read_table(folder / "images/train-00000-of-00001.parquet")
    theme = pa.array([None if i % 3 else "a | b" for i in range(20)], pa.string())
    table = table.set_column(table.column_names.index("set"), "set", theme)
    pq.write_table(table, folder / "images/train-00000-of-00001.parquet")
    ratings = pq.read_table(folder / "ratings/train.parquet")
    pq.write_table(ratings.slice(0, 1), folder / "ratings/train.parquet")
    update_card(folder)
    text = (folder / "README.md").read_text()
    assert "| a \\| b | 7 | 1 |" in text
    assert "- Pictures with fewer than 5 ratings, so that their mean says little: 1." in text
    assert "- Pictures without a rating: 19." in text
    assert "- People without a rating: 11." in text
    assert "Too few pictures were rated by several people" in text
    assert "nan" not in text
