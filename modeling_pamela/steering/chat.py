"""Proposals from a model to chat with, wherever it runs."""

import random
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from functools import partial

from ..data.prompts import prompt_key
from .base import Candidate, SteeringError
from .instruction import Message, ask_again, list_messages
from .parsing import MAX_WORDS, parse_variants


__all__ = ["ChatProposer"]

_TOKENS_PER_VARIANT = 60


class ChatProposer(ABC):
    """
    A [`~modeling_pamela.steering.base.Proposer`] that asks a chat model for a list of variants, and again where it gives too few.

    Args:
        instruction (`str`, *optional*): Another text than [`~modeling_pamela.steering.instruction.INSTRUCTION`].
        num_shown (`int`): How many of the best prompts so far the model is shown.
        max_asks (`int`): How often at most it is asked in a round.
    """

    def __init__(self, instruction: str | None = None, num_shown: int = 5, max_asks: int = 3) -> None:
        self.instruction = instruction
        self.num_shown = num_shown
        self.max_asks = max_asks

    @abstractmethod
    def reply(self, messages: Sequence[Message], max_new_tokens: int, seed: int) -> str:
        """The model's next turn of a chat, cut off after `max_new_tokens`; the same for the same seed."""

    def fits(self, messages: Sequence[Message], max_new_tokens: int) -> bool:
        """Whether the model can read a chat and answer it. A server is left to say so."""
        return True

    def fitting(self, ask: Callable[[int], list[Message]], max_new_tokens: int) -> list[Message]:
        """What `ask` gives for `num_shown` prompts of the history, or for as many of the best as fit."""
        messages = ask(self.num_shown)
        for num_shown in range(self.num_shown - 1, -1, -1):
            if self.fits(messages, max_new_tokens):
                break
            messages = ask(num_shown)
        return messages

    def propose(self, prompt: str, history: Sequence[Candidate], num: int, seed: int) -> list[str]:
        """See [`~modeling_pamela.steering.base.Proposer`]."""
        asked = self.fitting(
            partial(list_messages, prompt, history, num, self.instruction), tokens_of_reply(prompt, num)
        )
        messages = asked
        fresh = FreshVariants(prompt, history)
        text = ""
        for seed_of_ask in seeds_of_asks(seed, self.max_asks):
            missing = num - len(fresh.variants)
            if missing <= 0:
                break
            text = self.reply(messages, tokens_of_reply(prompt, missing), seed_of_ask)
            # A variant of a long prompt is about as long.
            fresh.add(parse_variants(text, max(MAX_WORDS, 2 * len(prompt.split()))))
            missing = num - len(fresh.variants)
            messages = ask_again(messages, text, missing)
            if not self.fits(messages, tokens_of_reply(prompt, missing)):
                messages = asked
        return fresh.take(num, text)


def seeds_of_asks(seed: int, num: int) -> list[int]:
    """Of a round's asks: all different, and others in another round. 31 bits, which every server takes."""
    return random.Random(seed).sample(range(2**31), num)


def tokens_of_reply(prompt: str, num: int) -> int:
    """
    Tokens that suffice for `num` variants of a prompt and a remark: for a long prompt twice its own, at four bytes each as English
    has them (other languages have fewer).
    """
    return max(_TOKENS_PER_VARIANT, len(prompt.encode()) // 2) * (num + 1)


class FreshVariants:
    """
    The variants of a round: each once, and none that was tried before.

    Args:
        prompt (`str`): What the person asked for.
        history (sequence of [`Candidate`]): What was tried.
    """

    def __init__(self, prompt: str, history: Sequence[Candidate]) -> None:
        self._taken = {prompt_key(prompt), *(prompt_key(one.prompt) for one in history)}
        self.variants: list[str] = []

    def add(self, variants: Iterable[str]) -> None:
        """Take those that are new."""
        for variant in variants:
            if (key := prompt_key(variant)) not in self._taken:
                self._taken.add(key)
                self.variants.append(variant)

    def take(self, num: int, last_reply: str) -> list[str]:
        """
        The first `num`.

        Raises:
            SteeringError: There are none, though some were wanted.
        """
        if num > 0 and not self.variants:
            raise SteeringError(
                f"The language model wrote no new variant of the prompt. Its last reply begins with {last_reply[:100]!r}. Use a larger "
                "model or another `instruction`; an `LLMProposer` of a small model needs `few_shot=True`."
            )
        return self.variants[:num]
