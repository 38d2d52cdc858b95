"""`pamela reproduce` from a small archive in the published format to every table."""

import io
import json
import zipfile
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from tiny_encoders import save_llama, save_siglip
from typer.testing import CliRunner

from modeling_pamela.cli.main import app
from modeling_pamela.data.files import DataError
from modeling_pamela.evaluation import factorisation, methods
from modeling_pamela.evaluation.bench import table3, table4
from modeling_pamela.training import recipes


PEOPLE = {"train": range(8), "val": range(8, 11), "test": range(11, 15)}
PICTURES = {"train": range(20), "val": range(20, 41), "test": range(41, 62)}
SPLITS = {
    "train": ("train", "train"),
    "val_seen": ("train", "val"),
    "val_unseen": ("val", "val"),
    "test_seen": ("train", "test"),
    "test_unseen": ("test", "test"),
}


def write_archive(path):
    """People who like bright pictures, red ones or neither; scores from 0 to 100."""
    rng = np.random.default_rng(0)
    colours = rng.uniform(0, 255, (62, 3))
    tastes = rng.normal(size=(15, 3))
    scores = tastes @ ((colours - 128) / 128).T + rng.normal(0, 0.2, (15, 62))
    scores = np.round(100 * (scores - scores.min()) / np.ptp(scores), 2)
    # Both ends of the scale have to be reached among all scores that are given.
    scores[0, :2] = 0, 100
    with zipfile.ZipFile(path, "w") as archive:
        for split, (people, pictures) in SPLITS.items():
            records = [
                {
                    "participant_id": f"user{user}",
                    "image_id": f"i{image}",
                    "image_path": f"./images/i{image}.png",
                    "original_score": scores[user, image],
                    "image_metadata": {"prompt": f"a lake {image}", "style": "oil", "type": "art"},
                    "user_demographics": {"age": 20 + user, "gender": "female" if user % 2 else "male"},
                }
                for user in PEOPLE[people]
                for image in PICTURES[pictures]
            ]
            archive.writestr(f"PAMELA/annotations/pamela_{split}.json", json.dumps(records))
        for image, colour in enumerate(colours):
            pixels = np.clip(colour + rng.normal(0, 20, (32, 32, 3)), 0, 255).astype(np.uint8)
            content = io.BytesIO()
            Image.fromarray(pixels).save(content, "PNG")
            archive.writestr(f"PAMELA/images/i{image}.png", content.getvalue())
    return path


def test_from_the_archive_to_every_table(tmp_path, monkeypatch, one_thread):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr(methods, "RIDGE_BANDWIDTHS", (None,))
    monkeypatch.setattr(factorisation, "RANKS", (4,))
    monkeypatch.setattr(factorisation, "MAP_PENALTIES", (10.0,))
    monkeypatch.setattr(table3, "ABLATIONS", {name: table3.ABLATIONS[name] for name in ("full", "no participant")})
    monkeypatch.setattr(table4, "CONTEXTS", (5, 15))
    monkeypatch.setitem(recipes.RECIPES, "token", replace(recipes.RECIPES["token"], num_epochs=2))
    source, out = write_archive(tmp_path / "PAMELA.zip"), tmp_path / "out"
    pictures, texts = save_siglip(tmp_path / "pictures"), save_llama(tmp_path / "texts")
    encoders = ["--image-encoder", pictures, "--text-encoder", texts, "--profile-encoder", texts]

    def run(*more):
        arguments = ["reproduce", str(source), "--out", str(out), *encoders, *more]
        return CliRunner().invoke(app, arguments, catch_exceptions=False)

    # Cut off in the middle of the tables.
    with monkeypatch.context() as patch:
        patch.setattr("modeling_pamela.evaluation.bench.table4.grid_report", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            run()
    kept = {file: file.stat().st_mtime_ns for file in out.rglob("*") if file.is_file()}
    assert {"table2.json", "table3.md", "reproduce.json"} <= {file.name for file in kept}

    first = run()
    assert first.exit_code == 0, first.output
    assert {file: file.stat().st_mtime_ns for file in kept} == kept
    assert {file.stem for file in out.glob("*.json")} == {
        *("reproduce", "methods", "table2", "table3", "table4", "fig11", "diverging")
    }
    table = json.loads((out / "table2.json").read_text())
    assert table["made_from"]["protocol"] == "query"
    assert {row["method"]: row["user SROCC"] for row in table["rows"]}["PAMELA"] == 0.4514
    trained = json.loads((out / "posterior" / "config.json").read_text())
    assert trained["image_encoder"] == pictures
    assert trained["rating_scale"] == [0, 100]
    assert "name: PAMELA" in (out / "posterior" / "README.md").read_text()
    assert run().stdout == first.stdout

    with pytest.raises(DataError, match="another scale"):
        run("--scale", "0", "120")
    with zipfile.ZipFile(source, "a") as archive:
        archive.writestr("PAMELA/note.txt", "changed")
    with pytest.raises(DataError, match="another source"):
        run()


def test_what_is_no_place_or_no_archive(tmp_path):
    def run(source, out):
        return CliRunner().invoke(app, ["reproduce", str(source), "--out", str(out)], catch_exceptions=False)

    (tmp_path / "text.zip").write_text("no archive")
    with pytest.raises(DataError, match="neither a folder nor a whole zip"):
        run(tmp_path / "text.zip", tmp_path / "out")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    with pytest.raises(DataError, match="was not begun by"):
        run(tmp_path, tmp_path / "full")
