"""Source tables: text as it stands in a file, with the line of each row and the reason of each row set aside."""

import csv
import io
import json
import zipfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from .archive import Archive, MemberError
from .files import DataError


__all__ = ["MISSING", "SourceError", "SourceTable", "parse_numbers", "read_records", "read_table"]

# Written for a missing value by pandas, R and SQL tools. Not in names, prompts or pictures: there only an empty field is missing.
MISSING = ("", "NA", "N/A", "NaN", "nan", "null", "NULL")

_NUMBER = r"^[+-]?(\d{1,300}\.?\d*|\.\d+)([eE][+-]?\d{1,2})?$"
# Stricter, for columns that nobody said are numbers: 007 is a name, and 20 digits do not fit a float.
_PLAIN_INTEGER = r"^-?(0|[1-9]\d{0,17})$"
_PLAIN_DECIMAL = r"^-?(0|[1-9]\d{0,14})(\.\d+)?([eE][+-]?\d{1,2})?$"
_NO_TEXT = pa.scalar(None, pa.string())


class SourceError(DataError):
    """A source cannot be imported."""


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
    numbers = pc.if_else(pc.match_substring_regex(values, _NUMBER), values, _NO_TEXT)
    parsed = pc.replace_substring_regex(numbers, r"^\+", "").cast(pa.float64())
    return pc.if_else(pc.is_finite(parsed), parsed, pa.scalar(None, pa.float64()))


def _typed(values: pa.Array) -> pa.Array:
    trimmed = pc.utf8_trim_whitespace(values)
    missing = pc.is_in(trimmed, value_set=pa.array(MISSING))
    trimmed = pc.if_else(missing, _NO_TEXT, trimmed)
    for pattern, dtype in ((_PLAIN_INTEGER, pa.int64()), (_PLAIN_DECIMAL, pa.float64())):
        if trimmed.null_count < len(trimmed) and pc.all(pc.match_substring_regex(trimmed, pattern)).as_py():
            return trimmed.cast(dtype)
    return pc.if_else(missing, _NO_TEXT, values)


