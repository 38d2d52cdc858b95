"""A store of frozen encoders' embeddings, so that nothing is ever encoded twice."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from datasets import Features, List, Value

from .files import DataError, atomic_write


__all__ = ["EmbeddingStore", "MissingEmbeddingsError", "text_key"]


class MissingEmbeddingsError(DataError, KeyError):
    """Embeddings were asked for that the store does not hold."""

    __str__ = Exception.__str__  # KeyError would print the message in quotes


def text_key(text: str) -> str:
    """
    Key of a text in an [`EmbeddingStore`]: the SHA-256 of its UTF-8 form, hexadecimal. (A picture's key is its `sha256` column.)

    Example:

    ```python
    >>> text_key("")[:8]
    'e3b0c442'

    ```
    """
    return hashlib.sha256(text.encode("utf-8")).hexdigest()


class EmbeddingStore:
    """
    One encoder's embeddings of a data set: `<folder>/embeddings/<fingerprint>/part-<kind>-<hash>.parquet`.

    Each [`add`] writes one part atomically, so an interrupted run keeps all parts before it, and two runs at once cannot
    spoil each other's. Embeddings are kept in half precision.

    Args:
        folder (`Path`): The data set's folder.
        fingerprint (`str`): The encoder's fingerprint: a name for its weights and preprocessing.
        kind (`"image"` or `"text"`): What is embedded. The two never mix, even if one encoder does both.

    Raises:
        DataError: A part is cut off or is no part of a store.
    """

    def __init__(self, folder: str | Path, fingerprint: str, kind: Literal["image", "text"]) -> None:
        self.path = Path(folder) / "embeddings" / fingerprint
        self.fingerprint = fingerprint
        self.kind = kind
        self.width: int | None = None
        self._parts: list[Path] = []
        self._places: dict[str, tuple[int, int]] = {}  # key -> part, row
        for part in sorted(self.path.glob(f"part-{kind}-*.parquet")):
            keys, width = self._read_keys(part)
            self._register(part, keys, width)

    def __len__(self) -> int:
        return len(self._places)

    @staticmethod
    def _read_keys(part: Path) -> tuple[list[str], int]:
        try:
            with pq.ParquetFile(part) as file:
                values = file.schema_arrow.field("embedding").type
                if pa.types.is_fixed_size_list(values):
                    width = values.list_size
                else:  # a published part: see `schema.EMBEDDINGS`
                    width = len(next(file.iter_batches(1, columns=["embedding"]))["embedding"][0])
                return file.read(columns=["key"])["key"].to_pylist(), width
        except (pa.ArrowInvalid, OSError, KeyError, StopIteration, TypeError) as error:
            raise DataError(f"{part} is damaged ({error}). Delete it and run `pamela embed` again.") from error

    def _check_width(self, width: int, where: str) -> None:
        if self.width is not None and width != self.width:
            raise DataError(
                f"{where} has embeddings of width {width}, but {self.path} holds width {self.width}. One fingerprint must "
                f"name one encoder: delete the folder if the encoder has changed."
            )

    def _register(self, part: Path, keys: list[str], width: int) -> None:
        self._check_width(width, str(part))
        self.width = width
        self._parts.append(part)
        for row, key in enumerate(keys):
            self._places.setdefault(key, (len(self._parts) - 1, row))

    def missing(self, keys: Sequence[str]) -> list[str]:
        """The keys that have no embedding yet: each once, in the order given."""
        return [key for key in dict.fromkeys(keys) if key not in self._places]

    def add(self, keys: Sequence[str], embeddings: np.ndarray) -> None:
        """
        Writes embeddings as a new part.

        Args:
            keys (`Sequence[str]` of length n): Picture hashes or [`text_key`]s.
            embeddings (`np.ndarray` of shape `[n, width]`): Finite, and within half precision (±65,504).

        Raises:
            DataError: Lengths or width do not fit, or a value is NaN, infinite or too large.
        """
        if embeddings.ndim != 2 or len(embeddings) != len(keys):
            raise DataError(
                f"Expected embeddings of shape [{len(keys)}, width], one row a key; got {list(embeddings.shape)}."
            )
        if len(keys) == 0:
            return
        self._check_width(embeddings.shape[1], "The new part")
        with np.errstate(over="ignore"):
            half = np.ascontiguousarray(embeddings, dtype=np.float16)
        bad = ~np.isfinite(half).all(axis=1)
        if bad.any():
            raise DataError(
                f"{bad.sum()} of {len(keys)} embeddings have values that are NaN, infinite or beyond half precision; the "
                f"first has the key {keys[int(bad.argmax())]}. Nothing was written; check the encoder."
            )
        width = half.shape[1]
        schema = Features({"key": Value("string"), "embedding": List(Value("float16"), length=width)}).arrow_schema
        values = pa.FixedSizeListArray.from_arrays(pa.array(half.reshape(-1)), width)
        table = pa.Table.from_arrays([pa.array(keys, pa.string()), values], schema=schema)
        # Named by content: the same part written twice is one file, and two writers never take each other's name.
        digest = hashlib.sha256("\n".join(keys).encode() + half.tobytes()).hexdigest()[:16]
        part = self.path / f"part-{self.kind}-{digest}.parquet"
        with atomic_write(part) as temporary:
            pq.write_table(table, temporary, use_dictionary=False)
        self._register(part, list(keys), width)

    def get(self, keys: Sequence[str]) -> np.ndarray:
        """
        Reads embeddings.

        Args:
            keys (`Sequence[str]` of length n): In any order; a key may occur more than once.

        Returns:
            `np.ndarray` of shape `[n, width]`, float32: row i belongs to `keys[i]`.

        Raises:
            MissingEmbeddingsError: Some are not in the store.
        """
        missing = self.missing(keys)
        if missing:
            raise MissingEmbeddingsError(
                f"{len(missing)} of {len(set(keys))} {self.kind} embeddings are not in {self.path} (the first has the key "
                f"{missing[0]}). Run `pamela embed` on the data set with this encoder."
            )
        result = np.empty((len(keys), self.width or 0), dtype=np.float32)
        places = np.array([self._places[key] for key in keys], dtype=np.int64).reshape(-1, 2)
        for index in np.unique(places[:, 0]):
            column = pq.read_table(self._parts[index], columns=["embedding"])["embedding"].combine_chunks()
            values = column.flatten().to_numpy(zero_copy_only=False).reshape(-1, result.shape[1])
            here = places[:, 0] == index
            result[here] = values[places[here, 1]]
        return result
