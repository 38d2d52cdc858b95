"""Pictures as frozen embeddings. What a person needs to be scored for works without the libraries of data sets."""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from tqdm.auto import tqdm
from transformers import BatchFeature

from ..encoders_pamela import FrozenEncoder
from ..processing_pamela import PamelaProcessor
from .files import DataError
from .images import ImageError, find_images, open_image


__all__ = ["EncodedFiles", "chunks", "embed_pictures", "encode_files"]


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


def embed_pictures(
    pictures: Iterable[bytes | str | Path | Image.Image],
    encoder: FrozenEncoder,
    processor: PamelaProcessor,
    batch_size: int = 4,
    progress: Any = None,
    set_aside: dict[int, ImageError] | None = None,
) -> np.ndarray:
    """
    Encode pictures; reading and decoding run beside the encoder, in as many threads as torch has.

    Args:
        pictures (iterable of `bytes`, path or `PIL.Image.Image`): N pictures.
        encoder ([`~modeling_pamela.encoders_pamela.FrozenEncoder`]): Picture encoder.
        processor ([`PamelaProcessor`]): That of the same encoder.
        batch_size (`int`): Pictures a forward pass.
        progress: A tqdm bar to move on.
        set_aside (`dict`, *optional*): Filled with the place and the error of every picture that cannot be read; such a
            picture has no row in the result. Without it the first one raises.

    Returns:
        `np.ndarray` of shape `(N - len(set_aside), D)`, float32

    Raises:
        ImageError: A picture cannot be read, and there is no `set_aside`.
    """
    parameter = next(encoder.parameters())
    threads = torch.get_num_threads()

    def encode(batch: list[bytes | str | Path | Image.Image]) -> tuple[np.ndarray, list[ImageError | None]]:
        prepared: list[BatchFeature] = []
        errors: list[ImageError | None] = []
        for picture in batch:
            try:
                image = picture if isinstance(picture, Image.Image) else open_image(picture)
                prepared.append(processor(images=image))
                errors.append(None)
            except ImageError as error:
                if set_aside is None:
                    raise
                errors.append(error)
        if not prepared:
            return np.zeros((0, encoder.embed_dim), dtype=np.float32), errors
        # Its floating-point tensors take on the precision; masks and sizes keep theirs.
        inputs = BatchFeature({name: torch.cat([picture[name] for picture in prepared]) for name in prepared[0]})
        with torch.inference_mode():
            return encoder(**inputs.to(parameter.device, parameter.dtype)).float().cpu().numpy(), errors

    results = [np.zeros((0, encoder.embed_dim), dtype=np.float32)]
    place = 0
    try:
        # Every thread reads, decodes and encodes batches of its own: threads inside one forward pass would wait for each other.
        with ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            for futures in _prefetched(pool, encode, chunks(pictures, batch_size), 2 * threads):
                for future in futures:
                    embeds, errors = future.result()
                    results.append(embeds)
                    for error in errors:
                        if error is not None and set_aside is not None:
                            set_aside[place] = error
                        place += 1
                    if progress is not None:
                        progress.update(len(errors))
    finally:
        torch.set_num_threads(threads)
    return np.concatenate(results)


def chunks(items: Iterable[Any], size: int) -> Iterator[list[Any]]:
    """The items in lists of `size`; the last may be shorter."""
    iterator = iter(items)
    while chunk := list(islice(iterator, size)):
        yield chunk


def _prefetched(
    pool: ThreadPoolExecutor, function: Callable[[Any], Any], items: Iterable[Any], number: int
) -> Iterator[list[Future[Any]]]:
    """Calls of a function, `number` of them at a time, the following ones already under way while some are used."""
    groups = chunks(items, number)
    pending = [pool.submit(function, item) for item in next(groups, [])]
    while pending:
        following = [pool.submit(function, item) for item in next(groups, [])]
        yield pending
        pending = following
