import pyarrow.parquet as pq
import pytest

from modeling_pamela.data.folder import DataFolder
from modeling_pamela.data.importers.para import import_para
from modeling_pamela.data.splits import SplitError, SplitOptions, split_folder
from modeling_pamela.data.tables import SourceError


def test_everything_arrives(para, make_zip, tmp_path):
    source = make_zip(tmp_path / "PARA.zip", {f"PARA/{name}": content for name, content in para.items()})
    summary = import_para(source, tmp_path / "data")
    data = DataFolder(tmp_path / "data")
    assert data.rating_scale == (1, 5)
    assert (summary.users, summary.pictures, summary.ratings) == (6, 15, 90)
    assert data.image_ids[5:7] == ["session1/iaa_0.png", "session1/iaa_1.png"]
    assert data.images.to_pylist()[5]["semantic"] == "night scene"
    assert data.images["official_split"].to_pylist() == ["train"] * 10 + ["test"] * 4 + [None]
    assert data.users.column_names[-5:] == [f"personality-{trait}" for trait in "EANOC"]
    table = data.table("ratings")
    assert table.column_names[5:8] == ["qualityScore", "compositionScore", "colorScore"]
    lines = [line.split(",") for line in para["annotation/PARA-Images.csv"].decode().splitlines()[1:]]
    assert table["rating"].to_pylist() == [float(line[3]) for line in lines]
    assert table["lightScore"].to_pylist() == [float(line[9]) for line in lines]
    for row, content in data.iter_image_bytes():
        assert content == para[f"imgs/{data.image_ids[row]}"]


def test_split_by_the_published_pictures(para, make_folder, tmp_path):
    import_para(make_folder(tmp_path / "PARA", para), tmp_path / "data")
    options = SplitOptions(0, 2, 1, val_pictures=2, pictures_from="official_split", max_query_context=2, min_queries=2)
    split_folder(tmp_path / "data", options)
    data = DataFolder(tmp_path / "data")
    pictures = {split: {data.image_ids[image] for image in data.ratings(split).image} for split in data.splits}
    published = dict(zip(data.image_ids, data.images["official_split"].to_pylist(), strict=True))
    assert pictures["test_unseen"] == pictures["test_seen"] == {p for p, part in published.items() if part == "test"}
    assert len(pictures["val_seen"]) == 2
    assert pictures["val_seen"] == pictures["val_unseen"]
    assert pictures["train"] | pictures["val_seen"] == {p for p, part in published.items() if part == "train"}
    assert "session2/iaa_4.png" in pictures["reserve"]  # in neither list


def test_columns_that_hold_no_parts(para, make_folder, tmp_path):
    import_para(make_folder(tmp_path / "PARA", para), tmp_path / "data")
    with pytest.raises(SplitError, match="no column 'split'"):
        split_folder(tmp_path / "data", SplitOptions(0, pictures_from="split"))
    with pytest.raises(
        SplitError, match=r"'semantic' of the pictures holds \['portrait', 'night scene'\]; expected train"
    ):
        split_folder(tmp_path / "data", SplitOptions(0, pictures_from="semantic"))
    with pytest.raises(SplitError, match="'imgEmotion' of the ratings holds joy; expected train"):
        split_folder(tmp_path / "data", SplitOptions(0, ratings_from="imgEmotion"))


def test_a_person_listed_twice_with_different_demographics(para, make_folder, tmp_path):
    users = para["annotation/PARA-UserInfo.csv"].decode().splitlines()
    para["annotation/PARA-UserInfo.csv"] = "\n".join([*users, users[1].replace("18-21", "30-39"), users[2]]).encode()
    summary = import_para(make_folder(tmp_path / "PARA", para), tmp_path / "data")
    rows = pq.read_table(tmp_path / "data" / "rejected.parquet").to_pylist()
    assert [(row["line"], row["reason"]) for row in rows if row["file"] == "PARA-UserInfo.csv"] == [
        (2, "conflicting rows of one user_id"),
        (8, "conflicting rows of one user_id"),
        (9, "repeated row"),
    ]
    assert (summary.users, summary.ratings) == (5, 75)


def test_a_wrong_delimiter_is_told(para, make_folder, tmp_path):
    para["annotation/PARA-Images.csv"] = para["annotation/PARA-Images.csv"].replace(b",", b";")
    with pytest.raises(SourceError, match="seems to be separated by ';'"):
        import_para(make_folder(tmp_path / "PARA", para), tmp_path / "data")
