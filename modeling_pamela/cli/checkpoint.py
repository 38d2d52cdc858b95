"""Loading the checkpoint that a command is given, or saying what is wrong with it."""

from pathlib import Path
from typing import TYPE_CHECKING


if TYPE_CHECKING:
    from ..modeling_pamela import PamelaForPersonalizedScoring

__all__ = ["load_checkpoint"]


def load_checkpoint(name: str | Path) -> "PamelaForPersonalizedScoring":
    """
    Load a model from a folder or a Hub repo.

    Raises:
        DataError: It is no PAMELA checkpoint.
        OSError: It is one, but damaged.
    """
    from transformers import AutoConfig, AutoModel

    from ..configuration_pamela import PamelaConfig
    from ..data.files import DataError

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
    return AutoModel.from_pretrained(name, config=config)
