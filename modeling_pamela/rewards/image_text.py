"""How well a picture shows what was asked for: the similarity of picture and prompt under an image-text model."""

from collections.abc import Sequence

import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from ..configuration_pamela import PamelaConfig
from ..encoders_pamela import load_image_encoder, load_text_encoder
from ..processing_pamela import PamelaProcessor
from .base import Person, RewardError, RewardScores
from .pictures import to_pictures


__all__ = ["ImageTextReward"]


class ImageTextReward:
    """
    A population [`~modeling_pamela.rewards.base.Reward`]: the cosine of a picture's and its prompt's embedding under any image-text
    model of transformers (CLIP, SigLIP, SigLIP2, ...), as in CLIPScore (Hessel et al. 2021) without its rescaling.

    It is the same for everybody, so `people` make no difference. A prompt is cut where the model's text side ends (77 tokens for CLIP,
    64 for SigLIP).

    Args:
        name (`str`): Hub repo or folder of the model, perhaps with a precision, as [`~modeling_pamela.encoders_pamela`] takes it.
        device (`str`): Where to compute.
        batch_size (`int`): Pictures a forward pass.

    Raises:
        EncoderError: The model cannot be had, or has no joint space of pictures and texts.

    Example:

    ```python
    reward = ImageTextReward("openai/clip-vit-large-patch14")
    reward(pictures, ["a lighthouse at dusk"] * len(pictures)).mean
    ```
    """

    score_range = (-1.0, 1.0)
    higher_is_better = True
    differentiable = False

    def __init__(self, name: str, device: str = "cpu", batch_size: int = 16) -> None:
        self.name = name
        self.device = device
        self.batch_size = batch_size
        self.image_encoder = load_image_encoder(name)
        self.text_encoder = load_text_encoder(name)
        self.processor = PamelaProcessor.from_config(
            PamelaConfig(image_encoder=name, text_encoder=name, profile_encoder=name)
        )

    @torch.no_grad()
    def __call__(
        self,
        images: "Sequence[Image.Image] | Tensor",
        prompts: Sequence[str | None] | None = None,
        people: "Sequence[Person] | Person" = None,
    ) -> RewardScores:
        """See [`~modeling_pamela.rewards.base.Reward`]; every picture needs its prompt."""
        pictures = to_pictures(images)
        if prompts is None or isinstance(prompts, str) or len(prompts) != len(pictures):
            given = "no prompts" if prompts is None else "one text" if isinstance(prompts, str) else f"{len(prompts)}"
            raise RewardError(f"There are {len(pictures)} pictures and {given}; expected one prompt a picture.")
        asked = [(prompt or "").strip() for prompt in prompts]
        if "" in asked:
            raise RewardError(
                f"Picture number {asked.index('') + 1} has no prompt; {self.name} scores pictures by their prompts."
            )
        distinct = list({id(picture): picture for picture in pictures}.values())
        row = {id(picture): at for at, picture in enumerate(distinct)}
        of_picture = self._embed_pictures(distinct)[[row[id(picture)] for picture in pictures]]
        texts = {text: at for at, text in enumerate(dict.fromkeys(asked))}
        of_text = self._embed_texts(list(texts))[[texts[text] for text in asked]]
        return RewardScores((of_picture * of_text).sum(-1))

    def _embed_pictures(self, pictures: Sequence[Image.Image]) -> Tensor:
        encoder = self.image_encoder.to(self.device)
        dtype = next(encoder.parameters()).dtype
        parts = []
        for start in range(0, len(pictures), self.batch_size):
            inputs = self.processor(images=pictures[start : start + self.batch_size])
            moved = {k: v.to(self.device, dtype if v.is_floating_point() else None) for k, v in inputs.items()}
            parts.append(encoder(**moved))
        return F.normalize(torch.cat(parts).double().cpu(), dim=-1)

    def _embed_texts(self, texts: Sequence[str]) -> Tensor:
        encoder = self.text_encoder.to(self.device)
        parts = []
        for start in range(0, len(texts), self.batch_size):
            tokens = self.processor.tokenize(texts[start : start + self.batch_size])
            parts.append(encoder(**{name: rows.to(self.device) for name, rows in tokens.items()}))
        return F.normalize(torch.cat(parts).double().cpu(), dim=-1)
