import pyarrow.parquet as pq
import pytest

from modeling_pamela.data.folder import DataFolder, DataFolderError
from modeling_pamela.data.importers.pairs import import_pairs
from modeling_pamela.data.importers.tidy import import_tidy
from modeling_pamela.data.splits import SplitOptions, split_folder
from modeling_pamela.data.tables import SourceError


OPTIONS = SplitOptions(0, 3, 2, 3, 2, group="set", max_query_context=2, min_queries=2)


@pytest.fixture
def table(write_table, tmp_path):
    """Everyone compares each picture with the next; one comparison is repeated and contradicted."""
    rows = [
        {
            "user_id": f"u{u}",
            "left_id": f"p{p}",
            "right_id": f"p{p + 1}",
            "choice": ("left", "right", "tie")[(u + p) % 3],
            "prompt_id": "" if p else "a",
            "seconds": 1.5,
        }
        for u in range(12)
        for p in range(19)
    ]
    path = tmp_path / "chosen.csv"
    write_table(path, [*rows, rows[0] | {"choice": "right"}])
    return path


def test_added_to_a_data_set(folder, table):
    summary = import_pairs(table, folder)
    assert str(summary).startswith("229 comparisons of 20 pictures by 12 people\n0 source rows")
    data = DataFolder(folder)
    assert (data.splits, data.pair_splits) == (["train"], ["train"])
    pairs = data.table("pairs")
    assert pairs.column_names == [
        *("pair_id", "user_id", "left_id", "right_id", "choice"),
        *("prompt_id", "left_condition", "right_condition", "seconds"),
    ]
    assert pairs["choice"].to_pylist()[:3] == ["left", "right", "tie"]
    assert pairs["prompt_id"].to_pylist()[:2] == ["a", None]
    assert pairs.slice(228).to_pylist()[0]["choice"] == "right"
    with pytest.raises(DataFolderError, match=r"has comparisons already.*--overwrite"):
        import_pairs(table, folder)
    import_pairs(table, folder, overwrite=True)
    assert DataFolder(folder).table("pairs").equals(pairs)


def test_added_before_or_after_a_split_they_are_split_the_same(folder, table, tmp_path):
    split_folder(folder, OPTIONS, tmp_path / "after")
    import_pairs(table, tmp_path / "after")
    import_pairs(table, folder)
    split_folder(folder, OPTIONS, tmp_path / "before")
    before, after = DataFolder(tmp_path / "before"), DataFolder(tmp_path / "after")
    assert before.pair_splits == after.pair_splits
    assert len(before.table("contexts", "query")) == len(after.table("contexts", "query"))
    parts = {"train": 0, "val_seen": 1, "val_unseen": 1, "test_seen": 2, "test_unseen": 2}
    side = {}
    for split, part in parts.items():
        side |= dict.fromkeys((before.image_ids[image] for image in before.ratings(split).image), part)
    cells = {(0, 0): "train", (0, 1): "val_seen", (0, 2): "test_seen", (1, 0): "val_context", (1, 1): "val_unseen"} | {
        (1, 2): "reserve",
        (2, 0): "test_context",
        (2, 1): "test_context",
        (2, 2): "test_unseen",
    }
    people = {before.user_ids[u]: 2 for u in before.ratings("test_unseen").user}
    people |= {before.user_ids[u]: 1 for u in before.ratings("val_unseen").user}
    total = 0
    for split in before.pair_splits:
        pairs = before.table("pairs", split)
        assert pairs.equals(after.table("pairs", split))
        total += len(pairs)
        for row in pairs.to_pylist():
            held_out = max(side[row["left_id"]], side[row["right_id"]])
            assert split == cells[people.get(row["user_id"], 0), held_out]
    assert total == 229


def test_bad_rows(folder, table):
    with open(table, "a") as file:
        file.write("u0,p0,nowhere,left,,1\nnobody,p0,p1,left,,1\nu0,p0,p0,tie,,1\nu0,p0,p1,maybe,,1\nu0,,p1,left,,1\n")
    with pytest.raises(SourceError, match="--strict refuses"):
        import_pairs(table, folder, strict=True)
    assert len(import_pairs(table, folder, dry_run=True).rejected) == 5
    assert not (folder / "pairs").exists()
    import_pairs(table, folder)
    rows = pq.read_table(folder / "rejected.parquet").to_pylist()
    assert [(row["file"], row["line"], row["reason"]) for row in rows] == [
        ("chosen.csv", 231, "unknown right_id"),
        ("chosen.csv", 232, "unknown user_id"),
        ("chosen.csv", 233, "a picture with itself"),
        ("chosen.csv", 234, "no choice"),
        ("chosen.csv", 235, "no left_id"),
    ]
    table.write_text("user_id,left_id,right_id,choice\nx,y,z,left\n")
    with pytest.raises(SourceError, match="No usable comparison"):
        import_pairs(table, folder, overwrite=True)
    with pytest.raises(SourceError, match="--map choice=preferred: there is no column 'preferred'"):
        import_pairs(table, folder, columns={"choice": "preferred"}, overwrite=True)


def test_imported_beside_pictures(source, table, tmp_path):
    table.rename(source / "pairs.csv")
    (source / "users.csv").unlink()
    summary = import_tidy(source, tmp_path / "data", (1, 5))
    assert summary.pairs == 229
    assert "240 ratings on a scale from 1 to 5, 229 comparisons" in str(summary)
    assert len(DataFolder(tmp_path / "data").table("pairs")) == 229
