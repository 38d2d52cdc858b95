import numpy as np
import pytest
from datasets import load_dataset
from hypothesis import given, settings
from hypothesis import strategies as st

from modeling_pamela.data.files import DataError
from modeling_pamela.data.store import EmbeddingStore, MissingEmbeddingsError, text_key


def random(rows: int, width: int = 6) -> np.ndarray:
    return np.random.default_rng(rows).normal(size=(rows, width)).astype(np.float32)


def test_round_trip_over_several_parts(tmp_path):
    first, second = random(3), random(2)
    store = EmbeddingStore(tmp_path, "enc-1", "image")
    assert store.missing(["a", "b", "a"]) == ["a", "b"]
    store.add(["a", "b", "c"], first)
    store.add(["d", "ä"], second)
    for reader in (store, EmbeddingStore(tmp_path, "enc-1", "image")):
        assert len(reader) == 5
        assert reader.missing(["x", "a", "x", "d"]) == ["x"]
        found = reader.get(["ä", "a", "d", "a"])
        assert found.dtype == np.float32
        np.testing.assert_array_equal(found, np.stack([second[1], first[0], second[0], first[0]]).astype(np.float16))
    assert store.get([]).shape == (0, 6)


def test_encoders_and_kinds_do_not_mix(tmp_path):
    EmbeddingStore(tmp_path, "enc-1", "image").add(["a"], random(1))
    assert EmbeddingStore(tmp_path, "enc-1", "text").missing(["a"]) == ["a"]
    assert EmbeddingStore(tmp_path, "enc-2", "image").missing(["a"]) == ["a"]


def test_missing_embeddings_say_what_to_do(tmp_path):
    store = EmbeddingStore(tmp_path, "enc-1", "text")
    store.add(["a"], random(1))
    with pytest.raises(MissingEmbeddingsError, match=r"2 of 3 text embeddings .*the key b.*Run `pamela embed`"):
        store.get(["a", "b", "c", "b"])


@pytest.mark.parametrize("value", [np.nan, np.inf, 70_000.0])
def test_values_that_half_precision_cannot_hold_are_refused(tmp_path, value):
    bad = random(3)
    bad[1, 2] = value
    store = EmbeddingStore(tmp_path, "enc-1", "image")
    with pytest.raises(DataError, match=r"1 of 3 embeddings .* key b"):
        store.add(["a", "b", "c"], bad)
    assert not store.path.exists()
    assert store.missing(["a"]) == ["a"]


def test_shapes_are_checked(tmp_path):
    store = EmbeddingStore(tmp_path, "enc-1", "image")
    with pytest.raises(DataError, match=r"shape \[2, width\].*got \[3, 6\]"):
        store.add(["a", "b"], random(3))
    store.add(["a"], random(1))
    with pytest.raises(DataError, match=r"width 7, but .* holds width 6"):
        store.add(["b"], random(1, 7))
    store.add([], random(0))
    assert len(list(store.path.iterdir())) == 1


def test_what_an_interrupted_run_leaves(tmp_path):
    store = EmbeddingStore(tmp_path, "enc-1", "image")
    store.add(["a"], random(1))
    (part,) = store.path.iterdir()
    (store.path / f".{part.name}.1234.tmp").write_bytes(part.read_bytes()[:50])  # a killed process
    assert EmbeddingStore(tmp_path, "enc-1", "image").missing(["a", "b"]) == ["b"]

    part.write_bytes(part.read_bytes()[:-20])  # a damaged copy
    with pytest.raises(DataError, match=r"is damaged .*Delete it and run `pamela embed` again"):
        EmbeddingStore(tmp_path, "enc-1", "image")


def test_two_writers_share_a_store(tmp_path):
    one, two = (EmbeddingStore(tmp_path, "enc-1", "image") for _ in range(2))
    one.add(["a"], random(1))
    two.add(["b"], random(1))
    two.add(["a"], random(1))  # the same part again is the same file
    assert len(list(one.path.iterdir())) == 2
    assert EmbeddingStore(tmp_path, "enc-1", "image").missing(["a", "b"]) == []


def test_parts_are_readable_with_datasets(tmp_path):
    store = EmbeddingStore(tmp_path, "enc-1", "image")
    store.add(["a", "b"], random(2))
    rows = load_dataset(
        "parquet", data_files=str(store.path / "*.parquet"), split="train", cache_dir=str(tmp_path / "cache")
    )
    np.testing.assert_array_equal(np.array(rows["embedding"]), random(2).astype(np.float16))


@settings(max_examples=25, deadline=None)
@given(st.lists(st.lists(st.text(st.characters(codec="utf-8"), max_size=3), max_size=4), max_size=4))
def test_a_store_holds_what_was_added(tmp_path_factory, parts):
    store = EmbeddingStore(tmp_path_factory.mktemp("store"), "enc-1", "text")
    expected = {}
    for number, texts in enumerate(parts):
        keys = store.missing([text_key(text) for text in texts])
        values = np.full((len(keys), 2), number, dtype=np.float32) + np.arange(len(keys))[:, None]
        store.add(keys, values)
        expected |= dict(zip(keys, values, strict=True))
    if expected:
        np.testing.assert_array_equal(store.get(list(expected)), np.stack(list(expected.values())))
