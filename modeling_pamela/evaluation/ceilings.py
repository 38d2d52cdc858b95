"""How well anything could predict a person who does not always agree with themselves: the test-retest noise ceiling."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from ..data.files import DataError
from .bootstrap import Interval, bootstrap_mean
from .metrics import user_spearman
from .rows import UserMetric, finite_array


__all__ = ["RetestCeiling", "read_retest", "retest_ceiling", "retest_pairs"]


@dataclass(frozen=True)
class RetestCeiling:
    """
    What repeated ratings say of the best possible prediction of one rating.

    Attributes:
        agreement ([`~modeling_pamela.evaluation.bootstrap.Interval`]):
            Mean user SROCC of people's later ratings with their earlier ones: how well a person is predicted by themselves, with the noise of
            both ratings in it.
        ceiling ([`~modeling_pamela.evaluation.bootstrap.Interval`]):
            Mean of its root: the SROCC that a prediction without any noise would reach (Spearman's correction for attenuation, 1904; exact
            for Pearson correlations, close for ranks).
        values ([`~modeling_pamela.evaluation.rows.UserMetric`]): The agreement of every person.
    """

    agreement: Interval
    ceiling: Interval
    values: UserMetric


def retest_pairs(
    users: ArrayLike, images: ArrayLike, ratings: ArrayLike, repetition: ArrayLike
) -> tuple[np.ndarray, ...]:
    """
    The first two ratings of everybody and every picture that was rated twice.

    Args:
        users, images (arrays of shape `(R,)`): Who rated what.
        ratings (array of shape `(R,)`): The ratings.
        repetition (array of shape `(R,)`): Order of a person's ratings of the same picture.

    Returns:
        `tuple`: user, first rating and second rating, each `(P,)`.

    Raises:
        ValueError: Lengths differ, a number is not finite, or nothing was rated twice.
    """
    ratings, repetition = finite_array("ratings", ratings), finite_array("repetition", repetition)
    _, user = np.unique(np.asarray(users), return_inverse=True)
    pictures, image = np.unique(np.asarray(images), return_inverse=True)
    if not len(user) == len(image) == len(ratings) == len(repetition):
        raise ValueError(
            f"There are {len(user)} users, {len(image)} images, {len(ratings)} ratings and {len(repetition)} repetitions; expected one of each a rating."
        )
    pair = user * max(len(pictures), 1) + image
    order = np.lexsort((repetition, pair))
    pair, ratings = pair[order], ratings[order]
    is_first = np.ones(len(pair), dtype=bool)
    is_first[1:] = pair[1:] != pair[:-1]
    first = np.flatnonzero(is_first[:-1] & ~is_first[1:])
    if not len(first):
        raise ValueError("Nobody rated a picture twice; a retest ceiling needs repeated ratings.")
    return np.asarray(users)[order][first], ratings[first], ratings[first + 1]


def retest_ceiling(first: ArrayLike, second: ArrayLike, user_ids: ArrayLike) -> RetestCeiling:
    """
    The noise ceiling from people's repeated ratings.

    Args:
        first, second (arrays of shape `(P,)`): A person's two ratings of a picture, on any scale; see [`retest_pairs`].
        user_ids (array of shape `(P,)`): Whose they are.

    Returns:
        [`RetestCeiling`]

    Raises:
        ValueError: As [`~modeling_pamela.evaluation.metrics.user_spearman`]; or fewer than two people have a value.

    Example:

    ```python
    >>> from modeling_pamela.evaluation.ceilings import retest_ceiling

    >>> users = ["ann"] * 4 + ["bob"] * 4
    >>> found = retest_ceiling([1, 2, 3, 4, 1, 2, 3, 4], [1, 2, 3, 4, 2, 1, 4, 3], users)
    >>> round(found.agreement.mean, 2), round(found.ceiling.mean, 2)
    (0.8, 0.89)

    ```
    """
    values = user_spearman(first, second, user_ids)
    return RetestCeiling(
        agreement=bootstrap_mean(values.values),
        ceiling=bootstrap_mean(np.sqrt(values.values.clip(min=0.0))),
        values=values,
    )


def read_retest(file: str | Path) -> RetestCeiling:
    """
    The noise ceiling from a table of people who rated pictures again.

    Args:
        file (`str` or `Path`): CSV with `user_id`, `image_id`, `rating` and `repetition`, one row a rating.

    Raises:
        DataError: The file cannot be read, lacks a column, holds what is no number, or fewer than two people have a value.
    """
    columns = ["user_id", "image_id", "rating", "repetition"]
    try:
        table = pd.read_csv(file, dtype={"user_id": str, "image_id": str})
    except (OSError, ValueError) as error:
        raise DataError(f"{file} cannot be read as a table: {error}") from error
    if absent := [name for name in columns if name not in table.columns]:
        raise DataError(f"{file} lacks {', '.join(absent)}; it has {', '.join(map(str, table.columns))}.")
    try:
        numbers = [pd.to_numeric(table[name]).to_numpy(np.float64) for name in ("rating", "repetition")]
        users, first, second = retest_pairs(table["user_id"].to_numpy(str), table["image_id"].to_numpy(str), *numbers)
        return retest_ceiling(first, second, users)
    except ValueError as error:
        raise DataError(f"{file}: {error}") from error
