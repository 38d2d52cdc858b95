"""The stand-in for a generator paints what a prompt says, and the same every time."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modeling_pamela.data.painting import ATTRIBUTES, sample_scenes
from modeling_pamela.steering.base import SteeringError
from modeling_pamela.steering.scene_renderer import SceneRenderer


SIZE = (64, 48)


@given(st.integers(0, 2**31 - 1), st.integers(0, 2**31 - 1))
def test_a_caption_is_painted_as_the_scene_that_wrote_it(which, seed):
    scene = sample_scenes(1, which)[0]
    assert SceneRenderer().scene(scene.caption, seed).attributes == scene.attributes


@given(st.text(max_size=60), st.integers(0, 2**31 - 1))
def test_any_text_is_a_scene_and_always_the_same(prompt, seed):
    renderer = SceneRenderer()
    assert renderer.scene(prompt, seed) == renderer.scene(prompt, seed)


def test_a_free_prompt_decides_what_it_says_and_the_seed_the_rest():
    scenes = [SceneRenderer().scene("a castle on a hill, warm light", seed) for seed in range(60)]
    assert {(scene.subject, scene.palette) for scene in scenes} == {("castle", "warm")}
    assert {scene.style for scene in scenes} == set(ATTRIBUTES["style"])


def test_a_picture_is_a_function_of_its_prompt_and_seed_alone():
    renderer = SceneRenderer(SIZE)
    alone = renderer.render(["a lighthouse at dusk"], [5])[0]
    together = renderer.render(["a forest", "a lighthouse at dusk", "a lighthouse at dusk"], [5, 5, 6])
    assert alone.size == SIZE
    assert together[1].tobytes() == alone.tobytes()
    assert together[2].tobytes() != alone.tobytes() != together[0].tobytes()


def test_prompts_and_seeds_that_do_not_pair_up_are_refused():
    with pytest.raises(SteeringError, match="2 prompts and 1 seeds"):
        SceneRenderer(SIZE).render(["a", "b"], [0])
