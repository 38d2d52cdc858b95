"""Several data sets in one model: nothing of one is taken for another's, and each keeps its scale, noise and weight."""

import dataclasses
import shutil

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from tiny_settings import TINY
from typer.testing import CliRunner

from modeling_pamela.cli.main import app
from modeling_pamela.data.embed import read_embeddings
from modeling_pamela.data.files import DataError
from modeling_pamela.data.folder import DataFolder, Ratings, write_card
from modeling_pamela.data.joint import JointFolder, data_set_of_user, open_data
from modeling_pamela.evaluation.comparison import compare
from modeling_pamela.evaluation.protocol import Evidence, unseen_cases, validation_cases
from modeling_pamela.evaluation.scorers import TokenScorer
from modeling_pamela.training import closed_form
from modeling_pamela.training.closed_form import fit_closed_form
from modeling_pamela.training.recipes import RECIPES
from modeling_pamela.training.trainer import _bind_data_sets, make_model, train, validate


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


def test_sets_are_brought_to_one_mean_and_spread(joint):
    """By moments alone: people who like more, or better pictures, would look the same."""
    config = RECIPES["posterior"].config()
    matched, raw = _bind_data_sets(config, joint).rating_norm, joint.ratings("train")
    second = data_set_of_user(joint)[raw.user] == 1
    for moment in (np.mean, np.std):
        assert moment(matched[second]) == pytest.approx(moment(matched[~second]))
    np.testing.assert_array_equal(matched[~second], raw.rating_norm[~second])
    member = config.data_sets[1]
    np.testing.assert_allclose(member["offset"] + member["scale"] * matched[second], raw.rating_norm[second])


def test_a_joint_token_model_knows_the_people_of_each_set(joint, tmp_path):
    settings = RECIPES["token"].training(num_epochs=1, batch_size=64)
    model = train(joint, RECIPES["token"].config(**TINY), tmp_path / "m", device="cpu", **settings)
    whole = TokenScorer(model, read_embeddings(joint, model.config), joint.ratings("train"), data_set_of_user(joint))
    for number, member in enumerate(joint.members):
        train_ratings = member.folder.ratings("train")
        one = TokenScorer(model, read_embeddings(member.folder, model.config), train_ratings, number)
        user, queries = int(train_ratings.user[0]), np.arange(5)
        nothing = np.zeros(0, dtype=np.int64)
        found = one(Evidence(user, nothing, np.zeros(0)), queries)
        expected = whole(Evidence(user + member.first_user, nothing, np.zeros(0)), queries + member.first_image)
        np.testing.assert_allclose(found, expected, atol=1e-6)


def two_halves(world, train_ratings):
    """The simulated people as two sets of other pictures, the second twice as noisy."""
    second = train_ratings.user >= 50
    return train_ratings.user, np.where(second, train_ratings.image % 50 + 50, train_ratings.image % 50), second


def fitted_noise(config, ratings, embeddings, data_set=None):
    """Standard deviation of every set's noise."""
    config = type(config)(**config.to_dict())
    if data_set is not None:
        config.data_sets = [{"name": name, "weight": 1.0, "offset": 0.0, "scale": 1.0} for name in "ab"]
    model = make_model(config, ratings, embeddings, 0)
    fit_closed_form(model, ratings, embeddings, 0, data_set)
    return model.noise_variances.sqrt().numpy()


def test_noise_of_a_set_is_what_it_is_alone(kernel_config, world, train_ratings):
    user, image, second = two_halves(world, train_ratings)
    true = np.array([0.04, 0.12])
    values = world.scores[user, image] + np.random.default_rng(0).normal(0, 1, len(user)) * true[second.astype(int)]
    _, kept = np.unique(np.stack([user, image]), axis=1, return_index=True)
    rows = Ratings(np.arange(len(user)), user, image, values, values)

    def fit(chosen, data_set=None):
        ratings = Ratings(*(getattr(rows, field.name)[chosen] for field in dataclasses.fields(rows)))
        return fitted_noise(kernel_config, ratings, world.embeddings, data_set)

    together = fit(kept, (np.arange(140) >= 50).astype(np.int64))
    alone = np.concatenate([fit(kept[~second[kept]]), fit(kept[second[kept]])])
    np.testing.assert_allclose(together, alone, rtol=0.2)
    # Of small noise the kernels, which are as good as white over few pictures, take a share for taste, one set or two.
    np.testing.assert_allclose(alone, true, rtol=0.3)


def test_a_picture_of_two_sets_is_predicted_without_either(kernel_config, world, train_ratings):
    """Every picture occurs in both sets; were it not left out of both, it would be known, and noise seem smaller."""
    second = train_ratings.user >= 50
    image = train_ratings.image + 140 * second
    ratings = Ratings(
        train_ratings.rating_id, train_ratings.user, image, train_ratings.rating, train_ratings.rating_norm
    )
    twice = {name: torch.cat([getattr(world.embeddings, name)] * 2) for name in ("image", "text", "metadata")}
    # One of the sets has no prompts, and its pictures were encoded on another machine.
    twice["text"][140:] = 0
    twice["image"][140:] *= 1 + 1e-4
    embeddings = dataclasses.replace(world.embeddings, **twice)
    model = make_model(type(kernel_config)(**kernel_config.to_dict()), ratings, embeddings, 0)
    first = closed_form._first_of_each(model, embeddings.image)
    assert first.tolist() == [*range(140)] * 2
    scaled = model.pamela(**{f"{name}_embeds": rows for name, rows in twice.items()}).pooler_output.double()
    means = torch.rand(280, dtype=torch.float64)
    generator = torch.Generator().manual_seed(0)
    known = closed_form._out_of_fold(scaled, means, means.new_full((280,), 1e-4), first, generator)
    changed = means.clone()
    changed[[3, 143]] += 1
    generator.manual_seed(0)
    again = closed_form._out_of_fold(scaled, changed, means.new_full((280,), 1e-4), first, generator)
    assert (again - known)[[3, 143]].abs().max() < 0.05 < (again - known).abs().max()


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
