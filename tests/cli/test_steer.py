"""`pamela steer` with the painted stand-in and with a tiny random pipeline, scored by a tiny random model."""

import json
import re
import sys

import pytest
import torch
from tiny_tastes import make_taste
from typer.testing import CliRunner

from modeling_pamela import PamelaForPersonalizedScoring, TasteProfile, checkpoints
from modeling_pamela.cli import app
from modeling_pamela.data.files import DataError
from modeling_pamela.rewards.base import RewardError
from modeling_pamela.steering import inference_client
from modeling_pamela.steering.base import SteeringError
from modeling_pamela.steering.modifiers import ModifierProposer
from modeling_pamela.steering.scene_renderer import SceneRenderer
from modeling_pamela.taste.profile import ProfileError


def pamela(*arguments: object, code: int = 0):
    run = CliRunner().invoke(app, ["steer", *map(str, arguments)], env={"COLUMNS": "300"})
    if run.exception is not None and not isinstance(run.exception, SystemExit):
        raise run.exception
    assert run.exit_code == code, run.output
    return run


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A model and two profiles."""
    home = tmp_path_factory.mktemp("home")
    taste = make_taste(home / "siglip")
    taste.model.save_pretrained(home / "model")
    taste.processor.save_pretrained(home / "model")
    taste.ann.save_pretrained(home / "ann")
    taste.bob.save_pretrained(home / "bob")
    taste.bob.save_pretrained(home / "model" / "profiles" / "bob")
    return home


@pytest.fixture(autouse=True)
def small_scenes(monkeypatch):
    monkeypatch.setattr(SceneRenderer.__init__, "__defaults__", ((64, 48),))


@pytest.fixture
def arguments(home):
    return ["--model", home / "model", "--pipeline", "scenes", "--candidates", 3, "--rounds", 2, "--no-guards"]


def test_a_model_of_the_package_is_the_default(tmp_path):
    assert pamela("a lighthouse", "--pipeline", "scenes", "--candidates", 1, "--rounds", 1).stdout.startswith(
        "the population"
    )


def test_people_and_prompts(home, arguments, tmp_path):
    people = ["--profile", home / "ann", "--profile", home / "bob"]
    page, folder = tmp_path / "page.html", tmp_path / "run"
    run = pamela("a lighthouse", "a castle", *people, *arguments, "--html", page, "--run-dir", folder, "--json")
    rows = [json.loads(line) for line in run.stdout.splitlines()]
    assert [(row["asked"], row["person"]) for row in rows] == [
        (prompt, name) for prompt in ("a lighthouse", "a castle") for name in ("ann", "bob")
    ]
    for row in rows:
        assert row["prompt"].startswith(row["asked"])
        assert row["score"] >= row["asked_score"]
        assert row["pictures"] == 7
        assert row["pipeline"] == "scenes (a painted stand-in)"
        assert (folder.parent / row["picture"]).is_file()
    assert len({row["score"] for row in rows}) == 4

    # Progress: the round, the best score, the time left.
    assert (
        len(re.findall(r"round [012]/2  best -?\d\.\d{3} ± \d\.\d\d \(\+\d\.\d{3}\)  [147] pictures?", run.stderr))
        == 12
    )
    assert len(re.findall(r"at most \d+ s left", run.stderr)) == 8
    assert "painted by a stand-in" in run.stderr

    text = page.read_text()
    assert "painted by a stand-in" in text
    assert "<h2>bob: a castle, round 2</h2>" in text
    # In the overview of a prompt the picture asked for and two found; then three a round.
    assert text.count("<img ") == 2 * 3 + 4 * 2 * 3
    assert "http" not in re.sub(r"http-equiv", "", text)

    again = pamela("a lighthouse", "a castle", *people, *arguments, "--run-dir", folder, "--json")
    assert again.stdout == run.stdout


def test_an_interrupted_search_goes_on(home, arguments, tmp_path, monkeypatch):
    whole = pamela("a lighthouse", "--profile", home / "ann", *arguments, "--json").stdout
    folder, painted = tmp_path / "run", []
    render = SceneRenderer.render

    def interrupted(self, prompts, seeds):
        painted.extend(prompts)
        if len(painted) > 4:
            raise KeyboardInterrupt
        return render(self, prompts, seeds)

    monkeypatch.setattr(SceneRenderer, "render", interrupted)
    command = ["a lighthouse", "--profile", home / "ann", *arguments, "--json", "--run-dir", folder]
    assert "The same command goes on from here" in pamela(*command, code=130).stderr
    done = painted[:4]
    monkeypatch.setattr(
        SceneRenderer, "render", lambda self, prompts, seeds: painted.extend(prompts) or render(self, prompts, seeds)
    )
    painted.clear()
    rest = json.loads(pamela(*command).stdout)
    assert not set(painted) & set(done)
    assert {**rest, "picture": None} == json.loads(whole)


def test_the_population_a_user_and_demographics(home, arguments):
    nobody = json.loads(pamela("a castle", *arguments, "--json").stdout)
    assert nobody["person"] == "the population"
    run = pamela("a castle", *arguments, "--user", "bob", "--demographics", '{"age": 26}', "--json")
    bob, somebody = map(json.loads, run.stdout.splitlines())
    assert (bob["person"], somebody["person"]) == ("bob", "somebody with age 26")
    by_profile = json.loads(pamela("a castle", *arguments, "--profile", home / "bob", "--json").stdout)
    assert {**bob, "person": None} == {**by_profile, "person": None}


def test_a_model_of_the_package_is_named(home, arguments, monkeypatch):
    monkeypatch.setattr(checkpoints, "__file__", str(home / "__init__.py"))
    arguments[1] = "model"
    assert json.loads(pamela("a castle", *arguments, "--user", "bob", "--json").stdout)["person"] == "bob"


def test_a_model_at_a_server(home, arguments, monkeypatch):
    made = []

    class Server(ModifierProposer):
        def __init__(self, model, **options):
            super().__init__()
            made.append((model, options))

    monkeypatch.setattr(inference_client, "InferenceClientProposer", Server)
    monkeypatch.setenv("OPENAI_API_KEY", "sk-1")
    url = "http://localhost:1/v1"
    pamela("a castle", *arguments, "--proposer", url, "--proposer-model", "qwen")
    assert made == [("qwen", {"base_url": url, "api_key": "sk-1"})]
    assert "names a model at a server" in pamela("a castle", *arguments, "--proposer-model", "qwen", code=2).stderr


def test_plain_output(home, arguments):
    run = pamela("a castle", *arguments, "--profile", home / "ann")
    assert re.fullmatch(r"ann: -?\d\.\d{3} ± \d\.\d{3} \(\+\d\.\d{3}\)  a castle.*\n", run.stdout)


def test_several_are_told_of_and_the_proposer_is_shown_as_many_as_asked(home, arguments, tmp_path, monkeypatch):
    shown, propose = [], ModifierProposer.propose

    def spy(self, prompt, history, num, seed):
        shown.append(len(history))
        return propose(self, prompt, history, num, seed)

    monkeypatch.setattr(ModifierProposer, "propose", spy)
    options = ["--profile", home / "ann", "--keep", 2, "--history-size", 3, "--run-dir", tmp_path / "run"]
    row = json.loads(pamela("a castle", *arguments, *options, "--json").stdout)
    assert shown == [1, 3]
    [other] = row["others"]
    assert other["score"] <= row["score"]
    assert (tmp_path / other["picture"]).is_file()
    lines = pamela("a castle", *arguments, *options).stdout.splitlines()
    assert [line.partition(":")[0] for line in lines[::2]] == ["ann", "ann"]
    assert lines[0].endswith(row["prompt"])
    assert lines[2].endswith(other["prompt"])
    assert [line.strip() for line in lines[1::2]] == [row["picture"], other["picture"]]


def test_a_diffusers_pipeline(home, arguments, tmp_path):
    pytest.importorskip("diffusers")
    from tiny_pipelines import stable_diffusion

    stable_diffusion().save_pretrained(tmp_path / "sd")
    arguments[3] = tmp_path / "sd"
    settings = ["--steps", 2, "--size", 16, "--guidance", 2.0, "--profile", home / "ann", "--batch-size", 2]
    page = tmp_path / "page.html"
    row = json.loads(pamela("a castle", *arguments, *settings, "--json", "--html", page, "--dtype", "bfloat16").stdout)
    assert row["pictures"] == 7
    assert row["score"] >= row["asked_score"]
    assert f"Pictures by {tmp_path / 'sd'}" in page.read_text()


def test_a_language_model_that_is_none_to_chat_with(home, arguments, tmp_path):
    from tiny_encoders import save_llama

    save_llama(tmp_path / "llm")
    with pytest.raises(SteeringError, match="no chat template"):
        pamela("a castle", *arguments, "--proposer", tmp_path / "llm")


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"prompt": ""}, SteeringError, "The prompt is empty"),
        ({"prompt": "castle " * 10_000}, SteeringError, "has 10000 words; text-to-image models read at most 512"),
        ({"--profile": "nobody"}, ProfileError, "nobody holds no readable taste profile"),
        ({"--profile": "other"}, ProfileError, "belongs to the model"),
        ({"--user": "eve"}, RewardError, "No taste of 'eve' is saved with this model"),
        ({"--model": "ann"}, DataError, "no checkpoint"),
        ({"--pipeline": "ann"}, SteeringError, "is no pipeline, since it has no model_index.json"),
        ({"--pipeline": "missing"}, SteeringError, "There is no pipeline .*missing; expected a folder or a Hub repo"),
        ({"--pipeline": "broken"}, SteeringError, "cannot be loaded. diffusers said"),
        ({"--proposer": "gpt"}, SteeringError, "There is no proposer gpt; expected modifiers, smollm2"),
    ],
)
def test_bad_input_is_named(home, arguments, changes, error, message):
    torch.manual_seed(1)
    other = PamelaForPersonalizedScoring(PamelaForPersonalizedScoring.from_pretrained(home / "model").config)
    TasteProfile.prior(other).save_pretrained(home / "other")
    (home / "broken").mkdir(exist_ok=True)
    (home / "broken" / "model_index.json").write_text('{"_class_name": "NoSuchPipeline"}')
    options = dict(zip(arguments[:8:2], arguments[1:8:2], strict=True))
    prompt = changes.get("prompt", "a castle")
    for name, value in changes.items():
        if name in ("--user", "--proposer"):
            options[name] = value
        elif name != "prompt":
            options[name] = home / value
    with pytest.raises(error, match=message):
        pamela(prompt, *(part for pair in options.items() for part in pair))


def test_a_run_folder_of_something_else(arguments, tmp_path):
    pamela("a castle", *arguments, "--run-dir", tmp_path)
    with pytest.raises(SteeringError, match="holds a search that was started differently"):
        pamela("a castle", *arguments, "--run-dir", tmp_path, "--seed", 1)


def test_options_that_do_not_go_together(home, arguments):
    for extra in (["--steps", 3], ["--paper"], ["--offload"]):
        assert "--pipeline scenes has no --steps" in pamela("a castle", *arguments, *extra, code=2).stderr
    assert "--demographics is not JSON" in pamela("a castle", *arguments, "--demographics", "age", code=2).stderr
    assert "is a folder" in pamela("a castle", *arguments, "--html", home, code=2).stderr


def test_errors_and_missing_extras_are_one_line(home, arguments, capsys, monkeypatch):
    def stderr(*command):
        monkeypatch.setattr("sys.argv", ["pamela", "steer", *map(str, command)])
        with pytest.raises(SystemExit) as stop:
            app()
        assert stop.value.code == 1
        return capsys.readouterr().err.strip().splitlines()[-1]

    assert stderr(" ", *arguments).startswith("Error: The prompt is empty")
    assert stderr("a castle", *arguments, "--user", "eve").startswith("Error: No taste of 'eve'")
    monkeypatch.setitem(sys.modules, "diffusers", None)
    monkeypatch.setitem(sys.modules, "diffusers.pipelines.pipeline_utils", None)
    arguments[3] = "owner/pipeline"
    message = stderr("a castle", *arguments)
    assert "is not installed" in message or "diffusers" in message
    assert "steer" in message
