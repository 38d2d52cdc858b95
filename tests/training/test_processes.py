"""Two processes end where one does, and one that dies takes the other with it."""

import os
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from modeling_pamela.data.store import EmbeddingStore


TINY = {
    "image_projection_dim": 6,
    "text_projection_dim": 4,
    "profile_projection_dim": 3,
    "hidden_size": 16,
    "intermediate_size": 16,
    "num_attention_heads": 2,
    "num_learned_directions": 4,
    "num_free_image_directions": 8,
    "num_free_text_directions": 4,
    "hidden_dropout_prob": 0.0,
}
SETTINGS = [part for name, value in TINY.items() for part in ("--set", f"{name}={value}")]


def command(processes, *arguments, module="modeling_pamela.cli"):
    launcher = [sys.executable]
    if processes > 1:
        launcher += ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(processes)]
    return [*launcher, "-m", module, *map(str, arguments)]


def run(processes, *arguments, check=True, **environment):
    return subprocess.run(
        command(processes, *arguments),
        env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=check,
    )


@pytest.mark.parametrize("recipe", ["posterior-mlp", "posterior"])
def test_two_processes_train_what_one_trains(taste_folder, tmp_path, recipe):
    # Batches of 5 people cannot be halved, and the last one is shorter still.
    steps = [] if recipe == "posterior" else ["--epochs", "2", "--batch-size", "5"]
    found = {}
    for processes in (1, 2):
        out = tmp_path / str(processes)
        arguments = ["train", taste_folder.path, "--output-dir", out, "--recipe", recipe, "--device", "cpu"]
        done = run(processes, *arguments, *steps, *SETTINGS)
        assert done.stdout.count("Saved to") == 1
        found[processes] = load_file(out / "model.safetensors")
        assert not list(out.glob("checkpoint-*"))
    for name, tensor in found[1].items():
        torch.testing.assert_close(found[2][name], tensor, atol=1e-4, rtol=1e-4, msg=name)


def test_two_processes_store_every_embedding_once(taste_folder, tmp_path):
    import shutil

    data = tmp_path / "data"
    shutil.copytree(taste_folder.path, data, ignore=shutil.ignore_patterns("embeddings"))
    run(2, "embed", data)
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
    assert "0 pictures, 0 prompts" in run(1, "embed", data).stdout


def test_a_process_that_dies_ends_the_other_and_the_run_goes_on_later(taste_folder, tmp_path):
    arguments = ["train", taste_folder.path, "--output-dir", tmp_path / "m", "--recipe", "posterior-mlp"]
    arguments += ["--device", "cpu", "--batch-size", "4", *SETTINGS]
    process = subprocess.Popen(
        command(2, *arguments, "--epochs", "5000"),
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 60
    while not list((tmp_path / "m").glob("checkpoint-*/trainer_state.json")):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.1)
    children = subprocess.run(["pgrep", "-P", str(process.pid)], capture_output=True, text=True, check=True)
    os.kill(int(children.stdout.split()[-1]), 9)
    assert process.wait(timeout=45) != 0
    assert not (tmp_path / "m" / "model.safetensors").exists()
    # 14 people are 4 steps an epoch.
    steps = max(int(path.name.split("-")[1]) for path in (tmp_path / "m").glob("checkpoint-*"))
    run(2, *arguments, "--epochs", steps // 4 + 1, "--resume")
    assert (tmp_path / "m" / "model.safetensors").is_file()
