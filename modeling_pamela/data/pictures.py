"""Picture files as frozen embeddings."""

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor
from tqdm.auto import tqdm

from ..encoders_pamela import FrozenEncoder
from ..processing_pamela import PamelaProcessor
from .embed import embed_pictures
from .files import DataError
from .images import ImageError, find_images


__all__ = ["EncodedFiles", "encode_files"]


class EncodedFiles(NamedTuple):
    """
    Attributes:
        files (`list[Path]` of length N): The pictures that could be read.
        image_embeds (`torch.Tensor` of shape `(N, D)`): Their frozen embeddings.
        set_aside (`list[ImageError]`): The pictures that could not.
    """

    files: list[Path]
    image_embeds: Tensor
    set_aside: list[ImageError]


def encode_files(
    paths: Iterable[str | Path],
    encoder: FrozenEncoder,
    processor: PamelaProcessor,
    batch_size: int = 4,
    show_progress: bool = True,
) -> EncodedFiles:
    """
    Find and encode pictures; those that cannot be read are set aside.

    Args:
        paths (iterable of `str` or `Path`): Files, and folders, which are searched recursively.
        encoder ([`~modeling_pamela.encoders_pamela.FrozenEncoder`]): Picture encoder.
        processor ([`PamelaProcessor`]): That of the same encoder.
        batch_size (`int`): Pictures a forward pass.
        show_progress (`bool`): Whether to show a progress bar.

    Raises:
        DataError: A path does not exist, or there is no picture that can be read.
    """
    paths = list(paths)
    files = find_images(paths)
    if not files:
        raise DataError(f"There is no picture in {', '.join(map(str, paths))}.")
    errors: dict[int, ImageError] = {}
    with tqdm(total=len(files), desc="Encoding pictures", unit="picture", disable=not show_progress) as progress:
        embeds = embed_pictures(files, encoder, processor, batch_size, progress, errors)
    kept = [file for place, file in enumerate(files) if place not in errors]
    if not kept:
        first = next(iter(errors.values()))
        raise DataError(f"None of the pictures can be read (the first: {first}).")
    return EncodedFiles(kept, torch.from_numpy(embeds), list(errors.values()))
