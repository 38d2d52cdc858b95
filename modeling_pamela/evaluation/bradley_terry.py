"""
Bradley-Terry strengths and Elo scores from comparisons (Bradley & Terry 1952; PAMELA, Fig. 8).

A tie is half a win for either side. The likelihood is concave, so Newton's method with a line search arrives at its maximum
wherever there is one: where every group of conditions has at least one win against the rest and one loss (Ford 1957).
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike


__all__ = ["EloScores", "bradley_terry", "elo_scores"]

MEAN_ELO = 1000.0
# Ten times the odds are 400 points.
POINTS = 400 / math.log(10)
CHOICES = ("left", "right", "tie")
MAX_STEPS = 200
TOLERANCE = 1e-10


@dataclass(frozen=True)
class EloScores:
    """
    Strengths of C conditions.

    Attributes:
        conditions (`list[str]`): Names, strongest first.
        elo (`np.ndarray` of shape `(C,)`): Elo scores; their mean is 1000.
        low, high (`np.ndarray` of shape `(C,)`): Ends of the percentile bootstrap interval.
        num_comparisons (`np.ndarray` of shape `(C,)`): In how many comparisons each took part.
        num_draws_left_out (`int`): Bootstrap draws in which the conditions were not connected, so that they have no scores. They are left out,
            which narrows the intervals if they are many.
    """

    conditions: list[str]
    elo: np.ndarray
    low: np.ndarray
    high: np.ndarray
    num_comparisons: np.ndarray
    num_draws_left_out: int


def bradley_terry(wins: ArrayLike) -> np.ndarray:
    """
    Maximum likelihood strengths: P(i beats j) = 1 / (1 + exp(s_j - s_i)).

    Args:
        wins (array of shape `(..., C, C)`): How often i (row) won against j (column), half a win a tie; leading dimensions are separate problems.

    Returns:
        `np.ndarray` of shape `(..., C)`: Strengths (log odds) of mean 0.

    Raises:
        ValueError: A number is negative or not finite, or the conditions are not connected: some of them never won, or never lost,
            against the others, so that their distance is infinite.

    Example:

    ```python
    >>> from modeling_pamela.evaluation.bradley_terry import bradley_terry

    >>> # Three wins to one: odds of 3, log odds of ln 3.
    >>> bradley_terry([[0, 3], [1, 0]]).round(4).tolist()
    [0.5493, -0.5493]

    ```
    """
    wins = np.asarray(wins, dtype=np.float64)
    if wins.ndim < 2 or wins.shape[-1] != wins.shape[-2] or not wins.size:
        raise ValueError(f"wins must be a square matrix of conditions by conditions, got shape {wins.shape}.")
    if not np.isfinite(wins).all() or wins.min() < 0:
        raise ValueError("wins must be numbers of at least 0; there are negative, infinite or NaN ones.")
    shape = wins.shape[:-1]
    wins = wins.reshape(-1, *wins.shape[-2:])
    if not _connected(wins).all():
        raise ValueError(
            "The conditions are not connected: some of them never won, or never lost, a comparison against the others, and their "
            "distance cannot be told. Collect more comparisons, or leave these conditions out."
        )
    return _maximise(wins).reshape(shape)


def elo_scores(
    left: ArrayLike,
    right: ArrayLike,
    choices: ArrayLike,
    user_ids: ArrayLike | None = None,
    *,
    n: int = 1000,
    seed: int = 0,
    level: float = 0.95,
) -> EloScores:
    """
    Elo scores of conditions with bootstrap intervals.

    Args:
        left, right (arrays of shape `(M,)`, string): The two conditions of every comparison.
        choices (array of shape `(M,)`): `"left"`, `"right"` or `"tie"`.
        user_ids (array of shape `(M,)`, *optional*): Who compared. With them the bootstrap redraws people, without them comparisons.
        n (`int`): Number of bootstrap draws.
        seed (`int`): Of the draws.
        level (`float`): Coverage of the intervals, between 0 and 1.

    Returns:
        [`EloScores`]

    Raises:
        ValueError: Lengths differ, a choice is unknown, a condition is compared with itself, there are fewer than two conditions, or they are not
            connected (see [`bradley_terry`]).

    Example:

    ```python
    >>> from modeling_pamela.evaluation.bradley_terry import elo_scores

    >>> scores = elo_scores(["own"] * 4, ["other"] * 4, ["left", "left", "left", "right"], n=100)
    >>> scores.conditions, scores.elo.round(1).tolist()
    (['own', 'other'], [1095.4, 904.6])

    ```
    """
    names, cells = _cells(left, right, choices)
    size, count = len(names), len(cells)
    if n < 1 or not 0 < level < 1:
        raise ValueError(f"n must be at least 1 draw and level between 0 and 1, got {n} and {level}.")
    rng = np.random.default_rng(seed)
    if user_ids is None:
        # Comparisons with the same outcome are alike: only how many of them are drawn matters.
        kinds, frequency = np.unique(cells, axis=0, return_counts=True)
        weights = rng.multinomial(count, frequency / count, size=n)
        per_unit = _wins(kinds, np.arange(len(kinds)), size)
        total = frequency @ per_unit
    else:
        people, owner = np.unique(np.asarray(user_ids), return_inverse=True)
        if len(owner) != count:
            raise ValueError(f"There are {len(owner)} user_ids for {count} comparisons; expected one each.")
        weights = rng.multinomial(len(people), np.full(len(people), 1 / len(people)), size=n)
        per_unit = _wins(cells, owner, size)
        total = per_unit.sum(0)
    total = total.reshape(size, size)
    elo = MEAN_ELO + POINTS * bradley_terry(total)
    drawn = (weights @ per_unit).reshape(n, size, size)
    connected = _connected(drawn)
    if not connected.any():
        raise ValueError(
            f"In none of {n} bootstrap draws are the conditions connected: there are too few comparisons for an interval. Collect more."
        )
    draws = MEAN_ELO + POINTS * _maximise(drawn[connected])
    low, high = np.quantile(draws, [(1 - level) / 2, (1 + level) / 2], axis=0)
    order = np.argsort(-elo, kind="stable")
    return EloScores(
        [str(names[place]) for place in order],
        elo[order],
        low[order],
        high[order],
        (total + total.T).sum(1)[order],
        int(n - connected.sum()),
    )


def _cells(left: ArrayLike, right: ArrayLike, choices: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Names of the conditions, and of every comparison `(M, 3)`: winner, loser, whether it was a tie."""
    left, right, choices = (np.asarray(column) for column in (left, right, choices))
    if not len(left) == len(right) == len(choices) or not len(left):
        raise ValueError(
            f"There are {len(left)} left and {len(right)} right conditions and {len(choices)} choices; expected one of each a comparison, and at "
            "least one."
        )
    unknown = ~np.isin(choices, CHOICES)
    if unknown.any():
        raise ValueError(f'A choice is "left", "right" or "tie"; got {str(choices[unknown][0])!r}.')
    names, place = np.unique(np.concatenate([left, right]).astype(str), return_inverse=True)
    first, second = np.split(place, 2)
    if (first == second).any():
        raise ValueError(
            f"The condition {str(names[first[first == second][0]])!r} is compared with itself; leave that out."
        )
    tie, swap = choices == "tie", choices == "right"
    swap |= tie & (first > second)
    return names, np.stack([np.where(swap, second, first), np.where(swap, first, second), tie], axis=1)


