"""
What all importers share: from source tables and an archive of pictures to a data set in the standard form.

- Names of people and pictures are text, without surrounding blanks. A blank prompt is null.
- Another column keeps its type where the source has types. In text it becomes int64 or float64 if all its values are plain numbers
  (`007` is not), and empty fields and [`~modeling_pamela.data.tables.MISSING`] become null.
- A column that the import computes itself (`rating_norm`, `width`, ...) replaces one of that name; `file` becomes `image.path`.
- **A person rates a picture once.** Of several rows of one person and picture, those after the lowest repetition number
  are set aside if there is a repetition column (first impressions count). Of the rest, the first stays if all give the same
  rating. Otherwise none can be chosen and all are set aside.
- Of several rows of one person or picture in their own table, the first stays if they are identical. Otherwise all are
  set aside, and so are the ratings that name them. Comparisons of two pictures may be repeated.
- Pictures are read in batches and written in shards, in a folder `.<name>.<fingerprint>.part` beside the output. If the process is
  killed, the next import of the same, unchanged source takes up the shards that are whole.

Nothing is guessed and nothing is lost: a row that cannot be used goes to `rejected.parquet` with file, line and reason. The
same source gives the same bytes.
"""

import hashlib
import json
import math
import os
import shutil
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from tqdm.auto import tqdm

from ..archive import Archive, MemberError
from ..files import atomic_folder, atomic_write
from ..folder import check_target, data_configs, data_title, write_card
from ..images import ImageError, open_image
from ..schema import CHOICES, IMAGES, PAIRS, RATINGS, REJECTED, USERS, arrow_schema
from ..splits import SplitOptions, split_folder
from ..tables import SourceError, SourceTable, parse_numbers


__all__ = [
    "ImportSummary",
    "Source",
    "attribute_tables",
    "check_out",
    "check_pairs",
    "check_scale",
    "describe_rejected",
    "pair_table",
    "write_source",
    "write_table",
]

SHARD_BYTES = 200_000_000
# Pictures decoded together and written as one row group: small, so that streaming readers hold little.
_BATCH = 32
# `pamela data card` replaces it, once the data set is as it shall be.
_CARD = """# {title}

Personal picture ratings; `pamela data card` describes them here.

```python
from datasets import load_dataset

ratings = load_dataset("path/to/this/folder", "ratings")
```
"""


@dataclass
class Source:
    """
    A source as an importer hands it over.

    Attributes:
        archive ([`~modeling_pamela.data.archive.Archive`]): The pictures.
        ratings (`SourceTable`): Columns `user_id`, `image_id`, `rating`, and more.
        images (`SourceTable`): Columns `image_id`, `file` (its path in the archive), perhaps `prompt`, and more.
        users (`SourceTable`, *optional*): Column `user_id`, and more. Without it people are made from the ratings.
        scale (`tuple[float, float]`): Lowest and highest possible rating.
        pairs (`SourceTable`, *optional*): Columns `user_id`, `left_id`, `right_id`, `choice`, and more.
        repetition (`str`, *optional*): Column of the ratings that counts repeated ratings of a picture.
        split ([`~modeling_pamela.data.splits.SplitOptions`], *optional*): The split to write.
        card (`dict`): Front matter to carry over.
        notes (`dict[str, list[str]]`): What should be known.
        published (`Mapping[str, int]`): Numbers of ratings by `official_split`, of `pictures` and of `people` that should be left.
    """

    archive: Archive
    ratings: SourceTable
    images: SourceTable
    users: SourceTable | None
    scale: tuple[float, float]
    pairs: SourceTable | None = None
    repetition: str | None = None
    split: SplitOptions | None = None
    card: dict[str, Any] = field(default_factory=dict)
    notes: dict[str, list[str]] = field(default_factory=dict)
    published: Mapping[str, int] = field(default_factory=dict)

    @property
    def tables(self) -> dict[str, SourceTable]:
        """The tables that there are, by name."""
        tables = {"ratings": self.ratings, "images": self.images, "users": self.users, "pairs": self.pairs}
        return {name: table for name, table in tables.items() if table is not None}


