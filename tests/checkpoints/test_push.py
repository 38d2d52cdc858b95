"""What of a checkpoint would go to the Hub. The upload itself is that of data sets, which is tested against a stub of the Hub's API."""

import shutil

import pytest
from typer.testing import CliRunner

from modeling_pamela.checkpoints import copy_checkpoint
from modeling_pamela.checkpoints.push import plan_model_push
from modeling_pamela.cli import app
from modeling_pamela.data.push import PushError


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    return copy_checkpoint("pamela-small", tmp_path_factory.mktemp("push") / "pamela")


@pytest.fixture
def copy(original, tmp_path):
    return shutil.copytree(original, tmp_path / "pamela")


def test_people_stay_at_home(copy):
    (copy / "profiles" / "ann").mkdir(parents=True)
    for name in ("profiles/ann/profile.json", "users.json", "trainer_state.json"):
        (copy / name).write_text("{}")
    (copy / ".eval_results").mkdir()
    (copy / ".eval_results" / "someone--oasis.yaml").write_text("[]")
    run = CliRunner().invoke(app, ["push", str(copy), "somebody/pamela"])
    assert run.exit_code == 0, run.output
    assert "nothing was uploaded" in run.stdout
    assert "private: only you" in run.stdout
    for name in ("profiles/ann/profile.json", "users.json", "trainer_state.json"):
        assert f"not uploaded: {name}" in run.stdout
    files = set(plan_model_push(copy, "somebody/pamela").files)
    code = {f"{name}_pamela.py" for name in ("configuration", "encoders", "modeling", "processing")} | {
        "gaussian_taste.py"
    }
    assert code | {"README.md", "model.safetensors", "config.json", ".eval_results/someone--oasis.yaml"} <= files
    assert "PUBLIC" in str(plan_model_push(copy, "somebody/pamela", private=False))


def test_what_is_not_whole_is_refused(copy, tmp_path):
    with pytest.raises(PushError, match="expected owner/name"):
        plan_model_push(copy, "pamela")
    (copy / "README.md").unlink()
    with pytest.raises(PushError, match=r"lacks README.md.*pamela bench card"):
        plan_model_push(copy, "somebody/pamela")
    (copy / "README.md").write_text("# Mine")
    weights = (copy / "model.safetensors").read_bytes()
    (copy / "model.safetensors").write_bytes(weights[: len(weights) // 2])
    with pytest.raises(PushError, match="is damaged"):
        plan_model_push(copy, "somebody/pamela")
    (copy / "model.safetensors").write_bytes(weights)
    (copy / "gaussian_taste.py").unlink()
    (copy / "modeling_pamela.py").unlink()
    with pytest.raises(PushError, match="does not carry the code"):
        plan_model_push(copy, "somebody/pamela")
    with pytest.raises(PushError, match="Write a copy first: pamela checkpoint pamela-small DIR"):
        plan_model_push("pamela-small", "ann/pamela")
    with pytest.raises(PushError, match=r"lacks README.md, config.json"):
        plan_model_push(tmp_path, "somebody/pamela")
