"""Reading a data set in the standard form, and reading and writing its card."""

import hashlib
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import yaml
from huggingface_hub import metadata_load, metadata_save

from .files import DataError, atomic_write
from .schema import CONFIGS, RATINGS


__all__ = [
    "ContextDraw",
    "DataFolder",
    "DataFolderError",
    "Ratings",
    "check_target",
    "data_configs",
    "data_title",
    "with_contents",
    "write_card",
]


class DataFolderError(DataError):
    """A folder is not a data set in the standard form, or a part of it is damaged."""


@dataclass(frozen=True)
class Ratings:
    """
    Ratings as NumPy arrays of one length R, in the order of `rating_id` inside each split.

    Attributes:
        rating_id (`np.ndarray` of shape `[R]`, int64): Unique in the data set.
        user (`np.ndarray` of shape `[R]`, int64): Row in [`DataFolder.user_ids`].
        image (`np.ndarray` of shape `[R]`, int64): Row in [`DataFolder.image_ids`].
        rating (`np.ndarray` of shape `[R]`, float64): On the data set's own scale.
        rating_norm (`np.ndarray` of shape `[R]`, float64): 0 to 1.
    """

    rating_id: np.ndarray
    user: np.ndarray
    image: np.ndarray
    rating: np.ndarray
    rating_norm: np.ndarray

    def __len__(self) -> int:
        return len(self.rating_id)


@dataclass(frozen=True)
class ContextDraw:
    """
    One random, ordered context of one person: its first k entries are the context of k ratings.

    Attributes:
        protocol (`str`): `"train"` (queries: all of the person's ratings in `split`) or `"query"` (queries: the person's
            ratings in `split` that are not in `rating_ids`, whatever k is).
        split (`str`): `"val_unseen"` or `"test_unseen"`.
        draw (`int`): From 0.
        user (`int`): Row in [`DataFolder.user_ids`].
        rating_ids (`np.ndarray` of shape `[C]`, int64): In `val_context` or `test_context` (protocol `"train"`), or in
            `split` itself (protocol `"query"`).
    """

    protocol: str
    split: str
    draw: int
    user: int
    rating_ids: np.ndarray


@contextmanager
def open_parquet(file: Path, **options: Any) -> Iterator[pq.ParquetFile]:
    """
    Opens a Parquet file of a data set; what is found damaged in it inside the block is told as a [`DataFolderError`].

    Args:
        file (`Path`): The file.
        options: Of `pq.ParquetFile`.
    """
    try:
        with pq.ParquetFile(file, **options) as parquet:
            yield parquet
    except (pa.ArrowInvalid, OSError) as error:
        raise DataFolderError(
            f"{file} is cut off or not Parquet ({error}). Download or import the data set again."
        ) from error


