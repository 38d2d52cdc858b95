"""
Import of tidy tables: `ratings.csv`, `images.csv`, optionally `users.csv`, and the pictures they name.

The tables are UTF-8 CSV (tab-separated if the name ends in `.tsv`) with a header. Needed are `user_id`, `image_id` and
`rating` in the ratings, `image_id` and `file` (the picture's path, relative to the source folder) in the images, `user_id`
in the users; `prompt` in the images is optional. Every other column is kept. What is done with the values:

- Names of people and pictures are text, without surrounding blanks. A blank prompt is null.
- Another column becomes int64 or float64 if all its values are plain numbers (`007` is not), else text. Empty fields and
  [`~modeling_pamela.data.tables.MISSING`] become null in it.
- A column that the import computes itself (`rating_norm`, `width`, ...) replaces one of that name; `file` becomes `image.path`.
- **A person rates a picture once.** Of several rows of one person and picture, those after the lowest repetition number
  are set aside if there is a repetition column (first impressions count). Of the rest, the first stays if all give the same
  rating. Otherwise none can be chosen and all are set aside.
- Of several rows of one person or picture in their own table, the first stays if they are identical. Otherwise all are
  set aside, and so are the ratings that name them.

Nothing is guessed and nothing is lost: a row that cannot be used goes to `rejected.parquet` with file, line and reason. The
same source gives the same bytes.
"""

import hashlib
import math
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import yaml
from huggingface_hub import metadata_load
from tqdm.auto import tqdm

from .files import atomic_folder
from .folder import check_target, data_configs, write_card
from .images import ImageError, open_image
from .schema import CONTEXTS, IMAGES, RATINGS, REJECTED, SPLITS, USERS, arrow_schema
from .tables import SourceTable, TidyError, parse_numbers


__all__ = ["ImportSummary", "TidyError", "import_tidy"]

SHARD_BYTES = 200_000_000
# Pictures decoded together and written as one row group: small, so that streaming readers hold little.
_BATCH = 32

# The tables in which a standard column is looked for, where --map does not say.
_TABLES = {
    "user_id": ("ratings", "users"),
    "image_id": ("ratings", "images"),
    "rating": ("ratings",),
    "file": ("images",),
    "prompt": ("images",),
}


@dataclass(frozen=True)
class ImportSummary:
    """
    What an import kept and what it set aside.

    Attributes:
        rating_scale (`tuple[float, float]`): Lowest and highest possible rating.
        users, pictures, ratings (`int`): Kept.
        rejected (`list[dict]`): Rows set aside, as in `rejected.parquet`.
        notes (`dict[str, list[str]]`): What was kept but should be known, to the names of the people, pictures or columns.
    """

    rating_scale: tuple[float, float]
    users: int
    pictures: int
    ratings: int
    rejected: list[dict[str, Any]]
    notes: dict[str, list[str]]

    def __str__(self) -> str:
        low, high = self.rating_scale
        lines = [
            f"{self.users:,} people, {self.pictures:,} pictures, {self.ratings:,} ratings on a scale from {low:g} to {high:g}",
            f"{len(self.rejected):,} source rows set aside",
        ]
        kinds = Counter((row["file"], row["reason"]) for row in self.rejected)
        examples = {(row["file"], row["reason"]): row for row in reversed(self.rejected)}
        for kind, count in kinds.items():
            first = examples[kind]
            lines.append(f"  {count:,} in {kind[0]}: {kind[1]}; first on line {first['line']}: {first['detail']}")
        for note, names in self.notes.items():
            if names:
                more = f" and {len(names) - 5:,} more" if len(names) > 5 else ""
                lines.append(f"{note}: {len(names):,} ({', '.join(names[:5])}{more})")
        return "\n".join(lines)


