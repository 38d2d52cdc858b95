import csv
import hashlib
import json
import os
import shutil
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from modeling_pamela.data.folder import DataFolder, DataFolderError
from modeling_pamela.data.importers import standard
from modeling_pamela.data.importers.tidy import import_tidy
from modeling_pamela.data.tables import SourceError


def read_csv(path: Path) -> list[dict[str, str]]:
    with open(path, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def append(path: Path, *lines: str) -> None:
    with open(path, "a", encoding="utf-8") as file:
        file.writelines(f"{line}\n" for line in lines)


def rejected(out: Path) -> list[tuple[str, int, str]]:
    return [(row["file"], row["line"], row["reason"]) for row in pq.read_table(out / "rejected.parquet").to_pylist()]


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_everything_arrives(source, folder):
    data = DataFolder(folder)
    assert data.rating_scale == (1.0, 5.0)
    assert data.splits == ["train"]
    assert data.user_ids == [f"u{u}" for u in range(12)]
    assert data.users["age"].to_pylist() == list(range(20, 32))
    assert data.users["gender"].to_pylist()[:3] == ["female", "male", None]
    assert data.images.column_names == ["image_id", "sha256", "width", "height", "prompt", "set", "year"]
    assert set(zip(data.images["width"].to_pylist(), data.images["height"].to_pylist(), strict=True)) == {(24, 16)}
    assert data.prompts[3] == "prompt 3"

    rows = read_csv(source / "ratings.csv")
    ratings = data.ratings("train")
    assert ratings.rating_id.tolist() == list(range(len(rows)))
    assert [data.user_ids[user] for user in ratings.user] == [row["user_id"] for row in rows]
    assert [data.image_ids[image] for image in ratings.image] == [row["image_id"] for row in rows]
    np.testing.assert_array_equal(ratings.rating, [float(row["rating"]) for row in rows])
    np.testing.assert_allclose(ratings.rating_norm, (ratings.rating - 1) / 4)
    assert data.table("ratings")["trial"].to_pylist() == [int(row["trial"]) for row in rows]

    for row, content in data.iter_image_bytes():
        assert content == (source / "pictures" / f"p{row}.png").read_bytes()
        assert hashlib.sha256(content).hexdigest() == data.images["sha256"][row].as_py()
    assert row == 19


def test_the_same_source_gives_the_same_bytes(source, folder, tmp_path):
    import_tidy(source, tmp_path / "again", (1, 5))
    assert contents(folder) == contents(tmp_path / "again")


def test_pictures_are_written_in_shards(source, tmp_path, monkeypatch):
    monkeypatch.setattr(standard, "SHARD_BYTES", 3000)
    monkeypatch.setattr(standard, "_BATCH", 2)
    import_tidy(source, tmp_path / "data", (1, 5))
    shards = sorted(path.name for path in (tmp_path / "data" / "images").iterdir())
    assert len(shards) > 3
    assert shards[1] == f"train-00001-of-{len(shards):05d}.parquet"
    data = DataFolder(tmp_path / "data")
    assert data.image_ids == [f"p{i}" for i in range(20)]
    assert [row for row, _ in data.iter_image_bytes()] == list(range(20))
    (tmp_path / "data" / "images" / shards[1]).unlink()
    with pytest.raises(DataFolderError, match=f"{len(shards) - 1} of {len(shards)} images shards"):
        _ = DataFolder(tmp_path / "data").images


def test_bad_ratings_are_set_aside_by_name(source, tmp_path):
    # Header and 240 rows come before: these are lines 242 to 255.
    append(
        source / "ratings.csv",
        "u0,p0",
        "u0,nowhere,3,1",
        "nobody,p0,3,1",
        ",p0,3,1",
        "new1,p1,0.99,1",
        "u1,p1,9,1",
        "u1,p1,nan,1",
        "u1,p1,inf,1",
        "u1,p1,good,1",
        "u1,p1,,1",
        'u1,p1,"4,5",1',
    )
    append(source / "users.csv", "new1,1,x")
    summary = import_tidy(source, tmp_path / "data", (1, 5))
    assert rejected(tmp_path / "data") == [
        ("ratings.csv", 242, "wrong number of fields"),
        ("ratings.csv", 243, "unknown image_id"),
        ("ratings.csv", 244, "unknown user_id"),
        ("ratings.csv", 245, "no user_id"),
        ("ratings.csv", 246, "rating off the scale"),
        ("ratings.csv", 247, "rating off the scale"),
        ("ratings.csv", 248, "rating not a number"),
        ("ratings.csv", 249, "rating not a number"),
        ("ratings.csv", 250, "rating not a number"),
        ("ratings.csv", 251, "no rating"),
        ("ratings.csv", 252, "rating not a number"),
    ]
    assert summary.ratings == 240
    assert summary.notes["people without a rating"] == ["new1"]
    text = str(summary)
    assert "11 source rows set aside" in text
    assert "2 in ratings.csv: rating off the scale; first on line 246: rating 0.99 is outside 1 to 5" in text
    row = pq.read_table(tmp_path / "data" / "rejected.parquet").to_pylist()[4]
    assert json.loads(row["row"]) == {"user_id": "new1", "image_id": "p1", "rating": "0.99", "trial": "1"}


def repeats(write_table, source: Path) -> None:
    rows = [
        ("u0", "p0", 3, 1),  # rated once
        ("u0", "p1", 3, 1),  # the same again
        ("u0", "p1", 3, 2),
        ("u0", "p2", 4, 2),  # differently again
        ("u0", "p2", 2, 1),
        ("u0", "p3", 4, 1),  # differently, and nothing says which came first
        ("u0", "p3", 5, 1),
        ("u0", "p4", 4, 1),  # one of them is no rating
        ("u0", "p4", 99, 2),
        ("u0", "p5", 4, ""),  # a repetition number is missing
        ("u0", "p5", 5, 1),
    ]
    write_table(
        source / "ratings.csv",
        [dict(zip(("user_id", "image_id", "rating", "repetition"), row, strict=True)) for row in rows],
    )


def kept(out: Path) -> list[int]:
    return DataFolder(out).ratings("train").rating_id.tolist()


def test_repeated_ratings(source, write_table, tmp_path):
    repeats(write_table, source)
    import_tidy(source, tmp_path / "data", (1, 5))
    assert kept(tmp_path / "data") == [0, 1, 7]
    reasons = {line: reason for _, line, reason in rejected(tmp_path / "data")}
    assert reasons == {4: "repeated rating", 10: "rating off the scale"} | dict.fromkeys(
        (5, 6, 7, 8, 11, 12), "conflicting ratings"
    )


def test_repeated_ratings_with_a_repetition_column(source, write_table, tmp_path):
    repeats(write_table, source)
    import_tidy(source, tmp_path / "data", (1, 5), repetition="repetition")
    assert kept(tmp_path / "data") == [0, 1, 4, 7]
    reasons = {line: reason for _, line, reason in rejected(tmp_path / "data")}
    assert reasons == {
        4: "later repetition",
        5: "later repetition",
        7: "conflicting ratings",
        8: "conflicting ratings",
        10: "rating off the scale",
        11: "conflicting ratings",
        12: "conflicting ratings",
    }


def test_bad_pictures_are_set_aside_with_their_ratings(source, tmp_path):
    pictures = source / "pictures"
    (pictures / "p0.png").unlink()
    (pictures / "p1.png").write_bytes(b"")
    (pictures / "p2.png").write_bytes((pictures / "p2.png").read_bytes()[:200])
    Image.new("RGB", (1, 1)).save(pictures / "p3.png")
    append(source / "images.csv", "p20,,no file,A,1", "p4,pictures/p5.png,another p4,A,1", ",pictures/p5.png,,A,1")
    summary = import_tidy(source, tmp_path / "data", (1, 5))
    assert (summary.pictures, summary.ratings) == (15, 12 * 15)
    found = [row for row in rejected(tmp_path / "data") if row[0] == "images.csv"]
    assert found == [
        *(("images.csv", line, "unusable picture") for line in (2, 3, 4, 5)),
        ("images.csv", 6, "conflicting rows of one image_id"),
        ("images.csv", 22, "unusable picture"),
        ("images.csv", 23, "conflicting rows of one image_id"),
        ("images.csv", 24, "no image_id"),
    ]
    details = [row["detail"] for row in pq.read_table(tmp_path / "data" / "rejected.parquet").to_pylist()]
    assert "pictures/p1.png: the file is empty" in details
    assert "image_id 'p0' was set aside, see images.csv" in details
    assert DataFolder(tmp_path / "data").images["year"].to_pylist() == list(range(2005, 2020))


def test_odd_pictures_are_kept_as_they_are(source, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (30, 20)).save(source / "pictures" / "p0.png", "JPEG", exif=exif)
    Image.new("CMYK", (30, 20)).save(source / "pictures" / "p1.png", "JPEG")
    (source / "pictures" / "p2.png").write_bytes((source / "pictures" / "p3.png").read_bytes())
    import_tidy(source, tmp_path / "data", (1, 5))
    data = DataFolder(tmp_path / "data")
    assert (data.images["width"][0].as_py(), data.images["height"][0].as_py()) == (20, 30)
    assert next(data.iter_image_bytes())[1] == (source / "pictures" / "p0.png").read_bytes()
    assert data.images["sha256"][2] == data.images["sha256"][3]  # one picture, two names


def test_users_with_trouble(source, tmp_path):
    append(source / "users.csv", "u0,20,female", "u1,99,male")
    summary = import_tidy(source, tmp_path / "data", (1, 5))
    found = [row for row in rejected(tmp_path / "data") if row[0] == "users.csv"]
    assert found == [
        ("users.csv", 3, "conflicting rows of one user_id"),
        ("users.csv", 14, "repeated row"),
        ("users.csv", 15, "conflicting rows of one user_id"),
    ]
    assert (summary.users, summary.ratings) == (11, 220)


def test_people_are_made_from_the_ratings(source, tmp_path):
    (source / "users.csv").unlink()
    summary = import_tidy(source, tmp_path / "data", (1, 5))
    assert summary.users == 12
    assert DataFolder(tmp_path / "data").users.column_names == ["user_id"]
    with pytest.raises(SourceError, match="no file"):
        import_tidy(source, tmp_path / "more", (1, 5), users_file="users.csv")


def test_people_with_one_or_equal_ratings_are_kept_and_named(source, write_table, tmp_path):
    (source / "users.csv").unlink()
    rows = [("one", "p0", 2), ("flat", "p0", 4), ("flat", "p1", 4), ("other", "p0", 1), ("other", "p1", 4)]
    write_table(
        source / "ratings.csv", [dict(zip(("user_id", "image_id", "rating"), row, strict=True)) for row in rows]
    )
    summary = import_tidy(source, tmp_path / "data", (1, 5))
    assert summary.ratings == 5
    assert summary.notes["people with a single rating"] == ["one"]
    assert summary.notes["people who gave all pictures the same rating"] == ["flat"]
    assert summary.notes["pictures without a rating"] == [f"p{i}" for i in range(2, 20)]


def test_prompts(source, write_table, tmp_path):
    rows = read_csv(source / "images.csv")
    prompts = ["", "  ", "猫と月 🌙", "nan", 'two\nlines, "quoted"', " kept as it is "]
    for row, prompt in zip(rows, prompts, strict=False):
        row["prompt"] = prompt
    write_table(source / "images.csv", rows)
    import_tidy(source, tmp_path / "data", (1, 5))
    assert DataFolder(tmp_path / "data").prompts[:6] == [None, None, *prompts[2:]]


def test_column_mapping(source, write_table, tmp_path):
    (source / "users.csv").unlink()
    ratings = [
        {"who": row["user_id"], "filename": f"pictures/{row['image_id']}.png", "score": row["rating"]}
        for row in read_csv(source / "ratings.csv")
    ]
    images = [
        {"filename": row["file"], "caption": row["prompt"], "width": "?"} for row in read_csv(source / "images.csv")
    ]
    write_table(source / "votes.csv", ratings)
    write_table(source / "images.csv", images)
    columns = {"user_id": "who", "image_id": "filename", "file": "filename", "rating": "score", "prompt": "caption"}
    summary = import_tidy(source, tmp_path / "data", (1, 5), ratings_file="votes.csv", columns=columns)
    assert summary.ratings == 240
    assert summary.notes["columns replaced by computed ones"] == ["images.width"]
    data = DataFolder(tmp_path / "data")
    assert data.image_ids[1] == "pictures/p1.png"
    assert data.prompts[1] == "prompt 1"
    assert data.images.column_names == ["image_id", "sha256", "width", "height", "prompt"]
    assert data.table("images")["image"][1].as_py()["path"] == "pictures/p1.png"


def test_a_mapping_for_one_table(source, tmp_path):
    import_tidy(source, tmp_path / "data", (1, 5), columns={"users.years": "age", "images.age": "year"})
    data = DataFolder(tmp_path / "data")
    assert "years" in data.users.column_names
    assert "age" in data.images.column_names


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"rating": "score"}, r"--map rating=score: there is no column 'score'. Found ratings.csv: \['user_id'"),
        ({"image_id": "set"}, "images.csv has a column 'image_id' already"),
    ],
)
def test_mappings_that_do_not_fit(source, tmp_path, columns, message):
    with pytest.raises(SourceError, match=message):
        import_tidy(source, tmp_path / "data", (1, 5), columns=columns)