def _wins(cells: np.ndarray, unit: np.ndarray, size: int) -> np.ndarray:
    """Matrix of wins of every unit, flat: `(units, C * C)`."""
    winner, loser, tie = cells.T
    wins = np.zeros((int(unit.max()) + 1, size * size))
    np.add.at(wins, (unit, winner * size + loser), np.where(tie, 0.5, 1.0))
    np.add.at(wins, (unit, loser * size + winner), np.where(tie, 0.5, 0.0))
    return wins


def _connected(wins: np.ndarray) -> np.ndarray:
    """`(B,)`: whether from every condition to every other there is a chain of wins."""
    reach = (wins > 0) | np.eye(wins.shape[-1], dtype=bool)
    for _ in range(max(1, (wins.shape[-1] - 1).bit_length())):
        reach = reach @ reach
    return np.all(reach, axis=(-2, -1))


def _maximise(wins: np.ndarray) -> np.ndarray:
    """Strengths `(B, C)` of mean 0 for wins `(B, C, C)` of connected conditions."""
    size = wins.shape[-1]
    games = wins + wins.swapaxes(-1, -2)
    strength = np.zeros(wins.shape[:-1])
    value = _log_likelihood(wins, strength)
    # What rounding may take off a likelihood that does not get worse.
    slack = 1e-13 * games.sum((-2, -1))
    for _ in range(MAX_STEPS):
        expected = 1 / (1 + np.exp(strength[:, None, :] - strength[:, :, None]))
        gradient = (wins - games * expected).sum(-1)
        curvature = games * expected * (1 - expected)
        hessian = -curvature
        hessian[:, np.arange(size), np.arange(size)] += curvature.sum(-1)
        # Strengths are only known up to a constant; a constant block takes the flat direction out.
        scale = curvature.sum((-2, -1), keepdims=True) / size**2
        step = np.linalg.solve(hessian + scale, gradient[..., None])[..., 0]
        length = np.ones(len(wins))
        while (worse := _log_likelihood(wins, strength + length[:, None] * step) < value - slack).any():
            length[worse] /= 2
        strength = strength + length[:, None] * step
        value = _log_likelihood(wins, strength)
        if np.abs(length[:, None] * step).max() < TOLERANCE:
            break
    return strength - strength.mean(-1, keepdims=True)


def _log_likelihood(wins: np.ndarray, strength: np.ndarray) -> np.ndarray:
    gap = strength[:, :, None] - strength[:, None, :]
    return -(wins * np.logaddexp(0.0, -gap)).sum((-2, -1))
