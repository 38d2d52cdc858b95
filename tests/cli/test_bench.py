"""`pamela bench` as typed."""

import json
import shutil

import pytest
from tiny_encoders import save_siglip
from typer.testing import CliRunner

from modeling_pamela import checkpoints as package_checkpoints
from modeling_pamela.cli.bench import bench_app
from modeling_pamela.data.files import DataError
from modeling_pamela.evaluation import factorisation, methods
from modeling_pamela.evaluation.bench import table4
from modeling_pamela.steering.base import SteeringError


pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def checkpoints(posterior, token, tmp_path_factory):
    folder = tmp_path_factory.mktemp("checkpoints")
    posterior.save_pretrained(folder / "posterior")
    token.save_pretrained(folder / "token")
    return ["--model", str(folder / "posterior"), "--token-model", str(folder / "token")]


def invoke(*arguments):
    return CliRunner().invoke(bench_app, [str(argument) for argument in arguments], catch_exceptions=False)


def test_a_report_is_written_and_shown(taste_folder, checkpoints, tmp_path):
    run = invoke("fig11", taste_folder.path, *checkpoints, "--out", tmp_path, "--context", "5")
    assert run.exit_code == 0, run.output
    assert "| posterior | 0.000 |" in run.output
    assert sorted(file.name for file in tmp_path.iterdir()) == ["fig11.json", "fig11.md", "fig11.png"]
    written = (tmp_path / "fig11.json").stat().st_mtime_ns
    assert invoke("fig11", taste_folder.path, *checkpoints, "--out", tmp_path, "--context", "5").stdout == run.stdout
    assert (tmp_path / "fig11.json").stat().st_mtime_ns == written
    invoke("fig11", taste_folder.path, *checkpoints, "--out", tmp_path, "--context", "all")
    assert (tmp_path / "fig11.json").stat().st_mtime_ns > written


def test_precomputed_scores_stand_in_the_table_of_rewards(taste_folder, checkpoints, tmp_path, monkeypatch):
    monkeypatch.setattr(methods, "RIDGE_BANDWIDTHS", (None,))
    monkeypatch.setattr(factorisation, "RANKS", (4,))
    scores = tmp_path / "scores.csv"
    scores.write_text(
        "image_id,score\n" + "".join(f"{name},{row}\n" for row, name in enumerate(taste_folder.image_ids))
    )
    others = ["--scores", f"my reward={scores}", "--image-text", save_siglip(tmp_path / "siglip")]
    run = invoke("table2", taste_folder.path, *checkpoints, *others, "--out", tmp_path)
    assert run.exit_code == 0, run.output
    assert "siglip | 0 |" in run.output
    assert "| my reward | 0 |" in run.output
    assert "| HPSv3 |" in run.output
    model = tmp_path / "model"
    shutil.copytree(checkpoints[1], model)
    run = invoke("card", taste_folder.path, "--model", model, "--out", tmp_path, "--dataset-id", "someone/taste")
    assert "model-index" in (model / "README.md").read_text()
    assert (model / ".eval_results" / "someone--taste.yaml").is_file()
    with pytest.raises(DataError, match="made from another model"):
        invoke("card", taste_folder.path, "--model", checkpoints[3], "--out", tmp_path)
    with pytest.raises(DataError, match="bench table2"):
        invoke("card", taste_folder.path, "--model", model, "--out", tmp_path / "nowhere")


@pytest.mark.parametrize("table", ["table2", "table4", "fig11", "diverging"])
def test_a_published_split_has_contexts_from_its_own_pictures(
    official_folder, checkpoints, tmp_path, monkeypatch, table
):
    monkeypatch.setattr(methods, "RIDGE_BANDWIDTHS", (None,))
    monkeypatch.setattr(factorisation, "RANKS", (4,))
    monkeypatch.setattr(table4, "CONTEXTS", (5, 15))
    run = invoke(table, official_folder.path, *checkpoints, "--out", tmp_path)
    assert run.exit_code == 0, run.output
    assert "protocol query" in run.output


def test_either_kind_of_contexts_may_be_asked_for(taste_folder, official_folder, checkpoints, tmp_path):
    usual = invoke("fig11", taste_folder.path, *checkpoints, "--out", tmp_path / "usual")
    query = invoke("fig11", taste_folder.path, *checkpoints, "--out", tmp_path / "query", "--protocol", "query")
    assert "protocol train" in usual.output
    assert "protocol query" in query.output
    assert usual.output.splitlines()[:12] != query.output.splitlines()[:12]
    with pytest.raises(DataError, match="no contexts split 'train'"):
        invoke("fig11", official_folder.path, *checkpoints, "--out", tmp_path, "--protocol", "train")


