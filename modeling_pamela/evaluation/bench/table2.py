"""Rewards side by side, judged on single people and on picture means (PAMELA, Table 2)."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from ...data.folder import DataFolder
from ..baselines import CrowdOracle
from ..bootstrap import bootstrap_mean
from ..ceilings import RetestCeiling
from ..metrics import average_pairwise_accuracy, average_pearson, average_spearman
from ..protocol import Case, PersonalScorer, Predictions, judge, predict
from ..report import Report
from .methods import retest_row


__all__ = ["PUBLISHED", "rewards_report"]

# The paper's Table 2, test_unseen of PAMELA: user SROCC of each reward, and all six metrics of the paper's model.
PUBLISHED = {
    "LAION": {"user SROCC": 0.1516},
    "Q-Align IQA": {"user SROCC": 0.2497},
    "Q-Align Aesthetics": {"user SROCC": 0.2677},
    "ImageReward": {"user SROCC": 0.2841},
    "DeQA": {"user SROCC": 0.2371},
    "HPSv3": {"user SROCC": 0.4019},
    "PAMELA": {
        "user SROCC": 0.4514,
        "user PLCC": 0.4722,
        "user pairwise": 0.6631,
        "avg SROCC": 0.5269,
        "avg PLCC": 0.6116,
        "avg pairwise": 0.6798,
    },
}


def rewards_report(
    folder: DataFolder,
    scorers: Sequence[tuple[PersonalScorer, int | None]],
    cases: Sequence[Case],
    retest: RetestCeiling | None = None,
) -> Report:
    """
    All scorers on the same queries.

    Args:
        folder ([`~modeling_pamela.data.folder.DataFolder`]): What is judged on.
        scorers (sequence of scorer and context size): Methods; a size of 0 for what sees no rating of the person, `None` for all.
        cases (sequence of [`~modeling_pamela.evaluation.protocol.Case`]): Whom to judge on.
        retest ([`~modeling_pamela.evaluation.ceilings.RetestCeiling`], *optional*): From people who rated twice.

    Returns:
        [`~modeling_pamela.evaluation.report.Report`]: A row a method, then the paper's published rows, which are on the paper's own data.
    """
    names = np.array(folder.user_ids)
    rows: list[dict[str, Any]] = []
    for scorer, k in scorers:
        found = predict(scorer, cases, k)
        scores = judge(found)
        srocc = bootstrap_mean(scores.srocc, names[scores.users])
        rows.append(
            {
                "method": scorer.name,
                "ratings seen": "all" if k is None else k,
                "user SROCC": srocc.mean,
                "low": srocc.low,
                "high": srocc.high,
                "user PLCC": float(scores.plcc.mean()),
                "user pairwise": float(scores.pairwise.mean()),
                **_averages(found),
                "source": "this run",
            }
        )
    if retest is not None:
        rows.append(dict.fromkeys(rows[0]) | retest_row(retest) | {"source": "ceiling"})
    for method, published in PUBLISHED.items():
        row: dict[str, Any] = {column: published.get(column) for column in rows[0]}
        rows.append(row | {"method": method, "source": "as published, on PAMELA"})
    # The crowd oracle has seen the very ratings that are asked for.
    competitors = [row for row in rows if row["source"] == "this run" and row["method"] != CrowdOracle.name]
    personal = [row for row in competitors if row["ratings seen"] != 0]
    population = [row for row in competitors if row["ratings seen"] == 0]
    headline = ""
    if personal and population:
        ours = max(personal, key=lambda row: row["user SROCC"])
        best = max(population, key=lambda row: row["avg SROCC"])
        headline = (
            f" The paper's headline comparison: {ours['method']} predicts single people with a user SROCC of {ours['user SROCC']:.3f}; the best score without "
            f"anybody's ratings ({best['method']}) predicts the average person with an avg SROCC of {best['avg SROCC']:.3f}."
        )
    return Report(
        "table2",
        "Rewards side by side",
        "user: inside every person, mean over people, with a 95 % interval that redraws people; avg: on the mean prediction and rating of every picture, mean over "
        "context draws." + headline,
        rows,
    )


def _averages(found: Predictions) -> dict[str, float]:
    """Metrics on picture means, mean over context draws."""
    metrics = {"avg SROCC": average_spearman, "avg PLCC": average_pearson, "avg pairwise": average_pairwise_accuracy}
    values: dict[str, list[float]] = {name: [] for name in metrics}
    for draw in np.unique(found.draw):
        rows = found.draw == draw
        for name, metric in metrics.items():
            values[name].append(metric(found.predictions[rows], found.references[rows], found.image[rows]))
    return {name: float(np.mean(of_draws)) for name, of_draws in values.items()}
