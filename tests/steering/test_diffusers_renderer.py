"""Rendering with tiny random pipelines of the real classes."""

import inspect

import numpy as np
import pytest
import torch


pytest.importorskip("diffusers")

from diffusers import DDPMPipeline, DDPMScheduler, UNet2DModel
from tiny_pipelines import FAST, PIPELINES, flux2, lumina2, stable_diffusion

from modeling_pamela.steering.base import SteeringError
from modeling_pamela.steering.diffusers_renderer import PAPER_SETTINGS, DiffusersRenderer, paper_settings


def pixels(picture):
    return np.asarray(picture).astype(int)


@pytest.fixture(scope="module")
def pipeline():
    return stable_diffusion()


@pytest.fixture
def calls(monkeypatch, pipeline):
    """The real pipeline, with a list of the batch sizes it was called with; it has no memory for more than `limit`."""

    class Calls(list):
        limit = 99

    calls, call = Calls(), type(pipeline).__call__

    def limited(self, *args, prompt=None, **kwargs):
        calls.append(len(prompt))
        if len(prompt) > calls.limit:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        return call(self, *args, prompt=prompt, **kwargs)

    limited.__signature__ = inspect.signature(call)
    monkeypatch.setattr(type(pipeline), "__call__", limited)
    return calls


@pytest.mark.parametrize("make", PIPELINES.values(), ids=PIPELINES)
def test_a_picture_is_a_function_of_prompt_and_seed_alone(make):
    pipeline = make()
    prompts, seeds = ["a lake", "a boat", "a lake", "a lake"], [3, 3, 4, 3]
    together = DiffusersRenderer(pipeline, max_batch_size=3, **FAST).render(prompts, seeds)
    alone = DiffusersRenderer(pipeline, max_batch_size=1, **FAST)
    for picture, prompt, seed in zip(together, prompts, seeds, strict=True):
        assert picture.size == (FAST["width"], FAST["height"])
        # One level of 255 is the rounding of batched arithmetic.
        assert abs(pixels(picture) - pixels(alone.render([prompt], [seed])[0])).max() <= 1
    lake, boat, other_seed, again = map(pixels, together)
    assert abs(lake - again).max() <= 1
    assert (lake != boat).any()
    assert abs(lake - other_seed).mean() > 10


def test_a_text_argument_holds_for_every_prompt(pipeline):
    renderer = DiffusersRenderer(pipeline, max_batch_size=2, guidance_scale=6.0, negative_prompt="a boat", **FAST)
    plain = DiffusersRenderer(pipeline, max_batch_size=2, guidance_scale=6.0, **FAST)
    prompts, seeds = ["a lake", "a forest"], [0, 1]
    for with_text, without in zip(renderer.render(prompts, seeds), plain.render(prompts, seeds), strict=True):
        assert (pixels(with_text) != pixels(without)).any()


def test_a_system_prompt_is_one_for_all():
    settings = {"num_inference_steps": 1, "height": 32, "width": 32, "max_sequence_length": 64}
    renderer = DiffusersRenderer(lumina2(), system_prompt="You draw boats.", negative_prompt="a boat", **settings)
    plain = DiffusersRenderer(lumina2(), negative_prompt="a boat", **settings)
    prompts, seeds = ["a lake", "a forest"], [0, 1]
    for with_text, without in zip(renderer.render(prompts, seeds), plain.render(prompts, seeds), strict=True):
        assert (pixels(with_text) != pixels(without)).any()


def test_batches_shrink_to_the_memory_for_good(pipeline, calls):
    calls.limit = 2
    renderer = DiffusersRenderer(pipeline, max_batch_size=8, **FAST)
    pictures = renderer.render([f"lake {i}" for i in range(5)], [0] * 5)
    assert calls == [5, 2, 2, 1]
    assert renderer.batch_size == 2
    calls.limit = 99
    alone = DiffusersRenderer(pipeline, max_batch_size=1, **FAST).render([f"lake {i}" for i in range(5)], [0] * 5)
    for one, other in zip(pictures, alone, strict=True):
        assert abs(pixels(one) - pixels(other)).max() <= 1


def test_no_memory_for_a_single_picture(pipeline, calls):
    calls.limit = 0
    with pytest.raises(SteeringError, match=r"one picture \('a lake'\).*enable_model_cpu_offload"):
        DiffusersRenderer(pipeline, max_batch_size=2, **FAST).render(["a lake", "a boat"], [0, 0])


def test_a_picture_that_the_safety_filter_held_back_is_told():
    pipeline = stable_diffusion(with_checker=True)
    renderer = DiffusersRenderer(pipeline, **FAST)
    assert None not in renderer.render(["a lake", "a boat"], [0, 0])
    # A cosine is never below -1, so that everything is found to be unsafe.
    pipeline.safety_checker.concept_embeds_weights.data.fill_(-2)
    with pytest.warns(UserWarning, match=r"safety filter held back the picture of 'a lake', seed 5"):
        assert renderer.render(["a lake"], [5]) == [None]


def test_a_black_picture_is_told():
    """As half precision makes them: the decoder overflows, and what is not a number becomes black."""
    pipeline = stable_diffusion()
    pipeline.vae.decoder.conv_out.bias.data.fill_(-1e4)
    with pytest.warns(UserWarning, match="Black throughout .* the picture of 'a lake', seed 7"):
        assert DiffusersRenderer(pipeline, **FAST).render(["a lake"], [7]) == [None]


def test_the_papers_settings_where_they_are_taken(pipeline):
    assert paper_settings(pipeline) == paper_settings(flux2()) == PAPER_SETTINGS
    DiffusersRenderer(pipeline, **paper_settings(pipeline))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"steps": 3}, "StableDiffusionPipeline does not take steps; it takes .*num_inference_steps"),
        ({"prompt": "x"}, "prompt cannot be set"),
        ({"max_batch_size": 0}, "at least 1"),
    ],
)
def test_arguments_that_make_no_sense(pipeline, settings, message):
    with pytest.raises(SteeringError, match=message):
        DiffusersRenderer(pipeline, **settings)


def test_a_pipeline_that_takes_no_text():
    unet = UNet2DModel(
        sample_size=8,
        block_out_channels=(8,),
        down_block_types=("DownBlock2D",),
        up_block_types=("UpBlock2D",),
        norm_num_groups=4,
    )
    with pytest.raises(SteeringError, match="DDPMPipeline does not take `prompt`"):
        DiffusersRenderer(DDPMPipeline(unet, DDPMScheduler()))


def test_what_the_pipeline_says_reaches_the_person(pipeline):
    with pytest.raises(SteeringError, match=r"StableDiffusionPipeline cannot draw 'a lake' .*divisible by 8"):
        DiffusersRenderer(pipeline, height=17, width=16).render(["a lake"], [0])
