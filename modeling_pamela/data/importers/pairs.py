"""
Import of comparisons into a data set: who preferred which of two pictures.

The table has the columns `user_id`, `left_id`, `right_id` and `choice` (`left`, `right` or `tie`), perhaps `prompt_id`,
`left_condition` and `right_condition`; every other column is kept. People may repeat a comparison, and contradict themselves. People
and pictures must be in the data set. To import comparisons together with pictures, put a `pairs.csv` beside the `images.csv` of a
tidy source ([`~modeling_pamela.data.importers.tidy`]).
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from ..archive import open_archive
from ..files import atomic_folder, link_tree
from ..folder import DataFolder, DataFolderError, data_configs, open_parquet, write_card
from ..schema import REJECTED, arrow_schema
from ..splits import SplitOptions, split_folder
from ..tables import SourceError, SourceTable, read_table
from .standard import check_pairs, describe_rejected, pair_table, write_table


__all__ = ["PairSummary", "import_pairs"]


class PairSummary:
    """
    What an import of comparisons kept and what it set aside.

    Attributes:
        pairs, users, pictures (`int`): Comparisons that were kept, and how many people and pictures they have.
        rejected (`list[dict]`): Rows set aside, as in `rejected.parquet`.
    """

    def __init__(self, table: pa.Table, rejected: list[dict[str, object]]) -> None:
        self.pairs = len(table)
        self.users = len(set(table["user_id"].to_pylist()))
        self.pictures = len({*table["left_id"].to_pylist(), *table["right_id"].to_pylist()})
        self.rejected = rejected

    def __str__(self) -> str:
        counts = f"{self.pairs:,} comparisons of {self.pictures:,} pictures by {self.users:,} people"
        return "\n".join([counts, f"{len(self.rejected):,} source rows set aside", *describe_rejected(self.rejected)])


def import_pairs(
    source: str | Path,
    folder: str | Path,
    *,
    columns: Mapping[str, str] | None = None,
    delimiter: str | None = None,
    encoding: str = "utf-8",
    overwrite: bool = False,
    strict: bool = False,
    dry_run: bool = False,
) -> PairSummary:
    """
    Adds a table of comparisons to a data set; where it is split, they are split the same way.

    Args:
        source (`str` or `Path`): Delimited text, `.xlsx` or `.parquet`.
        folder (`str` or `Path`): A data set in the standard form.
        columns (`Mapping[str, str]`, *optional*): Standard name to the source's name, e.g. `{"choice": "preferred"}`.
        delimiter, encoding (`str`): Of delimited text; see [`~modeling_pamela.data.tables.read_table`].
        overwrite (`bool`): Replace the comparisons that the data set has.
        strict (`bool`): Write nothing if any row would be set aside.
        dry_run (`bool`): Check everything and write nothing.

    Returns:
        [`PairSummary`]

    Raises:
        SourceError: The table cannot be read, nothing usable is left, or `strict` and a row would be set aside.
        DataFolderError: `folder` is no data set, or has comparisons already.
    """
    source, data = Path(source), DataFolder(folder)
    if data.pair_splits and not (overwrite or dry_run):
        raise DataFolderError(f"{data.path} has comparisons already. Pass --overwrite to replace them.")
    file = source.resolve()  # a link that was named is followed
    with open_archive(file.parent) as archive:
        pairs = read_table(archive, file.name, delimiter, encoding)
    for target, name in (columns or {}).items():
        if name not in pairs.columns:
            raise SourceError(f"--map {target}={name}: there is no column {name!r}. Found {list(pairs.columns)}.")
    pairs.rename(columns or {})
    pairs.require("user_id", "left_id", "right_id", "choice")
    check_pairs(pairs, _names(data, "images", "image_id"), _names(data, "users", "user_id"))
    table, rejected = pair_table(pairs), list(pairs.rejected())
    summary = PairSummary(table, rejected)
    if not len(table):
        raise SourceError(f"No usable comparison is left in {source}; nothing was written.\n{summary}")
    if strict and rejected:
        raise SourceError(f"Rows would be set aside, which --strict refuses; nothing was written.\n{summary}")
    if not dry_run:
        _append(data.path, table, rejected)
    return summary


def _names(data: DataFolder, config: str, key: str) -> SourceTable:
    names = data.table(config, leave_out=["image"])[key].combine_chunks()
    return SourceTable(data.path / config, {key: names}, np.arange(len(names)))


def _append(folder: Path, pairs: pa.Table, rejected: list[dict[str, Any]]) -> None:
    """
    Adds comparisons to a data set, in place of those it has; in a data set that is split they are split the same way.

    Args:
        folder (`Path`): The data set.
        pairs (`pa.Table`): See [`pair_table`].
        rejected (`list[dict]`): Their rows that were set aside; those of earlier imports are kept.
    """
    data = DataFolder(folder)
    options = data.metadata["pamela"].get("split")
    with atomic_folder(folder) as new:
        link_tree(data.path.resolve(), new, skip=frozenset({"pairs", "rejected.parquet"}))
        write_table(pairs, new / "pairs" / "train.parquet")
        earlier = []
        if (folder / "rejected.parquet").exists():
            with open_parquet(folder / "rejected.parquet") as parquet:
                earlier = parquet.read().to_pylist()
        write_table(pa.Table.from_pylist([*earlier, *rejected], arrow_schema(REJECTED)), new / "rejected.parquet")
        others = [config for config in data.metadata["configs"] if config["config_name"] != "pairs"]
        own = [config for config in data_configs(["train"], pairs=["train"]) if config["config_name"] == "pairs"]
        write_card(new, data.metadata | {"configs": others + own})
        if options is not None:
            split_folder(new, SplitOptions(**options))
