"""
Checking a data set in the standard form: every rule of [`~modeling_pamela.data.schema`], every violation with its file and row.

Pictures are read a few at a time; of the tables only the columns that a rule needs are held, people and pictures as integers.
What depends on a file that cannot be read is not checked: the file itself is the violation.
"""

import hashlib
import math
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from datasets import Features
from tqdm.auto import tqdm

from .folder import DataFolder, DataFolderError
from .images import ImageError, open_image
from .schema import (
    CHOICES,
    CONFIGS,
    CONTEXTS,
    PAIRS,
    PART_OF_PERSON,
    PART_OF_PICTURE,
    PROTOCOLS,
    RATINGS,
    SPLITS,
    UNSEEN,
)


__all__ = ["ValidationReport", "Violation", "validate_folder"]

# Columns of comparisons that a row may leave empty.
_OPTIONAL = ("prompt_id", "left_condition", "right_condition")

# What may be known of test people is of training and of validation pictures, so it says nothing of which of the two they are.
_MOST_HELD_OUT = {**PART_OF_PICTURE, "test_context": 1}
_PART = ("training", "validation", "test")
_BATCH = 32
# What pyarrow and datasets raise on damaged bytes: names that are no text and metadata that is no JSON among them.
_DAMAGE = (pa.ArrowException, OSError, ValueError, KeyError, TypeError, MemoryError)


@dataclass(frozen=True)
class Violation:
    """
    One rule broken in one place.

    Attributes:
        rule (`str`): Short name of the rule, e.g. `"rating off the scale"`.
        file (`str`): Relative to the data set.
        row (`int`, *optional*): Row of that file, from 0; `None` where the whole file is meant.
        detail (`str`): What stands there, and what was expected.
    """

    rule: str
    file: str
    row: int | None
    detail: str

    def __str__(self) -> str:
        place = self.file if self.row is None else f"{self.file}, row {self.row}"
        return f"{place}: {self.rule}: {self.detail}"


@dataclass(frozen=True)
class ValidationReport:
    """
    What was checked and what was found.

    Attributes:
        counts (`dict[str, int]`): Config to the number of its rows that could be read.
        violations (`list[Violation]`): In the order of the checks: card, files, people, pictures, ratings, splits, contexts, pairs.
    """

    counts: dict[str, int]
    violations: list[Violation]

    def __str__(self) -> str:
        read = ", ".join(f"{count:,} {config}" for config, count in self.counts.items()) or "nothing"
        found = f"{len(self.violations):,} violations" if len(self.violations) != 1 else "1 violation"
        return "\n".join([*map(str, self.violations), f"{found}; read: {read}"])

    def to_dict(self) -> dict[str, Any]:
        """As plain values, for JSON."""
        return asdict(self)


def validate_folder(path: str | Path) -> ValidationReport:
    """
    Checks a data set against every rule of the standard form.

    Args:
        path (`str` or `Path`): The folder.

    Returns:
        [`ValidationReport`]: Without violations if the data set is good. A damaged file is a violation, not an error.

    Raises:
        DataFolderError: There is no such folder.

    Example:

    ```python
    >>> report = validate_folder("path/to/data")  # doctest: +SKIP
    >>> [violation.row for violation in report.violations if violation.rule == "rating off the scale"]  # doctest: +SKIP

    ```
    """
    path = Path(path)
    if not path.is_dir():
        DataFolder(path)  # its own error says what was expected
    try:
        data = DataFolder(path)
    except DataFolderError as error:
        return ValidationReport({}, [Violation("card", "README.md", None, str(error))])
    check = _Check(data)
    check.card()
    check.files()
    check.users()
    check.images()
    ratings = check.ratings()
    if ratings is not None:
        parts = check.splits(ratings)
        check.contexts(ratings)
        check.pairs(parts)
    return ValidationReport(check.counts, check.violations)


