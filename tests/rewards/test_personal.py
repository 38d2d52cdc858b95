import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from scipy.stats import spearmanr
from tiny_rewards import make_config
from transformers import AutoModel

from modeling_pamela import PamelaForPersonalizedScoring, TasteProfile, TasteStore, blend, checkpoint
from modeling_pamela.rewards.base import Reward, RewardError
from modeling_pamela.rewards.personal import PersonalReward
from modeling_pamela.taste.profile import profile_folder_name


def test_it_is_a_reward(reward):
    assert isinstance(reward, Reward)
    assert isinstance(reward.of("ann"), Reward)


def test_scores_are_those_of_the_profiles_and_the_population(reward, model, processor, profiles, pictures):
    prompts = ["a lake", None, "evening"]
    embeds = {
        "image_embeds": model.get_image_embeds(**processor(images=pictures[:3])),
        "text_embeds": model.get_text_embeds(**processor.tokenize(prompts)),
    }
    mean, std = reward(pictures[:3], prompts, ["ann", "bob", None])
    for row, profile in enumerate(profiles.values()):
        expected = profile.score(model, **{name: rows[row : row + 1] for name, rows in embeds.items()})
        assert mean[row].item() == pytest.approx(expected.mean.item(), abs=1e-5)
        assert std[row].item() == pytest.approx(expected.std.item(), abs=1e-5)
    population = model(**embeds)
    assert mean[2].item() == pytest.approx(population.scores[2].item(), abs=1e-5)
    assert std[2].item() == pytest.approx(population.std[2].item(), abs=1e-5)
    assert reward.score_embeds(["ann", "bob", None], **embeds).mean.tolist() == pytest.approx(mean.tolist(), abs=1e-5)


def test_opposite_tastes_in_one_batch_get_opposite_orders(reward, pictures):
    mean = reward(pictures * 2, None, ["ann"] * 12 + ["bob"] * 12).mean
    ann, bob = mean[:12], mean[12:]
    assert spearmanr(ann, range(12)).statistic > 0.9
    assert spearmanr(ann, bob).statistic < -0.9


@settings(max_examples=15, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 11), st.sampled_from(["ann", "bob", None])), min_size=1, max_size=9))
def test_a_score_does_not_depend_on_its_batch(reward_of_module, pictures, batch):
    together = reward_of_module([pictures[row] for row, _ in batch], None, [person for _, person in batch])
    for at, (row, person) in enumerate(batch):
        alone = reward_of_module([pictures[row]], None, person)
        assert together.mean[at].item() == pytest.approx(alone.mean.item(), abs=1e-5)
        assert together.std[at].item() == pytest.approx(alone.std.item(), abs=1e-5)


def test_a_picture_that_occurs_often_is_encoded_once(reward, model, pictures):
    seen = []
    hook = model.encoder("image").register_forward_pre_hook(
        lambda module, args, kwargs: seen.append(len(kwargs["pixel_values"])), with_kwargs=True
    )
    try:
        reward(pictures[:3] * 4, ["a", "b", "c"] * 4, ["ann", "bob", None, "ann"] * 3)
    finally:
        hook.remove()
    assert sum(seen) == 3


def test_pictures_as_a_tensor_are_those_as_files(reward, pictures):
    arrays = np.stack([np.asarray(picture) for picture in pictures[:3]])
    tensor = torch.from_numpy(arrays).permute(0, 3, 1, 2) / 255
    expected = reward(pictures[:3], None, "ann").mean
    assert torch.equal(reward(tensor, None, "ann").mean, expected)


def test_tastes_of_all_kinds(reward, profiles, pictures):
    both = blend(list(profiles.values()))
    means = [reward(pictures[:4], None, person).mean for person in (profiles["ann"], profiles["bob"], both)]
    assert torch.allclose((means[0] + means[1]) / 2, means[2])
    assert torch.equal(reward.of(profiles["ann"])(pictures[:4]).mean, means[0])


def test_of_whom_only_demographics_are_known(reward, pictures):
    young, nobody = reward.person_like({"age": 20}), reward.person_like({})
    assert torch.allclose(reward(pictures, None, nobody).mean, reward(pictures).mean)
    assert young.num_ratings == 0


def test_people_in_a_store(model, processor, profiles, pictures, tmp_path):
    store = TasteStore.create(tmp_path / "people.safetensors", profiles.items())
    mean, std = PersonalReward(model, processor, store)(pictures, None, ["ann"] * 11 + [None])
    expected = PersonalReward(model, processor, profiles)(pictures, None, ["ann"] * 11 + [None])
    assert torch.allclose(mean, expected.mean, atol=5e-3)  # the store keeps half precision
    assert std[:11].isnan().all()
    assert std[11] == expected.std[11]
    with pytest.raises(RewardError, match="Nobody is stored as 'eve'"):
        PersonalReward(model, processor, store)(pictures[:1], None, "eve")


def test_a_store_of_another_model(processor, profiles, siglip, tmp_path):
    store = TasteStore.create(tmp_path / "people.safetensors", profiles.items())
    other = PamelaForPersonalizedScoring(make_config(siglip))
    with pytest.raises(RewardError, match="belongs to the model"):
        PersonalReward(other, processor, store)


