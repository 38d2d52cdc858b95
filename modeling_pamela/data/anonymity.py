"""
k-anonymity of the people in a data set (Sweeney 2002, "k-anonymity: a model for protecting privacy"): how many share each
combination of demographics, and coarser demographics under which at least k do.

It says nothing of what ratings themselves give away: who knows some of a person's ratings may find the rest.
"""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from .files import DataError, atomic_folder, link_tree
from .folder import DataFolder, check_target, open_parquet, write_card
from .schema import USERS, arrow_schema


__all__ = ["OTHER", "AnonymityReport", "Step", "anonymity_report", "band", "coarsen", "coarsen_folder"]

OTHER = "other"
_WIDTHS = (5, 10, 20, 40)
# A number with fewer values than this is a grade, not a quantity: it is merged like a category.
_MANY_VALUES = 12


@dataclass(frozen=True)
class AnonymityReport:
    """
    How many people share each combination of values; a missing value is a value like others.

    Attributes:
        wanted (`int`): The k asked for.
        k (`int`): People in the smallest group; 0 without people.
        people, groups (`int`): How many there are.
        exposed (`int`): People in groups smaller than `wanted`.
        alone (`dict[str, int]`): Column to the people whom this column alone puts into a group smaller than `wanted`.
        without (`dict[str, int]`): Column to the people who would still be exposed if it were dropped.
    """

    wanted: int
    k: int
    people: int
    groups: int
    exposed: int
    alone: dict[str, int]
    without: dict[str, int]

    def __str__(self) -> str:
        lines = [
            f"k = {self.k}: {self.people:,} people in {self.groups:,} groups; {self.exposed:,} people are in groups smaller than "
            f"{self.wanted}"
        ]
        if self.alone:
            lines.append(f"{'column':<20}{'exposed by it alone':>22}{'still exposed without it':>28}")
            lines += [f"{name:<20}{self.alone[name]:>22,}{self.without[name]:>28,}" for name in self.alone]
        return "\n".join(lines)


@dataclass(frozen=True)
class Step:
    """
    One column made coarser.

    Attributes:
        column (`str`): Its name.
        to (`str`): What it became.
        bits (`float`): Information lost, bits a person: the fall of the column's entropy.
    """

    column: str
    to: str
    bits: float


def anonymity_report(users: pa.Table, k: int, columns: Iterable[str] | None = None) -> AnonymityReport:
    """
    Counts the people in each group of equal demographics.

    Args:
        users (`pa.Table`): One row a person.
        k (`int`): Wanted size of the smallest group.
        columns (iterable of `str`, *optional*): By which a person could be recognised. By default all but `user_id`.

    Returns:
        [`AnonymityReport`]

    Raises:
        DataError: There is no such column.

    Example:

    ```python
    >>> users = pa.table({"user_id": ["a", "b", "c"], "gender": ["f", "f", "m"], "age": [30, 30, 41]})
    >>> report = anonymity_report(users, k=2)
    >>> report.k, report.exposed, report.without
    (1, 1, {'gender': 1, 'age': 1})

    ```
    """
    frame = _frame(users, columns)
    sizes = _group_sizes(frame)
    return AnonymityReport(
        wanted=k,
        k=int(sizes.min()) if len(sizes) else 0,
        people=len(frame),
        groups=len(frame.drop_duplicates()) if frame.shape[1] else min(1, len(frame)),
        exposed=int((sizes < k).sum()),
        alone={name: int((_group_sizes(frame[[name]]) < k).sum()) for name in frame},
        without={name: int((_group_sizes(frame.drop(columns=name)) < k).sum()) for name in frame},
    )


