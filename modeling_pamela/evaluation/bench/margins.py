"""Pairwise accuracy against the tie margin (PAMELA, section 7.2 and Fig. 11)."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from ..bootstrap import Interval, bootstrap_mean
from ..metrics import user_pairwise_accuracy
from ..protocol import Case, PersonalScorer, predict
from ..report import Report


if TYPE_CHECKING:
    from matplotlib.figure import Figure


__all__ = ["MARGINS", "margin_report"]

# Shares of the rating scale.
MARGINS = tuple(np.round(np.arange(0.0, 0.85, 0.1), 2).tolist())


def margin_report(
    scorers: Sequence[PersonalScorer], cases: Sequence[Case], k: int | None, margins: Sequence[float] = MARGINS
) -> tuple[Report, "Figure"]:
    """
    How often pairs are ordered as the person does, where their ratings are at least so far apart.

    Args:
        scorers (sequence of [`~modeling_pamela.evaluation.protocol.PersonalScorer`]): Methods.
        cases (sequence of [`~modeling_pamela.evaluation.protocol.Case`]): Whom to judge on.
        k (`int`, *optional*): Size of the context; `None` for all of it.
        margins (sequence of `float`): On the 0..1 scale; those that nobody's ratings reach are left out.

    Returns:
        [`~modeling_pamela.evaluation.report.Report`] and figure: A row a method and margin.
    """
    rows, curves = [], {}
    for scorer in scorers:
        found = predict(scorer, cases, k)
        points: list[tuple[float, Interval]] = []
        for margin in margins:
            metric = user_pairwise_accuracy(found.predictions, found.references, found.case, margin)
            if len(metric.values) < 2:
                continue
            owner = np.array([case.evidence.user for case in cases])[metric.user_ids]
            if len(np.unique(owner)) < 2:
                continue
            accuracy = bootstrap_mean(metric.values, owner)
            points.append((margin, accuracy))
            rows.append(
                {
                    "method": scorer.name,
                    "margin": margin,
                    "accuracy": accuracy.mean,
                    "low": accuracy.low,
                    "high": accuracy.high,
                    "people": len(np.unique(owner)),
                }
            )
        curves[scorer.name] = points
    report = Report(
        "fig11",
        "Pairwise accuracy against the tie margin",
        "Share of a person's pairs of pictures ordered as they do, mean over people with a 95 % interval that redraws people; a pair counts where its "
        f"ratings differ by at least the margin, a share of the scale. Contexts of {'all' if k is None else k} ratings.",
        rows,
    )
    return report, _draw(curves)


def _draw(curves: dict[str, list[tuple[float, Interval]]]) -> "Figure":
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 4))
    axes = figure.add_subplot()
    for name, points in curves.items():
        margin = [point for point, _ in points]
        axes.plot(margin, [value.mean for _, value in points], marker="o", markersize=3, label=name)
        axes.fill_between(margin, [v.low for _, v in points], [v.high for _, v in points], alpha=0.15)
    axes.axhline(0.5, color="grey", linewidth=0.8, linestyle=":")
    axes.set_xlabel("smallest difference of two ratings (share of the scale)")
    axes.set_ylabel("pairs in the person's order")
    axes.legend(frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    return figure
