"""Every table on a small data folder with small real models."""

import numpy as np
import pyarrow as pa
import pytest

from modeling_pamela.data.files import DataError
from modeling_pamela.evaluation import factorisation, methods
from modeling_pamela.evaluation.bench import table3, table4
from modeling_pamela.evaluation.bench.diverging import diverging_report, write_conflicts
from modeling_pamela.evaluation.bench.margins import margin_report
from modeling_pamela.evaluation.bench.study import study_report
from modeling_pamela.evaluation.bench.table2 import rewards_report
from modeling_pamela.evaluation.methods import Methods
from modeling_pamela.evaluation.metrics import user_pairwise_accuracy
from modeling_pamela.evaluation.protocol import evaluate_scorer, predict, seen_cases, unseen_cases
from modeling_pamela.training.recipes import RECIPES
from modeling_pamela.training.trainer import train


pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def known(taste_folder, posterior, token):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(methods, "RIDGE_BANDWIDTHS", (None,))
        patch.setattr(factorisation, "RANKS", (4,))
        patch.setattr(factorisation, "MAP_PENALTIES", (10.0,))
        yield Methods(taste_folder, posterior, token)


@pytest.fixture(scope="module")
def cases(taste_folder):
    return unseen_cases(taste_folder, "test_unseen")


def test_accuracy_rises_with_the_margin(known, cases):
    report, figure = margin_report([known.population, known.posterior], cases, 15, margins=(0.0, 0.3, 0.6))
    ours = [row for row in report.rows if row["method"] == "posterior"]
    assert [row["margin"] for row in ours] == [0.0, 0.3, 0.6]
    assert ours[0]["accuracy"] < ours[-1]["accuracy"]
    found = predict(known.posterior, cases, 15)
    expected = user_pairwise_accuracy(found.predictions, found.references, found.case, 0.3).mean
    assert ours[1]["accuracy"] == pytest.approx(expected)
    assert len(figure.axes[0].lines) == 3


def test_a_population_score_is_right_half_of_the_time_where_people_disagree(taste_folder, known, cases, tmp_path):
    splits = {"test_seen": seen_cases(taste_folder, "test_seen"), "test_unseen": cases}
    report = diverging_report([known.population, known.posterior], splits, None)
    by_row = {(row["split"], row["method"]): row for row in report.rows}
    for split in splits:
        assert by_row[split, "population"]["pooled"] == pytest.approx(0.5)
        assert by_row[split, "posterior"]["pooled"] > 0.5
    assert by_row["test_seen", "posterior"]["paper, as published"] == 0.6144
    page = write_conflicts(tmp_path / "fig10.html", taste_folder, known.posterior, cases, 15, number=3).read_text()
    assert page.count("data:image/jpeg") == 12
    assert "Conflict 3" in page


def test_rewards_side_by_side(taste_folder, known, cases):
    scorers = [(known.oracle, 0), (known.population, 0), (known.token, 15), (known.posterior, 15)]
    report = rewards_report(taste_folder, scorers, cases)
    ours = report.rows[3]
    assert ours["user SROCC"] == pytest.approx(evaluate_scorer(known.posterior, cases, 15).srocc.mean())
    assert 0 < ours["avg SROCC"] <= 1
    published = [row for row in report.rows if row["source"].startswith("as published")]
    assert {row["method"]: row["user SROCC"] for row in published}["HPSv3"] == 0.4019
    # The oracle is a yardstick, not a competitor.
    assert "(population) predicts the average person" in report.text


def test_inputs_left_out(taste_folder, tmp_path, monkeypatch):
    monkeypatch.setattr(
        table3, "ABLATIONS", {name: table3.ABLATIONS[name] for name in ("full", "no text", "no participant")}
    )
    trained = []

    def train_one(folder, fields, directory):
        trained.append(fields)
        recipe = RECIPES["posterior"]
        config = recipe.config(
            image_projection_dim=6,
            text_projection_dim=4,
            profile_projection_dim=3,
            num_learned_directions=16,
            num_free_image_directions=8,
            num_free_text_directions=4 if fields.get("use_text", True) else 0,
            **fields,
        )
        return train(folder, config, directory, **recipe.training())

    report, figure = table3.ablation_report([taste_folder], train_one, tmp_path)
    rows = {row["inputs"]: row for row in report.rows}
    assert rows["no participant"]["unseen"] < rows["full"]["unseen"]
    assert rows["full"]["gap"] == pytest.approx(rows["full"]["seen"] - rows["full"]["unseen"])
    assert len(figure.axes[0].get_yticks()) == 3
    again, _ = table3.ablation_report([taste_folder], train_one, tmp_path)
    assert again.rows == report.rows
    assert len(trained) == 3


def test_the_grid_tests_only_what_validation_chose(taste_folder, known, cases, monkeypatch):
    monkeypatch.setattr(table4, "CONTEXTS", (5, 15))
    monkeypatch.setattr(table4, "TEMPERATURES", (0.1,))
    monkeypatch.setattr(table4, "NEIGHBOURS", (1, 5))
    validation = unseen_cases(taste_folder, "val_unseen")
    report, _ = table4.grid_report(known, validation, cases)
    assert len(report.rows) == 2 * 2 + 2 + 2
    tested = [row for row in report.rows if row["test"] is not None]
    assert {(row["N"], row["K"]) for row in tested} >= {(15, 5)}
    best = max((row for row in report.rows if row["method"] == "posterior"), key=lambda row: row["validation"])
    assert best["test"] is not None
    of_setting = next(row for row in report.rows if (row["N"], row["K"]) == (5, 1))
    expected = evaluate_scorer(known.token.with_neighbours(1, 0.1), validation, 5).srocc.mean()
    assert of_setting["validation"] == pytest.approx(expected)


def pairs(choices, left="own", right="other"):
    number = len(choices)
    return pa.table(
        {
            "user_id": [f"user {index % 5}" for index in range(number)],
            "choice": choices,
            "left_condition": [left] * number,
            "right_condition": [right] * number,
        }
    )


def test_study():
    table = pa.concat_tables([pairs(["left"] * 30 + ["right"] * 10 + ["tie"] * 4), pairs(["left"] * 3, "own", "own")])
    report, _ = study_report(table, draws=100)
    assert [row["condition"] for row in report.rows] == ["own", "other"]
    assert np.mean([row["Elo"] for row in report.rows]) == pytest.approx(1000)
    assert "3 comparisons without two different conditions" in report.text


@pytest.mark.parametrize(
    ("table", "message"),
    [(pairs(["left"] * 3, "own", "own"), "two different conditions"), (pairs(["left"] * 3), "not connected")],
)
def test_a_study_that_says_nothing(table, message):
    with pytest.raises(DataError, match=message):
        study_report(table, draws=10)
