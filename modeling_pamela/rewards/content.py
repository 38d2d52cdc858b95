"""How much of what was asked for a prompt still says, and a picture still shows."""

from collections.abc import Callable, Sequence
from typing import Protocol

import torch
from PIL import Image
from torch import Tensor

from ..data.prompts import MODIFIERS, prompt_key
from ..encoders_pamela import EMBEDDED_TEXT_ENCODER, load_text_encoder
from ..modeling_pamela import PamelaForPersonalizedScoring
from ..processing_pamela import PamelaProcessor


__all__ = ["MIN_CONTENT", "ContentMeasure", "ModelContent", "TextContent", "kept_content"]

# By `kept_content` under the embedded text encoder, this much separates prompts of one subject from those of others.
MIN_CONTENT = 0.4
# Pictures a forward pass of the encoder.
_BATCH = 16

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


class ContentMeasure(Protocol):
    """Whether texts, and perhaps pictures, are about the same."""

    def embed_texts(self, texts: Sequence[str]) -> Tensor:
        """Embeddings of n texts, `(n, D)`."""
        ...

    def alignment(self, images: Sequence[Image.Image], prompt: str) -> Tensor | None:
        """Similarity of n pictures to a prompt, `(n,)`; `None` where the encoder has no joint space."""
        ...


class _Memory:
    """Embeddings of the latest texts, each of which is embedded once."""

    SIZE = 4096

    def __init__(self, embed: Callable[[Sequence[str]], Tensor]) -> None:
        self.embed = embed
        self.known: dict[str, Tensor] = {}

    def __call__(self, texts: Sequence[str]) -> Tensor:
        new = [text for text in dict.fromkeys(texts) if text not in self.known]
        if new:
            self.known.update(zip(new, self.embed(new), strict=True))
        found = torch.stack([self.known[text] for text in texts])
        for text in list(self.known)[: -self.SIZE]:
            del self.known[text]
        return found


class ModelContent:
    """The [`ContentMeasure`] of a model's own frozen encoders; pictures are compared with prompts where both come from one joint encoder."""

    def __init__(self, model: PamelaForPersonalizedScoring, processor: PamelaProcessor) -> None:
        self.model = model
        self.processor = processor
        self._memory = _Memory(self._embed)
        self.joint = model.config.image_encoder == model.config.text_encoder

    def __repr__(self) -> str:
        return f"ModelContent({self.model.config.text_encoder!r}, joint={self.joint})"

    def embed_texts(self, texts: Sequence[str]) -> Tensor:
        """See [`ContentMeasure`]. Texts that were embedded before are not embedded again."""
        return self._memory(texts)

    @torch.no_grad()
    def _embed(self, texts: Sequence[str]) -> Tensor:
        return self.model.get_text_embeds(**self.processor.tokenize(list(texts)))

    @torch.no_grad()
    def alignment(self, images: Sequence[Image.Image], prompt: str) -> Tensor | None:
        """See [`ContentMeasure`]."""
        if not self.joint:
            return None
        asked = self.embed_texts([prompt])
        batches = (images[start : start + _BATCH] for start in range(0, len(images), _BATCH))
        pictures = [self.model.get_image_embeds(**self.processor(images=list(batch))) for batch in batches]
        return torch.cosine_similarity(torch.cat(pictures), asked)


class TextContent:
    """
    The [`ContentMeasure`] of a frozen text encoder by itself; pictures are not looked at.

    Args:
        encoder (`str`): As [`~modeling_pamela.encoders_pamela.load_text_encoder`] takes it.
    """

    def __init__(self, encoder: str = EMBEDDED_TEXT_ENCODER) -> None:
        self.encoder = load_text_encoder(encoder)
        self._memory = _Memory(self._embed)

    def embed_texts(self, texts: Sequence[str]) -> Tensor:
        """See [`ContentMeasure`]. Texts that were embedded before are not embedded again."""
        return self._memory(texts)

    @torch.no_grad()
    def _embed(self, texts: Sequence[str]) -> Tensor:
        encoder = self.encoder
        tokens = encoder.tokenizer(
            [encoder.prompt + (text.lower() if encoder.lower_case else text) for text in texts],
            padding=encoder.padding,
            truncation=True,
            max_length=encoder.max_length,
            return_tensors="pt",
        )
        device = next(encoder.parameters()).device
        mask = tokens.get("attention_mask", torch.ones_like(tokens["input_ids"]))
        return encoder(input_ids=tokens["input_ids"].to(device), attention_mask=mask.to(device))

    def alignment(self, images: Sequence[Image.Image], prompt: str) -> Tensor | None:
        """See [`ContentMeasure`]."""
        return None


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