@dataclass(frozen=True)
class ImportSummary:
    """
    What an import kept and what it set aside.

    Attributes:
        rating_scale (`tuple[float, float]`): Lowest and highest possible rating.
        users, pictures, ratings, pairs (`int`): Kept.
        rejected (`list[dict]`): Rows set aside, as in `rejected.parquet`.
        notes (`dict[str, list[str]]`): What was kept but should be known, to the names of the people, pictures or columns.
        splits (`str`): The splits: a table if they were written, else the published numbers of ratings; empty if there are none.
    """

    rating_scale: tuple[float, float]
    users: int
    pictures: int
    ratings: int
    pairs: int
    rejected: list[dict[str, Any]]
    notes: dict[str, list[str]]
    splits: str = ""

    def __str__(self) -> str:
        low, high = self.rating_scale
        pairs = f", {self.pairs:,} comparisons" if self.pairs else ""
        lines = [
            f"{self.users:,} people, {self.pictures:,} pictures, {self.ratings:,} ratings on a scale from {low:g} to {high:g}{pairs}",
            f"{len(self.rejected):,} source rows set aside",
            *describe_rejected(self.rejected),
        ]
        for note, names in self.notes.items():
            if len(names) == 1:
                lines.append(f"{note}: {names[0]}")
            elif names:
                more = f" and {len(names) - 7:,} more" if len(names) > 7 else ""
                lines.append(f"{note}: {len(names):,} ({', '.join(names[:7])}{more})")
        return "\n".join([*lines, self.splits] if self.splits else lines)


def describe_rejected(rejected: Sequence[dict[str, Any]]) -> list[str]:
    """One line a kind of problem, with its first row."""
    kinds = Counter((row["file"], row["reason"]) for row in rejected)
    examples = {(row["file"], row["reason"]): row for row in reversed(rejected)}
    return [
        f"  {count:,} in {file}: {reason}; first on line {examples[file, reason]['line']}: {examples[file, reason]['detail']}"
        for (file, reason), count in kinds.items()
    ]


def check_scale(scale: tuple[float, float]) -> tuple[float, float]:
    """The scale as floats; raises a `SourceError` unless it goes from a lowest to a highest rating."""
    low, high = map(float, scale)
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise SourceError(
            f"The scale goes from its lowest to its highest rating, e.g. 1 to 7; got {low:g} to {high:g}."
        )
    return low, high


def check_out(source: Path, out: Path, overwrite: bool) -> None:
    """Makes sure that `out` may be written, and that replacing it would not delete the source."""
    check_target(out, overwrite)
    if source.resolve().is_relative_to(out.resolve()):
        raise SourceError(f"The source {source} lies inside {out}, which would be replaced. Choose another folder.")


