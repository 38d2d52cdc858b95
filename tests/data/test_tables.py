import datetime
import json
import zipfile
from pathlib import Path

import numpy as np
import openpyxl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modeling_pamela.data.archive import open_archive
from modeling_pamela.data.tables import SourceError, SourceTable, parse_numbers, read_records, read_table


@pytest.fixture
def table(tmp_path):
    def read(text: str | bytes, name: str = "ratings.csv", **options: str) -> SourceTable:
        (tmp_path / name).write_bytes(text.encode() if isinstance(text, str) else text)
        return read_table(open_archive(tmp_path), name, **options)

    return read


def test_lines_are_those_of_the_file(table):
    read = table('\ufeffuser_id, prompt\r\na,"two\nlines"\r\n\r\nb,"say ""hi"""\nc,ünï 猫')
    assert list(read.columns) == ["user_id", "prompt"]
    assert read.columns["prompt"].to_pylist() == ["two\nlines", 'say "hi"', "ünï 猫"]
    assert read.lines.tolist() == [2, 5, 6]


def test_tab_separated(table):
    assert table("a\tb\n1,5\t2\n", "x.tsv").columns["a"].to_pylist() == ["1,5"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        ("a,b,a\n1,2,3\n", r"more than one column named \['a'\]"),
        ("a,b\nMüller,2\n".encode("latin-1"), "not UTF-8.*Save it as UTF-8"),
        ('a,b\n1,"never closed\n', "line 2: unexpected end of data"),
    ],
)
def test_unreadable_files(table, text, message):
    with pytest.raises(SourceError, match=message):
        table(text)


def test_missing_file(tmp_path):
    with pytest.raises(SourceError, match="no file"):
        read_table(open_archive(tmp_path), "ratings.csv")


def test_rows_of_another_width_are_set_aside(table):
    read = table("a,b\n1,2\n3\n4,5,6\n7,8\n")
    assert read.usable.tolist() == [True, False, False, True]
    short, long = read.rejected()
    assert (short["line"], short["detail"], json.loads(short["row"])) == (3, "1 fields instead of 2", {"a": "3"})
    assert json.loads(long["row"]) == {"a": "4", "b": "5", "": ["6"]}
    assert read.typed() == {"a": pa.array([1, 7]), "b": pa.array([2, 8])}


def test_a_row_keeps_its_first_reason(table):
    read = table("a\n1\n2\n")
    read.reject([True, False], "first", str)
    read.reject([True, True], "second", str)
    assert [row["reason"] for row in read.rejected()] == ["first", "second"]


@pytest.mark.parametrize(
    ("values", "typed"),
    [
        (["1", "", "-20", "NA"], pa.array([1, None, -20, None])),
        (["1.50", " 2 ", "NaN"], pa.array([1.5, 2.0, None])),
        (["007", "8"], pa.array(["007", "8"])),
        (["12345678901234567890", "1.5"], pa.array(["12345678901234567890", "1.5"])),
        (["", "nan"], pa.array([None, None], pa.string())),
        ([" café ", "null", "None"], pa.array([" café ", None, "None"])),
    ],
)
def test_types_of_extra_columns(table, values, typed):
    assert table("x,y\n" + "".join(f'"{value}",\n' for value in values)).typed(leave_out=["y"])["x"].equals(typed)


def test_rename(table):
    read = table("name,score\na,1\n")
    read.rename({"user_id": "name", "image_id": "name", "rating": "score"})
    assert {name: column.to_pylist() for name, column in read.columns.items()} == {
        "user_id": ["a"],
        "image_id": ["a"],
        "rating": ["1"],
    }
    read.rename({"user_id": "rating", "rating": "user_id"})
    assert read.columns["rating"].to_pylist() == ["a"]
    with pytest.raises(SourceError, match="has a column 'rating' already"):
        read.rename({"rating": "image_id"})


def test_missing_columns_and_rows(table):
    with pytest.raises(
        SourceError, match=r"lacks 'rating'. It has the columns \['user_id', 'score'\].*--map rating=COLUMN"
    ):
        table("user_id,score\na,1\n").require("user_id", "rating")
    with pytest.raises(SourceError, match="no rows"):
        table("user_id\n").require("user_id")


@given(st.floats(allow_nan=False, allow_infinity=False, min_value=-1e90, max_value=1e90))
def test_numbers_are_read_exactly(value):
    if value == 0 or abs(value) > 1e-90:
        assert parse_numbers(pa.array([repr(value)])).to_pylist() == [value]


@given(st.text(max_size=12))
def test_parse_numbers_never_fails(text):
    (parsed,) = parse_numbers(pa.array([text])).to_pylist()
    if parsed is not None:
        assert parsed == float(text.strip())


def test_wrong_delimiters_are_told(table):
    with pytest.raises(SourceError, match=r"single column, named 'user_id;rating'.*Pass --delimiter ';'"):
        table("user_id;rating\na;1\n")
    with pytest.raises(SourceError, match=r"--delimiter '\\t'"):
        table("user_id\trating\na\t1\n")
    assert table("user_id;rating\na;1,5\n", delimiter=";").columns["rating"].to_pylist() == ["1,5"]
    assert table("user_id\na\n").columns["user_id"].to_pylist() == ["a"]