class SourceTable:
    """
    The rows of a source: every column as text, and with its own type where the file has types.

    Args:
        path (`Path`): Where it was read, for messages.
        columns (`Mapping[str, pa.Array]`): Text; `""` where there is nothing.
        lines (`np.ndarray` of shape `[rows]`): See below.
        native (`Mapping[str, pa.Array]`, *optional*): The columns of a format that has types (JSON, Parquet), as they are.
        files (`Sequence[str]`, *optional*): Name of each row's file; by default that of `path`.
        header (`Mapping[str, pa.Array]`, *optional*): Text of the columns that a row set aside is shown with; by default `columns`.

    Attributes:
        path (`Path`): The file.
        columns (`dict[str, pa.Array]`): Text of each column.
        lines (`np.ndarray` of shape `[rows]`):
            Line or spreadsheet row on which each row starts (a header is line 1); in JSON and Parquet the number of the record, from 1.
        usable (`np.ndarray` of shape `[rows]`, bool): Rows that have not been set aside.
    """

    def __init__(
        self,
        path: Path,
        columns: Mapping[str, pa.Array],
        lines: np.ndarray,
        native: Mapping[str, pa.Array] | None = None,
        files: Sequence[str] | None = None,
        header: Mapping[str, pa.Array] | None = None,
    ) -> None:
        self.path = path
        self.columns = dict(columns)
        self.native = dict(native or {})
        self.lines = lines
        self.files = files
        self.usable = np.ones(len(lines), dtype=bool)
        self._header = dict(columns if header is None else header)
        self._surplus: dict[int, list[str]] = {}  # fields of rows of another width
        self._reasons: dict[int, tuple[str, str]] = {}

    def __len__(self) -> int:
        return len(self.lines)

    def file_of(self, row: int) -> str:
        """Name of the file in which a row stands."""
        return self.path.name if self.files is None else self.files[row]

    def rename(self, names: Mapping[str, str]) -> None:
        """
        Gives columns other names.

        Args:
            names (`Mapping[str, str]`): New name to present name. One column may be given several names.

        Raises:
            SourceError: A new name belongs to another column, which would be lost.
        """
        sources = set(names.values())
        for new, present in names.items():
            if new in self.columns and new not in sources:
                raise SourceError(
                    f"{self.path} has a column {new!r} already, which --map {new}={present} would replace. Say which file "
                    f"is meant, e.g. --map ratings.{new}={present}, or rename one of the columns."
                )

        def renamed(columns: dict[str, pa.Array]) -> dict[str, pa.Array]:
            kept = {name: column for name, column in columns.items() if name not in sources}
            return {new: columns[present] for new, present in names.items() if present in columns} | kept

        self.columns, self.native = renamed(self.columns), renamed(self.native)

    def drop(self, *names: str) -> None:
        """Takes columns away; a row set aside still shows them."""
        for name in names:
            del self.columns[name]
            self.native.pop(name, None)

    def require(self, *names: str) -> None:
        """Raises a `SourceError` unless all the columns are there and the table has rows."""
        absent = [name for name in names if name not in self.columns]
        if absent:
            raise SourceError(
                f"{self.path} lacks {', '.join(map(repr, absent))}. It has the columns {list(self.columns)}; name the right "
                f"one with --map {absent[0]}=COLUMN."
            )
        if not len(self):
            raise SourceError(f"{self.path} has a header but no rows.")

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
            content: dict[str, Any] = {name: column[row].as_py() for name, column in self._header.items()}
            if row in self._surplus:
                fields = self._surplus[row]
                content = dict(zip(self._header, fields, strict=False))
                if len(fields) > len(self._header):
                    content[""] = fields[len(self._header) :]
            yield {
                "file": self.file_of(row),
                "line": int(self.lines[row]),
                "reason": reason,
                "detail": detail,
                "row": json.dumps(content, ensure_ascii=False),
            }

    def typed(self, leave_out: Iterable[str] = ()) -> dict[str, pa.Array]:
        """
        The columns not in `leave_out`, usable rows only: with their own type where they have one, else as int64 or float64 if all
        values are plain numbers, else as text.
        """
        left_out, usable = set(leave_out), pa.array(self.usable)
        return {
            name: self.native[name].filter(usable) if name in self.native else _typed(column.filter(usable))
            for name, column in self.columns.items()
            if name not in left_out
        }

    def attributes(self, key: str, columns: Mapping[str, str]) -> tuple["SourceTable", dict[str, list[str]]]:
        """
        One row for each person or picture, out of a table that repeats their attributes in every row.

        An attribute that is missing in some rows has the value of the others. One that has several values is left empty.

        Args:
            key (`str`): Column of names, see [`use_as_key`].
            columns (`Mapping[str, str]`): Name of the attribute to its column here.

        Returns:
            `tuple[SourceTable, dict[str, list[str]]]`: The table, in the order in which the names first occur, on the lines where they do;
            and each attribute with several values to the names of which that is so.
        """
        rows = np.flatnonzero(self.usable)
        code, _ = pd.factorize(self.columns[key].take(pa.array(rows)).to_numpy(zero_copy_only=False))
        first = rows[np.unique(code, return_index=True)[1]]
        names = self.columns[key].take(pa.array(first))
        text, native, several = {key: names}, {}, {}
        for name, source in columns.items():
            values = self.columns[source]
            filled = np.asarray(pc.not_equal(pc.utf8_trim_whitespace(values), ""))[rows]
            value, _ = pd.factorize(values.take(pa.array(rows)).to_numpy(zero_copy_only=False))
            of_name = pd.DataFrame({"code": code, "value": value, "row": rows})[filled].groupby("code")
            conflict = of_name["value"].min() != of_name["value"].max()
            chosen = of_name["row"].first()[~conflict].reindex(np.arange(len(first)))
            index = pa.array(chosen, pa.int64(), from_pandas=True)
            text[name] = pc.fill_null(values.take(index), "")
            if source in self.native:
                native[name] = self.native[source].take(index)
            if conflict.any():
                several[name] = names.take(pa.array(conflict.index[conflict].to_numpy())).to_pylist()
        files = None if self.files is None else [self.files[row] for row in first]
        header = {name: column.take(pa.array(first)) for name, column in self._header.items()}
        return SourceTable(self.path, text, self.lines[first], native, files, header), several


def _check_header(path: Path, header: list[str]) -> None:
    if not any(header):
        raise SourceError(f"{path} is empty. Expected a header and rows.")
    repeated = sorted({name for name in header if header.count(name) > 1})
    if repeated:
        raise SourceError(f"{path} has more than one column named {repeated}. Give each column its own name.")


