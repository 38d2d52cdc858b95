"""Writing a data set in the form in which it is published: a Hub repo that `load_dataset` reads with no code of this package."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from .card import render_card
from .files import DataError, atomic_folder
from .folder import DataFolder, check_target, data_configs, open_parquet, write_card
from .schema import CONTEXTS, EMBEDDINGS, IMAGES, PAIRS, PREVIEW, RATINGS, USERS, arrow_schema
from .store import EmbeddingStore, text_key


__all__ = ["BuildSummary", "build_folder"]

SHARD_BYTES = 500_000_000  # of pictures, as the Hub recommends
PREVIEW_ROWS = 50
_IMAGE_ROWS, _ROWS = 100, 100_000  # a row group: what a streaming reader or the Hub's viewer fetches at once


@dataclass(frozen=True)
class BuildSummary:
    """
    What was built.

    Attributes:
        rows (`dict[str, int]`): Config to its rows.
        bytes (`int`): Size of all files.
    """

    rows: dict[str, int]
    bytes: int

    def __str__(self) -> str:
        lines = [f"{config:<12}{rows:>12,} rows" for config, rows in self.rows.items()]
        return "\n".join([*lines, f"{self.bytes / 1e6:,.1f} MB"])


def build_folder(
    folder: str | Path, out: str | Path, *, embeddings: bool = True, overwrite: bool = False
) -> BuildSummary:
    """
    Writes the form in which a data set is published: its tables, fixed shards, a preview, a card, and nothing else.

    The same data set gives the same bytes, however its files were cut into shards and parts before. Rows that were set aside
    (`rejected.parquet`) are not published. Of the embeddings go along those of the data set's own pictures and texts, so that
    whoever trains on the downloaded data set has nothing to encode.

    Args:
        folder (`str` or `Path`): A data set in the standard form.
        out (`str` or `Path`): Folder to write; it appears only once it is whole.
        embeddings (`bool`): Publish the embeddings too.
        overwrite (`bool`): Replace a data set that stands at `out`.

    Returns:
        [`BuildSummary`]

    Raises:
        DataError: A picture's bytes do not have the hash that stands beside them.
        DataFolderError: `folder` is no data set, is damaged, or `out` is taken.
    """
    data, target = DataFolder(folder), Path(out).resolve()
    source = data.path.resolve()
    check_target(target, overwrite)
    if source.is_relative_to(target) or target.is_relative_to(source):
        raise DataError(f"{target} and {source} lie inside each other. Choose another folder.")
    rows: dict[str, int] = {}
    with atomic_folder(target) as new:
        configs = _configs(data)
        for config, columns in (("ratings", RATINGS), ("users", USERS), ("pairs", PAIRS), ("contexts", CONTEXTS)):
            for split in configs.get(config, []):
                table = data.table(config, split)
                table = table.cast(arrow_schema(columns, table.schema)).select(
                    [*columns, *(name for name in table.column_names if name not in columns)]
                )
                _write(table, new / config / f"{split}.parquet")
                rows[config] = rows.get(config, 0) + len(table)
        rows["images"] = _write_images(data, new / "images")
        rows["preview"] = _write_preview(data, new / "preview" / "train.parquet")
        if embeddings:
            rows["embeddings"] = _write_embeddings(data, new / "embeddings")
        card = data_configs(configs["ratings"], configs.get("contexts", []), configs.get("pairs", []))
        if rows.get("embeddings"):
            card.append(_config("embeddings", "embeddings/*/part-*.parquet"))
        card.append(_config("preview", "preview/train.parquet"))
        write_card(new, data.metadata | {"configs": card}, "")
        built = DataFolder(new)
        write_card(new, built.metadata, render_card(built, new / "assets"))
        size = sum(file.stat().st_size for file in new.rglob("*") if file.is_file())
    return BuildSummary({config: number for config, number in rows.items() if number}, size)


def _configs(data: DataFolder) -> dict[str, list[str]]:
    return {
        config["config_name"]: [entry["split"] for entry in config["data_files"]]
        for config in data.metadata["configs"]
    }


def _config(name: str, path: str) -> dict[str, Any]:
    return {"config_name": name, "data_files": [{"split": "train", "path": path}]}


def _write(table: pa.Table, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    # Plain Arrow types say all of tables without pictures; written-down features bind the file to the versions of
    # datasets that know them.
    pq.write_table(table.replace_schema_metadata(None).combine_chunks(), path, row_group_size=_ROWS)


def _image_batches(data: DataFolder) -> Iterator[pa.Table]:
    for file in data.files("images", "train"):
        with open_parquet(file) as parquet:
            schema = arrow_schema(IMAGES, parquet.schema_arrow)
            for batch in parquet.iter_batches(_IMAGE_ROWS):
                yield pa.Table.from_batches([batch]).select(schema.names).cast(schema)


def _row_groups(tables: Iterator[pa.Table], rows: int) -> Iterator[pa.Table]:
    """The same rows in tables of one length, whatever files they came from."""
    held: list[pa.Table] = []
    for table in tables:
        held.append(table)
        joined = pa.concat_tables(held)
        while len(joined) >= rows:
            yield joined.slice(0, rows).combine_chunks()
            joined = joined.slice(rows)
        held = [joined]
    if held and len(held[0]):
        yield held[0].combine_chunks()


def _write_images(data: DataFolder, folder: Path) -> int:
    folder.mkdir()
    shards: list[Path] = []
    writer: pq.ParquetWriter | None = None
    size = number = 0
    try:
        for table in _row_groups(_image_batches(data), _IMAGE_ROWS):
            contents = pc.struct_field(table["image"].combine_chunks(), "bytes")
            for content, digest in zip(contents, table["sha256"], strict=True):
                if hashlib.sha256(content.as_py()).hexdigest() != digest.as_py():
                    raise DataError(
                        f"{data.path}: a picture does not have the hash {digest} that stands beside it. Check the data set "
                        f"with `pamela data validate`."
                    )
            if writer is None or size >= SHARD_BYTES:
                if writer is not None:
                    writer.close()
                shards.append(folder / f".{len(shards)}.parquet")
                writer, size = pq.ParquetWriter(shards[-1], table.schema, use_dictionary=False), 0
            writer.write_table(table)
            size += contents.nbytes
            number += len(table)
    finally:
        if writer is not None:
            writer.close()
    for index, shard in enumerate(shards):
        shard.rename(folder / f"train-{index:05d}-of-{len(shards):05d}.parquet")
    return number


def _write_preview(data: DataFolder, path: Path) -> int:
    """Ratings spread evenly over the first split, with picture and prompt."""
    table = data.table("ratings", data.splits[0]).select(list(RATINGS))
    rows = np.unique(np.linspace(0, len(table) - 1, min(PREVIEW_ROWS, len(table))).astype(np.int64))
    table = table.take(rows)
    wanted = pc.unique(table["image_id"])
    found = pa.concat_tables(
        [
            batch.filter(pc.is_in(batch["image_id"], value_set=wanted)).select(["image_id", "image", "prompt"])
            for batch in _image_batches(data)
        ]
    )
    place = pc.index_in(table["image_id"], value_set=found["image_id"].combine_chunks())
    pictures = found.combine_chunks().take(place)
    columns = {name: pictures[name] if name in ("image", "prompt") else table[name] for name in PREVIEW}
    schema = arrow_schema(PREVIEW)
    path.parent.mkdir()
    pq.write_table(
        pa.table(columns).cast(schema).combine_chunks(), path, row_group_size=_IMAGE_ROWS, use_dictionary=False
    )
    return len(table)


def _write_embeddings(data: DataFolder, folder: Path) -> int:
    """One part an encoder and kind, which [`EmbeddingStore`] reads as it reads its own."""
    stores = sorted(path.name for path in (data.path / "embeddings").glob("*") if path.is_dir())
    if not stores:
        return 0
    from .embed import folder_texts  # loads torch

    # Those of the data set as it is: a store may still hold what has since been removed or made coarser.
    keys = {
        "image": list(dict.fromkeys(data.images["sha256"].to_pylist())),
        "text": [text_key(text) for text in folder_texts(data)],
    }
    names = data.metadata["pamela"].get("encoders") or {}
    rows = 0
    for fingerprint in stores:
        for kind in ("image", "text"):
            store = EmbeddingStore(data.path, fingerprint, kind)
            absent = set(store.missing(keys[kind]))
            present = [key for key in keys[kind] if key not in absent]
            if not present:
                continue
            values = store.get(present).astype(np.float16)
            offsets = np.arange(len(present) + 1, dtype=np.int32) * values.shape[1]
            columns = {
                "key": pa.array(present),
                "kind": pa.array([kind] * len(present)),
                "encoder": pa.array([names.get(fingerprint)] * len(present), pa.string()),
                "fingerprint": pa.array([fingerprint] * len(present)),
                "embedding": pa.ListArray.from_arrays(pa.array(offsets), pa.array(values.reshape(-1))),
            }
            _write(pa.table(columns).cast(arrow_schema(EMBEDDINGS)), folder / fingerprint / f"part-{kind}-0.parquet")
            rows += len(present)
    return rows