@pytest.mark.parametrize("scale", [(5, 1), (1, 1), (float("nan"), 5), (1, float("inf"))])
def test_impossible_scales(source, tmp_path, scale):
    with pytest.raises(SourceError, match="The scale goes from"):
        import_tidy(source, tmp_path / "data", scale)


def test_missing_columns_and_files(source, tmp_path):
    (source / "ratings.csv").write_text("user_id,picture,score\nu0,p0,3\n")
    with pytest.raises(SourceError, match=r"lacks 'image_id', 'rating'.*--map image_id=COLUMN"):
        import_tidy(source, tmp_path / "data", (1, 5))
    with pytest.raises(SourceError, match=r"no file .*votes.csv"):
        import_tidy(source, tmp_path / "data", (1, 5), ratings_file="votes.csv")
    with pytest.raises(SourceError, match="no folder"):
        import_tidy(tmp_path / "absent", tmp_path / "data", (1, 5))
    assert sorted(os.listdir(tmp_path)) == ["source"]


@pytest.mark.parametrize("rows", ["", "u0,p0,9,1\n", "x,y,z,1\n"])
def test_nothing_usable(source, tmp_path, rows):
    (source / "ratings.csv").write_text(f"user_id,image_id,rating,trial\n{rows}")
    with pytest.raises(SourceError, match=r"No usable rating|has a header but no rows"):
        import_tidy(source, tmp_path / "data", (1, 5))
    assert sorted(os.listdir(tmp_path)) == ["source"]


