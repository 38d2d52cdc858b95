"""Training from a data folder to a checkpoint, and what an interruption does to it: nothing."""

import json
import re
from urllib.parse import unquote

import numpy as np
import pytest
import torch
from tiny_settings import TINY
from transformers import AutoModel, TrainerCallback

from modeling_pamela import PamelaProcessor, TasteProfile
from modeling_pamela.data.embed import read_embeddings
from modeling_pamela.data.files import DataError
from modeling_pamela.data.folder import DataFolder
from modeling_pamela.evaluation.protocol import evaluate_scorer, unseen_cases
from modeling_pamela.evaluation.scorers import PosteriorScorer, TokenScorer
from modeling_pamela.taste.profile import ProfileError, profile_folder_name
from modeling_pamela.training.recipes import RECIPES
from modeling_pamela.training.trainer import VALIDATION_CONTEXT, VALIDATION_DRAWS, save_training_profiles, train


pytestmark = pytest.mark.usefixtures("one_thread")

STEPPED = ["posterior-mlp", "token"]
BATCH = {"posterior-mlp": 4, "token": 64}


class Diary(TrainerCallback):
    """Keeps what is logged, and stops the run as Ctrl-C would, after so many epochs."""

    def __init__(self, stop_after=None):
        self.stop_after = stop_after
        self.logs = []

    def on_log(self, args, state, control, logs=None, **kwargs):
        self.logs.append(logs)

    def on_save(self, args, state, control, **kwargs):
        if self.stop_after is not None and round(state.epoch) == self.stop_after:
            raise KeyboardInterrupt

    def values(self, name):
        return [logs[name] for logs in self.logs if name in logs]


def run(recipe, folder, output_dir, stop_after=None, **options):
    diary = Diary(stop_after)
    chosen = RECIPES[recipe]
    settings = chosen.training(num_epochs=4, learning_rate=5e-3, batch_size=BATCH.get(recipe), warmup_steps=2)
    model = train(
        folder, chosen.config(**TINY), output_dir, device="cpu", callbacks=[diary], seed=3, **settings, **options
    )
    return model, diary


@pytest.fixture(scope="module")
def trained(taste_folder, tmp_path_factory):
    """An uninterrupted run of each recipe in steps: model, diary, output folder."""
    runs = {}
    for recipe in STEPPED:
        output_dir = tmp_path_factory.mktemp(recipe)
        runs[recipe] = (*run(recipe, taste_folder, output_dir), output_dir)
    return runs


@pytest.mark.parametrize("recipe", STEPPED)
def test_training_learns_and_keeps_the_best_epoch(trained, taste_folder, recipe):
    model, diary, output_dir = trained[recipe]
    losses, validation = diary.values("loss"), diary.values("eval_user_srocc")
    assert len(losses) == len(validation) == 4
    assert losses[-1] < losses[0]
    saved = AutoModel.from_pretrained(output_dir)
    if saved.taste is not None:
        saved.taste.noise_model.zero_()  # is fitted after the last epoch
    embeddings, ratings = read_embeddings(taste_folder, saved.config), taste_folder.ratings("train")
    scorer = TokenScorer(saved, embeddings, ratings) if recipe == "token" else PosteriorScorer(saved, embeddings)
    cases = unseen_cases(taste_folder, "val_unseen", max_draws=VALIDATION_DRAWS)
    score = evaluate_scorer(scorer, cases, VALIDATION_CONTEXT).srocc.mean()
    assert score == pytest.approx(max(validation), abs=1e-6)
    assert score > 0.3
    assert AutoModel.from_pretrained(output_dir).fingerprint() == model.fingerprint()
    assert not model.training


@pytest.mark.parametrize("recipe", STEPPED)
def test_in_half_precision_nearly_the_same_is_learned(trained, taste_folder, tmp_path, recipe):
    half, diary = run(recipe, taste_folder, tmp_path, dtype="bfloat16")
    full, expected, _ = trained[recipe]
    assert {tensor.dtype for tensor in half.state_dict().values()} == {torch.float32}
    assert half.fingerprint() != full.fingerprint()  # it was rounded
    losses = np.array([diary.values("loss"), expected.values("loss")])
    assert np.isfinite(losses).all()
    np.testing.assert_allclose(losses[0], losses[1], atol=0.05 * np.ptp(losses[1]) + 0.01)
    assert max(diary.values("eval_user_srocc")) == pytest.approx(max(expected.values("eval_user_srocc")), abs=0.05)