def import_tidy(
    source: str | Path,
    out: str | Path,
    scale: tuple[float, float],
    *,
    ratings_file: str = "ratings.csv",
    images_file: str = "images.csv",
    users_file: str | None = None,
    columns: Mapping[str, str] | None = None,
    repetition: str | None = None,
    overwrite: bool = False,
    strict: bool = False,
    dry_run: bool = False,
) -> ImportSummary:
    """
    Writes tidy tables and their pictures as a data set in the standard form; see [`~modeling_pamela.data.importers.tidy`] for the rules.

    Args:
        source (`str` or `Path`):
            Folder of the tables. If it has a README.md with YAML front matter (licence, tags, ...), that is carried over.
        out (`str` or `Path`): Folder to write; it appears only once it is whole.
        scale (`tuple[float, float]`): Lowest and highest possible rating (not those that happen to occur).
        ratings_file, images_file (`str`): Relative to `source`.
        users_file (`str`, *optional*): By default `users.csv` if there is one; else people are made from the ratings.
        columns (`Mapping[str, str]`, *optional*):
            Standard name to the source's name, e.g. `{"rating": "score"}`; `{"ratings.image_id": "filename"}` for one table only.
        repetition (`str`, *optional*): Column of the ratings (after mapping) that counts repeated ratings of a picture.
        overwrite (`bool`): Replace a data set that stands at `out`.
        strict (`bool`): Write nothing if any row would be set aside.
        dry_run (`bool`): Check everything, pictures included, and write nothing.

    Returns:
        [`ImportSummary`]

    Raises:
        TidyError: The source cannot be read, nothing usable is left, or `strict` and a row would be set aside.
        DataFolderError: `out` is taken.
    """
    source, out = Path(source), Path(out)
    low, high = map(float, scale)
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise TidyError(f"The scale goes from its lowest to its highest rating, e.g. 1 to 7; got {low:g} to {high:g}.")
    if not source.is_dir():
        raise TidyError(f"There is no folder {source}. Expected one with {ratings_file} and {images_file}.")
    if not dry_run:
        check_target(out, overwrite)
        if source.resolve().is_relative_to(out.resolve()):
            raise TidyError(f"The source {source} lies inside {out}, which would be replaced. Choose another folder.")

    tables = {"ratings": SourceTable(source / ratings_file), "images": SourceTable(source / images_file)}
    if users_file is not None or (source / "users.csv").exists():
        tables["users"] = SourceTable(source / (users_file or "users.csv"))
    _map_columns(tables, columns or {})
    ratings, images, users = tables["ratings"], tables["images"], tables.get("users")
    ratings.require("user_id", "image_id", "rating", *([repetition] if repetition else []))
    images.require("image_id", "file")
    if users is not None:
        users.require("user_id")
        _check_own_key(users, "user_id")
    _check_own_key(images, "image_id")

    with ExitStack() as stack:
        folder = None if dry_run else stack.enter_context(atomic_folder(out))
        _write_pictures(images, source, folder)
        for name, table in {"image_id": images, "user_id": users}.items():
            _check_foreign_key(ratings, name, table)
        values = _check_ratings(ratings, low, high)
        _check_repeats(ratings, values, repetition)

        rating_table = _rating_table(ratings, values, low, high)
        user_table = _user_table(users, rating_table)
        rejected = [row for table in tables.values() for row in table.rejected()]
        summary = ImportSummary(
            rating_scale=(low, high),
            users=len(user_table),
            pictures=int(images.usable.sum()),
            ratings=len(rating_table),
            rejected=rejected,
            notes=_notes(tables, rating_table, user_table),
        )
        if not len(rating_table):
            raise TidyError(f"No usable rating is left in {source}; nothing was written.\n{summary}")
        if strict and rejected:
            raise TidyError(f"Rows would be set aside, which --strict refuses; nothing was written.\n{summary}")
        if folder is not None:
            _write_table(user_table, folder / "users" / "train.parquet")
            _write_table(rating_table, folder / "ratings" / "train.parquet")
            _write_table(pa.Table.from_pylist(rejected, arrow_schema(REJECTED)), folder / "rejected.parquet")
            write_card(folder, _card_metadata(source, low, high), _card_text(summary))
    return summary


