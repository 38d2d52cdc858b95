import io

import numpy as np
import pytest
import torch
from PIL import Image

from modeling_pamela.data.embed import bind_encoders, embed_folder, read_embeddings
from modeling_pamela.data.folder import DataFolder
from modeling_pamela.data.images import ImageError
from modeling_pamela.data.importers.tidy import import_tidy
from modeling_pamela.data.pictures import embed_pictures
from modeling_pamela.data.store import EmbeddingStore, MissingEmbeddingsError
from modeling_pamela.encoders_pamela import EncoderError, load_image_encoder
from modeling_pamela.processing_pamela import PamelaProcessor
from modeling_pamela.training.recipes import RECIPES


@pytest.fixture(scope="module")
def config():
    return RECIPES["posterior"].config()


@pytest.fixture(scope="module")
def encoder(config):
    return load_image_encoder(config.image_encoder)


@pytest.fixture(scope="module")
def processor(config):
    return PamelaProcessor.from_config(config)


@pytest.fixture(scope="module")
def pictures():
    """Encoded files of different sizes and contents."""
    rng = np.random.default_rng(0)
    contents = []
    for side in (16, 40, 24, 33, 20, 28, 48):
        buffer = io.BytesIO()
        Image.fromarray(rng.integers(0, 256, (side, 32, 3), dtype=np.uint8)).save(buffer, "PNG")
        contents.append(buffer.getvalue())
    return contents


@pytest.fixture(scope="module")
def one_by_one(pictures, encoder, processor):
    """Their embeddings, without batches or threads."""
    rows = []
    with torch.inference_mode():
        for content in pictures:
            pixel_values = processor(images=Image.open(io.BytesIO(content)))["pixel_values"]
            rows.append(encoder(pixel_values=pixel_values).numpy()[0])
    return np.stack(rows)


@pytest.mark.parametrize("batch_size", [1, 2, 3, 32])
def test_embed_pictures_equals_one_by_one(pictures, encoder, processor, one_by_one, batch_size):
    found = embed_pictures(iter(pictures), encoder, processor, batch_size)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, one_by_one, rtol=1e-4, atol=1e-4)


def test_embed_pictures_takes_bytes_paths_and_pictures(pictures, encoder, processor, one_by_one, tmp_path):
    path = tmp_path / "picture.png"
    path.write_bytes(pictures[1])
    mixed = [pictures[0], path, str(path), Image.open(io.BytesIO(pictures[2]))]
    found = embed_pictures(mixed, encoder, processor)
    np.testing.assert_allclose(found, one_by_one[[0, 1, 1, 2]], rtol=1e-4, atol=1e-4)


def test_embed_pictures_sets_aside_what_it_cannot_read(pictures, encoder, processor, one_by_one):
    broken = [pictures[0], pictures[1][:100], pictures[2], b"", pictures[3]]
    set_aside: dict[int, ImageError] = {}
    # A batch may hold nothing but a broken picture.
    found = embed_pictures(broken, encoder, processor, batch_size=1, set_aside=set_aside)
    np.testing.assert_allclose(found, one_by_one[[0, 2, 3]], rtol=1e-4, atol=1e-4)
    assert list(set_aside) == [1, 3]
    with pytest.raises(ImageError):
        embed_pictures(broken, encoder, processor)


def test_embed_pictures_of_nothing(encoder, processor):
    assert embed_pictures([], encoder, processor).shape == (0, encoder.embed_dim)


@pytest.fixture
def small_folder(source, write_table, tmp_path):
    """8 pictures, of which two have the same bytes and two no prompt."""
    pictures = [
        {"image_id": f"p{i}", "file": f"pictures/p{i if i != 7 else 0}.png", "prompt": "" if i in (2, 3) else f"a {i}"}
        for i in range(8)
    ]
    write_table(source / "images.csv", pictures)
    write_table(
        source / "ratings.csv",
        [{"user_id": f"u{u}", "image_id": f"p{p}", "rating": 1 + (u + p) % 5} for u in range(12) for p in range(8)],
    )
    import_tidy(source, tmp_path / "data", (1, 5))
    return DataFolder(tmp_path / "data")


