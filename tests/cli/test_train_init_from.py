"""`pamela train --init-from`: a checkpoint goes on to another data set, and what cannot be started from says so."""

import pytest
from tiny_settings import TINY
from transformers import AutoModel
from typer.testing import CliRunner

from modeling_pamela.cli import app
from modeling_pamela.data.files import DataError
from modeling_pamela.training.recipes import RECIPES
from modeling_pamela.training.trainer import train


pytestmark = pytest.mark.usefixtures("one_thread")


def pamela(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments], env={"COLUMNS": "300"})


def test_a_checkpoint_is_adapted_by_lora(taste_folder, tmp_path):
    config = RECIPES["posterior-mlp"].config(**TINY)
    settings = RECIPES["posterior-mlp"].training(num_epochs=1, batch_size=8)
    start = train(taste_folder, config, tmp_path / "start", device="cpu", **settings)
    arguments = ["train", taste_folder.path, "--output-dir", tmp_path / "new", "--init-from", tmp_path / "start"]
    result = pamela(*arguments, "--peft", "lora", "--epochs", 1, "--batch-size", 8, "--device", "cpu")
    assert result.exit_code == 0, result.output
    model = AutoModel.from_pretrained(tmp_path / "new")
    assert model.config.rating_scale == [1.0, 5.0]
    assert model.config.hidden_size == TINY["hidden_size"]
    assert model.fingerprint() != start.fingerprint()
    assert (tmp_path / "new" / "adapter" / "adapter_model.safetensors").is_file()

    result = pamela(*arguments, "--recipe", "token")
    assert result.exit_code == 2
    assert "leave --recipe and --set out" in result.output


def test_what_cannot_be_adapted_says_so(taste_folder, posterior, tmp_path):
    posterior.save_pretrained(tmp_path / "closed")
    arguments = ["train", taste_folder.path, "--output-dir", tmp_path / "new"]
    result = pamela(*arguments, "--init-from", tmp_path / "closed", "--peft", "lora")
    assert isinstance(result.exception, DataError)
    assert "closed form" in str(result.exception)
    assert "pamela train OLD NEW" in str(result.exception)
    assert not (tmp_path / "new").exists()
    result = pamela(*arguments, "--peft", "lora")
    assert result.exit_code == 2
    assert "--init-from" in result.output
    assert isinstance(pamela(*arguments, "--init-from", tmp_path / "none").exception, DataError)
