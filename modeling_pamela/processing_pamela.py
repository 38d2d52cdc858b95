"""Pictures, prompts, demographics and metadata as the tensors a PAMELA model takes."""

import copy
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image, ImageOps
from transformers import BatchFeature, PreTrainedTokenizerBase
from transformers.processing_utils import ProcessorMixin

from .configuration_pamela import PamelaConfig
from .encoders_pamela import EncoderError, load_image_encoder, load_text_encoder


__all__ = ["PamelaProcessor", "describe", "to_rgb"]


def describe(fields: Mapping[str, Any]) -> str:
    """
    Write demographics or metadata as sentences, one a field: "Age is 26. Gender is female."

    Args:
        fields (`Mapping[str, Any]`): Field name to value. Missing values (`None`, NaN, blank text) are left out.

    Returns:
        `str`: The sentences in the order of the fields; empty where nothing is known.

    Example:

    ```python
    >>> from modeling_pamela.processing_pamela import describe

    >>> describe({"age": 26, "gender": "female", "income": None, "art_experience": " "})
    'Age is 26. Gender is female.'

    ```
    """
    return " ".join(
        f"{name.replace('_', ' ').strip().capitalize()} is {_plain(value)}."
        for name, value in fields.items()
        if not _is_missing(value)
    )


def _is_missing(value: Any) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value)) or not str(value).strip()


def _plain(value: Any) -> str:
    # A column with a missing age arrives as floats; nobody is 26.0 years old.
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return str(value).strip()


def to_rgb(image: Image.Image) -> Image.Image:
    """
    The picture as a person sees it: turned as its EXIF tag says, first frame, on white where it is transparent, 8-bit RGB.

    Args:
        image (`PIL.Image.Image`): Of any mode; 16-bit grey is scaled to 8 bits (0..65535 to 0..255). Colour profiles are not applied.

    Returns:
        `PIL.Image.Image` of mode RGB

    Raises:
        ValueError: Floating-point or 32-bit pixels, whose range is not known.
    """
    image = ImageOps.exif_transpose(image)
    if image.mode == "F":
        raise ValueError("its floating-point pixels have no known range; save it as an 8- or 16-bit picture")
    if image.mode.startswith("I"):  # 16-bit grey, in one of Pillow's modes I, I;16, I;16B; Pillow would clip it at 255
        values = np.asarray(image)
        if values.min() < 0 or values.max() > 65535:
            raise ValueError("its 32-bit pixels have no known range; save it as an 8- or 16-bit picture")
        return Image.fromarray(np.rint(values / 257).astype(np.uint8)).convert("RGB")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(white, image).convert("RGB")
    return image.convert("RGB")