def coarsen(users: pa.Table, k: int, columns: Iterable[str] | None = None) -> tuple[pa.Table, list[Step]]:
    """
    Makes demographics coarser until everybody shares them with at least k - 1 others.

    A quantity goes to bands of 5, 10, 20 and 40, any other column merges its rarest values into `"other"`, one more at a time;
    last a column is dropped. Each step is the one that loses the fewest bits for each person it brings into a group of k. At
    the end, columns that went further than the others made necessary are taken back. The same people give the same result.

    Args:
        users (`pa.Table`): One row a person.
        k (`int`): Wanted size of the smallest group.
        columns (iterable of `str`, *optional*): The columns to coarsen. By default all but `user_id`.

    Returns:
        `tuple[pa.Table, list[Step]]`: The table with the same rows, and what became of each column that changed.

    Raises:
        DataError: There are fewer than k people, or there is no such column.
    """
    frame = _frame(users, columns)
    if len(frame) < k:
        raise DataError(f"There are {len(frame)} people, so they cannot be in groups of {k}. Ask for a smaller k.")
    levels = {name: _levels(users[name].to_pandas(), k) for name in frame}
    chosen = dict.fromkeys(levels, 0)

    def exposed(choice: dict[str, int]) -> int:
        current = pd.DataFrame({name: levels[name][level][1] for name, level in choice.items()}, index=frame.index)
        return int((_group_sizes(current) < k).sum())

    def bits(name: str, start: int, end: int) -> float:
        return _entropy(levels[name][start][1]) - _entropy(levels[name][end][1])

    now = exposed(chosen)
    while now:
        candidates = []
        for name, level in chosen.items():
            if level + 1 < len(levels[name]):
                then = exposed(chosen | {name: level + 1})
                loss = bits(name, level, level + 1)
                # Where nobody is brought into a group, the cheapest step is a step towards one that does.
                candidates.append((then >= now, loss / (now - then) if then < now else loss, name, then))
        _, _, name, now = min(candidates)
        chosen[name] += 1
    for name in sorted(chosen, key=lambda name: -bits(name, 0, chosen[name])):
        while chosen[name] and not exposed(chosen | {name: chosen[name] - 1}):
            chosen[name] -= 1

    table, steps = users, []
    for name, level in chosen.items():
        if level == 0:
            continue
        to, values = levels[name][level]
        column = table.column_names.index(name)
        if to == _DROPPED:
            table = table.remove_column(column)
        else:
            table = table.set_column(column, name, pa.array(values, pa.string(), from_pandas=True))
        steps.append(Step(name, to, round(bits(name, 0, level), 4)))
    return table, steps


def coarsen_folder(
    folder: str | Path, out: str | Path, k: int, columns: Sequence[str] | None = None, *, overwrite: bool = False
) -> AnonymityReport:
    """
    Writes a data set whose people are [`coarsen`]ed; pictures and ratings are those of `folder`.

    What would still give the finer values away is left out: `rejected.parquet` (rows as they stood in the source), embedded texts
    (`pamela embed` makes those of the people anew), and columns of the ratings that have the name of a coarsened one.
    `pamela.anonymity` in the front matter says what was done.

    Args:
        folder (`str` or `Path`): A data set in the standard form.
        out (`str` or `Path`): Another folder; it appears only once it is whole.
        k (`int`): Wanted size of the smallest group.
        columns (`Sequence[str]`, *optional*): The columns to coarsen. By default all of the people's but `user_id`.
        overwrite (`bool`): Replace a data set that stands at `out`.

    Returns:
        [`AnonymityReport`]: Of the people as written.

    Raises:
        DataError: There are fewer than k people, or no such column, or `out` is in the way of `folder`.
        DataFolderError: `folder` is no data set, or `out` is taken.
    """
    data = DataFolder(folder)
    source, target = data.path.resolve(), Path(out).resolve()
    check_target(target, overwrite)
    if source.is_relative_to(target) or target.is_relative_to(source):
        raise DataError(
            f"{target} and {source} lie inside each other. Choose another folder for the coarsened data set."
        )
    columns = list(_frame(data.users, columns))
    table, steps = coarsen(data.users, k, columns)
    left = [name for name in columns if name in table.column_names]
    report = anonymity_report(table, k, left)
    changed = {step.column for step in steps}

    with atomic_folder(target) as new:
        # Cards and plots describe the finer people.
        link_tree(source, new, skip=frozenset({"users", "rejected.parquet", "assets", "README.md"}))
        for file in (new / "embeddings").rglob("part-text-*.parquet"):
            file.unlink()
        for file in [*new.glob("ratings/*.parquet"), *new.glob("pairs/*.parquet"), *new.glob("preview/*.parquet")]:
            with open_parquet(file) as parquet:
                given_away = [name for name in parquet.schema_arrow.names if name in changed]
                rest = parquet.read().drop(given_away) if given_away else None
            if rest is not None:
                file.unlink()  # it may be the source's own, hard-linked
                pq.write_table(rest.cast(arrow_schema({}, rest.schema)), file)
        (new / "users").mkdir()
        pq.write_table(table.cast(arrow_schema(USERS, table.schema)), new / "users" / "train.parquet")
        configs = [config for config in data.metadata["configs"] if config["config_name"] != "users"]
        users = {"config_name": "users", "data_files": [{"split": "train", "path": "users/train.parquet"}]}
        done = {"k": k, "columns": columns, "steps": [asdict(step) for step in steps]}
        metadata = {name: value for name, value in data.metadata.items() if name != "dataset_info"}
        metadata["configs"] = [*configs[:1], users, *configs[1:]]
        metadata["pamela"] = metadata["pamela"] | {"anonymity": done}
        write_card(new, metadata, "")
    return report