def write_source(source: Source, out: Path, *, overwrite: bool, strict: bool, dry_run: bool) -> ImportSummary:
    """
    Checks a source and writes it as a data set in the standard form; see [`~modeling_pamela.data.importers.standard`].

    Args:
        source ([`Source`]): The source; its rows that cannot be used are set aside in it.
        out (`Path`): Folder to write; it appears only once it is whole.
        overwrite (`bool`): Replace a data set that stands at `out`.
        strict (`bool`): Write nothing if any row would be set aside.
        dry_run (`bool`): Check everything, pictures included, and write nothing.

    Returns:
        [`ImportSummary`]

    Raises:
        SourceError: Nothing usable is left, or `strict` and a row would be set aside.
        DataFolderError: `out` is taken.
    """
    low, high = source.scale
    if not dry_run:
        check_out(source.archive.path, out, overwrite)
    ratings, images, users = source.ratings, source.images, source.users
    if users is not None:
        _check_own_key(users, "user_id")
    _check_own_key(images, "image_id")
    with ExitStack() as stack:
        part = None if dry_run else stack.enter_context(_PartFolder(out, source))
        _write_pictures(images, source.archive, part)
        for name, table in {"image_id": images, "user_id": users}.items():
            _check_foreign_key(ratings, name, name, table)
        values = _check_ratings(ratings, low, high)
        _check_repeats(ratings, values, source.repetition)
        if source.pairs is not None:
            check_pairs(source.pairs, images, users)

        rating_table = _rating_table(ratings, values, low, high)
        chosen = pair_table(source.pairs) if source.pairs is not None else None
        user_table = _user_table(users, rating_table, chosen)
        rejected = [row for table in source.tables.values() for row in table.rejected()]
        summary = ImportSummary(
            rating_scale=(low, high),
            users=len(user_table),
            pictures=int(images.usable.sum()),
            ratings=len(rating_table),
            pairs=0 if chosen is None else len(chosen),
            rejected=rejected,
            notes=source.notes | _notes(source, rating_table, user_table),
            splits=", ".join(f"{split} {count:,}" for split, count in _published_splits(rating_table).items()),
        )
        if not len(rating_table):
            raise SourceError(f"No usable rating is left in {source.archive.path}; nothing was written.\n{summary}")
        if strict and rejected:
            raise SourceError(f"Rows would be set aside, which --strict refuses; nothing was written.\n{summary}")
        if part is None:
            return summary
        with atomic_folder(out) as folder:
            part.link_shards(folder / "images")
            write_table(user_table, folder / "users" / "train.parquet")
            write_table(rating_table, folder / "ratings" / "train.parquet")
            if chosen is not None:
                write_table(chosen, folder / "pairs" / "train.parquet")
            write_table(pa.Table.from_pylist(rejected, arrow_schema(REJECTED)), folder / "rejected.parquet")
            metadata = _card_metadata(source, chosen is not None)
            write_card(folder, metadata, _CARD.format(title=data_title(metadata)))
            if source.split is None:
                return summary
            split = split_folder(folder, source.split)
    return replace(summary, splits=str(split))


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