class DataFolder:
    """
    A data set in the standard form (see [`~modeling_pamela.data.schema`]), read from a local folder.

    Tables are read when they are first asked for.

    Args:
        path (`str` or `Path`): The folder, e.g. written by `pamela data import` or downloaded from the Hub.

    Attributes:
        path (`Path`): The folder.
        metadata (`dict`): The YAML front matter of its card.
        rating_scale (`tuple[float, float]`): Lowest and highest possible rating.

    Raises:
        DataFolderError: It is no such folder; also raised later by a table that is missing or damaged.

    Example:

    ```python
    >>> folder = DataFolder("path/to/data")  # doctest: +SKIP
    >>> train = folder.ratings("train")  # doctest: +SKIP
    >>> prompts = [folder.prompts[row] for row in train.image]  # doctest: +SKIP

    ```
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        if not self.path.is_dir():
            raise DataFolderError(
                f"There is no folder {self.path}. Expected a data set written by `pamela data import`, or one "
                f"downloaded with `hf download --repo-type dataset`."
            )
        try:
            self.metadata: dict[str, Any] = metadata_load(self.path / "README.md") or {}
        except FileNotFoundError:
            self.metadata = {}
        except (ValueError, yaml.YAMLError) as error:
            raise DataFolderError(
                f"The front matter of {self.path / 'README.md'} is not valid YAML: {error}"
            ) from error
        try:
            low, high = self.metadata["pamela"]["rating_scale"]
            self.rating_scale = (float(low), float(high))
            self._files = {
                config["config_name"]: {entry["split"]: entry["path"] for entry in config["data_files"]}
                for config in self.metadata["configs"]
            }
        except (KeyError, TypeError, ValueError) as error:
            raise DataFolderError(
                f"{self.path} is not a data set in the standard form: its README.md has no front matter with `configs:` and "
                f"`pamela: {{rating_scale: [low, high]}}`. Make one with `pamela data import`."
            ) from error

    def __repr__(self) -> str:
        return f"DataFolder({str(self.path)!r})"

    def files(self, config: str, split: str) -> list[Path]:
        """The Parquet files of a split, in order, as the card names them."""
        splits = self._files.get(config, {})
        if split not in splits:
            hint = " Run `pamela data split` first." if list(self._files.get("ratings", [])) == ["train"] else ""
            raise DataFolderError(f"{self.path} has no {config} split {split!r}; it has {sorted(splits)}.{hint}")
        patterns = [splits[split]] if isinstance(splits[split], str) else splits[split]
        found = [file for pattern in patterns for file in sorted(self.path.glob(pattern))]
        if not found:
            raise DataFolderError(
                f"{self.path} has no file {' or '.join(patterns)}, which its card names. Is the copy complete?"
            )
        # A shard names how many there are, so that a partial download is noticed.
        expected = [file.stem.rpartition("-of-")[2] for file in found if "-of-" in file.stem]
        if expected and expected[0].isdigit() and len(found) != int(expected[0]):
            raise DataFolderError(
                f"{self.path} has {len(found)} of {int(expected[0])} {config} shards. Download or import it again."
            )
        return found

    def table(
        self,
        config: str,
        split: str = "train",
        leave_out: Iterable[str] = (),
        only: Iterable[str] | None = None,
        encoded: Iterable[str] = (),
    ) -> pa.Table:
        """
        A split as an Arrow table; the order of rows is that of the files.

        Args:
            config, split (`str`): Which.
            leave_out (iterable of `str`): Columns not to read.
            only (iterable of `str`, *optional*): The columns to read; by default all.
            encoded (iterable of `str`): Columns of text to read as `pa.DictionaryArray`, each chunk with a dictionary of its own.

        Returns:
            `pa.Table`

        Raises:
            DataFolderError: There is no such split, or a file of it is missing, damaged or without a standard column.
        """
        left_out = set(leave_out)
        columns = [name for name in CONFIGS.get(config, ()) if name not in left_out]
        tables = []
        for file in self.files(config, split):
            with open_parquet(file, read_dictionary=list(encoded)) as parquet:
                names = parquet.schema_arrow.names
                wanted = names if only is None else set(only)
                tables.append(parquet.read([name for name in names if name in wanted and name not in left_out]))
            absent = [name for name in columns if name not in names]
            if absent:
                raise DataFolderError(f"{file} lacks the columns {absent}; it has {names}.")
        return pa.concat_tables(tables)

    @cached_property
    def users(self) -> pa.Table:
        """One row a person: `user_id` and whatever the source has, e.g. age and gender."""
        return self.table("users")

    @cached_property
    def images(self) -> pa.Table:
        """One row a picture, without the column `image`; for the bytes see [`iter_image_bytes`]."""
        return self.table("images", leave_out=["image"])

    @cached_property
    def user_ids(self) -> list[str]:
        """Names of the people, in the order of [`users`]."""
        return self.users["user_id"].to_pylist()

    @cached_property
    def image_ids(self) -> list[str]:
        """Names of the pictures, in the order of [`images`]."""
        return self.images["image_id"].to_pylist()

    @cached_property
    def prompts(self) -> list[str | None]:
        """Prompt or caption of each picture, in the order of [`images`]."""
        return self.images["prompt"].to_pylist()

    @property
    def pair_splits(self) -> list[str]:
        """Names of the splits of the pairs; empty where the data set has none."""
        return list(self._files.get("pairs", []))

    @property
    def splits(self) -> list[str]:
        """Names of the splits of the ratings; only `["train"]` before `pamela data split`."""
        return list(self._files["ratings"])

    def ratings(self, *splits: str) -> Ratings:
        """
        The ratings of one or more splits, one after the other.

        Args:
            *splits (`str`): At least one of [`splits`].

        Returns:
            [`Ratings`]

        Raises:
            DataFolderError: There is no such split, or a rating names an unknown person or picture.
        """
        if not splits:
            raise DataFolderError(f"Name at least one split of the ratings: {self.splits}.")
        # Names repeat: each is looked up once a chunk.
        ids = ("user_id", "image_id")
        table = pa.concat_tables([self.table("ratings", split, only=RATINGS, encoded=ids) for split in splits])
        return Ratings(
            rating_id=table["rating_id"].to_numpy(),
            user=self._rows(table["user_id"], self.users["user_id"], "users"),
            image=self._rows(table["image_id"], self.images["image_id"], "images"),
            rating=table["rating"].to_numpy(),
            rating_norm=table["rating_norm"].to_numpy(),
        )

    def contexts(self, protocol: str, split: str) -> list[ContextDraw]:
        """
        The fixed context draws of a split, ordered by draw, then user.

        Args:
            protocol (`str`): `"train"` or `"query"`.
            split (`str`): `"val_unseen"` or `"test_unseen"`.

        Returns:
            `list[ContextDraw]`: Without people who have too few ratings for the protocol.

        Raises:
            DataFolderError: The folder has not been split, or has no such split.
        """
        table = self.table("contexts", protocol)
        known = pc.unique(table["split"]).to_pylist()
        if split not in known:
            raise DataFolderError(
                f"{self.path} has no contexts of protocol {protocol!r} for {split!r}, only for {known}."
            )
        table = table.filter(pc.equal(table["split"], split))
        users = self._rows(table["user_id"], self.users["user_id"], "users")
        return [
            ContextDraw(protocol, split, draw, int(user), np.asarray(rating_ids, dtype=np.int64))
            for draw, user, rating_ids in zip(
                table["draw"].to_pylist(), users, table["rating_ids"].to_pylist(), strict=True
            )
        ]

    def split_fingerprint(self, *splits: str) -> str:
        """16 hex digits that change with the people, pictures and ratings of one or more splits, `"train"` where none is named."""
        digest = hashlib.sha256()
        for split in splits or ("train",):
            for column in self.table("ratings", split).select(["user_id", "image_id", "rating"]).columns:
                digest.update(repr(column.to_pylist()).encode())
        return digest.hexdigest()[:16]

    def iter_image_bytes(self) -> Iterator[tuple[int, bytes]]:
        """Yields each picture's row in [`images`] and its bytes, in order, holding a few at a time."""
        row = 0
        for file in self.files("images", "train"):
            with open_parquet(file) as parquet:
                for batch in parquet.iter_batches(batch_size=32, columns=["image.bytes"]):
                    for content in batch.column("image").field("bytes"):
                        yield row, content.as_py()
                        row += 1

    def _rows(self, names: pa.ChunkedArray, known: pa.ChunkedArray, config: str) -> np.ndarray:
        encoded = [
            chunk if pa.types.is_dictionary(chunk.type) else chunk.dictionary_encode() for chunk in names.chunks
        ]
        places = [pc.index_in(chunk.dictionary, value_set=known).take(chunk.indices) for chunk in encoded]
        rows = pa.chunked_array(places, pa.int32())
        if rows.null_count:
            example = names.filter(pc.is_null(rows))[0].as_py()
            raise DataFolderError(
                f"{self.path}: {rows.null_count} rows name what {config}/ does not hold, e.g. {example!r}. "
                f"Download or import the data set again."
            )
        return rows.to_numpy().astype(np.int64)