def test_encodings(table):
    text = "user_id,rating\nMüller,1\n"
    for encoding in ("utf-8", "utf-8-sig", "utf-16", "latin-1"):
        read = table(text.encode(encoding), encoding=encoding.removesuffix("-sig"))
        assert list(read.columns) == ["user_id", "rating"]
        assert read.columns["user_id"].to_pylist() == ["Müller"]
    with pytest.raises(SourceError, match="no encoding 'utf-9'"):
        table(text, encoding="utf-9")


def test_parquet_keeps_its_types(tmp_path):
    columns = {
        "user_id": pa.array([1, 2]),
        "code": pa.array(["007", None]),
        "year": pa.array(["2020", "2021"]),
        "share": pa.array([0.1, None]),
        "mood": pa.array(["a", "b"]).dictionary_encode(),
        "tags": pa.array([["x"], []]),
        "yes": pa.array([True, None]),
    }
    pq.write_table(pa.table(columns), tmp_path / "ratings.parquet")
    table = read_table(open_archive(tmp_path), "ratings.parquet")
    assert table.columns["user_id"].to_pylist() == ["1", "2"]
    assert table.lines.tolist() == [1, 2]
    typed = {name: column.to_pylist() for name, column in table.typed().items()}
    assert typed == {
        "user_id": [1, 2],
        "code": ["007", None],
        "year": ["2020", "2021"],
        "share": [0.1, None],
        "mood": ["a", "b"],
        "tags": ['["x"]', "[]"],
        "yes": [True, None],
    }
    (tmp_path / "bad.parquet").write_bytes(b"PAR1 no")
    with pytest.raises(SourceError, match="cannot be read as Parquet"):
        read_table(open_archive(tmp_path), "bad.parquet")


def test_spreadsheets(tmp_path):
    book = openpyxl.Workbook()
    for row in (
        ["user_id", " rating ", "when", None],
        [1, 3.5, datetime.date(2024, 1, 2), None],
        [None, None, None, None],
        ["b", 4, None, None],
        ["c", 4, None, "beyond"],
    ):
        book.active.append(row)
    book.save(tmp_path / "ratings.xlsx")
    table = read_table(open_archive(tmp_path), "ratings.xlsx")
    assert {name: column.to_pylist()[:2] for name, column in table.columns.items()} == {
        "user_id": ["1", "b"],
        "rating": ["3.5", "4"],
        "when": ["2024-01-02 00:00:00", ""],
    }
    assert table.lines.tolist() == [2, 4, 5]
    assert [row["reason"] for row in table.rejected()] == ["wrong number of fields"]
    (tmp_path / "bad.xlsx").write_bytes(b"no sheet")
    with pytest.raises(SourceError, match="cannot be read as a spreadsheet"):
        read_table(open_archive(tmp_path), "bad.xlsx")
    with zipfile.ZipFile(tmp_path / "bomb.xlsx", "w", zipfile.ZIP_DEFLATED) as bomb:
        bomb.writestr("xl/worksheets/sheet1.xml", bytes(150_000_000))
    with pytest.raises(SourceError, match="as zip bombs do"):
        read_table(open_archive(tmp_path), "bomb.xlsx")


def test_records(tmp_path):
    one = [{"id": 1, "of": {"a": 1, "b": "x"}}, 5, {"id": "1", "of": None, "more": [1, {"y": 2}]}]
    two = [{"id": 2.0, "of": {"a": 2.5, "b": ""}, "flag": True}, {"id": None, "of": {"a": float("nan")}}]
    for name, content in (("one", one), ("two", two)):
        (tmp_path / f"{name}.json").write_text(json.dumps(content))
    table = read_records(open_archive(tmp_path), ["one.json", "two.json"], nested=["of"])
    assert table.columns["id"].to_pylist() == ["1", "", "1", "2", ""]
    assert table.lines.tolist() == [1, 2, 3, 1, 2]
    assert [table.file_of(row) for row in (0, 4)] == ["one.json", "two.json"]
    assert [(row["file"], row["line"], row["reason"]) for row in table.rejected()] == [("one.json", 2, "not a record")]
    assert {name: column.to_pylist() for name, column in table.typed(leave_out=["id"]).items()} == {
        "of.a": [1.0, None, 2.5, None],
        "of.b": ["x", None, None, None],
        "more": [None, '[1, {"y": 2}]', None, None],
        "flag": [None, None, True, None],
    }


@given(
    st.lists(
        st.tuples(st.sampled_from("abc"), st.sampled_from(["", "x", "y"])),
        min_size=1,
        max_size=12,
    )
)
def test_attributes(rows):
    columns = {
        name: pa.array(values, pa.string())
        for name, values in zip(("id", "mood"), zip(*rows, strict=True), strict=True)
    }
    table = SourceTable(Path("x.json"), columns, np.arange(1, len(rows) + 1))
    attributes, several = table.attributes("id", {"feels": "mood"})
    expected: dict[str, set[str]] = {}
    for name, mood in rows:
        expected.setdefault(name, set()).update({mood} - {""})
    assert attributes.columns["id"].to_pylist() == list(expected)
    assert attributes.columns["feels"].to_pylist() == [min(m) if len(m) == 1 else "" for m in expected.values()]
    assert several == (
        {"feels": [n for n, m in expected.items() if len(m) > 1]} if any(len(m) > 1 for m in expected.values()) else {}
    )
    assert attributes.lines.tolist() == [
        1 + next(i for i, row in enumerate(rows) if row[0] == name) for name in expected
    ]
