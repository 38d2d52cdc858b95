"""
What to ask a person next.

Asking about a picture is worth what it takes from the uncertainty of the person's *ranking* of the pictures in question (the targets):
the variance of their scores, summed over all pairs of targets. A common shift of the scores changes no ranking, and neither does a
stretch of the scores as predicted so far, so both are projected out first: what is left is the A-optimal Bayesian design
(Chaloner & Verdinelli 1995) for the directions in which rankings differ.

The covariance of a Gaussian taste does not depend on the answers, so a whole batch is chosen greedily before any is given. Each
pick lowers the variance of what resembles it, which keeps the batch diverse.
"""

import math
from collections.abc import Collection
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ..gaussian_taste import TastePosterior
from .profile import ProfileError


if TYPE_CHECKING:
    from ..modeling_pamela import PamelaForPersonalizedScoring

__all__ = ["onboarding_order", "suggest_next", "suggest_pair"]

# All pairs of so many pictures are weighed; of larger pools, those of the most telling pictures.
MAX_PAIRED_PICTURES = 100


def suggest_next(
    posterior: TastePosterior,
    noise_variance: float,
    pool_features: Tensor,
    n: int,
    target_features: Tensor | None = None,
) -> Tensor:
    """
    The n pictures of a pool whose ratings would teach most about a person's ranking of the targets.

    Args:
        posterior ([`~modeling_pamela.gaussian_taste.TastePosterior`]): What is known of the person's taste so far.
        noise_variance (`float`): Variance of one of their ratings around their score, > 0.
        pool_features (`torch.Tensor` of shape `(N, W)`): Taste features of the pictures that could be asked.
        n (`int`): How many to choose.
        target_features (`torch.Tensor` of shape `(T, W)`, *optional*): Of the pictures to rank in the end; by default the pool.

    Returns:
        `torch.Tensor` of shape `(n,)`: Rows of the pool, the most telling first. The first m of them are the choice for m.

    Raises:
        ProfileError: The pool has fewer than n pictures, or features that are not finite.

    Example:

    ```python
    >>> import torch
    >>> from modeling_pamela.gaussian_taste import TastePosterior
    >>> from modeling_pamela.taste.onboarding import suggest_next

    >>> # Two directions of taste; the pictures differ most along the second.
    >>> prior = TastePosterior(torch.zeros(2), torch.zeros(0, 2))
    >>> pool = torch.tensor([[0.1, 0.0], [0.0, 2.0], [0.0, -1.0], [0.2, 0.1]])
    >>> suggest_next(prior, 1.0, pool, n=2).tolist()
    [1, 2]

    ```
    """
    pool = _usable(pool_features)
    if not 0 <= n <= len(pool):
        raise ProfileError(
            f"The pool has {len(pool)} pictures, too few to choose {n}. Ask for fewer, or add pictures."
        )
    design = _Design(posterior, pool, pool if target_features is None else _usable(target_features))
    chosen: list[int] = []
    for _ in range(n):
        gains = design.gains(noise_variance)
        gains[chosen] = -torch.inf
        chosen.append(int(gains.argmax()))
        design.observe(chosen[-1], noise_variance)
    return torch.tensor(chosen, dtype=torch.int64)


@torch.no_grad()
def onboarding_order(
    model: "PamelaForPersonalizedScoring", pool_features: Tensor, n: int, target_features: Tensor | None = None
) -> Tensor:
    """
    The n pictures to ask of anybody new, in order: [`suggest_next`] from the population's prior, computed once for a pool.

    Args:
        model ([`PamelaForPersonalizedScoring`]): A posterior model.
        pool_features, n, target_features: As in [`suggest_next`].

    Returns:
        `torch.Tensor` of shape `(n,)`: Rows of the pool.

    Raises:
        ProfileError: As [`suggest_next`]; or the model has no posterior.
    """
    if model.taste is None:
        raise ProfileError(
            'An onboarding order needs a model with `user_conditioning="posterior"`; this is a token model.'
        )
    mean = model.prior_taste()[0].double().cpu()
    prior = TastePosterior(mean, mean.new_zeros(0, len(mean)))
    return suggest_next(prior, float(model.noise_variance), pool_features, n, target_features)


