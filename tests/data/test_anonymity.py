import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from modeling_pamela.cli.data import data_app
from modeling_pamela.data.anonymity import anonymity_report, coarsen, coarsen_folder
from modeling_pamela.data.files import DataError
from modeling_pamela.data.folder import DataFolder, DataFolderError
from modeling_pamela.data.validate import validate_folder


people = st.lists(
    st.tuples(
        st.one_of(st.none(), st.integers(16, 90)),
        st.one_of(st.none(), st.sampled_from("fmx")),
        st.sampled_from(["A", "B", "C", "D", "E", "F"]),
    ),
    min_size=5,
    max_size=60,
).map(
    lambda rows: pa.table(
        {
            "user_id": pa.array([f"u{i}" for i in range(len(rows))]),
            "age": pa.array([row[0] for row in rows], pa.int64()),
            "gender": pa.array([row[1] for row in rows], pa.string()),
            "country": pa.array([row[2] for row in rows], pa.string()),
        }
    )
)


def sizes_by_counting(users):
    rows = [tuple(row.values())[1:] for row in users.to_pylist()]
    return [rows.count(row) for row in rows]


@settings(max_examples=40, deadline=None)
@given(users=people, k=st.integers(2, 5))
def test_report_counts_groups(users, k):
    report = anonymity_report(users, k)
    sizes = sizes_by_counting(users)
    assert report.k == min(sizes)
    assert report.exposed == sum(size < k for size in sizes)
    assert report.without["age"] == sum(size < k for size in sizes_by_counting(users.drop(["age"])))
    assert report.alone["gender"] == sum(size < k for size in sizes_by_counting(users.select(["user_id", "gender"])))


@settings(max_examples=40, deadline=None)
@given(users=people, k=st.integers(2, 5), seed=st.integers(0, 100))
def test_coarsened_people_are_k_anonymous_and_values_only_merge(users, k, seed):
    table, steps = coarsen(users, k)
    assert anonymity_report(table, k).exposed == 0
    assert table["user_id"].equals(users["user_id"])
    for name in set(table.column_names) - {"user_id"}:  # each old value has one new value
        pairs = pd.DataFrame({"old": users[name].to_pandas(), "new": table[name].to_pandas()}).drop_duplicates()
        assert not pairs["old"].duplicated().any()
    assert {step.column for step in steps} >= set(users.column_names) - set(table.column_names)
    order = np.random.default_rng(seed).permutation(len(users))
    shuffled, same = coarsen(users.take(order), k)  # the order of people does not matter
    assert same == steps
    assert shuffled.equals(table.take(order))
    again, nothing = coarsen(table, k)
    assert again.equals(table)
    assert nothing == []


def test_ages_become_bands_before_columns_are_dropped():
    rng = np.random.default_rng(0)
    users = pa.table(
        {
            "user_id": [f"u{i}" for i in range(400)],
            "age": rng.integers(20, 60, 400),
            "gender": rng.choice(["f", "m"], 400),
        }
    )
    table, steps = coarsen(users, 5)
    assert [(step.column, step.to) for step in steps] == [("age", "bands of 5")]
    assert set(table["age"].to_pylist()) == {f"{low}-{low + 4}" for low in range(20, 60, 5)}
    assert table["gender"].equals(users["gender"])


def test_errors(folder):
    users = DataFolder(folder).users
    with pytest.raises(DataError, match=r"12 people, so they cannot be in groups of 13"):
        coarsen(users, 13)
    with pytest.raises(DataError, match=r"no column \['height'\].*\['age', 'gender'\]"):
        anonymity_report(users, 2, ["height"])
    with pytest.raises(DataFolderError, match="not empty"):
        coarsen_folder(folder, folder, 2)
    with pytest.raises(DataError, match="inside each other"):
        coarsen_folder(folder, folder / "inside", 2)


def test_folder(folder, tmp_path):
    out = tmp_path / "coarse"
    ratings = folder / "ratings" / "train.parquet"
    table = pq.read_table(ratings)
    pq.write_table(table.append_column("age", pa.array([30] * len(table))), ratings)
    (folder / "embeddings" / "x").mkdir(parents=True)
    for kind in ("text", "image"):
        pq.write_table(pa.table({"a": [1]}), folder / "embeddings" / "x" / f"part-{kind}-1.parquet")
    before = DataFolder(folder).users
    run = CliRunner().invoke(data_app, ["anonymity", str(folder), "--k", "4", "--coarsen", str(out)])
    assert run.exit_code == 0, run.output
    assert "k = 1: 12 people" in run.output
    data = DataFolder(out)
    assert anonymity_report(data.users, 4).exposed == 0
    assert data.metadata["pamela"]["anonymity"]["k"] == 4
    assert data.metadata["pamela"]["anonymity"]["steps"][0]["column"] == "age"
    assert "age" not in data.table("ratings").column_names
    assert not (out / "rejected.parquet").exists()
    assert [file.name for file in out.rglob("part-*")] == ["part-image-1.parquet"]
    assert validate_folder(out).violations == []
    assert DataFolder(folder).users.equals(before)
    assert "age" in pq.read_schema(ratings).names