def test_strict_and_dry_run_write_nothing(source, tmp_path):
    append(source / "ratings.csv", "u0,p0,77,1")
    with pytest.raises(SourceError, match=r"--strict refuses(.*\n){3}.*line 242"):
        import_tidy(source, tmp_path / "data", (1, 5), strict=True)
    summary = import_tidy(source, tmp_path / "data", (1, 5), dry_run=True)
    assert (summary.ratings, len(summary.rejected)) == (240, 1)
    assert sorted(os.listdir(tmp_path)) == ["source"]


def test_a_taken_folder_is_left_alone(source, folder, tmp_path):
    before = contents(folder)
    with pytest.raises(DataFolderError, match=r"is not empty.*--overwrite"):
        import_tidy(source, folder, (1, 5))
    assert contents(folder) == before
    import_tidy(source, folder, (0, 10), overwrite=True)
    assert DataFolder(folder).rating_scale == (0, 10)

    with pytest.raises(DataFolderError, match="is not a data set, so --overwrite does not delete it"):
        import_tidy(source, source, (1, 5), overwrite=True)
    with pytest.raises(DataFolderError, match="is not a data set"):
        import_tidy(source, tmp_path, (1, 5), overwrite=True)


def test_a_source_inside_the_target_is_refused(folder, tmp_path):
    (tmp_path / "source").rename(folder / "source")
    with pytest.raises(SourceError, match="lies inside"):
        import_tidy(folder / "source", folder, (1, 5), overwrite=True)


