"""`pamela embed`, `train`, `score` and `evaluate` on simulated ratings of generated scenes, with the embedded encoders."""

import csv
import io
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModel, AutoProcessor
from typer.testing import CliRunner

from modeling_pamela import TasteProfile
from modeling_pamela.cli import app
from modeling_pamela.cli.main import PamelaApp
from modeling_pamela.data.embed import embed_folder
from modeling_pamela.data.folder import DataFolder
from modeling_pamela.data.importers.tidy import import_tidy
from modeling_pamela.data.scenes import RATING_SCALE, write_scene_dataset
from modeling_pamela.data.splits import SplitOptions, split_folder
from modeling_pamela.training.recipes import RECIPES


SCENES, RATERS = 40, 14


def pamela(*arguments: object):
    """Runs a command as a user would; errors come as exceptions."""
    return CliRunner().invoke(app, [str(argument) for argument in arguments], env={"COLUMNS": "300"})


def stderr_of_failure(capsys, monkeypatch, *arguments: object) -> str:
    """Runs the application itself, which must end with exit code 1 and one line."""
    monkeypatch.setattr("sys.argv", ["pamela", *map(str, arguments)])
    assert isinstance(app, PamelaApp)
    with pytest.raises(SystemExit) as stop:
        app()
    assert stop.value.code == 1
    message = capsys.readouterr().err.strip().splitlines()[-1]
    assert message.startswith("Error: ")
    return message


@pytest.fixture(scope="session")
def scenes(tmp_path_factory) -> Path:
    """Simulated ratings: everybody rates nearly everything, so that each split has some."""
    out = tmp_path_factory.mktemp("scenes") / "source"
    return write_scene_dataset(out, SCENES, RATERS, ratings_per_rater=36, seed=0, size=(96, 72))


