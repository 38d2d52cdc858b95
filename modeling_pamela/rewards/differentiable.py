"""The reward of a PAMELA model with gradients to the pixels, for whatever makes pictures by gradient."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional
from transformers.models.siglip2.image_processing_pil_siglip2 import get_image_size_for_max_num_patches

from ..modeling_pamela import PamelaForPersonalizedScoring
from ..processing_pamela import PamelaProcessor
from .base import Person, RewardError, RewardScores
from .personal import People, PersonalReward
from .pictures import check_pixels


__all__ = ["DifferentiableReward", "preprocess"]

# Pillow's filters that torch has too: both as convolutions that widen when a picture shrinks.
MODES: dict[int, str] = {Image.Resampling.BILINEAR: "bilinear", Image.Resampling.BICUBIC: "bicubic"}


class DifferentiableReward(PersonalReward):
    """
    A [`PersonalReward`] whose gradients reach the pixels of pictures given as a tensor, through the frozen encoder and the model.

    Pictures as a tensor get the scores that the same pictures as PIL pictures get. Both `mean` and `std` have gradients, so that
    `mean - kappa * std`, a lower confidence bound, does not reward what the model knows nothing of.

    Args:
        model ([`PamelaForPersonalizedScoring`]): A posterior model; its weights are frozen.
        processor, people, batch_size: See [`PersonalReward`]. A tensor is one pass of the encoder, however many pictures it has.
        rounding (`bool`): See [`preprocess`].

    Raises:
        RewardError: The model is a token model.

    Example:

    ```python no-run
    reward = DifferentiableReward(model, processor, {"ann": TasteProfile.from_pretrained("profiles/ann")})
    pictures = torch.rand(4, 3, 256, 256, requires_grad=True)
    scores = reward(pictures, people="ann")
    (scores.mean - 0.5 * scores.std).sum().backward()
    ```
    """

    differentiable = True

    def __init__(
        self,
        model: PamelaForPersonalizedScoring,
        processor: PamelaProcessor,
        people: People | None = None,
        batch_size: int = 16,
        rounding: bool = True,
    ) -> None:
        if model.taste is None:
            raise RewardError(
                "This is a token model; gradients to the pixels are of posterior models (`pamela train --recipe posterior`)."
            )
        super().__init__(model.requires_grad_(False), processor, people, batch_size)
        self.rounding = rounding

    def __call__(
        self,
        images: "Sequence[Image.Image] | Tensor",
        prompts: Sequence[str | None] | None = None,
        people: "Sequence[Person] | Person" = None,
    ) -> RewardScores:
        """
        See [`~modeling_pamela.rewards.base.Reward`].

        Args:
            images (`torch.Tensor` of shape `(n, 3, H, W)`): RGB in 0..1, in any floating-point precision. PIL pictures get the scores
                of [`PersonalReward`], without gradient.

        Returns:
            [`RewardScores`]: For a tensor on its device, in float32 or, if it is float64, in float64.

        Raises:
            RewardError: Also where the encoder's preprocessing cannot be done with gradients.
        """
        if not isinstance(images, Tensor):
            return super().__call__(images, prompts, people)
        check_pixels(images)
        tastes = self._check_inputs(len(images), prompts, people)
        inputs = preprocess(images, self.processor.image_processor, self.rounding)
        embeds = {"image_embeds": self.model.get_image_embeds(**inputs)} | self._embed_prompts(prompts)
        mean, std = self._score(tastes, torch.arange(len(images)), embeds)
        assert std is not None
        dtype = torch.promote_types(images.dtype, torch.float32)
        return RewardScores(mean.to(images.device, dtype), std.to(images.device, dtype))

    def _features(self, embeds: Mapping[str, Tensor]) -> Tensor:
        """Those of the model's forward pass, which has gradients."""
        return self.model(**embeds).taste_features


