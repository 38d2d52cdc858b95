"""
Guards against reward hacking: what a search may not do to get a higher score.

A reward is a model of a taste, and a search is good at finding where a model is wrong: prompts that ask for something else, prompts whose
words please while the picture does not show them, pictures unlike any that were rated. Each guard can be switched off by itself.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ..modeling_pamela import PamelaForPersonalizedScoring
from ..processing_pamela import PamelaProcessor
from .base import Candidate, SteeringError
from .history import prompt_key
from .modifiers import MODIFIERS


__all__ = ["ContentMeasure", "Guards", "ModelContent", "colour_statistics", "kept_content"]

_MORE_STYLE = (
    "cinematic detailed intricate stunning beautiful style scene picture image grain glow glowing bathed shadow shadows deep strong gentle much "
    "a an the of in on at by with under from to into through over and is its it as"
)
STYLE_WORDS = frozenset(
    word
    for text in (*(text for kind in MODIFIERS.values() for text in (kind.cues, *kind.modifiers)), _MORE_STYLE)
    for word in prompt_key(text).split()
)
OTHER_THINGS = ("dog", "car", "woman portrait", "bowl of soup", "machine", "crowd of people", "bridge", "letters")


@dataclass(frozen=True)
class Guards:
    """
    What is demanded of a candidate. [`Guards.off`] demands nothing.

    Attributes:
        min_content (`float`, *optional*): How much of what the person asked for a prompt must say, as [`kept_content`] measures it. One
            below is not rendered. Needs a [`ContentMeasure`].
        max_alignment_loss (`float`, *optional*): By how much the similarity of the picture to the person's own prompt may fall
            below the first picture's. Needs a measure whose encoder has pictures and texts in one space.
        beta (`float`): The search goes by `score - beta * std`, so that it does not chase what the reward is unsure of; 0 goes by the score.
        max_population_loss (`float`, *optional*): By how much the population's score may fall below the first picture's, as a share of
            the reward's range. Only where the reward is for a person.
        scored_prompt (`"own"`, `"base"` or `"none"`): Which prompt the reward is told of: the candidate's own, the person's, or none.

    Raises:
        SteeringError: `beta` is negative, or there is no such `scored_prompt`.
    """

    min_content: float | None = 0.4
    max_alignment_loss: float | None = 0.1
    beta: float = 0.5
    max_population_loss: float | None = 0.2
    scored_prompt: Literal["own", "base", "none"] = "own"

    def __post_init__(self) -> None:
        if self.scored_prompt not in ("own", "base", "none"):
            raise SteeringError(f'scored_prompt is {self.scored_prompt!r}; expected "own", "base" or "none".')
        if not self.beta >= 0:
            raise SteeringError(f"beta is {self.beta}; expected at least 0.")

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


class ContentMeasure(Protocol):
    """Whether texts, and perhaps pictures, are about the same."""

    def embed_texts(self, texts: Sequence[str]) -> Tensor:
        """Embeddings of n texts, `(n, D)`."""
        ...

    def alignment(self, images: Sequence[Image.Image], prompt: str) -> Tensor | None:
        """Similarity of n pictures to a prompt, `(n,)`; `None` where the encoder has no joint space."""
        ...


class ModelContent:
    """The [`ContentMeasure`] of a model's own frozen encoders; pictures are compared with prompts where both come from one joint encoder."""

    def __init__(self, model: PamelaForPersonalizedScoring, processor: PamelaProcessor) -> None:
        self.model = model
        self.processor = processor
        self._embeds: dict[str, Tensor] = {}
        self.joint = model.config.image_encoder == model.config.text_encoder

    def __repr__(self) -> str:
        return f"ModelContent({self.model.config.text_encoder!r}, joint={self.joint})"

    @torch.no_grad()
    def embed_texts(self, texts: Sequence[str]) -> Tensor:
        """See [`ContentMeasure`]. Texts that were embedded before are not embedded again."""
        new = [text for text in dict.fromkeys(texts) if text not in self._embeds]
        if new:
            found = self.model.get_text_embeds(**self.processor.tokenize(new))
            self._embeds.update(zip(new, found, strict=True))
        return torch.stack([self._embeds[text] for text in texts])

    @torch.no_grad()
    def alignment(self, images: Sequence[Image.Image], prompt: str) -> Tensor | None:
        """See [`ContentMeasure`]."""
        if not self.joint:
            return None
        pictures = self.model.get_image_embeds(**self.processor(images=list(images)))
        return torch.cosine_similarity(pictures, self.embed_texts([prompt]))


def kept_content(content: ContentMeasure, base: str, prompts: Sequence[str]) -> list[float]:
    """
    How much of what was asked for each prompt still says: 1 where all of it, about 0 where it speaks of something else.

    It is the cosine similarity of the two texts without their words of style (light, colour, camera, …, which a search is there to change),
    on a scale whose 0 is the mean similarity of `base` to texts about other things, since encoders differ in that.
    """
    texts = [_without_style(text) for text in (base, *prompts)]
    if not texts[0]:
        texts = [base, *prompts]
    distinct = list(dict.fromkeys([texts[0], *OTHER_THINGS, *texts[1:]]))
    embeds = torch.nn.functional.normalize(content.embed_texts(distinct).double(), dim=-1)
    similarity = dict(zip(distinct, (embeds @ embeds[0]).tolist(), strict=True))
    other = sum(similarity[text] for text in OTHER_THINGS) / len(OTHER_THINGS)
    return [(similarity[text] - other) / (1 - other) for text in texts[1:]]


def _without_style(text: str) -> str:
    return " ".join(word for word in prompt_key(text).split() if word not in STYLE_WORDS)


def colour_statistics(image: Image.Image) -> dict[str, float]:
    """
    Saturation (mean of S in HSV) and contrast (standard deviation of the luminance), both in 0..1, of the picture made small.

    What becomes of them in a search is reported and not judged: a person may well like strong colours.
    """
    small = image.convert("RGB").reduce(max(1, min(image.size) // 128))
    saturation = np.asarray(small.convert("HSV"))[:, :, 1].mean() / 255
    return {"saturation": float(saturation), "contrast": float(np.asarray(small.convert("L")).std() / 255)}
