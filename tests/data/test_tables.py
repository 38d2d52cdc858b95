import json

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modeling_pamela.data.archive import open_archive
from modeling_pamela.data.tables import SourceError, SourceTable, parse_numbers, read_table


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