class Spoiler(Diary):
    """Turns the scores upside down in the last epoch."""

    def on_epoch_end(self, args, state, control, model=None, **kwargs):
        if round(state.epoch) == args.num_train_epochs:
            with torch.no_grad():
                model.head.weight.neg_()


def test_a_last_epoch_that_is_worse_is_not_what_is_kept(trained, taste_folder, tmp_path):
    settings = RECIPES["token"].training(num_epochs=4, learning_rate=5e-3, batch_size=64, warmup_steps=2)
    spoiler = Spoiler()
    model = train(
        taste_folder, RECIPES["token"].config(**TINY), tmp_path, device="cpu", callbacks=[spoiler], seed=3, **settings
    )
    validation = spoiler.values("eval_user_srocc")
    assert validation[:3] == trained["token"][1].values("eval_user_srocc")[:3]
    assert validation[3] < 0 < validation[2] == max(validation)
    scorer = TokenScorer(model, read_embeddings(taste_folder, model.config), taste_folder.ratings("train"))
    cases = unseen_cases(taste_folder, "val_unseen", max_draws=VALIDATION_DRAWS)
    assert evaluate_scorer(scorer, cases, VALIDATION_CONTEXT).srocc.mean() == pytest.approx(validation[2], abs=1e-6)


@pytest.mark.parametrize(("recipe", "stop_after"), [("posterior-mlp", 2), ("token", 2), ("token", 4)])
def test_an_interrupted_run_goes_on_to_the_same_weights(trained, taste_folder, tmp_path, recipe, stop_after):
    with pytest.raises(KeyboardInterrupt):
        run(recipe, taste_folder, tmp_path, stop_after=stop_after)
    assert list(tmp_path.glob("checkpoint-*"))
    resumed, diary = run(recipe, taste_folder, tmp_path, resume=True)
    assert len(diary.values("loss")) == 4 - stop_after
    for name, tensor in trained[recipe][0].state_dict().items():
        assert torch.equal(tensor, resumed.state_dict()[name]), name


