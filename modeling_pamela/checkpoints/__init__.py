"""Trained models that travel inside the package, so that there is one without a network."""

from pathlib import Path

from ..data.files import DataError


__all__ = ["checkpoint", "checkpoint_names"]


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
