"""Every method on the same people, draws and queries, each tuned on the same validation cases, between what is trivial and what is possible."""

from collections.abc import Sequence
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import baselines, factorisation
from .. import methods as tuning
from ..baselines import UserMean
from ..bootstrap import bootstrap_mean, paired_difference
from ..ceilings import RetestCeiling
from ..methods import Methods
from ..protocol import Case, PersonalScorer, evaluate_scorer
from ..report import Report
from ..scorers import ChosenContextScorer, PosteriorScorer, TokenScorer
from .table4 import NEIGHBOURS, TEMPERATURES


if TYPE_CHECKING:
    from matplotlib.figure import Figure


__all__ = ["methods_report"]


def methods_report(
    methods: Methods, cases: Sequence[Case], k: int | None, retest: RetestCeiling | None = None
) -> tuple[Report, "Figure"]:
    """
    User SROCC and squared error of everything there is, with the posterior's paired gain.

    Args:
        methods ([`~modeling_pamela.evaluation.methods.Methods`]): Posterior model, perhaps a token model, and baselines.
        cases (sequence of [`~modeling_pamela.evaluation.protocol.Case`]): Whom to judge on.
        k (`int`, *optional*): Ratings of a person that are seen, > 0; `None` for all of a context.
        retest ([`~modeling_pamela.evaluation.ceilings.RetestCeiling`], *optional*): From people who rated twice.
    """
    names = np.array(methods.folder.user_ids)
    no_demographics = PosteriorScorer(
        methods.model, methods.embeddings, with_demographics=False, data_set=methods.data_set
    )
    ridges = len(baselines.PENALTIES) * len(tuning.RIDGE_BANDWIDTHS)
    grids = (factorisation.RANKS, factorisation.FACTOR_PENALTIES, factorisation.MAP_PENALTIES)
    factorisations = int(np.prod([len(grid) for grid in (*grids, factorisation.PERSON_PENALTIES)]))
    noise = "its noise model, once for all k"
    # Method, ratings it is given, ratings it is said to see, what was tuned.
    entries: list[tuple[str, PersonalScorer, int | None, int | None, str]] = [
        ("per-user mean", UserMean(float(methods.folder.ratings("train").rating_norm.mean())), k, k, ""),
        ("population", methods.population, 0, 0, ""),
        ("posterior, nothing known", no_demographics, 0, 0, noise),
        ("posterior, demographics only", methods.posterior, 0, 0, noise),
    ]
    if methods.token is not None:
        token = tune_token(methods.token, methods.validation, k)
        entries.append(
            (token.name, token, k, k, f"its epoch; K and tau, {len(NEIGHBOURS) * len(TEMPERATURES)} settings")
        )
    entries += [
        ("population + ridge", methods.ridge(k), k, k, f"kernel and penalty, {ridges} settings"),
        (
            "matrix factorisation",
            methods.factorisation([k])[k],
            k,
            k,
            f"rank and penalties, {factorisations} settings",
        ),
        ("posterior, random pictures", methods.posterior, k, k, noise),
    ]
    if k is not None:
        # It is shown the whole context, and reads the ratings of the pictures that it asks for.
        chosen = ChosenContextScorer(methods.posterior, float(methods.model.noise_variance), k)
        entries.append(("posterior, chosen pictures", chosen, None, k, noise))
    entries.append(("crowd oracle", methods.oracle, 0, 0, ""))

    scores = {name: evaluate_scorer(scorer, cases, given) for name, scorer, given, _, _ in entries}
    ours, oracle = scores["posterior, random pictures"], scores["crowd oracle"].srocc.mean()
    rows: list[dict[str, Any]] = []
    for name, _, _, seen, tuned in entries:
        found = scores[name]
        interval = bootstrap_mean(found.srocc, names[found.users])
        gain = paired_difference(ours.srocc, found.srocc, names[found.users])
        rows.append(
            {
                "method": name,
                "ratings seen": "all" if seen is None else seen,
                "user SROCC": interval.mean,
                "low": interval.low,
                "high": interval.high,
                "MSE": float(found.mse.mean()),
                "share of oracle": interval.mean / oracle,
                "share of noise ceiling": interval.mean / retest.ceiling.mean if retest else None,
                "posterior's gain": None if found is ours else gain.mean,
                "gain low": None if found is ours else gain.low,
                "gain high": None if found is ours else gain.high,
                "tuned on validation": tuned or "nothing to tune",
            }
        )
    if retest is not None:
        empty: dict[str, Any] = dict.fromkeys(rows[0])
        rows.append(empty | retest_row(retest) | {"share of noise ceiling": 1.0})
    report = Report(
        "methods",
        "Methods side by side",
        f"User SROCC, mean over people, with a 95 % interval that redraws people; MSE on the 0 to 1 scale; gains of the posterior on random pictures over each method, "
        f"paired by person. All see the same draws of the same {'' if k is None else f'{k} '}ratings, but for chosen pictures, where the model picks them out of everything "
        f"that may be known of a person. What is tuned is tuned for this number of ratings by user SROCC on the same {len(methods.validation)} validation cases; models were "
        "trained with their recipes' settings.",
        rows,
    )
    return report, _draw(rows)


def tune_token(token: TokenScorer, validation: Sequence[Case], k: int | None) -> TokenScorer:
    """The paper's step with the number of neighbours and the temperature that validate best."""
    candidates = [token.with_neighbours(*setting) for setting in product(NEIGHBOURS, TEMPERATURES)]
    return max(candidates, key=lambda candidate: evaluate_scorer(candidate, validation, k).srocc.mean())


def retest_row(retest: RetestCeiling) -> dict[str, Any]:
    """The noise ceiling as a part of a row."""
    return {
        "method": f"noise ceiling, {len(retest.values.values)} people who rated twice",
        "ratings seen": "",
        "user SROCC": retest.ceiling.mean,
        "low": retest.ceiling.low,
        "high": retest.ceiling.high,
    }


def _draw(rows: Sequence[dict[str, Any]]) -> "Figure":
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.5, 0.32 * len(rows) + 0.8))
    axes = figure.add_subplot()
    mean = np.array([row["user SROCC"] for row in rows])
    spread = [mean - [row["low"] for row in rows], [row["high"] for row in rows] - mean]
    axes.errorbar(mean, np.arange(len(rows)), xerr=np.clip(spread, 0, None), fmt="o", capsize=2, color="black")
    axes.set_yticks(np.arange(len(rows)), [row["method"] for row in rows])
    axes.invert_yaxis()
    axes.set_xlabel("user SROCC, 95 % interval over people")
    axes.spines[["top", "right"]].set_visible(False)
    return figure
