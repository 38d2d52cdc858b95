"""Source tables: text as it stands in a CSV file, with the line of each row and the reason of each row set aside."""

import csv
import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from .files import DataError


__all__ = ["MISSING", "SourceTable", "TidyError", "parse_numbers"]

# Written for a missing value by pandas, R and SQL tools. Not in names, prompts or pictures: there only an empty field is missing.
MISSING = ("", "NA", "N/A", "NaN", "nan", "null", "NULL")

_NUMBER = r"^[+-]?(\d{1,300}\.?\d*|\.\d+)([eE][+-]?\d{1,2})?$"
# Stricter, for columns that nobody said are numbers: 007 is a name, and 20 digits do not fit a float.
_PLAIN_INTEGER = r"^-?(0|[1-9]\d{0,17})$"
_PLAIN_DECIMAL = r"^-?(0|[1-9]\d{0,14})(\.\d+)?([eE][+-]?\d{1,2})?$"


class TidyError(DataError):
    """A tidy source cannot be imported."""


def parse_numbers(values: pa.Array) -> pa.Array:
    """
    Parses text as float64; null where it is not a finite number.

    Example:

    ```python
    >>> parse_numbers(pa.array(["5", " +.5 ", "1e2", "nan", "good", ""])).to_pylist()
    [5.0, 0.5, 100.0, None, None, None]

    ```
    """
    values = pc.utf8_trim_whitespace(values)
    numbers = pc.if_else(pc.match_substring_regex(values, _NUMBER), values, pa.scalar(None, pa.string()))
    parsed = pc.replace_substring_regex(numbers, r"^\+", "").cast(pa.float64())
    return pc.if_else(pc.is_finite(parsed), parsed, pa.scalar(None, pa.float64()))


def _typed(values: pa.Array) -> pa.Array:
    trimmed = pc.utf8_trim_whitespace(values)
    missing = pc.is_in(trimmed, value_set=pa.array(MISSING))
    trimmed = pc.if_else(missing, pa.scalar(None, pa.string()), trimmed)
    for pattern, dtype in ((_PLAIN_INTEGER, pa.int64()), (_PLAIN_DECIMAL, pa.float64())):
        if trimmed.null_count < len(trimmed) and pc.all(pc.match_substring_regex(trimmed, pattern)).as_py():
            return trimmed.cast(dtype)
    return pc.if_else(missing, pa.scalar(None, pa.string()), values)


