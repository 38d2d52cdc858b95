import json
import os
import shutil
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from modeling_pamela.data.folder import DataFolder
from modeling_pamela.data.importers.pamela import import_pamela
from modeling_pamela.data.importers.tidy import import_tidy
from modeling_pamela.data.splits import SplitOptions, split_folder
from modeling_pamela.data.tables import SourceError


CONTEXTS = {"max_query_context": 2, "min_queries": 2}


def records(files: dict[str, bytes], split: str = "train") -> list[dict]:
    return json.loads(files[f"PAMELA/annotations/pamela_{split}.json"])


def change(files: dict[str, bytes], content: object, split: str = "train") -> None:
    files[f"PAMELA/annotations/pamela_{split}.json"] = json.dumps(content).encode()


def rejected(out: Path) -> list[tuple[str, int, str]]:
    return [(row["file"], row["line"], row["reason"]) for row in pq.read_table(out / "rejected.parquet").to_pylist()]


def triples(data: DataFolder, split: str) -> dict[tuple[str, str], float]:
    ratings = data.ratings(split)
    return {
        (data.user_ids[user], data.image_ids[image]): rating
        for user, image, rating in zip(ratings.user, ratings.image, ratings.rating, strict=True)
    }


def test_everything_arrives(pamela, make_zip, tmp_path):
    summary = import_pamela(make_zip(tmp_path / "PAMELA.zip", pamela), tmp_path / "data", **CONTEXTS)
    data = DataFolder(tmp_path / "data")
    assert data.rating_scale == (0, 100)
    assert data.splits == ["train", "val_seen", "val_unseen", "test_seen", "test_unseen"]
    for split in data.splits:
        expected = {(str(r["participant_id"]), r["image_id"]): r["original_score"] for r in records(pamela, split)}
        assert triples(data, split) == expected
    assert rejected(tmp_path / "data") == []

    users = {row["user_id"]: row for row in data.users.to_pylist()}
    assert list(users) == ["1", "2", "3", "4", "n1", "n2", "m1", "m2", "m3"]
    assert users["1"] == {
        "user_id": "1",
        "age": 20,
        "age_binned": "18-25",
        "gender": "female",
        "nationality": None,
        "education": None,
    }
    assert users["2"]["gender"] is None
    assert users["3"]["education"] == "master"
    images = {row["image_id"]: row for row in data.images.to_pylist()}
    assert len(images) == 21
    assert (images["t0"]["prompt"], images["t0"]["style"], images["t1"]["style"]) == ("a picture of t0", "oil", None)
    assert (images["t0"]["seeds"], images["t2"]["seeds"]) == (None, "[1, 2]")
    for row, content in data.iter_image_bytes():
        assert content == pamela[f"PAMELA/images/{data.image_ids[row]}.png"]
    table = data.table("ratings", "train")
    assert table.column_names[5:] == ["session", "official_split"]
    assert table["session"].to_pylist()[:8] == list(range(8))

    text = str(summary)
    assert "scale read from the scores, which go from 0 to 100: 0 to 100" in text
    assert "train: 32 instead of 50,222" in text
    assert "pictures: 21 instead of 5,077" in text
    assert "val_unseen          12        2         6" in text


def test_contexts_are_drawn_for_the_new_people_only(pamela, make_zip, tmp_path):
    import_pamela(make_zip(tmp_path / "PAMELA.zip", pamela), tmp_path / "data", **CONTEXTS, draws=3)
    data = DataFolder(tmp_path / "data")
    assert not (data.path / "contexts" / "train.parquet").exists()
    for split, users in (("val_unseen", {"n1", "n2"}), ("test_unseen", {"m1", "m2", "m3"})):
        draws = data.contexts("query", split)
        assert {data.user_ids[draw.user] for draw in draws} == users
        assert len(draws) == 3 * len(users)
        ratings = data.ratings(split)
        own = dict(zip(ratings.rating_id.tolist(), ratings.user.tolist(), strict=True))
        assert all(
            own[rating] == draw.user and len(draw.rating_ids) == 2 for draw in draws for rating in draw.rating_ids
        )


def test_a_folder_gives_what_the_zip_gives(pamela, make_zip, make_folder, tmp_path):
    import_pamela(make_zip(tmp_path / "PAMELA.zip", pamela), tmp_path / "zip", **CONTEXTS)
    import_pamela(make_folder(tmp_path / "unpacked", pamela), tmp_path / "parent", **CONTEXTS)
    import_pamela(tmp_path / "unpacked" / "PAMELA", tmp_path / "root", **CONTEXTS)

    def contents(name: str) -> dict[str, bytes]:
        files = (tmp_path / name).rglob("*")
        return {str(path.relative_to(tmp_path / name)): path.read_bytes() for path in files if path.is_file()}

    assert contents("zip") == contents("parent") == contents("root")