@pytest.fixture(scope="session")
def imported(scenes, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("imported") / "data"
    import_tidy(scenes, out, RATING_SCALE)
    return out


@pytest.fixture(scope="session")
def data(imported, tmp_path_factory) -> Path:
    """Split and embedded."""
    out = tmp_path_factory.mktemp("data") / "data"
    split_folder(
        imported,
        SplitOptions(
            seed=0, test_users=4, val_users=3, test_pictures=12, val_pictures=8, draws=2, max_query_context=4
        ),
        out,
    )
    embed_folder(DataFolder(out), RECIPES["posterior"].config())
    return out


@pytest.fixture(scope="session")
def model(data, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("posterior") / "model"
    run = pamela("train", data, "--output-dir", out, "--save-profiles", "--device", "cpu")
    assert run.exit_code == 0, run.output
    return out


@pytest.fixture(scope="session")
def token_model(data, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("token") / "model"
    run = pamela("train", data, "--output-dir", out, "--recipe", "token", "--epochs", 1, "--device", "cpu")
    assert run.exit_code == 0, run.output
    return out


@pytest.fixture
def pictures(scenes, tmp_path) -> Path:
    """Five pictures in nested folders, one of them cut off, beside a file that is none."""
    folder = tmp_path / "pictures"
    (folder / "more" / "deep").mkdir(parents=True)
    names = ["a.jpg", "b.jpg", "more/c.jpg", "more/deep/d.JPG"]
    for source, name in zip(sorted((scenes / "images").iterdir()), names, strict=False):
        shutil.copy(source, folder / name)
    (folder / "more" / "cut.jpg").write_bytes((folder / "a.jpg").read_bytes()[:1500])
    (folder / "notes.txt").write_text("not a picture")
    return folder


def score(*arguments: object) -> dict[str, float]:
    """File name to score."""
    run = pamela("score", *arguments, "--json")
    assert run.exit_code == 0, (run.output, run.exception)
    return {Path(row["file"]).name: row["score"] for row in map(json.loads, run.stdout.splitlines())}


class TestEmbed:
    def test_a_second_run_encodes_nothing(self, data):
        run = pamela("embed", data)
        assert run.exit_code == 0, run.output
        assert "Encoded now: 0 pictures, 0 prompts, 0 metadata, 0 demographics" in run.output

    def test_an_interrupted_run_goes_on(self, data, tmp_path):
        shutil.copytree(data, tmp_path / "data")
        (part,) = (tmp_path / "data" / "embeddings").glob("*/part-image-*.parquet")
        part.unlink()
        run = pamela("embed", tmp_path / "data")
        assert run.exit_code == 0, run.output
        assert f"Encoded now: {SCENES} pictures, 0 prompts" in run.output
        assert [part.name for part in (tmp_path / "data" / "embeddings").glob("*/part-image-*")] == [part.name]

    def test_a_device_that_is_not_there(self, data):
        run = pamela("embed", data, "--device", "cuda:99")
        assert run.exit_code == 2
        assert "--device cuda:99" in run.output


class TestTrain:
    @pytest.mark.parametrize("setting", ["fusion=nope", "no_such_field=1", "hidden_size"])
    def test_a_setting_that_is_none(self, data, tmp_path, setting):
        run = pamela("train", data, "--output-dir", tmp_path / "out", "--set", setting)
        assert run.exit_code == 2
        assert "--set" in run.output
        assert not (tmp_path / "out").exists()

    def test_a_precision_that_needs_an_accelerator(self, data, tmp_path):
        run = pamela("train", data, "--output-dir", tmp_path / "out", "--device", "cpu", "--dtype", "float16")
        assert run.exit_code == 2
        assert "--dtype float16 needs an accelerator" in run.output

    def test_the_closed_form_is_the_same_in_any_precision(self, data, model, tmp_path):
        run = pamela("train", data, "--output-dir", tmp_path / "m", "--device", "cpu", "--dtype", "bfloat16")
        assert run.exit_code == 0, (run.output, run.exception)
        assert (
            AutoModel.from_pretrained(tmp_path / "m").fingerprint() == AutoModel.from_pretrained(model).fingerprint()
        )


class TestScore:
    def test_forms_agree(self, model, pictures):
        as_json = pamela("score", model, pictures, "--json")
        rows = [json.loads(line) for line in as_json.stdout.splitlines()]
        assert [set(row) for row in rows] == [{"file", "score", "std", "novelty"}] * 4
        # Scenes like those that were trained on.
        assert all(0 <= row["novelty"] < 0.8 for row in rows)
        assert [row["score"] for row in rows] == sorted((row["score"] for row in rows), reverse=True)
        assert {Path(row["file"]).relative_to(pictures).as_posix() for row in rows} == {
            "a.jpg",
            "b.jpg",
            "more/c.jpg",
            "more/deep/d.JPG",
        }
        table = list(csv.DictReader(io.StringIO(pamela("score", model, pictures, "--csv").stdout)))
        assert [
            {"file": row.pop("file")} | {name: float(value) for name, value in row.items()} for row in table
        ] == rows
        lines = pamela("score", model, pictures).stdout.splitlines()
        assert lines == [f"{row['score']:.3f} ± {row['std']:.3f}  {row['file']}" for row in rows]

    def test_a_cut_off_picture_is_named(self, model, pictures):
        run = pamela("score", model, pictures, "--json")
        assert run.exit_code == 0
        (line,) = (line for line in run.stderr.splitlines() if line.startswith("Set aside: "))
        assert "cut.jpg" in line
        assert "cut.jpg" not in run.stdout

    def test_the_model_itself_agrees(self, model, pictures):
        from PIL import Image

        scorer, processor = AutoModel.from_pretrained(model), AutoProcessor.from_pretrained(model)
        files = ["a.jpg", "b.jpg"]
        with torch.no_grad():
            direct = scorer(**processor(images=[Image.open(pictures / name) for name in files])).scores
        found = score(model, *(pictures / name for name in files))
        np.testing.assert_allclose([found[name] for name in files], direct, atol=1e-5)

    def test_user_and_profile(self, model, data, pictures):
        user = next(path.name for path in sorted((model / "profiles").iterdir()))
        personal = score(model, pictures, "--user", user)
        assert personal != score(model, pictures)
        assert personal == score(model, pictures, "--profile", model / "profiles" / user)
        assert user in DataFolder(data).user_ids

    def test_a_profile_of_few_ratings(self, model, pictures, tmp_path):
        scorer = AutoModel.from_pretrained(model)
        embeds = torch.randn(3, scorer.config.image_embed_dim)
        TasteProfile.fit(
            scorer, torch.tensor([1.0, 3.0, 5.0]), scale=RATING_SCALE, image_embeds=embeds
        ).save_pretrained(tmp_path / "me")
        assert len(score(model, pictures, "--profile", tmp_path / "me")) == 4

    def test_user_of_a_token_model(self, token_model, pictures):
        users = json.loads((token_model / "users.json").read_text())
        first, second = (score(token_model, pictures, "--user", user) for user in users[:2])
        assert first != second
        rows = pamela("score", token_model, pictures, "--user", users[0], "--json").stdout.splitlines()
        assert all(json.loads(row)["std"] is None for row in rows)

    def test_demographics(self, model, token_model, pictures):
        assert len(score(model, pictures, "--demographics", '{"age": 26, "gender": "female"}')) == 4
        assert len(score(token_model, pictures, "--demographics", '{"age": 26}')) == 4
        run = pamela("score", model, pictures, "--demographics", "age 26")
        assert run.exit_code == 2
        assert "is not JSON" in run.output
        run = pamela("score", model, pictures, "--demographics", "[26]")
        assert run.exit_code == 2
        assert "is not a JSON object" in run.output

    def test_prompts(self, model, pictures, tmp_path):
        prompts = tmp_path / "prompts.json"
        prompts.write_text(json.dumps({"a.jpg": "a castle at dusk"}))
        without, found = score(model, pictures), score(model, pictures, "--prompts", prompts)
        assert found["a.jpg"] != pytest.approx(without["a.jpg"], abs=1e-6)
        assert found["b.jpg"] == pytest.approx(without["b.jpg"], abs=1e-6)

    @pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
    def test_half_precision(self, model, token_model, pictures, dtype):
        # Solved in closed form, a model has no network to round; a profile fits it as before.
        user = next(path.name for path in sorted((model / "profiles").iterdir()))
        for person in ([], ["--user", user], ["--demographics", '{"age": 26}']):
            full = score(model, pictures, *person)
            assert score(model, pictures, *person, "--dtype", dtype) == pytest.approx(full, abs=1e-6)
        half, full = score(token_model, pictures, "--dtype", dtype), score(token_model, pictures)
        assert half == pytest.approx(full, abs=0.02)

    def test_a_device_that_is_not_there(self, model, pictures):
        run = pamela("score", model, pictures, "--device", "cuda:99")
        assert run.exit_code == 2
        assert "--device cuda:99" in run.output

    @pytest.mark.parametrize("options", [["--user", "a", "--profile", "b"], ["--json", "--csv"]])
    def test_options_that_exclude_each_other(self, model, pictures, options):
        run = pamela("score", model, pictures, *options)
        assert run.exit_code == 2
        assert "exclude each other" in run.output


class TestEvaluate:
    def test_table_and_json(self, model, token_model, data, tmp_path):
        contexts = [option for k in (0, 3, "all") for option in ("--context", k)]
        run = pamela(
            *("evaluate", model, data, "--split", "test_unseen", *contexts),
            *("--token-model", token_model, "--json", tmp_path / "rows.json"),
        )
        assert run.exit_code == 0, (run.output, run.exception)
        assert "4 people" in run.output
        rows = json.loads((tmp_path / "rows.json").read_text())
        personal = {"token + kNN", "posterior"}
        methods = {k: {row["method"] for row in rows if row["k"] == k} for k in ("-", 0, 3, "all")}
        residual = methods[3] - personal
        assert methods == {"-": methods["-"], 0: personal, 3: personal | residual, "all": personal | residual}
        assert residual == {"population + ridge", "matrix factorisation"}
        assert "population" in methods["-"]
        assert len(methods["-"]) == 2
        table = [line for line in run.stdout.splitlines() if line.startswith("|")]
        assert len(table) == 2 + len(rows)
        for line, row in zip(table[2:], rows, strict=True):
            assert line.startswith(f"| {row['method']} | {row['k']} | {row['srocc']:.3f} ")
            assert -1 <= row["srocc_low"] <= row["srocc"] <= row["srocc_high"] <= 1
            assert ("gain" in row) == (row["method"] not in {"token + kNN"} and row["k"] != "-")
        by_method = {(row["method"], row["k"]): row["srocc"] for row in rows}
        # Without a rating, a person is the population.
        assert by_method["posterior", 0] == pytest.approx(by_method["population", "-"])

    def test_several_data_sets_and_the_baseline_of_each(self, model, token_model, data, tmp_path):
        """A joint model of two sets, a joint token model beside it, or one that is trained for each set and kept."""
        other = tmp_path / "other"
        shutil.copytree(data, other)
        assert "encoded now: 0 pictures" in pamela("embed", data, other).output
        joint = tmp_path / "joint"
        for recipe in ("posterior", "token"):
            steps = ["--epochs", 1] if recipe == "token" else []
            out = joint / recipe
            run = pamela(
                "train",
                data,
                other,
                "--output-dir",
                out,
                "--recipe",
                recipe,
                *steps,
                "--device",
                "cpu",
                "--weights",
                "1,0.5",
            )
            assert run.exit_code == 0, (run.output, run.exception)
        found = {}
        for beside in (["--token-model", joint / "token"], [], ["--dtype", "bfloat16"]):
            run = pamela("evaluate", joint / "posterior", data, other, *beside, "--json", tmp_path / "rows.json")
            assert run.exit_code == 0, (run.output, run.exception)
            rows = json.loads((tmp_path / "rows.json").read_text())
            assert set(rows) == {str(data), str(other)}
            for of_set in rows.values():
                assert {"token + kNN", "posterior", "population"} <= {row["method"] for row in of_set}
            # One set twice: what is trained for either alone is one model, made once.
            found[str(beside)] = sorted((joint / "posterior").glob("baselines/*"))
        assert [len(kept) for kept in found.values()] == [0, 1, 1]
        run = pamela("evaluate", model, data, "--token-model", joint / "token")
        assert run.exit_code == 0, (run.output, run.exception)

    @pytest.mark.parametrize(
        "options",
        [
            ["--split", "test_seen"],
            ["--protocol", "query", "--context", 3],
            ["--device", "cpu", "--dtype", "bfloat16"],
        ],
    )
    def test_other_splits_and_protocols(self, model, token_model, data, options):
        run = pamela("evaluate", model, data, *options, "--token-model", token_model, "--no-prompts")
        assert run.exit_code == 0, (run.output, run.exception)
        assert "| posterior | " in run.stdout

    def test_a_context_that_is_no_number(self, model, token_model, data):
        run = pamela("evaluate", model, data, "--context", "many", "--token-model", token_model)
        assert run.exit_code == 2
        assert "expected a number of ratings" in run.output


class TestErrors:
    """One clear line, exit code 1, no traceback."""

    def test_no_picture(self, capsys, monkeypatch, model, tmp_path):
        (tmp_path / "empty").mkdir()
        message = stderr_of_failure(capsys, monkeypatch, "score", model, tmp_path / "empty")
        assert "There is no picture in" in message
        assert "nowhere" in stderr_of_failure(capsys, monkeypatch, "score", model, tmp_path / "nowhere")

    def test_no_readable_picture(self, capsys, monkeypatch, model, tmp_path):
        (tmp_path / "cut.jpg").write_bytes(b"\xff\xd8\xff")
        assert "None of the pictures can be read" in stderr_of_failure(
            capsys, monkeypatch, "score", model, tmp_path / "cut.jpg"
        )

    def test_unknown_user(self, capsys, monkeypatch, model, token_model, pictures):
        for trained in (model, token_model):
            message = stderr_of_failure(capsys, monkeypatch, "score", trained, pictures, "--user", "nobody")
            assert "'nobody'" in message

    def test_no_profile(self, capsys, monkeypatch, model, pictures, tmp_path):
        message = stderr_of_failure(capsys, monkeypatch, "score", model, pictures, "--profile", tmp_path / "none")
        assert "no readable taste profile" in message

    def test_prompts_that_are_none(self, capsys, monkeypatch, model, pictures, tmp_path):
        (tmp_path / "prompts.json").write_text('["a castle"]')
        message = stderr_of_failure(
            capsys, monkeypatch, "score", model, pictures, "--prompts", tmp_path / "prompts.json"
        )
        assert "not a JSON object" in message
        (tmp_path / "prompts.json").write_text('{"z.jpg": "a castle"}')
        message = stderr_of_failure(
            capsys, monkeypatch, "score", model, pictures, "--prompts", tmp_path / "prompts.json"
        )
        assert "for none of the pictures" in message
        message = stderr_of_failure(capsys, monkeypatch, "score", model, pictures, "--prompts", tmp_path / "no.json")
        assert "no.json" in message

    def test_no_model(self, capsys, monkeypatch, data, pictures, tmp_path):
        (tmp_path / "bert").mkdir()
        (tmp_path / "bert" / "config.json").write_text('{"model_type": "bert"}')
        # A missing folder, a data folder, another kind of model.
        for folder in (tmp_path / "nothing", data):
            for command in (["score", folder, pictures], ["evaluate", folder, data]):
                message = stderr_of_failure(capsys, monkeypatch, *command)
                assert f"{folder} is no checkpoint" in message
        assert "not a PAMELA checkpoint" in stderr_of_failure(
            capsys, monkeypatch, "score", tmp_path / "bert", pictures
        )

    def test_a_damaged_model(self, capsys, monkeypatch, model, pictures, tmp_path):
        shutil.copytree(model, tmp_path / "model")
        weights = tmp_path / "model" / "model.safetensors"
        weights.write_bytes(weights.read_bytes()[:5000])
        message = stderr_of_failure(capsys, monkeypatch, "score", tmp_path / "model", pictures)
        assert "cut off or damaged" in message

    def test_a_token_model_to_evaluate(self, capsys, monkeypatch, token_model, data):
        assert "must be a posterior model" in stderr_of_failure(capsys, monkeypatch, "evaluate", token_model, data)

    def test_no_data_set(self, capsys, monkeypatch, model, tmp_path):
        for command in (["embed"], ["train", "--output-dir", tmp_path / "out"], ["evaluate", model]):
            assert "nothing" in stderr_of_failure(capsys, monkeypatch, *command, tmp_path / "nothing")

    def test_not_split(self, capsys, monkeypatch, imported, data, model, token_model, tmp_path):
        shutil.copytree(imported, tmp_path / "data")
        shutil.copytree(data / "embeddings", tmp_path / "data" / "embeddings")
        for command in (
            ["train", "--output-dir", tmp_path / "out"],
            ["evaluate", "--token-model", token_model, model],
        ):
            message = stderr_of_failure(capsys, monkeypatch, *command, tmp_path / "data")
            assert "pamela data split" in message
        assert not (tmp_path / "out").exists()

    def test_not_embedded(self, capsys, monkeypatch, data, model, token_model, tmp_path):
        shutil.copytree(data, tmp_path / "data", ignore=shutil.ignore_patterns("embeddings"))
        for command in (
            ["train", "--output-dir", tmp_path / "out"],
            ["evaluate", "--token-model", token_model, model],
        ):
            message = stderr_of_failure(capsys, monkeypatch, *command, tmp_path / "data")
            assert "pamela embed" in message
