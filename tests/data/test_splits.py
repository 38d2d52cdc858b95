import os
from collections import defaultdict
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datasets import Features
from hypothesis import given, settings
from hypothesis import strategies as st

from modeling_pamela.data.files import atomic_folder
from modeling_pamela.data.folder import ContextDraw, DataFolder, DataFolderError, data_configs, write_card
from modeling_pamela.data.schema import CONTEXTS, IMAGES, RATINGS, SPLITS, USERS, arrow_schema
from modeling_pamela.data.splits import SplitError, SplitOptions, SplitSummary, split_folder
from modeling_pamela.data.store import EmbeddingStore


COUNTS = SplitOptions(
    seed=0, test_users=3, val_users=2, test_pictures=3, val_pictures=2, group="set", max_query_context=2, min_queries=2
)


def changed(**options: object) -> SplitOptions:
    return SplitOptions(**(vars(COUNTS) | options))


def make_folder(path: Path, rated: np.ndarray, sha256: list[str], groups: list[str | None]) -> Path:
    """A data set of which `rated` (bool, people x pictures) says who rated what; its pictures are never opened."""
    users, pictures = rated.shape
    tables = {
        "users": pa.table({"user_id": [f"u{u}" for u in range(users)]}, schema=arrow_schema(USERS)),
        "images": pa.table(
            {
                "image_id": [f"p{p}" for p in range(pictures)],
                "image": [{"bytes": b"", "path": ""}] * pictures,
                "sha256": sha256,
                "width": [8] * pictures,
                "height": [8] * pictures,
                "prompt": pa.nulls(pictures, pa.string()),
                "set": pa.array(groups, pa.string()),
            },
            schema=arrow_schema(IMAGES, pa.schema({"set": pa.string()})),
        ),
    }
    user, picture = np.nonzero(rated)
    tables["ratings"] = pa.table(
        {
            "rating_id": np.arange(len(user)) * 2 + 1,
            "user_id": [f"u{u}" for u in user],
            "image_id": [f"p{p}" for p in picture],
            "rating": np.full(len(user), 3.0),
            "rating_norm": np.full(len(user), 0.5),
        },
        schema=arrow_schema(RATINGS),
    )
    with atomic_folder(path) as new:
        for name, table in tables.items():
            (new / name).mkdir()
            pq.write_table(
                table, new / name / ("train-00000-of-00001.parquet" if name == "images" else "train.parquet")
            )
        write_card(new, {"configs": data_configs(["train"]), "pamela": {"rating_scale": [1.0, 5.0]}}, "# Made\n")
    return path