@dataclass
class _Check:
    data: DataFolder
    violations: list[Violation] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)
    good_files: dict[tuple[str, str], list[Path]] = field(default_factory=dict)
    unreadable: set[Path] = field(default_factory=set)
    # Names as they are known, in the order of their table, or None where the table cannot be read; `content` numbers equal bytes.
    user_ids: pa.Array | None = None
    image_ids: pa.Array | None = None
    content: np.ndarray | None = None

    def add(self, rule: str, file: str | Path, row: int | None, detail: str) -> None:
        name = Path(file).relative_to(self.data.path).as_posix() if isinstance(file, Path) else file
        self.violations.append(Violation(rule, name, row, detail))

    def add_rows(
        self, rule: str, table: pd.DataFrame, bad: pd.Series | np.ndarray, detail: Callable[[Any], str]
    ) -> None:
        """One violation for each row of `table` where `bad`; `table` says where it stands in `file` and `row`."""
        for entry in table[np.asarray(bad, dtype=bool)].itertuples():
            self.add(rule, entry.file, int(entry.row), detail(entry))

    # -- card and files --

    def card(self) -> None:
        metadata, (low, high) = self.data.metadata, self.data.rating_scale
        if not (math.isfinite(low) and math.isfinite(high) and low < high):
            self.add("card", "README.md", None, f"`pamela.rating_scale` is [{low}, {high}]; expected [low, high]")
        anchors = metadata["pamela"].get("anchors") or []
        for anchor in anchors:
            try:
                value, inside = anchor[0], low <= float(anchor[0]) <= high
            except (TypeError, ValueError, IndexError, KeyError):
                value, inside = anchor, False
            if not inside:
                self.add(
                    "card", "README.md", None, f"the anchor {value!r} is not on the scale from {low:g} to {high:g}"
                )
        names = [config["config_name"] for config in metadata["configs"]]
        for name in sorted({name for name in names if names.count(name) > 1}):
            self.add("card", "README.md", None, f"`configs:` names {name!r} twice")
        for name in ("ratings", "users", "images"):
            if name not in names:
                self.add("card", "README.md", None, f"`configs:` lacks {name!r}")
        for config in ("ratings", "pairs"):
            for split in self._splits(config):
                if split not in SPLITS:
                    self.add("card", "README.md", None, f"{config} have the split {split!r}; known are {list(SPLITS)}")

    def files(self) -> None:
        """Every file that the card names is there, can be opened and has the columns of its config; no other table is there."""
        named: set[Path] = set()
        schemas: dict[str, tuple[Path, pa.Schema]] = {}
        rows: dict[tuple[str, str], int] = {}
        for config in dict.fromkeys(entry["config_name"] for entry in self.data.metadata["configs"]):
            for split in self._splits(config):
                try:
                    files = self.data.files(config, split)
                except DataFolderError as error:
                    self.add("missing file", "README.md", None, str(error))
                    continue
                named.update(files)
                for file in files:
                    opened = self._open(file)
                    if opened is None:
                        continue
                    schema, number = opened
                    rows[config, split] = rows.get((config, split), 0) + number
                    first_file, first = schemas.setdefault(config, (file, schema))
                    good = self._columns(file, schema, config)
                    if not schema.equals(first, check_metadata=False):
                        other = first_file.relative_to(self.data.path).as_posix()
                        self.add(
                            "columns", file, None, f"has not the columns of {other}: {_difference(schema, first)}"
                        )
                    if good:
                        self.good_files.setdefault((config, split), []).append(file)
        for file in sorted(self.data.path.rglob("*.parquet")):
            inside = file.relative_to(self.data.path).parts
            if file in named or any(part.startswith(".") for part in inside):
                continue
            if inside[0] in CONFIGS and inside[0] != "embeddings":  # those need no config where they were made
                self.add(
                    "file not in the card",
                    file,
                    None,
                    "`configs:` does not name it, so `load_dataset` does not see it",
                )
            self._open(file)
        self._dataset_info(schemas, rows)

    def _splits(self, config: str) -> list[str]:
        return [
            entry["split"]
            for named in self.data.metadata["configs"]
            if named["config_name"] == config
            for entry in named["data_files"]
        ]

    def _open(self, file: Path) -> tuple[pa.Schema, int] | None:
        try:
            with pq.ParquetFile(file) as parquet:
                Features.from_arrow_schema(parquet.schema_arrow)
                return parquet.schema_arrow, parquet.metadata.num_rows
        except _DAMAGE as error:
            self._unreadable(file, error)
            return None

    def _unreadable(self, file: Path, error: Exception) -> None:
        if file in self.unreadable:
            return
        self.unreadable.add(file)
        self.add("unreadable file", file, None, f"cut off, damaged or not Parquet ({_one_line(error)})")

    def _columns(self, file: Path, schema: pa.Schema, config: str) -> bool:
        standard = CONFIGS.get(config, {})
        absent = [name for name in standard if name not in schema.names]
        if absent:
            self.add("columns", file, None, f"lacks {absent}; it has {schema.names}")
            return False
        features = Features.from_arrow_schema(schema)
        wrong = [name for name, column in standard.items() if features[name] != column.feature]
        for name in wrong:
            self.add("columns", file, None, f"{name!r} is {features[name]}; expected {standard[name].feature}")
        return not wrong

    def _dataset_info(
        self, schemas: Mapping[str, tuple[Path, pa.Schema]], rows: Mapping[tuple[str, str], int]
    ) -> None:
        """`dataset_info:` is optional; where it stands, `datasets` and the Hub's viewer believe it."""
        infos = self.data.metadata.get("dataset_info") or []
        for info in [infos] if isinstance(infos, dict) else infos:
            config = info.get("config_name", "ratings")
            for split in info.get("splits") or []:
                found = rows.get((config, split["name"]))
                if found is not None and split.get("num_examples") not in (None, found):
                    detail = f"`dataset_info` gives {split['num_examples']} rows for {config} {split['name']}; there are {found}"
                    self.add("card", "README.md", None, detail)
            if info.get("features") and config in schemas:
                stated = Features._from_yaml_list(info["features"])
                actual = Features.from_arrow_schema(schemas[config][1])
                if stated != actual:
                    wrong = sorted(
                        name for name in stated.keys() | actual.keys() if stated.get(name) != actual.get(name)
                    )
                    self.add("card", "README.md", None, f"the features of {config} differ from the files': {wrong}")

    # -- tables --

    def _read(self, config: str, split: str, columns: Iterable[str]) -> Iterator[tuple[Path, pa.Table]]:
        for file in self.good_files.get((config, split), []):
            try:
                with pq.ParquetFile(file, page_checksum_verification=True) as parquet:
                    table = parquet.read(columns=list(columns))
                table.validate(full=True)
            except _DAMAGE as error:
                self._unreadable(file, error)
                continue
            self.counts[config] = self.counts.get(config, 0) + len(table)
            yield file, table

    def _complete(self, config: str) -> bool:
        """Whether every file of a config could be read, so that what is not in them does not exist."""
        try:
            named = [file for split in self._splits(config) for file in self.data.files(config, split)]
        except DataFolderError:
            return False
        good = [file for (name, _), files in self.good_files.items() if name == config for file in files]
        return bool(named) and named == good and not self.unreadable.intersection(named)

    def _rows(self, tables: Iterable[tuple[Path, pa.Table]]) -> pd.DataFrame:
        """Tables one below the other, with `file` and `row`; a null, or an empty name, in a standard column is a violation."""
        frames = []
        for file, table in tables:
            frame = pd.DataFrame({"file": pd.Categorical([file]).repeat(len(table)), "row": np.arange(len(table))})
            for name in table.column_names:
                column = table[name]
                empty = pc.is_null(column, nan_is_null=True)
                if pa.types.is_string(column.type):
                    empty = pc.or_kleene(empty, pc.fill_null(pc.equal(pc.utf8_trim_whitespace(column), ""), False))
                    frame[name] = pd.array(column, dtype=pd.ArrowDtype(pa.string()))
                elif pa.types.is_list(column.type):
                    frame[name] = column.to_pandas()
                else:
                    frame[name] = column.to_numpy()
                if name not in _OPTIONAL:
                    self.add_rows("empty", frame, empty.to_numpy(), _saying(f"no {name}"))
            frames.append(frame)
        if not frames:
            return pd.DataFrame({"file": [], "row": []})
        files = [frame["file"].cat.categories[0] for frame in frames if len(frame)]
        table = pd.concat([frame.drop(columns="file") for frame in frames], ignore_index=True)
        lengths = [len(frame) for frame in frames if len(frame)]
        table["file"] = pd.Categorical.from_codes(np.repeat(np.arange(len(files)), lengths), files)
        return table

    def _own_names(self, table: pd.DataFrame, name: str) -> pa.Array:
        names = table[name].array
        again = table[name].duplicated() & table[name].notna()
        self.add_rows(f"{name} not unique", table, again, lambda entry: f"{getattr(entry, name)!r} stands there twice")
        return pa.array(names, pa.string())

    def _resolve(self, table: pd.DataFrame, column: str, known: pa.Array | None, config: str) -> np.ndarray:
        """Row of each name in the table `config`, -1 where there is none."""
        names = pa.array(table[column].array, pa.string())
        if known is None:  # nothing to compare with: the names among themselves
            return pd.factorize(table[column])[0]
        rows = pc.fill_null(pc.index_in(names, value_set=known, skip_nulls=True), -1).to_numpy(zero_copy_only=False)
        unknown = (rows < 0) & table[column].notna().to_numpy()
        self.add_rows(
            f"unknown {column}", table, unknown, lambda entry: f"{getattr(entry, column)!r} is not in {config}/"
        )
        return rows.astype(np.int64)

    def users(self) -> None:
        table = self._rows(self._read("users", "train", ["user_id"]))
        if "user_id" in table:
            names = self._own_names(table, "user_id")
            self.user_ids = names if self._complete("users") else None

    def images(self) -> None:
        names = ["image_id", "sha256", "width", "height"]
        files = self.good_files.get(("images", "train"), [])
        frames = []
        try:
            total = sum(pq.read_metadata(file).num_rows for file in files)
        except _DAMAGE:
            total = None
        with (
            ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool,
            tqdm(total=total, desc="Checking pictures", unit="picture", disable=None) as progress,
        ):
            for file in files:
                start = 0
                try:
                    with pq.ParquetFile(file, page_checksum_verification=True) as parquet:
                        for batch in parquet.iter_batches(batch_size=_BATCH, columns=[*names, "image"]):
                            batch.validate(full=True)
                            rows = batch.to_pylist()
                            for number, problems in enumerate(pool.map(_picture_problems, rows)):
                                for rule, detail in problems:
                                    self.add(rule, file, start + number, detail)
                            kept = pa.Table.from_batches([batch.select(["image_id", "sha256"])])
                            frames.append((file, kept, start))
                            start += len(rows)
                            progress.update(len(rows))
                except _DAMAGE as error:
                    self._unreadable(file, error)
        tables = [
            (file, pa.concat_tables([table for other, table, _ in frames if other == file]))
            for file in dict.fromkeys(file for file, _, _ in frames)
        ]
        self.counts["images"] = sum(len(table) for _, table in tables)
        table = self._rows(tables)
        if "image_id" in table:
            ids = self._own_names(table, "image_id")
            if self._complete("images"):
                self.image_ids = ids
                self.content = pd.factorize(table["sha256"])[0]

    def ratings(self) -> pd.DataFrame | None:
        """Every rating: where it stands, `rating_id`, and as integers its `split`, `user`, `image` and `content`."""
        low, high = self.data.rating_scale
        frames = []
        for split in self._splits("ratings"):
            table = self._rows(self._read("ratings", split, RATINGS))
            if not len(table):
                continue
            rating, norm = table["rating"].to_numpy(float), table["rating_norm"].to_numpy(float)
            off = ~((rating >= low) & (rating <= high)) & ~_null(table["rating"], rating)
            self.add_rows(
                "rating off the scale",
                table,
                off,
                lambda entry: f"{entry.rating:g} is not from {low:g} to {high:g}",
            )
            with np.errstate(all="ignore"):
                right = (rating - low) / (high - low)
                wrong = ~(np.abs(norm - right) <= 1e-9) & np.isfinite(rating) & ~off
            table["right"] = right
            self.add_rows(
                "rating_norm wrong",
                table,
                wrong & ~_null(table["rating_norm"], norm),
                lambda entry: f"{entry.rating_norm} for the rating {entry.rating:g}; expected {entry.right}",
            )
            table["user"] = self._resolve(table, "user_id", self.user_ids, "users")
            table["image"] = self._resolve(table, "image_id", self.image_ids, "images")
            table["split"] = split
            frames.append(table[["file", "row", "rating_id", "user_id", "image_id", "user", "image", "split"]])
        if not frames:
            return None
        table = _concat(frames)
        if self.user_ids is None:
            table["user"] = pd.factorize(table["user_id"])[0]
        if self.image_ids is None or self.content is None:
            table["image"] = pd.factorize(table["image_id"])[0]
            table["content"] = table["image"]
        else:
            table["content"] = np.where(table["image"] >= 0, self.content[table["image"]], -1)
        again = table["rating_id"].duplicated() & table["rating_id"].notna()
        self.add_rows("rating_id not unique", table, again, lambda entry: f"{entry.rating_id:g} stands there twice")
        again = table.duplicated(["user_id", "image_id"]) & table["user_id"].notna() & table["image_id"].notna()
        self.add_rows(
            "rated twice", table, again, lambda entry: f"{entry.user_id!r} rates {entry.image_id!r} a second time"
        )
        return table

    # -- what may be known of whom --

    def splits(self, ratings: pd.DataFrame) -> tuple[dict[int, int], dict[int, int]]:
        """No person and no picture (by its bytes) on two sides of a split. Returns the part of each person and content."""
        people = ratings[ratings["user"] >= 0]
        pictures = ratings[ratings["content"] >= 0]
        person_part = self._one_part(people, "user", "user_id", PART_OF_PERSON, "person on two sides of the split")
        picture_part = self._one_part(
            pictures, "content", "image_id", PART_OF_PICTURE, "picture on two sides of the split"
        )

        known = pictures[pictures["split"] == "test_context"].drop_duplicates("content")
        test = known["content"].map(lambda content: picture_part.get(content) == 2).to_numpy(bool)
        self.add_rows(
            "picture on two sides of the split", known, test, lambda entry: f"{entry.image_id!r} is a test picture"
        )
        if not self._complete("ratings"):
            return person_part, picture_part
        seen = people[people["split"].isin(["val_seen", "test_seen"])].drop_duplicates("user")
        trained = people.loc[people["split"] == "train", "user"].unique()
        elsewhere = seen["user"].map(lambda user: person_part.get(user) == 0).to_numpy(bool)
        self.add_rows(
            "seen person without a training rating",
            seen,
            ~seen["user"].isin(trained).to_numpy() & elsewhere,
            lambda entry: f"{entry.user_id!r} is in {entry.split} and not in train",
        )
        return person_part, picture_part

    def _one_part(
        self, table: pd.DataFrame, key: str, name: str, part_of_split: Mapping[str, int], rule: str
    ) -> dict[int, int]:
        """Names whoever is in two parts, at the first row of the more held-out one. Returns the most held-out part of each."""
        table = table.assign(part=table["split"].map(part_of_split)).dropna(subset="part")
        first = table.drop_duplicates([key, "part"]).sort_values(["part", "file", "row"], kind="stable")
        for _, places in first[first.duplicated(key, keep=False)].groupby(key, sort=True):
            before, *_, last = places.itertuples()
            other = Path(before.file).relative_to(self.data.path).as_posix()
            here, there = _PART[int(last.part)], _PART[int(before.part)]
            self.add(
                rule,
                last.file,
                int(last.row),
                f"{getattr(last, name)!r} is {here} here and {there} in {other}, row {before.row}",
            )
        return dict(zip(first[key], first["part"].astype(int), strict=True))

    def contexts(self, ratings: pd.DataFrame) -> None:
        if not self._complete("ratings") or self.user_ids is None:
            return  # an id that is not found would say nothing
        ratings = ratings.drop_duplicates("rating_id")
        row_of = pd.Index(ratings["rating_id"])
        split, user, content = (ratings[name].to_numpy() for name in ("split", "user", "content"))
        queries = {
            key: rows["content"].to_numpy()
            for key, rows in ratings[ratings["split"].isin(UNSEEN)].groupby(["split", "user"])
        }
        seen: set[tuple[str, str, int, str]] = set()
        for protocol in self._splits("contexts"):
            table = self._rows(self._read("contexts", protocol, CONTEXTS))
            if not len(table):
                continue
            table["user"] = self._resolve(table, "user_id", self.user_ids, "users")
            for draw in table.dropna(subset=["rating_ids", "user_id", "split", "protocol"]).itertuples():

                def bad(rule: str, detail: str, draw: Any = draw) -> None:
                    self.add(rule, draw.file, int(draw.row), detail)

                if draw.protocol != protocol or protocol not in PROTOCOLS:
                    bad(
                        "context protocol",
                        f"{draw.protocol!r} in the file of {protocol!r}; known are 'train' and 'query'",
                    )
                    continue
                if draw.split not in UNSEEN:
                    bad("context split", f"{draw.split!r}; expected 'val_unseen' or 'test_unseen'")
                    continue
                key = (draw.protocol, draw.split, draw.draw, draw.user_id)
                if key in seen:
                    bad(
                        "context drawn twice",
                        f"draw {draw.draw} of {draw.user_id!r} in {draw.split} stands there twice",
                    )
                seen.add(key)
                ids = np.asarray(draw.rating_ids)
                rows = row_of.get_indexer(ids)
                if (rows < 0).any():
                    bad("unknown rating_id in context", f"there is no rating {_some(ids[rows < 0])}")
                if len(np.unique(ids)) < len(ids):
                    bad("rating twice in context", f"{_some(ids[pd.Series(ids).duplicated()])}")
                rows = rows[rows >= 0]
                foreign = rows[user[rows] != draw.user]
                if len(foreign) and draw.user >= 0:
                    numbers = ratings["rating_id"].to_numpy()[foreign]
                    bad("context of another person", f"rating {_some(numbers)} is not of {draw.user_id!r}")
                source = draw.split if protocol == "query" else draw.split.replace("_unseen", "_context")
                own = rows[user[rows] == draw.user]
                outside = own[split[own] != source]
                if len(outside):
                    numbers = ratings["rating_id"].to_numpy()[outside]
                    bad("context from another split", f"rating {_some(numbers)} is not in {source}")
                asked = queries.get((draw.split, draw.user), np.array([], dtype=np.int64))
                known = content[own[split[own] == source]]
                if protocol == "query":
                    # The context itself is in the split: each of its ratings takes one query of that content away.
                    asked = np.repeat(*_remaining(asked, known))
                if not len(asked):
                    bad("no queries left", f"{draw.user_id!r} has no rating in {draw.split} outside the context")
                elif np.isin(known, asked).any():
                    bad("context picture is a query", f"a picture in the context of {draw.user_id!r} is asked as well")

    def pairs(self, parts: tuple[dict[int, int], dict[int, int]]) -> None:
        person_part, picture_part = parts
        frames = []
        for split in self._splits("pairs"):
            table = self._rows(self._read("pairs", split, PAIRS))
            if not len(table):
                continue
            self.add_rows(
                "choice",
                table,
                ~table["choice"].isin(CHOICES) & table["choice"].notna(),
                lambda entry: f"{entry.choice!r}; expected one of {list(CHOICES)}",
            )
            same = (table["left_id"] == table["right_id"]).fillna(False).to_numpy(bool)
            self.add_rows("pair of one picture", table, same, lambda entry: f"{entry.left_id!r} on both sides")
            user = self._resolve(table, "user_id", self.user_ids, "users")
            sides = [self._resolve(table, side, self.image_ids, "images") for side in ("left_id", "right_id")]
            frames.append(table)
            if split not in PART_OF_PERSON or self.user_ids is None or self.content is None:
                continue
            other = np.array([person_part.get(name, PART_OF_PERSON[split]) != PART_OF_PERSON[split] for name in user])
            self.add_rows(
                "person on two sides of the split",
                table,
                other & (user >= 0),
                _saying(f"not a {_PART[PART_OF_PERSON[split]]} person, as the split asks for"),
            )
            held_out = [[picture_part.get(self.content[row], 0) if row >= 0 else 0 for row in side] for side in sides]
            self.add_rows(
                "picture on two sides of the split",
                table,
                np.max(held_out, axis=0) > _MOST_HELD_OUT[split],
                lambda entry: f"{entry.left_id!r} or {entry.right_id!r} is more held out than this split",
            )
        if frames:
            table = _concat(frames)
            again = table["pair_id"].duplicated() & table["pair_id"].notna()
            self.add_rows("pair_id not unique", table, again, lambda entry: f"{entry.pair_id:g} stands there twice")


