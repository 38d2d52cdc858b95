"""The `evaluate` modules, loaded as anybody would."""

from pathlib import Path

import evaluate
import numpy as np
import pytest

import modeling_pamela
from modeling_pamela.evaluation.bradley_terry import elo_scores
from modeling_pamela.evaluation.metrics import average_spearman, user_pairwise_accuracy, user_spearman


FOLDER = Path(modeling_pamela.__file__).parent / "metrics"


def test_personalized_preference():
    metric = evaluate.load(str(FOLDER / "personalized_preference"))
    rng = np.random.default_rng(0)
    predictions, references = rng.random(60), rng.integers(1, 8, 60)
    users = [f"user {number}" for number in np.arange(60) % 7] + ["lonely"]
    predictions, references = [*predictions, 0.5], [*references, 4]
    items = [f"item {number}" for number in np.arange(61) % 11]
    results = metric.compute(predictions=predictions, references=references, user_ids=users, item_ids=items, margin=2)
    assert results["user_srocc"] == pytest.approx(user_spearman(predictions, references, users).mean)
    assert results["avg_srocc"] == pytest.approx(average_spearman(predictions, references, items))
    expected = user_pairwise_accuracy(predictions, references, users, margin=2).mean
    assert results["user_pairwise_accuracy"] == pytest.approx(expected)
    assert (results["num_users"], results["num_users_skipped"]) == (7, 1)
    without_items = metric.compute(predictions=predictions, references=references, user_ids=users)
    assert "avg_srocc" not in without_items


def test_personalized_preference_in_batches():
    metric = evaluate.load(str(FOLDER / "personalized_preference"))
    metric.add_batch(predictions=[0.1, 0.2], references=[1, 2], user_ids=["a", "a"])
    metric.add_batch(predictions=[0.3], references=[3], user_ids=["a"])
    assert metric.compute()["user_srocc"] == pytest.approx(1.0)


def test_personalized_preference_refuses_nan():
    metric = evaluate.load(str(FOLDER / "personalized_preference"))
    with pytest.raises(ValueError, match="NaN"):
        metric.compute(predictions=[float("nan"), 1.0], references=[1, 2], user_ids=["a", "a"])


def test_preference_ranking():
    metric = evaluate.load(str(FOLDER / "preference_ranking"))
    choices, left, right = ["left", "left", "right", "tie"], ["own"] * 4, ["other"] * 4
    results = metric.compute(choices=choices, left=left, right=right, n=50)
    scores = elo_scores(left, right, choices, n=50)
    assert results["ranking"] == scores.conditions == ["own", "other"]
    assert results["elo"]["own"] == pytest.approx(scores.elo[0])
    by_people = metric.compute(choices=choices * 5, left=left * 5, right=right * 5, user_ids=list("abcde") * 4)
    assert by_people["elo"] == pytest.approx(results["elo"])
