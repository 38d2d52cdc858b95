"""Pictures as rewards are handed them: PIL, tensors of diffusion pipelines, arrays."""

from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ..processing_pamela import to_rgb
from .base import RewardError


__all__ = ["check_pixels", "is_black", "to_pictures"]

# Rounding, of half precision above all, may carry pixels this far over the ends of their range.
TOLERANCE = 0.01


def to_pictures(images: "Sequence[Image.Image] | Tensor | np.ndarray") -> list[Image.Image]:
    """
    PIL pictures of whatever a generator gives.

    Args:
        images (sequence of `PIL.Image.Image`, `torch.Tensor` of shape `(n, 3, H, W)` in 0..1, or `np.ndarray` of shape `(n, H, W, 3)` and
            dtype uint8): n >= 1 pictures.

    Returns:
        `list[PIL.Image.Image]` of mode RGB; an object that occurs several times does so in the result.

    Raises:
        RewardError: There are none, or one of them is no picture: of another type, shape or dtype, with values that are not finite or out of
            range. A tensor has a gradient, which does not survive rounding to 8 bits.

    Example:

    ```python
    >>> import torch
    >>> from modeling_pamela.rewards.pictures import to_pictures

    >>> to_pictures(torch.ones(1, 3, 8, 12))[0].size
    (12, 8)

    ```
    """
    if len(images) == 0:
        raise RewardError("There are no pictures to score; expected at least one.")
    if isinstance(images, Tensor):
        if images.requires_grad:
            raise RewardError(
                "The pictures carry a gradient, which this reward would lose. Use a reward that is differentiable, or `images.detach()`."
            )
        check_pixels(images)
        pixels = (images.to("cpu", torch.float32).clamp(0, 1) * 255).round().to(torch.uint8)
        return [Image.fromarray(picture) for picture in pixels.permute(0, 2, 3, 1).contiguous().numpy()]
    if isinstance(images, np.ndarray):
        if images.dtype != np.uint8 or images.ndim != 4 or images.shape[-1] != 3:
            raise RewardError(
                f"The pictures are an array of shape {images.shape} and dtype {images.dtype}; expected (n, height, width, 3) and uint8. "
                "Values in 0..1 are taken as a torch tensor of shape (n, 3, height, width)."
            )
        return [Image.fromarray(pixels) for pixels in images]
    converted: dict[int, Image.Image] = {}
    for number, image in enumerate(images, 1):
        if id(image) in converted:
            continue
        if not isinstance(image, Image.Image):
            raise RewardError(f"Picture number {number} is a {type(image).__name__}; expected a PIL picture.")
        try:
            converted[id(image)] = to_rgb(image)
        except ValueError as error:
            raise RewardError(f"Picture number {number} cannot be scored: {error}.") from error
    return [converted[id(image)] for image in images]


def check_pixels(images: Tensor) -> None:
    """Raises [`RewardError`] for a tensor that is no batch of RGB pictures in 0..1."""
    if images.ndim != 4 or images.shape[1] != 3 or not images.is_floating_point() or not images.numel():
        raise RewardError(
            f"The pictures are a tensor of shape {tuple(images.shape)} and {images.dtype}; expected floating-point numbers of shape "
            "(n, 3, height, width), red, green and blue first."
        )
    for number, image in enumerate(images.detach(), 1):
        if not image.isfinite().all():
            raise RewardError(f"Picture number {number} has pixels that are NaN or infinite; expected 0 to 1.")
        low, high = (end.item() for end in image.aminmax())
        if low < -TOLERANCE or high > 1 + TOLERANCE:
            raise RewardError(
                f"Picture number {number} has values from {low:.4g} to {high:.4g}; expected 0 to 1. What a VAE decodes, -1 to 1, is "
                "brought there by `(images / 2 + 0.5).clamp(0, 1)`, 8-bit pixels by `images / 255`."
            )


def is_black(image: Image.Image) -> bool:
    """Whether a picture is black throughout, as safety checkers return what they hold back."""
    return not np.asarray(to_rgb(image)).any()
