from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from modeling_pamela.cli.data import data_app
from modeling_pamela.data.files import DataError
from modeling_pamela.data.folder import DataFolder


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """10 people x 12 pictures, with a source's own column names."""
    folder = tmp_path / "source"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for picture in range(12):
        Image.fromarray(rng.integers(0, 256, (16, 16, 3), dtype=np.uint8)).save(folder / f"{picture}.png")
    (folder / "images.csv").write_text("image_id,file,style\n" + "".join(f"{p},{p}.png,s{p % 2}\n" for p in range(12)))
    rows = [f"u{u},{p},{rng.integers(-2, 3)}\n" for u in range(10) for p in range(12)]
    (folder / "ratings.csv").write_text("user_id,image_id,score\n" + "".join(rows))
    return folder


def invoke(*arguments: object):
    return CliRunner().invoke(data_app, [str(argument) for argument in arguments])


def test_import_and_split(source, tmp_path):
    out = tmp_path / "data"
    run = invoke("import", "tidy", source, out, "--scale", -2, 2, "--map", "rating=score")
    assert run.exit_code == 0, run.output
    assert "10 people, 12 pictures, 120 ratings on a scale from -2 to 2" in run.output
    sizes = ["--test-users", 2, "--val-users", 0.2, "--test-pictures", 0.5, "--val-pictures", 1, "--group", "style"]
    run = invoke("split", out, "--seed", 3, *sizes, "--out", tmp_path / "split", "--draws", 2)
    assert run.exit_code == 0, run.output
    assert "test_unseen         12        2         6" in run.output
    assert "too few ratings: u" in run.output
    options = DataFolder(tmp_path / "split").metadata["pamela"]["split"]
    assert (options["test_users"], options["val_users"], options["draws"]) == (2, 0.2, 2)
    assert DataFolder(out).splits == ["train"]


def test_dry_run(source, tmp_path):
    run = invoke("import", "tidy", source, tmp_path / "data", "--scale", 0, 2, "--map", "rating=score", "--dry-run")
    assert run.exit_code == 0
    assert "rating off the scale" in run.output
    assert "nothing was written" in run.output
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--map", "rating"], "expected STANDARD=SOURCE"),
        (["--map", "rating=score", "--map", "rating=x"], "'rating' is given twice"),
    ],
)
def test_usage(source, tmp_path, arguments, message):
    run = invoke("import", "tidy", source, tmp_path / "data", "--scale", 1, 5, *arguments)
    assert run.exit_code == 2
    assert message in run.output
    run = invoke("split", source, "--seed", 1, "--test-users", "many")
    assert run.exit_code == 2
    assert "--test-users" in run.output


def test_errors_reach_the_application(source, tmp_path):
    run = invoke("import", "tidy", source, tmp_path / "data", "--scale", 0, 2, "--map", "rating=score", "--strict")
    assert run.exit_code != 0
    assert isinstance(run.exception, DataError)
    run = invoke("split", source, "--seed", 1)
    assert isinstance(run.exception, DataError)
