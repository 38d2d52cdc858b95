"""A trained model for a new community: what LoRA trains, what it leaves alone, and what is saved."""

import pytest
import torch
from peft import PeftModel
from tiny_settings import TINY
from transformers import AutoModel, TrainerCallback

from modeling_pamela import PamelaForPersonalizedScoring
from modeling_pamela.data.embed import read_embeddings
from modeling_pamela.data.files import DataError
from modeling_pamela.evaluation.protocol import evaluate_scorer, unseen_cases
from modeling_pamela.evaluation.scorers import PosteriorScorer, TokenScorer
from modeling_pamela.training.adaptation import RANK, add_lora, copy_start, recipe_of, start_config
from modeling_pamela.training.recipes import RECIPES
from modeling_pamela.training.trainer import VALIDATION_CONTEXT, VALIDATION_DRAWS, train


pytestmark = pytest.mark.usefixtures("one_thread")

RECIPE_NAMES = ["posterior-mlp", "token"]


def run(folder, config, output_dir, epochs, **options):
    settings = RECIPES[recipe_of(config)].training(
        num_epochs=epochs,
        learning_rate=5e-3,
        batch_size=8 if config.user_conditioning == "posterior" else 64,
        warmup_steps=2,
    )
    return train(folder, config, output_dir, device="cpu", seed=3, **settings, **options)


@pytest.fixture(scope="module")
def starts(taste_folder, tmp_path_factory):
    """A briefly trained model of each recipe in steps, as a checkpoint."""
    folders = {}
    for name in RECIPE_NAMES:
        folders[name] = tmp_path_factory.mktemp(f"start-{name}")
        run(taste_folder, RECIPES[name].config(**TINY, rating_scale=[1.0, 5.0]), folders[name], 1)
    return folders


@pytest.fixture(scope="module")
def adapted(taste_folder, starts, tmp_path_factory):
    """Each of them adapted by LoRA: start, result, folder, validation scores."""
    results = {}
    for name, folder in starts.items():
        start = AutoModel.from_pretrained(folder)
        diary = Diary()
        output_dir = tmp_path_factory.mktemp(f"lora-{name}")
        config = start_config(start, taste_folder)
        model = run(taste_folder, config, output_dir, 3, init_from=start, peft="lora", callbacks=[diary])
        results[name] = start, model, output_dir, diary
    return results


class Diary(TrainerCallback):
    """Keeps what is logged, and which weights were trained."""

    def __init__(self):
        self.losses, self.validation, self.trained = [], [], set()

    def on_train_begin(self, args, state, control, model=None, **kwargs):
        self.trained = {name for name, weights in model.named_parameters() if weights.requires_grad}

    def on_log(self, args, state, control, logs=None, **kwargs):
        if "loss" in logs:
            self.losses.append(logs["loss"])
        if "eval_user_srocc" in logs:
            self.validation.append(logs["eval_user_srocc"])


def scores(model, folder):
    embeddings = read_embeddings(folder, model.config)
    inputs = {"image_embeds": embeddings.image, "text_embeds": embeddings.text, "metadata_embeds": embeddings.metadata}
    with torch.no_grad():
        return model(**inputs).scores


@pytest.mark.parametrize("name", RECIPE_NAMES)
def test_the_network_changes_by_low_rank_and_learns(adapted, name):
    start, model, _, diary = adapted[name]
    assert diary.losses[-1] < diary.losses[0]
    before, changed = start.state_dict(), []
    for key, weights in model.state_dict().items():
        if ".tokens." in key or ".fusion." in key:
            difference = weights - before[key]
            if difference.any():
                changed.append(key)
                assert torch.linalg.matrix_rank(difference, rtol=1e-4) <= RANK
    layers = {f"{key}.weight" for key, module in start.named_modules() if type(module) is torch.nn.Linear}
    network = {key for key in layers if ".tokens." in key or ".fusion." in key}
    # Nothing is known of these pictures but what they show: an input of zeros moves no weight.
    assert set(changed) == network - {"pamela.tokens.metadata.0.weight"}
    assert not any("original_module" in key or "base_layer" in key for key in diary.trained)


