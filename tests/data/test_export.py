import hashlib
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from modeling_pamela.data import builder as builder_module
from modeling_pamela.data import export
from modeling_pamela.data.embed import folder_texts
from modeling_pamela.data.export import build_folder
from modeling_pamela.data.files import DataError
from modeling_pamela.data.folder import DataFolder, DataFolderError
from modeling_pamela.data.importers.pairs import import_pairs
from modeling_pamela.data.load import load_pamela
from modeling_pamela.data.push import plan_push
from modeling_pamela.data.splits import SplitOptions, split_folder
from modeling_pamela.data.store import EmbeddingStore, text_key
from modeling_pamela.data.validate import validate_folder


CONFIGS = ["ratings", "users", "images", "pairs", "contexts", "embeddings", "preview"]

# Compares what `datasets` reads, plain and streaming, with the files themselves.
READ_WITHOUT_THE_PACKAGE = """
import sys
from pathlib import Path
import pyarrow.parquet as pq
from datasets import get_dataset_config_names, get_dataset_split_names, load_dataset

folder = sys.argv[1]
configs = get_dataset_config_names(folder)
assert set(configs) == set(sys.argv[2:]), configs
for config in configs:
    for split in get_dataset_split_names(folder, config):
        pattern = "embeddings/*/*.parquet" if config == "embeddings" else f"{config}/{split}*.parquet"
        expected = sum(pq.read_metadata(file).num_rows for file in Path(folder).glob(pattern))
        plain = load_dataset(folder, config, split=split)
        streamed = list(load_dataset(folder, config, split=split, streaming=True))
        assert len(plain) == len(streamed) == expected > 0, (config, split)
        first, other = dict(plain[0]), dict(streamed[0])
        if "image" in first:
            assert first.pop("image").size == other.pop("image").size == (24, 16)
        assert first == other, (config, split)
assert "rating" in load_dataset(folder)["train"].features  # ratings are the default
assert not any(name.startswith("modeling_pamela") for name in sys.modules)
"""

# The builder file as the loading script that it is for datasets 2 and 3.
READ_WITH_THE_SCRIPT = """
import sys
import datasets
from datasets import load_dataset

assert datasets.__version__.startswith(("2.", "3.")), datasets.__version__
script, folder, *configs = sys.argv[1:]
for config in configs:
    plain = load_dataset(script, config, data_dir=folder, trust_remote_code=True)
    streamed = load_dataset(script, config, data_dir=folder, trust_remote_code=True, streaming=True)
    parquet = load_dataset(folder, config)
    assert set(plain) == set(streamed) == set(parquet)
    for split in plain:
        assert len(plain[split]) == len(parquet[split]) > 0
        rows = plain[split][0], next(iter(streamed[split])), parquet[split][0]
        if "image" in rows[0]:
            assert [row.pop("image").size for row in rows] == 3 * [(24, 16)]
        assert rows[0] == rows[1] == rows[2], (config, split)
"""


@pytest.fixture
def whole(folder, write_table, tmp_path):
    """A data set with everything: splits, contexts, comparisons, and embeddings of two widths in several parts."""
    rows = [
        {"user_id": f"u{u}", "left_id": f"p{p}", "right_id": f"p{p + 1}", "choice": "left"}
        for u in range(12)
        for p in range(19)
    ]
    write_table(tmp_path / "pairs.csv", rows)
    import_pairs(tmp_path / "pairs.csv", folder)
    options = {"test_users": 3, "val_users": 2, "test_pictures": 3, "val_pictures": 3, "group": "set"}
    split_folder(folder, SplitOptions(0, **options, max_query_context=2, min_queries=2))
    data, rng = DataFolder(folder), np.random.default_rng(0)
    pictures = EmbeddingStore(folder, "f00d", "image")
    keys = data.images["sha256"].to_pylist()
    pictures.add(keys[:7], rng.normal(size=(7, 6)))
    pictures.add([*keys[7:], "of a picture that is gone"], rng.normal(size=(14, 6)))
    texts = [text_key(text) for text in folder_texts(data)]
    EmbeddingStore(folder, "beef", "text").add(texts, rng.normal(size=(len(texts), 4)))
    return folder