def test_the_published_split_can_be_had_again(pamela, make_zip, tmp_path):
    import_pamela(make_zip(tmp_path / "PAMELA.zip", pamela), tmp_path / "data", **CONTEXTS)
    before = DataFolder(tmp_path / "data")
    options = before.metadata["pamela"]["split"]
    split_folder(before.path, SplitOptions(1, 2, 2, 4, 4, **CONTEXTS), tmp_path / "other")
    split_folder(tmp_path / "other", SplitOptions(**options), tmp_path / "again")
    again = DataFolder(tmp_path / "again")
    assert again.splits == before.splits
    for split in again.splits:
        assert again.table("ratings", split).equals(before.table("ratings", split))


def test_bad_records_are_set_aside(pamela, make_zip, tmp_path):
    files = dict(pamela)
    train = records(files)
    train[2]["original_score"] = "great"
    train[3]["original_score"] = None
    train[4]["participant_id"] = None
    train[6] |= {"original_score": 101}
    train.append("no record")
    train.append(train[0])
    train.append(train[1] | {"original_score": 3})
    change(files, train)
    del files["PAMELA/images/v0.png"]  # rated by 4 training and 2 validation people
    source = make_zip(tmp_path / "PAMELA.zip", files, corrupt="PAMELA/images/s0.png")
    summary = import_pamela(source, tmp_path / "data", (0, 100), **CONTEXTS)
    found = rejected(tmp_path / "data")
    assert [(line, reason) for file, line, reason in found if file == "pamela_train.json"] == [
        (2, "conflicting ratings"),
        (3, "rating not a number"),
        (4, "no rating"),
        (5, "no user_id"),
        (7, "rating off the scale"),
        (33, "not a record"),
        (34, "repeated rating"),
        (35, "conflicting ratings"),
    ]
    details = [row["detail"] for row in pq.read_table(tmp_path / "data" / "rejected.parquet").to_pylist()]
    assert sum("v0.png: there is no such file" in detail for detail in details) == 1
    assert sum("s0.png: damaged in the archive" in detail for detail in details) == 1
    assert sum(reason == "image_id set aside" for *_, reason in found) == 4 + 2 + 4 + 3
    assert summary.pictures == 19
    assert summary.ratings == 35 - 8 + 24 + 12 + 28 + 21 - 13


def test_contradictory_attributes(pamela, make_zip, tmp_path):
    files = dict(pamela)
    train = records(files)
    train[3]["user_demographics"]["age"] = 77  # person 1
    change(files, train)
    summary = import_pamela(make_zip(tmp_path / "PAMELA.zip", files), tmp_path / "data", **CONTEXTS)
    data = DataFolder(tmp_path / "data")
    assert data.users["age"].to_pylist()[:2] == [None, 21]
    assert data.table("ratings", "train")["age"].to_pylist()[:5] == [20, 20, 20, 77, 20]
    assert summary.notes["people with several values of 'age', which is left empty"] == ["1"]


def test_leaks_are_named(pamela, make_zip, tmp_path):
    files = dict(pamela)
    change(files, [*records(files), records(files, "val_unseen")[0]])
    change(files, records(files, "val_unseen")[1:], "val_unseen")
    summary = import_pamela(make_zip(tmp_path / "PAMELA.zip", files), tmp_path / "data", **CONTEXTS, dry_run=True)
    assert summary.notes["people of unseen splits who are in 'train' too"] == ["n1"]
    assert summary.notes["pictures of validation or test splits that are in 'train' too"] == ["v0"]
    assert not (tmp_path / "data").exists()
    assert "train 33, val_seen 24, val_unseen 11, test_seen 28, test_unseen 21" in str(summary)


@pytest.mark.parametrize(
    ("low", "high", "scale"), [(0, 1, (0, 1)), (1, 5, (1, 5)), (1.01, 10, (1, 10)), (0.5, 80, None), (1, 6, None)]
)
def test_the_scale_is_read_or_asked_for(pamela, make_zip, tmp_path, low, high, scale):
    files = dict(pamela)
    for split in ("train", "val_seen", "val_unseen", "test_seen", "test_unseen"):
        rows = records(files, split)
        scores = np.linspace(low, high, len(rows)).tolist()
        change(files, [row | {"original_score": score} for row, score in zip(rows, scores, strict=True)], split)
    source = make_zip(tmp_path / "PAMELA.zip", files)
    if scale is not None:
        assert import_pamela(source, tmp_path / "data", **CONTEXTS, dry_run=True).rating_scale == scale
    else:
        with pytest.raises(SourceError, match=rf"go from {low:g} to {high:g}, so .*Pass --scale LOW HIGH"):
            import_pamela(source, tmp_path / "data", **CONTEXTS, dry_run=True)
        assert import_pamela(source, tmp_path / "data", (0, 90), **CONTEXTS, dry_run=True).rating_scale == (0, 90)


