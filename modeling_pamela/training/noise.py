"""
How noisy people's ratings are: a level for everybody of their own, drawn from a distribution that is learned here.

The spread of levels over people maximises the marginal likelihood of the training people's ratings (empirical Bayes). Their median,
and how far the score of a new picture is off for everybody, cannot be learned from people and pictures that the model was fitted to,
for whom it is too sure: they maximise the likelihood of the validation people's ratings of validation pictures, predicted from a
few and from many of their other ratings.
"""

import math
import warnings
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ..data.embed import FolderEmbeddings
from ..data.files import DataError
from ..data.folder import DataFolder, Ratings
from ..data.joint import JointFolder, data_set_of_user, members
from ..evaluation.calibration import rating_step
from ..evaluation.protocol import Case, Evidence, validation_cases
from ..evaluation.scorers import RatingScales
from ..gaussian_taste import predictive_variance, taste_posterior
from ..modeling_pamela import PamelaForPersonalizedScoring


__all__ = ["fit_noise", "rating_log_probability"]

# One over the degrees of freedom of the Student-t noise; chosen on validation people with and without random ratings.
HEAVINESS = 0.2
MEDIANS = (0.7, 0.85, 1.0, 1.2, 1.45)
PICTURE_STDS = (0.0, 0.02, 0.04, 0.06, 0.08, 0.1, 0.12, 0.15)
CONTEXTS = (15, 60)
DRAWS = 2
MAX_PEOPLE = 400
SPREAD_ROUNDS = 30


@torch.no_grad()
def fit_noise(
    model: PamelaForPersonalizedScoring,
    folder: DataFolder | JointFolder,
    train: Ratings,
    embeddings: FolderEmbeddings,
    seed: int = 0,
) -> None:
    """
    Fit the noise model of a posterior model, in place. Its weights must be fitted already.

    Where persons do not differ (`use_user=False`), or validation people have too few ratings for a context, noise stays Gaussian and alike for all.

    Args:
        model ([`PamelaForPersonalizedScoring`]): A posterior model.
        folder ([`DataFolder`] or [`JointFolder`]): What it was trained on.
        train ([`~modeling_pamela.data.folder.Ratings`]): Its training ratings, on the scale of the model's scores.
        embeddings ([`~modeling_pamela.data.embed.FolderEmbeddings`]): Of that folder.
        seed (`int`): Of the training people that are drawn.
    """
    taste = model.posterior_taste
    taste.noise_model.zero_()
    if not model.config.use_user:
        return
    try:
        validation = validation_cases(folder, DRAWS)
    except DataError as error:
        warnings.warn(
            f"Noise is taken to be Gaussian and alike for all: there are no validation people to learn it from ({error})",
            stacklevel=2,
        )
        return
    model.eval()
    inputs = {"image": embeddings.image, "text": embeddings.text, "metadata": embeddings.metadata}
    output = model(**{f"{name}_embeds": rows.to(model.device) for name, rows in inputs.items()})
    features = output.taste_features.double().cpu()
    priors = model.prior_taste(embeddings.demographics.to(model.device), len(embeddings.demographics)).double().cpu()

    generator = torch.Generator().manual_seed(seed)
    users = np.unique(train.user)
    chosen = users[torch.randperm(len(users), generator=generator)[:MAX_PEOPLE].numpy()]
    people = [
        Evidence(int(user), train.image[rows], train.rating_norm[rows])
        for user in chosen
        for rows in [train.user == user]
    ]
    data_set = data_set_of_user(folder)
    spread = _fit_spread(people, features, priors, model.noise_variances.cpu()[data_set])
    sets = [
        _Validation(cases, rating_step(member.folder.ratings("train").rating_norm))
        for cases, member in zip(validation, members(folder), strict=True)
    ]
    scales = RatingScales(model, len(data_set), data_set)
    best = -math.inf
    for median in MEDIANS:
        candidate = torch.tensor([math.log(median), spread, HEAVINESS, 0.0])
        taste.noise_model.copy_(candidate)
        predicted = [_predict(model, of_set.cases, features, priors, scales) for of_set in sets]
        for std in PICTURE_STDS:
            likelihood = sum(
                rating_log_probability(ratings, means, (variances + (scale * std) ** 2).sqrt(), of_set.step)
                .sum()
                .item()
                for of_set, (means, variances, ratings, scale) in zip(sets, predicted, strict=True)
            )
            if likelihood > best:
                best, fitted = likelihood, torch.tensor([*candidate[:3].tolist(), std])
    taste.noise_model.copy_(fitted)