def _picture_problems(row: Mapping[str, Any]) -> list[tuple[str, str]]:
    content = (row["image"] or {}).get("bytes")
    if content is None:
        return [("picture without bytes", f"{row['image_id']!r} holds no picture; its bytes belong inside the file")]
    problems = []
    digest = hashlib.sha256(content).hexdigest()
    if digest != row["sha256"]:
        problems.append(
            ("hash wrong", f"the bytes of {row['image_id']!r} have the SHA-256 {digest}, not {row['sha256']}")
        )
    try:
        size = open_image(content).size
    except ImageError as error:
        return [*problems, ("picture cannot be decoded", f"{row['image_id']!r}: {error.reason}")]
    if size != (row["width"], row["height"]):
        stated = f"{row['width']} x {row['height']}"
        problems.append(("size wrong", f"{row['image_id']!r} has {size[0]} x {size[1]} pixels, not {stated}"))
    return problems


def _remaining(asked: np.ndarray, known: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Distinct contents of the queries and how often each is left when the context is taken out."""
    values, counts = np.unique(asked, return_counts=True)
    taken = pd.Series(known).value_counts().reindex(values, fill_value=0).to_numpy()
    return values, np.maximum(counts - taken, 0)


def _saying(detail: str) -> Callable[[Any], str]:
    """The same detail for every row."""
    return lambda _: detail


def _null(column: pd.Series, values: np.ndarray) -> np.ndarray:
    """Nulls became NaN and were reported as empty; nothing else is to be said of them."""
    return column.isna().to_numpy() & np.isnan(values)


def _concat(frames: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Below each other, files staying categories."""
    files = pd.api.types.union_categoricals([frame["file"].array for frame in frames])
    return pd.concat([frame.drop(columns="file") for frame in frames], ignore_index=True).assign(file=files)


def _some(numbers: np.ndarray) -> str:
    more = f" and {len(numbers) - 3} more" if len(numbers) > 3 else ""
    return ", ".join(f"{number:g}" for number in numbers[:3]) + more


def _difference(schema: pa.Schema, other: pa.Schema) -> str:
    mine, others = ({(field.name, str(field.type)) for field in each} for each in (schema, other))
    return str(sorted(mine ^ others)) if mine ^ others else "another order"


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
