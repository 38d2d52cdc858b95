"""Small real models that several tests share."""

import pytest
import torch
from hypothesis import HealthCheck, settings

from modeling_pamela import PamelaConfig, PamelaForPersonalizedScoring


# Nothing is timed: a test says what is right, on a busy machine too.
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")


@pytest.fixture
def tiny_config():
    """A posterior model's configuration that computes in no time; `dict`, to be changed at will."""
    return {
        "image_embed_dim": 12,
        "text_embed_dim": 6,
        "profile_embed_dim": 5,
        "image_projection_dim": 4,
        "text_projection_dim": 3,
        "hidden_size": 16,
        "intermediate_size": 16,
        "num_attention_heads": 2,
        "num_learned_directions": 3,
        "num_free_image_directions": 8,
        "num_free_text_directions": 4,
    }


@pytest.fixture
def tiny_token_config(tiny_config):
    """The same for the paper's model, with 7 training people."""
    return {**tiny_config, "user_conditioning": "token", "fusion": "transformer", "num_users": 7}


@pytest.fixture
def tiny_pictures():
    """Embeddings of 9 pictures with prompts and metadata."""
    generator = torch.Generator().manual_seed(1)
    return {
        "image_embeds": torch.randn(9, 12, generator=generator),
        "text_embeds": torch.randn(9, 6, generator=generator),
        "metadata_embeds": torch.randn(9, 5, generator=generator),
    }


@pytest.fixture
def tiny_model(tiny_config, tiny_pictures):
    """A posterior model with fitted inputs and weights large enough to matter."""
    return make_fitted(tiny_config, tiny_pictures)


@pytest.fixture
def tiny_other_model(tiny_config, tiny_pictures):
    """Another version of it, with more taste features."""
    return make_fitted({**tiny_config, "num_learned_directions": 5}, tiny_pictures)


@pytest.fixture
def tiny_kernel_model(tiny_config, tiny_pictures):
    """A posterior model with kernel fusion, likewise."""
    return make_fitted({**tiny_config, "fusion": "kernel", "num_landmarks": 9}, tiny_pictures)


@pytest.fixture
def tiny_token_model(tiny_token_config, tiny_pictures):
    """A token model, likewise."""
    return make_fitted(tiny_token_config, tiny_pictures)


@pytest.fixture(scope="session")
def small_checkpoint():
    """The model that travels inside the package, and its processor."""
    from modeling_pamela.cli.checkpoint import load_checkpoint, load_processor

    return load_checkpoint("pamela-small").eval(), load_processor("pamela-small")


def make_fitted(config, pictures):
    torch.manual_seed(0)
    model = PamelaForPersonalizedScoring(PamelaConfig(**{**config, "initializer_range": 0.3}))
    model.fit_inputs(
        0.5, image=pictures["image_embeds"], text=pictures["text_embeds"], metadata=pictures["metadata_embeds"]
    )
    return model.eval()


