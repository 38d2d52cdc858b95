"""Trained models that travel inside the package, so that there is one without a network."""

import shutil
from pathlib import Path

from ..data.files import DataError, atomic_folder


__all__ = ["checkpoint", "checkpoint_names", "copy_checkpoint"]


def checkpoint_names() -> list[str]:
    """Names that [`checkpoint`] knows."""
    return sorted(path.parent.name for path in Path(__file__).parent.glob("*/config.json"))


def checkpoint(name: str) -> Path:
    """
    The folder of a model that is part of the package.

    Args:
        name (`str`): One of [`checkpoint_names`].

    Returns:
        `Path`: For `AutoModel.from_pretrained` and `AutoProcessor.from_pretrained`. It holds weights, settings and a card; `pamela checkpoint`
        writes a copy that also carries the code to load it without the package.

    Raises:
        DataError: There is no such model.

    Example:

    ```python
    >>> from transformers import AutoConfig
    >>> from modeling_pamela import checkpoint

    >>> AutoConfig.from_pretrained(checkpoint("pamela-small")).rating_scale
    [1.0, 7.0]

    ```
    """
    names = checkpoint_names()
    if name not in names:
        raise DataError(f"No model {name!r} is part of the package; expected one of: {', '.join(names)}.")
    return Path(__file__).parent / name


def copy_checkpoint(name: str, out: str | Path) -> Path:
    """
    Write a copy of a model of the package that also carries the code to load it: a folder for `AutoModel.from_pretrained`, with
    `trust_remote_code=True` where this package is not installed, or for a Hub repo.

    Args:
        name (`str`): One of [`checkpoint_names`].
        out (`str` or `Path`): Folder to write; it appears only once it is whole.

    Returns:
        `Path`: `out`.

    Raises:
        DataError: There is no such model, or `out` holds something.
    """
    from transformers import AutoModel, AutoProcessor

    source, out = checkpoint(name), Path(out)
    if out.exists() and not (out.is_dir() and not any(out.iterdir())):
        raise DataError(f"{out} is not empty. Choose another folder.")
    with atomic_folder(out) as temporary:
        for part in (AutoModel, AutoProcessor):
            part.from_pretrained(source).save_pretrained(temporary)
        # The model was saved as it computes; its weights are stored in half of that.
        for file in ("model.safetensors", "README.md"):
            shutil.copy(source / file, temporary / file)  # with its mode: others may read it
    return out
