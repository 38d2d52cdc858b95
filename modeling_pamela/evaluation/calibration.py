"""Whether stated uncertainty is honest: how often intervals hold the rating, where ratings fall in their predicted distributions."""

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import ndtr

from .rows import UserMetric, finite_array, group_rows


__all__ = [
    "calibration_error",
    "pit_deviation",
    "randomised_pit",
    "rating_step",
    "user_coverage",
    "user_pit_coverage",
]

# A scale of more different ratings is taken for a continuous one.
MAX_STEPS = 25


def rating_step(ratings: np.ndarray) -> float:
    """
    Distance of two neighbouring ratings, 0 to 1, on a scale of steps; 0 where it is a continuous one.

    Example:

    ```python
    >>> import numpy as np
    >>> rating_step(np.array([0.0, 0.5, 1.0, 0.5])), rating_step(np.linspace(0, 1, 1000))
    (0.5, 0.0)

    ```
    """
    values = np.unique(ratings)
    return float(np.diff(values).min()) if 1 < len(values) <= MAX_STEPS else 0.0


def user_coverage(lower: ArrayLike, upper: ArrayLike, references: ArrayLike, user_ids: ArrayLike) -> UserMetric:
    """
    Share of a person's ratings that lie in the intervals given for them, ends included.

    Args:
        lower, upper (array of shape `(R,)`): Ends of the intervals, in the unit of the ratings; `lower <= upper`.
        references (array of shape `(R,)`): Ratings.
        user_ids (array of shape `(R,)`, integer or string): Whose rating it is, in any order.

    Returns:
        [`~modeling_pamela.evaluation.rows.UserMetric`]: Values in 0..1 of everybody, to be compared with the level of the intervals.

    Raises:
        ValueError: An argument is empty, differs in length from the others, or holds NaN or infinity; or an interval ends before it begins.

    Example:

    ```python
    >>> from modeling_pamela.evaluation.calibration import user_coverage

    >>> metric = user_coverage([0.1, 0.2, 0.5], [0.4, 0.6, 0.9], [0.4, 0.7, 0.6], ["ann", "ann", "bob"])
    >>> metric.user_ids.tolist(), metric.values.tolist()
    (['ann', 'bob'], [0.5, 1.0])

    ```
    """
    lower, upper, references = (
        finite_array("lower", lower),
        finite_array("upper", upper),
        finite_array("references", references),
    )
    if not len(lower) == len(upper) == len(references):
        raise ValueError(
            f"There are {len(lower)} lower ends, {len(upper)} upper ends and {len(references)} references; expected one of each a rating."
        )
    if (lower > upper).any():
        raise ValueError(f"{int((lower > upper).sum())} intervals end before they begin.")
    return _user_share((lower <= references) & (references <= upper), user_ids)


def randomised_pit(
    means: ArrayLike, stds: ArrayLike, references: ArrayLike, step: float = 0.0, seed: int | np.random.Generator = 0
) -> np.ndarray:
    """
    Where each rating falls in its predicted distribution: the randomised probability integral transform (Czado, Gneiting & Held 2009).

    The latent value of a rating is Gaussian, rounded to steps and cut off at 0 and 1, where ratings pile up; of the chance of the
    rating that was given, a uniformly random part is counted as below. Under the true distribution the results are uniform.

    Args:
        means, stds (array of shape `(R,)`): Of the latent values; standard deviations > 0.
        references (array of shape `(R,)`): Ratings, 0 to 1.
        step (`float`): Distance of two neighbouring ratings ([`rating_step`]); 0 is a continuous scale.
        seed (`int` or `np.random.Generator`): Of the random parts.

    Returns:
        `np.ndarray` of shape `(R,)`: In 0..1.

    Raises:
        ValueError: Lengths differ, a number is NaN or infinite, or a standard deviation is not above 0.

    Example:

    ```python
    >>> from modeling_pamela.evaluation.calibration import randomised_pit

    >>> # On a continuous scale nothing is random but at its ends.
    >>> randomised_pit([0.5, 0.5], [0.1, 0.1], [0.5, 0.6]).round(3).tolist()
    [0.5, 0.841]

    ```
    """
    means, stds, references = (
        finite_array("means", means),
        finite_array("stds", stds),
        finite_array("references", references),
    )
    if not len(means) == len(stds) == len(references):
        raise ValueError(
            f"There are {len(means)} means, {len(stds)} standard deviations and {len(references)} references; expected one of each a rating."
        )
    if not (stds > 0).all():
        raise ValueError("Standard deviations must be above 0.")
    half = step / 2
    low = np.where(references <= half, -np.inf, (references - half - means) / stds)
    high = np.where(references >= 1 - half, np.inf, (references + half - means) / stds)
    below, up_to = ndtr(low), ndtr(high)
    return below + np.random.default_rng(seed).random(len(references)) * (up_to - below)


