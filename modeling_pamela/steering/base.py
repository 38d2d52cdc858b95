"""The parts of a search: what proposes prompts, what renders them, and what is kept of each."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from PIL import Image


__all__ = ["Candidate", "Proposer", "Renderer", "SteeringError"]


class SteeringError(ValueError):
    """A search cannot be done as asked."""


@dataclass(frozen=True)
class Candidate:
    """
    One prompt of a search and what became of it.

    Attributes:
        index (`int`): Its place in the run, from 0 on; 0 is the prompt that the person gave.
        round (`int`): In which round it was proposed; 0 for the prompt that the person gave.
        prompt (`str`): The prompt.
        parent (`int`, *optional*): Index of the candidate it was made from.
        seed (`int`): Of the rendering.
        score (`float`, *optional*): The reward for the person, larger is better (a reward of which less is better is negated);
            `None` where it was refused before it was rendered.
        std (`float`, *optional*): How unsure the reward is of it.
        population (`float`, *optional*): The reward for the population, likewise.
        guards (`dict`): What each guard measured, by the guard's name.
        refused (`str`, *optional*): Which guard refused it and why; `None` where none did.
        picture (`str`, *optional*): The picture's file, relative to the run's folder.
    """

    index: int
    round: int
    prompt: str
    parent: int | None = None
    seed: int = 0
    score: float | None = None
    std: float | None = None
    population: float | None = None
    guards: Mapping[str, float] = field(default_factory=dict)
    refused: str | None = None
    picture: str | None = None


class Proposer(Protocol):
    """What writes variants of a prompt. A pure function of its arguments, so that a run can be resumed and repeated."""

    def propose(self, prompt: str, history: Sequence[Candidate], num: int, seed: int) -> list[str]:
        """
        Args:
            prompt (`str`): What the person asked for; every variant must keep its content.
            history (sequence of [`Candidate`]): What was tried so far, in order, scored or refused; empty at first.
            num (`int`): How many variants.
            seed (`int`): Of whatever is random.

        Returns:
            `list[str]`: At most `num` variants, all different, none of them in the history. Fewer where no more can be had.

        Raises:
            SteeringError: Nothing usable can be had.
        """
        ...


class Renderer(Protocol):
    """What makes pictures of prompts."""

    def render(self, prompts: Sequence[str], seeds: Sequence[int]) -> list[Image.Image]:
        """
        Args:
            prompts (sequence of n `str`): Prompts.
            seeds (sequence of n `int`): A picture is a function of its prompt and its seed alone.

        Returns:
            `list[PIL.Image.Image]` of length n
        """
        ...
