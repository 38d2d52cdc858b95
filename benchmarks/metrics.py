"""
Speed of the metrics, as ratios to plain ways of computing the same values in the same run.

    python benchmarks/metrics.py

1,000,000 ratings of 5,000 people, all user metrics with 1,000 bootstrap draws each; Spearman correlation against a loop over
`scipy.stats.spearmanr`; pairwise accuracy against a double loop in Python and against the n x n form in numpy. Ratings and predictions
are random, with ties; equality with the peers is asserted.
"""

import time
from collections.abc import Callable
from typing import Any

import numpy as np
from scipy.stats import spearmanr

from modeling_pamela.evaluation.bootstrap import bootstrap_mean
from modeling_pamela.evaluation.errors import user_absolute_error, user_squared_error
from modeling_pamela.evaluation.metrics import user_kendall, user_pairwise_accuracy, user_pearson, user_spearman
from modeling_pamela.evaluation.ranking import user_ndcg, user_top_regret


METRICS = (
    user_spearman,
    user_pearson,
    user_kendall,
    user_pairwise_accuracy,
    user_ndcg,
    user_top_regret,
    user_squared_error,
    user_absolute_error,
)


def data(people: int, ratings_each: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    size = people * ratings_each
    users = rng.permutation(np.repeat(np.arange(people), ratings_each))
    references = rng.integers(1, 8, size) / 7
    return np.round(references + rng.normal(0, 0.5, size), 2), references, users


def seconds(function: Callable[[], Any], repeats: int = 3) -> tuple[float, Any]:
    """Best of some runs, and the result."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        result = function()
        times.append(time.perf_counter() - start)
    return min(times), result


def double_loop(predictions: np.ndarray, references: np.ndarray) -> float:
    p, r = predictions.tolist(), references.tolist()
    points = pairs = 0.0
    for i in range(len(r)):
        for j in range(len(r)):
            if r[i] > r[j]:
                pairs += 1
                points += 1.0 if p[i] > p[j] else 0.5 if p[i] == p[j] else 0.0
    return points / pairs


def square_form(predictions: np.ndarray, references: np.ndarray) -> float:
    counts = references[:, None] > references
    right = predictions[:, None] > predictions
    tied = predictions[:, None] == predictions
    return ((right & counts).sum() + 0.5 * (tied & counts).sum()) / counts.sum()


def main() -> None:
    predictions, references, users = data(5000, 200)
    total = 0.0
    print("1,000,000 ratings of 5,000 people, each metric with 1,000 bootstrap draws:")
    for metric in METRICS:

        def judged(metric: Any = metric) -> Any:
            found = metric(predictions, references, users)
            return bootstrap_mean(found.values, found.user_ids)

        spent, _ = seconds(judged, repeats=1)
        total += spent
        print(f"  {metric.__name__}: {spent:.2f} s")
    print(f"  all: {total:.2f} s")

    predictions, references, users = data(2000, 50)
    order = np.argsort(users, kind="stable").reshape(2000, 50)
    ours, found = seconds(lambda: user_spearman(predictions, references, users).values)
    theirs, expected = seconds(
        lambda: [spearmanr(predictions[rows], references[rows]).statistic for rows in order], repeats=1
    )
    assert np.allclose(found, expected)
    print(f"user Spearman, 2,000 people x 50 ratings: {theirs / ours:.0f}x a loop over scipy.stats.spearmanr")

    predictions, references, users = data(20, 1000)
    order = np.argsort(users, kind="stable").reshape(20, 1000)
    ours, found = seconds(lambda: user_pairwise_accuracy(predictions, references, users).values)
    for name, function in (("a double loop in Python", double_loop), ("the n x n form in numpy", square_form)):
        theirs, expected = seconds(lambda: [function(predictions[r], references[r]) for r in order], repeats=1)  # noqa: B023
        assert found.tolist() == expected, "the last digit counts"
        print(f"user pairwise accuracy, 20 people x 1,000 ratings: {theirs / ours:.1f}x {name}")


if __name__ == "__main__":
    main()