def _map_columns(tables: Mapping[str, SourceTable], columns: Mapping[str, str]) -> None:
    names: dict[str, dict[str, str]] = {table: {} for table in tables}
    for target, source in columns.items():
        table, _, column = target.rpartition(".")
        scope = [table] if table in tables else [name for name in _TABLES.get(target, tables) if name in tables]
        new = column if table in tables else target
        found = [name for name in scope if source in tables[name].columns]
        if not found:
            present = "; ".join(f"{tables[name].path.name}: {list(tables[name].columns)}" for name in scope)
            raise TidyError(f"--map {target}={source}: there is no column {source!r}. Found {present}.")
        for name in found:
            names[name][new] = source
    for name, mapping in names.items():
        tables[name].rename(mapping)


def _check_own_key(table: SourceTable, key: str) -> None:
    """Sets aside rows of `users` or `images` that have no name, or share one."""
    table.use_as_key(key)
    frame = pd.DataFrame({name: column.to_numpy(zero_copy_only=False) for name, column in table.columns.items()})
    frame = frame[table.usable]
    content = frame.groupby(list(frame.columns), sort=False).ngroup()
    by_key = content.groupby(frame[key])
    conflict = by_key.transform("min") != by_key.transform("max")
    names = table.columns[key]

    def set_aside(rows: pd.Series, reason: str, detail: str) -> None:
        rows = rows.reindex(range(len(table)), fill_value=False)
        table.reject(rows, reason, lambda row: detail.format(repr(names[row].as_py())))

    set_aside(conflict, f"conflicting rows of one {key}", "several rows of {} differ; none can be chosen")
    set_aside(frame.duplicated(key), "repeated row", "identical to an earlier row of {}")


def _check_foreign_key(ratings: SourceTable, key: str, table: SourceTable | None) -> None:
    """Sets aside ratings of people or pictures that are unknown, or set aside themselves."""
    ratings.use_as_key(key)
    if table is None:
        return
    names = ratings.columns[key]
    listed, kept = table.columns[key], table.columns[key].filter(pa.array(table.usable))
    ratings.reject(
        pc.invert(pc.is_in(names, value_set=listed)),
        f"unknown {key}",
        lambda row: f"{key} {names[row].as_py()!r} is not in {table.path.name}",
    )
    ratings.reject(
        pc.invert(pc.is_in(names, value_set=kept)),
        f"{key} set aside",
        lambda row: f"{key} {names[row].as_py()!r} was set aside, see {table.path.name}",
    )


def _check_ratings(ratings: SourceTable, low: float, high: float) -> np.ndarray:
    """Sets aside ratings that are no number or off the scale. Returns float64 of shape `[rows]`, NaN where set aside."""
    text = ratings.columns["rating"]
    values = parse_numbers(text).to_numpy(zero_copy_only=False)
    blank = np.asarray(pc.equal(pc.utf8_trim_whitespace(text), ""))
    ratings.reject(blank, "no rating", lambda row: "rating is empty")
    ratings.reject(
        np.isnan(values), "rating not a number", lambda row: f"rating {text[row].as_py()!r} is not a finite number"
    )
    ratings.reject(
        (values < low) | (values > high),
        "rating off the scale",
        lambda row: f"rating {text[row].as_py()} is outside {low:g} to {high:g}",
    )
    return np.where(ratings.usable, values, np.nan)


def _check_repeats(ratings: SourceTable, values: np.ndarray, repetition: str | None) -> None:
    """Leaves at most one rating of each person and picture."""
    pair = ["user_id", "image_id"]
    frame = pd.DataFrame({name: ratings.columns[name].to_numpy(zero_copy_only=False) for name in pair})
    frame["rating"] = values
    if repetition is not None:
        frame["repetition"] = parse_numbers(ratings.columns[repetition]).to_numpy(zero_copy_only=False)

    def set_aside(rows: pd.Series, reason: str, detail: str) -> None:
        ratings.reject(rows.reindex(range(len(ratings)), fill_value=False), reason, lambda row: detail)

    repeated = frame[ratings.usable]
    repeated = repeated[repeated.duplicated(pair, keep=False)]
    if repetition is not None:
        numbers = repeated.groupby(pair)["repetition"]
        complete = numbers.transform("count") == numbers.transform("size")
        later = complete & (repeated["repetition"] > numbers.transform("min"))
        set_aside(
            later, "later repetition", f"the person's rating of this picture with the lowest {repetition!r} is kept"
        )
        repeated = repeated[~later]
    by_pair = repeated.groupby(pair)["rating"]
    conflict = by_pair.transform("min") != by_pair.transform("max")
    set_aside(
        conflict,
        "conflicting ratings",
        "the person rated this picture several times, and differently; none can be chosen",
    )
    set_aside(
        repeated.duplicated(pair), "repeated rating", "the person gave this picture the same rating on an earlier line"
    )


