"""Bradley-Terry / Elo ranking of conditions from people's comparisons (as in PAMELA, arXiv 2604.07427, Fig. 8)."""

from typing import Any

import datasets
import evaluate

from modeling_pamela.evaluation.bradley_terry import elo_scores


_DESCRIPTION = """
Ranks conditions (models, prompts, methods) by comparisons of their pictures: Bradley-Terry strengths as Elo scores of mean 1000, with bootstrap
intervals over comparisons or over people. A tie is half a win for either side.
"""

_KWARGS_DESCRIPTION = """
Args:
    choices (list of str): The choice of every comparison: "left", "right" or "tie".
    left, right (lists of str): The two conditions that were compared.
    user_ids (list of str, optional): Who compared; with them the bootstrap redraws people instead of comparisons.
    n (int): Bootstrap draws.
    seed (int): Of the draws.

Returns:
    ranking: conditions, strongest first.
    elo, elo_low, elo_high: condition to Elo score and the ends of its 95 % interval.
    num_comparisons: condition to the number of comparisons it was in.
    num_draws_left_out: bootstrap draws in which the conditions were not connected.

Examples:
    >>> metric = evaluate.load("preference_ranking")  # doctest: +SKIP
    >>> results = metric.compute(
    ...     choices=["left", "left", "right"], left=["own"] * 3, right=["other"] * 3
    ... )  # doctest: +SKIP
    >>> results["ranking"]  # doctest: +SKIP
    ['own', 'other']
"""

_CITATION = """
@article{bradley1952rank,
  title = {Rank Analysis of Incomplete Block Designs: I. The Method of Paired Comparisons},
  author = {Bradley, Ralph Allan and Terry, Milton E.},
  journal = {Biometrika},
  volume = {39},
  year = {1952}
}
"""


@evaluate.utils.file_utils.add_start_docstrings(_DESCRIPTION, _KWARGS_DESCRIPTION)
class PreferenceRanking(evaluate.Metric):
    """Elo scores with intervals."""

    def _info(self) -> evaluate.MetricInfo:
        columns = {name: datasets.Value("string") for name in ("choices", "left", "right")}
        return evaluate.MetricInfo(
            description=_DESCRIPTION,
            citation=_CITATION,
            inputs_description=_KWARGS_DESCRIPTION,
            features=[
                datasets.Features(columns),
                datasets.Features(dict(columns, user_ids=datasets.Value("string"))),
            ],
            reference_urls=["https://doi.org/10.2307/2334029"],
        )

    def _compute(
        self,
        choices: list[str],
        left: list[str],
        right: list[str],
        user_ids: list[str] | None = None,
        n: int = 1000,
        seed: int = 0,
    ) -> dict[str, Any]:
        scores = elo_scores(left, right, choices, user_ids, n=n, seed=seed)
        return {
            "ranking": scores.conditions,
            "elo": dict(zip(scores.conditions, scores.elo.tolist(), strict=True)),
            "elo_low": dict(zip(scores.conditions, scores.low.tolist(), strict=True)),
            "elo_high": dict(zip(scores.conditions, scores.high.tolist(), strict=True)),
            "num_comparisons": dict(zip(scores.conditions, scores.num_comparisons.tolist(), strict=True)),
            "num_draws_left_out": scores.num_draws_left_out,
        }