def data_configs(
    splits: Iterable[str], protocols: Iterable[str] = (), pairs: Iterable[str] = ()
) -> list[dict[str, Any]]:
    """
    The `configs:` of a card, by which `load_dataset` finds the tables.

    Args:
        splits (iterable of `str`): Splits of the ratings.
        protocols (iterable of `str`): Protocols of the contexts; each is a split of the config `contexts`.
        pairs (iterable of `str`): Splits of the pairs.

    Returns:
        `list[dict]`
    """

    def config(name: str, files: dict[str, str]) -> dict[str, Any]:
        return {"config_name": name, "data_files": [{"split": split, "path": path} for split, path in files.items()]}

    configs = [
        config("ratings", {split: f"ratings/{split}.parquet" for split in splits}) | {"default": True},
        config("users", {"train": "users/train.parquet"}),
        config("images", {"train": "images/train-*.parquet"}),
    ]
    optional = {
        "pairs": {split: f"pairs/{split}.parquet" for split in pairs},
        "contexts": {protocol: f"contexts/{protocol}.parquet" for protocol in protocols},
    }
    return [*configs, *(config(name, files) for name, files in optional.items() if files)]


def data_title(metadata: Mapping[str, Any]) -> str:
    """The name of a data set, by the front matter of its card."""
    source = metadata["pamela"].get("source")
    name = source.get("name") if isinstance(source, dict) else source
    return str(metadata.get("pretty_name") or name or "Personal picture ratings")


