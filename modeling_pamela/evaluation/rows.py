"""Checked rows of predictions and ratings, each person's together: what every user metric is computed on."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike


__all__ = ["Rows", "UserMetric", "finite_array", "group_rows", "round_off", "tie_runs", "user_metric"]

TOO_FEW = "fewer than two ratings"
CONSTANT = "all ratings equal"


@dataclass(frozen=True)
class UserMetric:
    """
    A metric with one value a person.

    Attributes:
        values (`np.ndarray` of shape `(U,)`): The metric of each person who has one.
        user_ids (`np.ndarray` of shape `(U,)`): These people, sorted.
        skipped (`dict[str, np.ndarray]`): Reason -> people without a value; only reasons that occur.
    """

    values: np.ndarray
    user_ids: np.ndarray
    skipped: dict[str, np.ndarray]

    @property
    def mean(self) -> float:
        """Mean over people; a `ValueError` where nobody has a value."""
        if not len(self.values):
            reasons = ", ".join(f"{len(users)} with {reason}" for reason, users in self.skipped.items())
            raise ValueError(
                f"Nobody has a value of this metric ({reasons}). Evaluate on people with differing ratings."
            )
        return float(self.values.mean())


@dataclass(frozen=True)
class Rows:
    """
    Checked rows, each person's together.

    Attributes:
        predictions, references (`np.ndarray` of shape `(R,)`): float64, finite.
        group (`np.ndarray` of shape `(R,)`): Number of the row's person, ascending.
        first (`np.ndarray` of shape `(R,)`): First row of the row's person.
        starts, sizes (`np.ndarray` of shape `(U,)`): First row and number of rows of every person.
        user_ids (`np.ndarray` of shape `(U,)`): The people, sorted.
    """

    predictions: np.ndarray
    references: np.ndarray
    group: np.ndarray
    first: np.ndarray
    starts: np.ndarray
    sizes: np.ndarray
    user_ids: np.ndarray


def group_rows(predictions: ArrayLike, references: ArrayLike, ids: ArrayLike) -> Rows:
    """
    Check flat arrays of one entry a rating, and bring each person's together.

    Raises:
        ValueError: An argument is empty, differs in length from the others, or holds NaN or infinity.
    """
    predictions = finite_array("predictions", predictions)
    references = finite_array("references", references)
    ids = _id_array(ids)
    if not len(predictions) == len(references) == len(ids):
        raise ValueError(
            f"There are {len(predictions)} predictions, {len(references)} references and {len(ids)} ids; expected one of "
            "each a rating."
        )
    if not len(ids):
        raise ValueError("There are no ratings to evaluate on; expected at least one.")
    user_ids, group = np.unique(ids, return_inverse=True)
    order = np.argsort(group, kind="stable")
    group = group[order]
    sizes = np.bincount(group)
    starts = np.cumsum(sizes) - sizes
    return Rows(predictions[order], references[order], group, starts[group], starts, sizes, user_ids)


def finite_array(name: str, values: ArrayLike) -> np.ndarray:
    """`values` as float64 of shape `(R,)`; a `ValueError` that names them where they are anything else, or not finite."""
    try:
        array = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name} cannot be read as an array of numbers: {error}") from error
    if array.ndim != 1:
        raise ValueError(f"{name} must be one flat array, got shape {array.shape}.")
    wrong = np.flatnonzero(~np.isfinite(array))
    if len(wrong):
        raise ValueError(
            f"{name} holds {len(wrong)} values that are NaN or infinite (the first: {array[wrong[0]]} at position {wrong[0]}). "
            "Repair or leave out these rows."
        )
    return array


def _id_array(ids: ArrayLike) -> np.ndarray:
    array = np.asarray(ids)
    # Object arrays are how tables hand over strings; None or NaN between them is a missing id, which belongs to nobody.
    if array.dtype.kind == "O" and all(isinstance(value, str) for value in array.flat):
        array = array.astype(str)
    if array.ndim != 1 or (array.dtype.kind not in "iuUST" and array.size):
        raise ValueError(
            f"ids must be one flat array of integers or strings without gaps, got shape {array.shape} of type {array.dtype}."
        )
    return array


def round_off(values: np.ndarray, scale: float) -> np.ndarray:
    """Drop what lies beyond 12 digits of `scale`: rounding errors of sums, which would tell apart what is equal."""
    exponent = np.frexp(scale)[1]
    return np.ldexp(np.round(np.ldexp(values, -exponent), 12), exponent)


def tie_runs(values: np.ndarray, rows: Rows) -> tuple[np.ndarray, np.ndarray]:
    """Order `(R,)` by person, then value; and in that order the number `(R,)` of each row's run of equal values, counted over everybody."""
    order = np.lexsort((values, rows.group))
    is_new = np.ones(len(values), dtype=bool)
    is_new[1:] = np.diff(values[order]) != 0
    is_new[rows.starts] = True
    return order, np.cumsum(is_new) - 1


def user_metric(rows: Rows, values: np.ndarray, without: Mapping[str, np.ndarray] | None = None) -> UserMetric:
    """
    The people for whom a metric has a meaning, and the others with the reason why it has none.

    Args:
        rows ([`Rows`]): What it was computed on.
        values (`np.ndarray` of shape `(U,)`): A value for everybody, meaningless for some.
        without (`Mapping[str, np.ndarray]`, *optional*): Further reasons, to who `(U,)` has no value because of them; people with fewer
            than two ratings, or with equal ones, never have one.
    """
    too_few = rows.sizes < 2
    equal = np.maximum.reduceat(rows.references, rows.starts) == np.minimum.reduceat(rows.references, rows.starts)
    keep = np.ones(len(values), dtype=bool)
    skipped = {}
    for reason, who in {TOO_FEW: too_few, CONSTANT: equal, **(without or {})}.items():
        if (who & keep).any():
            skipped[reason] = rows.user_ids[who & keep]
        keep &= ~who
    return UserMetric(values[keep], rows.user_ids[keep], skipped)
