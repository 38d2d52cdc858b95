import io
import shutil

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from huggingface_hub import metadata_load
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from typer.testing import CliRunner

from modeling_pamela.cli.data import data_app
from modeling_pamela.data.folder import DataFolder, DataFolderError, write_card
from modeling_pamela.data.schema import PAIRS, arrow_schema
from modeling_pamela.data.splits import SplitOptions, split_folder
from modeling_pamela.data.validate import Violation, validate_folder


@pytest.fixture
def split(folder):
    options = SplitOptions(
        0, test_users=3, val_users=2, test_pictures=3, val_pictures=3, group="set", max_query_context=2, min_queries=2
    )
    split_folder(folder, options)
    return folder


IMAGES = "images/train-00000-of-00001.parquet"


def edit(folder, file, change):
    """Changes rows of a table, each a dict, in place."""
    table = pq.read_table(folder / file)
    rows = table.to_pylist()
    rows = change(rows) or rows
    (folder / file).unlink()  # other folders may be hard-linked to it
    pq.write_table(pa.Table.from_pylist(rows, table.schema), folder / file)


def put(folder, file, row, **values):
    edit(folder, file, lambda rows: rows[row].update(values))


def found(folder):
    return [(v.rule, v.file, v.row) for v in validate_folder(folder).violations]


def rows_of(folder, split):
    return pq.read_table(folder / f"ratings/{split}.parquet").to_pylist()


def png(seed, size=(24, 16)):
    buffer = io.BytesIO()
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def test_good_folders_are_clean(folder, split):
    report = validate_folder(split)
    assert report.violations == []
    assert report.counts == {"users": 12, "images": 20, "ratings": 240, "contexts": 50}


def test_not_a_folder(tmp_path):
    with pytest.raises(DataFolderError, match="no folder"):
        validate_folder(tmp_path / "absent")
    assert found(tmp_path) == [("card", "README.md", None)]


@pytest.mark.parametrize(
    ("file", "row", "values", "rules"),
    [
        (IMAGES, 2, {"sha256": "0" * 64}, {("hash wrong", IMAGES, 2)}),
        (IMAGES, 2, {"image": None}, {("picture without bytes", IMAGES, 2)}),
        (IMAGES, 2, {"image": {"bytes": None, "path": "a.png"}}, {("picture without bytes", IMAGES, 2)}),
        (IMAGES, 2, {"image": {"bytes": png(99), "path": "a.png"}}, {("hash wrong", IMAGES, 2)}),
        (IMAGES, 2, {"image": {"bytes": b"\x89PNG", "path": "a.png"}}, {("hash wrong", IMAGES, 2), ("picture cannot be decoded", IMAGES, 2)}),
        (IMAGES, 2, {"width": 25}, {("size wrong", IMAGES, 2)}),
        ("ratings/train.parquet", 5, {"rating": 6.0}, {("rating off the scale", "ratings/train.parquet", 5)}),
        ("ratings/train.parquet", 5, {"rating": float("nan")}, {("empty", "ratings/train.parquet", 5)}),
        ("ratings/train.parquet", 5, {"rating": None}, {("empty", "ratings/train.parquet", 5)}),
        ("ratings/train.parquet", 5, {"rating_norm": 0.3}, {("rating_norm wrong", "ratings/train.parquet", 5)}),
        ("ratings/train.parquet", 5, {"user_id": "nobody"}, {("unknown user_id", "ratings/train.parquet", 5)}),
        ("ratings/train.parquet", 5, {"image_id": "nothing"}, {("unknown image_id", "ratings/train.parquet", 5)}),
        ("contexts/query.parquet", 1, {"user_id": "nobody"}, {("unknown user_id", "contexts/query.parquet", 1), ("no queries left", "contexts/query.parquet", 1)}),
        ("contexts/query.parquet", 1, {"rating_ids": [10**6]}, {("unknown rating_id in context", "contexts/query.parquet", 1)}),
        ("contexts/query.parquet", 1, {"protocol": "train"}, {("context protocol", "contexts/query.parquet", 1)}),
        ("contexts/query.parquet", 1, {"split": "train"}, {("context split", "contexts/query.parquet", 1)}),
    ],
)  # fmt: skip
def test_one_damaged_row(split, file, row, values, rules):
    put(split, file, row, **values)
    assert set(found(split)) == rules


