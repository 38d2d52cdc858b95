"""A step of a modular pipeline, behind a real one with tiny random weights."""

import pytest
import torch
from diffusers.modular_pipelines import StableDiffusionXLAutoBlocks
from tiny_pipelines import FAST, SIZE, stable_diffusion_xl
from tiny_tastes import make_taste

from modeling_pamela.rewards.personal import PersonalReward
from modeling_pamela.steering.base import SteeringError
from modeling_pamela.steering.modular import PamelaRankStep


@pytest.fixture(scope="module")
def taste(tmp_path_factory):
    return make_taste(tmp_path_factory.mktemp("taste"))


@pytest.fixture(scope="module")
def pipeline(taste):
    blocks = StableDiffusionXLAutoBlocks()
    blocks.sub_blocks.insert("rank", PamelaRankStep(), len(blocks.sub_blocks))
    pipeline = blocks.init_pipeline()
    given = {name: part for name, part in stable_diffusion_xl().components.items() if name in pipeline.component_names}
    pipeline.update_components(
        **{n: p for n, p in given.items() if p is not None}, scorer=taste[0], scorer_processor=taste[1]
    )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def draw(pipeline, **arguments):
    generator = torch.Generator().manual_seed(0)
    size = {"height": SIZE, "width": SIZE, "num_images_per_prompt": 4}
    return pipeline(**{"prompt": "a lake", **size, **FAST, "generator": generator, **arguments})


def test_pictures_come_in_a_persons_order(pipeline, taste):
    model, processor, ann, bob = taste
    reward = PersonalReward(model, processor)
    orders = []
    for person in (ann, bob, None):
        state = draw(pipeline, profile=person)
        images, scores, stds = (state.get(name) for name in ("images", "scores", "stds"))
        expected = reward(images, ["a lake"] * 4, person)
        torch.testing.assert_close(scores, expected.mean)
        torch.testing.assert_close(stds, expected.std)
        assert scores.tolist() == sorted(scores.tolist(), reverse=True)
        orders.append([image.tobytes() for image in images])
    assert sorted(orders[0]) == sorted(orders[1]) == sorted(orders[2])
    assert orders[0] != orders[1]


def test_prompts_that_do_not_fit(taste):
    pipeline = PamelaRankStep().init_pipeline()
    pipeline.update_components(scorer=taste[0], scorer_processor=taste[1])
    images = list(torch.rand(3, 3, 8, 8))
    with pytest.raises(SteeringError, match="2 prompts for 3 pictures"):
        pipeline(images=torch.stack(images), prompt=["a", "b"])
