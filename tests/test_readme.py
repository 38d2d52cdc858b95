"""The README's code runs as printed, from top to bottom. A block that needs a network, a browser or a download is marked `no-run`."""

import re
import shlex
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from modeling_pamela.cli import app
from modeling_pamela.data.scenes import sample_scenes, write_scene_dataset


ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w*)( no-run)?\n(.*?)^```", TEXT, flags=re.DOTALL | re.MULTILINE)
COMMANDS = [
    shlex.split(line, comments=True)
    for language, skipped, code in BLOCKS
    if language == "bash" and not skipped
    for line in code.splitlines()
]
pytestmark = pytest.mark.usefixtures("one_thread")


def test_every_block_says_what_it_is():
    assert {language for language, _, _ in BLOCKS} == {"python", "bash"}
    assert len(BLOCKS) == TEXT.count("```") // 2


def test_python_blocks_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "modeling_pamela").symlink_to(ROOT / "modeling_pamela")  # where a clone has the metrics
    names: dict = {}
    for language, skipped, code in BLOCKS:
        if language == "python" and not skipped:
            exec(compile(code, "README.md", "exec"), names)
    assert (tmp_path / "profiles" / "ann" / "profile.json").is_file()
    assert names["profile"].num_ratings == 6


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """What the commands are given: photos/, ratings.csv and tables/."""
    folder = tmp_path_factory.mktemp("readme")
    write_scene_dataset(folder / "tables", 48, 24, 48, seed=0, size=(96, 72))
    (folder / "photos" / "more").mkdir(parents=True)
    names = ["beach.jpg", *(f"more/{number}.jpg" for number in range(15))]
    for name, scene in zip(names, sample_scenes(16, seed=1), strict=True):
        scene.render((96, 72)).save(folder / "photos" / name)
    (folder / "ratings.csv").write_text("file,rating\nmore/1.jpg,5\nmore/2.jpg,1\nmore/3.jpg,4\n")
    yield folder
    shutil.rmtree(folder)


@pytest.mark.parametrize("command", COMMANDS, ids=[" ".join(words[:3]) for words in COMMANDS])
def test_commands_run(command, folder, monkeypatch):
    """In the order of the README: each finds what those before it wrote."""
    monkeypatch.chdir(folder)
    assert command[0] == "pamela"
    run = CliRunner().invoke(app, command[1:])
    if run.exception is not None and not isinstance(run.exception, SystemExit):
        raise run.exception
    assert run.exit_code == 0, run.output


def test_links_lead_somewhere():
    targets = re.findall(r"\]\(([^)]+)\)", TEXT)
    headings = {
        re.sub(r"[^\w -]", "", line.lower()).replace(" ", "-") for line in re.findall(r"^#+ (.*)$", TEXT, re.MULTILINE)
    }
    for target in targets:
        assert target[1:] in headings if target.startswith("#") else (ROOT / target).exists(), target
    for path in re.findall(r"`((?:examples|benchmarks|docs)/[\w/]+\.\w+)`", TEXT):
        assert (ROOT / path).exists(), path
