import io
import json
import zipfile
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


def png(seed: int) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (8, 8, 3), dtype=np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


def test_import_pamela(tmp_path):
    with zipfile.ZipFile(tmp_path / "PAMELA.zip", "w") as archive:
        for n, split in enumerate(("train", "val_seen", "val_unseen", "test_seen", "test_unseen")):
            records = [
                {
                    "participant_id": f"{split if 'unseen' in split else 'train'}{user}",
                    "image_id": f"{split}{i}",
                    "image_path": f"images/{split}{i}.png",
                    "original_score": (1, 3, 5)[(user + i) % 3],
                    "image_metadata": {"prompt": "x"},
                    "user_demographics": {"age": 30},
                }
                for user in range(2)
                for i in range(3)
            ]
            archive.writestr(f"PAMELA/annotations/pamela_{split}.json", json.dumps(records))
            for i in range(3):
                archive.writestr(f"PAMELA/images/{split}{i}.png", png(10 * n + i))
    out = tmp_path / "data"
    options = ["--max-query-context", 1, "--min-queries", 2, "--draws", 2]
    run = invoke("import", "pamela", tmp_path / "PAMELA.zip", out, *options, "--dry-run")
    assert run.exit_code == 0, run.output
    assert "6 people, 15 pictures, 30 ratings on a scale from 1 to 5" in run.output
    assert "differs from what was published: 7 (train: 6 instead of 50,222, val_seen" in run.output
    assert not out.exists()
    run = invoke("import", "pamela", tmp_path / "PAMELA.zip", out, *options, "--scale", 0, 10)
    assert run.exit_code == 0, run.output
    data = DataFolder(out)
    assert data.rating_scale == (0, 10)
    assert len(data.contexts("query", "test_unseen")) == 2 * 2
    assert data.metadata["pamela"]["source"]["name"] == "PAMELA"


def test_import_lapis_and_para(tmp_path):
    lapis, para = tmp_path / "LAPIS", tmp_path / "PARA"
    for folder in (lapis / "annotation", lapis / "images", lapis / "imageset", lapis / "userset"):
        folder.mkdir(parents=True)
    for folder in (para / "annotation", para / "imgs" / "s0"):
        folder.mkdir(parents=True)
    rows = [f"{i},{i}.png,u{u},{50 + u + i},{30 + u}" for u in range(6) for i in range(6)]
    table = "\n".join(["image_id,image_filename,participant_id,response,age", *rows])
    (lapis / "annotation" / "LAPIS_individualratings_metaANDdemodata.csv").write_text(table, encoding="utf-16")
    for i in range(6):
        (lapis / "images" / f"{i}.png").write_bytes(png(i))
        (para / "imgs" / "s0" / f"{i}.png").write_bytes(png(i))
    for part, chosen in (("Train", (0, 1)), ("Val", (2, 3)), ("Test", (4, 5))):
        (lapis / "imageset" / f"{part}ImageSet.txt").write_text("".join(f"{i}.png\n" for i in chosen))
    (lapis / "userset" / "TrainUserIDs_Fold3.txt").write_text("u0\nu1\nu2\nu3\n")
    (lapis / "userset" / "TestUserIDs_Fold3.txt").write_text("u4\nu5\n")
    run = invoke("import", "lapis", lapis, tmp_path / "l", "--fold", 3, "--val-users", 1, "--encoding", "utf-16")
    assert run.exit_code == 0, run.output
    assert "val_unseen           2        1         2" in run.output

    lines = [
        "sessionId,imageName,userId,aestheticScore",
        *(f"s0,{i}.png,a{u},{u}.5" for u in range(1, 5) for i in range(6)),
    ]
    (para / "annotation" / "PARA-Images.csv").write_text("\n".join(lines))
    (para / "annotation" / "PARA-UserInfo.csv").write_text("userId,age\na1,18\na2,19\na3,20\na4,21\n")
    for part, chosen in (("Train", range(4)), ("Test", (4, 5))):
        listed = ["sessionId,imageName", *(f"s0,{i}.png" for i in chosen)]
        (para / "annotation" / f"PARA-Giaa{part}.csv").write_text("\n".join(listed))
    run = invoke("import", "para", para, tmp_path / "p")
    assert run.exit_code == 0, run.output
    assert "4 people, 6 pictures, 24 ratings on a scale from 1 to 5" in run.output
    sizes = ["--test-users", 1, "--val-users", 1, "--val-pictures", 1]
    run = invoke("split", tmp_path / "p", "--seed", 0, *sizes, "--pictures-from", "official_split")
    assert run.exit_code == 0, run.output
    assert "test_unseen          2        1         2" in run.output


def test_import_pairs(source, tmp_path):
    out, chosen = tmp_path / "data", tmp_path / "chosen.txt"
    invoke("import", "tidy", source, out, "--scale", -2, 2, "--map", "rating=score")
    chosen.write_text("user_id\tleft_id\tright_id\tpreferred\nu0\t0\t1\tleft\nu0\t0\t99\ttie\n")
    options = ["--map", "choice=preferred", "--delimiter", "\\t"]
    run = invoke("import", "pairs", chosen, out, *options, "--dry-run")
    assert run.exit_code == 0, run.output
    assert "1 in chosen.txt: unknown right_id; first on line 3" in run.output
    assert "nothing was written" in run.output
    assert invoke("import", "pairs", chosen, out, *options).exit_code == 0
    assert DataFolder(out).pair_splits == ["train"]
    run = invoke("import", "pairs", chosen, out, "--delimiter", "tab")
    assert run.exit_code == 2
    assert "expected one character" in run.output


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