def suggest_pair(
    posterior: TastePosterior,
    noise_variance: float,
    pool_features: Tensor,
    target_features: Tensor | None = None,
    exclude: Collection[tuple[int, int]] = (),
) -> tuple[int, int]:
    """
    The two pictures of a pool whose comparison would teach most about a person's ranking of the targets.

    A comparison on which the person is undecided tells of the difference in score what a Gaussian observation with `pi / 2` times
    the noise variance of that difference does. All pairs are weighed as if undecided: preferring those that are (or the pairs with
    the highest mutual information; Houlsby et al. 2011) did not validate better. Of pools above 100 pictures, the pairs of the 100
    most telling ones are weighed.

    Args:
        posterior, noise_variance, pool_features, target_features: As in [`suggest_next`].
        exclude (collection of `(int, int)`): Pairs of rows, the smaller first, that are not to be asked (again).

    Returns:
        `(int, int)`: Two rows of the pool, the smaller first.

    Raises:
        ProfileError: There is no pair left to ask, or features are not finite.

    Example:

    ```python
    >>> import torch
    >>> from modeling_pamela.gaussian_taste import TastePosterior
    >>> from modeling_pamela.taste.onboarding import suggest_pair

    >>> prior = TastePosterior(torch.zeros(2), torch.zeros(0, 2))
    >>> suggest_pair(prior, 1.0, torch.tensor([[0.1, 0.0], [0.0, 2.0], [0.0, -1.0]]))
    (1, 2)

    ```
    """
    pool = _usable(pool_features)
    rows = torch.arange(len(pool))
    if len(pool) > MAX_PAIRED_PICTURES:
        rows = suggest_next(posterior, noise_variance, pool, MAX_PAIRED_PICTURES, target_features).sort().values
    design = _Design(posterior, pool[rows], pool if target_features is None else _usable(target_features))
    gains = design.pair_gains(math.pi / 2 * 2 * noise_variance)
    known = {row: place for place, row in enumerate(rows.tolist())}
    for first, second in exclude:
        if first in known and second in known:
            gains[known[first], known[second]] = -torch.inf
    if not gains.numel() or gains.max() == -torch.inf:
        raise ProfileError(f"The pool of {len(pool)} pictures has no pair left to compare. Add pictures.")
    first, second = divmod(int(gains.argmax()), len(rows))
    return int(rows[first]), int(rows[second])


class _Design:
    """
    The taste's covariance seen from the pool, and how it shrinks: everything a greedy step needs, in O(N W) a step.

    For a picture x the summed target variance that a rating takes away is `|A C x|^2 / (x . C x + noise)`, with the current
    covariance C and the projected targets A.
    """

    def __init__(self, posterior: TastePosterior, pool: Tensor, targets: Tensor) -> None:
        scores = targets @ posterior.mean.double()
        scores = scores - scores.mean()
        projected = targets - targets.mean(0)
        if scores.square().sum() > 0:
            projected = projected - scores[:, None] * (scores @ projected / scores.square().sum())
        self.gram = projected.mT @ projected
        self.pool = pool
        self.covariances = pool - (pool @ posterior.reduction.double().mT) @ posterior.reduction.double()
        self.weighted = self.covariances @ self.gram
        self.variances = (self.covariances * pool).sum(-1)

    def gains(self, noise_variance: Tensor | float) -> Tensor:
        """`(N,)`: what a rating of each would take away."""
        return (self.covariances * self.weighted).sum(-1) / (self.variances + noise_variance)

    def pair_gains(self, noise_variance: float) -> Tensor:
        """`(N, N)`: the same for an observation of the difference of two, where the first is the smaller row; -inf elsewhere."""
        common, joint = self.covariances @ self.weighted.mT, self.covariances @ self.pool.mT
        taken = common.diagonal()[:, None] + common.diagonal() - common - common.mT
        variances = joint.diagonal()[:, None] + joint.diagonal() - 2 * joint
        gains = taken / (variances + noise_variance)
        return gains.masked_fill(torch.ones_like(gains, dtype=torch.bool).tril(), -torch.inf)

    def observe(self, row: int, noise_variance: float) -> None:
        """The rank-one change by a rating of one picture."""
        direction = self.covariances[row] / math.sqrt(self.variances[row] + noise_variance)
        along = self.pool @ direction
        self.covariances = self.covariances - along[:, None] * direction
        self.weighted = self.weighted - along[:, None] * (self.gram @ direction)
        self.variances = self.variances - along.square()


def _usable(features: Tensor) -> Tensor:
    features = features.double().cpu()
    wrong = ~features.isfinite().all(-1)
    if wrong.any():
        raise ProfileError(
            f"Picture number {int(wrong.nonzero()[0]) + 1} of the pool has taste features that are not finite. Leave it out."
        )
    return features
