"""A search that is killed at any moment goes on where it was, and arrives where it would have."""

import dataclasses
import json
import multiprocessing
import os
import signal
import time

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tiny_steering import ColourReward, LoggedRenderer, WordContent

from modeling_pamela.data.prompts import prompt_key
from modeling_pamela.steering.base import SteeringError
from modeling_pamela.steering.guards import Guards
from modeling_pamela.steering.history import HISTORY_FILE, History
from modeling_pamela.steering.modifiers import ModifierProposer
from modeling_pamela.steering.search import SearchSettings, search


PROMPT = "a castle on a hill"
SETTINGS = SearchSettings(num_candidates=3, max_rounds=2, batch_size=2)


def run(folder, settings=SETTINGS, log=None, renderer=None, **others):
    arguments = {
        "reward": ColourReward(log=log),
        "person": "red",
        "proposer": ModifierProposer(),
        "renderer": renderer or LoggedRenderer(log),
        "guards": Guards(),
        "content": WordContent(),
        "settings": settings,
    }
    return search(PROMPT, folder=folder, **{**arguments, **others})


class SlowRenderer(LoggedRenderer):
    def render(self, prompts, seeds):
        time.sleep(0.02)
        return super().render(prompts, seeds)


def run_and_die(folder, log, at_sync):
    """In a process of its own: dies when something is forced to disk for the n-th time, before that is done."""
    torch.set_num_threads(1)
    syncs = 0
    sync = os.fsync

    def dying(descriptor):
        nonlocal syncs
        syncs += 1
        if syncs == at_sync:
            os.kill(os.getpid(), signal.SIGKILL)
        sync(descriptor)

    os.fsync = dying
    run(folder, log=log)


def run_slowly(folder, log):
    torch.set_num_threads(1)
    run(folder, log=log, renderer=SlowRenderer(log), settings=dataclasses.replace(SETTINGS, batch_size=1))


def same(result, expected):
    assert result.history == expected.history
    assert result.kept == expected.kept
    assert result.stopped == expected.stopped
    assert [image.tobytes() for image in result.images] == [image.tobytes() for image in expected.images]


def lines_of(log):
    return log.read_text().splitlines() if log.exists() else []


def written(folder):
    """Prompts with a picture on disk, and pictures whose scores are."""
    path = folder / HISTORY_FILE
    lines = [json.loads(line) for line in path.read_bytes().split(b"\n")[:-1]] if path.is_file() else []
    candidates = {row["index"]: row for line in lines for row in [*line.get("round", ()), *line.get("results", ())]}
    painted = [row["prompt"] for row in candidates.values() if (folder / f"pictures/{row['index']:05d}.png").is_file()]
    return painted, [row for row in candidates.values() if row["score"] is not None]


FORK = multiprocessing.get_context("fork")


def test_killed_whenever_it_writes_and_resumed_it_ends_the_same_and_repeats_nothing(tmp_path):
    expected = run(tmp_path / "whole")
    at_sync = 0
    while True:
        at_sync += 3
        folder, log = tmp_path / f"run-{at_sync}", tmp_path / f"log-{at_sync}"
        process = FORK.Process(target=run_and_die, args=(folder, log, at_sync))
        process.start()
        process.join()
        if process.exitcode == 0:
            break
        assert process.exitcode == -signal.SIGKILL
        painted, scored = written(folder)
        before = lines_of(log)
        same(run(folder, log=log), expected)
        after = lines_of(log)[len(before) :]
        assert not {f"paint {prompt}" for prompt in painted} & set(after)
        # What was being done when it died is all that is done twice: a batch at most.
        paintings = [line for line in [*before, *after] if line.startswith("paint")]
        assert len(paintings) - len(set(paintings)) <= SETTINGS.batch_size
        assert sum(line.startswith("score red") for line in after) == len(expected.history) - len(scored)
    assert at_sync > 15


@pytest.mark.parametrize("paintings", [1, 5])
def test_killed_from_outside_in_the_middle_of_a_round(tmp_path, paintings):
    folder, log = tmp_path / "run", tmp_path / "log"
    process = FORK.Process(target=run_slowly, args=(folder, log))
    process.start()
    while sum(line.startswith("paint") for line in lines_of(log)) < paintings and process.is_alive():
        time.sleep(0.001)
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    assert process.exitcode == -signal.SIGKILL
    painted, _ = written(folder)
    before = lines_of(log)
    settings = dataclasses.replace(SETTINGS, batch_size=1)
    same(run(folder, settings, log, SlowRenderer(log)), run(tmp_path / "whole", settings))
    assert not {f"paint {prompt}" for prompt in painted} & set(lines_of(log)[len(before) :])


