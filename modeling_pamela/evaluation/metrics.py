"""
How well predictions order and follow ratings, inside a person ("user") or on the mean rating of a picture ("average").

These are the metrics of PAMELA (arXiv 2604.07427, Table 2): Spearman correlation (SROCC), Pearson correlation (PLCC) and
pairwise accuracy; and Kendall's tau-b. All functions take flat arrays with one entry a rating and work on all people at once.
"""

import numpy as np
from numpy.typing import ArrayLike

from .rows import Rows, UserMetric, group_rows, round_off, tie_runs, user_metric


__all__ = [
    "average_kendall",
    "average_pairwise_accuracy",
    "average_pearson",
    "average_spearman",
    "user_kendall",
    "user_pairwise_accuracy",
    "user_pearson",
    "user_spearman",
]

WITHIN_MARGIN = "no two ratings as far apart as the margin"

# A difference such as 0.7 - 0.6 falls short of a margin of 0.1 by a rounding error; it still counts. So differences are
# asked to be above a margin that is smaller by this share, which for a margin of 0 means that they are no ties.
MARGIN_TOLERANCE = 1e-9


def user_spearman(predictions: ArrayLike, references: ArrayLike, user_ids: ArrayLike) -> UserMetric:
    """
    Spearman rank correlation of predictions and ratings inside every person; ties share their average rank.

    Args:
        predictions (array of shape `(R,)`): Scores, on any scale.
        references (array of shape `(R,)`): Ratings.
        user_ids (array of shape `(R,)`, integer or string): Whose rating it is, in any order.

    Returns:
        [`UserMetric`]: Values in -1..1. Predictions that are all equal order nothing: 0. People with fewer than two ratings, or
        with ratings that are all equal, have no value and are named in `skipped`.

    Raises:
        ValueError: An argument is empty, differs in length from the others, or holds NaN or infinity.

    Example:

    ```python
    >>> from modeling_pamela.evaluation.metrics import user_spearman

    >>> metric = user_spearman([0.1, 0.2, 0.9, 0.5, 0.5], [1, 2, 3, 4, 4], ["ann", "ann", "ann", "bob", "bob"])
    >>> metric.values.tolist(), metric.user_ids.tolist(), metric.mean
    ([1.0], ['ann'], 1.0)
    >>> {reason: users.tolist() for reason, users in metric.skipped.items()}
    {'all ratings equal': ['bob']}

    ```
    """
    rows = group_rows(predictions, references, user_ids)
    return user_metric(rows, _correlation(_ranks(rows.predictions, rows), _ranks(rows.references, rows), rows))


def user_pearson(predictions: ArrayLike, references: ArrayLike, user_ids: ArrayLike) -> UserMetric:
    """
    Pearson correlation of predictions and ratings inside every person.

    Args:
        predictions (array of shape `(R,)`): Scores, on any scale.
        references (array of shape `(R,)`): Ratings.
        user_ids (array of shape `(R,)`, integer or string): Whose rating it is, in any order.

    Returns:
        [`UserMetric`]: Values in -1..1; 0 for equal predictions; people are skipped as by [`user_spearman`].

    Raises:
        ValueError: An argument is empty, differs in length from the others, or holds NaN or infinity.

    Example:

    ```python
    >>> from modeling_pamela.evaluation.metrics import user_pearson

    >>> user_pearson([1.0, 2.0, 4.0, 1.0, 1.0], [10, 20, 40, 1, 2], [7, 7, 7, 8, 8]).values.round(6).tolist()
    [1.0, 0.0]

    ```
    """
    rows = group_rows(predictions, references, user_ids)
    return user_metric(rows, _correlation(rows.predictions, rows.references, rows))


def user_kendall(predictions: ArrayLike, references: ArrayLike, user_ids: ArrayLike) -> UserMetric:
    """
    Kendall's tau-b of predictions and ratings inside every person (Kendall 1945), exact in O(n log^2 n).

    Args:
        predictions (array of shape `(R,)`): Scores, on any scale.
        references (array of shape `(R,)`): Ratings.
        user_ids (array of shape `(R,)`, integer or string): Whose rating it is, in any order.

    Returns:
        [`UserMetric`]: Values in -1..1; 0 for equal predictions; people are skipped as by [`user_spearman`].

    Raises:
        ValueError: An argument is empty, differs in length from the others, or holds NaN or infinity.

    Example:

    ```python
    >>> from modeling_pamela.evaluation.metrics import user_kendall

    >>> # Pairs (1, 2) and (1, 3) are in order, (2, 3) is not.
    >>> user_kendall([0.1, 0.9, 0.5], [1, 2, 3], [0, 0, 0]).values.round(3).tolist()
    [0.333]

    ```
    """
    rows = group_rows(predictions, references, user_ids)
    right_halves, pairs = _count_pairs(rows, margin=0.0)
    _, runs = tie_runs(rows.predictions, rows)
    tied = np.bincount(runs)
    # Each run belongs to one person, whose number is that of its first row: runs are counted in the order of people.
    owner = rows.group[np.cumsum(tied) - tied]
    tied_pairs = np.bincount(owner, tied * (tied - 1) / 2, minlength=len(rows.sizes))
    ordered_pairs = rows.sizes * (rows.sizes - 1) / 2 - tied_pairs
    length = np.sqrt(pairs * ordered_pairs)
    tau = np.divide(right_halves - pairs, length, out=np.zeros(len(length)), where=length > 0)
    return user_metric(rows, tau)


