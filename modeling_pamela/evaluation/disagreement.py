"""
Pairs of pictures that two people order in opposite ways (PAMELA, section 7.1): what only a personal model can get right.

Whatever a model of the average person says of such a pair, it is right for one of the two people and wrong for the other: 50 %.
"""

from dataclasses import dataclass

import numpy as np

from .protocol import Predictions
from .rows import UserMetric


__all__ = ["Conflict", "Disagreement", "disagreement", "find_conflicts"]

# Comparisons of people by pairs of pictures held at a time.
BLOCK = 4_000_000


@dataclass(frozen=True)
class Disagreement:
    """
    How often predictions order a pair as a person does whom somebody else contradicts.

    Attributes:
        accuracy ([`~modeling_pamela.evaluation.rows.UserMetric`]):
            Of every person: the share of their contradicted orders that is predicted, each counted as often as it is contradicted; a tie is half right.
        pooled (`float`): The same over all conflicts alike.
        num_conflicts (`int`): Pairs of people times pairs of pictures with opposite orders.
        num_pairs (`int`): Pairs of pictures with at least one conflict.
        num_pictures (`int`): Pictures with two conflicts or more.
    """

    accuracy: UserMetric
    pooled: float
    num_conflicts: int
    num_pairs: int
    num_pictures: int


@dataclass(frozen=True)
class Conflict:
    """
    Two people who order two pictures in opposite ways, with their ratings and what was predicted.

    Attributes:
        users, images (`tuple[int, int]`): Rows of the people and of the pictures; the first person prefers the first picture.
        ratings, predictions (`np.ndarray` of shape `(2, 2)`): Of each person (row) and picture (column).
    """

    users: tuple[int, int]
    images: tuple[int, int]
    ratings: np.ndarray
    predictions: np.ndarray


def disagreement(found: Predictions, margin: float = 0.0) -> Disagreement:
    """
    Judge predictions on the pairs on which people disagree.

    Args:
        found ([`~modeling_pamela.evaluation.protocol.Predictions`]): With several context draws, every draw is judged, and its conflicts counted.
        margin (`float`): A person orders a pair if their ratings of it differ, and by no less than this, on the 0..1 scale.

    Returns:
        [`Disagreement`]

    Raises:
        ValueError: No two people order a pair of pictures in opposite ways.
    """
    users = np.unique(found.user)
    right, weight = np.zeros(len(users)), np.zeros(len(users))
    pairs: set[tuple[int, int]] = set()
    conflicts_of: dict[int, int] = {}
    num_conflicts = 0
    for table in _tables(found):
        for first, second in _pair_blocks(table):
            order, predicted = table.orders(first, second, margin)
            above, below = (order > 0), (order < 0)
            # Everybody's order of a pair is contradicted by those who prefer the other picture.
            opponents = above * below.sum(0) + below * above.sum(0)
            place = np.searchsorted(users, table.users)
            weight[place] += opponents.sum(1)
            right[place] += (opponents * (0.5 + 0.5 * np.sign(predicted) * np.sign(order))).sum(1)
            of_pair = above.sum(0) * below.sum(0)
            num_conflicts += int(of_pair.sum())
            for a, b, count in zip(first[of_pair > 0], second[of_pair > 0], of_pair[of_pair > 0], strict=True):
                images = int(table.images[a]), int(table.images[b])
                pairs.add(images)
                for image in images:
                    conflicts_of[image] = conflicts_of.get(image, 0) + int(count)
    if not num_conflicts:
        raise ValueError("No two people order a pair of pictures in opposite ways; there is nothing to disagree on.")
    has = weight > 0
    skipped = {"nobody contradicts them": users[~has]} if (~has).any() else {}
    return Disagreement(
        UserMetric(right[has] / weight[has], users[has], skipped),
        pooled=float(right.sum() / weight.sum()),
        num_conflicts=num_conflicts,
        num_pairs=len(pairs),
        num_pictures=sum(count >= 2 for count in conflicts_of.values()),
    )


def find_conflicts(found: Predictions, number: int, seed: int = 0) -> list[Conflict]:
    """
    The clearest conflicts, for a look at them (PAMELA, Fig. 10): the ones with the largest smaller gap of the two people's ratings.

    Args:
        found ([`~modeling_pamela.evaluation.protocol.Predictions`]): Its first context draw is taken.
        number (`int`): How many; at most one a pair of pictures and at most one a picture.
        seed (`int`): Which of several equally clear ones.

    Returns:
        list of [`Conflict`]: Whether they are predicted rightly plays no part in the choice.
    """
    table = _tables(found)[0]
    best: list[tuple[float, float, int, int, int, int]] = []
    rng = np.random.default_rng(seed)
    for first, second in _pair_blocks(table):
        order, _ = table.orders(first, second, margin=0.0)
        high, low = order.argmax(0), order.argmin(0)
        clear = np.minimum(order.max(0), -order.min(0))
        for pair in np.flatnonzero(clear > 0):
            best.append(
                (
                    float(clear[pair]),
                    rng.random(),
                    int(first[pair]),
                    int(second[pair]),
                    int(high[pair]),
                    int(low[pair]),
                )
            )
    chosen: list[Conflict] = []
    used: set[int] = set()
    for *_, a, b, high_user, low_user in sorted(best, reverse=True):
        if len(chosen) == number or used & {a, b}:
            continue
        used |= {a, b}
        people, images = [high_user, low_user], [a, b]
        chosen.append(
            Conflict(
                users=(int(table.users[high_user]), int(table.users[low_user])),
                images=(int(table.images[a]), int(table.images[b])),
                ratings=table.references[np.ix_(people, images)],
                predictions=table.predictions[np.ix_(people, images)],
            )
        )
    return chosen


@dataclass(frozen=True)
class _Table:
    """One draw as a table of people by pictures, NaN where there is no query."""

    users: np.ndarray
    images: np.ndarray
    references: np.ndarray
    predictions: np.ndarray

    def orders(self, first: np.ndarray, second: np.ndarray, margin: float) -> tuple[np.ndarray, np.ndarray]:
        """Differences `(U, P)` of ratings (0 below the margin, and where one is missing) and of predictions."""
        order = np.nan_to_num(self.references[:, first] - self.references[:, second])
        # As in pairwise accuracy, a difference that falls short of the margin by a rounding error still counts.
        order[np.abs(order) < margin * (1 - 1e-9)] = 0.0
        return order, np.nan_to_num(self.predictions[:, first] - self.predictions[:, second])


def _tables(found: Predictions) -> list[_Table]:
    tables = []
    for draw in np.unique(found.draw):
        rows = found.draw == draw
        users, user = np.unique(found.user[rows], return_inverse=True)
        images, image = np.unique(found.image[rows], return_inverse=True)
        references = np.full((len(users), len(images)), np.nan)
        predictions = references.copy()
        references[user, image], predictions[user, image] = found.references[rows], found.predictions[rows]
        tables.append(_Table(users, images, references, predictions))
    return tables


def _pair_blocks(table: _Table) -> list[tuple[np.ndarray, np.ndarray]]:
    """All pairs of pictures, a few at a time."""
    first, second = np.triu_indices(len(table.images), 1)
    number = max(1, len(first) * len(table.users) // BLOCK)
    return list(zip(np.array_split(first, number), np.array_split(second, number), strict=True))
