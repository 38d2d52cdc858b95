"""Several data sets in one model: nothing of one is taken for another's, and each keeps its scale, noise and weight."""

import dataclasses
import shutil

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from typer.testing import CliRunner

from modeling_pamela.cli.main import app
from modeling_pamela.data.embed import read_embeddings
from modeling_pamela.data.files import DataError
from modeling_pamela.data.folder import DataFolder, Ratings, write_card
from modeling_pamela.data.joint import JointFolder, data_set_of_user, open_data
from modeling_pamela.evaluation.comparison import compare
from modeling_pamela.evaluation.protocol import unseen_cases, validation_cases
from modeling_pamela.training.closed_form import fit_closed_form
from modeling_pamela.training.recipes import RECIPES
from modeling_pamela.training.trainer import make_model, train, validate
from tests.training.test_trainer import TINY


pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def other_folder(taste_folder, tmp_path_factory):
    """The same people's and pictures' names, on a scale of 0 to 100 of which half is used, and without demographics or prompts."""
    path = tmp_path_factory.mktemp("joint") / "other"
    shutil.copytree(taste_folder.path, path)
    for file in (path / "ratings").glob("*.parquet"):
        table = pq.read_table(file)
        norm = 0.4 + 0.5 * table["rating_norm"].to_numpy()
        for name, values in (("rating", 100 * norm), ("rating_norm", norm)):
            place = table.schema.get_field_index(name)
            table = table.set_column(place, table.schema.field(place), pa.array(values))
        pq.write_table(table, file)
    users = pq.read_table(path / "users/train.parquet")
    pq.write_table(users.select(["user_id"]), path / "users/train.parquet")
    for file in (path / "images").glob("*.parquet"):
        table = pq.read_table(file)
        place = table.schema.get_field_index("prompt")
        table = table.set_column(place, table.schema.field(place), pa.nulls(len(table), pa.string()))
        pq.write_table(table, file)
    metadata = DataFolder(path).metadata
    metadata["pamela"]["rating_scale"] = [0, 100]
    write_card(path, metadata)
    return DataFolder(path)


@pytest.fixture(scope="module")
def joint(taste_folder, other_folder):
    return JointFolder([taste_folder, other_folder], [1.0, 0.5], ["a", "b"])


def test_clashing_names_never_merge(joint, taste_folder, other_folder):
    people, pictures = len(taste_folder.user_ids), len(taste_folder.image_ids)
    assert taste_folder.user_ids == other_folder.user_ids
    assert len(set(joint.user_ids)) == 2 * people
    assert joint.user_ids[people] == f"b:{other_folder.user_ids[0]}"
    ratings, first, second = (folder.ratings("train", "val_seen") for folder in (joint, taste_folder, other_folder))
    assert len(np.unique(ratings.rating_id)) == len(ratings) == len(first) + len(second)
    np.testing.assert_array_equal(ratings.user, np.concatenate([first.user, second.user + people]))
    np.testing.assert_array_equal(ratings.image, np.concatenate([first.image, second.image + pictures]))
    np.testing.assert_array_equal(data_set_of_user(joint)[ratings.user], np.arange(len(ratings)) >= len(first))


def test_a_set_without_demographics_and_prompts_has_unknown_ones(joint, taste_folder):
    embeddings = read_embeddings(joint, RECIPES["posterior"].config())
    people, pictures = len(taste_folder.user_ids), len(taste_folder.image_ids)
    assert embeddings.demographics[:people].ne(0).any(1).all()
    assert embeddings.text[:pictures].ne(0).any(1).all()
    assert not embeddings.demographics[people:].any()
    assert not embeddings.text[pictures:].any()


@pytest.mark.parametrize("recipe", ["posterior", "posterior-mlp", "token"])
def test_every_recipe_trains_and_is_evaluated_set_by_set(joint, taste_folder, other_folder, tmp_path, recipe):
    settings = RECIPES[recipe].training(num_epochs=3, learning_rate=5e-3, batch_size=16, warmup_steps=2)
    model = train(joint, RECIPES[recipe].config(**TINY), tmp_path / "model", device="cpu", **settings)
    again = type(model).from_pretrained(tmp_path / "model")
    first, second = again.config.data_sets
    assert (first["offset"], first["scale"]) == (0, 1)
    assert second["scale"] == pytest.approx(0.5, abs=0.05)
    assert second["offset"] == pytest.approx(0.4, abs=0.05)
    assert second["rating_scale"] == [0, 100]
    if recipe == "token":
        return
    assert again.noise_variances.shape == (2,)
    metrics = validate(again, joint)
    assert metrics["user_srocc"] == pytest.approx((metrics["user_srocc_a"] + metrics["user_srocc_b"]) / 2)
    if recipe == "posterior":
        # People's own noise is fitted as on one set.
        assert again.taste.noise_model[1:3].gt(0).all()
        assert metrics["user_srocc_a"] > 0.3
        assert metrics["user_srocc_b"] > 0.3
        # Its own scale is half as wide, so the same errors are a quarter.
        assert metrics["mse_b"] < 0.6 * metrics["mse_a"]
    for folder in (taste_folder, other_folder):
        posterior = compare(folder, again, None, "val_unseen", [15])[-1]
        name = "a" if folder is taste_folder else "b"
        assert posterior.scores.mse.mean() < 2 * metrics[f"mse_{name}"] + 0.01


