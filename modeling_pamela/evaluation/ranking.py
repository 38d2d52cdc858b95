"""
How good the pictures at the top of a prediction are to the person: what matters when a model picks for somebody.

Ratings are positive or zero, best on the 0..1 scale: the discounted gain depends on where 0 lies.
"""

import numpy as np
from numpy.typing import ArrayLike

from .rows import Rows, UserMetric, group_rows, tie_runs, user_metric


__all__ = ["user_ndcg", "user_top_regret"]

FEWER_THAN_K = "fewer ratings than k"


def user_ndcg(predictions: ArrayLike, references: ArrayLike, user_ids: ArrayLike, k: int | None = None) -> UserMetric:
    """
    Normalised discounted cumulative gain (Jarvelin & Kekalainen 2002) of every person's pictures in the predicted order.

    The gain is the rating itself, the discount `log2(place + 1)`. Pictures with equal predictions share the gains of their places.

    Args:
        predictions (array of shape `(R,)`): Scores, on any scale.
        references (array of shape `(R,)`): Ratings >= 0.
        user_ids (array of shape `(R,)`, integer or string): Whose rating it is, in any order.
        k (`int`, *optional*): Only the first k places count; all of them where not given. With fewer pictures than k, these.

    Returns:
        [`~modeling_pamela.evaluation.rows.UserMetric`]: Values in 0..1. People with fewer than two ratings, or with equal ones, are skipped.

    Raises:
        ValueError: An argument is empty, differs in length from the others, or holds NaN or infinity; a rating is negative; or `k` < 1.

    Example:

    ```python
    >>> from modeling_pamela.evaluation.ranking import user_ndcg

    >>> user_ndcg([0.9, 0.5, 0.1], [0.0, 1.0, 0.5], ["ann"] * 3).values.round(4).tolist()
    [0.6697]

    ```
    """
    rows = group_rows(predictions, references, user_ids)
    _check_k(k)
    if rows.references.min() < 0:
        raise ValueError(
            f"references must be ratings of at least 0, got {rows.references.min()}: the gain of a picture cannot be negative. "
            "Use the ratings on their 0..1 scale."
        )
    place = np.arange(len(rows.group)) - rows.first
    discount = 1 / np.log2(place + 2)
    if k is not None:
        discount[place >= k] = 0.0
    found, best = _by_place(rows, rows.predictions, discount), _by_place(rows, rows.references, discount)
    # Where even the best order has no gain, all ratings are equal (0), and the person is skipped.
    return user_metric(rows, np.divide(found, best, out=np.zeros(len(best)), where=best > 0))


def user_top_regret(predictions: ArrayLike, references: ArrayLike, user_ids: ArrayLike, k: int = 1) -> UserMetric:
    """
    What a person loses by taking the model's k favourites instead of their own: the difference of the two mean ratings.

    Pictures with equal predictions are taken at random, in expectation.

    Args:
        predictions (array of shape `(R,)`): Scores, on any scale.
        references (array of shape `(R,)`): Ratings, on any scale.
        user_ids (array of shape `(R,)`, integer or string): Whose rating it is, in any order.
        k (`int`): How many pictures are taken.

    Returns:
        [`~modeling_pamela.evaluation.rows.UserMetric`]: Values >= 0 in the unit of the ratings; 0 is best. People with fewer ratings than k are
        skipped, besides those that [`user_ndcg`] skips.

    Raises:
        ValueError: An argument is empty, differs in length from the others, or holds NaN or infinity; or `k` < 1.

    Example:

    ```python
    >>> from modeling_pamela.evaluation.ranking import user_top_regret

    >>> # The model's favourite was given 2 points, the person's own 5.
    >>> user_top_regret([0.9, 0.5, 0.1], [2, 5, 1], ["ann"] * 3).values.tolist()
    [3.0]

    ```
    """
    rows = group_rows(predictions, references, user_ids)
    _check_k(k)
    share = (np.arange(len(rows.group)) - rows.first < k) / k
    regret = _by_place(rows, rows.references, share) - _by_place(rows, rows.predictions, share)
    return user_metric(rows, np.maximum(regret, 0.0), {FEWER_THAN_K: rows.sizes < k})


def _check_k(k: int | None) -> None:
    if k is not None and k < 1:
        raise ValueError(f"k must be at least 1 picture, got {k}.")


def _by_place(rows: Rows, order_by: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Every person's sum `(U,)` of ratings times the weight `(R,)` of the place they get, highest first; ties share their places."""
    order, runs = tie_runs(-order_by, rows)
    sizes = np.bincount(runs)
    rating = np.bincount(runs, rows.references[order]) / sizes
    return np.add.reduceat(rating[runs] * weight, rows.starts)