def read_table(archive: Archive, name: str, delimiter: str | None = None, encoding: str = "utf-8") -> SourceTable:
    """
    Reads a table: `.xlsx` (its first sheet), `.parquet`, or else delimited text with a header.

    Args:
        archive ([`~modeling_pamela.data.archive.Archive`]): Where it lies.
        name (`str`): Its path there.
        delimiter (`str`, *optional*): Of delimited text; by default a tab if the name ends in `.tsv`, else a comma.
        encoding (`str`): Of delimited text. A byte order mark is passed over.

    Returns:
        [`SourceTable`]: Blank lines of text and of a sheet are passed over; rows with more or fewer fields than the header are set aside.

    Raises:
        SourceError: The file is missing, empty, not in the encoding, separated by something else, or damaged.
    """
    path = archive.path / name
    try:
        content = archive.read(name)
    except MemberError as error:
        if not archive.exists(name):
            raise SourceError(f"There is no file {path}. Expected a table with a header.") from error
        raise SourceError(f"{path}: {error.reason}.") from error
    suffix = PurePosixPath(name).suffix.lower()
    if suffix == ".xlsx":
        return _from_rows(path, *_sheet(path, content))
    if suffix == ".parquet":
        return _read_parquet(path, content)
    return _from_rows(path, *_delimited(path, content, delimiter or ("\t" if suffix == ".tsv" else ","), encoding))


def _from_rows(path: Path, header: list[str], rows: list[list[str]], lines: list[int]) -> SourceTable:
    _check_header(path, header)
    width = len(header)
    wrong = {row: fields for row, fields in enumerate(rows) if len(fields) != width}
    for row, fields in wrong.items():
        rows[row] = (fields + [""] * width)[:width]
    values = list(zip(*rows, strict=True)) or [()] * width
    columns = {name: pa.array(column, pa.string()) for name, column in zip(header, values, strict=True)}
    table = SourceTable(path, columns, np.array(lines, dtype=np.int64))
    table._surplus = wrong
    where = np.zeros(len(rows), dtype=bool)
    where[list(wrong)] = True
    table.reject(where, "wrong number of fields", lambda row: f"{len(wrong[row])} fields instead of {width}")
    return table


def _delimited(
    path: Path, content: bytes, delimiter: str, encoding: str
) -> tuple[list[str], list[list[str]], list[int]]:
    lines: list[int] = []
    rows: list[list[str]] = []
    try:
        text = content.decode(encoding).removeprefix("\ufeff")
    except LookupError as error:
        raise SourceError(f"There is no encoding {encoding!r}. Try utf-8, utf-16, latin-1 or cp1252.") from error
    except UnicodeError as error:
        raise SourceError(
            f"{path} is not {encoding.upper()} ({error}). Save it as UTF-8, or say what it is, e.g. --encoding cp1252 for "
            f"western text from Windows."
        ) from error
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        header = [name.strip() for name in next(reader, [])]
        start = reader.line_num + 1
        for row in reader:
            if row:
                lines.append(start)
                rows.append(row)
            start = reader.line_num + 1
    except csv.Error as error:
        raise SourceError(
            f"{path}, line {reader.line_num}: {error}. Check the quotes in the lines before it."
        ) from error
    if len(header) == 1:
        others = [other for other in ";\t|," if other != delimiter and other in header[0]]
        if others:
            shown = "\\t" if others[0] == "\t" else others[0]
            raise SourceError(
                f"{path} has a single column, named {header[0]!r}: it seems to be separated by {shown!r}. Pass "
                f"--delimiter '{shown}'."
            )
    return header, rows, lines


def _cell(value: Any) -> str:
    """Text of a value from a spreadsheet or JSON, such that `5`, `5.0` and `"5"` are one name."""
    if value is None or value != value:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return str(int(value))
    if isinstance(value, (list, dict)):
        return json.dumps(value, ensure_ascii=False)
    return str(value)


def _sheet(path: Path, content: bytes) -> tuple[list[str], list[list[str]], list[int]]:
    from openpyxl import load_workbook

    try:
        with zipfile.ZipFile(io.BytesIO(content)) as packed:
            unpacked = sum(member.file_size for member in packed.infolist())
        if unpacked > max(100_000_000, 100 * len(content)):
            raise SourceError(f"{path} would unpack from {len(content):,} to {unpacked:,} bytes, as zip bombs do.")
        book = load_workbook(io.BytesIO(content), read_only=True, data_only=True)
        sheet = book.worksheets[0]
        sheet.reset_dimensions()  # some programs write a size that is not so
        cells = [[_cell(value) for value in row] for row in sheet.iter_rows(values_only=True)]
        book.close()
    except SourceError:
        raise
    except Exception as error:  # openpyxl lets through whatever its XML and zip readers raise on a damaged file
        raise SourceError(f"{path} cannot be read as a spreadsheet ({error}). Save it again, or as CSV.") from error
    header = [name.strip() for name in cells[0]] if cells else []
    while header and not header[-1]:
        header.pop()
    rows, lines = [], []
    for line, row in enumerate(cells[1:], start=2):
        if any(row):
            while len(row) > len(header) and not row[-1]:  # blank cells right of the table
                row.pop()
            rows.append(row + [""] * (len(header) - len(row)))
            lines.append(line)
    return header, rows, lines


