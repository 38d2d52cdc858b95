"""Proposals from a model to chat with, wherever it runs."""

import random
from abc import ABC, abstractmethod
from collections.abc import Sequence

from ..data.prompts import prompt_key
from .base import Candidate, SteeringError
from .instruction import Message, ask_again, list_messages
from .parsing import parse_variants


__all__ = ["ChatProposer"]


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
    def reply(self, messages: Sequence[Message], num: int, seed: int) -> str:
        """The model's next turn of a chat in which it was asked for `num` variants; the same for the same seed."""

    def propose(self, prompt: str, history: Sequence[Candidate], num: int, seed: int) -> list[str]:
        """See [`~modeling_pamela.steering.base.Proposer`]."""
        messages = list_messages(prompt, history, num, self.instruction, self.num_shown)
        fresh = FreshVariants(prompt, history)
        text = ""
        for seed_of_ask in seeds_of_asks(seed, self.max_asks):
            missing = num - len(fresh.variants)
            if missing <= 0:
                break
            text = self.reply(messages, missing, seed_of_ask)
            fresh.add(text)
            messages = ask_again(messages, text, num - len(fresh.variants))
        return fresh.take(num, text)


def seeds_of_asks(seed: int, num: int) -> list[int]:
    """Of a round's asks: all different, and others in another round. 31 bits, which every server takes."""
    return random.Random(seed).sample(range(2**31), num)


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

    def add(self, reply: str, most: int | None = None) -> None:
        """Take what is new of the first `most` variants in a reply."""
        for variant in parse_variants(reply)[:most]:
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