def check_laws(folder: Path, original: np.ndarray, options: SplitOptions, summary: SplitSummary) -> None:
    """What every split must obey."""
    data = DataFolder(folder)
    content = np.array(data.images["sha256"].to_pylist())
    splits = {split: data.ratings(split) for split in data.splits}

    # No row is lost or doubled.
    together = np.concatenate([ratings.rating_id for ratings in splits.values()])
    np.testing.assert_array_equal(np.sort(together), np.sort(original))
    assert summary.counts == {
        split: (len(ratings), len(set(ratings.user)), len(set(ratings.image))) for split, ratings in splits.items()
    }

    # No person and no picture leaks.
    def people(*names: str) -> set[int]:
        return {user for name in names if name in splits for user in splits[name].user}

    def pictures(*names: str) -> set[str]:
        return {content[image] for name in names if name in splits for image in splits[name].image}

    train, val, test = people("train"), people("val_unseen", "val_context"), people("test_unseen", "test_context")
    assert train.isdisjoint(val | test)
    assert val.isdisjoint(test)
    assert people("val_seen", "test_seen") <= train
    test_pictures, val_pictures = pictures("test_seen", "test_unseen"), pictures("val_seen", "val_unseen")
    assert test_pictures.isdisjoint(val_pictures | pictures("train", "val_context", "test_context"))
    assert val_pictures.isdisjoint(pictures("train", "val_context"))

    for protocol in ("train", "query"):
        for split in ("val_unseen", "test_unseen"):
            if split not in splits:
                continue
            base = split.removesuffix("_unseen")
            pool_name = f"{base}_context" if protocol == "train" else split
            pool = defaultdict(set)
            if pool_name in splits:
                for user, rating_id in zip(splits[pool_name].user, splits[pool_name].rating_id, strict=True):
                    pool[user].add(rating_id)
            asked = defaultdict(set)
            for user, rating_id in zip(splits[split].user, splits[split].rating_id, strict=True):
                asked[user].add(rating_id)
            picture_of = dict(zip(splits[split].rating_id, content[splits[split].image], strict=True))
            drawn = defaultdict(list)
            for draw in read_contexts(data, protocol, split):
                known = set(draw.rating_ids.tolist())
                assert len(known) == len(draw.rating_ids)
                assert known <= pool[draw.user]
                if protocol == "train":
                    assert known == pool[draw.user]
                    assert len(asked[draw.user]) >= options.min_queries
                else:
                    assert len(known) == options.max_query_context
                    assert len(asked[draw.user] - known) >= options.min_queries
                    queries = {picture_of[i] for i in asked[draw.user] - known}
                    assert not queries & {picture_of[i] for i in known}
                drawn[draw.user].append(draw.draw)
            assert all(numbers == list(range(options.draws)) for numbers in drawn.values())
            # Everyone with a rating in the split has contexts, or is named.
            left_out = summary.left_out[protocol, split]
            assert {data.user_ids[user] for user in drawn} | set(left_out) == {data.user_ids[user] for user in asked}
            assert not {data.user_ids[user] for user in drawn} & set(left_out)


def read_contexts(data: DataFolder, protocol: str, split: str) -> list[ContextDraw]:
    """Without the error where nobody has a draw."""
    found = data.table("contexts", protocol)["split"].to_pylist()
    return data.contexts(protocol, split) if split in found else []


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_counts_inside_groups(folder):
    original = DataFolder(folder).ratings("train").rating_id
    summary = split_folder(folder, COUNTS)
    check_laws(folder, original, COUNTS, summary)
    assert summary.counts == {
        "train": (7 * 10, 7, 10),
        "val_seen": (7 * 4, 7, 4),
        "val_unseen": (2 * 4, 2, 4),
        "test_seen": (7 * 6, 7, 6),
        "test_unseen": (3 * 6, 3, 6),
        "val_context": (2 * 10, 2, 10),
        "test_context": (3 * 14, 3, 14),
        "reserve": (2 * 6, 2, 6),
    }
    data = DataFolder(folder)
    for split, number in (("test_seen", 3), ("val_seen", 2)):
        sets = [data.images["set"][image].as_py() for image in set(data.ratings(split).image.tolist())]
        assert (sets.count("A"), sets.count("B")) == (number, number)
    assert data.metadata["pamela"] == {"rating_scale": [1.0, 5.0], "split": vars(COUNTS)}
    assert "test_unseen" in str(summary)


def test_fractions(folder):
    options = SplitOptions(3, test_users=0.25, val_users=0.25, test_pictures=0.3, val_pictures=0.1)
    counts = split_folder(folder, options).counts
    assert counts["test_unseen"][1:] == (3, 6)
    assert counts["val_seen"][1:] == (6, 2)


def test_the_seed_decides(folder, tmp_path):
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        split_folder(folder, changed(seed=seed), tmp_path / name)
    a, b, c = (contents(tmp_path / name) for name in "abc")
    assert a == b
    assert a["ratings/train.parquet"] != c["ratings/train.parquet"]
    # Splitting anew is as if it had never been split.
    original = DataFolder(folder).ratings("train").rating_id
    summary = split_folder(tmp_path / "c", COUNTS)
    check_laws(tmp_path / "c", original, COUNTS, summary)
    assert contents(tmp_path / "c") == a