@pytest.mark.parametrize("name", [" ", None])
def test_one_more_person(split, name):
    edit(split, "users/train.parquet", lambda rows: [*rows, rows[3]])
    assert found(split) == [("user_id not unique", "users/train.parquet", 12)]
    put(split, "users/train.parquet", 12, user_id=name)
    assert found(split) == [("empty", "users/train.parquet", 12)]
    put(split, "users/train.parquet", 4, user_id="other")
    assert {v.detail for v in validate_folder(split).violations if v.row != 12} == {"'u4' is not in users/"}


def test_ratings_stand_once(split):
    rows = rows_of(split, "train")
    put(split, "ratings/train.parquet", 3, rating_id=rows[2]["rating_id"])
    assert found(split) == [("rating_id not unique", "ratings/train.parquet", 3)]
    put(split, "ratings/train.parquet", 3, **rows[2] | {"rating_id": rows[3]["rating_id"]})
    assert found(split) == [("rated twice", "ratings/train.parquet", 3)]


def test_a_person_on_two_sides(split):
    moved = rows_of(split, "train")[0]
    picture = rows_of(split, "test_unseen")[0]["image_id"]
    edit(
        split,
        "ratings/test_seen.parquet",
        lambda rows: [row for row in rows if (row["user_id"], row["image_id"]) != (moved["user_id"], picture)],
    )
    edit(split, "ratings/test_unseen.parquet", lambda rows: [*rows, moved | {"image_id": picture, "rating_id": 10**6}])
    last = len(rows_of(split, "test_unseen")) - 1
    assert found(split) == [("person on two sides of the split", "ratings/test_unseen.parquet", last)]


def test_a_picture_on_two_sides_by_name_or_by_bytes(split, tmp_path):
    shutil.copytree(split, tmp_path / "other")
    held_out, known = rows_of(split, "test_seen")[0], rows_of(split, "train")[0]
    # A picture of test under the bytes of a training picture.
    images = pq.read_table(split / IMAGES).to_pylist()
    number = {image["image_id"]: row for row, image in enumerate(images)}
    twin = {name: images[number[known["image_id"]]][name] for name in ("image", "sha256", "width", "height")}
    put(split, IMAGES, number[held_out["image_id"]], **twin)
    rules = {rule for rule, *_ in found(split)}
    assert (
        "picture on two sides of the split"
        in rules
        <= {"picture on two sides of the split", "context picture is a query"}
    )
    # A rating of a test picture among the training ratings.
    folder = tmp_path / "other"
    edit(folder, "ratings/test_seen.parquet", lambda rows: rows[1:])
    edit(folder, "ratings/train.parquet", lambda rows: [*rows, held_out])
    [violation] = validate_folder(folder).violations
    assert violation.rule == "picture on two sides of the split"
    assert "is test here and training in ratings/train.parquet" in violation.detail


def test_a_test_picture_may_not_be_known_of_test_people(split):
    moved = rows_of(split, "test_unseen")[0]
    edit(split, "ratings/test_unseen.parquet", lambda rows: rows[1:])
    edit(split, "ratings/test_context.parquet", lambda rows: [*rows, moved])
    assert (
        "picture on two sides of the split",
        "ratings/test_context.parquet",
        len(rows_of(split, "test_context")) - 1,
    ) in found(split)


def test_seen_people_have_training_ratings(split):
    person = rows_of(split, "test_seen")[0]["user_id"]
    edit(split, "ratings/train.parquet", lambda rows: [row for row in rows if row["user_id"] != person])
    assert {rule for rule, *_ in found(split)} == {"seen person without a training rating"}
    assert len(found(split)) == 1


