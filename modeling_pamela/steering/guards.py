"""
Guards against reward hacking: what a search may not do to get a higher score.

A reward is a model of a taste, and a search is good at finding where a model is wrong: prompts that ask for something else, prompts whose
words please while the picture does not show them, pictures unlike any that were rated. Each guard can be switched off by itself.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from PIL import Image

from ..rewards.content import MIN_CONTENT
from .base import Candidate, SteeringError


__all__ = ["Guards", "colour_statistics"]


@dataclass(frozen=True)
class Guards:
    """
    What is demanded of a candidate. [`Guards.off`] demands nothing.

    Attributes:
        min_content (`float`, *optional*): How much of what the person asked for a prompt must say, as
            [`~modeling_pamela.rewards.content.kept_content`] measures it. One below is not rendered. Needs a [`~modeling_pamela.rewards.content.ContentMeasure`].
        max_alignment_loss (`float`, *optional*): By how much the similarity of the picture to the person's own prompt may fall
            below the first picture's. Needs a measure whose encoder has pictures and texts in one space. It is a cosine, whose spread
            differs between encoders; the default has not been tuned.
        beta (`float`): The search goes by `score - beta * std`, so that it does not chase what the reward is unsure of; 0 goes by the score. The
            default found the best pictures for simulated people (`benchmarks/steering_known_taste.py --tune`); 2 to 5 are about as good.
        max_population_loss (`float`, *optional*): By how much the population's score may fall below the first picture's, as a share of
            the reward's range, which must be finite. Only where the reward is for a person.
        scored_prompt (`"own"`, `"base"` or `"none"`): Which prompt the reward is told of: the candidate's own, the person's, or none. With
            `"own"` words can please that the picture does not show; the others found much worse pictures in simulations.

    Raises:
        SteeringError: `beta` or a loss is negative, a number is none, or there is no such `scored_prompt`.
    """

    min_content: float | None = MIN_CONTENT
    max_alignment_loss: float | None = 0.1
    beta: float = 3.0
    max_population_loss: float | None = 0.2
    scored_prompt: Literal["own", "base", "none"] = "own"

    def __post_init__(self) -> None:
        if self.scored_prompt not in ("own", "base", "none"):
            raise SteeringError(f'scored_prompt is {self.scored_prompt!r}; expected "own", "base" or "none".')
        for name in ("beta", "max_alignment_loss", "max_population_loss"):
            value = getattr(self, name)
            if value is not None and not value >= 0:
                raise SteeringError(f"{name} is {value}; expected at least 0.")
        if self.min_content is not None and math.isnan(self.min_content):
            raise SteeringError("min_content is nan; expected a similarity, or None.")

    @classmethod
    def off(cls, scored_prompt: Literal["own", "base", "none"] = "own") -> "Guards":
        """No guard at all."""
        return cls(
            min_content=None, max_alignment_loss=None, beta=0.0, max_population_loss=None, scored_prompt=scored_prompt
        )

    def told(self, base: str, prompts: Sequence[str]) -> list[str | None]:
        """The prompts that the reward is told."""
        return [{"own": prompt, "base": base, "none": None}[self.scored_prompt] for prompt in prompts]

    def value(self, candidate: Candidate) -> float | None:
        """What the search goes by: the lower bound of the score, or `None` where there is no score or a guard refused it."""
        if candidate.score is None or candidate.refused is not None:
            return None
        return candidate.score - self.beta * (candidate.std or 0.0)

    def refuse_prompt(self, content: float) -> str | None:
        """Why a prompt is not rendered, if so."""
        if self.min_content is not None and content < self.min_content:
            return f"content: similarity to the prompt asked for {content:.2f}, at least {self.min_content:g} demanded"
        return None

    def check_width(self, width: float) -> None:
        """
        Raises:
            SteeringError: A share of the reward's range is asked for, and it has none, or no end.
        """
        if self.max_population_loss is not None and not 0 < width < math.inf:
            raise SteeringError(
                f"The reward's score_range has the width {width}, of which no share can be told. Pass guards with max_population_loss=None, "
                "or give the reward the range that its scores have."
            )

    def refuse_picture(
        self, base: Candidate, population: float | None, alignment: float | None, width: float
    ) -> str | None:
        """Why a picture cannot win, if so; `width` is that of the reward's range."""
        if self.max_alignment_loss is not None and alignment is not None:
            loss = base.guards["alignment"] - alignment
            if loss > self.max_alignment_loss:
                return f"alignment: the picture shows the prompt asked for less by {loss:.2f}, at most {self.max_alignment_loss:g} allowed"
        if self.max_population_loss is not None and population is not None and base.population is not None:
            loss = (base.population - population) / width
            if loss > self.max_population_loss:
                return (
                    f"population: score lower by {loss:.2f} of the range, at most {self.max_population_loss:g} allowed"
                )
        return None


def colour_statistics(image: Image.Image) -> dict[str, float]:
    """
    Saturation (mean of S in HSV) and contrast (standard deviation of the luminance), both in 0..1, of the picture made small.

    What becomes of them in a search is reported and not judged: a person may well like strong colours.
    """
    small = image.convert("RGB").reduce(max(1, min(image.size) // 128))
    saturation = np.asarray(small.convert("HSV"))[:, :, 1].mean() / 255
    return {"saturation": float(saturation), "contrast": float(np.asarray(small.convert("L")).std() / 255)}
