"""
Matrix factorisation with side information: the classic recommender, made able to score new pictures for new people.

Residual ratings of the training people are factorised by alternating least squares (Koren, Bell & Volinsky 2009); a ridge then maps picture
features to the pictures' factors, so that a picture nobody has rated has factors too (Gantner et al. 2010, "Learning Attribute-to-Feature Mappings
for Cold-Start Recommendations"). A new person's factors are a ridge on the mapped factors of the pictures they rated.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..data.folder import Ratings
from .baselines import residual_ridge
from .protocol import Case, Evidence, evaluate_scorer


__all__ = ["MatrixFactorisation", "factorise", "tune_factorisation"]

ROUNDS = 15
RANKS = (4, 16)
# Of people's and pictures' factors while they are learned; of the map from features; of a new person's factors.
FACTOR_PENALTIES = (1.0, 10.0)
MAP_PENALTIES = (1.0, 10.0, 100.0)
PERSON_PENALTIES = (1.0, 3.0, 10.0, 30.0, 100.0)


@dataclass(frozen=True)
class MatrixFactorisation:
    """
    Population score plus a person's factors times a picture's, as a [`~modeling_pamela.evaluation.protocol.PersonalScorer`].

    Attributes:
        population (`np.ndarray` of shape `(N,)`): Population score of every picture of the data folder, on the 0..1 scale.
        factors (`np.ndarray` of shape `(N, F)`): Mapped factors of every picture.
        penalty (`float`): Of a new person's factors, > 0.
    """

    population: np.ndarray
    factors: np.ndarray
    penalty: float

    name = "matrix factorisation"

    def __call__(self, evidence: Evidence, queries: np.ndarray) -> np.ndarray:
        """Scores `(q,)` of the pictures in rows `queries` for the person."""
        residuals = evidence.ratings - self.population[evidence.images]
        own = residual_ridge(self.factors[evidence.images], residuals, self.factors[queries], self.penalty)
        return self.population[queries] + own


def factorise(
    ratings: Ratings, population: np.ndarray, features: np.ndarray, rank: int, penalty: float, map_penalty: float
) -> np.ndarray:
    """
    Factors of all pictures, rated or not.

    Args:
        ratings ([`~modeling_pamela.data.folder.Ratings`]): Training ratings.
        population (`np.ndarray` of shape `(N,)`): Population score of every picture.
        features (`np.ndarray` of shape `(N, D)`): Features of every picture, centred and scaled by the caller.
        rank (`int`): F >= 1.
        penalty (`float`): > 0, on people's and pictures' factors.
        map_penalty (`float`): > 0, on the map from features to factors.

    Returns:
        `np.ndarray` of shape `(N, F)`: With a mean squared norm of 1 over the training pictures, so that one grid of penalties fits all of them.
    """
    _, user = np.unique(ratings.user, return_inverse=True)
    images, image = np.unique(ratings.image, return_inverse=True)
    residual = ratings.rating_norm - population[ratings.image]
    # A person's own bias is no factor of pictures.
    residual = residual - (np.bincount(user, residual) / np.bincount(user))[user]
    pictures = np.random.default_rng(0).normal(size=(len(images), rank))
    for _ in range(ROUNDS):
        people = _solve(pictures, user, image, residual, penalty)
        pictures = _solve(people, image, user, residual, penalty)
    centred = features - features[images].mean(0)
    known = centred[images]
    # Dual form: there are more features than pictures as often as not.
    gram = known @ known.T + map_penalty * np.eye(len(known))
    factors = centred @ (known.T @ np.linalg.solve(gram, pictures))
    return factors / np.sqrt(np.square(factors[images]).sum(1).mean()).clip(min=1e-12)


def _solve(
    fixed: np.ndarray, index: np.ndarray, other: np.ndarray, residual: np.ndarray, penalty: float
) -> np.ndarray:
    """One half of a round: the ridge of every `index` on the fixed factors of the `other` side."""
    order = np.argsort(index, kind="stable")
    starts = np.flatnonzero(np.diff(index[order], prepend=-1))
    solved = []
    for rows in np.split(order, starts[1:]):
        factors = fixed[other[rows]]
        gram = factors.T @ factors + penalty * np.eye(fixed.shape[1])
        solved.append(np.linalg.solve(gram, factors.T @ residual[rows]))
    return np.stack(solved)


def tune_factorisation(
    ratings: Ratings,
    population: np.ndarray,
    features: np.ndarray,
    cases: Sequence[Case],
    contexts: Sequence[int | None],
) -> dict[int | None, MatrixFactorisation]:
    """
    The factorisation that orders validation people's pictures best, for each context size.

    Args:
        ratings ([`~modeling_pamela.data.folder.Ratings`]): Training ratings.
        population (`np.ndarray` of shape `(N,)`): Population score of every picture.
        features (`np.ndarray` of shape `(N, D)`): Features of every picture.
        cases (sequence of [`~modeling_pamela.evaluation.protocol.Case`]): Validation cases.
        contexts (sequence of `int` or `None`): Context sizes; `None` is all of a context.

    Returns:
        `dict`: Context size to [`MatrixFactorisation`].
    """
    candidates = []
    for rank in RANKS:
        for penalty in FACTOR_PENALTIES:
            for map_penalty in MAP_PENALTIES:
                factors = factorise(ratings, population, features, rank, penalty, map_penalty)
                candidates += [MatrixFactorisation(population, factors, own) for own in PERSON_PENALTIES]
    return {
        k: max(candidates, key=lambda candidate: evaluate_scorer(candidate, cases, k).srocc.mean()) for k in contexts
    }