class SourceTable:
    """
    A CSV file read as text.

    Args:
        path (`Path`): UTF-8, with a header; tab-separated if the name ends in `.tsv`. Blank lines are passed over.

    Attributes:
        path (`Path`): The file.
        columns (`dict[str, pa.Array]`): Text of each column.
        lines (`np.ndarray` of shape `[rows]`): Line on which each row starts; the header is line 1.
        usable (`np.ndarray` of shape `[rows]`, bool): Rows that have not been set aside.

    Raises:
        TidyError: The file is missing, empty, not UTF-8, or its quotes do not match.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        lines: list[int] = []
        rows: list[list[str]] = []
        try:
            with open(path, encoding="utf-8-sig", newline="") as file:
                reader = csv.reader(file, delimiter="\t" if path.suffix.lower() == ".tsv" else ",", strict=True)
                self._header = [name.strip() for name in next(reader, [])]
                start = reader.line_num + 1
                for row in reader:
                    if row:
                        lines.append(start)
                        rows.append(row)
                    start = reader.line_num + 1
        except FileNotFoundError as error:
            raise TidyError(f"There is no file {path}. Expected a CSV file with a header.") from error
        except UnicodeDecodeError as error:
            raise TidyError(f"{path} is not UTF-8 (byte {error.start}: {error.reason}). Save it as UTF-8.") from error
        except csv.Error as error:
            raise TidyError(
                f"{path}, line {reader.line_num}: {error}. Check the quotes in the lines before it."
            ) from error
        if not self._header:
            raise TidyError(f"{path} is empty. Expected a header and rows.")
        repeated = sorted({name for name in self._header if self._header.count(name) > 1})
        if repeated:
            raise TidyError(f"{path} has more than one column named {repeated}. Give each column its own name.")

        self._rows = rows
        self._reasons: dict[int, tuple[str, str]] = {}
        self.lines = np.array(lines, dtype=np.int64)
        self.usable = np.ones(len(rows), dtype=bool)
        width = len(self._header)
        malformed = np.fromiter((len(row) != width for row in rows), dtype=bool, count=len(rows))
        self.reject(malformed, "wrong number of fields", lambda row: f"{len(rows[row])} fields instead of {width}")
        fitted = ((row + [""] * width)[:width] if bad else row for row, bad in zip(rows, malformed, strict=True))
        values = list(zip(*fitted, strict=True)) or [()] * width
        self.columns = {name: pa.array(column, pa.string()) for name, column in zip(self._header, values, strict=True)}

    def __len__(self) -> int:
        return len(self._rows)

    def rename(self, names: Mapping[str, str]) -> None:
        """
        Gives columns other names.

        Args:
            names (`Mapping[str, str]`): New name to present name. One column may be given several names.

        Raises:
            TidyError: A new name belongs to another column, which would be lost.
        """
        sources = set(names.values())
        for new, present in names.items():
            if new in self.columns and new not in sources:
                raise TidyError(
                    f"{self.path} has a column {new!r} already, which --map {new}={present} would replace. Say which file "
                    f"is meant, e.g. --map ratings.{new}={present}, or rename one of the columns."
                )
        kept = {name: column for name, column in self.columns.items() if name not in sources}
        self.columns = {new: self.columns[present] for new, present in names.items()} | kept

    def require(self, *names: str) -> None:
        """Raises a `TidyError` unless all the columns are there and the table has rows."""
        absent = [name for name in names if name not in self.columns]
        if absent:
            raise TidyError(
                f"{self.path} lacks {', '.join(map(repr, absent))}. It has the columns {list(self.columns)}; name the right "
                f"one with --map {absent[0]}=COLUMN."
            )
        if not len(self):
            raise TidyError(f"{self.path} has a header but no rows.")

    def use_as_key(self, name: str) -> None:
        """Strips blanks from a column of names and sets aside the rows in which it is empty."""
        self.columns[name] = pc.utf8_trim_whitespace(self.columns[name])
        self.reject(pc.equal(self.columns[name], ""), f"no {name}", lambda row: f"{name} is empty")

    def reject(self, where: Any, reason: str, detail: Callable[[int], str]) -> None:
        """
        Sets rows aside. A row that is set aside already keeps its first reason.

        Args:
            where (array of bool, one a row): The rows.
            reason (`str`): The kind of problem, the same for all.
            detail (`Callable[[int], str]`): Row number to what is wrong with it.
        """
        for row in np.flatnonzero(np.asarray(where, dtype=bool) & self.usable).tolist():
            self._reasons[row] = (reason, detail(row))
            self.usable[row] = False

    def rejected(self) -> Iterable[dict[str, Any]]:
        """The rows set aside, in order, as rows of [`~modeling_pamela.data.schema.REJECTED`]."""
        for row, (reason, detail) in sorted(self._reasons.items()):
            fields = self._rows[row]
            content: dict[str, Any] = dict(zip(self._header, fields, strict=False))
            if len(fields) > len(self._header):
                content[""] = fields[len(self._header) :]
            yield {
                "file": self.path.name,
                "line": int(self.lines[row]),
                "reason": reason,
                "detail": detail,
                "row": json.dumps(content, ensure_ascii=False),
            }

    def typed(self, leave_out: Iterable[str] = ()) -> dict[str, pa.Array]:
        """The columns not in `leave_out`, usable rows only, as int64 or float64 if all values are plain numbers, else as text."""
        left_out = set(leave_out)
        usable = pa.array(self.usable)
        return {name: _typed(column.filter(usable)) for name, column in self.columns.items() if name not in left_out}