def test_one_option_does_not_move_the_others(folder, tmp_path):
    split_folder(folder, COUNTS, tmp_path / "a")
    split_folder(folder, changed(test_pictures=4, val_pictures=3, draws=2), tmp_path / "b")
    a, b = DataFolder(tmp_path / "a"), DataFolder(tmp_path / "b")
    assert set(a.ratings("train").user) == set(b.ratings("train").user)
    split_folder(folder, changed(draws=2), tmp_path / "c")
    few = [draw.rating_ids.tolist() for draw in DataFolder(tmp_path / "c").contexts("train", "test_unseen")]
    many = [draw.rating_ids.tolist() for draw in a.contexts("train", "test_unseen")]
    assert few == many[: len(few)]


def test_out_shares_pictures_and_embeddings(folder, tmp_path):
    EmbeddingStore(folder, "enc-1", "image").add(["a"], np.zeros((1, 4), np.float32))
    (folder / "NOTES.txt").write_text("kept")
    before = contents(folder)
    split_folder(folder, COUNTS, tmp_path / "out")
    assert contents(folder) == before
    shard = "images/train-00000-of-00001.parquet"
    assert (tmp_path / "out" / shard).samefile(folder / shard)
    assert EmbeddingStore(tmp_path / "out", "enc-1", "image").missing(["a"]) == []
    assert (tmp_path / "out" / "NOTES.txt").read_text() == "kept"
    with pytest.raises(DataFolderError, match="--overwrite"):
        split_folder(folder, COUNTS, tmp_path / "out")
    EmbeddingStore(tmp_path / "out", "enc-1", "image").add(["b"], np.zeros((1, 4), np.float32))
    split_folder(folder, changed(seed=9), tmp_path / "out", overwrite=True)
    assert EmbeddingStore(tmp_path / "out", "enc-1", "image").missing(["a", "b"]) == []
    assert EmbeddingStore(folder, "enc-1", "image").missing(["a", "b"]) == ["b"]
    assert DataFolder(tmp_path / "out").metadata["pamela"]["split"]["seed"] == 9
    with pytest.raises(SplitError, match="inside each other"):
        split_folder(folder, COUNTS, folder / "sub")


def test_a_failed_split_leaves_the_folder_as_it_was(folder, tmp_path, full_disk):
    before = contents(folder)
    with pytest.raises(SplitError):
        split_folder(folder, changed(test_users=50))
    with pytest.raises(OSError, match="too large"), full_disk(2000):
        split_folder(folder, COUNTS)
    assert contents(folder) == before
    assert sorted(os.listdir(tmp_path)) == ["data", "source"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"test_users": 10}, "people with ratings has 12, so 10 for test_users and 2 for val_users leave none"),
        ({"val_pictures": 7}, "set 'A' has 10, so 3 for test_pictures and 7 for val_pictures"),
        ({"test_users": 1.5}, "test_users is a whole number, or a fraction between 0 and 1; got 1.5"),
        ({"val_users": -1}, "val_users cannot be negative"),
        ({"group": "style"}, "no column 'style' to group by; they have"),
    ],
)
def test_sizes_that_do_not_fit(folder, options, message):
    with pytest.raises(SplitError, match=message):
        split_folder(folder, changed(**options))


def test_parts_of_nobody_may_be_asked_for(folder):
    summary = split_folder(folder, changed(val_users=0, val_pictures=0))
    assert set(summary.counts) == {"train", "test_seen", "test_unseen", "test_context"}
    with pytest.raises(DataFolderError, match="no contexts of protocol 'train' for 'val_unseen'"):
        DataFolder(folder).contexts("train", "val_unseen")


def test_empty_splits_are_refused(tmp_path):
    rated = np.eye(6, dtype=bool)  # nobody shares a picture: no cell but the diagonal is filled
    folder = make_folder(tmp_path / "data", rated, [f"s{p}" for p in range(6)], [None] * 6)
    with pytest.raises(SplitError, match=r"No rating would be in .*_seen"):
        split_folder(folder, SplitOptions(0, test_users=2, val_users=1, test_pictures=2, val_pictures=1))


