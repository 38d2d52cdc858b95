"""Tastes of several people together."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from modeling_pamela import TasteProfile
from modeling_pamela.taste.groups import blend, group_profile
from modeling_pamela.taste.profile import ProfileError


pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def people(tiny_model, tiny_pictures):
    generator = torch.Generator().manual_seed(0)
    torch.nn.init.normal_(tiny_model.taste.demographics.weight, generator=generator)
    return [
        TasteProfile.fit(
            tiny_model,
            torch.rand(4, generator=generator),
            demographics_embeds=torch.randn(1, 5, generator=generator),
            **{name: rows[number : number + 4] for name, rows in tiny_pictures.items()},
        )
        for number in range(5)
    ]


def covariance(posterior):
    reduction = posterior.reduction
    return torch.eye(reduction.shape[1], dtype=torch.float64) - reduction.mT @ reduction


@settings(max_examples=20, deadline=None)
@given(data=st.data())
def test_blend_is_the_weighted_sum_of_independent_gaussians(shared_people, data):
    number = data.draw(st.integers(1, 5))
    weights = data.draw(st.lists(st.floats(0.01, 10), min_size=number, max_size=number))
    profiles = shared_people[:number]
    shares = torch.tensor(weights, dtype=torch.float64) / sum(weights)
    mixed = blend(profiles, weights)
    torch.testing.assert_close(
        mixed.posterior.mean, sum(a * p.posterior.mean for a, p in zip(shares, profiles, strict=True))
    )
    expected = sum(a**2 * covariance(p.posterior) for a, p in zip(shares, profiles, strict=True))
    torch.testing.assert_close(covariance(mixed.posterior), expected, atol=1e-9, rtol=0)


@pytest.fixture(scope="module")
def shared_people():
    from modeling_pamela import PamelaConfig, PamelaForPersonalizedScoring

    torch.manual_seed(0)
    model = PamelaForPersonalizedScoring(PamelaConfig(image_embed_dim=8, hidden_size=16)).eval()
    return [TasteProfile.fit(model, torch.rand(number), image_embeds=torch.randn(number, 8)) for number in range(1, 6)]


def test_a_blend_scores_as_the_mean_of_its_people(tiny_model, tiny_pictures, people):
    mixed = blend(people[:2], [1, 3]).score(tiny_model, **tiny_pictures)
    first, second = (profile.score(tiny_model, **tiny_pictures) for profile in people[:2])
    torch.testing.assert_close(mixed.mean, 0.25 * first.mean + 0.75 * second.mean)
    torch.testing.assert_close(mixed.std**2, (0.25 * first.std) ** 2 + (0.75 * second.std) ** 2)


def test_of_one_it_is_the_person(tiny_model, tiny_pictures, people):
    mixed = blend(people[:2], [0, 2]).score(tiny_model, **tiny_pictures)
    alone = people[1].score(tiny_model, **tiny_pictures)
    torch.testing.assert_close(mixed.mean, alone.mean)
    torch.testing.assert_close(mixed.std, alone.std)


def test_a_group_has_the_prior_of_its_own_demographics(tiny_model, people):
    group = group_profile(people)
    torch.testing.assert_close(group.posterior.mean, torch.stack([p.posterior.mean for p in people]).mean(0))
    assert group.num_people == 5
    described = torch.randn(1, 5, generator=torch.Generator().manual_seed(7))
    # People who said nothing do not move the group from its prior.
    silent = [TasteProfile.prior(tiny_model, profile.demographics_embeds) for profile in people]
    prior = group_profile(silent, model=tiny_model, demographics_embeds=described)
    torch.testing.assert_close(prior.posterior.mean.float(), tiny_model.prior_taste(described)[0].detach())
    # Described as its people are, by chance all the same, it is the plain mean.
    alike = [people[0]] * 5
    same = group_profile(alike, model=tiny_model, demographics_embeds=people[0].demographics_embeds)
    torch.testing.assert_close(same.posterior.mean, people[0].posterior.mean, atol=1e-6, rtol=0)


def test_wrong_input(tiny_model, tiny_kernel_model, tiny_pictures, people):
    with pytest.raises(ProfileError, match="4 people, fewer than the 5"):
        group_profile(people[:4])
    assert group_profile(people[:4], min_size=4).num_people == 4
    with pytest.raises(ProfileError, match="no profiles"):
        blend([])
    for weights in ([1.0], [1.0, -1.0], [0.0, 0.0], [1.0, float("nan")]):
        with pytest.raises(ProfileError, match="expected one for each"):
            blend(people[:2], weights)
    other = TasteProfile.prior(tiny_kernel_model)
    with pytest.raises(ProfileError, match="2 models"):
        blend([people[0], other])
    with pytest.raises(ProfileError, match="belongs to the model"):
        blend(people).score(tiny_kernel_model, **tiny_pictures)
    with pytest.raises(ProfileError, match="give `model`"):
        group_profile(people, demographics_embeds=torch.zeros(1, 5))