def _json_text(values: pa.Array) -> pa.Array:
    return pa.array([None if value is None else _json(value) for value in values.to_pylist()], pa.string())


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, default=str)


def _read_parquet(path: Path, content: bytes) -> SourceTable:
    try:
        table = pq.read_table(pa.BufferReader(content)).combine_chunks()
    except (pa.ArrowInvalid, OSError, NotImplementedError) as error:
        raise SourceError(f"{path} cannot be read as Parquet ({error}). Write it again.") from error
    _check_header(path, table.column_names)
    text, native = {}, {}
    for name in table.column_names:
        column = table[name].combine_chunks() if len(table) else pa.array([], table.schema.field(name).type)
        if pa.types.is_dictionary(column.type):
            column = column.dictionary_decode()
        if pa.types.is_nested(column.type):
            column = _json_text(column)
        if pa.types.is_null(column.type):
            column = column.cast(pa.string())
        if pa.types.is_large_string(column.type) or pa.types.is_string_view(column.type):
            column = column.cast(pa.string())
        try:
            if pa.types.is_floating(column.type):
                text[name] = pa.array(map(_cell, column.to_pylist()), pa.string())
            else:
                text[name] = pc.fill_null(column.cast(pa.string()), "")
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
            raise SourceError(f"{path}: column {name!r} of type {column.type} is not text or numbers.") from error
        native[name] = column if not pa.types.is_string(column.type) else pc.if_else(text[name] == "", None, column)
    return SourceTable(path, text, np.arange(1, len(table) + 1), native)


def _native(values: list[Any]) -> pa.Array:
    """One type for the values of a JSON column: bool, int64, float64 or text; lists, objects and mixtures become text."""
    kinds = {type(value) for value in values if value is not None and value != ""}
    if kinds and (kinds == {bool} or kinds <= {int, float}):
        try:
            cleaned = [None if value == "" else value for value in values]
            return pa.array(
                cleaned,
                pa.bool_() if bool in kinds else pa.float64() if float in kinds else pa.int64(),
                from_pandas=True,
            )
        except (pa.ArrowInvalid, OverflowError):
            pass  # an integer beyond 64 bits
    return pa.array([_cell(value) or None for value in values], pa.string())


def read_records(archive: Archive, names: Sequence[str], nested: Sequence[str] = ()) -> SourceTable:
    """
    Reads JSON files, each a list of objects, as one table.

    Args:
        archive ([`~modeling_pamela.data.archive.Archive`]): Where they lie.
        names (`Sequence[str]`): Their paths there.
        nested (`Sequence[str]`): Fields that hold an object, whose own fields become columns `<field>.<name>`.

    Returns:
        [`SourceTable`]: A field that is absent or null is `""`. Lists and other objects become JSON text. A record that is no object is
        set aside.

    Raises:
        SourceError: A file is missing, damaged, or not a list.
    """
    records: list[Any] = []
    files: list[str] = []
    lines: list[np.ndarray] = []
    for name in names:
        path = archive.path / name
        try:
            content = json.loads(archive.read(name))
        except MemberError as error:
            raise SourceError(f"{path}: {error.reason}.") from error
        except (UnicodeDecodeError, ValueError, RecursionError) as error:
            raise SourceError(f"{path} is not valid JSON ({error}). Is the download complete?") from error
        if not isinstance(content, list):
            raise SourceError(f"{path} holds a JSON {type(content).__name__}; expected a list of records.")
        records += content
        files += [path.name] * len(content)
        lines.append(np.arange(1, len(content) + 1))
    columns: dict[str, list[Any]] = {}
    bad: dict[int, str] = {}

    def put(row: int, fields: Mapping[str, Any], prefix: str = "") -> None:
        for field, value in fields.items():
            if not prefix and field in nested and isinstance(value, dict | None):
                put(row, value or {}, f"{field}.")
            else:
                columns.setdefault(prefix + field, [None] * len(records))[row] = value

    for row, record in enumerate(records):
        if isinstance(record, dict):
            put(row, record)
        else:
            bad[row] = type(record).__name__
    text = {name: pa.array([_cell(value) for value in values], pa.string()) for name, values in columns.items()}
    native = {name: _native(values) for name, values in columns.items()}
    table = SourceTable(archive.path, text, np.concatenate(lines), native, files)
    where = np.zeros(len(records), dtype=bool)
    where[list(bad)] = True
    table.reject(where, "not a record", lambda row: f"a JSON {bad[row]} instead of an object")
    return table