def band(values: pd.Series, width: int) -> pd.Series:
    """
    Numbers as bands such as `"20-29"`, missing ones as `None`.

    Example:

    ```python
    >>> band(pd.Series([19, 20, 29.5, None]), 10).tolist()
    ['10-19', '20-29', '20-29', None]

    ```
    """
    low = np.floor(values.astype(float) / width) * width
    return pd.Series(
        [None if np.isnan(start) else f"{start:.0f}-{start + width - 1:.0f}" for start in low],
        index=values.index,
        dtype=object,
    )


_DROPPED = "dropped"


def _frame(users: pa.Table, columns: Iterable[str] | None) -> pd.DataFrame:
    """The columns as integers, one for each distinct value, missing ones among them."""
    names = list(dict.fromkeys(columns)) if columns is not None else [n for n in users.column_names if n not in USERS]
    absent = [name for name in names if name not in users.column_names or name in USERS]
    if absent:
        known = [name for name in users.column_names if name not in USERS]
        raise DataError(f"The people have no column {absent} to be recognised by; they have {known}.")
    codes = {name: pd.factorize(users[name].to_pandas(), use_na_sentinel=False)[0] for name in names}
    return pd.DataFrame(codes, index=pd.RangeIndex(len(users)))


def _group_sizes(frame: pd.DataFrame) -> np.ndarray:
    """Size of the group of each person."""
    if not frame.shape[1]:
        return np.full(len(frame), len(frame))
    return frame.groupby(list(frame), dropna=False, sort=False)[frame.columns[0]].transform("size").to_numpy()


def _entropy(values: pd.Series) -> float:
    share = values.value_counts(dropna=False, normalize=True).to_numpy()
    return float(-(share * np.log2(share)).sum())


def _levels(values: pd.Series, k: int) -> list[tuple[str, pd.Series]]:
    """A column ever coarser: what it becomes, and its values; the last tells people apart no more."""
    if pd.api.types.is_numeric_dtype(values) and values.nunique() >= _MANY_VALUES:
        levels = [("as given", values)]
        levels += [(f"bands of {width}", band(values, width)) for width in _WIDTHS]
    else:
        named = values.map(lambda value: f"{value:g}" if isinstance(value, float) else str(value), na_action="ignore")
        levels = [("as given", named)]
        counts = named.value_counts(dropna=False)
        # Missing values stay missing unless they are as rare as what is merged.
        rarest = sorted(counts.index, key=lambda name: (counts[name], str(name)))
        first = max(2, int((counts < k).sum()))
        for number in range(first, len(rarest)):
            merged = set(rarest[:number])
            levels.append((f"{number} rarest values to {OTHER!r}", named.where(~named.isin(merged), OTHER)))
    everybody = pd.Series([None] * len(values), index=values.index, dtype=object)
    return [*levels, (_DROPPED, everybody)]