@pytest.fixture(scope="module")
def one_thread():
    """Small tensors are slower, on a busy machine a great deal, on several threads."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def taste_folder(tmp_path_factory):
    """
    A split data folder of 24 people and 48 tiny pictures, everything rated, whose embeddings tell the taste behind the ratings.

    The embeddings are drawn, not encoded: the store holds them under the embedded encoders' names.
    """
    from modeling_pamela.data.folder import DataFolder
    from modeling_pamela.data.splits import SplitOptions, split_folder

    folder = tmp_path_factory.mktemp("taste")
    write_taste_folder(folder)
    split_folder(
        folder / "data",
        SplitOptions(
            seed=0, test_users=5, val_users=5, test_pictures=12, val_pictures=12, max_query_context=3, draws=2
        ),
        out=folder / "split",
    )
    return DataFolder(folder / "split")


def write_taste_folder(folder, num_people=24, num_pictures=48):
    """Write, import and fill the store of `folder/data`; unsplit."""
    import csv

    import numpy as np
    from PIL import Image

    from modeling_pamela.data.embed import bind_encoders
    from modeling_pamela.data.folder import DataFolder
    from modeling_pamela.data.importers.tidy import import_tidy
    from modeling_pamela.data.store import EmbeddingStore, text_key
    from modeling_pamela.processing_pamela import describe
    from modeling_pamela.training.recipes import RECIPES

    rng = np.random.default_rng(0)
    directions = rng.normal(size=(num_pictures, 4))
    scores = 3 + 0.6 * directions[:, 0] + 0.5 * rng.normal(size=(num_people, 3)) @ directions[:, 1:].T
    scores = np.clip(scores + rng.normal(0, 0.2, scores.shape), 1, 5).round(2)
    source = folder / "source"
    source.mkdir()
    pictures = [{"image_id": f"p{i}", "file": f"p{i}.png", "prompt": f"prompt {i}"} for i in range(num_pictures)]
    for picture in pictures:
        Image.fromarray(rng.integers(0, 256, (16, 16, 3), dtype=np.uint8)).save(source / picture["file"])
    # Not in alphabetical order, so that nobody's row can be told from their name.
    people = [{"user_id": f"u{(7 * user) % num_people}", "age": 20 + user} for user in range(num_people)]
    ratings = [
        {"user_id": person["user_id"], "image_id": picture["image_id"], "rating": scores[u, i]}
        for u, person in enumerate(people)
        for i, picture in enumerate(pictures)
    ]
    for name, rows in {"images": pictures, "users": people, "ratings": ratings}.items():
        with open(source / f"{name}.csv", "w", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
    import_tidy(source, folder / "data", (1, 5))

    data, config = DataFolder(folder / "data"), RECIPES["posterior"].config()
    fingerprints = bind_encoders(config)
    mixed = directions[[int(name[1:]) for name in data.image_ids]] @ rng.normal(size=(4, config.image_embed_dim))
    EmbeddingStore(data.path, fingerprints["image"], "image").add(data.images["sha256"].to_pylist(), mixed)
    sentences = [picture["prompt"] for picture in pictures] + [describe({"age": person["age"]}) for person in people]
    EmbeddingStore(data.path, fingerprints["text"], "text").add(
        [text_key(text) for text in sentences], rng.normal(size=(len(sentences), config.text_embed_dim))
    )


@pytest.fixture(scope="session")
def official_folder(taste_folder, tmp_path_factory):
    """`taste_folder` as a publisher would have split it: nothing is known of new people but ratings of the pictures they are judged on."""
    import shutil

    from modeling_pamela.data.folder import DataFolder, data_configs, write_card

    folder = tmp_path_factory.mktemp("official") / "data"
    shutil.copytree(taste_folder.path, folder)
    splits = ["train", "val_seen", "val_unseen", "test_seen", "test_unseen"]
    write_card(folder, {**taste_folder.metadata, "configs": data_configs(splits, ["query"])})
    return DataFolder(folder)


SMALL = {"image_projection_dim": 6, "text_projection_dim": 4, "profile_projection_dim": 3}


@pytest.fixture(scope="session")
def posterior(taste_folder):
    """A posterior model trained on `taste_folder`."""
    from modeling_pamela.data.embed import read_embeddings
    from modeling_pamela.training.closed_form import fit_closed_form
    from modeling_pamela.training.recipes import RECIPES
    from modeling_pamela.training.trainer import make_model

    config = RECIPES["posterior"].config(**SMALL, num_learned_directions=16, num_free_image_directions=8)
    embeddings, ratings = read_embeddings(taste_folder, config), taste_folder.ratings("train")
    model = make_model(config, ratings, embeddings, seed=0)
    fit_closed_form(model, ratings, embeddings)
    return model.eval()


@pytest.fixture(scope="session")
def token(taste_folder):
    """A token model for `taste_folder`, not trained."""
    from modeling_pamela.data.embed import read_embeddings
    from modeling_pamela.training.recipes import RECIPES
    from modeling_pamela.training.trainer import make_model

    config = RECIPES["token"].config(**SMALL, hidden_size=8, intermediate_size=8, num_attention_heads=2)
    embeddings = read_embeddings(taste_folder, config)
    return make_model(config, taste_folder.ratings("train"), embeddings, seed=0).eval()