def _check_foreign_key(rows: SourceTable, column: str, key: str, table: SourceTable | None) -> None:
    """Sets aside rows of people or pictures that are unknown, or set aside themselves."""
    rows.use_as_key(column)
    if table is None:
        return
    names = rows.columns[column]
    listed, kept = table.columns[key], table.columns[key].filter(pa.array(table.usable))
    rows.reject(
        pc.invert(pc.is_in(names, value_set=listed)),
        f"unknown {column}",
        lambda row: f"{column} {names[row].as_py()!r} is not in {table.path.name}",
    )
    rows.reject(
        pc.invert(pc.is_in(names, value_set=kept)),
        f"{column} set aside",
        lambda row: f"{column} {names[row].as_py()!r} was set aside, see {table.path.name}",
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
    # Numbers stand for the names: grouping by text is many times slower.
    codes = [pd.factorize(ratings.columns[name].to_numpy(zero_copy_only=False))[0] for name in ("user_id", "image_id")]
    frame = pd.DataFrame({"pair": codes[0].astype(np.int64) * (len(ratings) + 1) + codes[1], "rating": values})
    if repetition is not None:
        frame["repetition"] = parse_numbers(ratings.columns[repetition]).to_numpy(zero_copy_only=False)

    def set_aside(rows: pd.Series, reason: str, detail: str) -> None:
        ratings.reject(rows.reindex(range(len(ratings)), fill_value=False), reason, lambda row: detail)

    repeated = frame[ratings.usable]
    repeated = repeated[repeated.duplicated("pair", keep=False)]
    if repetition is not None:
        numbers = repeated.groupby("pair")["repetition"]
        complete = numbers.transform("count") == numbers.transform("size")
        later = complete & (repeated["repetition"] > numbers.transform("min"))
        set_aside(
            later, "later repetition", f"the person's rating of this picture with the lowest {repetition!r} is kept"
        )
        repeated = repeated[~later]
    by_pair = repeated.groupby("pair")["rating"]
    conflict = by_pair.transform("min") != by_pair.transform("max")
    set_aside(
        conflict,
        "conflicting ratings",
        "the person rated this picture several times, and differently; none can be chosen",
    )
    set_aside(
        repeated.duplicated("pair"),
        "repeated rating",
        "the person gave this picture the same rating on an earlier line",
    )


def attribute_tables(
    ratings: SourceTable, pictures: Mapping[str, str], people: Mapping[str, str]
) -> tuple[SourceTable, SourceTable, dict[str, list[str]]]:
    """
    Takes the pictures and people out of ratings that repeat their attributes in every row.

    Where rows of one person or picture contradict each other in an attribute, it is empty there, and the ratings keep what their rows
    say. All other attributes are taken away from the ratings.

    Args:
        ratings (`SourceTable`): With `user_id` and `image_id`.
        pictures, people (`Mapping[str, str]`): Name of the attribute to its column of the ratings.

    Returns:
        `tuple[SourceTable, SourceTable, dict[str, list[str]]]`: Pictures, people, and what contradicts itself as notes.
    """
    ratings.use_as_key("user_id")
    ratings.use_as_key("image_id")
    images, odd_pictures = ratings.attributes("image_id", pictures)
    users, odd_people = ratings.attributes("user_id", people)
    notes = {}
    for kind, columns, odd in (("pictures", pictures, odd_pictures), ("people", people, odd_people)):
        for name, column in columns.items():
            if name in odd:
                notes[f"{kind} with several values of {name!r}, which is left empty"] = odd[name]
                ratings.rename({name if name not in ratings.columns else column: column})
            else:
                ratings.drop(column)
    return images, users, notes


def check_pairs(pairs: SourceTable, images: SourceTable, users: SourceTable | None) -> None:
    """Sets aside comparisons of unknown people or pictures, of a picture with itself, or without a choice."""
    for column, key, table in (
        ("left_id", "image_id", images),
        ("right_id", "image_id", images),
        ("user_id", "user_id", users),
    ):
        _check_foreign_key(pairs, column, key, table)
    pairs.columns["choice"] = choice = pc.utf8_trim_whitespace(pairs.columns["choice"])
    pairs.reject(
        pc.invert(pc.is_in(choice, value_set=pa.array(CHOICES))),
        "no choice",
        lambda row: f"choice {choice[row].as_py()!r} is not one of {', '.join(CHOICES)}",
    )
    left, right = pairs.columns["left_id"], pairs.columns["right_id"]
    pairs.reject(pc.equal(left, right), "a picture with itself", lambda row: f"both sides are {left[row].as_py()!r}")


def pair_table(pairs: SourceTable) -> pa.Table:
    """The usable comparisons as a table of the config `pairs`."""
    usable = pa.array(pairs.usable)
    columns: dict[str, pa.Array] = {"pair_id": pa.array(np.flatnonzero(pairs.usable), pa.int64())}
    for name in list(PAIRS)[1:]:
        values = pairs.columns.get(name, pa.array([""] * len(pairs), pa.string())).filter(usable)
        columns[name] = pc.if_else(pc.equal(pc.utf8_trim_whitespace(values), ""), pa.scalar(None, pa.string()), values)
    table = pa.table(columns | pairs.typed(leave_out=PAIRS))
    return table.cast(arrow_schema(PAIRS, table.schema))


class _PartFolder:
    """
    Where pictures are written until all are read. It is kept if the process is killed or interrupted, and removed after an error.

    Args:
        out (`Path`): Folder that is to be written.
        source ([`Source`]): Its pictures; another source, or a changed one, has another folder.
    """

    def __init__(self, out: Path, source: Source) -> None:
        images = source.images
        digest = hashlib.sha256(f"{SHARD_BYTES} {_BATCH}".encode())
        for name, column in images.columns.items():
            digest.update(f"{name}\0{images.native.get(name, column).type}\0".encode())
            digest.update(pa.record_batch([column], ["column"]).serialize())
        digest.update(images.usable.tobytes())
        files = (name.strip() for name in images.columns["file"].to_pylist())
        digest.update(source.archive.fingerprint(files).encode())
        out = out.resolve()
        self.path = out.with_name(f".{out.name}.{digest.hexdigest()[:16]}.part")
        self._prefix = f".{out.name}."
        self.count = 0

    def __enter__(self) -> "_PartFolder":
        if self.path.parent.is_dir():
            for other in self.path.parent.iterdir():
                ours = other.name.startswith(self._prefix) and other.suffix == ".part"
                if ours and len(other.name) == len(self.path.name) and other != self.path:
                    shutil.rmtree(other)  # of a source that has changed since
        self.path.mkdir(parents=True, exist_ok=True)
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None or issubclass(kind, Exception):
            shutil.rmtree(self.path)

    def shard(self, number: int) -> tuple[Path, Path]:
        """A shard, and what is known of its rows: written last, so its presence says that the shard is whole."""
        return self.path / f"{number:05d}.parquet", self.path / f"{number:05d}.json"

    def link_shards(self, folder: Path) -> None:
        """Puts the shards, with their final names, into a new folder."""
        folder.mkdir()
        for number in range(self.count):
            shard, target = self.shard(number)[0], folder / f"train-{number:05d}-of-{self.count:05d}.parquet"
            try:
                os.link(shard, target)
            except OSError:  # a file system without hard links
                shutil.copyfile(shard, target)


def _write_pictures(images: SourceTable, archive: Archive, part: _PartFolder | None) -> None:
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
            content = archive.read(name)
            width, height = open_image(content).size
        except (ImageError, MemberError) as error:
            return ImageError(name, error.reason)
        return {
            "image_id": images.columns["image_id"][row].as_py(),
            "image": {"bytes": content, "path": str(PurePosixPath(name.replace("\\", "/")))},
            "sha256": hashlib.sha256(content).hexdigest(),
            "width": width,
            "height": height,
            "prompt": prompts[row].as_py(),
        }

    bad: dict[int, str] = {}
    with (
        ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool,
        tqdm(total=len(rows), desc="Reading pictures", unit="picture") as progress,
    ):

        def batches(start: int) -> Iterator[tuple[int, pa.Table | None]]:
            """Yields the position after each batch, and its usable pictures."""
            for begin in range(start, len(rows), _BATCH):
                batch = rows[begin : begin + _BATCH].tolist()
                loaded = dict(zip(batch, pool.map(load, batch), strict=True))
                bad.update({row: str(error) for row, error in loaded.items() if isinstance(error, ImageError)})
                good = [row for row in batch if row not in bad]
                table = None
                if good:
                    table = pa.Table.from_pylist([loaded[row] for row in good], pa.schema(list(schema)[: len(IMAGES)]))
                    for name in columns:
                        table = table.append_column(name, columns[name].take(np.searchsorted(rows, good)))
                    table = table.cast(schema)
                progress.update(len(batch))
                yield begin + len(batch), table

        if part is None:
            for _ in batches(0):
                pass
        else:
            done, shards = 0, 0
            while part.shard(shards)[1].exists():
                known = json.loads(part.shard(shards)[1].read_text())
                done, shards = known["done"], shards + 1
                bad.update({int(row): reason for row, reason in known["bad"].items()})
            progress.update(done)
            stream = batches(done)
            while done < len(rows):
                before = set(bad)
                end = _write_shard(stream, schema, part.shard(shards)[0])
                if end is None:
                    break
                done = end
                with atomic_write(part.shard(shards)[1]) as temporary:
                    new = {row: reason for row, reason in bad.items() if row not in before}
                    temporary.write_text(json.dumps({"done": done, "bad": new}))
                shards += 1
            part.count = shards
    where = np.zeros(len(images), dtype=bool)
    where[list(bad)] = True
    images.reject(where, "unusable picture", bad.__getitem__)


def _write_shard(stream: Iterator[tuple[int, pa.Table | None]], schema: pa.Schema, path: Path) -> int | None:
    """Writes one shard of [`SHARD_BYTES`] or what is left. Returns the position after it, or `None` if no picture is left."""
    size, position = 0, 0
    with atomic_write(path) as temporary, pq.ParquetWriter(temporary, schema, use_dictionary=False) as writer:
        for position, table in stream:  # noqa: B007
            if table is not None:
                writer.write_table(table)
                size += table.nbytes
            if size >= SHARD_BYTES:
                break
    if not size:
        path.unlink()
        return None
    return position


def write_table(table: pa.Table, path: Path) -> None:
    """Writes Parquet, and its folder where there is none."""
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


def _user_table(users: SourceTable | None, ratings: pa.Table, pairs: pa.Table | None) -> pa.Table:
    if users is None:
        names = [table["user_id"] for table in (ratings, pairs) if table is not None]
        table = pa.table({"user_id": pc.unique(pa.chunked_array([chunk for name in names for chunk in name.chunks]))})
    else:
        columns = {"user_id": users.columns["user_id"].filter(pa.array(users.usable))}
        table = pa.table(columns | users.typed(leave_out=USERS))
    return table.cast(arrow_schema(USERS, table.schema))


def _published_splits(ratings: pa.Table) -> dict[str, int]:
    """Ratings of each published split, where every rating has one."""
    return dict(Counter(ratings["official_split"].to_pylist())) if "official_split" in ratings.column_names else {}


def _notes(source: Source, ratings: pa.Table, users: pa.Table) -> dict[str, list[str]]:
    spread = ratings.select(["user_id", "rating"]).to_pandas().groupby("user_id", sort=False)["rating"]
    count, constant = spread.size(), spread.min() == spread.max()
    images = source.images.columns["image_id"].filter(pa.array(source.images.usable))

    def unrated(names: pa.Array | pa.ChunkedArray, key: str) -> list[str]:
        return names.filter(pc.invert(pc.is_in(names, value_set=pc.unique(ratings[key])))).to_pylist()

    computed = {
        "ratings": {"rating_id", "rating_norm"},
        "images": {"image", "sha256", "width", "height"},
        "pairs": {"pair_id"},
    }
    found = {"pictures": len(images), "people": len(users)} | _published_splits(ratings)
    return {
        "differs from what was published": [
            f"{name}: {found.get(name, 0):,} instead of {number:,}"
            for name, number in source.published.items()
            if found.get(name, 0) != number
        ],
        "people with a single rating": count.index[count == 1].tolist(),
        "people who gave all pictures the same rating": count.index[constant & (count > 1)].tolist(),
        "people without a rating": unrated(users["user_id"], "user_id"),
        "pictures without a rating": unrated(images, "image_id"),
        "columns replaced by computed ones": [
            f"{name}.{column}"
            for name, table in source.tables.items()
            for column in table.columns
            if column in computed.get(name, ())
        ],
    }


def _card_metadata(source: Source, pairs: bool) -> dict[str, Any]:
    own = source.card.get("pamela")
    pamela = (own if isinstance(own, dict) else {}) | {"rating_scale": list(source.scale)}
    pamela.pop("split", None)
    rest = {name: value for name, value in source.card.items() if name not in ("configs", "dataset_info", "pamela")}
    return rest | {"configs": data_configs(["train"], pairs=["train"] if pairs else []), "pamela": pamela}
