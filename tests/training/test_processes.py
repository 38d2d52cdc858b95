"""Two processes end where one does, and one that dies takes the other with it."""

import os
import shutil
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from tiny_settings import TINY
from typer.testing import CliRunner

from modeling_pamela.cli.main import app
from modeling_pamela.data.store import EmbeddingStore


pytestmark = pytest.mark.usefixtures("one_thread")

# Without dropout, whose draws differ by process.
WITHOUT_DROPOUT = {**TINY, "hidden_dropout_prob": 0.0}
SETTINGS = [part for name, value in WITHOUT_DROPOUT.items() for part in ("--set", f"{name}={value}")]


# Importing takes longer than the work, so one launch runs several commands, with commas between.
COMMANDS = """
import sys
from modeling_pamela.cli.main import app
words = " ".join(sys.argv[1:])
for command in words.split(" , "):
    app(command.split(), standalone_mode=False)
"""


def launcher(*program):
    launch = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    return [sys.executable, *launch, *map(str, program)]


def run_two(script, *commands):
    script.write_text(COMMANDS)
    words = " , ".join(" ".join(map(str, command)) for command in commands)
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        launcher(script, *words.split()), env=environment, capture_output=True, text=True, timeout=600, check=True
    )


def run_one(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments], catch_exceptions=False)


@pytest.fixture(scope="module")
def two(taste_folder, tmp_path_factory):
    """What two processes made in one launch: their output, a checkpoint of each recipe, an embedded folder."""
    out = tmp_path_factory.mktemp("two")
    shutil.copytree(taste_folder.path, out / "data", ignore=shutil.ignore_patterns("embeddings"))
    trainings = (train_command(taste_folder, out / recipe, recipe) for recipe in STEPS)
    return run_two(out / "commands.py", ["embed", out / "data"], *trainings).stdout, out


# Batches of 5 people cannot be halved, and the last one is shorter still.
STEPS = {"posterior-mlp": ["--epochs", 2, "--batch-size", 5], "posterior": []}


def train_command(folder, out, recipe):
    start = ["train", folder.path, "--output-dir", out, "--recipe", recipe, "--device", "cpu"]
    return [*start, *STEPS[recipe], *SETTINGS]


@pytest.mark.parametrize("recipe", STEPS)
def test_two_processes_train_what_one_trains(two, taste_folder, tmp_path, recipe):
    run_one(*train_command(taste_folder, tmp_path, recipe))
    printed, out = two
    assert printed.count(f"Saved to {out / recipe}\n") == 1
    assert not list((out / recipe).glob("checkpoint-*"))
    one, found = (load_file(folder / "model.safetensors") for folder in (tmp_path, out / recipe))
    assert one.keys() == found.keys()
    for name, tensor in one.items():
        torch.testing.assert_close(found[name], tensor, atol=1e-4, rtol=1e-4, msg=name)


def test_two_processes_store_every_embedding_once(two, taste_folder):
    data = two[1] / "data"
    keys = taste_folder.images["sha256"].to_pylist()
    (store,) = (
        EmbeddingStore(data, path.name, "image")
        for path in (data / "embeddings").iterdir()
        if list(path.glob("part-image-*"))
    )
    assert not store.missing(keys)
    parts = list(store.path.glob("part-image-*"))
    assert len(parts) == 2
    assert sum(len(store._read_keys(part)[0]) for part in parts) == len(set(keys))
    assert np.isfinite(store.get(keys)).all()
    assert "0 pictures, 0 prompts" in run_one("embed", data).stdout


def test_a_process_that_dies_ends_the_other_and_the_run_goes_on_later(taste_folder, tmp_path):
    arguments = ["train", taste_folder.path, "--output-dir", tmp_path / "m", "--recipe", "posterior-mlp"]
    arguments += ["--device", "cpu", "--batch-size", "4", *SETTINGS]
    process = subprocess.Popen(
        launcher("-m", "modeling_pamela.cli", *arguments, "--epochs", 5000),
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 300
    while not list((tmp_path / "m").glob("checkpoint-*/trainer_state.json")):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.1)
    children = subprocess.run(["pgrep", "-P", str(process.pid)], capture_output=True, text=True, check=True)
    os.kill(int(children.stdout.split()[-1]), 9)
    assert process.wait(timeout=300) != 0
    assert not (tmp_path / "m" / "model.safetensors").exists()
    # 14 people are 4 steps an epoch.
    steps = max(int(path.name.split("-")[1]) for path in (tmp_path / "m").glob("checkpoint-*"))
    # One process goes on as well as two.
    run_one(*arguments, "--epochs", steps // 4 + 1, "--resume")
    assert (tmp_path / "m" / "model.safetensors").is_file()
