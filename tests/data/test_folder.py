import shutil
import subprocess
import sys

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from datasets import load_dataset

from modeling_pamela.data.folder import DataFolder, DataFolderError, write_card
from modeling_pamela.data.splits import SplitOptions, split_folder


READ_WITHOUT_THE_PACKAGE = """
import sys
from datasets import get_dataset_config_names, get_dataset_split_names, load_dataset

folder = sys.argv[1]
assert get_dataset_config_names(folder) == ["ratings", "users", "images", "contexts"]
splits = ["train", "val_seen", "val_unseen", "test_seen", "test_unseen", "val_context", "test_context", "reserve"]
assert get_dataset_split_names(folder, "ratings") == splits
total = 0
for streaming in (False, True):
    for split in splits:
        rows = list(load_dataset(folder, "ratings", split=split, streaming=streaming))
        total += len(rows)
        assert list(rows[0]) == ["rating_id", "user_id", "image_id", "rating", "rating_norm", "trial"]
    picture = next(iter(load_dataset(folder, "images", split="train", streaming=streaming)))
    assert picture["image"].size == (24, 16) and picture["prompt"] == "prompt 0"
    assert next(iter(load_dataset(folder, "users", split="train", streaming=streaming)))["age"] == 20
    draw = next(iter(load_dataset(folder, "contexts", split="query", streaming=streaming)))
    assert draw["split"] == "val_unseen" and all(isinstance(i, int) for i in draw["rating_ids"])
assert total == 2 * 240
assert set(load_dataset(folder)) == set(splits)  # ratings are the default
assert "modeling_pamela" not in sys.modules
"""


def test_datasets_reads_it_without_this_package(folder, tmp_path):
    options = SplitOptions(0, test_users=3, val_users=2, test_pictures=3, val_pictures=3, group="set")
    split_folder(folder, SplitOptions(**(vars(options) | {"max_query_context": 2, "min_queries": 2})))
    run = subprocess.run(
        [sys.executable, "-c", READ_WITHOUT_THE_PACKAGE, str(folder)],
        cwd=tmp_path,
        env={"HF_HOME": str(tmp_path / "hf"), "HF_HUB_OFFLINE": "1", "PATH": ""},
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr


def test_datasets_takes_no_folder_for_another(folder, tmp_path):
    """Of the same name and with the same tables in it, at another place or at another time."""
    ratings = folder / "ratings" / "train.parquet"
    table = pq.read_table(ratings)

    def cached(path):
        return load_dataset(str(path), "ratings", split="train", cache_dir=str(tmp_path / "cache"))["rating"][:]

    assert cached(folder) == table["rating"].to_pylist()
    copy = tmp_path / "copy" / folder.name
    shutil.copytree(folder, copy)
    for place in (copy, folder):
        high = table.set_column(table.column_names.index("rating"), "rating", pc.subtract(6.0, table["rating"]))
        pq.write_table(high, place / "ratings" / "train.parquet")
        write_card(place, DataFolder(place).metadata)
        assert cached(place) == high["rating"].to_pylist() != table["rating"].to_pylist()


def test_not_a_data_folder(tmp_path):
    with pytest.raises(DataFolderError, match=r"no folder .*hf download"):
        DataFolder(tmp_path / "absent")
    with pytest.raises(DataFolderError, match=r"not a data set in the standard form.*pamela data import"):
        DataFolder(tmp_path)
    for card in ("# no front matter", "---\npamela: 3\n---\n", "---\nconfigs: [\n---\n", "---\n- a list\n---\n"):
        (tmp_path / "README.md").write_text(card)
        with pytest.raises(DataFolderError, match=r"standard form|not valid YAML"):
            DataFolder(tmp_path)


def test_unknown_splits(folder):
    data = DataFolder(folder)
    with pytest.raises(DataFolderError, match=r"no ratings split 'test'; it has \['train'\]. Run `pamela data split`"):
        data.ratings("test")
    with pytest.raises(DataFolderError, match="Name at least one split"):
        data.ratings()
    with pytest.raises(DataFolderError, match=r"no contexts split 'query'.*Run `pamela data split`"):
        data.contexts("query", "test_unseen")


@pytest.mark.parametrize(
    "file", ["ratings/train.parquet", "users/train.parquet", "images/train-00000-of-00001.parquet"]
)
def test_cut_off_files_are_named(folder, file):
    path = folder / file
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(DataFolderError, match=f"{path.name} is cut off"):
        DataFolder(folder).ratings("train")
    if "images" in file:
        with pytest.raises(DataFolderError, match="is cut off"):
            list(DataFolder(folder).iter_image_bytes())
    path.unlink()
    with pytest.raises(DataFolderError, match="Is the copy complete"):
        DataFolder(folder).ratings("train")


def test_ratings_of_strangers_are_refused(folder):
    users = pq.read_table(folder / "users" / "train.parquet")
    pq.write_table(users.slice(1), folder / "users" / "train.parquet")
    with pytest.raises(DataFolderError, match=r"20 rows name what users/ does not hold, e.g. 'u0'"):
        DataFolder(folder).ratings("train")


def test_lacking_columns_are_named(folder):
    path = folder / "ratings" / "train.parquet"
    pq.write_table(pq.read_table(path).drop_columns(["rating_norm"]), path)
    with pytest.raises(DataFolderError, match=r"lacks the columns \['rating_norm'\]"):
        DataFolder(folder).ratings("train")


def test_several_splits_are_joined_in_order(folder):
    split_folder(folder, SplitOptions(1))
    data = DataFolder(folder)
    both, first, second = data.ratings("test_seen", "train"), data.ratings("test_seen"), data.ratings("train")
    np.testing.assert_array_equal(both.rating_id, np.concatenate([first.rating_id, second.rating_id]))
    assert len(both) == len(first) + len(second)