class _Validation(NamedTuple):
    """Validation cases of one data set, and the distance of two neighbouring ratings in it."""

    cases: list[Case]
    step: float


def rating_log_probability(ratings: Tensor, means: Tensor, stds: Tensor, step: float) -> Tensor:
    """
    Natural-log chance of ratings `(N,)`, 0 to 1, whose latent values are Gaussian `(N,)`: rounded to steps and cut off at the scale's
    ends, where ratings pile up. A step of 0 is a continuous scale: densities, but chances at the two ends.
    """
    half = step / 2
    low = torch.where(ratings <= half, -math.inf, (ratings - half - means) / stds)
    high = torch.where(ratings >= 1 - half, math.inf, (ratings + half - means) / stds)
    if step:
        # Of the two tails the smaller one is exact.
        flip = low > 0
        low, high = torch.where(flip, -high, low), torch.where(flip, -low, high)
        return (torch.special.ndtr(high) - torch.special.ndtr(low)).clamp_min(1e-12).log()
    inside = torch.distributions.Normal(means, stds).log_prob(ratings)
    at_low, at_high = torch.special.log_ndtr(-means / stds), torch.special.log_ndtr((means - 1) / stds)
    return torch.where(ratings <= 0, at_low, torch.where(ratings >= 1, at_high, inside))


def _fit_spread(people: list[Evidence], features: Tensor, priors: Tensor, noise_variances: Tensor) -> float:
    """Standard deviation over people of the logarithm of the noise, by EM over a grid of levels."""
    levels = torch.linspace(-1.8, 1.8, 25, dtype=torch.float64)
    likelihoods = []
    for person in people:
        rows = features[person.images]
        variances = noise_variances[person.user] * (2 * levels).exp()
        deviations = torch.from_numpy(person.ratings) - rows @ priors[person.user]
        values, vectors = torch.linalg.eigh(rows @ rows.T)
        total = values.clamp_min(0)[:, None] + variances
        likelihoods.append(-0.5 * ((vectors.T @ deviations).square()[:, None] / total + total.log()).sum(0))
    likelihood = torch.stack(likelihoods)
    centre, spread = levels.new_zeros(()), levels.new_tensor(0.5)
    for _ in range(SPREAD_ROUNDS):
        weights = (likelihood - 0.5 * ((levels - centre) / spread).square()).softmax(1)
        centre = (weights @ levels).mean()
        spread = (weights @ (levels - centre).square()).mean().sqrt().clamp_min(0.05)
    return float(spread)


def _predict(
    model: PamelaForPersonalizedScoring, cases: list[Case], features: Tensor, priors: Tensor, scales: RatingScales
) -> tuple[Tensor, Tensor, Tensor, float]:
    """
    Means, variances with a person's own noise, and ratings, of all queries of one data set given each size of context, on the set's
    own scale; and how long that scale is in units of the model's.
    """
    results = []
    for size in CONTEXTS:
        for case in cases:
            user = case.evidence.user
            rows, prior = features[case.evidence.images[:size]], priors[user]
            ratings = torch.from_numpy(scales.to_model(user, case.evidence.ratings[:size]))
            base = model.noise_variances.cpu()[scales.data_set[user]]
            noise, person = model.rating_noise(rows, ratings, prior, base)
            posterior, queries = taste_posterior(rows, ratings, noise, prior), features[case.queries]
            scale = float(scales.scale[scales.data_set[user]])
            variance = (predictive_variance(posterior, queries) + person) * scale**2
            means = torch.from_numpy(scales.from_model(user, (queries @ posterior.mean).numpy()))
            results.append((means, variance, torch.from_numpy(case.references)))
    columns = [torch.cat(column) for column in zip(*results, strict=True)]
    return columns[0], columns[1], columns[2], scale
