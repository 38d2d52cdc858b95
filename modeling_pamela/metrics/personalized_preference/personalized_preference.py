"""How well predictions order every single person's ratings: the metrics of PAMELA (arXiv 2604.07427, Table 2)."""

import datasets
import evaluate

from modeling_pamela.evaluation.metrics import (
    average_pairwise_accuracy,
    average_pearson,
    average_spearman,
    user_pairwise_accuracy,
    user_pearson,
    user_spearman,
)


_DESCRIPTION = """
Spearman (SROCC) and Pearson (PLCC) correlation and pairwise accuracy of predictions and ratings, inside every person and averaged over people
("user"), and on the mean rating of every picture ("avg").
"""

_KWARGS_DESCRIPTION = """
Args:
    predictions (list of float): A score for every rating, on any scale.
    references (list of float): The ratings.
    user_ids (list of str): Whose rating it is.
    item_ids (list of str, optional): Which picture was rated; with them, the metrics on picture means are computed too.
    margin (float): Smallest difference of two ratings that counts as a pair, in the unit of the ratings; 0 counts all pairs that differ.

Returns:
    user_srocc, user_plcc, user_pairwise_accuracy: means over people.
    num_users, num_users_skipped: with and without a value; a person with fewer than two ratings, or with equal ones, has none.
    num_users_without_pairs: people who have a correlation, but no two ratings as far apart as the margin.
    avg_srocc, avg_plcc, avg_pairwise_accuracy: on picture means, where item_ids are given.

Examples:
    >>> metric = evaluate.load("personalized_preference")  # doctest: +SKIP
    >>> results = metric.compute(
    ...     predictions=[0.1, 0.2, 0.9, 0.5], references=[1, 2, 3, 4], user_ids=["a", "a", "b", "b"]
    ... )  # doctest: +SKIP
    >>> results["user_srocc"]  # doctest: +SKIP
    0.0
"""

_CITATION = """
@article{pamela2026,
  title = {Personalizing Text-to-Image Generation to Individual Taste},
  journal = {arXiv preprint arXiv:2604.07427},
  year = {2026}
}
"""


@evaluate.utils.file_utils.add_start_docstrings(_DESCRIPTION, _KWARGS_DESCRIPTION)
class PersonalizedPreference(evaluate.Metric):
    """User and average SROCC, PLCC and pairwise accuracy."""

    def _info(self) -> evaluate.MetricInfo:
        columns = {
            "predictions": datasets.Value("float64"),
            "references": datasets.Value("float64"),
            "user_ids": datasets.Value("string"),
        }
        with_items = dict(columns, item_ids=datasets.Value("string"))
        return evaluate.MetricInfo(
            description=_DESCRIPTION,
            citation=_CITATION,
            inputs_description=_KWARGS_DESCRIPTION,
            features=[datasets.Features(columns), datasets.Features(with_items)],
            reference_urls=["https://arxiv.org/abs/2604.07427"],
        )

    def _compute(
        self,
        predictions: list[float],
        references: list[float],
        user_ids: list[str],
        item_ids: list[str] | None = None,
        margin: float = 0.0,
    ) -> dict[str, float]:
        srocc = user_spearman(predictions, references, user_ids)
        pairwise = user_pairwise_accuracy(predictions, references, user_ids, margin)
        results = {
            "user_srocc": srocc.mean,
            "user_plcc": user_pearson(predictions, references, user_ids).mean,
            "user_pairwise_accuracy": pairwise.mean,
            "num_users": len(srocc.user_ids),
            "num_users_skipped": sum(len(users) for users in srocc.skipped.values()),
            "num_users_without_pairs": len(srocc.user_ids) - len(pairwise.user_ids),
        }
        if item_ids is not None:
            results["avg_srocc"] = average_spearman(predictions, references, item_ids)
            results["avg_plcc"] = average_pearson(predictions, references, item_ids)
            results["avg_pairwise_accuracy"] = average_pairwise_accuracy(predictions, references, item_ids, margin)
        return results
