"""One person's taste: learned, scored with, saved, and refused where the input is not what it should be."""

import dataclasses
import json
import math
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from modeling_pamela import TasteProfile
from modeling_pamela.taste.profile import ProfileError


pytestmark = pytest.mark.usefixtures("one_thread")

RATINGS = torch.tensor([0.1, 0.9, 0.4, 0.7])


@pytest.fixture
def rated(tiny_pictures):
    return {name: rows[:4] for name, rows in tiny_pictures.items()}


def some(pictures, number):
    return {name: rows[:number] for name, rows in pictures.items()}


def test_nothing_rated_is_the_prior(tiny_model, tiny_pictures):
    profile = TasteProfile.fit(tiny_model, torch.tensor([]), **some(tiny_pictures, 0))
    prior = TasteProfile.prior(tiny_model)
    assert profile.num_ratings == prior.num_ratings == 0
    output = tiny_model(**tiny_pictures)
    for each in (profile, prior):
        scores = each.score(tiny_model, **tiny_pictures)
        torch.testing.assert_close(scores.mean.float(), output.population_scores)
        torch.testing.assert_close(scores.std.float(), output.std)


def test_demographics_move_the_prior(tiny_model, tiny_pictures, rated):
    torch.nn.init.normal_(tiny_model.taste.demographics.weight)
    person = torch.randn(1, 5, generator=torch.Generator().manual_seed(0))
    prior = TasteProfile.prior(tiny_model, person).score(tiny_model, **tiny_pictures)
    expected = tiny_model(**tiny_pictures, demographics_embeds=person)
    torch.testing.assert_close(prior.mean.float(), expected.scores)
    assert not torch.allclose(prior.mean.float(), expected.population_scores)
    # With ratings they still count: the same ratings of another person give another taste.
    tastes = [TasteProfile.fit(tiny_model, RATINGS, demographics_embeds=d, **rated) for d in (None, person)]
    assert not torch.allclose(tastes[0].posterior.mean, tastes[1].posterior.mean)


def test_one_rating_moves_its_picture_part_of_the_way(tiny_model, tiny_pictures):
    one = some(tiny_pictures, 1)
    before = TasteProfile.prior(tiny_model).score(tiny_model, **one)
    after = TasteProfile.fit(tiny_model, torch.tensor([1.0]), **one).score(tiny_model, **one)
    share = before.std**2 / (before.std**2 + tiny_model.noise_variance)
    torch.testing.assert_close(after.mean, before.mean + share * (1 - before.mean))
    torch.testing.assert_close(after.std**2, before.std**2 * (1 - share))


def test_all_equal_ratings_pull_everything_towards_them(tiny_model, tiny_pictures, rated):
    before = TasteProfile.prior(tiny_model).score(tiny_model, **rated).mean
    profile = TasteProfile.fit(tiny_model, torch.full((4,), 0.9), **rated)
    after = profile.score(tiny_model, **rated).mean
    assert (after - 0.9).square().sum() < (before - 0.9).square().sum()
    assert profile.score(tiny_model, **tiny_pictures).mean.isfinite().all()


def test_contradicting_ratings_of_a_picture_count_as_their_mean_twice(tiny_model, tiny_pictures):
    twice = {name: rows[[0, 0]] for name, rows in tiny_pictures.items()}
    contradicting = TasteProfile.fit(tiny_model, torch.tensor([0.0, 1.0]), **twice)
    agreeing = TasteProfile.fit(tiny_model, torch.tensor([0.5, 0.5]), **twice)
    torch.testing.assert_close(contradicting.posterior.mean, agreeing.posterior.mean)
    torch.testing.assert_close(
        contradicting.score(tiny_model, **tiny_pictures).std, agreeing.score(tiny_model, **tiny_pictures).std
    )


def test_order_of_ratings_does_not_matter(tiny_model, rated):
    order = [2, 0, 3, 1]
    profiles = [
        TasteProfile.fit(tiny_model, RATINGS, **rated),
        TasteProfile.fit(tiny_model, RATINGS[order], **{name: rows[order] for name, rows in rated.items()}),
    ]
    torch.testing.assert_close(profiles[0].posterior.mean, profiles[1].posterior.mean)


def test_evidence_never_makes_less_sure(tiny_model, tiny_pictures):
    ratings = torch.linspace(0, 1, 9)
    previous = TasteProfile.prior(tiny_model).score(tiny_model, **tiny_pictures).std
    for k in range(1, 10):
        std = (
            TasteProfile.fit(tiny_model, ratings[:k], **some(tiny_pictures, k)).score(tiny_model, **tiny_pictures).std
        )
        assert (std <= previous + 1e-9).all()
        assert std[k - 1] < previous[k - 1]
        assert std[k - 1] < tiny_model.noise_variance**0.5
        previous = std


def test_the_scale_is_taken_off(tiny_model, rated):
    on_unit = TasteProfile.fit(tiny_model, RATINGS, **rated)
    on_seven = TasteProfile.fit(tiny_model, 1 + 6 * RATINGS.double(), scale=(1, 7), **rated)
    torch.testing.assert_close(on_unit.posterior.mean, on_seven.posterior.mean, atol=1e-6, rtol=0)