@pytest.mark.parametrize("cut", [1, 2, 30, 250, 800])
def test_a_line_that_was_cut_off_was_never_written(tmp_path, cut):
    expected = run(tmp_path)
    path = tmp_path / HISTORY_FILE
    path.write_bytes(path.read_bytes()[:-cut])
    log = tmp_path.parent / f"{tmp_path.name}-log"
    same(run(tmp_path, log=log), expected)
    assert not any(line.startswith("paint") for line in lines_of(log))


def test_a_finished_run_is_read_and_nothing_is_done(tmp_path):
    expected = run(tmp_path / "run")
    before = (tmp_path / "run" / HISTORY_FILE).read_bytes()
    same(run(tmp_path / "run", log=tmp_path / "log"), expected)
    assert (tmp_path / "run" / HISTORY_FILE).read_bytes() == before
    assert lines_of(tmp_path / "log") == []


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"settings": dataclasses.replace(SETTINGS, render_seed=3)}, "settings was"),
        ({"guards": Guards.off()}, "guards was"),
        ({"person": "blue"}, 'person was "red", now "blue"'),
        ({"content": None}, 'content was "WordContent", now null'),
        ({"renderer": SlowRenderer(), "proposer": ModifierProposer({})}, "proposer was"),
    ],
)
def test_a_run_of_other_settings_is_refused_and_left_alone(tmp_path, change, name):
    run(tmp_path)
    before = (tmp_path / HISTORY_FILE).read_bytes()
    with pytest.raises(SteeringError, match=f"started differently: .*{name}"):
        run(tmp_path, **change)
    assert (tmp_path / HISTORY_FILE).read_bytes() == before


def test_a_person_who_rated_more_is_another_search(tmp_path, tiny_model, tiny_pictures):
    from modeling_pamela import TasteProfile

    class Blind(ColourReward):
        def __call__(self, images, prompts=None, people=None):
            return super().__call__(images, prompts)

    ratings = torch.linspace(0, 1, 9)
    few = TasteProfile.fit(tiny_model, ratings[:5], **{name: rows[:5] for name, rows in tiny_pictures.items()})
    more = TasteProfile.fit(tiny_model, ratings, **tiny_pictures)
    run(tmp_path, person=few, reward=Blind())
    with pytest.raises(SteeringError, match="started differently: person was"):
        run(tmp_path, person=more, reward=Blind())


def test_what_is_no_run_is_left_alone(tmp_path):
    (tmp_path / "thesis.doc").write_text("years of work")
    with pytest.raises(SteeringError, match=r"holds something that is no search \(thesis.doc\)"):
        run(tmp_path)
    (tmp_path / HISTORY_FILE).write_text("dear diary\n")
    with pytest.raises(SteeringError, match="not the history of a search"):
        run(tmp_path)
    file = tmp_path / "file"
    file.write_text("")
    with pytest.raises(SteeringError, match="no search"):
        run(file)


@given(
    st.text(), st.sampled_from([str.upper, str.strip, lambda text: f" {text}!", lambda text: text.replace(" ", "  ")])
)
def test_keys_do_not_see_space_and_punctuation(text, change):
    if text.upper().casefold() == text.casefold():
        assert prompt_key(change(text)) == prompt_key(text)
    assert prompt_key(prompt_key(text)) == prompt_key(text)


def test_who_reads_leaves_the_folder_as_it_is(tmp_path):
    result = run(tmp_path)
    file = tmp_path / HISTORY_FILE
    torn = file.read_bytes() + b'{"results": [{"ind'
    file.write_bytes(torn)
    history = History.read(tmp_path)
    assert file.read_bytes() == torn
    assert (history.candidates, history.stopped) == (result.history, result.stopped)
    assert history.picture(result.kept[0].index).tobytes() == result.image.tobytes()
    # Who writes takes the torn line out.
    assert run(tmp_path).history == result.history
    assert torn.startswith(file.read_bytes())
    assert len(file.read_bytes()) < len(torn)


@pytest.mark.parametrize("content", ["", "[]\n", "1\n", "x\n", '{}\n{"round": [{}]}\n', "{}\n[]\n"])
def test_a_file_that_is_no_history_cannot_be_read(tmp_path, content):
    (tmp_path / HISTORY_FILE).write_text(content)
    with pytest.raises(SteeringError, match="not the history of a search"):
        History.read(tmp_path)