def test_the_sources_card_is_carried_over(source, tmp_path):
    (source / "README.md").write_text("---\nlicense: mit\npamela:\n  simulated: true\nconfigs: []\n---\n# Source\n")
    import_tidy(source, tmp_path / "data", (1, 5))
    metadata = DataFolder(tmp_path / "data").metadata
    assert metadata["license"] == "mit"
    assert metadata["pamela"] == {"simulated": True, "rating_scale": [1.0, 5.0]}
    assert metadata["configs"]
    (source / "README.md").write_text("---\nlicense: [mit\n---\n")
    with pytest.raises(SourceError, match="not valid YAML"):
        import_tidy(source, tmp_path / "more", (1, 5))


def test_paths_that_lead_out_of_the_source_are_not_read(source, write_table, tmp_path):
    outside = tmp_path / "private.png"
    outside.write_bytes((source / "pictures" / "p0.png").read_bytes())
    (source / "link.png").symlink_to(outside)
    rows = read_csv(source / "images.csv")
    for row, file in zip(rows, (str(outside), "../private.png", "link.png", "C:\\private.png"), strict=False):
        row["file"] = file
    write_table(source / "images.csv", rows)
    assert import_tidy(source, tmp_path / "data", (1, 5)).pictures == 16
    details = [row["detail"] for row in pq.read_table(tmp_path / "data" / "rejected.parquet").to_pylist()]
    for problem in ("the path is absolute", "../private.png: the path leads out", "link.png: a symbolic link", "C:"):
        assert any(problem in detail for detail in details)