def test_training_people_without_a_training_rating_are_not_seen(tmp_path):
    rated = np.ones((8, 10), dtype=bool)
    rated[0, 1:] = False  # the first person rated the first picture alone
    folder = make_folder(tmp_path / "data", rated, [f"s{p}" for p in range(10)], [None] * 10)
    everywhere = {"train", "val_context", "val_unseen", "test_context", "test_unseen", "reserve"}
    places: set[str] = set()
    for seed in range(40):
        if places == everywhere:
            break
        split_folder(folder, SplitOptions(seed, test_users=2, val_users=2, test_pictures=3, val_pictures=3))
        data = DataFolder(folder)
        (where,) = [split for split in data.splits if 0 in data.ratings(split).user]
        places.add(where)
    assert places == everywhere


def test_people_with_too_few_ratings_are_named(folder):
    summary = split_folder(folder, changed(min_queries=5))
    assert len(summary.left_out["query", "test_unseen"]) == 3
    assert summary.left_out["train", "test_unseen"] == []
    assert "test_unseen, protocol 'query': 3 people have too few ratings: u" in str(summary)


def test_contexts_have_the_columns_of_the_schema(folder):
    split_folder(folder, COUNTS)
    for protocol in ("train", "query"):
        schema = pq.read_schema(folder / "contexts" / f"{protocol}.parquet")
        assert Features.from_arrow_schema(schema) == Features.from_arrow_schema(arrow_schema(CONTEXTS))
    assert set(DataFolder(folder).splits) <= set(SPLITS)


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_no_split_leaks(tmp_path_factory, data):
    users, pictures = data.draw(st.integers(4, 9)), data.draw(st.integers(6, 14))
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    rated = rng.random((users, pictures)) < data.draw(st.sampled_from([0.3, 0.7, 1.0]))
    rated[0, 0] = True
    sha256 = [f"s{n}" for n in rng.integers(0, 2 * pictures, pictures)]  # some pictures have two names
    groups = [[None, "A", "B"][n] for n in rng.integers(0, 3, pictures)]
    options = SplitOptions(
        seed=data.draw(st.integers(0, 99)),
        test_users=data.draw(st.sampled_from([1, 2, 0.3])),
        val_users=data.draw(st.sampled_from([1, 0.2])),
        test_pictures=data.draw(st.sampled_from([1, 0.3])),
        val_pictures=data.draw(st.sampled_from([1, 0.25])),
        group=data.draw(st.sampled_from([None, "set"])),
        draws=2,
        max_query_context=data.draw(st.integers(1, 2)),
        min_queries=data.draw(st.integers(1, 2)),
    )
    folder = make_folder(tmp_path_factory.mktemp("law") / "data", rated, sha256, groups)
    original = DataFolder(folder).ratings("train").rating_id
    try:
        summary = split_folder(folder, options)
    except SplitError:
        assert DataFolder(folder).splits == ["train"]
        return
    check_laws(folder, original, options, summary)


def with_columns(folder: Path, config: str, **columns: list[str | None]) -> None:
    for path in sorted((folder / config).iterdir()):
        table = pq.read_table(path)
        for name, values in columns.items():
            table = table.append_column(name, pa.array(values, pa.string()))
        pq.write_table(table.replace_schema_metadata(None), path)