def test_a_state_that_was_cut_off_is_not_resumed_from(trained, taste_folder, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        run("token", taste_folder, tmp_path, stop_after=2)
    # What is left where the process died while it wrote the next state.
    torn = tmp_path / "checkpoint-999"
    torn.mkdir()
    (torn / "model.safetensors").write_bytes(b"\0" * 20)
    resumed, _ = run("token", taste_folder, tmp_path, resume=True)
    assert resumed.fingerprint() == trained["token"][0].fingerprint()
    assert not list(tmp_path.glob("checkpoint-*"))


def test_a_new_run_does_not_mix_with_an_interrupted_one(taste_folder, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        run("token", taste_folder, tmp_path, stop_after=1)
    with pytest.raises(DataError, match=r"interrupted run.*resume"):
        run("token", taste_folder, tmp_path)


def test_resuming_where_nothing_was_begun_starts_at_the_beginning(trained, taste_folder, tmp_path):
    model, _ = run("token", taste_folder, tmp_path / "new", resume=True)
    assert model.fingerprint() == trained["token"][0].fingerprint()


@pytest.mark.parametrize("recipe", STEPPED)
def test_the_output_folder_is_a_checkpoint_and_nothing_else(trained, recipe):
    *_, output_dir = trained[recipe]
    names = {path.relative_to(output_dir).as_posix() for path in output_dir.rglob("*") if path.is_file()}
    assert {"config.json", "model.safetensors"} <= names
    assert ("users.json" in names) == (recipe == "token")
    assert not [name for name in names if re.search(r"\.(bin|pt|pth|pkl|pickle|ckpt)$", name)]
    assert not list(output_dir.glob("checkpoint-*"))
    assert PamelaProcessor.from_pretrained(output_dir).tokenizer is not None


def test_users_are_named_in_the_order_of_the_user_table(trained, taste_folder):
    model, _, output_dir = trained["token"]
    names = json.loads((output_dir / "users.json").read_text())
    rows = np.unique(taste_folder.ratings("train").user)
    assert names == [taste_folder.user_ids[row] for row in rows]
    assert names != sorted(names)
    assert model.config.num_users == len(names) == 14


def test_patience_ends_a_run_that_no_longer_improves_resumed_or_not(taste_folder, tmp_path):
    def stuck(output_dir, stop_after=None, resume=False):
        diary = Diary(stop_after)
        settings = RECIPES["token"].training(num_epochs=9, batch_size=128, patience=3) | {"learning_rate": 0.0}
        config = RECIPES["token"].config(**TINY)
        train(taste_folder, config, output_dir, device="cpu", callbacks=[diary], resume=resume, **settings)
        return diary.values("eval_user_srocc")

    assert len(stuck(tmp_path / "whole")) == 4
    with pytest.raises(KeyboardInterrupt):
        stuck(tmp_path / "resumed", stop_after=3)
    assert len(stuck(tmp_path / "resumed", resume=True)) == 1


def test_the_closed_form_recipe_needs_no_epochs(taste_folder, tmp_path):
    model, diary = run("posterior", taste_folder, tmp_path)
    assert diary.logs == []
    assert AutoModel.from_pretrained(tmp_path).fingerprint() == model.fingerprint()
    cases = unseen_cases(taste_folder, "test_unseen")
    scorer = PosteriorScorer(model, read_embeddings(taste_folder, model.config))
    srocc = {k: evaluate_scorer(scorer, cases, k).srocc.mean() for k in (0, 15)}
    assert srocc[0] + 0.05 < srocc[15]


def test_every_training_person_gets_a_profile(trained, taste_folder, tmp_path):
    model, *_ = trained["posterior-mlp"]
    assert save_training_profiles(model, taste_folder, tmp_path) == 14
    ratings, embeddings = taste_folder.ratings("train"), read_embeddings(taste_folder, model.config)
    people = {taste_folder.user_ids[row]: row for row in np.unique(ratings.user)}
    assert {unquote(path.name) for path in tmp_path.iterdir()} == set(people)
    for name, row in people.items():
        profile = TasteProfile.from_pretrained(tmp_path / name)
        rows = ratings.user == row
        assert profile.num_ratings == rows.sum() == 24
        scores = profile.score(
            model,
            image_embeds=embeddings.image,
            text_embeds=embeddings.text,
            metadata_embeds=embeddings.metadata,
        )
        assert np.corrcoef(scores.mean[ratings.image[rows]], ratings.rating_norm[rows])[0, 1] > 0.5


@pytest.mark.parametrize("user_id", ["ann", "a b", "../../ann", "..", ".", "ann/eve", "Ännchen", "a.b", "100%"])
def test_a_persons_folder_is_inside_and_tells_their_name(tmp_path, user_id):
    folder = (tmp_path / profile_folder_name(user_id)).resolve()
    assert folder.parent == tmp_path.resolve()
    assert unquote(folder.name) == user_id


def test_a_token_model_has_no_profiles_to_save(trained, taste_folder, tmp_path):
    with pytest.raises(ProfileError, match="token model"):
        save_training_profiles(trained["token"][0], taste_folder, tmp_path)


def test_a_folder_without_splits_is_refused(taste_folder, tmp_path):
    unsplit = DataFolder(taste_folder.path.parent / "data")
    with pytest.raises(DataError, match=r"no splits \(found train\).*pamela data split"):
        run("posterior", unsplit, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_full_disk_leaves_the_old_checkpoint_whole(taste_folder, tmp_path):
    """The limit on a file's size stands for the disk: it is met in the middle of the weights."""
    import multiprocessing

    run("posterior", taste_folder, tmp_path / "m")
    before = {path.name: path.read_bytes() for path in (tmp_path / "m").iterdir() if path.is_file()}
    process = multiprocessing.get_context("fork").Process(target=_save_on_a_full_disk, args=(tmp_path / "m",))
    process.start()
    process.join(60)
    assert process.exitcode == 7
    assert {path.name: path.read_bytes() for path in (tmp_path / "m").iterdir() if path.is_file()} == before
    assert [path.name for path in tmp_path.iterdir()] == ["m"]


def _save_on_a_full_disk(path):
    import os
    import resource
    import signal
    from types import SimpleNamespace

    from safetensors import SafetensorError

    from modeling_pamela.training.trainer import _save

    model = AutoModel.from_pretrained(path)
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    limit = (path / "model.safetensors").stat().st_size // 2
    # The files before the weights fit.
    assert limit > max(file.stat().st_size for file in path.glob("*.py"))
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    try:
        _save(model, SimpleNamespace(user_ids=[]), None, path)
    except SafetensorError as error:
        os._exit(7 if "File too large" in str(error) else 1)
    except BaseException:
        os._exit(1)
    os._exit(0)
