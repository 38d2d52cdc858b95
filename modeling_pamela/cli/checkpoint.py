"""Loading the checkpoint that a command is given, or saying what is wrong with it."""

from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer


if TYPE_CHECKING:
    from ..modeling_pamela import PamelaForPersonalizedScoring
    from ..processing_pamela import PamelaProcessor

__all__ = [
    "DEFAULT_MODEL",
    "Device",
    "Precision",
    "PrecisionName",
    "check_device",
    "load_checkpoint",
    "load_processor",
    "locate_checkpoint",
]


# What a command uses where no model is named.
DEFAULT_MODEL = "pamela-small"


class PrecisionName(StrEnum):
    """Names of torch's floating-point types."""

    float32 = "float32"
    bfloat16 = "bfloat16"
    float16 = "float16"


Device = Annotated[str, typer.Option(help="Where to compute, e.g. cpu or cuda.")]
Precision = Annotated[
    PrecisionName | None,
    typer.Option("--dtype", help="Of the network and of encoders from the Hub. Algebra stays in full precision."),
]


def check_device(device: str) -> None:
    """A `typer.BadParameter` for a device that is not there."""
    import torch

    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise typer.BadParameter(f"--device {device}: {error}") from error


def locate_checkpoint(name: str | Path) -> str:
    """
    Where the checkpoint that a command is given lies: every command takes a folder, the name of a model of the package, or a Hub repo.

    Args:
        name (`str` or `Path`): One of these; a folder goes before a model of the package.

    Raises:
        DataError: It is none of them.
    """
    from ..checkpoints import checkpoint, checkpoint_names
    from ..data.files import DataError

    if Path(name).exists() or str(name).count("/") == 1:
        return str(name)
    if str(name) in checkpoint_names():
        return str(checkpoint(str(name)))
    raise DataError(
        f"{name} is no checkpoint: expected a folder that `pamela train` wrote, a model of the package "
        f"({', '.join(checkpoint_names())}), or a Hub repo (owner/name)."
    )


def load_processor(name: str | Path) -> "PamelaProcessor":
    """
    Load the processor that belongs to a checkpoint.

    Args:
        name (`str` or `Path`): As in [`load_checkpoint`].
    """
    from transformers import AutoProcessor

    with _telling_what_is_missing(name, "its processor"):
        return AutoProcessor.from_pretrained(locate_checkpoint(name))


@contextmanager
def _telling_what_is_missing(name: str | Path, part: str) -> Iterator[None]:
    """transformers says of a folder without a file that the Hub has no such repo."""
    from ..data.files import DataError

    try:
        yield
    except OSError as error:
        if Path(name).is_dir() and "cut off" not in str(error):
            raise DataError(
                f"{name} lacks {part}, or it is damaged. Copy the whole checkpoint again, or train it again. transformers said: "
                f"{' '.join(str(error).split())[:200]}"
            ) from error
        raise


def load_checkpoint(
    name: str | Path, device: str = "cpu", dtype: PrecisionName | None = None
) -> "PamelaForPersonalizedScoring":
    """
    Load a model from a folder, the package or a Hub repo.

    Args:
        name (`str` or `Path`): See [`locate_checkpoint`].
        device (`str`): Where it and its encoders go.
        dtype (`PrecisionName`, *optional*): Precision of the network and of encoders from the Hub; as trained where not given.

    Raises:
        BadParameter: There is no such device.
        DataError: It is no PAMELA checkpoint.
        OSError: It is one, but damaged.
    """
    import torch
    from transformers import AutoConfig, AutoModel

    from ..configuration_pamela import PamelaConfig
    from ..data.files import DataError
    from ..encoders_pamela import with_precision

    check_device(device)
    place = locate_checkpoint(name)
    try:
        config = AutoConfig.from_pretrained(place)
    except (OSError, ValueError) as error:
        raise DataError(
            f"{name} is no checkpoint: expected a folder that `pamela train` wrote, or a Hub repo. transformers said: "
            f"{' '.join(str(error).split())}"
        ) from error
    if not isinstance(config, PamelaConfig):
        raise DataError(
            f"{name} is a {config.model_type!r} model, not a PAMELA checkpoint such as `pamela train` writes."
        )
    if dtype is not None:
        for field in ("image_encoder", "text_encoder", "profile_encoder"):
            if encoder := getattr(config, field):
                setattr(config, field, with_precision(encoder, dtype.value))
    with _telling_what_is_missing(name, "its weights"):
        model = AutoModel.from_pretrained(place, config=config)
    return model.to(device, None if dtype is None else getattr(torch, dtype.value))
