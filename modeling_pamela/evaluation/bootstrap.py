"""
How sure a mean over people is: the percentile bootstrap (Efron & Tibshirani 1993, chapter 13) that redraws people.

People are the unit that varies, so everything known of a person is drawn together. Values of several splits are given as one
flat array with their people's ids: a person who is in several splits is still one person.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from .rows import finite_array


__all__ = ["Interval", "PairedDifference", "bootstrap_mean", "paired_difference"]

# Random numbers held in memory at a time.
BLOCK = 4_000_000


@dataclass(frozen=True)
class Interval:
    """
    A mean and its interval.

    Attributes:
        mean (`float`): Of the values as they are.
        low, high (`float`): Ends of the percentile interval.
    """

    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class PairedDifference(Interval):
    """
    The mean difference of two methods on the same people.

    Attributes:
        p_value (`float`):
            Two-sided: twice the share of resamples on the other side of 0, no smaller than 2 / (n + 1).
    """

    p_value: float


def bootstrap_mean(
    values: ArrayLike, user_ids: ArrayLike | None = None, *, n: int = 1000, seed: int = 0, level: float = 0.95
) -> Interval:
    """
    Mean over all values with an interval that redraws people.

    Args:
        values (array of shape `(E,)`): For example one SROCC a person, or one a person and split.
        user_ids (array of shape `(E,)`, *optional*): Whose value it is. Without ids every value is a person of its own.
        n (`int`): Number of resamples.
        seed (`int`): Of the resamples.
        level (`float`): Coverage of the interval, between 0 and 1.

    Returns:
        [`Interval`]

    Raises:
        ValueError: Fewer than two people, NaN or infinity, lengths that differ, or `n` or `level` out of range.

    Example:

    ```python
    >>> from modeling_pamela.evaluation.bootstrap import bootstrap_mean

    >>> bootstrap_mean([0.5, 0.5, 0.5])
    Interval(mean=0.5, low=0.5, high=0.5)
    >>> # Two splits; "ann" is in both, and is drawn with both of her values or with none.
    >>> interval = bootstrap_mean([0.2, 0.4, 0.3, 0.9], ["ann", "bob", "ann", "eve"])
    >>> interval.low < interval.mean < interval.high
    True

    ```
    """
    values = finite_array("values", values)
    means = _resampled_means(values, user_ids, n, seed)
    low, high = _percentiles(means, level)
    return Interval(float(values.mean()), low, high)


def paired_difference(
    a: ArrayLike,
    b: ArrayLike,
    user_ids: ArrayLike | None = None,
    *,
    n: int = 1000,
    seed: int = 0,
    level: float = 0.95,
) -> PairedDifference:
    """
    Mean of `a - b` with an interval and a p-value; both methods keep their values of every person that is drawn.

    Args:
        a, b (array of shape `(E,)`): The two methods' values of the same people, in the same order.
        user_ids, n, seed, level: As in [`bootstrap_mean`].

    Returns:
        [`PairedDifference`]

    Raises:
        ValueError: As [`bootstrap_mean`].

    Example:

    ```python
    >>> from modeling_pamela.evaluation.bootstrap import paired_difference

    >>> difference = paired_difference([0.6, 0.7, 0.5, 0.8], [0.5, 0.5, 0.4, 0.5])
    >>> round(difference.mean, 3), difference.low > 0, round(difference.p_value, 3)
    (0.175, True, 0.002)

    ```
    """
    a, b = finite_array("a", a), finite_array("b", b)
    if len(a) != len(b):
        raise ValueError(
            f"a has {len(a)} values and b has {len(b)}; expected both methods' values of the same people."
        )
    differences = a - b
    means = _resampled_means(differences, user_ids, n, seed)
    low, high = _percentiles(means, level)
    # The difference as it is counts as one more resample, so that no finite number of them gives certainty (a p of 0).
    tail = 1 + min(int((means <= 0).sum()), int((means >= 0).sum()))
    return PairedDifference(float(differences.mean()), low, high, p_value=min(1.0, 2 * tail / (n + 1)))


def _resampled_means(values: np.ndarray, user_ids: ArrayLike | None, n: int, seed: int) -> np.ndarray:
    """Mean of all values of as many people as there are, drawn with replacement, `(n,)`."""
    ids = np.arange(len(values)) if user_ids is None else np.asarray(user_ids)
    if ids.shape != values.shape:
        raise ValueError(f"There are {len(values)} values and ids of shape {ids.shape}; expected one id a value.")
    if n < 1:
        raise ValueError(f"n must be at least 1 resample, got {n}.")
    people, owner = np.unique(ids, return_inverse=True)
    if len(people) < 2:
        raise ValueError(f"An interval over people needs at least two of them, got {len(people)}.")
    sums, sizes = np.bincount(owner, values), np.bincount(owner)
    rng = np.random.default_rng(seed)
    step = max(1, BLOCK // len(people))
    means = []
    for start in range(0, n, step):
        drawn = rng.integers(len(people), size=(min(step, n - start), len(people)))
        means.append(sums[drawn].sum(1) / sizes[drawn].sum(1))
    return np.concatenate(means)


def _percentiles(means: np.ndarray, level: float) -> tuple[float, float]:
    if not 0 < level < 1:
        raise ValueError(f"level must lie between 0 and 1, got {level}.")
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