def preprocess(images: Tensor, image_processor: Any, rounding: bool = True) -> dict[str, Tensor]:
    """
    What an image processor makes of pictures, with gradient to them: resized as Pillow does, cropped, normalised and, for NaFlex encoders, cut
    into patches.

    Args:
        images (`torch.Tensor` of shape `(n, 3, H, W)`): RGB in 0..1, in any floating-point precision.
        image_processor: Of an image encoder, from transformers.
        rounding (`bool`): Round to 8 bits wherever Pillow does, which encoders can tell; gradients pass as if nothing was rounded
            (straight-through; Bengio et al. 2013). `False` makes a smooth function of it, whose scores differ by up to about 0.01.

    Returns:
        `dict`: `pixel_values` and, of NaFlex encoders, `pixel_attention_mask` and `spatial_shapes`, in float32 or, if the pictures are,
        in float64.

    Raises:
        RewardError: The processor does something for which there is no gradient here.
    """
    pixels = images.to(torch.promote_types(images.dtype, torch.float32))
    if rounding:
        pixels = _eight_bits(pixels)
    patch_size = getattr(image_processor, "patch_size", None)
    if getattr(image_processor, "do_resize", False):
        height, width = _target_size(image_processor, images.shape[-2], images.shape[-1])
        pixels = _resize(pixels, height, width, image_processor.resample, rounding)
    if getattr(image_processor, "do_center_crop", False):
        pixels = _center_crop(pixels, image_processor.crop_size["height"], image_processor.crop_size["width"])
    if getattr(image_processor, "do_pad", False) or not getattr(image_processor, "do_rescale", False):
        raise _cannot(image_processor, "pads pictures, or takes pixels in 0..255")
    pixels = pixels * (255 * image_processor.rescale_factor)
    if getattr(image_processor, "do_normalize", False):
        mean, std = (
            torch.tensor(numbers, dtype=pixels.dtype, device=pixels.device)[:, None, None]
            for numbers in (image_processor.image_mean, image_processor.image_std)
        )
        pixels = (pixels - mean) / std
    if patch_size is None:
        return {"pixel_values": pixels}
    number, rows, columns = len(pixels), pixels.shape[-2] // patch_size, pixels.shape[-1] // patch_size
    patches = pixels.reshape(number, 3, rows, patch_size, columns, patch_size).permute(0, 2, 4, 3, 5, 1)
    patches = patches.reshape(number, rows * columns, -1)
    mask = torch.ones(number, rows * columns, dtype=torch.int32, device=pixels.device)
    missing = image_processor.max_num_patches - rows * columns
    return {
        "pixel_values": functional.pad(patches, (0, 0, 0, missing)),
        "pixel_attention_mask": functional.pad(mask, (0, missing)),
        "spatial_shapes": torch.tensor([[rows, columns]] * number, device=pixels.device),
    }


def _target_size(image_processor: Any, height: int, width: int) -> tuple[int, int]:
    patches = getattr(image_processor, "max_num_patches", None)
    if patches is not None:
        return get_image_size_for_max_num_patches(height, width, image_processor.patch_size, patches)
    size = {name: number for name, number in dict(image_processor.size).items() if number is not None}
    if set(size) == {"height", "width"}:
        return size["height"], size["width"]
    if set(size) == {"shortest_edge"}:
        short, long = size["shortest_edge"], int(size["shortest_edge"] * max(height, width) / min(height, width))
        return (long, short) if width <= height else (short, long)
    raise _cannot(image_processor, f"resizes to {size}")


def _resize(pixels: Tensor, height: int, width: int, resample: int, rounding: bool) -> Tensor:
    if resample not in MODES:
        raise RewardError(
            f"The encoder's pictures are resized by Pillow's filter {Image.Resampling(resample).name}; only bilinear and bicubic have "
            "gradients here. Score PIL pictures with `PersonalReward`."
        )
    # Row by row, then column by column, as Pillow does: it rounds in between.
    for size in ((pixels.shape[-2], width), (height, width)):
        if size != pixels.shape[-2:]:
            pixels = functional.interpolate(pixels, size, mode=MODES[resample], antialias=True, align_corners=False)
            # A bicubic filter overshoots at edges; Pillow's pixels have nowhere to go.
            pixels = _eight_bits(pixels) if rounding else pixels.clamp(0, 1)
    return pixels


def _eight_bits(pixels: Tensor) -> Tensor:
    pixels = pixels.clamp(0, 1)
    return pixels + ((pixels * 255 + 0.5).floor() / 255 - pixels).detach()


def _center_crop(pixels: Tensor, height: int, width: int) -> Tensor:
    top, left = (pixels.shape[-2] - height) // 2, (pixels.shape[-1] - width) // 2
    if top < 0 or left < 0:
        # Black around a picture that is too small, the larger half of it before the picture as in transformers.
        pixels = functional.pad(pixels, _around(pixels.shape[-1], width) + _around(pixels.shape[-2], height))
        top, left = max(top, 0), max(left, 0)
    return pixels[..., top : top + height, left : left + width]


def _around(size: int, wanted: int) -> tuple[int, int]:
    missing = max(wanted - size, 0)
    return (missing + 1) // 2, missing // 2


def _cannot(image_processor: Any, what: str) -> RewardError:
    return RewardError(
        f"{type(image_processor).__name__} {what}, which cannot be done with gradients here. Score PIL pictures with `PersonalReward`."
    )