def test_a_model_of_the_package():
    reward = PersonalReward.from_pretrained("pamela-small")
    assert (len(reward.people), reward.model.fingerprint()) == (
        0,
        AutoModel.from_pretrained(checkpoint("pamela-small")).fingerprint(),
    )


def test_a_checkpoint_with_its_people(model, processor, profiles, pictures, tmp_path):
    model.save_pretrained(tmp_path)
    processor.save_pretrained(tmp_path)
    names = {"ann": "a/n n", "bob": "bob"}
    for name, profile in profiles.items():
        profile.save_pretrained(tmp_path / "profiles" / profile_folder_name(names[name]))
    reward = PersonalReward.from_pretrained(tmp_path)
    assert sorted(reward.people) == ["a/n n", "bob"]
    expected = PersonalReward(model, processor, profiles)(pictures, None, "ann").mean
    assert torch.allclose(reward(pictures, None, "a/n n").mean, expected)
    with pytest.raises(RewardError, match="no taste of a user 'ann'; the reward knows 2 people"):
        reward(pictures, None, "ann")


def test_a_scale_of_ones_own(siglip, processor, pictures):
    """People of a second data set are scored on their own scale."""
    sets = [{"name": "first", "offset": 0.0, "scale": 1.0}, {"name": "second", "offset": 0.1, "scale": 0.5}]
    torch.manual_seed(0)
    model = PamelaForPersonalizedScoring(make_config(siglip, data_sets=sets)).eval()
    embeds = model.get_image_embeds(**processor(images=pictures))
    profile = TasteProfile.fit(model, torch.linspace(0, 1, 12), data_set="second", image_embeds=embeds)
    mean, std = PersonalReward(model, processor)(pictures, None, profile)
    expected = profile.score(model, image_embeds=embeds)
    assert torch.allclose(mean, expected.mean, atol=1e-6)
    assert torch.allclose(std, expected.std, atol=1e-6)


def test_training_people_of_a_token_model(siglip, processor, pictures, tmp_path):
    torch.manual_seed(0)
    model = PamelaForPersonalizedScoring(
        make_config(siglip, user_conditioning="token", fusion="transformer", num_users=2)
    ).eval()
    model.save_pretrained(tmp_path)
    processor.save_pretrained(tmp_path)
    (tmp_path / "users.json").write_text(json.dumps(["cid", "dot"]))
    reward = PersonalReward.from_pretrained(tmp_path)
    mean, std = reward(pictures[:4], None, ["dot", None, "cid", "dot"])
    assert std is None
    embeds = model.get_image_embeds(**processor(images=pictures[:4]))
    for row, user in enumerate([1, None, 0, 1]):
        ids = {} if user is None else {"user_ids": torch.tensor([user])}
        expected = model(image_embeds=embeds[row : row + 1], **ids).scores.item()
        assert mean[row].item() == pytest.approx(expected, abs=1e-5)
    with pytest.raises(RewardError, match="no taste of a user 'ann'"):
        reward(pictures[:1], None, "ann")


def test_another_models_profile(siglip, processor, profiles, pictures):
    other = PamelaForPersonalizedScoring(make_config(siglip))
    with pytest.raises(RewardError, match="of 'ann' belongs to the model"):
        PersonalReward(other, processor, profiles)(pictures, None, "ann")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([],), "no pictures"),
        ((2, None, ["ann"]), "2 pictures, 1 people"),
        ((2, ["a"]), "2 pictures, 2 people and 1 prompts"),
        ((2, "a lake"), "one text as prompts"),
        ((1, None, "eve"), "no taste of a user 'eve'; the reward knows 2 people"),
        ((2, None, ["ann", "eve"]), "no taste of a user 'eve'"),
        ((1, None, [7]), "7 is no person"),
        ((["a.png"],), "number 1 is a str"),
        (([Image.fromarray(np.full((8, 8), np.nan, np.float32))],), "number 1 .* floating-point"),
        ((torch.full((1, 3, 8, 8), torch.nan),), "number 1 has pixels that are NaN"),
        ((torch.rand(1, 8, 8, 3),), r"shape \(1, 8, 8, 3\)"),
        ((torch.rand(1, 1, 8, 8),), r"shape \(1, 1, 8, 8\)"),
        ((torch.rand(1, 3, 8, 8) * 255,), "expected 0 to 1"),
        ((torch.rand(1, 3, 8, 8) * 2 - 1,), "images / 2"),
        ((torch.zeros(1, 3, 8, 8, dtype=torch.uint8),), "floating-point"),
        ((torch.rand(1, 3, 8, 8, requires_grad=True),), "differentiable"),
        ((np.zeros((1, 3, 8, 8), np.uint8),), r"shape \(1, 3, 8, 8\)"),
        ((np.zeros((1, 8, 8, 3), np.float32),), "float32"),
    ],
)
def test_bad_input(reward, pictures, arguments, message):
    images, *rest = arguments
    with pytest.raises(RewardError, match=message):
        reward(pictures[:images] if isinstance(images, int) else images, *rest)


def test_a_person_reward_is_of_nobody_else(reward, pictures):
    with pytest.raises(RewardError, match="of one person"):
        reward.of("ann")(pictures, None, "bob")