def test_folder_is_encoded_once(small_folder, config, encoder, processor):
    # Demographics: everybody has an age of their own.
    assert embed_folder(small_folder, config) == {"pictures": 7, "prompts": 6, "metadata": 0, "demographics": 12}
    assert embed_folder(small_folder, config) == {"pictures": 0, "prompts": 0, "metadata": 0, "demographics": 0}

    found = read_embeddings(small_folder, config)
    direct = embed_pictures((content for _, content in small_folder.iter_image_bytes()), encoder, processor)
    np.testing.assert_allclose(found.image.numpy(), direct, rtol=2e-3, atol=1e-3)  # kept in half precision
    assert torch.equal(found.image[0], found.image[7])
    # An absent text is a row of zeros.
    is_zero = (found.text == 0).all(-1)
    assert is_zero.tolist() == [prompt in (None, "") for prompt in small_folder.prompts]
    assert is_zero.sum() == 2
    assert (found.metadata == 0).all()
    assert found.metadata.shape == (8, config.profile_embed_dim)
    assert found.demographics.any(-1).all()
    names = {encoder.fingerprint: config.image_encoder, config.encoder_fingerprints["text"]: config.text_encoder}
    assert DataFolder(small_folder.path).metadata["pamela"]["encoders"] == names


def test_an_interrupted_run_goes_on(small_folder, config, encoder):
    embed_folder(small_folder, config)
    before = read_embeddings(small_folder, config)
    store = small_folder.path / "embeddings" / encoder.fingerprint
    for part in store.glob("part-image-*.parquet"):
        part.unlink()
    sha256 = small_folder.images["sha256"].to_pylist()
    EmbeddingStore(small_folder.path, encoder.fingerprint, "image").add(sha256[:3], before.image[:3].numpy())

    with pytest.raises(MissingEmbeddingsError, match=r"4 of 7 image embeddings .* Run `pamela embed`"):
        read_embeddings(small_folder, config)
    assert embed_folder(small_folder, config)["pictures"] == 4
    assert torch.equal(read_embeddings(small_folder, config).image, before.image)


def test_a_run_that_is_killed_keeps_what_it_stored(small_folder, config, encoder):
    """After the first part of two pictures, as a kill signal would."""
    import multiprocessing

    process = multiprocessing.get_context("fork").Process(target=_embed_until_killed, args=(small_folder, config))
    process.start()
    process.join(60)
    assert process.exitcode == -9
    keys = small_folder.images["sha256"].to_pylist()
    assert len(EmbeddingStore(small_folder.path, encoder.fingerprint, "image").missing(keys)) == 5
    assert embed_folder(small_folder, config)["pictures"] == 5
    assert read_embeddings(small_folder, config).image.isfinite().all()


def _embed_until_killed(folder, config):
    import os
    import signal

    from modeling_pamela.data import embed

    embed.PART_SIZE = 2
    written = embed.EmbeddingStore.add

    def add(store, keys, embeddings):
        if len(store):
            os.kill(os.getpid(), signal.SIGKILL)
        written(store, keys, embeddings)

    embed.EmbeddingStore.add = add
    torch.set_num_threads(1)
    embed.embed_folder(folder, config)


def test_embeddings_of_another_encoder_do_not_count(small_folder, config, encoder):
    other = EmbeddingStore(small_folder.path, "0123456789abcdef", "image")
    sha256 = list(dict.fromkeys(small_folder.images["sha256"].to_pylist()))
    other.add(sha256, np.ones((len(sha256), encoder.embed_dim), np.float32))
    with pytest.raises(MissingEmbeddingsError, match="Run `pamela embed`"):
        read_embeddings(small_folder, config)


def test_a_model_of_another_encoder_is_refused():
    trained_elsewhere = RECIPES["posterior"].config(encoder_fingerprints={"image": "0123456789abcdef"})
    with pytest.raises(EncoderError, match="trained on 0123456789abcdef"):
        bind_encoders(trained_elsewhere)