def test_methods_between_the_trivial_and_the_possible(taste_folder, checkpoints, tmp_path, monkeypatch):
    monkeypatch.setattr(methods, "RIDGE_BANDWIDTHS", (None,))
    monkeypatch.setattr(factorisation, "RANKS", (4,))
    retest = tmp_path / "retest.csv"
    retest.write_text(
        "user_id,image_id,rating,repetition\n"
        + "".join(f"{user},{i},{i + (i % 2) * turn},{turn}\n" for user in "ab" for i in range(9) for turn in (1, 2))
    )
    run = invoke("methods", taste_folder.path, *checkpoints, "--retest", retest, "--out", tmp_path)
    assert run.exit_code == 0, run.output
    rows = {row["method"]: row for row in json.loads((tmp_path / "methods.json").read_text())["rows"]}
    assert list(rows)[-2:] == ["crowd oracle", "noise ceiling, 2 people who rated twice"]
    assert rows["per-user mean"]["user SROCC"] == 0
    assert rows["posterior, random pictures"]["user SROCC"] > rows["posterior, nothing known"]["user SROCC"]
    assert rows["crowd oracle"]["share of oracle"] == 1
    assert rows["token + kNN"]["tuned on validation"] == "its epoch; K and tau, 9 settings"
    assert rows["population + ridge"]["tuned on validation"] == "kernel and penalty, 13 settings"
    assert (tmp_path / "methods.png").stat().st_size > 1000
    run = invoke("table2", taste_folder.path, *checkpoints, "--retest", retest, "--out", tmp_path)
    assert "| noise ceiling, 2 people" in run.output
    assert "people who rated twice predicts" not in run.output
    retest.write_text("user_id,image_id,rating\n")
    with pytest.raises(DataError, match="lacks repetition"):
        invoke("table2", taste_folder.path, *checkpoints, "--retest", retest, "--out", tmp_path)


def test_bad_options(taste_folder, checkpoints, tmp_path):
    run = CliRunner().invoke(bench_app, ["fig11", str(taste_folder.path), *checkpoints, "--context", "some"])
    assert run.exit_code == 2
    assert 'expected a number of ratings or "all"' in run.output
    run = CliRunner().invoke(bench_app, ["table3", str(taste_folder.path), "--recipe", "none"])
    assert run.exit_code == 2
    with pytest.raises(DataError, match="no pairs split"):
        invoke("study", taste_folder.path, "--out", tmp_path)


@pytest.fixture(scope="module")
def steered(tmp_path_factory):
    """A model of random weights over a tiny image-text encoder."""
    import torch
    from tiny_encoders import save_siglip
    from tiny_rewards import make_config

    from modeling_pamela import PamelaForPersonalizedScoring, PamelaProcessor

    folder = tmp_path_factory.mktemp("steered")
    torch.manual_seed(0)
    model = PamelaForPersonalizedScoring(make_config(save_siglip(folder / "siglip")))
    model.save_pretrained(folder / "model")
    PamelaProcessor.from_config(model.config).save_pretrained(folder / "model")
    return folder / "model"


def test_consistency_of_simulated_people_and_of_their_searches(steered, tmp_path, monkeypatch):
    small = ["--people", "2", "--repeats", "2", "--prompt", "a lighthouse", "--candidates", "2", "--rounds", "1"]
    run = invoke("consistency", "--model", steered, *small, "--out", tmp_path)
    assert run.exit_code == 0, run.output
    assert "| added words: Jaccard |" in run.output
    assert "4 runs for 2 people and 1 prompts" in run.output
    assert sorted(file.name for file in tmp_path.glob("*.*")) == [
        "consistency.json",
        "consistency.md",
        "consistency.png",
    ]
    table = json.loads((tmp_path / "consistency.json").read_text())["rows"]
    # By its name, as a model of the package.
    monkeypatch.setattr(package_checkpoints, "__file__", str(steered.parent / "__init__.py"))
    again = invoke("consistency", tmp_path / "consistency-runs", "--model", steered.name, "--out", tmp_path / "again")
    assert again.exit_code == 0, again.output
    assert json.loads((tmp_path / "again" / "consistency.json").read_text())["rows"] == table
    with pytest.raises(SteeringError, match="There is no run"):
        invoke("consistency", tmp_path / "again", "--model", steered, "--out", tmp_path / "third")
