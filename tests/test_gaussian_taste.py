"""The closed-form algebra against the textbook form, scipy and its own laws."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import multivariate_normal, norm

from modeling_pamela.gaussian_taste import (
    log_marginal_likelihood,
    predictive_variance,
    rating_noise,
    taste_posterior,
)


def make_evidence(seed, k, width):
    generator = torch.Generator().manual_seed(seed)
    features = torch.randn(k, width, generator=generator, dtype=torch.float64)
    residuals = torch.randn(k, generator=generator, dtype=torch.float64)
    noise = 0.1 + torch.rand(k, generator=generator, dtype=torch.float64)
    prior_mean = torch.randn(width, generator=generator, dtype=torch.float64)
    return features, residuals, noise, prior_mean


shapes = {"seed": st.integers(0, 10_000), "k": st.integers(0, 12), "width": st.integers(1, 8)}


@given(**shapes)
@settings(max_examples=60, deadline=None)
def test_posterior_equals_textbook_form(seed, k, width):
    features, residuals, noise, prior_mean = make_evidence(seed, k, width)
    posterior = taste_posterior(features, residuals, noise, prior_mean)

    precision = torch.eye(width, dtype=torch.float64) + features.T @ (features / noise[:, None])
    expected = prior_mean + torch.linalg.solve(precision, features.T @ ((residuals - features @ prior_mean) / noise))
    torch.testing.assert_close(posterior.mean, expected, rtol=1e-9, atol=1e-9)
    covariance = torch.eye(width, dtype=torch.float64) - posterior.reduction.T @ posterior.reduction
    torch.testing.assert_close(covariance, torch.linalg.inv(precision), rtol=1e-9, atol=1e-9)

    queries = torch.randn(5, width, dtype=torch.float64)
    expected_variance = (queries @ torch.linalg.inv(precision) * queries).sum(-1)
    torch.testing.assert_close(predictive_variance(posterior, queries), expected_variance, rtol=1e-8, atol=1e-9)


@given(**shapes)
@settings(max_examples=60, deadline=None)
def test_marginal_likelihood_equals_scipy(seed, k, width):
    features, residuals, noise, prior_mean = make_evidence(seed, k, width)
    value = log_marginal_likelihood(features, residuals, noise, prior_mean)
    if k == 0:
        assert value == 0.0
        return
    covariance = features @ features.T + torch.diag(noise)
    expected = multivariate_normal.logpdf(
        residuals.numpy(), mean=(features @ prior_mean).numpy(), cov=covariance.numpy(), allow_singular=False
    )
    assert value.item() == pytest.approx(expected, rel=1e-9, abs=1e-8)


@given(seed=st.integers(0, 10_000), k=st.integers(1, 9), padding=st.integers(1, 9))
@settings(max_examples=30, deadline=None)
def test_padding_changes_nothing(seed, k, padding):
    features, residuals, noise, _ = make_evidence(seed, k, 5)
    padded_features = torch.cat([features, torch.zeros(padding, 5, dtype=torch.float64)])
    padded_residuals = torch.cat([residuals, torch.zeros(padding, dtype=torch.float64)])
    padded_noise = torch.cat([noise, torch.ones(padding, dtype=torch.float64)])
    mask = torch.arange(k + padding) < k

    plain = taste_posterior(features, residuals, noise)
    padded = taste_posterior(padded_features, padded_residuals, padded_noise)
    torch.testing.assert_close(padded.mean, plain.mean)

    # Whatever stands in the padding is not read.
    padded_features[k:], padded_residuals[k:] = 7.0, 7.0
    torch.testing.assert_close(
        log_marginal_likelihood(padded_features, padded_residuals, padded_noise, mask=mask),
        log_marginal_likelihood(features, residuals, noise),
    )


@given(seed=st.integers(0, 10_000), k=st.integers(1, 12), width=st.integers(1, 8))
@settings(max_examples=30, deadline=None)
def test_evidence_never_raises_uncertainty(seed, k, width):
    features, residuals, noise, _ = make_evidence(seed, k, width)
    queries = torch.randn(6, width, dtype=torch.float64)
    fewer = predictive_variance(taste_posterior(features[:-1], residuals[:-1], noise[:-1]), queries)
    more = predictive_variance(taste_posterior(features, residuals, noise), queries)
    assert (more <= fewer + 1e-10).all()


def test_batched_equals_looped():
    people = [make_evidence(seed, 7, 4)[:3] for seed in range(3)]
    features, residuals, noise = (torch.stack(parts) for parts in zip(*people, strict=True))
    batched = taste_posterior(features, residuals, noise)
    for row, person in enumerate(people):
        torch.testing.assert_close(batched.mean[row], taste_posterior(*person).mean)


@pytest.mark.parametrize("seed", range(20))
def test_almost_identical_pictures_are_solved(seed):
    generator = torch.Generator().manual_seed(seed)
    base = torch.randn(1, 64, generator=generator, dtype=torch.float64)
    features = base + 1e-12 * torch.randn(500, 64, generator=generator, dtype=torch.float64)
    posterior = taste_posterior(features, torch.ones(500), noise_variance=1e-4)
    assert posterior.mean.isfinite().all()
    torch.testing.assert_close((base @ posterior.mean).item(), 1.0, rtol=1e-4, atol=1e-4)
    assert predictive_variance(posterior, base).item() < 1e-6


def test_network_in_half_precision_gives_float64_algebra():
    posterior = taste_posterior(torch.randn(4, 3, dtype=torch.bfloat16), torch.randn(4), 0.1)
    assert posterior.mean.dtype == torch.float64


def test_marginal_likelihood_gradient():
    features, residuals, noise, prior_mean = make_evidence(0, 6, 3)
    inputs = tuple(tensor.requires_grad_() for tensor in (features, residuals, noise, prior_mean))
    assert torch.autograd.gradcheck(log_marginal_likelihood, inputs)


@given(
    seed=st.integers(0, 100_000),
    k=st.integers(1, 30),
    width=st.integers(1, 20),
    alike=st.booleans(),
    log_noise=st.floats(-6, 1),
    log_scale=st.floats(-4, 3),
)
@settings(max_examples=1000, deadline=None)
def test_no_design_breaks_the_algebra(seed, k, width, alike, log_noise, log_scale):
    generator = torch.Generator().manual_seed(seed)
    rows = torch.randn(1 if alike else k, width, generator=generator, dtype=torch.float64).expand(k, -1)
    rows = 10**log_scale * (rows + 1e-9 * torch.randn(k, width, generator=generator, dtype=torch.float64))
    ratings = torch.rand(k, generator=generator, dtype=torch.float64)
    variances, person = rating_noise(rows, ratings, 10**log_noise, 0.3, 0.2)
    assert (variances > 0).all()
    assert person > 0
    posterior = taste_posterior(rows, ratings, variances)
    assert posterior.mean.isfinite().all()
    variance = predictive_variance(posterior, rows)
    assert (variance >= 0).all()
    assert (variance <= rows.square().sum(-1) * (1 + 1e-9)).all()


def test_500_almost_identical_pictures():
    generator = torch.Generator().manual_seed(0)
    rows = torch.randn(1, 320, generator=generator) + 1e-7 * torch.randn(500, 320, generator=generator)
    ratings = torch.rand(500, generator=generator)
    variances, _ = rating_noise(rows, ratings, 0.03, 0.3, 0.2)
    posterior = taste_posterior(rows, ratings, variances)
    weighted_mean = (ratings / variances).sum() / (1 / variances).sum()
    torch.testing.assert_close(rows.double() @ posterior.mean, weighted_mean.expand(500), rtol=0, atol=1e-3)


def test_noise_level_is_the_posterior_mean_over_levels():
    features, deviations, _, _ = make_evidence(3, 7, 5)
    _, person = rating_noise(features, deviations, 0.05, level_spread=0.4, heaviness=0.0)
    levels = 0.05 * np.exp(2 * 0.4 * np.linspace(-4, 4, 17))
    gram = (features @ features.T).numpy()
    weights = [
        multivariate_normal.pdf(deviations.numpy(), cov=gram + level * np.eye(7)) * norm.pdf(place)
        for level, place in zip(levels, np.linspace(-4, 4, 17), strict=True)
    ]
    assert person.item() == pytest.approx(np.average(levels, weights=weights), rel=1e-9)


def test_noise_without_spread_and_tails_is_the_same_for_all():
    features, deviations, _, _ = make_evidence(0, 6, 4)
    variances, person = rating_noise(features, deviations, 0.05, 0.0, 0.0)
    assert person == 0.05
    assert variances.tolist() == [0.05] * 6


def test_a_noisier_person_and_a_rating_out_of_line_are_told_apart():
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(40, 5, generator=generator, dtype=torch.float64)
    taste, noise = torch.randn(5, generator=generator, dtype=torch.float64), torch.randn(40, generator=generator)
    quiet, loud = (features @ taste + std * noise for std in (0.1, 0.4))
    levels = [rating_noise(features, ratings, 0.04, 0.4, 0.0)[1] for ratings in (quiet, loud)]
    assert levels[0] < 0.04 < levels[1]
    wrong = quiet.clone()
    wrong[7] += 5
    variances, _ = rating_noise(features, wrong, 0.04, 0.4, 0.2)
    assert variances.argmax() == 7
    assert variances[7] > 3 * variances.median()


@given(seed=st.integers(0, 10_000), k=st.integers(1, 9), padding=st.integers(1, 9))
@settings(max_examples=30, deadline=None)
def test_padding_changes_no_noise(seed, k, padding):
    features, deviations, _, _ = make_evidence(seed, k, 5)
    variances, person = rating_noise(features, deviations, 0.05, 0.3, 0.2)
    padded = torch.cat([features, torch.zeros(padding, 5, dtype=torch.float64)])
    again, person_again = rating_noise(padded, torch.cat([deviations, torch.zeros(padding)]), 0.05, 0.3, 0.2)
    torch.testing.assert_close(again[:k], variances, rtol=1e-9, atol=0)
    torch.testing.assert_close(person_again, person, rtol=1e-9, atol=0)
