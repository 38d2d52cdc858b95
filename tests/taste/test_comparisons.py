"""Gaussian stand-ins of comparisons against numerical integration in one and two dimensions."""

import math

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.stats import norm

from modeling_pamela.gaussian_taste import taste_posterior
from modeling_pamela.taste.comparisons import comparison_sites


pytestmark = pytest.mark.usefixtures("one_thread")


def chance(difference, tie, noise, threshold):
    if tie:
        # Symmetric in the difference: taken where both values are in the lower tail, so that nothing cancels.
        difference = np.abs(difference)
        return norm.cdf((threshold - difference) / noise) - norm.cdf((-threshold - difference) / noise)
    return norm.cdf((difference - threshold) / noise)


def combine(mean, covariance, sites):
    """Mean and covariance of differences after Gaussian observations of them."""
    gain = covariance @ torch.linalg.inv(covariance + torch.diag(sites.noise_variance))
    return mean + gain @ (sites.target - mean), covariance - gain @ covariance


@given(
    mean=st.floats(-3, 3),
    std=st.floats(0.05, 3),
    noise=st.floats(0.05, 2),
    threshold=st.floats(0.05, 1),
    tie=st.booleans(),
)
@settings(max_examples=80, deadline=None)
def test_one_outcome_is_exact(mean, std, noise, threshold, tie):
    sites = comparison_sites(torch.tensor([mean]), torch.tensor([[std**2]]), torch.tensor([tie]), noise, threshold)
    after, variance = combine(torch.tensor([mean]).double(), torch.tensor([[std**2]]).double(), sites)
    grid = np.linspace(mean - 40 * std, mean + 40 * std, 80_001)
    weight = norm.pdf(grid, mean, std) * chance(grid, tie, noise, threshold)
    assume(weight.sum() > 1e-200)
    weight /= weight.sum()
    expected = (weight * grid).sum()
    assert after.item() == pytest.approx(expected, abs=1e-5 * (1 + abs(mean) + std))
    assert variance.item() == pytest.approx((weight * (grid - expected) ** 2).sum(), rel=1e-4)


@pytest.mark.parametrize("ties", [(False, False), (True, False), (True, True)])
@pytest.mark.parametrize("correlation", [-0.8, 0.0, 0.9])
def test_two_outcomes_against_the_integral_over_the_plane(ties, correlation):
    noise, threshold = 0.5, 0.3
    mean = torch.tensor([0.4, -0.6], dtype=torch.float64)
    covariance = torch.tensor([[1.0, 0.7 * correlation], [0.7 * correlation, 0.49]], dtype=torch.float64)
    after, spread = combine(mean, covariance, comparison_sites(mean, covariance, torch.tensor(ties), noise, threshold))

    axis = np.linspace(-6, 6, 601)
    first, second = np.meshgrid(axis, axis, indexing="ij")
    offset = np.stack([first, second], -1) - mean.numpy()
    weight = np.exp(-0.5 * np.einsum("abi,ij,abj->ab", offset, np.linalg.inv(covariance.numpy()), offset))
    weight *= chance(first, ties[0], noise, threshold) * chance(second, ties[1], noise, threshold)
    weight /= weight.sum()
    expected = np.array([(weight * first).sum(), (weight * second).sum()])
    variances = np.array(
        [(weight * (axes - at) ** 2).sum() for axes, at in zip((first, second), expected, strict=True)]
    )
    # Expectation propagation is not exact from two outcomes on; it is this close (furthest off where two wins nearly coincide).
    np.testing.assert_allclose(after.numpy(), expected, atol=0.001)
    np.testing.assert_allclose(spread.diagonal().numpy(), variances, rtol=0.02)


@pytest.mark.parametrize("ties", [(False, False), (True, False)])
def test_two_outcomes_are_where_sequential_moment_matching_ends(ties):
    """Expectation propagation as in the book: one outcome at a time, its moments by numerical integration."""
    noise, threshold = 0.5, 0.3
    mean, covariance = np.array([0.4, -0.6]), np.array([[1.0, 0.63], [0.63, 0.49]])
    precision, shift = np.zeros(2), np.zeros(2)
    prior = np.linalg.inv(covariance)
    for _ in range(60):
        for row in range(2):
            spread = np.linalg.inv(prior + np.diag(precision))
            location = spread @ (prior @ mean + shift)
            cavity = 1 / (1 / spread[row, row] - precision[row])
            centre = cavity * (location[row] / spread[row, row] - shift[row])
            grid = np.linspace(centre - 12 * cavity**0.5, centre + 12 * cavity**0.5, 4001)
            weight = norm.pdf(grid, centre, cavity**0.5) * chance(grid, ties[row], noise, threshold)
            weight /= weight.sum()
            first = (weight * grid).sum()
            second = (weight * (grid - first) ** 2).sum()
            precision[row], shift[row] = 1 / second - 1 / cavity, first / second - centre / cavity
    sites = comparison_sites(
        torch.from_numpy(mean), torch.from_numpy(covariance), torch.tensor(ties), noise, threshold
    )
    np.testing.assert_allclose(1 / sites.noise_variance, precision, rtol=1e-7)
    np.testing.assert_allclose(sites.target / sites.noise_variance, shift, rtol=1e-7, atol=1e-9)


@given(seed=st.integers(0, 10_000), number=st.integers(1, 40), alike=st.booleans())
@settings(max_examples=60, deadline=None)
def test_sites_are_usable_whatever_was_compared(seed, number, alike):
    generator = torch.Generator().manual_seed(seed)
    rows = torch.randn(1 if alike else number, 6, generator=generator, dtype=torch.float64).expand(number, -1)
    rows = rows + 1e-9 * torch.randn(number, 6, generator=generator, dtype=torch.float64)
    tie = torch.rand(number, generator=generator) < 0.3
    sites = comparison_sites(torch.zeros(number), rows @ rows.T, tie, 0.2, 0.1)
    assert (sites.noise_variance > 0).all()
    posterior = taste_posterior(rows, sites.target, sites.noise_variance)
    assert posterior.mean.isfinite().all()


def test_a_certain_outcome_and_its_opposite_are_mirror_images():
    won = comparison_sites(torch.tensor([0.5]), torch.ones(1, 1), torch.tensor([False]), 0.3, 0.1)
    lost = comparison_sites(torch.tensor([-0.5]), torch.ones(1, 1), torch.tensor([False]), 0.3, 0.1)
    assert won.target.item() > 0.5
    assert lost.target.item() > -0.5  # what was preferred against expectation moves further
    assert lost.target.item() + 0.5 > won.target.item() - 0.5


def test_an_outcome_that_could_not_be_less_expected():
    sites = comparison_sites(torch.tensor([-50.0]), torch.ones(1, 1), torch.tensor([False]), 0.2, 0.0)
    after, variance = combine(torch.tensor([-50.0]).double(), torch.ones(1, 1).double(), sites)
    # Far in the tail the likelihood is a Gaussian that ends at 0: mean -50 s^2 / (1 + s^2).
    assert after.item() == pytest.approx(-50 * 0.04 / 1.04, rel=0.02)
    assert 0 < variance.item() < 1
    assert math.isfinite(sites.noise_variance.item())
