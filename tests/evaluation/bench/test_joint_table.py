"""Joint against single training on two small sets, and the spread of scores over people."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from modeling_pamela.cli.bench import bench_app
from modeling_pamela.evaluation.bench.joint import joint_report, score_spread
from modeling_pamela.training.recipes import RECIPES
from modeling_pamela.training.trainer import train


pytestmark = pytest.mark.usefixtures("one_thread")


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3), st.floats(0, 1)), min_size=1))
def test_spread_is_what_a_loop_counts(rows):
    by_picture = {}
    for user, image, value in rows:
        by_picture.setdefault(image, {}).setdefault(user, []).append(value)
    stds = [np.std([np.mean(v) for v in people.values()]) for people in by_picture.values() if len(people) > 1]
    users, images, values = (np.array(column) for column in zip(*rows, strict=True))
    assert score_spread(users, images, values) == pytest.approx(np.mean(stds) if stds else 0.0, abs=1e-9)


@pytest.mark.parametrize("recipe", ["posterior", "token"])
def test_two_sets_alike(taste_folder, official_folder, tmp_path, recipe):
    trained = []

    def train_one(folder, directory):
        trained.append(directory.name.split("-")[0])
        chosen = RECIPES[recipe]
        config = chosen.config(
            image_projection_dim=6,
            text_projection_dim=4,
            profile_projection_dim=3,
            **(
                {"num_learned_directions": 16, "num_free_image_directions": 8, "num_free_text_directions": 4}
                if recipe == "posterior"
                else {"hidden_size": 8, "intermediate_size": 8, "num_attention_heads": 2}
            ),
        )
        return train(folder, config, directory, **chosen.training(num_epochs=1))

    report, figure = joint_report([taste_folder, official_folder], train_one, tmp_path, 3, "query")
    assert trained == ["split", "data", "jointly"]
    assert [(row["data set"], row["trained"]) for row in report.rows] == [
        ("split", "alone"),
        ("split", "jointly"),
        ("data", "alone"),
        ("data", "jointly"),
    ]
    first, second = report.rows[1], report.rows[3]
    assert first["gain"] == pytest.approx(first["user SROCC"] - report.rows[0]["user SROCC"])
    assert all(row["share of the ratings' spread"] > 0 for row in report.rows)
    if recipe == "posterior":
        # The two sets hold the same ratings.
        assert first["user SROCC"] == pytest.approx(second["user SROCC"], abs=0.02)
        assert abs(first["gain"]) < 0.1
    assert len(figure.axes[0].get_yticks()) == 2
    again, _ = joint_report([taste_folder, official_folder], train_one, tmp_path, 3, "query")
    assert len(trained) == 3
    for old, new in zip(report.rows, again.rows, strict=True):
        assert new["user SROCC"] == pytest.approx(old["user SROCC"], abs=1e-6)


def test_one_set_is_not_joint(taste_folder):
    run = CliRunner().invoke(bench_app, ["joint", str(taste_folder.path)])
    assert run.exit_code == 2
    assert "two data folders or more" in run.output
