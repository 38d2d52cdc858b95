"""
How much of the ratings is taste: crossed random effects of pictures and people.

    rating = mean + picture + person + person x picture + noise

*Picture* is what all agree on, *person* is how generous somebody is, *person x picture* is personal taste, *noise* is what the same person would not
repeat. Only repeated ratings of the same picture by the same person tell the last two apart.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from .bootstrap import Interval
from .rows import finite_array


__all__ = ["TasteVariance", "taste_variance"]


@dataclass(frozen=True)
class TasteVariance:
    """
    Variance components in squared units of the ratings, each with an interval that redraws people. They are unbiased, so that a
    component that is hardly there may come out a little below 0.

    Attributes:
        total ([`~modeling_pamela.evaluation.bootstrap.Interval`]): Sum of the others.
        picture, person ([`~modeling_pamela.evaluation.bootstrap.Interval`]): What all agree on; people's generosity.
        taste_and_noise ([`~modeling_pamela.evaluation.bootstrap.Interval`]): Person x picture and noise together.
        taste, noise ([`~modeling_pamela.evaluation.bootstrap.Interval`], *optional*): The two apart, where there are repeated ratings.
        num_people, num_pictures, num_ratings, num_repeated (`int`): What it was computed from; repeated ones are pairs of ratings of one person and picture.
    """

    total: Interval
    picture: Interval
    person: Interval
    taste_and_noise: Interval
    taste: Interval | None
    noise: Interval | None
    num_people: int
    num_pictures: int
    num_ratings: int
    num_repeated: int


def taste_variance(
    users: ArrayLike, images: ArrayLike, ratings: ArrayLike, *, n: int = 1000, seed: int = 0, level: float = 0.95
) -> TasteVariance:
    """
    Split the variance of ratings, whoever rated whatever how often.

    Half the mean squared difference of two ratings is, in expectation, the sum of the components in which they differ. The components
    follow from its mean over pairs of the same picture by two people, of two pictures by the same person, of neither, and of both. (A method
    of moments, unbiased for crossed designs with gaps; Searle, Casella & McCulloch 1992, chapter 5.)

    Args:
        users, images (arrays of shape `(R,)`): Who rated what.
        ratings (array of shape `(R,)`): On any scale.
        n (`int`): Bootstrap draws of people.
        seed (`int`): Of the draws.
        level (`float`): Coverage of the intervals, between 0 and 1.

    Returns:
        [`TasteVariance`]

    Raises:
        ValueError: Lengths differ, a rating is not finite, or no picture has two raters or no person two pictures.

    Example:

    ```python
    >>> import numpy as np
    >>> from modeling_pamela.evaluation.variance import taste_variance

    >>> rng = np.random.default_rng(0)
    >>> users, images = np.repeat(np.arange(200), 50), np.tile(np.arange(50), 200)
    >>> ratings = rng.normal(0, 2, 50)[images] + rng.normal(0, 1, 200)[users] + rng.normal(0, 3, 10000)
    >>> found = taste_variance(users, images, ratings, n=100)
    >>> [round(part.mean, 1) for part in (found.person, found.taste_and_noise)], found.taste
    ([1.2, 8.9], None)

    ```
    """
    ratings = finite_array("ratings", ratings)
    people, user = np.unique(np.asarray(users), return_inverse=True)
    pictures, image = np.unique(np.asarray(images), return_inverse=True)
    if not len(user) == len(image) == len(ratings) or not len(ratings):
        raise ValueError(
            f"There are {len(user)} users, {len(image)} images and {len(ratings)} ratings; expected one of each a rating, and at least one."
        )
    if n < 1 or not 0 < level < 1:
        raise ValueError(f"n must be at least 1 draw and level between 0 and 1, got {n} and {level}.")
    moments = _Moments(user, image, ratings - ratings.mean(), len(people), len(pictures))
    estimate = moments.components(np.ones(len(people)))
    if not np.isfinite(estimate[:3]).all():
        raise ValueError(
            "The components cannot be told apart: two people must have rated the same picture, and somebody two pictures."
        )
    rng = np.random.default_rng(seed)
    drawn = rng.multinomial(len(people), np.full(len(people), 1 / len(people)), size=n)
    draws = np.stack([moments.components(weight) for weight in drawn])

    def interval(weights: tuple[float, ...]) -> Interval:
        low, high = np.nanquantile(draws @ weights, [(1 - level) / 2, (1 + level) / 2])
        return Interval(float(estimate @ weights), float(low), float(high))

    repeated = moments.num_repeated > 0
    if not repeated:
        estimate, draws = estimate[:3], draws[:, :3]
    picture, person, both = (1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)
    rest = (0.0,) if repeated else ()
    return TasteVariance(
        total=interval((1.0, 1.0, 1.0, *rest)),
        picture=interval(picture + rest),
        person=interval(person + rest),
        taste_and_noise=interval(both + rest),
        taste=interval((0.0, 0.0, 1.0, -1.0)) if repeated else None,
        noise=interval((0.0, 0.0, 0.0, 1.0)) if repeated else None,
        num_people=len(people),
        num_pictures=len(pictures),
        num_ratings=len(ratings),
        num_repeated=moments.num_repeated,
    )


class _Moments:
    """Half mean squared differences of pairs of ratings, from number, sum and squares of every person's ratings of every picture."""

    def __init__(self, user: np.ndarray, image: np.ndarray, ratings: np.ndarray, people: int, pictures: int) -> None:
        pairs, cell = np.unique(user * pictures + image, return_inverse=True)
        self.user, self.image, self.people = pairs // pictures, pairs % pictures, people
        self.cells = np.stack([np.bincount(cell), np.bincount(cell, ratings), np.bincount(cell, ratings**2)])
        self.persons = self._sums(self.user, self.cells, people)
        self.num_repeated = int((self.cells[0] * (self.cells[0] - 1)).sum() / 2)

    def components(self, weight: np.ndarray) -> np.ndarray:
        """Picture, person, taste and noise, noise, `(4,)`, where every person counts `weight` `(people,)` times; NaN where there are no pairs."""
        ours = weight[self.user]
        cells, persons = _pairs(self.cells), _pairs(self.persons)
        of_picture = self._sums(self.image, self.cells * ours, int(self.image.max()) + 1)
        # Somebody who is drawn twice is no second person: their pairs with themselves are taken out.
        same_picture = _pairs(of_picture).sum(1) - (cells * ours**2).sum(1)
        other_people = _pairs((self.persons * weight).sum(1)) - (persons * weight**2).sum(1)
        neither = other_people - same_picture
        same_cell = (cells * ours).sum(1)
        same_person = (persons * weight).sum(1) - same_cell
        # Of a rating with itself there is no pair.
        same_cell[0] -= (self.cells[0] * ours).sum()
        with np.errstate(invalid="ignore", divide="ignore"):
            by_picture, by_person, total, noise = (
                difference / number for number, difference in (same_picture, same_person, neither, same_cell)
            )
        return np.array([total - by_picture, total - by_person, by_picture + by_person - total, noise])

    @staticmethod
    def _sums(index: np.ndarray, cells: np.ndarray, size: int) -> np.ndarray:
        return np.stack([np.bincount(index, row, size) for row in cells])


def _pairs(sums: np.ndarray) -> np.ndarray:
    """From number, sum and squares of ratings `(3, ...)`: number of ordered pairs and sum of their half squared differences `(2, ...)`."""
    number, total, squares = sums
    return np.stack([number**2, number * squares - total**2])
