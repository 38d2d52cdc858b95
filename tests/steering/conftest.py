"""Small real models: one to chat with, one that scores pictures."""

import pytest
import torch
from tiny_encoders import TOWER, VOCABULARY, make_tokenizer, save_siglip
from tiny_rewards import make_config
from transformers import LlamaConfig, LlamaForCausalLM

from modeling_pamela import PamelaForPersonalizedScoring, PamelaProcessor
from modeling_pamela.rewards.personal import PersonalReward


TEMPLATE = (
    "{% for message in messages %}<s> {{ message['role'] }}: {{ message['content'] }}</s>{% endfor %}"
    "{% if add_generation_prompt %}<s> assistant: {% endif %}"
)


@pytest.fixture
def tiny_chat_model(one_thread):
    """A random Llama that writes words of its own making, and its tokenizer."""
    torch.manual_seed(0)
    tokenizer = make_tokenizer(pad_token="<pad>")
    tokenizer.chat_template = TEMPLATE
    config = LlamaConfig(**TOWER, num_key_value_heads=1, vocab_size=VOCABULARY, initializer_range=0.3, eos_token_id=1)
    return LlamaForCausalLM(config), tokenizer


@pytest.fixture(scope="session")
def tiny_reward(tmp_path_factory):
    """A personal reward of a random model that sees pictures and prompts with a tiny random image-text encoder."""
    torch.manual_seed(0)
    model = PamelaForPersonalizedScoring(make_config(save_siglip(tmp_path_factory.mktemp("encoders") / "siglip")))
    return PersonalReward(model.eval(), PamelaProcessor.from_config(model.config))