def _write_pictures(images: SourceTable, source: Path, folder: Path | None) -> None:
    """Reads, checks and writes the pictures in shards, and sets aside the rows whose picture cannot be used."""
    rows = np.flatnonzero(images.usable)
    columns = images.typed(leave_out=[*IMAGES, "file"])
    blank = pa.nulls(len(images), pa.string())
    prompts = images.columns.get("prompt", blank)
    prompts = pc.if_else(pc.equal(pc.utf8_trim_whitespace(prompts), ""), blank, prompts)
    extra = pa.table(columns) if columns else None
    schema = arrow_schema(IMAGES, extra.schema if extra else None)

    def load(row: int) -> dict[str, Any] | ImageError:
        name = images.columns["file"][row].as_py().strip()
        if not name:
            return ImageError("file", "the field is empty")
        try:
            content = (source / name).read_bytes()
            width, height = open_image(content).size
        except ImageError as error:
            return ImageError(name, error.reason)
        except (OSError, ValueError) as error:  # ValueError: a null byte in the name
            return ImageError(name, f"the file cannot be read ({getattr(error, 'strerror', None) or error})")
        return {
            "image_id": images.columns["image_id"][row].as_py(),
            # An absolute path would tell of the machine the data was imported on.
            "image": {"bytes": content, "path": Path(name).name if Path(name).is_absolute() else name},
            "sha256": hashlib.sha256(content).hexdigest(),
            "width": width,
            "height": height,
            "prompt": prompts[row].as_py(),
        }

    def batches() -> Iterator[pa.Table]:
        with (
            ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool,
            tqdm(total=len(rows), desc="Reading pictures", unit="picture") as progress,
        ):
            for start in range(0, len(rows), _BATCH):
                batch = rows[start : start + _BATCH].tolist()
                loaded = dict(zip(batch, pool.map(load, batch), strict=True))
                bad = {row: str(error) for row, error in loaded.items() if isinstance(error, ImageError)}
                images.reject(np.isin(np.arange(len(images)), list(bad)), "unusable picture", bad.__getitem__)
                good = [row for row in batch if row not in bad]
                if good:
                    table = pa.Table.from_pylist([loaded[row] for row in good], pa.schema(list(schema)[: len(IMAGES)]))
                    for name in columns:
                        table = table.append_column(name, columns[name].take(np.searchsorted(rows, good)))
                    yield table.cast(schema)
                progress.update(len(batch))

    if folder is None:
        for _ in batches():
            pass
    else:
        _write_shards(batches(), schema, folder / "images")


def _write_shards(tables: Iterator[pa.Table], schema: pa.Schema, folder: Path) -> None:
    folder.mkdir()
    shards: list[Path] = []
    writer: pq.ParquetWriter | None = None
    try:
        size = 0
        for table in tables:
            if writer is None or size >= SHARD_BYTES:
                if writer is not None:
                    writer.close()
                shards.append(folder / f"shard-{len(shards)}")
                writer, size = pq.ParquetWriter(shards[-1], schema, use_dictionary=False), 0
            writer.write_table(table)
            size += table.nbytes
    finally:
        if writer is not None:
            writer.close()
    for number, shard in enumerate(shards):
        shard.rename(folder / f"train-{number:05d}-of-{len(shards):05d}.parquet")


def _write_table(table: pa.Table, path: Path) -> None:
    path.parent.mkdir(exist_ok=True)
    pq.write_table(table, path)


