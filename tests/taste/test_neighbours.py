import math

import pytest
import torch

from modeling_pamela.taste.neighbours import neighbour_user_embedding, preference_profile


def test_profile_is_the_rating_weighted_mean():
    embeds = torch.tensor([[4.0, 0.0], [0.0, 4.0], [8.0, 8.0]])
    # (1.0 * (4, 0) + 0.5 * (0, 4) + 0 * (8, 8)) / 1.5
    profile = preference_profile(embeds, torch.tensor([1.0, 0.5, 0.0]))
    assert profile.tolist() == pytest.approx([4 / 1.5, 2 / 1.5])


def test_nothing_but_lowest_ratings_is_the_plain_mean():
    embeds = torch.tensor([[2.0, 0.0], [0.0, 4.0]])
    assert preference_profile(embeds, torch.zeros(2)).tolist() == [1.0, 2.0]
    # ... as are the same ratings anywhere else on the scale, however near its end.
    for rating in (1e-44, 0.3, 1.0):
        assert preference_profile(embeds, torch.full((2,), rating)).tolist() == pytest.approx([1.0, 2.0])


def test_profiles_of_many_people_are_those_of_each():
    generator = torch.Generator().manual_seed(0)
    embeds, ratings = torch.randn(3, 5, 4, generator=generator), torch.rand(3, 5, generator=generator)
    ratings[1] = 0.0
    profiles = preference_profile(embeds, ratings)
    assert profiles.shape == (3, 4)
    for person in range(3):
        torch.testing.assert_close(profiles[person], preference_profile(embeds[person], ratings[person]))


@pytest.mark.parametrize(
    ("ratings", "message"),
    [
        (torch.tensor([0.5]), r"ratings of shape \(1,\) and picture embeddings of shape \(2, 3\)"),
        (torch.tensor([0.5, 4.0]), r"1 ratings are not between 0 and 1 \(the first: 4\)"),
        (torch.tensor([-0.1, 0.5]), "1 ratings are not between 0 and 1"),
        (torch.tensor([math.nan, 0.5]), r"1 ratings are not between 0 and 1 \(the first: nan\)"),
    ],
)
def test_bad_ratings(ratings, message):
    with pytest.raises(ValueError, match=message):
        preference_profile(torch.ones(2, 3), ratings)


def test_profile_of_no_ratings():
    with pytest.raises(ValueError, match="at least one picture"):
        preference_profile(torch.ones(0, 3), torch.ones(0))


@pytest.fixture
def train():
    """Four training people at 0, 60, 90 and 180 degrees, with lengths that must not matter."""
    profiles = torch.tensor([[2.0, 0.0], [0.5, 0.75**0.5], [0.0, 9.0], [-1.0, 0.0]])
    return profiles, torch.tensor([[1.0, 0.0], [0.0, 1.0], [5.0, 5.0], [7.0, 7.0]])


def test_mix_by_hand(train):
    # Cosines of the two nearest are 1 and 0.5, so their weights stand as e^(1 / 0.5) to e^(0.5 / 0.5).
    mixed = neighbour_user_embedding(torch.tensor([3.0, 0.0]), *train, num_neighbours=2, temperature=0.5)
    first = math.e**2 / (math.e**2 + math.e)
    assert mixed.tolist() == pytest.approx([first, 1 - first])


def test_low_temperature_takes_the_nearest(train):
    assert neighbour_user_embedding(torch.tensor([0.1, 1.0]), *train, temperature=1e-3).tolist() == pytest.approx(
        [5, 5]
    )


def test_fewer_people_than_neighbours_are_all_mixed(train):
    profile = torch.tensor([1.0, 0.2])
    torch.testing.assert_close(
        neighbour_user_embedding(profile, *train, num_neighbours=50),
        neighbour_user_embedding(profile, *train, num_neighbours=4),
    )


def test_many_people_are_mixed_as_each(train):
    profiles = torch.randn(6, 2, generator=torch.Generator().manual_seed(0))
    mixed = neighbour_user_embedding(profiles, *train, num_neighbours=3)
    assert mixed.shape == (6, 2)
    for profile, row in zip(profiles, mixed, strict=True):
        torch.testing.assert_close(row, neighbour_user_embedding(profile, *train, num_neighbours=3))


def test_bad_tables_and_settings(train):
    profile = torch.ones(2)
    with pytest.raises(ValueError, match="4 profiles and 3 user embeddings"):
        neighbour_user_embedding(profile, train[0], train[1][:3])
    with pytest.raises(ValueError, match="at least one training person"):
        neighbour_user_embedding(profile, train[0][:0], train[1][:0])
    with pytest.raises(ValueError, match=r"got 0 and 0\.1"):
        neighbour_user_embedding(profile, *train, num_neighbours=0)
    with pytest.raises(ValueError, match="got 5 and 0"):
        neighbour_user_embedding(profile, *train, temperature=0)