def two_halves(world, train_ratings):
    """The simulated people as two sets of other pictures, the second twice as noisy."""
    second = train_ratings.user >= 50
    return train_ratings.user, np.where(second, train_ratings.image % 50 + 50, train_ratings.image % 50), second


def test_noise_is_told_apart_per_set(kernel_config, world, train_ratings):
    user, image, second = two_halves(world, train_ratings)
    noise = np.random.default_rng(0).normal(0, 1, len(user)) * np.where(second, 0.12, 0.06)
    values = world.scores[user, image] + noise
    _, kept = np.unique(np.stack([user, image]), axis=1, return_index=True)
    ratings = Ratings(*(column[kept] for column in (np.arange(len(user)), user, image, values, values)))
    config = type(kernel_config)(**kernel_config.to_dict())
    config.data_sets = [{"name": name, "weight": 1.0, "offset": 0.0, "scale": 1.0} for name in "ab"]
    model = make_model(config, ratings, world.embeddings, 0)
    fit_closed_form(model, ratings, world.embeddings, 0, (np.arange(140) >= 50).astype(np.int64))
    np.testing.assert_allclose(model.noise_variances.sqrt(), [0.06, 0.12], rtol=0.3)


def test_two_sets_that_are_one_give_one_sets_model_and_a_small_weight_leaves_a_set_out(
    kernel_config, world, train_ratings
):
    user, image, second = two_halves(world, train_ratings)
    values = world.ratings(user, image).rating_norm
    everything = Ratings(np.arange(len(user)), user, image, values, values)
    alone = Ratings(*(getattr(everything, f.name)[~second] for f in dataclasses.fields(everything)))

    def population(ratings, weights):
        config = type(kernel_config)(**kernel_config.to_dict())
        if len(weights) > 1:
            config.data_sets = [{"name": str(w), "weight": w, "offset": 0.0, "scale": 1.0} for w in weights]
        model = make_model(config, ratings, world.embeddings, 0)
        fit_closed_form(model, ratings, world.embeddings, 0, (np.arange(140) >= 50).astype(np.int64) % len(weights))
        return model(image_embeds=world.embeddings.image[100:]).population_scores.detach()

    def likeness(one, two):
        return float(torch.corrcoef(torch.stack([one, two]))[0, 1])

    both = population(everything, [1.0])
    assert likeness(population(everything, [1.0, 1.0]), both) > 0.99
    first = population(alone, [1.0])
    nearly_first = population(everything, [1.0, 1e-4])
    assert likeness(nearly_first, first) > likeness(both, first)


def test_contexts_from_the_query_split_serve_where_there_are_no_others(taste_folder, tmp_path):
    shutil.copytree(taste_folder.path, tmp_path / "data")
    metadata = DataFolder(tmp_path / "data").metadata
    for config in metadata["configs"]:
        if config["config_name"] == "contexts":
            config["data_files"] = [entry for entry in config["data_files"] if entry["split"] == "query"]
    write_card(tmp_path / "data", metadata)
    folder = DataFolder(tmp_path / "data")
    (found,) = validation_cases(folder)
    expected = unseen_cases(folder, "val_unseen", "query")
    assert len(found) == len(expected) > 0
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one.queries, other.queries)
    model = train(
        folder,
        RECIPES["posterior"].config(**TINY),
        tmp_path / "model",
        device="cpu",
        **RECIPES["posterior"].training(),
    )
    assert np.isfinite(validate(model, folder)["user_srocc"])


@pytest.mark.parametrize(
    ("weights", "names", "match"),
    [([1.0], "ab", "2 data sets but 1 weights"), ([1.0, 0.0], "ab", "weight of b is 0"), (None, "aa", "same name")],
)
def test_what_cannot_be_joined_is_refused(taste_folder, other_folder, weights, names, match):
    with pytest.raises(DataError, match=match):
        JointFolder([taste_folder, other_folder], weights, list(names))


def test_the_command_names_the_set_that_is_not_ready(taste_folder, other_folder, tmp_path):
    unsplit = taste_folder.path.parent / "data"

    def invoke(*folders, extra=()):
        arguments = ["train", *map(str, folders), "--output-dir", str(tmp_path / "m"), "--device", "cpu", *extra]
        result = CliRunner().invoke(app, arguments)
        return result, " ".join(str(result.exception or "").split()) + " ".join(result.output.split())

    result, said = invoke(taste_folder.path, unsplit)
    assert result.exit_code
    assert f"{unsplit} has no splits" in said
    empty = tmp_path / "not-embedded"
    shutil.copytree(other_folder.path, empty, ignore=shutil.ignore_patterns("embeddings"))
    result, said = invoke(taste_folder.path, empty)
    assert result.exit_code
    assert "not-embedded" in said
    assert "pamela embed" in said
    scaleless = tmp_path / "scaleless"
    shutil.copytree(other_folder.path, scaleless)
    metadata = DataFolder(scaleless).metadata
    del metadata["pamela"]["rating_scale"]
    write_card(scaleless, metadata)
    result, said = invoke(taste_folder.path, scaleless)
    assert result.exit_code
    assert "scaleless" in said
    result, said = invoke(taste_folder.path, other_folder.path, extra=["--weights", "1,x"])
    assert result.exit_code
    assert "expected 2 numbers" in said


def test_one_folder_stays_what_it_is(taste_folder):
    assert isinstance(open_data([taste_folder.path]), DataFolder)