@pytest.mark.skipif("PAMELA_OASIS_DIR" not in os.environ, reason="needs the OASIS data: set PAMELA_OASIS_DIR")
def test_oasis_retest_keeps_first_impressions(tmp_path):
    oasis = Path(os.environ["PAMELA_OASIS_DIR"])
    source = tmp_path / "source"
    shutil.copytree(oasis / "images", source / "images")
    shutil.copy(oasis / "images.csv", source)
    shutil.copy(oasis / "retest.csv", source / "ratings.csv")  # by other people than those in users.csv
    summary = import_tidy(source, tmp_path / "data", (1, 7), columns={"prompt": "caption"}, repetition="repetition")
    first: dict[tuple[str, str], tuple[str, str]] = {}
    for row in read_csv(oasis / "retest.csv"):
        pair, given = (row["user_id"], row["image_id"]), (row["repetition"], row["rating"])
        first[pair] = min(given, first.get(pair, given))
    data = DataFolder(tmp_path / "data")
    kept_ratings = data.ratings("train")
    assert {
        (data.user_ids[user], data.image_ids[image]): rating
        for user, image, rating in zip(kept_ratings.user, kept_ratings.image, kept_ratings.rating, strict=True)
    } == {pair: float(rating) for pair, (_, rating) in first.items()}
    assert summary.ratings + len(summary.rejected) == 3246


def test_a_full_disk_leaves_nothing(source, tmp_path, full_disk):
    with pytest.raises(OSError, match="too large"), full_disk(4000):
        import_tidy(source, tmp_path / "data", (1, 5))
    assert sorted(os.listdir(tmp_path)) == ["source"]
