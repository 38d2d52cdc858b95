"""examples/paper: its config is the recipe's, and it runs from ratings to results on tiny encoders of the same classes."""

import importlib.util
import json
from pathlib import Path

import pytest
from tiny_encoders import save_naflex, save_nemotron, save_siglip
from transformers import AutoModel

from modeling_pamela.data.scenes import write_scene_dataset
from modeling_pamela.training.recipes import RECIPES


FOLDER = Path(__file__).parents[1] / "examples" / "paper"


@pytest.fixture(scope="module")
def run():
    spec = importlib.util.spec_from_file_location("paper_example", FOLDER / "run.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.main


def test_config_is_the_recipe():
    fields = json.loads((FOLDER / "config.json").read_text())
    encoders = {name: fields.pop(name) for name in ("image_encoder", "text_encoder", "profile_encoder")}
    recipe = RECIPES["paper"]
    assert fields == recipe.model
    assert encoders["image_encoder"] == encoders["text_encoder"] == "google/siglip2-so400m-patch14-384:bfloat16"
    assert encoders["profile_encoder"] == "nvidia/llama-embed-nemotron-8b:bfloat16"
    assert (recipe.num_epochs, recipe.learning_rate, recipe.batch_size) == (10, 2e-5, 32)
    assert (recipe.warmup_steps, recipe.lr_scheduler_type) == (100, "constant_with_warmup")


@pytest.mark.parametrize("save_image_text", [save_siglip, save_naflex])
def test_from_ratings_to_results(run, save_image_text, tmp_path, monkeypatch, one_thread):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    image_text, profile = save_image_text(tmp_path / "image-text"), save_nemotron(tmp_path / "profile")
    source = write_scene_dataset(tmp_path / "source", 40, 14, ratings_per_rater=36, seed=0, size=(48, 36))
    arguments = [
        *(source, tmp_path / "work", "--scale", 1, 5, "--epochs", 1),
        *("--image-encoder", image_text, "--text-encoder", f"{image_text}:float32"),
        *("--profile-encoder", f"{profile}:bfloat16"),
        *(
            "--test-users",
            4,
            "--val-users",
            3,
            "--test-pictures",
            12,
            "--val-pictures",
            8,
            "--draws",
            2,
            "--max-query-context",
            4,
        ),
    ]
    run([str(argument) for argument in arguments])
    rows = json.loads((tmp_path / "work" / "results.json").read_text())
    assert {row["method"] for row in rows} >= {"population", "token + kNN", "posterior"}
    model = AutoModel.from_pretrained(tmp_path / "work" / "paper")
    assert model.config.profile_encoder == f"{profile}:bfloat16"
    assert (model.config.image_embed_dim, model.config.hidden_size, model.config.num_users) == (16, 256, 7)
    assert model.encoder("profile").pooling == "mean"
    # Done once, it does not train again.
    before = {path: path.stat().st_mtime_ns for path in tmp_path.glob("work/*/model.safetensors")}
    run([str(argument) for argument in arguments])
    assert {path: path.stat().st_mtime_ns for path in before} == before
