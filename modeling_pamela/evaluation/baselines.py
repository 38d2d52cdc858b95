"""What a personal model has to beat, population score plus ridge on a person's residuals, and a goal: what the crowd says."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from .protocol import Case, Evidence, evaluate_scorer
from .rows import finite_array, round_off


__all__ = ["PENALTIES", "CrowdOracle", "ResidualRidge", "UserMean", "residual_ridge", "tune_residual_ridge"]

# Half decades; for features whose rows have a mean squared norm of about 1.
PENALTIES = tuple(float(10.0**exponent) for exponent in np.arange(-2, 4.5, 0.5))


def residual_ridge(
    context_features: np.ndarray,
    residuals: np.ndarray,
    query_features: np.ndarray,
    penalty: float,
    bandwidth: float | None = None,
) -> np.ndarray:
    """
    One person's correction of the population score: kernel ridge regression of their residuals, in dual form (k x k).

    The kernel is `1 + a . b`, or `1 + exp(-|a - b|^2 / (2 bandwidth^2))`; its 1 is an intercept, penalised like the rest.

    Args:
        context_features (`np.ndarray` of shape `(k, D)`): Features of the pictures the person rated; k may be 0.
        residuals (`np.ndarray` of shape `(k,)`): Rating minus population score of these pictures.
        query_features (`np.ndarray` of shape `(q, D)`): Features of the pictures to score.
        penalty (`float`): lambda > 0, added to the diagonal of the kernel matrix.
        bandwidth (`float`, *optional*): > 0, turns the linear kernel into an RBF kernel of this length scale.

    Returns:
        `np.ndarray` of shape `(q,)`: To be added to the population scores of the queries; 0 without context.

    Raises:
        ValueError: `penalty` or `bandwidth` is not above 0, shapes do not fit, or a residual is NaN or infinite.

    Example:

    ```python
    >>> import numpy as np
    >>> from modeling_pamela.evaluation.baselines import residual_ridge

    >>> # One picture, 0.6 above the population; kernel 1 + 1, so that 2 / (2 + 1) of it is believed.
    >>> residual_ridge(np.ones((1, 1)), np.array([0.6]), np.array([[1.0], [-1.0]]), penalty=1.0).round(3).tolist()
    [0.4, 0.0]

    ```
    """
    if not penalty > 0 or not (bandwidth is None or bandwidth > 0):
        raise ValueError(f"penalty and bandwidth must be above 0, got {penalty} and {bandwidth}.")
    residuals = finite_array("residuals", residuals)
    if len(context_features) != len(residuals) or context_features.shape[1:] != query_features.shape[1:]:
        raise ValueError(
            f"There are {len(residuals)} residuals for context features of shape {context_features.shape} and query features of "
            f"shape {query_features.shape}; expected (k,), (k, D) and (q, D)."
        )
    gram = _kernel(context_features, context_features, bandwidth)
    gram[np.diag_indices_from(gram)] += penalty
    return _kernel(query_features, context_features, bandwidth) @ np.linalg.solve(gram, residuals)


def _kernel(a: np.ndarray, b: np.ndarray, bandwidth: float | None) -> np.ndarray:
    a, b = a.astype(np.float64), b.astype(np.float64)
    products = a @ b.T
    if bandwidth is None:
        return 1.0 + products
    squared_distances = np.square(a).sum(1)[:, None] + np.square(b).sum(1) - 2 * products
    return 1.0 + np.exp(-np.maximum(squared_distances, 0.0) / (2 * bandwidth**2))


@dataclass(frozen=True)
class ResidualRidge:
    """
    Population score plus [`residual_ridge`], as a [`PersonalScorer`].

    Attributes:
        population (`np.ndarray` of shape `(N,)`): Population score of every picture of the data folder, on the 0..1 scale.
        features (`np.ndarray` of shape `(N, D)`): Features of every picture, centred and scaled by the caller: the ridge
            takes them as they are.
        penalty (`float`), bandwidth (`float`, *optional*): See [`residual_ridge`].
    """

    population: np.ndarray
    features: np.ndarray
    penalty: float
    bandwidth: float | None = None

    name = "population + ridge"

    def __call__(self, evidence: Evidence, queries: np.ndarray) -> np.ndarray:
        """Scores `(q,)` of the pictures in rows `queries` for the person."""
        residuals = evidence.ratings - self.population[evidence.images]
        return self.population[queries] + residual_ridge(
            self.features[evidence.images], residuals, self.features[queries], self.penalty, self.bandwidth
        )


def tune_residual_ridge(
    population: np.ndarray,
    features: np.ndarray,
    cases: Sequence[Case],
    k: int | None,
    penalties: Sequence[float] = PENALTIES,
    bandwidths: Sequence[float | None] = (None,),
) -> ResidualRidge:
    """
    The ridge with the best mean user SROCC on validation cases, over all combinations of the two grids.

    Args:
        population (`np.ndarray` of shape `(N,)`), features (`np.ndarray` of shape `(N, D)`): See [`ResidualRidge`].
        cases (sequence of [`Case`]): Of validation people, never of test people.
        k (`int`, *optional*): Size of the context it is tuned for; `None` for all of it.
        penalties (sequence of `float`): Candidates for lambda; the largest of several equally good ones is taken.
        bandwidths (sequence of `float` or `None`): Candidates for the RBF kernel's length scale; `None` is the linear kernel.

    Returns:
        [`ResidualRidge`]: Its `penalty` and `bandwidth` are the choice. Where that is an end of a grid, widen the grid.

    Raises:
        ValueError: There are no cases, a grid is empty, or as for [`residual_ridge`].
    """
    candidates = [
        ResidualRidge(population, features, penalty, bandwidth)
        for bandwidth in bandwidths
        for penalty in sorted(penalties, reverse=True)
    ]
    if not candidates or not cases:
        raise ValueError(
            f"Tuning needs at least one penalty, one bandwidth and one case, got {len(penalties)}, {len(bandwidths)} and "
            f"{len(cases)}."
        )
    return max(candidates, key=lambda ridge: evaluate_scorer(ridge, cases, k).srocc.mean())


@dataclass(frozen=True)
class UserMean:
    """
    The mean of a person's ratings for every picture, as a [`PersonalScorer`]: it knows the level and no order, so its SROCC is 0.

    Attributes:
        mean (`float`): Of the training ratings, for who gave none.
    """

    mean: float

    name = "per-user mean"

    def __call__(self, evidence: Evidence, queries: np.ndarray) -> np.ndarray:
        """The same score for all queries, `(q,)`."""
        return np.full(len(queries), evidence.ratings.mean() if len(evidence.ratings) else self.mean)


class CrowdOracle:
    """
    The mean rating of a picture by everybody else: what a perfect predictor of the common taste could say of it.

    It sees ratings of the very pictures that are to be scored, so it is a yardstick and no competitor. A picture that
    nobody else rated gets the mean of all ratings by the others.

    Args:
        users (`np.ndarray` of shape `(R,)`, int): Who gave each rating, a row number >= 0.
        images (`np.ndarray` of shape `(R,)`, int): Which picture was rated, a row number >= 0.
        ratings (`np.ndarray` of shape `(R,)`): The ratings, of every split that knows the pictures in question.

    Raises:
        ValueError: No ratings, NaN or infinity, lengths that differ, or row numbers that are none.

    Example:

    ```python
    >>> import numpy as np
    >>> from modeling_pamela.evaluation.baselines import CrowdOracle

    >>> users, images, ratings = np.array([0, 1, 2, 0]), np.array([0, 0, 0, 1]), np.array([0.0, 0.4, 0.8, 1.0])
    >>> oracle = CrowdOracle(users, images, ratings)
    >>> # Person 0: picture 0 by the two others; picture 1 has no other rating, so it gets the mean of these two.
    >>> oracle.scores(np.array([0, 0, 1]), np.array([0, 1, 1])).round(3).tolist()
    [0.6, 0.6, 1.0]

    ```
    """

    name = "crowd oracle"

    def __init__(self, users: np.ndarray, images: np.ndarray, ratings: ArrayLike) -> None:
        ratings = finite_array("ratings", ratings)
        users, images = _rows("users", users), _rows("images", images)
        if not len(users) == len(images) == len(ratings) or not len(ratings):
            raise ValueError(
                f"There are {len(ratings)} ratings, {len(users)} users and {len(images)} images; expected one of each a rating, "
                "and at least one."
            )
        # One more than there are: the last row stands for everything unknown, with no ratings.
        self._num_users, self._num_images = int(users.max()) + 2, int(images.max()) + 2
        self._of_user = _sums(users, ratings, self._num_users)
        self._of_image = _sums(images, ratings, self._num_images)
        self._pairs, place = np.unique(users * self._num_images + images, return_inverse=True)
        self._of_pair = _sums(place, ratings, len(self._pairs) + 1)
        self._of_all = np.array([ratings.sum(), len(ratings)])
        self._scale = float(np.abs(ratings).max())

    def scores(self, users: np.ndarray, images: np.ndarray) -> np.ndarray:
        """
        Scores of pictures for people.

        Args:
            users (`np.ndarray` of shape `(Q,)`, int): The person who is left out of each mean; may be unknown.
            images (`np.ndarray` of shape `(Q,)`, int): The picture; may be unknown.

        Returns:
            `np.ndarray` of shape `(Q,)`: Always finite.

        Raises:
            ValueError: Lengths differ, row numbers are none, or there are no ratings but a person's own.
        """
        users, images = _rows("users", users), _rows("images", images)
        if len(users) != len(images):
            raise ValueError(f"There are {len(users)} users and {len(images)} images; expected one of each a score.")
        users, images = np.minimum(users, self._num_users - 1), np.minimum(images, self._num_images - 1)
        pairs = users * self._num_images + images
        place = np.searchsorted(self._pairs, pairs)
        known = np.append(self._pairs, -1)[place] == pairs
        others = self._of_image[images] - self._of_pair[np.where(known, place, -1)]
        everything = self._of_all - self._of_user[users]
        if (everything[:, 1] == 0).any():
            raise ValueError("There are no ratings by anybody else. The crowd oracle needs at least two people.")
        sums, counts = np.where(others[:, 1:] > 0, others, everything).T
        return round_off(sums / counts, self._scale)

    def __call__(self, evidence: Evidence, queries: np.ndarray) -> np.ndarray:
        """Scores `(q,)` of the pictures in rows `queries`, without the person's own ratings."""
        return self.scores(np.full(len(queries), evidence.user), queries)


def _rows(name: str, values: np.ndarray) -> np.ndarray:
    rows = np.asarray(values)
    if rows.ndim != 1 or (rows.size and (rows.dtype.kind not in "iu" or rows.min() < 0)):
        raise ValueError(f"{name} must be one flat array of row numbers, that is of integers >= 0.")
    return rows.astype(np.int64)


def _sums(index: np.ndarray, ratings: np.ndarray, size: int) -> np.ndarray:
    """Sum and number of the ratings of each index, `(size, 2)`."""
    return np.stack([np.bincount(index, ratings, size), np.bincount(index, minlength=size)], axis=1)