@pytest.fixture
def built(whole, tmp_path):
    build_folder(whole, tmp_path / "built")
    return tmp_path / "built"


def digests(folder: Path) -> dict[str, str]:
    files = sorted(file for file in folder.rglob("*") if file.is_file())
    return {str(file.relative_to(folder)): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def run_elsewhere(python: str, code: str, tmp_path: Path, *arguments: object) -> None:
    run = subprocess.run(
        [python, "-c", code, *map(str, arguments)],
        cwd=tmp_path,
        env={"HF_HOME": str(tmp_path / "hf"), "HF_HUB_OFFLINE": "1", "PATH": ""},
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr


def test_datasets_reads_every_config_without_this_package(built, tmp_path):
    run_elsewhere(sys.executable, READ_WITHOUT_THE_PACKAGE, tmp_path, built, *CONFIGS)


def test_loading_script_of_older_datasets(built, tmp_path):
    python = os.environ.get("PAMELA_TEST_DATASETS3")
    if not python:
        pytest.skip("PAMELA_TEST_DATASETS3 does not name the python of an environment with datasets 2 or 3 and pillow")
    run_elsewhere(python, READ_WITH_THE_SCRIPT, tmp_path, builder_module.__file__, built, *CONFIGS)


def test_the_same_input_gives_the_same_bytes(whole, built, tmp_path, monkeypatch):
    build_folder(whole, tmp_path / "second")
    assert digests(tmp_path / "second") == digests(built)
    # However the source is cut into files: here the pictures into four shards.
    monkeypatch.setattr(export, "SHARD_BYTES", 1)
    monkeypatch.setattr(export, "_IMAGE_ROWS", 5)
    build_folder(whole, tmp_path / "sharded")
    shards = sorted((tmp_path / "sharded" / "images").iterdir())
    assert [shard.name for shard in shards] == [f"train-{i:05d}-of-00004.parquet" for i in range(4)]
    monkeypatch.undo()
    build_folder(tmp_path / "sharded", tmp_path / "third")
    assert digests(tmp_path / "third") == digests(built)


def test_nothing_is_lost_or_added(whole, built):
    before, after = DataFolder(whole), DataFolder(built)
    for config, splits in (
        ("ratings", before.splits),
        ("users", ["train"]),
        ("pairs", before.pair_splits),
        ("images", ["train"]),
        ("contexts", ["train", "query"]),
    ):
        for split in splits:
            assert after.table(config, split).to_pylist() == before.table(config, split).to_pylist()
    assert after.rating_scale == before.rating_scale
    assert not (built / "rejected.parquet").exists()
    assert validate_folder(built).violations == validate_folder(whole).violations == []


def test_published_embeddings_are_a_store(whole, built):
    keys = DataFolder(whole).images["sha256"].to_pylist()
    before, after = (EmbeddingStore(folder, "f00d", "image") for folder in (whole, built))
    np.testing.assert_array_equal(after.get(keys), before.get(keys))
    assert len(after) == len(keys) == len(before) - 1  # not that of the picture that is gone
    texts = EmbeddingStore(built, "beef", "text")
    assert (len(texts), texts.width, after.width) == (len(folder_texts(DataFolder(whole))), 4, 6)
    after.add(["another"], np.ones((1, 6)))
    assert len(EmbeddingStore(built, "f00d", "image")) == len(keys) + 1


def test_embeddings_can_be_left_out(whole, tmp_path):
    build_folder(whole, tmp_path / "built", embeddings=False)
    assert not (tmp_path / "built" / "embeddings").exists()
    configs = DataFolder(tmp_path / "built").metadata["configs"]
    assert {config["config_name"] for config in configs} == set(CONFIGS) - {"embeddings"}


def test_a_split_keeps_what_stays_true(built):
    split_folder(built, SplitOptions(1, test_users=3, val_users=2, max_query_context=2, min_queries=2))
    configs = DataFolder(built).metadata["configs"]
    assert {config["config_name"] for config in configs} == set(CONFIGS) - {"preview"}
    assert validate_folder(built).violations == []


@pytest.mark.parametrize("config", ["images", "ratings", "users"])
def test_a_damaged_file_is_told(whole, tmp_path, config):
    file = next((whole / config).iterdir())
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(DataFolderError, match="cut off or not Parquet"):
        build_folder(whole, tmp_path / "built")
    with pytest.raises(DataFolderError, match="cut off or not Parquet"):
        plan_push(whole, "somebody/taste")


def test_preview_rows_belong_together(whole, built):
    preview = pq.read_table(built / "preview" / "train.parquet").to_pylist()
    data = DataFolder(whole)
    ratings = {row["rating_id"]: row for row in data.table("ratings", "train").to_pylist()}
    pictures = {row["image_id"]: row for row in data.table("images").to_pylist()}
    assert len(preview) == min(50, len(ratings))
    for row in preview:
        assert row["rating"] == ratings[row["rating_id"]]["rating"]
        assert row["user_id"] == ratings[row["rating_id"]]["user_id"]
        assert row["image"] == pictures[row["image_id"]]["image"]
        assert row["prompt"] == pictures[row["image_id"]]["prompt"]


def test_bad_input(whole, tmp_path):
    with pytest.raises(DataError, match="lie inside each other"):
        build_folder(whole, whole / "built")
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "notes.txt").write_text("mine")
    for overwrite, message in ((False, "is not empty"), (True, "does not delete it")):
        with pytest.raises(DataFolderError, match=message):
            build_folder(whole, tmp_path / "taken", overwrite=overwrite)
    shard = next((whole / "images").iterdir())
    table = pq.read_table(shard)
    hashes = table["sha256"].to_pylist()
    place = table.column_names.index("sha256")
    pq.write_table(table.set_column(place, "sha256", [[*hashes[1:], hashes[0]]]), shard)
    with pytest.raises(DataError, match="does not have the hash"):
        build_folder(whole, tmp_path / "built")
    assert not (tmp_path / "built").exists()


@pytest.mark.parametrize("config", CONFIGS)
def test_load(built, tmp_path, monkeypatch, config):
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", str(tmp_path / "cache"))
    every, streamed = load_pamela(built, config), load_pamela(built, config, streaming=True)
    assert set(every) == set(streamed)
    for split, table in every.items():
        pattern = "embeddings/*/*.parquet" if config == "embeddings" else f"{config}/{split}*.parquet"
        expected = [row for file in sorted(built.glob(pattern)) for row in pq.read_table(file).to_pylist()]
        assert table.with_format("arrow")[:].to_pylist() == expected
        assert len(load_pamela(built, config, split)) == len(list(streamed[split])) == len(expected)


def test_a_changed_folder_is_read_anew(built, tmp_path, monkeypatch):
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", str(tmp_path / "cache"))
    number = len(load_pamela(built, "users", "train"))
    users = built / "users" / "train.parquet"
    pq.write_table(pq.read_table(users).slice(2), users)
    assert len(load_pamela(built, "users", "train")) == number - 2


def test_load_says_what_is_wrong(built, folder, tmp_path, monkeypatch):
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(DataFolderError, match=r"no config 'rating'; choose one of ratings, users"):
        load_pamela(built, "rating")
    with pytest.raises(DataFolderError, match=r"no ratings split 'test'; it has \["):
        load_pamela(built, split="test")
    with pytest.raises(DataFolderError, match="There is no folder"):
        load_pamela(tmp_path / "absent")
    with pytest.raises(DataFolderError, match="no data set repo of that name can be downloaded"):
        load_pamela("nobody/nothing")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataFolderError, match="not a data set in the standard form"):
        load_pamela(tmp_path / "empty")
    (built / "users" / "train.parquet").write_bytes(b"PAR1")
    for streaming in (False, True):
        with pytest.raises(DataFolderError, match="pamela data validate"):
            load_pamela(built, "users", streaming=streaming)