def user_pairwise_accuracy(
    predictions: ArrayLike, references: ArrayLike, user_ids: ArrayLike, margin: float = 0.0
) -> UserMetric:
    """
    Share of a person's picture pairs that the predictions order as the person does (PAMELA, section 7.2 and Fig. 11).

    A pair counts where its two ratings differ, and by no less than `margin`. A pair with equal predictions is half right.

    Args:
        predictions (array of shape `(R,)`): Scores, on any scale.
        references (array of shape `(R,)`): Ratings.
        user_ids (array of shape `(R,)`, integer or string): Whose rating it is, in any order.
        margin (`float`): Smallest difference of a pair that counts, >= 0, in the unit of the ratings.

    Returns:
        [`UserMetric`]: Values in 0..1, exact; 0.5 for equal predictions. People without a pair that counts are skipped.

    Raises:
        ValueError: An argument is empty, differs in length from the others, or holds NaN or infinity; or `margin` is negative.

    Example:

    ```python
    >>> from modeling_pamela.evaluation.metrics import user_pairwise_accuracy

    >>> # Pairs (1, 2) right, (1, 3) right, (2, 3) wrong; from a margin of 2 on, only (1, 3) counts.
    >>> user_pairwise_accuracy([0.1, 0.9, 0.5], [1, 2, 3], [0, 0, 0]).values.round(3).tolist()
    [0.667]
    >>> user_pairwise_accuracy([0.1, 0.9, 0.5], [1, 2, 3], [0, 0, 0], margin=2).values.tolist()
    [1.0]

    ```
    """
    if not (np.isfinite(margin) and margin >= 0):
        raise ValueError(f"margin must be a number of at least 0, got {margin}.")
    rows = group_rows(predictions, references, user_ids)
    right_halves, pairs = _count_pairs(rows, margin)
    accuracy = right_halves / np.maximum(2 * pairs, 1)
    return user_metric(rows, accuracy, {WITHIN_MARGIN: pairs == 0})


def average_spearman(predictions: ArrayLike, references: ArrayLike, image_ids: ArrayLike) -> float:
    """
    Spearman correlation over pictures of the mean prediction and the mean rating of each picture.

    Means are compared to 12 digits, so that means that are equal in exact arithmetic are ties.

    Args:
        predictions (array of shape `(R,)`): Scores, on any scale.
        references (array of shape `(R,)`): Ratings.
        image_ids (array of shape `(R,)`, integer or string): The rated picture.

    Returns:
        `float`: In -1..1; 0 where all mean predictions are equal.

    Raises:
        ValueError: As [`user_spearman`]; also fewer than two pictures, or no two that differ in their mean rating.

    Example:

    ```python
    >>> from modeling_pamela.evaluation.metrics import average_spearman

    >>> average_spearman([0.2, 0.4, 0.9, 0.1], [1, 3, 5, 1], ["a", "a", "b", "c"])
    1.0

    ```
    """
    return _only_value(user_spearman(*_picture_means(predictions, references, image_ids)))


def average_pearson(predictions: ArrayLike, references: ArrayLike, image_ids: ArrayLike) -> float:
    """
    Pearson correlation over pictures of the mean prediction and the mean rating of each picture.

    Arguments, result and errors are those of [`average_spearman`].

    Example:

    ```python
    >>> from modeling_pamela.evaluation.metrics import average_pearson

    >>> round(average_pearson([0.2, 0.4, 0.9, 0.3], [1, 3, 5, 1], ["a", "a", "b", "c"]), 4)
    0.9707

    ```
    """
    return _only_value(user_pearson(*_picture_means(predictions, references, image_ids)))


def average_kendall(predictions: ArrayLike, references: ArrayLike, image_ids: ArrayLike) -> float:
    """
    Kendall's tau-b over pictures of the mean prediction and the mean rating of each picture.

    Arguments, result and errors are those of [`average_spearman`].

    Example:

    ```python
    >>> from modeling_pamela.evaluation.metrics import average_kendall

    >>> average_kendall([0.2, 0.4, 0.9, 0.1], [1, 3, 5, 1], ["a", "a", "b", "c"])
    1.0

    ```
    """
    return _only_value(user_kendall(*_picture_means(predictions, references, image_ids)))


def average_pairwise_accuracy(
    predictions: ArrayLike, references: ArrayLike, image_ids: ArrayLike, margin: float = 0.0
) -> float:
    """
    Share of picture pairs whose mean predictions stand in the order of their mean ratings.

    Arguments and errors are those of [`average_spearman`]; `margin` and the result are those of [`user_pairwise_accuracy`].

    Example:

    ```python
    >>> from modeling_pamela.evaluation.metrics import average_pairwise_accuracy

    >>> average_pairwise_accuracy([0.2, 0.4, 0.9, 0.3], [1, 3, 5, 1], ["a", "a", "b", "c"])
    0.8333...

    ```
    """
    return _only_value(user_pairwise_accuracy(*_picture_means(predictions, references, image_ids), margin))


