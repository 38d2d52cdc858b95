"""Loading the checkpoint that a command is given, or saying what is wrong with it."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer


if TYPE_CHECKING:
    from ..modeling_pamela import PamelaForPersonalizedScoring

__all__ = ["Device", "Precision", "PrecisionName", "check_device", "load_checkpoint"]


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


def load_checkpoint(
    name: str | Path, device: str = "cpu", dtype: PrecisionName | None = None
) -> "PamelaForPersonalizedScoring":
    """
    Load a model from a folder or a Hub repo.

    Args:
        name (`str` or `Path`): Folder or Hub repo.
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

    if not Path(name).exists() and str(name).count("/") != 1:
        raise DataError(
            f"{name} is no checkpoint: expected a folder that `pamela train` wrote, or a Hub repo (owner/name)."
        )
    try:
        config = AutoConfig.from_pretrained(name)
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
    model = AutoModel.from_pretrained(name, config=config)
    return model.to(device, None if dtype is None else getattr(torch, dtype.value))