def user_pit_coverage(pit: ArrayLike, user_ids: ArrayLike, level: float = 0.8) -> UserMetric:
    """
    Share of a person's ratings whose [`randomised_pit`] lies in the middle `level`: exact coverage, also on a scale of steps.

    Args:
        pit (array of shape `(R,)`): From [`randomised_pit`].
        user_ids (array of shape `(R,)`, integer or string): Whose rating it is, in any order.
        level (`float`): Between 0 and 1.

    Returns:
        [`~modeling_pamela.evaluation.rows.UserMetric`]: Values in 0..1 of everybody, to be compared with the level.

    Raises:
        ValueError: As [`user_coverage`]; or `level` is out of range.
    """
    if not 0 < level < 1:
        raise ValueError(f"level must lie between 0 and 1, got {level}.")
    return _user_share(np.abs(finite_array("pit", pit) - 0.5) < level / 2, user_ids)


def pit_deviation(pit: ArrayLike) -> float:
    """
    Largest distance of the distribution of [`randomised_pit`] from the uniform one (the Kolmogorov-Smirnov statistic): 0 to 1.

    Raises:
        ValueError: It is empty, or holds NaN or infinity.
    """
    places = np.sort(finite_array("pit", pit))
    if not len(places):
        raise ValueError("There are no ratings to evaluate on; expected at least one.")
    steps = np.arange(len(places) + 1) / len(places)
    return float(max((steps[1:] - places).max(), (places - steps[:-1]).max()))


def calibration_error(chances: ArrayLike, outcomes: ArrayLike, bins: int = 10) -> float:
    """
    Expected calibration error of stated chances: mean of |mean chance - share that came true| in bins of equal width.

    Args:
        chances (array of shape `(P,)`): Stated chances, 0 to 1.
        outcomes (array of shape `(P,)`): 1 where it came true, else 0.
        bins (`int`): Number of bins.

    Raises:
        ValueError: Lengths differ, nothing is given, a number is NaN or infinite, or a chance is outside of 0..1.
    """
    chances, outcomes = finite_array("chances", chances), finite_array("outcomes", outcomes)
    if len(chances) != len(outcomes) or not len(chances):
        raise ValueError(
            f"There are {len(chances)} chances and {len(outcomes)} outcomes; expected as many, at least one."
        )
    if chances.min() < 0 or chances.max() > 1:
        raise ValueError("Chances lie between 0 and 1.")
    place = np.minimum((chances * bins).astype(int), bins - 1)
    gaps = np.bincount(place, chances, minlength=bins) - np.bincount(place, outcomes, minlength=bins)
    return float(np.abs(gaps).sum() / len(chances))


def _user_share(inside: np.ndarray, user_ids: ArrayLike) -> UserMetric:
    """Somebody with one rating, or with equal ones, has a coverage too."""
    rows = group_rows(inside, inside, user_ids)
    return UserMetric(np.add.reduceat(rows.predictions, rows.starts) / rows.sizes, rows.user_ids, {})