def _rating_table(ratings: SourceTable, values: np.ndarray, low: float, high: float) -> pa.Table:
    usable = pa.array(ratings.usable)
    rows, kept = np.flatnonzero(ratings.usable), values[ratings.usable]
    columns = {
        "rating_id": pa.array(rows, pa.int64()),
        "user_id": ratings.columns["user_id"].filter(usable),
        "image_id": ratings.columns["image_id"].filter(usable),
        "rating": pa.array(kept, pa.float64()),
        "rating_norm": pa.array((kept - low) / (high - low), pa.float64()),
    }
    table = pa.table(columns | ratings.typed(leave_out=RATINGS))
    return table.cast(arrow_schema(RATINGS, table.schema))


def _user_table(users: SourceTable | None, ratings: pa.Table) -> pa.Table:
    if users is None:
        table = pa.table({"user_id": pc.unique(ratings["user_id"])})
    else:
        columns = {"user_id": users.columns["user_id"].filter(pa.array(users.usable))}
        table = pa.table(columns | users.typed(leave_out=USERS))
    return table.cast(arrow_schema(USERS, table.schema))


def _notes(tables: Mapping[str, SourceTable], ratings: pa.Table, users: pa.Table) -> dict[str, list[str]]:
    spread = ratings.select(["user_id", "rating"]).to_pandas().groupby("user_id", sort=False)["rating"]
    count, constant = spread.size(), spread.min() == spread.max()
    images = tables["images"].columns["image_id"].filter(pa.array(tables["images"].usable))

    def unrated(names: pa.Array | pa.ChunkedArray, key: str) -> list[str]:
        return names.filter(pc.invert(pc.is_in(names, value_set=pc.unique(ratings[key])))).to_pylist()

    computed = {"ratings": {"rating_id", "rating_norm"}, "images": {"image", "sha256", "width", "height"}}
    return {
        "people with a single rating": count.index[count == 1].tolist(),
        "people who gave all pictures the same rating": count.index[constant & (count > 1)].tolist(),
        "people without a rating": unrated(users["user_id"], "user_id"),
        "pictures without a rating": unrated(images, "image_id"),
        "columns replaced by computed ones": [
            f"{table}.{name}" for table, names in computed.items() for name in tables[table].columns if name in names
        ],
    }


def _card_metadata(source: Path, low: float, high: float) -> dict[str, Any]:
    card = source / "README.md"
    try:
        metadata = (metadata_load(card) or {}) if card.exists() else {}
    except (ValueError, yaml.YAMLError) as error:
        raise TidyError(f"The front matter of {card} is not valid YAML: {error}") from error
    own = metadata.get("pamela")
    pamela = (own if isinstance(own, dict) else {}) | {"rating_scale": [low, high]}
    pamela.pop("split", None)
    rest = {name: value for name, value in metadata.items() if name not in ("configs", "dataset_info", "pamela")}
    return rest | {"configs": data_configs(["train"]), "pamela": pamela}


def _card_text(summary: ImportSummary) -> str:
    low, high = summary.rating_scale
    parts: Sequence[str] = [
        "# Personal picture ratings\n",
        f"{summary.users:,} people, {summary.pictures:,} pictures, {summary.ratings:,} ratings on a scale from {low:g} to "
        f"{high:g}. {len(summary.rejected):,} rows of the source were set aside (`rejected.parquet`).\n",
        '```python\nfrom datasets import load_dataset\n\nratings = load_dataset("path/to/this/folder", "ratings")\n```\n',
        "Besides the columns below, each table has those of its source.\n",
    ]
    tables = {"ratings": RATINGS, "users": USERS, "images": IMAGES, "contexts": CONTEXTS}
    described = [
        f"## {name}\n\n| column | |\n|---|---|\n"
        + "".join(f"| `{column}` | {entry.description} |\n" for column, entry in columns.items())
        for name, columns in tables.items()
    ]
    splits = "".join(f"| `{split}` | {meaning} |\n" for split, meaning in SPLITS.items())
    described.append(
        "## Splits of the ratings\n\nBefore `pamela data split`, all ratings are in `train`. After it:\n\n"
        f"| split | |\n|---|---|\n{splits}"
    )
    return "\n".join([*parts, *described])