def with_contents(folder: Path, configs: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """
    The `configs:` of a card, each with a digest of its files as its `description`.

    `load_dataset` tells what it has cached of a local folder from another by the folder's last name and by its `configs:` alone (datasets 5.2):
    without the digest it would give the tables of `a/data` for those of `b/data`, and old ones where a folder was written anew.

    Args:
        folder (`Path`): The data set, with its files.
        configs (iterable of `dict`): As [`data_configs`] makes them.
    """
    return [{**config, "description": f"contents {_digest(folder, config['data_files'])}"} for config in configs]


def _digest(folder: Path, data_files: Iterable[Mapping[str, Any]]) -> str:
    digest = hashlib.blake2b(digest_size=8)
    for entry in data_files:
        patterns = [entry["path"]] if isinstance(entry["path"], str) else entry["path"]
        for file in sorted({file for pattern in patterns for file in folder.glob(pattern)}):
            with open(file, "rb") as stream:
                content = hashlib.file_digest(stream, "blake2b").hexdigest()
            digest.update(f"{entry['split']} {file.relative_to(folder).as_posix()} {content}\n".encode())
    return digest.hexdigest()


def write_card(folder: Path, metadata: dict[str, Any], text: str | None = None) -> None:
    """
    Writes `README.md` atomically, after the files that its `configs:` name: see [`with_contents`].

    Args:
        folder (`Path`): The data set.
        metadata (`dict`): The whole YAML front matter.
        text (`str`, *optional*): The Markdown below it. By default that of the present card is kept.
    """
    card = folder / "README.md"
    with atomic_write(card) as temporary:
        if text is None:
            shutil.copyfile(card, temporary)
        else:
            temporary.write_text(text, encoding="utf-8")
        metadata_save(temporary, metadata | {"configs": with_contents(folder, metadata["configs"])})


def check_target(out: Path, overwrite: bool) -> None:
    """
    Makes sure that a data set may be written to `out`: it does not exist, is empty, or is a data set to overwrite.

    Raises:
        DataFolderError: It holds something, and `overwrite` is false or it is not a data set.
    """
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return
    if not overwrite:
        raise DataFolderError(f"{out} is not empty. Choose another folder, or pass --overwrite to replace it.")
    try:
        DataFolder(out)
    except DataFolderError as error:
        raise DataFolderError(
            f"{out} is not a data set, so --overwrite does not delete it. Choose another folder."
        ) from error