@pytest.mark.parametrize("name", RECIPE_NAMES)
def test_what_was_validated_is_what_is_saved(adapted, taste_folder, name):
    # In evaluation torch's transformer layers would read the weights past an adapter, merged or not.
    start, model, folder, diary = adapted[name]
    saved = AutoModel.from_pretrained(folder)
    assert isinstance(saved, PamelaForPersonalizedScoring)
    assert saved.fingerprint() == model.fingerprint()
    assert torch.backends.mha.get_fastpath_enabled()
    if saved.taste is not None:
        saved.taste.noise_model.copy_(start.taste.noise_model)  # is fitted after the last epoch
    embeddings, ratings = read_embeddings(taste_folder, saved.config), taste_folder.ratings("train")
    scorer = TokenScorer(saved, embeddings, ratings) if name == "token" else PosteriorScorer(saved, embeddings)
    cases = unseen_cases(taste_folder, "val_unseen", max_draws=VALIDATION_DRAWS)
    score = evaluate_scorer(scorer, cases, VALIDATION_CONTEXT).srocc.mean()
    assert score == pytest.approx(max(diary.validation), abs=1e-6)


def test_the_adapter_on_the_start_is_the_adapted_model(adapted, starts, taste_folder):
    _, model, folder, _ = adapted["posterior-mlp"]
    again = PeftModel.from_pretrained(AutoModel.from_pretrained(starts["posterior-mlp"]), folder / "adapter")
    assert again.peft_config["default"].base_model_name_or_path == str(starts["posterior-mlp"])
    merged = again.merge_and_unload()
    torch.testing.assert_close(scores(merged, taste_folder), scores(model, taste_folder))
    torch.testing.assert_close(merged.taste.noise_model, model.taste.noise_model)


def test_new_people_begin_as_the_mean_person(starts, taste_folder):
    start = AutoModel.from_pretrained(starts["token"])
    config = start_config(start, taste_folder)
    config.num_users = 3
    tokens = copy_start(start, config).pamela.user_embeddings.weight
    torch.testing.assert_close(tokens, start.pamela.user_embeddings.weight.mean(0).expand(3, -1))


def test_an_untrained_adapter_changes_nothing(starts, taste_folder):
    start = AutoModel.from_pretrained(starts["posterior-mlp"])
    model = copy_start(start, start_config(start, taste_folder))
    expected = scores(start, taste_folder)
    merged = add_lora(model.eval(), start).merge_and_unload()
    torch.testing.assert_close(scores(merged, taste_folder), expected)
    assert merged.state_dict().keys() == start.state_dict().keys()


def test_without_peft_all_weights_are_trained(starts, taste_folder, tmp_path):
    start = AutoModel.from_pretrained(starts["posterior-mlp"])
    diary = Diary()
    config = start_config(start, taste_folder)
    model = run(taste_folder, config, tmp_path, 1, init_from=start, callbacks=[diary])
    assert diary.trained == {name for name, _ in model.named_parameters()}
    assert not (tmp_path / "adapter").exists()
    rest = [tensor for name, tensor in model.state_dict().items() if ".projections." in name]
    before = [tensor for name, tensor in start.state_dict().items() if ".projections." in name]
    assert all(map(torch.equal, rest, before))  # the inputs stay what the network knows


def test_an_interrupted_adaptation_goes_on_to_the_same_weights(adapted, starts, taste_folder, tmp_path):
    class Stop(TrainerCallback):
        def on_save(self, args, state, control, **kwargs):
            if round(state.epoch) == 2:
                raise KeyboardInterrupt

    start = AutoModel.from_pretrained(starts["posterior-mlp"])
    for callbacks in ([Stop()], []):
        options = {"init_from": start, "peft": "lora", "resume": True, "callbacks": callbacks}
        config = start_config(start, taste_folder)
        if callbacks:
            with pytest.raises(KeyboardInterrupt):
                run(taste_folder, config, tmp_path, 3, **options)
        else:
            resumed = run(taste_folder, config, tmp_path, 3, **options)
    assert resumed.fingerprint() == adapted["posterior-mlp"][1].fingerprint()


def test_a_model_in_closed_form_is_refused(posterior, taste_folder):
    with pytest.raises(DataError, match=r"closed form.*pamela profile fit.*posterior-mlp"):
        start_config(posterior, taste_folder)
