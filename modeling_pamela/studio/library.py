"""The pictures of a folder, encoded while the person already looks at the first."""

import hashlib
import random
import threading
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ..data.files import DataError
from ..data.images import IMAGE_EXTENSIONS, ImageError, find_images
from ..data.pictures import chunks, embed_pictures
from ..encoders_pamela import FrozenEncoder
from ..processing_pamela import PamelaProcessor
from .answers import open_database


__all__ = ["Library"]

# Pictures between two looks at whether to stop, and in one write of the cache.
_CHUNK = 16

_TABLES = """
CREATE TABLE IF NOT EXISTS files (
    path TEXT PRIMARY KEY, size INTEGER NOT NULL, modified INTEGER NOT NULL, picture TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS embeddings (
    encoder TEXT NOT NULL, picture TEXT NOT NULL, embedding BLOB NOT NULL, PRIMARY KEY (encoder, picture)
);
"""


class Library:
    """
    Pictures of a folder and of the folders inside, known by the SHA-256 of their files: a picture that was renamed is still known,
    and one that is there twice is asked about once. Links that lead out of the folder are not followed.

    Args:
        folder (`Path`): The folder.
        cache (`Path`): SQLite file of embeddings, so that a second start is quick. It may be deleted.
        encoder ([`~modeling_pamela.encoders_pamela.FrozenEncoder`]): Picture encoder.
        processor ([`PamelaProcessor`]): That of the same encoder.

    Attributes:
        files (`list[Path]`): All picture files, in an order drawn at random (the same for the same files), in which they are encoded.
        encoded (`dict[Path, str]`): Those encoded so far, with the SHA-256 of their content.
        set_aside (`dict[Path, str]`): Those that cannot be used, with the reason.
        failure (`Exception`, *optional*): What stopped the encoding.

    Raises:
        DataError: There is no such folder, or no picture in it.
    """

    def __init__(self, folder: Path, cache: Path, encoder: FrozenEncoder, processor: PamelaProcessor) -> None:
        if not folder.is_dir():
            raise DataError(f"There is no folder {folder}.")
        self.folder = folder.resolve()
        self.files = find_images([self.folder])
        if not self.files:
            raise DataError(f"There is no picture in {folder} (looked for {', '.join(sorted(IMAGE_EXTENSIONS))}).")
        random.Random(0).shuffle(self.files)
        self.encoded: dict[Path, str] = {}
        self.set_aside: dict[Path, str] = {}
        self.failure: Exception | None = None
        self._embeds: dict[str, Tensor] = {}
        self._encoder, self._processor = encoder, processor
        self._cache = open_database(cache, _TABLES)
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._encode, name="encoding", daemon=True)

    @property
    def complete(self) -> bool:
        """Whether every file was encoded or set aside."""
        return len(self.encoded) + len(self.set_aside) >= len(self.files)

    def start(self) -> None:
        """Begin to encode, in a thread."""
        self._thread.start()

    def wait(self, timeout: float | None = None) -> None:
        """Wait until all is encoded, and raise what stopped it, if anything did."""
        self._thread.join(timeout)
        if self.failure is not None:
            raise self.failure

    def close(self) -> None:
        """Stop encoding; what was encoded is kept."""
        self._stop.set()
        if self._thread.ident is not None:
            self._thread.join()
        self._cache.close()

    def pictures(self) -> dict[str, Path]:
        """A file of every picture that can be used, in the order of `files`."""
        found: dict[str, Path] = {}
        for file, picture in list(self.encoded.items()):
            found.setdefault(picture, file)
        return found

    def name(self, file: Path) -> str:
        """A file's path below the folder, with forward slashes."""
        return file.relative_to(self.folder).as_posix()

    def embedding(self, picture: str) -> Tensor | None:
        """Embedding `(D,)` of a picture, even of one that is no longer in the folder; `None` where it was never encoded."""
        if picture not in self._embeds:
            with self._lock:
                row = self._cache.execute(
                    "SELECT embedding FROM embeddings WHERE encoder = ? AND picture = ?",
                    (self._encoder.fingerprint, picture),
                ).fetchone()
            if row is None:
                return None
            self._embeds[picture] = torch.from_numpy(np.frombuffer(row[0], dtype=np.float32).copy())
        return self._embeds[picture]

    def embeddings(self, pictures: list[str]) -> Tensor:
        """Embeddings `(N, D)` of pictures that were encoded."""
        return torch.stack([self._embeds[picture] for picture in pictures])

    def read(self, file: Path) -> bytes:
        """
        Content of one of the files.

        Raises:
            ImageError: It cannot be read, is gone, or now is a link that leads out of the folder.
        """
        self._stamp(file)
        try:
            return file.read_bytes()
        except OSError as error:
            raise ImageError(self.name(file), f"the file cannot be read ({error.strerror})") from error

    # Inside ---------------------------------------------------------------------------------------------------------

    def _encode(self) -> None:
        try:
            for files in chunks(self.files, _CHUNK):
                if self._stop.is_set():
                    return
                self._encode_some(files)
        except Exception as error:  # shown on the page: there is nobody else to catch it
            self.failure = error

    def _encode_some(self, files: list[Path]) -> None:
        found: dict[Path, str] = {}
        stamps: dict[Path, tuple[int, int]] = {}
        new: dict[str, bytes] = {}
        for file in files:
            try:
                # Taken before the file is read: one that changes meanwhile is read again at the next start.
                stamps[file] = self._stamp(file)
                found[file] = self._known(file, stamps[file]) or self._hash(file, new)
            except ImageError as error:
                self.set_aside[file] = error.reason
        errors: dict[int, ImageError] = {}
        contents = list(new.values())
        rows = embed_pictures(contents, self._encoder, self._processor, set_aside=errors)
        reasons = {picture: errors[place].reason for place, picture in enumerate(new) if place in errors}
        embedded = [picture for picture in new if picture not in reasons]
        for picture, row in zip(embedded, rows, strict=True):
            self._embeds[picture] = torch.from_numpy(row)
        with self._lock:
            self._cache.execute("BEGIN")
            self._cache.executemany(
                "INSERT OR REPLACE INTO embeddings VALUES (?, ?, ?)",
                [
                    (self._encoder.fingerprint, picture, row.tobytes())
                    for picture, row in zip(embedded, rows, strict=True)
                ],
            )
            self._cache.executemany(
                "INSERT OR REPLACE INTO files VALUES (?, ?, ?, ?)",
                [(str(file), *stamps[file], found[file]) for file in found if found[file] not in reasons],
            )
            self._cache.execute("COMMIT")
        for file, picture in found.items():
            if picture in reasons:
                self.set_aside[file] = reasons[picture]
            else:
                self.encoded[file] = picture

    def _stamp(self, file: Path) -> tuple[int, int]:
        """Size and time of change of a file that lies in the folder."""
        try:
            if not file.resolve(strict=True).is_relative_to(self.folder):
                raise ImageError(self.name(file), "a link that leads out of the folder")
            stat = file.stat()
        except OSError as error:
            raise ImageError(self.name(file), f"the file cannot be read ({error.strerror})") from error
        return stat.st_size, stat.st_mtime_ns

    def _known(self, file: Path, stamp: tuple[int, int]) -> str | None:
        """The picture of a file that was encoded before and has not changed since."""
        with self._lock:
            row = self._cache.execute(
                "SELECT picture FROM files WHERE path = ? AND size = ? AND modified = ?", (str(file), *stamp)
            ).fetchone()
        return row[0] if row is not None and self.embedding(row[0]) is not None else None

    def _hash(self, file: Path, new: dict[str, bytes]) -> str:
        content = self.read(file)
        picture = hashlib.sha256(content).hexdigest()
        if self.embedding(picture) is None:
            new[picture] = content
        return picture