class PamelaProcessor(ProcessorMixin):
    """
    Wraps the preprocessing of the frozen encoders.

    Args:
        image_processor: Of the picture encoder.
        tokenizer (`PreTrainedTokenizerBase`): Of the prompt encoder.
        profile_tokenizer (`PreTrainedTokenizerBase`): Of the encoder of demographics and metadata.
        text_max_length, profile_max_length (`int`): Longer texts are cut after so many tokens.
        text_padding, profile_padding (`str`): `"longest"`, or `"max_length"` for SigLIP.
        text_lower_case, profile_lower_case (`bool`): SigLIP was trained on lower-cased text.
        text_prompt, profile_prompt (`str`): What the encoder was trained to see before a text.
    """

    profile_tokenizer: PreTrainedTokenizerBase

    def __init__(
        self,
        image_processor: Any,
        tokenizer: PreTrainedTokenizerBase,
        profile_tokenizer: PreTrainedTokenizerBase,
        text_max_length: int = 512,
        profile_max_length: int = 512,
        text_padding: str = "longest",
        profile_padding: str = "longest",
        text_lower_case: bool = False,
        profile_lower_case: bool = False,
        text_prompt: str = "",
        profile_prompt: str = "",
    ) -> None:
        super().__init__(image_processor, tokenizer, profile_tokenizer)
        self.text_max_length = text_max_length
        self.profile_max_length = profile_max_length
        self.text_padding = text_padding
        self.profile_padding = profile_padding
        self.text_lower_case = text_lower_case
        self.profile_lower_case = profile_lower_case
        self.text_prompt = text_prompt
        self.profile_prompt = profile_prompt

    @classmethod
    def from_config(cls, config: PamelaConfig) -> "PamelaProcessor":
        """
        The processor that belongs to the frozen encoders that a config names.

        Raises:
            EncoderError: One of them cannot be had, or is not named.
        """
        unnamed = [
            name for name in ("image_encoder", "text_encoder", "profile_encoder") if getattr(config, name) is None
        ]
        if unnamed:
            raise EncoderError(
                f"The config has no {', '.join(unnamed)}; name one, or make the processor of its parts."
            )
        text = load_text_encoder(config.text_encoder, weights=False)
        profile = load_text_encoder(config.profile_encoder, weights=False)
        return cls(
            load_image_encoder(config.image_encoder, weights=False).image_processor,
            text.tokenizer,
            # A copy: saving takes a mark off each tokenizer, and fails where two are one object.
            copy.deepcopy(profile.tokenizer),
            text_max_length=text.max_length,
            profile_max_length=profile.max_length,
            text_padding=text.padding,
            profile_padding=profile.padding,
            text_lower_case=text.lower_case,
            profile_lower_case=profile.lower_case,
            text_prompt=text.prompt,
            profile_prompt=profile.prompt,
        )

    def __call__(
        self,
        images: Image.Image | Sequence[Image.Image] | None = None,
        text: str | Sequence[str | None] | None = None,
        demographics: Mapping[str, Any] | Sequence[Mapping[str, Any]] | None = None,
        metadata: Mapping[str, Any] | Sequence[Mapping[str, Any]] | None = None,
    ) -> BatchFeature:
        """
        Args:
            images (`PIL.Image.Image` or a list of N): Pictures.
            text (`str` or a list of N): Their prompts; an empty one or `None` is an absent prompt.
            demographics (`dict` or a list of U): What is known of the people, e.g. `{"age": 26, "gender": "female"}`.
            metadata (`dict` or a list of N): What is known of the pictures, e.g. `{"style": "watercolour"}`.

        Returns:
            `BatchFeature` of torch tensors with, as far as given, `pixel_values` (with NaFlex encoders also `pixel_attention_mask` and
            `spatial_shapes`), `input_ids`, `attention_mask`, `demographics_input_ids`, `demographics_attention_mask`,
            `metadata_input_ids`, `metadata_attention_mask`.
        """
        data: dict[str, Any] = {}
        if images is not None:
            pictures = [images] if isinstance(images, Image.Image) else list(images)
            data.update(self.image_processor([to_rgb(picture) for picture in pictures], return_tensors="pt"))
        if text is not None:
            data.update(self.tokenize([text] if isinstance(text, str) else text))
        for prefix, fields in (("demographics", demographics), ("metadata", metadata)):
            if fields is not None:
                sentences = [describe(row) for row in ([fields] if isinstance(fields, Mapping) else fields)]
                tokens = self.tokenize(sentences, role="profile")
                data.update({f"{prefix}_{name}": tensor for name, tensor in tokens.items()})
        if not data:
            raise ValueError("Nothing to process: pass `images`, `text`, `demographics` or `metadata`.")
        return BatchFeature(data)

    def tokenize(self, texts: Iterable[str | None], role: str = "text") -> BatchFeature:
        """
        Tokenise prompts (`role="text"`) or sentences about a person or picture (`role="profile"`).

        An absent text (empty, blank or `None`) has an attention mask of zeros.

        Returns:
            `BatchFeature` with `input_ids` and `attention_mask` of shape `(N, T)`
        """
        cleaned = [(text or "").strip() for text in texts]
        if getattr(self, f"{role}_lower_case"):
            cleaned = [text.lower() for text in cleaned]
        prompt = getattr(self, f"{role}_prompt")
        tokenizer = self.tokenizer if role == "text" else self.profile_tokenizer
        tokens = tokenizer(
            [prompt + text for text in cleaned],
            padding=getattr(self, f"{role}_padding"),
            truncation=True,
            max_length=getattr(self, f"{role}_max_length"),
            return_tensors="pt",
        )
        mask = tokens.get("attention_mask")
        if mask is None:
            # SigLIP's tokenizer returns none, since the model attends to padding.
            mask = tokens["input_ids"].new_ones(tokens["input_ids"].shape)
        for row, text in enumerate(cleaned):
            if not text:
                mask[row] = 0
        return BatchFeature({"input_ids": tokens["input_ids"], "attention_mask": mask})
