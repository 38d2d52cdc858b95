import io

import openpyxl
import pyarrow.parquet as pq
import pytest

from modeling_pamela.data.folder import DataFolder
from modeling_pamela.data.importers.lapis import import_lapis
from modeling_pamela.data.tables import SourceError


TABLE = "annotation/LAPIS_individualratings_metaANDdemodata"


def as_sheet(text: bytes) -> bytes:
    book = openpyxl.Workbook()
    for line in text.decode().splitlines():
        book.active.append(
            [float(cell) if cell.replace(".", "").isdigit() else cell or None for cell in line.split(",")]
        )
    content = io.BytesIO()
    book.save(content)
    return content.getvalue()


def test_everything_arrives(lapis, make_folder, tmp_path):
    import_lapis(make_folder(tmp_path / "LAPIS", lapis), tmp_path / "data")
    data = DataFolder(tmp_path / "data")
    assert (data.rating_scale, data.splits) == ((0, 100), ["train"])
    assert data.image_ids == [str(100 + i) for i in range(9)]
    assert data.images["style"].to_pylist()[:2] == [None, "impressionism"]
    assert data.images["official_split"].to_pylist() == ["train"] * 4 + ["val"] * 2 + ["test"] * 3
    assert data.users.column_names == [
        *("user_id", "age", "nationality", "demo_gender", "demo_edu", "demo_colorblind"),
        *(f"VAIAK{k}" for k in range(1, 8)),
        *(f"2VAIAK{k}" for k in range(1, 5)),
    ]
    assert data.users["VAIAK3"].to_pylist() == [(u + 3) % 7 for u in range(8)]
    assert data.table("ratings").column_names[5:] == ["rt"]
    lines = lapis[f"{TABLE}.csv"].decode().splitlines()[1:]
    assert data.ratings("train").rating.tolist() == [float(line.split(",")[5]) for line in lines]
    for row, content in data.iter_image_bytes():
        assert content == lapis[f"images/émile_{row}.png"]


def test_a_fold_gives_the_published_split(lapis, make_zip, tmp_path):
    source = make_zip(tmp_path / "LAPIS.zip", {f"LAPIS/{name}": content for name, content in lapis.items()})
    import_lapis(source, tmp_path / "data", fold=2, val_users=2)
    data = DataFolder(tmp_path / "data")
    people = {split: {data.user_ids[user] for user in data.ratings(split).user} for split in data.splits}
    pictures = {split: {int(data.image_ids[i]) - 100 for i in data.ratings(split).image} for split in data.splits}
    assert people["test_unseen"] == people["test_context"] == {"2", "3"}
    assert len(people["val_unseen"]) == 2
    assert people["val_unseen"] | people["train"] == {"0", "1", "4", "5", "6", "7"}
    assert not people["val_unseen"] & people["train"]
    assert people["val_seen"] == people["test_seen"] == people["train"]
    assert pictures["train"] == pictures["val_context"] == {0, 1, 2, 3}
    assert pictures["val_seen"] == pictures["val_unseen"] == {4, 5}
    assert pictures["test_seen"] == pictures["test_unseen"] == pictures["reserve"] == {6, 7, 8}
    assert pictures["test_context"] == {0, 1, 2, 3, 4, 5}
    assert {path.stem for path in (data.path / "contexts").iterdir()} == {"train", "query"}


def test_a_spreadsheet_with_the_older_name_gives_the_same(lapis, make_folder, tmp_path):
    import_lapis(make_folder(tmp_path / "csv", lapis), tmp_path / "one", fold=1)
    text = lapis.pop(f"{TABLE}.csv").replace(b",file,", b",image_filename,")
    import_lapis(make_folder(tmp_path / "xlsx", lapis | {f"{TABLE}.xlsx": as_sheet(text)}), tmp_path / "two", fold=1)
    one, two = DataFolder(tmp_path / "one"), DataFolder(tmp_path / "two")
    assert one.splits == two.splits
    assert one.users.equals(two.users)
    assert one.images.equals(two.images)
    for split in one.splits:
        assert one.table("ratings", split).equals(two.table("ratings", split))


def test_people_of_no_list_are_reserved_and_unknown_names_told(lapis, make_folder, tmp_path):
    lapis["userset/TrainUserIDs_Fold1.txt"] = b"2\n3\n4\n5\n6\n"  # not 7
    lapis["userset/TestUserIDs_Fold1.txt"] = b"0\n1\n99\n"
    lapis["imageset/TestImageSet.txt"] += b"\nnowhere.png"
    summary = import_lapis(make_folder(tmp_path / "LAPIS", lapis), tmp_path / "data", fold=1, val_users=1)
    data = DataFolder(tmp_path / "data")
    assert "7" in {data.user_ids[user] for user in data.ratings("reserve").user}
    assert all("7" not in {data.user_ids[u] for u in data.ratings(s).user} for s in data.splits if s != "reserve")
    assert summary.notes["people of the fold without a rating"] == ["99"]
    assert summary.notes["pictures of the picture sets that nobody rated"] == ["nowhere.png"]


def test_a_picture_in_two_sets_is_refused(lapis, make_folder, tmp_path):
    lapis["imageset/TestImageSet.txt"] += "\némile_0.png".encode()
    with pytest.raises(SourceError, match="'100' is listed for 'train' and for 'test'"):
        import_lapis(make_folder(tmp_path / "LAPIS", lapis), tmp_path / "data")


def test_text_in_another_encoding(lapis, make_folder, tmp_path):
    lapis[f"{TABLE}.csv"] = lapis[f"{TABLE}.csv"].decode().encode("cp1252")
    source = make_folder(tmp_path / "LAPIS", lapis)
    with pytest.raises(SourceError, match="--encoding cp1252"):
        import_lapis(source, tmp_path / "data")
    assert import_lapis(source, tmp_path / "data", encoding="cp1252").pictures == 9


def test_bad_rows_are_set_aside(lapis, make_folder, tmp_path):
    del lapis["images/émile_3.png"]
    lines = lapis[f"{TABLE}.csv"].decode().splitlines()
    lines[1] = lines[1].replace(f",{lines[1].split(',')[5]},30,", ",101,30,")
    lapis[f"{TABLE}.csv"] = "\n".join(lines).encode()
    summary = import_lapis(make_folder(tmp_path / "LAPIS", lapis), tmp_path / "data")
    rows = pq.read_table(tmp_path / "data" / "rejected.parquet").to_pylist()
    assert (rows[0]["line"], rows[0]["reason"]) == (2, "rating off the scale")
    assert [row["reason"] for row in rows].count("image_id set aside") == 8
    assert (summary.ratings, summary.pictures) == (72 - 9, 8)
