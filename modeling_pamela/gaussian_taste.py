"""
The algebra of a Gaussian taste.

A person's score of picture x is `mu(x) + phi(x) . w`, a rating is that score plus noise, and the taste `w` (W numbers) has
the prior `N(b, I)`. Given k ratings the posterior of `w` is Gaussian in closed form (Rasmussen & Williams 2006, section 2.1):

    Lambda = I + Phi^T D^-1 Phi        mean = b + Lambda^-1 Phi^T D^-1 (r - Phi b)        D = diag(noise variance)

The functions below never form `Lambda`. They divide every row by its noise and solve in the k x k system
`K = Phi Phi^T + I`, whose eigenvalues are at least 1, so that its Cholesky factor exists however alike the pictures are.
Where k > W the rows are first compressed to W by a QR decomposition, which leaves the posterior as it is. A row of zeros
says nothing, so people with different numbers of ratings are batched by padding with zeros.

All results are float64, whatever the precision of the network that made the features.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor


__all__ = ["TastePosterior", "log_marginal_likelihood", "predictive_variance", "rating_noise", "taste_posterior"]

# Noise levels that are weighed against each other, in standard deviations of their logarithm; and rounds of EM.
LEVELS = torch.linspace(-4, 4, 17, dtype=torch.float64)
OUTLIER_ROUNDS = 6


class TastePosterior(NamedTuple):
    """
    A Gaussian posterior over tastes.

    Attributes:
        mean (`torch.Tensor` of shape `(..., W)`): Posterior mean of `w`, prior mean included.
        reduction (`torch.Tensor` of shape `(..., m, W)`):
            What the evidence took from the prior's unit covariance: the posterior covariance is
            `I - reduction^T reduction`; m is the smaller of k and W.
    """

    mean: Tensor
    reduction: Tensor


def taste_posterior(
    features: Tensor, residuals: Tensor, noise_variance: Tensor | float, prior_mean: Tensor | None = None
) -> TastePosterior:
    """
    Posterior of a taste given ratings.

    Args:
        features (`torch.Tensor` of shape `(..., k, W)`): Taste features of the rated pictures; k may be 0.
        residuals (`torch.Tensor` of shape `(..., k)`): Rating minus population score.
        noise_variance (`float` or `torch.Tensor` broadcastable to `(..., k)`): Variance of a rating around the person's score, > 0.
        prior_mean (`torch.Tensor` of shape `(..., W)`, *optional*): Mean of the prior; zero where not given.

    Returns:
        [`TastePosterior`]

    Example:

    ```python
    >>> import torch
    >>> from modeling_pamela.gaussian_taste import predictive_variance, taste_posterior

    >>> # One direction, one rating that is 1 above the population, noise as large as the prior: half of it is believed.
    >>> posterior = taste_posterior(torch.ones(1, 1), torch.ones(1), noise_variance=1.0)
    >>> posterior.mean.round(decimals=6).tolist()
    [0.5]
    >>> predictive_variance(posterior, torch.ones(1, 1)).round(decimals=6).tolist()
    [0.5]

    ```
    """
    features, residuals = features.double(), residuals.double()
    if prior_mean is None:
        prior_mean = features.new_zeros(features.shape[:-2] + features.shape[-1:])
    prior_mean = prior_mean.double()
    deviations = residuals - (features @ prior_mean.unsqueeze(-1)).squeeze(-1)
    whitened, deviations = _whiten(features, deviations, noise_variance)
    whitened, deviations, _ = _compress(whitened, deviations)
    factor = _cholesky_of_gram(whitened)
    reduction = torch.linalg.solve_triangular(factor, whitened, upper=False)
    innovations = torch.linalg.solve_triangular(factor, deviations.unsqueeze(-1), upper=False)
    mean = prior_mean + (reduction.mT @ innovations).squeeze(-1)
    return TastePosterior(mean, reduction)


def rating_noise(
    features: Tensor, deviations: Tensor, noise_variance: Tensor | float, level_spread: float, heaviness: float
) -> tuple[Tensor, Tensor]:
    """
    How noisy a person's ratings are, and which of them are out of line.

    The logarithm of a person's noise is Gaussian over people. Its posterior given the ratings, taste integrated out, is computed on a grid
    from one eigendecomposition of the k x k Gram matrix, and the mean noise variance is taken. With it, ratings have Student-t
    noise: EM (Lange, Little & Taylor 1989) gives one that no taste explains along with the others a larger variance.

    Args:
        features (`torch.Tensor` of shape `(..., k, W)`): Taste features of the rated pictures; a row of zeros is padding.
        deviations (`torch.Tensor` of shape `(..., k)`): Rating minus its mean under the prior; 0 in padding.
        noise_variance (`float` or `torch.Tensor` of shape `(...)`): Of the median person, > 0.
        level_spread (`float`): Standard deviation over people of the logarithm of the noise's standard deviation; 0: all are alike.
        heaviness (`float`): One over the degrees of freedom of the Student-t noise; 0 is Gaussian noise.

    Returns:
        `tuple[torch.Tensor, torch.Tensor]`: Noise variances of the ratings `(..., k)` and of the person `(...)`.

    Example:

    ```python
    >>> import torch
    >>> from modeling_pamela.gaussian_taste import rating_noise

    >>> # Six ratings of one picture; the last is out of line.
    >>> deviations = torch.tensor([0.0, 0.1, -0.1, 0.05, -0.05, 0.9])
    >>> ratings, person = rating_noise(torch.ones(6, 1), deviations, 0.01, level_spread=0.3, heaviness=0.2)
    >>> (ratings[-1] > 2 * ratings[0]).item()
    True

    ```
    """
    features, deviations = features.double(), deviations.double()
    gram = features @ features.mT
    person = torch.as_tensor(noise_variance, dtype=torch.float64, device=features.device).expand(deviations.shape[:-1])
    if level_spread > 0:
        values, vectors = torch.linalg.eigh(gram)
        projected = (vectors.mT @ deviations.unsqueeze(-1)).square()
        levels = person.unsqueeze(-1) * (2 * level_spread * LEVELS.to(features.device)).exp()
        total = values.clamp_min(0).unsqueeze(-1) + levels.unsqueeze(-2)
        # Padding has an eigenvalue of 0 and nothing to explain; what it would add is taken off.
        padding = features.eq(0).all(-1).sum(-1, keepdim=True)
        surprise = (projected / total + total.log()).sum(-2) - padding * levels.log()
        weights = (-0.5 * (surprise + LEVELS.to(features.device).square())).softmax(-1)
        person = (weights * levels).sum(-1)
    variances = person.unsqueeze(-1).expand(deviations.shape)
    if heaviness > 0:
        base, heard = person.unsqueeze(-1), deviations.unsqueeze(-1)
        for _ in range(OUTLIER_ROUNDS):
            total = gram.clone()
            total.diagonal(dim1=-2, dim2=-1).add_(variances)
            inverse = torch.cholesky_inverse(torch.linalg.cholesky(total))
            # The square of what is left of each rating, and how unsure that is, together.
            pull = (inverse @ heard).squeeze(-1).square()
            squares = variances * (1 - variances * (inverse.diagonal(dim1=-2, dim2=-1) - pull))
            variances = (base + heaviness * squares) / (1 + heaviness)
    return variances, person


def predictive_variance(posterior: TastePosterior, features: Tensor) -> Tensor:
    """
    Variance of a person's score of pictures (without rating noise).

    Args:
        posterior ([`TastePosterior`]): Of one person, or batched like `features`.
        features (`torch.Tensor` of shape `(..., n, W)`): Taste features of the pictures.

    Returns:
        `torch.Tensor` of shape `(..., n)`: Variances, >= 0.
    """
    features = features.double()
    variance = features.square().sum(-1) - (features @ posterior.reduction.mT).square().sum(-1)
    return variance.clamp_min(0.0)


def log_marginal_likelihood(
    features: Tensor,
    residuals: Tensor,
    noise_variance: Tensor | float,
    prior_mean: Tensor | None = None,
    mask: Tensor | None = None,
) -> Tensor:
    """
    Log density of all of a person's ratings, with the taste integrated out (Rasmussen & Williams 2006, Eq. 2.30).

    Args:
        features (`torch.Tensor` of shape `(..., k, W)`): Taste features of the rated pictures.
        residuals (`torch.Tensor` of shape `(..., k)`): Rating minus population score.
        noise_variance (`float` or `torch.Tensor` broadcastable to `(..., k)`): Variance of a rating, > 0.
        prior_mean (`torch.Tensor` of shape `(..., W)`, *optional*): Mean of the prior; zero where not given.
        mask (`torch.Tensor` of shape `(..., k)`, *optional*): True where there is a rating; the rest is padding.

    Returns:
        `torch.Tensor` of shape `(...)`: Natural-log densities.

    Example:

    ```python
    >>> import torch
    >>> from modeling_pamela.gaussian_taste import log_marginal_likelihood

    >>> density = log_marginal_likelihood(torch.ones(1, 1), torch.zeros(1), noise_variance=1.0)
    >>> expected = torch.distributions.Normal(0.0, 2.0**0.5).log_prob(torch.tensor(0.0))
    >>> abs(density - expected).item() < 1e-6
    True

    ```
    """
    features, residuals = features.double(), residuals.double()
    if prior_mean is not None:
        residuals = residuals - (features @ prior_mean.double().unsqueeze(-1)).squeeze(-1)
    noise_variance = torch.as_tensor(noise_variance, dtype=torch.float64, device=features.device).expand_as(residuals)
    if mask is None:
        mask = torch.ones_like(residuals, dtype=torch.bool)
    features = features * mask.unsqueeze(-1)
    residuals = torch.where(mask, residuals, 0.0)

    whitened, deviations = _whiten(features, residuals, noise_variance)
    whitened, deviations, left_over = _compress(whitened, deviations)
    factor = _cholesky_of_gram(whitened)
    innovations = torch.linalg.solve_triangular(factor, deviations.unsqueeze(-1), upper=False)
    quadratic = innovations.square().sum((-2, -1)) + left_over
    log_determinant = 2 * factor.diagonal(dim1=-2, dim2=-1).log().sum(-1)
    log_noise = torch.where(mask, (2 * math.pi * noise_variance).log(), 0.0).sum(-1)
    return -0.5 * (quadratic + log_determinant + log_noise)


def _whiten(features: Tensor, residuals: Tensor, noise_variance: Tensor | float) -> tuple[Tensor, Tensor]:
    """Divide every row by the standard deviation of its noise."""
    precision = torch.as_tensor(noise_variance, dtype=torch.float64, device=features.device).rsqrt()
    precision = precision.expand_as(residuals)
    return features * precision.unsqueeze(-1), residuals * precision


def _compress(whitened: Tensor, deviations: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Where there are more rows than columns: as few rows that say the same, and the squares that no taste explains."""
    k, width = whitened.shape[-2:]
    # Features of an input that nobody has are all zeros, and QR has no gradient where columns depend on each other.
    if k <= width or whitened.requires_grad:
        return whitened, deviations, deviations.new_zeros(deviations.shape[:-1])
    orthogonal, triangular = torch.linalg.qr(whitened)
    projected = (orthogonal.mT @ deviations.unsqueeze(-1)).squeeze(-1)
    left_over = (deviations - (orthogonal @ projected.unsqueeze(-1)).squeeze(-1)).square().sum(-1)
    return triangular, projected, left_over


def _cholesky_of_gram(whitened: Tensor) -> Tensor:
    """Lower Cholesky factor of `whitened whitened^T + I`."""
    gram = whitened @ whitened.mT
    gram = gram + torch.eye(gram.shape[-1], dtype=gram.dtype, device=gram.device)
    return torch.linalg.cholesky(gram)
