"""
Splits by people and pictures, and fixed context draws.

People and pictures are each parted into train, validation and test, by one seed. Together they make nine cells, so that
no person of an unseen split and no picture of a validation or test split is ever in `train`:

| | training pictures | validation pictures | test pictures |
|---|---|---|---|
| training people | `train` | `val_seen` | `test_seen` |
| validation people | `val_context` | `val_unseen` | `reserve` |
| test people | `test_context` | `test_context` | `test_unseen` |

A picture is its bytes: two names of the same bytes go to the same side. A training person without a rating in `train` would
not be seen, so their ratings go to `reserve` too. A comparison of two pictures is as held out as the more held-out of them.

A data set may come with parts of its own, in a column of the people or pictures that holds `train`, `val` or `test`. Validation is
drawn from the training part where the column names none, and who or what is in no part goes to `reserve`. Where every single
rating has its published split, contexts are all that is drawn.

For each unseen split, contexts are drawn in two protocols ([`~modeling_pamela.data.folder.ContextDraw`]). `query` is the
paper's (PAMELA, arXiv 2604.07427): known ratings are taken from the query split and left out of the queries. `train` takes them from
other pictures, so every rating of the split is a query. Either way the queries do not depend on how many known ratings are used.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from .files import DataError, atomic_folder, link_tree
from .folder import DataFolder, check_target, data_configs, write_card
from .schema import (
    CONTEXTS,
    PAIRS,
    PART_OF_PERSON,
    PART_OF_PICTURE,
    PROTOCOLS,
    RATINGS,
    SPLITS,
    UNSEEN,
    arrow_schema,
)


__all__ = ["SplitError", "SplitOptions", "SplitSummary", "split_folder"]

# Cell of (part of the people, part of the pictures): 0 train, 1 validation, 2 test.
_CELLS = np.array(
    [
        ["train", "val_seen", "test_seen"],
        ["val_context", "val_unseen", "reserve"],
        ["test_context", "test_context", "test_unseen"],
    ],
    dtype=object,
)
# What is in no part is used by nobody.
_CELLS = np.pad(_CELLS, (0, 1), constant_values="reserve")
_PARTS = ("train", "val", "test")
_NO_PART = 3
# Independent random streams of one seed, so that an option of one does not move the others.
_USERS, _PICTURES, _CONTEXTS = range(3)


class SplitError(DataError):
    """A data set cannot be split as asked."""


@dataclass(frozen=True)
class SplitOptions:
    """
    How to split. Written to the card, so that the same options give the same splits again.

    Args:
        seed (`int`): 0 or more.
        test_users, val_users (`int` or `float`): People with ratings: a number of them, or a fraction between 0 and 1.
        test_pictures, val_pictures (`int` or `float`):
            Pictures with ratings: a number or a fraction. **In each value of `group`**, where that is given.
        group (`str`, *optional*):
            Column of the pictures. Where each person rated one of several sets of pictures, naming the set here makes sure
            that every person has test pictures. Null is a value of its own.
        draws (`int`): Context draws per protocol, split and person.
        max_query_context (`int`): Ratings taken from the query split as context in the protocol `query`.
        min_queries (`int`): A person who would keep fewer queries gets no contexts.
        leave_out (`str`, *optional*):
            `"COLUMN=VALUE"`: all pictures with this value, and no others, are test pictures, so that a model never saw their kind. People are
            then known by some of these (contexts of protocol `query`) or by others only (`train`). `test_pictures` is not used.
        users_from, pictures_from (`str`, *optional*):
            Column of the people or pictures that says their part; `test_*` is not used then, nor `val_*` if the column has a `val`.
        ratings_from (`str`, *optional*): Column of the ratings that says their split; no size is used then.
    """

    seed: int
    test_users: int | float = 0.2
    val_users: int | float = 0.1
    test_pictures: int | float = 0.25
    val_pictures: int | float = 0.125
    group: str | None = None
    draws: int = 5
    max_query_context: int = 15
    min_queries: int = 5
    users_from: str | None = None
    pictures_from: str | None = None
    ratings_from: str | None = None
    leave_out: str | None = None


@dataclass(frozen=True)
class SplitSummary:
    """
    What a split gave.

    Attributes:
        counts (`dict[str, tuple[int, int, int]]`): Split to its ratings, people and pictures.
        left_out (`dict[tuple[str, str], list[str]]`):
            Protocol and split to the people with ratings in the split who have too few for a context draw.
    """

    counts: dict[str, tuple[int, int, int]]
    left_out: dict[tuple[str, str], list[str]]

    def __str__(self) -> str:
        lines = [f"{'split':<13}{'ratings':>9}{'people':>9}{'pictures':>10}"]
        for split, (ratings, users, pictures) in self.counts.items():
            lines.append(f"{split:<13}{ratings:>9,}{users:>9,}{pictures:>10,}  {SPLITS[split]}")
        for (protocol, split), names in self.left_out.items():
            if names:
                lines.append(
                    f"{split}, protocol {protocol!r}: {len(names):,} people have too few ratings: {', '.join(names)}"
                )
        return "\n".join(lines)


def split_folder(
    folder: str | Path, options: SplitOptions, out: str | Path | None = None, overwrite: bool = False
) -> SplitSummary:
    """
    Splits a data set, or splits it again: all its ratings are read back first, so nothing of an earlier split stays, and no
    preview, which shows ratings of one split.

    Args:
        folder (`str` or `Path`): A data set in the standard form.
        options ([`SplitOptions`]): Seed and sizes.
        out (`str` or `Path`, *optional*):
            Folder to write; pictures and embeddings are hard-linked into it where the file system can. By default `folder` itself.
            Either appears only once it is whole.
        overwrite (`bool`): Replace a data set that stands at `out`. Its embeddings are kept.

    Returns:
        [`SplitSummary`]

    Raises:
        SplitError: The sizes do not fit the data set, a split that was asked for would be empty, or options exclude each other.
        DataFolderError: `folder` is no data set, or `out` is taken.
    """
    if options.leave_out is not None and (options.pictures_from or options.ratings_from):
        raise SplitError(
            "What is left out decides which pictures are test pictures; so do pictures_from and ratings_from. Give one."
        )
    data = DataFolder(folder)
    source = data.path.resolve()
    target = source if out is None else Path(out).resolve()
    if target != source:
        check_target(target, overwrite)
        if source.is_relative_to(target) or target.is_relative_to(source):
            raise SplitError(f"{target} and {source} lie inside each other. Choose another folder for --out.")

    table = pa.concat_tables([data.table("ratings", split) for split in data.splits])
    ratings = data.ratings(*data.splits)
    order = np.argsort(ratings.rating_id)  # the same for whatever split stood there before
    table, users, pictures = table.take(order), ratings.user[order], ratings.image[order]
    content = pd.factorize(data.images["sha256"].to_numpy())[0]

    if options.ratings_from is None:
        part_of_user = _part_users(data, users, options)
        part_of_picture = _part_pictures(data, content, np.unique(content[pictures]), options)
        cell = _CELLS[part_of_user[users], part_of_picture[pictures]]
        trained = np.isin(users, users[cell == "train"])
        cell = np.where((part_of_user[users] == 0) & ~trained, "reserve", cell)
        _check_cells(cell, options)
    else:
        cell = _published_cells(table, options.ratings_from)
        part_of_user = _part_of_each(cell, users, len(data.user_ids), PART_OF_PERSON)
        part_of_picture = _part_of_each(cell, pictures, len(data.image_ids), PART_OF_PICTURE)
    pairs = _split_pairs(data, part_of_user, part_of_picture)

    frame = pd.DataFrame(
        {"rating_id": ratings.rating_id[order], "user": users, "content": content[pictures], "split": cell}
    )
    contexts: dict[str, pa.Table] = {}
    left_out: dict[tuple[str, str], list[str]] = {}
    known_elsewhere = np.isin(cell, ("val_context", "test_context")).any()
    for protocol in PROTOCOLS if known_elsewhere else ("query",):
        rows = []
        for split in UNSEEN:
            drawn, too_few = _draw_contexts(frame, protocol, split, options)
            rows += [(protocol, split, draw, data.user_ids[user], ids) for draw, user, ids in drawn]
            left_out[protocol, split] = [data.user_ids[user] for user in too_few]
        contexts[protocol] = pa.Table.from_pylist(
            [dict(zip(CONTEXTS, row, strict=True)) for row in rows], schema=arrow_schema(CONTEXTS)
        )

    schema = arrow_schema(RATINGS, table.schema)
    counts = {}
    with atomic_folder(target) as new:
        link_tree(source, new, skip=frozenset({"ratings", "pairs", "contexts", "preview"}))
        if (target / "embeddings").is_dir():  # named by what they embed, so they stay true whatever is replaced
            link_tree(target / "embeddings", new / "embeddings")
        (new / "ratings").mkdir()
        (new / "contexts").mkdir()
        for split in SPLITS:
            here = cell == split
            if here.any():
                pq.write_table(table.filter(pa.array(here)).cast(schema), new / "ratings" / f"{split}.parquet")
                counts[split] = (int(here.sum()), len(np.unique(users[here])), len(np.unique(pictures[here])))
        for split, chosen in pairs.items():
            (new / "pairs").mkdir(exist_ok=True)
            pq.write_table(chosen, new / "pairs" / f"{split}.parquet")
        for protocol, draws in contexts.items():
            pq.write_table(draws, new / "contexts" / f"{protocol}.parquet")
        configs = data_configs(counts, contexts, pairs)
        replaced = {"pairs", "contexts", "preview", *(config["config_name"] for config in configs)}
        configs += [config for config in data.metadata["configs"] if config["config_name"] not in replaced]
        metadata = data.metadata | {"configs": configs}
        metadata["pamela"] = metadata["pamela"] | {"split": asdict(options)}
        write_card(new, metadata)
    return SplitSummary(counts, left_out)


def _number(size: int | float, total: int, option: str, of: str) -> int:
    if isinstance(size, float):
        if not 0 < size < 1:
            raise SplitError(f"{option} is a whole number, or a fraction between 0 and 1; got {size}.")
        return int(size * total + 0.5)
    if size < 0:
        raise SplitError(f"{option} cannot be negative; got {size}. {of} has {total}.")
    return size


def _parts(
    names: np.ndarray, sizes: tuple[int | float, int | float], options: tuple[str, str], of: str, stream: list[int]
) -> tuple[np.ndarray, np.ndarray]:
    """Draws test and validation from `names`."""
    test, val = (_number(size, len(names), option, of) for size, option in zip(sizes, options, strict=True))
    if test + val >= len(names):
        raise SplitError(
            f"{of} has {len(names)}, so {test} for {options[0]} and {val} for {options[1]} leave none for training. "
            f"Ask for fewer."
        )
    order = np.random.default_rng(stream).permutation(names)
    return order[:test], order[test : test + val]


def _parts_from(table: pa.Table, column: str, of: str) -> np.ndarray:
    """Parts that a column of `users` or `images` says: int64, one a row."""
    if column not in table.column_names:
        raise SplitError(f"The {of} have no column {column!r} to take parts from; they have {table.column_names}.")
    values = table[column].cast(pa.string())
    odd = [value for value in pc.unique(values).to_pylist() if value not in (*_PARTS, None)]
    if odd:
        raise SplitError(f"{column!r} of the {of} holds {odd[:5]}; expected {', '.join(_PARTS)} or null.")
    return pc.fill_null(pc.index_in(values, value_set=pa.array(_PARTS)), _NO_PART).to_numpy().astype(np.int64)


def _part_users(data: DataFolder, users: np.ndarray, options: SplitOptions) -> np.ndarray:
    """Part of each person, 0 train, 1 validation, 2 test, 3 none: int64 of shape `[users]`."""
    part = np.zeros(len(data.user_ids), dtype=np.int64)
    sizes = options.test_users, options.val_users
    if options.users_from is not None:
        part = _parts_from(data.users, options.users_from, "people")
        sizes = 0, 0 if (part == 1).any() else options.val_users
    rated = np.unique(users)
    test, val = _parts(
        rated[part[rated] == 0],
        sizes,
        ("test_users", "val_users"),
        "The set of people with ratings",
        [options.seed, _USERS],
    )
    part[test], part[val] = 2, 1
    return part


def _part_pictures(data: DataFolder, content: np.ndarray, rated: np.ndarray, options: SplitOptions) -> np.ndarray:
    """Part of each picture, 0 train, 1 validation, 2 test, 3 none: int64 of shape `[pictures]`."""
    part = np.zeros(content.max() + 1, dtype=np.int64)  # of each distinct picture
    sizes = options.test_pictures, options.val_pictures
    if options.pictures_from is not None:
        named = _parts_from(data.images, options.pictures_from, "pictures")
        np.maximum.at(part, content, named)  # one picture under two names is as held out as the more held-out
        sizes = 0, 0 if (named == 1).any() else options.val_pictures
    elif options.leave_out is not None:
        np.maximum.at(part, content, 2 * _is_left_out(data, options.leave_out))
        sizes = 0, options.val_pictures
    groups = np.zeros(len(content), dtype=np.int64)
    names = ["The set of pictures with ratings"]
    if options.group is not None:
        if options.group not in data.images.column_names:
            raise SplitError(
                f"The pictures have no column {options.group!r} to group by; they have {data.images.column_names}."
            )
        values = data.images[options.group].to_pandas().astype(object)
        groups, found = pd.factorize(values, use_na_sentinel=False)
        names = [f"{options.group} {value!r}" for value in found]
    first = np.unique(content, return_index=True)[1]  # a picture under two names belongs to the group of the first
    group_of_content = groups[first]
    free = rated[part[rated] == 0]
    for number, name in enumerate(names):
        members = free[group_of_content[free] == number]
        if len(members) == 0:
            continue
        test, val = _parts(
            members,
            sizes,
            ("test_pictures", "val_pictures"),
            name,
            [options.seed, _PICTURES, number],
        )
        part[test], part[val] = 2, 1
    return part[content]


def _is_left_out(data: DataFolder, text: str) -> np.ndarray:
    """Which pictures have the value: bool, one a row of `images`."""
    column, _, value = text.partition("=")
    if column not in data.images.column_names:
        raise SplitError(
            f"leave_out is {text!r}; expected COLUMN=VALUE, with a column of the pictures: {data.images.column_names}."
        )
    values = data.images[column].cast(pa.string())
    chosen = pc.fill_null(pc.equal(values, value), False).to_numpy()
    if not chosen.any():
        raise SplitError(
            f"No picture has {text!r}; {column!r} holds {sorted(map(str, pc.unique(values).to_pylist()))[:20]}."
        )
    return chosen


def _published_cells(table: pa.Table, column: str) -> np.ndarray:
    if column not in table.column_names:
        raise SplitError(f"The ratings have no column {column!r} to take splits from; they have {table.column_names}.")
    cell = table[column].to_numpy(zero_copy_only=False).astype(object)
    odd = sorted({str(value) for value in pd.unique(cell) if value not in SPLITS})
    if odd:
        raise SplitError(f"{column!r} of the ratings holds {', '.join(odd[:5])}; expected {', '.join(SPLITS)}.")
    return cell


def _part_of_each(cell: np.ndarray, rows: np.ndarray, total: int, parts: Mapping[str, int]) -> np.ndarray:
    """The most held-out part that the ratings of each person or picture are in: int64 of shape `[total]`."""
    part = np.full(total, -1, dtype=np.int64)
    np.maximum.at(part, rows, pd.Series(cell).map(parts).fillna(-1).to_numpy(np.int64))
    return np.where(part < 0, _NO_PART, part)


def _split_pairs(data: DataFolder, part_of_user: np.ndarray, part_of_picture: np.ndarray) -> dict[str, pa.Table]:
    if not data.pair_splits:
        return {}
    table = pa.concat_tables([data.table("pairs", split) for split in data.pair_splits]).sort_by("pair_id")
    table = table.cast(arrow_schema(PAIRS, table.schema))
    user = pc.index_in(table["user_id"], value_set=data.users["user_id"]).to_numpy()
    left, right = (
        part_of_picture[pc.index_in(table[side], value_set=data.images["image_id"]).to_numpy()]
        for side in ("left_id", "right_id")
    )
    cell = _CELLS[part_of_user[user], np.maximum(left, right)]
    chosen = {split: table.filter(pa.array(cell == split)) for split in SPLITS}
    return {split: rows for split, rows in chosen.items() if len(rows)}


def _check_cells(cell: np.ndarray, options: SplitOptions) -> None:
    wanted = {
        "train": True,
        "val_seen": bool(options.val_pictures),
        "val_unseen": bool(options.val_users and options.val_pictures),
        "test_seen": bool(options.test_pictures),
        "test_unseen": bool(options.test_users and options.test_pictures),
    }
    empty = [split for split, asked in wanted.items() if asked and not (cell == split).any()]
    if empty:
        raise SplitError(
            f"No rating would be in {', '.join(empty)} ({'; '.join(SPLITS[split] for split in empty)}). Ask for more people or "
            f"pictures, or try another seed."
        )


def _draw_contexts(
    frame: pd.DataFrame, protocol: str, split: str, options: SplitOptions
) -> tuple[list[tuple[int, int, np.ndarray]], list[int]]:
    """Draws (draw, user, rating_ids) for everyone with enough ratings in `split`, and lists the others."""
    here = frame[frame["split"] == split]
    queries = here.groupby("user").size()
    if protocol == "train":
        known, size = frame[frame["split"] == split.replace("_unseen", "_context")], None
    else:
        # Where a person rated the same picture under two names, known and asked must not be the same picture.
        known, size = here[~here.duplicated(["user", "content"], keep=False)], options.max_query_context
        queries = queries - options.max_query_context
    pools = {user: rows.to_numpy() for user, rows in known.groupby("user")["rating_id"] if len(rows) >= (size or 1)}
    enough = [user for user in queries.index[queries >= options.min_queries] if user in pools]
    stream = [options.seed, _CONTEXTS, PROTOCOLS.index(protocol), UNSEEN.index(split)]
    drawn = [
        (draw, user, np.random.default_rng([*stream, draw, user]).permutation(pools[user])[:size])
        for draw in range(options.draws)
        for user in enough
    ]
    return drawn, [user for user in queries.index if user not in set(enough)]