@given(data=st.data())
@settings(max_examples=15, deadline=None)
def test_parts_that_the_data_set_comes_with(tmp_path_factory, data):
    tmp_path = tmp_path_factory.mktemp("parts")
    part = st.sampled_from(["train", "val", "test", None])
    users = ["train", "train", "test", *data.draw(st.lists(part, min_size=7, max_size=7))]
    images = ["train", "val", "test", *data.draw(st.lists(part, min_size=9, max_size=9))]
    sha256 = [str(i) for i in range(11)] + ["10"]  # the last two are one picture
    folder = make_folder(tmp_path / "data", np.ones((10, 12), dtype=bool), sha256, ["A"] * 12)
    with_columns(folder, "users", part=users)
    with_columns(folder, "images", side=images)
    options = changed(users_from="part", pictures_from="side", group=None, val_users=1)
    split_folder(folder, options)
    split = DataFolder(folder)
    cell = {}
    for name in split.splits:
        ratings = split.ratings(name)
        cell |= dict.fromkeys(zip(ratings.user.tolist(), ratings.image.tolist(), strict=True), name)
    order = ["train", "val", "test", None]
    twin = max(images[10:], key=order.index)
    images[10:] = [twin, twin]
    if "val" not in users:
        (drawn,) = {u for (u, i), name in cell.items() if name == "val_unseen"}
        assert users[drawn] == "train"
        users[drawn] = "val"
    expected = {
        ("train", "train"): "train",
        ("train", "val"): "val_seen",
        ("train", "test"): "test_seen",
        ("val", "train"): "val_context",
        ("val", "val"): "val_unseen",
        ("test", "train"): "test_context",
        ("test", "val"): "test_context",
        ("test", "test"): "test_unseen",
    }
    for (user, image), name in cell.items():
        assert name == expected.get((users[user], images[image]), "reserve")


def test_published_splits_of_the_ratings(tmp_path):
    folder = make_folder(tmp_path / "data", np.ones((6, 12), dtype=bool), [str(i) for i in range(12)], ["A"] * 12)
    names = ["train", "val_seen", "test_seen", "val_unseen", "test_unseen"]
    published = [names[min(user, 3) + (user == 5)] for user in range(6) for _ in range(12)]
    with_columns(folder, "ratings", official=published)
    options = SplitOptions(3, draws=2, max_query_context=4, min_queries=2, ratings_from="official")
    split_folder(folder, options)
    split = DataFolder(folder)
    assert {name: len(split.ratings(name)) for name in split.splits} == dict.fromkeys(names, 12) | {"val_unseen": 24}
    assert [path.stem for path in (folder / "contexts").iterdir()] == ["query"]
    assert len(split.contexts("query", "val_unseen")) == 2 * 2
    with pytest.raises(SplitError, match="The ratings have no column 'which'"):
        split_folder(folder, SplitOptions(3, ratings_from="which"))


def test_a_theme_is_left_out(tmp_path):
    rated = np.random.default_rng(0).random((12, 30)) < 0.9
    # Picture 29 has the same bytes as one of the theme.
    sha256 = [f"{p:064x}" for p in range(29)] + [f"{0:064x}"]
    folder = make_folder(tmp_path / "data", rated, sha256, ["theme"] * 10 + ["other"] * 15 + [None] * 5)
    split_folder(folder, changed(group=None, val_pictures=5, leave_out="set=theme"), tmp_path / "split")
    data = DataFolder(tmp_path / "split")
    theme = {*range(10), 29}
    for split in data.splits:
        images = set(data.ratings(split).image.tolist())
        if split in ("test_seen", "test_unseen"):
            assert images == theme
        elif split != "reserve":
            assert not images & theme
    # A person is known by pictures of the theme, or by others.
    row_of = {
        int(r): int(i) for r, i in zip(*(lambda r: (r.rating_id, r.image))(data.ratings(*data.splits)), strict=True)
    }
    for protocol, inside in (("query", True), ("train", False)):
        for draw in data.contexts(protocol, "test_unseen"):
            assert {row_of[int(rating)] in theme for rating in draw.rating_ids} == {inside}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"leave_out": "colour=red"}, "expected COLUMN=VALUE"),
        ({"leave_out": "set=none of them"}, "No picture has 'set=none of them'"),
        ({"leave_out": "set=a", "pictures_from": "set"}, "Give one"),
    ],
)
def test_what_cannot_be_left_out(folder, options, message):
    with pytest.raises(SplitError, match=message):
        split_folder(folder, changed(**options))
