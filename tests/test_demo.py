import numpy as np
import pytest
import torch

from modeling_pamela.data.files import DataError
from modeling_pamela.data.scenes import SimulatedRater, sample_scenes
from modeling_pamela.demo import TASTE, Gallery, demo_of_two, learn, ranks
from modeling_pamela.taste.profile import ProfileError, TasteProfile


@pytest.fixture
def gallery(tiny_pictures):
    embeds = tiny_pictures["image_embeds"]
    return Gallery([f"{row}.png" for row in range(len(embeds))], [], embeds)


def test_a_record_is_the_profile_rating_by_rating(tiny_model, gallery):
    rated, ratings = [4, 0, 4], [5.0, 1.0, 4.0]
    record = learn(tiny_model, gallery, rated, ratings, (1, 5), "Ann")
    assert record.mean.shape == record.std.shape == (4, 9)
    assert record.unrated == [1, 2, 3, 5, 6, 7, 8]
    for step in range(4):
        embeds = gallery.image_embeds[rated[:step]]
        profile = TasteProfile.fit(tiny_model, torch.tensor(ratings[:step]), scale=(1, 5), image_embeds=embeds)
        scores = profile.score(tiny_model, image_embeds=gallery.image_embeds)
        np.testing.assert_allclose(record.mean[step], 1 + 4 * scores.mean, atol=1e-6)
        np.testing.assert_allclose(record.std[step], 4 * scores.std, atol=1e-6)
    np.testing.assert_array_equal(record.guesses, [record.mean[0, 4], record.mean[1, 0], record.mean[2, 4]])
    moved = np.abs(record.mean[2, record.unrated] - record.mean[1, record.unrated]).mean()
    assert record.taught[1] == pytest.approx(moved) != 0
    best = record.best_first
    assert sorted(best) == record.unrated
    assert (np.diff(record.mean[-1, best]) <= 0).all()
    assert ranks(record.mean[-1, best]).tolist() == list(range(1, 8))


def test_agreement_is_judged_on_unrated_pictures_alone(tiny_model, gallery):
    record = learn(tiny_model, gallery, [0], [5.0], (1, 5), "Ann")
    truth = record.mean[-1].copy()
    truth[0] = -100  # rated, so it must not matter
    record = learn(tiny_model, gallery, [0], [5.0], (1, 5), "Ann", truth=truth)
    assert record.srocc[-1] == pytest.approx(1)
    assert record.srocc[0] < 1


def test_nothing_left_or_a_wrong_rating(tiny_model, gallery):
    with pytest.raises(DataError, match="All 9 pictures were rated"):
        learn(tiny_model, gallery, list(range(9)), [3.0] * 9, (1, 5), "Ann")
    with pytest.raises(ProfileError, match="not between 1 and 5"):
        learn(tiny_model, gallery, [0], [6.0], (1, 5), "Ann")


def test_two_people_of_opposite_taste(small_checkpoint):
    model, processor = small_checkpoint
    lines: list[str] = []
    demo = demo_of_two(model, processor, seed=3, num_pictures=8, num_rated=3, echo=lines.append)
    first, second = demo.people
    assert "simulated" in lines[-1]
    assert demo.simulated
    assert first.rated == second.rated
    assert len(set(first.rated)) == 3
    np.testing.assert_allclose(first.truth + second.truth, 6)
    np.testing.assert_array_equal(first.mean[0], second.mean[0])  # nothing is known of either
    assert first.srocc[0] == pytest.approx(-second.srocc[0])
    scenes = sample_scenes(8, 3)
    fan = SimulatedRater.preferring("fan", TASTE)
    assert [fan.utility(scene) for scene in scenes] == first.truth.tolist()
    assert set(first.truth) <= {1.8, 3.0, 4.2}

    again = demo_of_two(model, processor, seed=3, num_pictures=8, num_rated=3, echo=lines.append)
    np.testing.assert_array_equal(again.people[1].mean, second.mean)