def test_unreadable_sources(pamela, make_zip, tmp_path):
    with pytest.raises(ValueError, match="no folder or file"):
        import_pamela(tmp_path / "absent.zip", tmp_path / "data")
    (tmp_path / "cut.zip").write_bytes(make_zip(tmp_path / "PAMELA.zip", pamela).read_bytes()[:-50])
    with pytest.raises(ValueError, match="is not a zip file, or is cut off"):
        import_pamela(tmp_path / "cut.zip", tmp_path / "data")
    with pytest.raises(ValueError, match=r"should hold annotations/pamela_train.json"):
        import_pamela(make_zip(tmp_path / "other.zip", {"a.txt": b""}), tmp_path / "data")
    for content, problem in ((b"[{", "not valid JSON"), (b"{}", "holds a JSON dict; expected a list")):
        files = pamela | {"PAMELA/annotations/pamela_test_seen.json": content}
        with pytest.raises(SourceError, match=problem):
            import_pamela(make_zip(tmp_path / "bad.zip", files), tmp_path / "data")
    files = dict(pamela)
    del files["PAMELA/annotations/pamela_test_seen.json"]
    with pytest.raises(SourceError, match=r"pamela_test_seen.json: there is no such file"):
        import_pamela(make_zip(tmp_path / "less.zip", files), tmp_path / "data")


@pytest.mark.skipif("PAMELA_OASIS_DIR" not in os.environ, reason="needs the OASIS data: set PAMELA_OASIS_DIR")
def test_oasis_in_this_format_gives_the_same_ratings(make_zip, tmp_path):
    oasis = Path(os.environ["PAMELA_OASIS_DIR"])
    (tmp_path / "images").mkdir()
    header, *lines = (oasis / "images.csv").read_text().splitlines(keepends=True)
    (tmp_path / "images.csv").write_text("".join([header, *lines[::5]]))
    for line in lines[::5]:
        shutil.copy(oasis / line.split(",")[1], tmp_path / "images")
    for name in ("users.csv", "ratings.csv"):
        shutil.copy(oasis / name, tmp_path)
    import_tidy(tmp_path, tmp_path / "tidy", (1, 7), columns={"prompt": "caption"})
    split_folder(tmp_path / "tidy", SplitOptions(0, group="subset", max_query_context=3))
    data = DataFolder(tmp_path / "tidy")
    users = {row.pop("user_id"): row for row in data.users.to_pylist()}
    images = {row.pop("image_id"): row for row in data.images.to_pylist()}
    paths = data.table("images").column("image").combine_chunks().field("path").to_pylist()
    path_of = dict(zip(data.image_ids, paths, strict=True))
    splits = ("train", "val_seen", "val_unseen", "test_seen", "test_unseen")
    files = {f"images/{name}": content for (_, content), name in zip(data.iter_image_bytes(), paths, strict=True)}
    for split in splits:
        rows = [
            {
                "participant_id": user,
                "image_id": image,
                "image_path": f"./images/{path_of[image]}",
                "original_score": rating,
                "image_metadata": {
                    "prompt": images[image]["prompt"],
                    "group": images[image]["category"],
                    "style": None,
                },
                "user_demographics": users[user],
            }
            for (user, image), rating in triples(data, split).items()
        ]
        files[f"PAMELA/annotations/pamela_{split}.json"] = json.dumps(rows).encode()
    files = {name if name.startswith("PAMELA/") else f"PAMELA/{name}": content for name, content in files.items()}
    import_pamela(make_zip(tmp_path / "PAMELA.zip", files), tmp_path / "data", max_query_context=3)
    back = DataFolder(tmp_path / "data")
    for split in splits:
        assert triples(back, split) == triples(data, split)
    assert back.rating_scale == data.rating_scale
    found = {row.pop("user_id"): row for row in back.users.to_pylist()}
    assert found == {user: users[user] for user in found}
    drawn = {back.user_ids[draw.user] for draw in back.contexts("query", "test_unseen")}
    assert drawn == {data.user_ids[draw.user] for draw in data.contexts("query", "test_unseen")}
