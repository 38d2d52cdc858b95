"""How far predictions lie from ratings, as they are or after a straight line has been fitted through them."""

from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from .rows import Rows, UserMetric, group_rows, user_metric


__all__ = ["Calibration", "user_absolute_error", "user_squared_error"]

# Which line is fitted by least squares first: none, one through all rows, or one through each person's own.
Calibration = Literal["none", "global", "user"]


def user_squared_error(
    predictions: ArrayLike, references: ArrayLike, user_ids: ArrayLike, calibration: Calibration = "none"
) -> UserMetric:
    """
    Mean squared error (MSE) of predictions inside every person.

    Args:
        predictions (array of shape `(R,)`): Scores; in the unit of the ratings, if they are not calibrated.
        references (array of shape `(R,)`): Ratings.
        user_ids (array of shape `(R,)`, integer or string): Whose rating it is, in any order.
        calibration (`"none"`, `"global"` or `"user"`):
            Move and stretch the predictions first by the line that fits all ratings best (rewards have scales of their own), or each
            person's. The line is fitted to the same ratings, so that `"user"` is a lower bound: the part of the error that is not bias or scale.

    Returns:
        [`~modeling_pamela.evaluation.rows.UserMetric`]: Values >= 0, in squared units of the ratings. People with fewer than two ratings, or
        with equal ones, are skipped as by the other metrics.

    Raises:
        ValueError: An argument is empty, differs in length from the others, or holds NaN or infinity; or the calibration is unknown.

    Example:

    ```python
    >>> from modeling_pamela.evaluation.errors import user_squared_error

    >>> for calibration in ("none", "global", "user"):
    ...     print(user_squared_error([1, 2, 3, 4], [3, 5, 5, 7], list("aabb"), calibration).values.round(3))
    [6.5 6.5]
    [0.2 0.2]
    [0. 0.]

    ```
    """
    rows = group_rows(predictions, references, user_ids)
    return user_metric(rows, _mean(np.square(_residuals(rows, calibration)), rows))


def user_absolute_error(
    predictions: ArrayLike, references: ArrayLike, user_ids: ArrayLike, calibration: Calibration = "none"
) -> UserMetric:
    """
    Mean absolute error (MAE) of predictions inside every person, in the unit of the ratings.

    Arguments, result and errors are those of [`user_squared_error`]; the line that calibrates is the least squares one here too.

    Example:

    ```python
    >>> from modeling_pamela.evaluation.errors import user_absolute_error

    >>> user_absolute_error([1, 2, 3, 4], [3, 5, 5, 7], list("aabb")).values.tolist()
    [2.5, 2.5]

    ```
    """
    rows = group_rows(predictions, references, user_ids)
    return user_metric(rows, _mean(np.abs(_residuals(rows, calibration)), rows))


def _residuals(rows: Rows, calibration: Calibration) -> np.ndarray:
    if calibration == "none":
        return rows.references - rows.predictions
    if calibration == "global":
        x, y = rows.predictions - rows.predictions.mean(), rows.references - rows.references.mean()
        squares = x @ x
        return y - x * (x @ y / squares if squares > 0 else 0.0)
    if calibration == "user":
        x = rows.predictions - _mean(rows.predictions, rows)[rows.group]
        y = rows.references - _mean(rows.references, rows)[rows.group]
        squares, products = (np.add.reduceat(values, rows.starts) for values in (x * x, x * y))
        slope = np.divide(products, squares, out=np.zeros(len(squares)), where=squares > 0)
        return y - x * slope[rows.group]
    raise ValueError(f'calibration must be "none", "global" or "user", got {calibration!r}.')


def _mean(values: np.ndarray, rows: Rows) -> np.ndarray:
    return np.add.reduceat(values, rows.starts) / rows.sizes