def _only_value(metric: UserMetric) -> float:
    if not len(metric.values):
        raise ValueError(
            f"The pictures cannot be compared: {next(iter(metric.skipped))} (counted over the pictures' means). Evaluate on "
            "pictures whose mean ratings differ."
        )
    return float(metric.values[0])


def _picture_means(
    predictions: ArrayLike, references: ArrayLike, image_ids: ArrayLike
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean prediction and rating of each picture, all as if from one person."""
    rows = group_rows(predictions, references, image_ids)
    predicted, rated = (
        round_off(np.add.reduceat(values, rows.starts) / rows.sizes, np.abs(values).max())
        for values in (rows.predictions, rows.references)
    )
    return predicted, rated, np.zeros(len(rows.sizes), dtype=np.int64)


def _ranks(values: np.ndarray, rows: Rows) -> np.ndarray:
    """Ranks inside each person, from 0, ties averaged."""
    order, runs = tie_runs(values, rows)
    lengths = np.bincount(runs)
    middle = np.cumsum(lengths) - (lengths + 1) / 2
    ranks = np.empty(len(values))
    ranks[order] = middle[runs]
    return ranks - rows.first


def _correlation(x: np.ndarray, y: np.ndarray, rows: Rows) -> np.ndarray:
    """Pearson correlation inside each person; 0 where one side is constant."""
    x, y = _centre(x, rows), _centre(y, rows)

    def dot(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return np.add.reduceat(a * b, rows.starts)

    length = np.sqrt(dot(x, x) * dot(y, y))
    return np.clip(np.divide(dot(x, y), length, out=np.zeros(len(length)), where=length > 0), -1.0, 1.0)


def _centre(values: np.ndarray, rows: Rows) -> np.ndarray:
    """Deviations from each person's mean, in a unit in which squares neither overflow nor vanish."""
    high, low = np.maximum.reduceat(values, rows.starts), np.minimum.reduceat(values, rows.starts)
    # Dividing by a power of two is exact. Taking the lowest value off first keeps small differences between large values.
    exponent = np.frexp(np.maximum(np.abs(high), np.abs(low)))[1]
    values = np.ldexp(values, -exponent[rows.group])
    values = values - np.ldexp(low, -exponent)[rows.group]
    values = values - (np.add.reduceat(values, rows.starts) / rows.sizes)[rows.group]
    values[(high == low)[rows.group]] = 0.0
    return values


def _count_pairs(rows: Rows, margin: float) -> tuple[np.ndarray, np.ndarray]:
    """For each person: right pairs counted twice plus pairs of equal predictions, and the number of pairs that count."""
    order, runs = tie_runs(rows.predictions, rows)
    rank = np.empty(len(order), dtype=np.int64)
    rank[order] = runs

    # With a person's rows in the order of their ratings, the partners rated lower than a row are a prefix of these rows.
    by_rating = np.lexsort((rows.references, rows.group))
    rank = rank[by_rating]
    lower = _num_lower(rows.references[by_rating], rows, margin * (1 - MARGIN_TOLERANCE))

    # How many in that prefix have a smaller prediction? A prefix is a union of blocks of 1, 2, 4, ... rows, one for every bit
    # of its length; a block that is sorted by prediction answers by binary search. O(n log^2 n), one step a bit for everybody.
    place = np.arange(len(rank)) - rows.first
    right_halves = np.zeros(len(rank), dtype=np.int64)
    for bit in range(int(lower.max()).bit_length()):
        # `first + block` is a number no other block has, and sorting by it leaves each block where it is.
        sorted_blocks = np.sort((rows.first + (place >> bit)) * len(rank) + rank)
        asking = np.flatnonzero(lower >> bit & 1)
        first, block = rows.first[asking], (lower[asking] >> bit) - 1
        wanted = (first + block) * len(rank) + rank[asking]
        smaller = np.searchsorted(sorted_blocks, wanted, side="left")
        smaller_or_equal = np.searchsorted(sorted_blocks, wanted, side="right")
        right_halves[asking] += smaller + smaller_or_equal - 2 * (first + (block << bit))
    return np.add.reduceat(right_halves, rows.starts), np.add.reduceat(lower, rows.starts)


def _num_lower(ratings: np.ndarray, rows: Rows, margin: float) -> np.ndarray:
    """For each row, sorted by person and rating: how many of the person's ratings are lower by more than the margin."""
    low, high = np.zeros_like(rows.first), rows.sizes[rows.group]
    # Binary search in all rows at once: those before `low` are far enough below, those from `high` on are not.
    for _ in range(int(rows.sizes.max()).bit_length()):
        middle = (low + high) // 2
        gap = ratings - ratings[np.minimum(rows.first + middle, len(ratings) - 1)]
        is_lower = (gap > margin) & (low < high)
        low = np.where(is_lower, middle + 1, low)
        high = np.where(is_lower, high, middle)
    return low