def test_contexts(split):
    contexts = pq.read_table(split / "contexts/query.parquet").to_pylist()
    first = contexts[0]
    own = [row["rating_id"] for row in rows_of(split, first["split"]) if row["user_id"] == first["user_id"]]
    others = [row["rating_id"] for row in rows_of(split, first["split"]) if row["user_id"] != first["user_id"]]
    aside = first["split"].replace("unseen", "context")
    elsewhere = [row["rating_id"] for row in rows_of(split, aside) if row["user_id"] == first["user_id"]]
    file = "contexts/query.parquet"
    for ids, rule in [
        ([own[0], own[0]], "rating twice in context"),
        ([others[0]], "context of another person"),
        ([elsewhere[0]], "context from another split"),
        (own, "no queries left"),
    ]:
        put(split, file, 0, rating_ids=ids)
        assert found(split) == [(rule, file, 0)], rule
    put(split, file, 0, **first)
    edit(split, file, lambda rows: [*rows, first])
    assert found(split) == [("context drawn twice", file, len(contexts))]


def test_a_context_picture_under_another_name_is_no_query(split):
    draw = pq.read_table(split / "contexts/query.parquet").to_pylist()[0]
    rows = {row["rating_id"]: row for row in rows_of(split, draw["split"]) if row["user_id"] == draw["user_id"]}
    known = rows[draw["rating_ids"][0]]["image_id"]
    asked = next(row["image_id"] for name, row in rows.items() if name not in draw["rating_ids"])
    images = pq.read_table(split / IMAGES).to_pylist()
    number = {image["image_id"]: row for row, image in enumerate(images)}
    twin = {name: images[number[known]][name] for name in ("image", "sha256", "width", "height")}
    put(split, IMAGES, number[asked], **twin)
    assert ("context picture is a query", "contexts/query.parquet", 0) in found(split)


@pytest.fixture
def paired(split):
    """Pairs of two training pictures by training people."""
    rows = rows_of(split, "train")
    user = rows[0]["user_id"]
    pictures = sorted({row["image_id"] for row in rows if row["user_id"] == user})
    pairs = [
        {"pair_id": i, "user_id": user, "left_id": pictures[i], "right_id": pictures[i + 1], "choice": "left"}
        for i in range(4)
    ]
    (split / "pairs").mkdir()
    pq.write_table(pa.Table.from_pylist(pairs, arrow_schema(PAIRS)), split / "pairs/train.parquet")
    metadata = DataFolder(split).metadata
    metadata["configs"].append(
        {"config_name": "pairs", "data_files": [{"split": "train", "path": "pairs/train.parquet"}]}
    )
    write_card(split, metadata)
    return split


def test_pairs(paired):
    assert found(paired) == []
    first = pq.read_table(paired / "pairs/train.parquet").to_pylist()[0]
    test_person = rows_of(paired, "test_unseen")[0]["user_id"]
    test_picture = rows_of(paired, "test_unseen")[0]["image_id"]
    for values, rule in [
        ({"choice": "both"}, "choice"),
        ({"left_id": first["right_id"]}, "pair of one picture"),
        ({"left_id": "nothing"}, "unknown left_id"),
        ({"user_id": "nobody"}, "unknown user_id"),
        ({"pair_id": None}, "empty"),
        ({"user_id": test_person}, "person on two sides of the split"),
        ({"right_id": test_picture}, "picture on two sides of the split"),
    ]:
        put(paired, "pairs/train.parquet", 0, **first | values)
        assert found(paired) == [(rule, "pairs/train.parquet", 0)], rule
    put(paired, "pairs/train.parquet", 0, **first | {"pair_id": 3})
    assert found(paired) == [("pair_id not unique", "pairs/train.parquet", 3)]