@pytest.mark.parametrize(
    ("ratings", "scale", "message"),
    [
        ([0.1, math.nan, 0.4, 0.7], (0, 1), r"1 of 4 ratings are not between 0 and 1 \(the first: nan, number 2\)"),
        ([0.1, 0.5, math.inf, 0.7], (0, 1), r"the first: inf, number 3"),
        ([0.1, 0.5, 1.2, -3.0], (0, 1), r"2 of 4 ratings are not between 0 and 1 \(the first: 1\.2, number 3\)"),
        ([0.0, 1.0, 5.0, 7.0], (1, 7), r"1 of 4 ratings are not between 1 and 7 \(the first: 0, number 1\)"),
        ([0.1, 0.5, 0.9], (0, 1), "3 ratings for 4 pictures"),
        ([], (0, 1), "0 ratings for 4 pictures"),
        ([[0.1], [0.5], [0.9], [0.2]], (0, 1), r"shape \(4, 1\).*one number a picture"),
        ([0.1, 0.5, 0.9, 0.2], (1, 0), "from a smaller to a larger number"),
        ([0.1, 0.5, 0.9, 0.2], (0, math.nan), "from a smaller to a larger number"),
    ],
)
def test_ratings_that_cannot_be_meant_are_refused(tiny_model, rated, ratings, scale, message):
    with pytest.raises(ProfileError, match=message):
        TasteProfile.fit(tiny_model, torch.tensor(ratings), scale=scale, **rated)


def test_pictures_that_are_not_numbers_are_refused(tiny_model, rated):
    rated["image_embeds"] = rated["image_embeds"].clone()
    rated["image_embeds"][2, 0] = math.nan
    with pytest.raises(ProfileError, match=r"picture number 3.*not finite"):
        TasteProfile.fit(tiny_model, RATINGS, **rated)


def test_token_models_have_no_profiles(tiny_token_model, rated):
    with pytest.raises(ProfileError, match="token model"):
        TasteProfile.fit(tiny_token_model, RATINGS, **rated)
    with pytest.raises(ProfileError, match="token model"):
        TasteProfile.prior(tiny_token_model)


def test_another_model_is_refused(tiny_model, tiny_pictures, rated):
    profile = TasteProfile.fit(tiny_model, RATINGS, **rated)
    with torch.no_grad():
        tiny_model.head.weight[0, 0] += 0.01
    with pytest.raises(ProfileError, match=f"belongs to the model {profile.model_fingerprint}, not to"):
        profile.score(tiny_model, **tiny_pictures)


def test_saving_keeps_everything(tiny_model, tiny_pictures, rated, tmp_path):
    profile = TasteProfile.fit(tiny_model, RATINGS, **rated)
    profile.save_pretrained(tmp_path / "ann")
    loaded = TasteProfile.from_pretrained(tmp_path / "ann")
    assert (loaded.num_ratings, loaded.model_fingerprint) == (4, profile.model_fingerprint)
    for before, after in zip(
        profile.score(tiny_model, **tiny_pictures), loaded.score(tiny_model, **tiny_pictures), strict=True
    ):
        assert torch.equal(before, after)
    names = [path.name for path in (tmp_path / "ann").iterdir()]
    assert sorted(names) == [weights_file(tmp_path / "ann").name, "profile.json"]
    # A newer one takes its place and leaves nothing behind.
    updated = loaded.update(tiny_model, RATINGS, **rated)
    updated.save_pretrained(tmp_path / "ann")
    assert len(list((tmp_path / "ann").iterdir())) == 2
    assert TasteProfile.from_pretrained(tmp_path / "ann").num_ratings == 8


def test_the_prior_can_be_saved(tiny_model, tiny_pictures, tmp_path):
    prior = TasteProfile.prior(tiny_model)
    prior.save_pretrained(tmp_path)
    loaded = TasteProfile.from_pretrained(tmp_path)
    assert torch.equal(loaded.score(tiny_model, **tiny_pictures).std, prior.score(tiny_model, **tiny_pictures).std)


def weights_file(folder):
    (file,) = folder.glob("profile-*.safetensors")
    return file


def cut_weights(folder):
    weights_file(folder).write_bytes(weights_file(folder).read_bytes()[:-9])


def change_a_rating(folder):
    tensors = load_file(weights_file(folder))
    save_file({**tensors, "ratings": 1 - tensors["ratings"]}, weights_file(folder))


def change_a_fact(folder):
    facts = json.loads((folder / "profile.json").read_text())
    (folder / "profile.json").write_text(json.dumps({**facts, "noise_variance": 0.001}))


def drop_fact(folder):
    (folder / "profile.json").write_text(json.dumps({"num_ratings": 4}))


def other_version(folder):
    facts = json.loads((folder / "profile.json").read_text())
    (folder / "profile.json").write_text(json.dumps({**facts, "format_version": 99}))


@pytest.mark.parametrize(
    "damage",
    [
        shutil.rmtree,
        lambda folder: (folder / "profile.json").unlink(),
        lambda folder: weights_file(folder).unlink(),
        lambda folder: (folder / "profile.json").write_text('{"num_ratings": 4, "mod'),
        lambda folder: (folder / "profile.json").write_text("[1, 2]"),
        lambda folder: (folder / "profile.json").write_bytes(b"\xff\xfe\x00"),
        drop_fact,
        cut_weights,
        change_a_rating,
        change_a_fact,
        other_version,
        lambda folder: weights_file(folder).write_bytes(b""),
    ],
)
def test_damaged_profiles_are_refused(tiny_model, rated, tmp_path, damage):
    folder = tmp_path / "ann"
    TasteProfile.fit(tiny_model, RATINGS, **rated).save_pretrained(folder)
    damage(folder)
    with pytest.raises(ProfileError, match="holds no readable taste profile"):
        TasteProfile.from_pretrained(folder)


def test_a_profile_does_not_change(tiny_model, rated):
    profile = TasteProfile.fit(tiny_model, RATINGS, **rated)
    with pytest.raises(dataclasses.FrozenInstanceError):
        profile.noise_variance = 5
