"""The pictures to ask about: greedy steps against the definition they stand for, computed the long way."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from modeling_pamela import TasteProfile
from modeling_pamela.gaussian_taste import TastePosterior, taste_posterior
from modeling_pamela.taste.onboarding import onboarding_order, suggest_next, suggest_pair
from modeling_pamela.taste.profile import ProfileError


pytestmark = pytest.mark.usefixtures("one_thread")

NOISE = 0.3


def known(seed, pictures=8, width=5, rated=3):
    """A pool, targets and what is known of a person who rated three other pictures."""
    generator = torch.Generator().manual_seed(seed)
    pool, targets, seen = (torch.randn(n, width, generator=generator).double() for n in (pictures, 6, rated))
    prior = torch.randn(width, generator=generator).double()
    return pool, targets, taste_posterior(seen, torch.rand(rated, generator=generator), NOISE, prior), seen


def ranking_variance(posterior, targets, mean):
    """Variance of the targets' scores, less their common shift and their stretch, summed over targets."""
    scores = targets @ mean
    basis = torch.linalg.qr(torch.stack([torch.ones_like(scores), scores], dim=1)).Q
    left = targets - basis @ (basis.mT @ targets)
    covariance = torch.eye(targets.shape[1]).double() - posterior.reduction.mT @ posterior.reduction
    return (left @ covariance @ left.mT).trace()


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), own_targets=st.booleans())
def test_each_pick_lowers_the_ranking_variance_most(seed, own_targets):
    pool, targets, posterior, seen = known(seed)
    if not own_targets:
        targets = pool
    order = suggest_next(posterior, NOISE, pool, 4, targets if own_targets else None).tolist()

    def left_over(rows):
        features = torch.cat([seen, pool[rows]])
        # The covariance does not depend on the ratings.
        after = taste_posterior(features, torch.zeros(len(features)), NOISE)
        return float(ranking_variance(after, targets, posterior.mean))

    for place in range(4):
        candidates = {row: left_over([*order[:place], row]) for row in range(len(pool)) if row not in order[:place]}
        assert candidates[order[place]] <= min(candidates.values()) + 1e-9


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_the_pair_lowers_it_most_among_pairs(seed):
    pool, targets, posterior, seen = known(seed)
    first, second = suggest_pair(posterior, NOISE, pool, targets)
    assert first < second

    def left_over(a, b):
        features = torch.cat([seen, (pool[a] - pool[b])[None]])
        noise = torch.tensor([*[NOISE] * len(seen), torch.pi * NOISE])
        return float(
            ranking_variance(taste_posterior(features, torch.zeros(len(features)), noise), targets, posterior.mean)
        )

    best = min(left_over(a, b) for b in range(len(pool)) for a in range(b))
    assert left_over(first, second) <= best + 1e-9
    assert suggest_pair(posterior, NOISE, pool, targets, exclude={(first, second)}) != (first, second)


def test_a_batch_is_diverse():
    # Two copies of the most telling picture: the second would repeat the first.
    pool = torch.tensor([[3.0, 0.0], [3.0, 0.0], [0.0, 2.0], [0.0, -2.0], [-3.0, 0.0]])
    prior = TastePosterior(torch.zeros(2), torch.zeros(0, 2))
    first, second = suggest_next(prior, 0.01, pool, 2).tolist()
    assert {first, second} in ({0, 2}, {0, 3}, {1, 2}, {1, 3}, {4, 2}, {4, 3})


def test_what_only_shifts_or_stretches_the_scores_is_not_asked():
    generator = torch.Generator().manual_seed(0)
    scores, differing = torch.randn(30, generator=generator), torch.randn(30, generator=generator)
    # Columns: the person's bias, the score itself, and a direction in which rankings differ.
    pool = torch.stack([torch.full((30,), 5.0), 3 * scores, 0.3 * differing], dim=1)
    prior = TastePosterior(torch.tensor([0.0, 1.0, 0.0]), torch.zeros(0, 3))
    left_over = []
    for rows in (suggest_next(prior, 0.1, pool, 6), torch.arange(6)):
        after = taste_posterior(pool[rows], torch.zeros(6), 0.1)
        left_over.append(1 - float(after.reduction[:, 2].square().sum()))
    assert left_over[0] < 0.25 * left_over[1]


def test_the_order_is_that_of_somebody_new(tiny_model, tiny_pictures):
    features = tiny_model(**tiny_pictures).taste_features.detach()
    order = onboarding_order(tiny_model, features, 9)
    assert sorted(order.tolist()) == list(range(9))
    new = TasteProfile.prior(tiny_model)
    assert suggest_next(new.posterior, new.noise_variance, features, 4).tolist() == order[:4].tolist()


def test_large_pools_of_pairs_are_those_of_telling_pictures():
    generator = torch.Generator().manual_seed(0)
    pool = torch.randn(300, 6, generator=generator)
    prior = TastePosterior(torch.randn(6, generator=generator), torch.zeros(0, 6))
    first, second = suggest_pair(prior, 1.0, pool)
    telling = suggest_next(prior, 1.0, pool, 100).tolist()
    assert first in telling
    assert second in telling


def test_wrong_input(tiny_token_model):
    prior = TastePosterior(torch.zeros(2), torch.zeros(0, 2))
    pool = torch.eye(2)
    with pytest.raises(ProfileError, match="2 pictures, too few to choose 3"):
        suggest_next(prior, 1.0, pool, 3)
    with pytest.raises(ProfileError, match="number 2 of the pool"):
        suggest_next(prior, 1.0, torch.tensor([[1.0, 2.0], [torch.nan, 0.0]]), 1)
    with pytest.raises(ProfileError, match="no pair left"):
        suggest_pair(prior, 1.0, pool, exclude={(0, 1)})
    with pytest.raises(ProfileError, match="no pair left"):
        suggest_pair(prior, 1.0, pool[:0])
    with pytest.raises(ProfileError, match="token model"):
        onboarding_order(tiny_token_model, pool, 1)
    assert suggest_next(prior, 1.0, pool, 0).tolist() == []