@pytest.mark.parametrize("file", ["ratings/train.parquet", "users/train.parquet", IMAGES, "contexts/train.parquet"])
@settings(max_examples=3, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(data=st.data())
def test_a_cut_off_file_is_one_violation(split, file, data):
    content = (split / file).read_bytes()
    cut = data.draw(st.integers(0, len(content) - 1))
    try:
        (split / file).unlink()
        (split / file).write_bytes(content[:cut])
        assert found(split) == [("unreadable file", file, None)]
    finally:
        (split / file).write_bytes(content)


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(data=st.data())
def test_damaged_bytes_never_crash(split, data):
    """And whatever happens to the bytes of a picture is noticed by its hash, or by the file not being readable."""
    file = data.draw(
        st.sampled_from(["ratings/train.parquet", "users/train.parquet", IMAGES, "contexts/query.parquet"])
    )
    content = bytearray((split / file).read_bytes())
    original = bytes(content)
    for position in data.draw(st.lists(st.integers(4, len(content) - 9), min_size=1, max_size=5)):
        content[position] ^= data.draw(st.integers(1, 255))
    try:
        (split / file).unlink()
        (split / file).write_bytes(content)
        assert all(isinstance(violation, Violation) for violation in validate_folder(split).violations)
    finally:
        (split / file).write_bytes(original)


def test_columns(split):
    file = split / "ratings/train.parquet"
    table = pq.read_table(file)
    pq.write_table(table.drop(["rating_norm"]), file)
    assert ("columns", "ratings/train.parquet", None) in found(split)
    column = table.schema.get_field_index("rating")
    pq.write_table(table.set_column(column, "rating", table["rating"].cast("float32")), file)
    assert {rule for rule, *_ in found(split)} == {"columns"}
    table = pq.read_table(split / IMAGES)
    (split / IMAGES).unlink()
    pq.write_table(table.replace_schema_metadata(None), split / IMAGES)
    assert ("columns", IMAGES, None) in found(split)


def test_the_card_agrees_with_the_files(split):
    metadata = metadata_load(split / "README.md")

    def with_card(**changes):
        write_card(split, yaml.safe_load(yaml.safe_dump(metadata)) | changes)
        return found(split)

    here = [("card", "README.md", None)]
    assert with_card(pamela={"rating_scale": [1, 5], "anchors": [[1, "bad"], [6, "good"]]}) == here
    splits = [{"name": "train", "num_examples": 3}]
    assert with_card(dataset_info={"config_name": "users", "splits": splits}) == here
    assert (
        with_card(dataset_info={"config_name": "users", "features": [{"name": "user_id", "dtype": "int64"}]}) == here
    )
    features = [
        {"name": "user_id", "dtype": "string"},
        {"name": "age", "dtype": "int64"},
        {"name": "gender", "dtype": "string"},
    ]
    assert with_card(dataset_info={"config_name": "users", "features": features}) == []
    assert with_card(configs=[*metadata["configs"][:-1]]) == [
        ("file not in the card", f"contexts/{name}.parquet", None) for name in ("query", "train")
    ]
    extra = {"config_name": "pairs", "data_files": [{"split": "train", "path": "pairs/train.parquet"}]}
    assert with_card(configs=[*metadata["configs"], extra]) == [("missing file", "README.md", None)]
    assert with_card() == []


def test_command(split):
    run = CliRunner().invoke(data_app, ["validate", str(split)])
    assert run.exit_code == 0
    assert "0 violations; read: 12 users, 20 images, 240 ratings, 50 contexts" in run.output
    put(split, "ratings/train.parquet", 5, rating=6.0)
    run = CliRunner().invoke(data_app, ["validate", str(split)])
    assert run.exit_code == 1
    assert "ratings/train.parquet, row 5: rating off the scale: 6 is not from 1 to 5" in run.output
    run = CliRunner().invoke(data_app, ["validate", str(split), "--json"])
    assert run.exit_code == 1
    assert '"row": 5' in run.stdout
