"""Any text-to-image pipeline of diffusers as a renderer."""

import inspect
import re
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from PIL import Image

from ..rewards.pictures import is_black
from .base import SteeringError


if TYPE_CHECKING:
    from diffusers.pipelines.pipeline_utils import DiffusionPipeline

__all__ = ["PAPER_SETTINGS", "DiffusersRenderer", "paper_settings"]

# PAMELA, arXiv 2604.07427: FLUX.2-dev with 50 steps, guidance 4.0, at 512 pixels.
PAPER_SETTINGS = {"num_inference_steps": 50, "guidance_scale": 4.0, "height": 512, "width": 512}
# What the renderer itself says in every call.
_OWN = {"prompt", "generator", "num_images_per_prompt", "output_type", "return_dict"}
# A text for each picture. Others, such as Lumina2's system_prompt, are for all.
_PROMPT = re.compile(r"(negative_)?prompt(_\d+)?")
# Of RuntimeErrors, with which torch reports a full memory on devices that have no error class for it.
_OUT_OF_MEMORY = ("out of memory", "can't allocate memory", "not enough memory")


def paper_settings(pipeline: "DiffusionPipeline") -> dict[str, Any]:
    """
    The paper's settings of rendering, as far as the pipeline takes them.

    Example:

    ```python
    renderer = DiffusersRenderer(pipeline, **paper_settings(pipeline))
    ```
    """
    accepted = inspect.signature(pipeline.__call__).parameters
    return {name: value for name, value in PAPER_SETTINGS.items() if name in accepted}


class DiffusersRenderer:
    """
    A [`~modeling_pamela.steering.base.Renderer`] over a text-to-image pipeline.

    Every picture has a generator of its own, on the CPU, so it is a function of its prompt and its seed alone, up to the rounding of
    batched arithmetic. Batches are halved for good where the memory does not suffice.

    Args:
        pipeline (`DiffusionPipeline`): Takes `prompt` and `generator`.
        max_batch_size (`int`): Pictures a call of the pipeline, at most.
        call_kwargs: Of every call of the pipeline, such as `num_inference_steps`; its own defaults where not given.

    Attributes:
        batch_size (`int`): Pictures a call, as far as the memory was found to suffice.

    Raises:
        SteeringError: The pipeline makes no pictures of texts, or does not take one of the arguments.

    Example:

    ```python
    from diffusers import AutoPipelineForText2Image

    pipeline = AutoPipelineForText2Image.from_pretrained("black-forest-labs/FLUX.2-dev", dtype=torch.bfloat16)
    renderer = DiffusersRenderer(pipeline.to("cuda"), **paper_settings(pipeline))
    pictures = renderer.render(["a lighthouse", "a lighthouse at dusk"], seeds=[0, 0])
    ```
    """

    def __init__(self, pipeline: "DiffusionPipeline", *, max_batch_size: int = 4, **call_kwargs: Any) -> None:
        name = type(pipeline).__name__
        accepted = inspect.signature(pipeline.__call__).parameters
        if not {"prompt", "generator"} <= set(accepted):
            raise SteeringError(
                f"{name} does not take `prompt` and `generator`; expected a text-to-image pipeline, such as AutoPipelineForText2Image gives."
            )
        if reserved := sorted(_OWN & set(call_kwargs)):
            raise SteeringError(f"{', '.join(reserved)} cannot be set: the search itself decides about it.")
        # Some pipelines take any keyword and ignore what they do not know.
        if unknown := sorted(set(call_kwargs) - set(accepted)):
            raise SteeringError(
                f"{name} does not take {', '.join(unknown)}; it takes {', '.join(sorted(set(accepted) - _OWN - {'kwargs'}))}."
            )
        if max_batch_size < 1:
            raise SteeringError(f"max_batch_size is {max_batch_size}; expected at least 1.")
        self.pipeline = pipeline
        self.batch_size = max_batch_size
        self.call_kwargs = call_kwargs

    def __repr__(self) -> str:
        """The same for the same pictures; a search that is resumed goes by it."""
        made_by = f"{type(self.pipeline).__name__}({self.pipeline.config.get('_name_or_path', '')!r})"
        return f"DiffusersRenderer({made_by}, {dict(sorted(self.call_kwargs.items()))})"

    def render(self, prompts: Sequence[str], seeds: Sequence[int]) -> list[Image.Image | None]:
        """
        See [`~modeling_pamela.steering.base.Renderer`]. `None` stands for a picture that the pipeline's safety filter held back, or
        that is black throughout; a warning says which.

        Raises:
            SteeringError: The pipeline fails, or the memory does not suffice for one picture.
        """
        pictures: list[Image.Image | None] = []
        while len(pictures) < len(prompts):
            batch = slice(len(pictures), len(pictures) + self.batch_size)
            made = self._call(list(prompts[batch]), seeds[batch])
            if made is None:
                self._halve(prompts[batch])
            else:
                pictures += made
        return pictures

    def _call(self, prompts: list[str], seeds: Sequence[int]) -> list[Image.Image | None] | None:
        """Pictures of one batch; `None` where the memory does not suffice. It returns so that what the failed call held is freed."""
        # A prompt beside the prompt, such as a negative one, is the same for all; few pipelines repeat it themselves.
        texts = {
            name: [value] * len(prompts)
            for name, value in self.call_kwargs.items()
            if _PROMPT.fullmatch(name) and isinstance(value, str)
        }
        try:
            output = self.pipeline(
                prompt=prompts,
                generator=[torch.Generator().manual_seed(seed) for seed in seeds],
                output_type="pil",
                **{**self.call_kwargs, **texts},
            )
        except (RuntimeError, TypeError, ValueError, AttributeError) as error:
            message = " ".join(str(error).split())
            if isinstance(error, torch.OutOfMemoryError) or any(words in message for words in _OUT_OF_MEMORY):
                return None
            raise SteeringError(
                f"{type(self.pipeline).__name__} cannot draw {_short(prompts[0])} with {self.call_kwargs or 'its own settings'}: {message}"
            ) from error
        filtered = getattr(output, "nsfw_content_detected", None) or [False] * len(prompts)
        return [self._checked(*made) for made in zip(prompts, seeds, output.images, filtered, strict=True)]

    def _halve(self, prompts: Sequence[str]) -> None:
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        if len(prompts) == 1:
            raise SteeringError(
                f"The memory does not suffice to draw one picture ({_short(prompts[0])}). Take a smaller height and width, load the "
                "pipeline with dtype=torch.bfloat16, or call its enable_model_cpu_offload()."
            )
        self.batch_size = len(prompts) // 2

    def _checked(self, prompt: str, seed: int, picture: Image.Image, filtered: bool) -> Image.Image | None:
        if filtered:
            why = "The pipeline's safety filter held back"
        elif is_black(picture):
            why = "Black throughout (a filter, or a decoder that overflows in half precision: load the VAE in float32) is"
        else:
            return picture
        warnings.warn(f"{why} the picture of {_short(prompt)}, seed {seed}. It is not used.", stacklevel=4)
        return None


def _short(prompt: str) -> str:
    return repr(prompt if len(prompt) <= 80 else prompt[:79] + "…")
