"""A small real chat model."""

import pytest
import torch
from tiny_encoders import TOWER, VOCABULARY, make_tokenizer
from transformers import LlamaConfig, LlamaForCausalLM


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
