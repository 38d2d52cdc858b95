"""
What comparisons of two pictures say of a taste.

A person who compares two pictures sees the score of each with the noise of a rating (Thurstone 1927, case V), and prefers the first
if it is ahead by more than a threshold, the second if that one is, and calls it a tie in between:

    P(first) = Phi((f - t) / s)      P(tie) = Phi((t - f) / s) - Phi((-t - f) / s)      f = (phi_first - phi_second) . w

with the noise s of a difference, sqrt(2) times that of a rating, and the threshold t >= 0. The posterior of a taste given such
outcomes is not Gaussian. Expectation propagation (Minka 2001; Rasmussen & Williams 2006, section 3.6) replaces every outcome by a
Gaussian observation of f, so that comparisons and ratings are evidence of one kind afterwards. It was preferred to Laplace's
method because it matches mean and variance, where Laplace takes the mode, which lies off the mean of these skewed posteriors.
Both likelihoods are log-concave, so that every such observation has a positive variance.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor


__all__ = ["GaussianSites", "comparison_sites"]

SWEEPS = 200
TOLERANCE = 1e-11


class GaussianSites(NamedTuple):
    """
    Gaussian observations that stand for evidence.

    Attributes:
        target (`torch.Tensor` of shape `(n,)`): What was observed.
        noise_variance (`torch.Tensor` of shape `(n,)`): With what variance, > 0.
    """

    target: Tensor
    noise_variance: Tensor


def comparison_sites(
    mean: Tensor, covariance: Tensor, tie: Tensor, noise_std: float, threshold: float
) -> GaussianSites:
    """
    Gaussian observations of score differences that stand for the outcomes of comparisons.

    Args:
        mean (`torch.Tensor` of shape `(c,)`): What is known of the differences without the comparisons: score of the preferred
            picture minus that of the other (for a tie, either way round).
        covariance (`torch.Tensor` of shape `(c, c)`): Likewise.
        tie (`torch.Tensor` of shape `(c,)`, bool): Where neither was preferred.
        noise_std (`float`): s, the noise of a difference.
        threshold (`float`): t, what a difference must be above not to be a tie; above 0 where there are ties.

    Returns:
        [`GaussianSites`] of c observations.

    Example:

    ```python
    >>> import torch
    >>> from modeling_pamela.taste.comparisons import comparison_sites

    >>> # A difference that is N(0, 1), seen without noise to be positive: its mean becomes sqrt(2 / pi).
    >>> sites = comparison_sites(torch.zeros(1), torch.ones(1, 1), torch.tensor([False]), noise_std=1e-6, threshold=0.0)
    >>> (sites.target / (1 + sites.noise_variance)).round(decimals=4).tolist()
    [0.7979]

    ```
    """
    mean, covariance = mean.double(), covariance.double()
    identity = torch.eye(len(mean), dtype=torch.float64)
    precision, shift = torch.zeros_like(mean), torch.zeros_like(mean)
    damping, previous = 1.0, math.inf
    for _ in range(SWEEPS):
        # The posterior of the differences given all sites; `shift` is the sites' precision times their target.
        root = precision.sqrt()
        factor = torch.linalg.cholesky(root[:, None] * covariance * root + identity)
        half = torch.linalg.solve_triangular(factor, root[:, None] * covariance, upper=False)
        variance = (covariance.diagonal() - half.square().sum(0)).clamp_min(1e-14)
        drift = shift - precision * mean
        location = mean + covariance @ drift - half.mT @ (half @ drift)
        # One site taken out, its outcome put in, moments matched.
        cavity_variance = 1 / (1 / variance - precision).clamp_min(1e-14)
        cavity_mean = cavity_variance * (location / variance - shift)
        slope, curvature = _log_evidence_derivatives(cavity_mean, cavity_variance, tie, noise_std, threshold)
        new_precision = 1 / (1 / curvature - cavity_variance).clamp_min(1e-14)
        new_shift = new_precision * (cavity_mean + slope / curvature)
        scale = 1 + new_precision.abs().amax() + new_shift.abs().amax()
        change = torch.maximum((new_precision - precision).abs().amax(), (new_shift - shift).abs().amax()) / scale
        if change > previous:
            damping = max(damping / 2, 0.1)
        previous = float(change)
        precision = torch.lerp(precision, new_precision, damping)
        shift = torch.lerp(shift, new_shift, damping)
        if change < TOLERANCE:
            break
    return GaussianSites(shift / precision, 1 / precision)


def _log_evidence_derivatives(
    mean: Tensor, variance: Tensor, tie: Tensor, noise_std: float, threshold: float
) -> tuple[Tensor, Tensor]:
    """Slope `(c,)` and negative second derivative `(c,)`, by the mean, of the log chance of each outcome under `N(mean, variance)`."""
    spread = (variance + noise_std**2).sqrt()
    ahead = (mean - threshold) / spread
    # The inverse Mills ratio, in logarithms: both its parts underflow for outcomes that were not expected.
    ratio = (_log_density(ahead) - torch.special.log_ndtr(ahead)).exp()
    slope, curvature = ratio / spread, ratio * (ratio + ahead) / spread.square()
    if tie.any():
        # A tie is symmetric, so that it can be computed in the tail where nothing cancels.
        high, low = (threshold - mean.abs()) / spread, (-threshold - mean.abs()) / spread
        log_high, log_low = torch.special.log_ndtr(high), torch.special.log_ndtr(low)
        log_chance = log_high + torch.log(-torch.expm1(log_low - log_high))
        at_high, at_low = (_log_density(high) - log_chance).exp(), (_log_density(low) - log_chance).exp()
        inward = (at_low - at_high) / spread
        tie_slope = inward * torch.where(mean < 0, -1.0, 1.0)
        tie_curvature = inward.square() + (high * at_high - low * at_low) / spread.square()
        slope, curvature = torch.where(tie, tie_slope, slope), torch.where(tie, tie_curvature, curvature)
    # Between 0 and 1 / variance in exact arithmetic.
    return slope, torch.minimum(curvature.clamp_min(1e-12), (1 - 1e-12) / variance)


def _log_density(values: Tensor) -> Tensor:
    return -0.5 * (values.square() + math.log(2 * math.pi))
