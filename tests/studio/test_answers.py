"""Answers in a real SQLite file: on the disk before the next picture, whatever happens to the process."""

import multiprocessing
import os
import signal
import sqlite3
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from modeling_pamela.data.files import DataError
from modeling_pamela.studio.answers import Answers


def give(path, who, number, told):
    answers = Answers(path)
    for place in range(number):
        answers.add(f"picture {place}", f"{who}-{place}.png", 1 + place % 5)
        told.put(place)
    time.sleep(60)


@pytest.fixture
def start():
    """Start a process that gives answers, and says after each that it has."""
    if not hasattr(os, "fork"):
        pytest.skip("needs a system that forks: another process would import for seconds")
    context = multiprocessing.get_context("fork")
    processes = []

    def start(path, who, number):
        told = context.Queue()
        processes.append(context.Process(target=give, args=(path, who, number, told)))
        processes[-1].start()
        return processes[-1], told

    yield start
    for process in processes:
        process.kill()
        process.join()


def test_an_answer_outlives_the_kill_of_its_process(tmp_path, start):
    path = tmp_path / "answers.sqlite"
    process, told = start(path, "ann", 3)
    assert [told.get(timeout=30) for _ in range(3)] == [0, 1, 2]
    process.kill()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    answers = Answers(path)
    assert [(answer.number, answer.rating) for answer in answers.standing()] == [(1, 1.0), (2, 2.0), (3, 3.0)]
    answers.add("one", "more.png", 4.5)
    assert len(answers.standing()) == 4


def test_two_processes_lose_nothing(tmp_path, start):
    path = tmp_path / "answers.sqlite"
    for _, told in [start(path, who, 40) for who in ("left", "right")]:
        assert [told.get(timeout=30) for _ in range(40)] == list(range(40))
    given = [answer.name for answer in Answers(path).standing()]
    for who in ("left", "right"):
        assert [name for name in given if name.startswith(who)] == [f"{who}-{place}.png" for place in range(40)]
    assert len(given) == 80


def test_threads_lose_nothing(tmp_path):
    answers = Answers(tmp_path / "answers.sqlite")
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: answers.add(str(number), f"{number}.png", 3.0), range(50)))
    assert {answer.picture for answer in answers.standing()} == {str(number) for number in range(50)}


def test_undone_answers_are_kept_with_their_time(tmp_path):
    answers = Answers(tmp_path / "answers.sqlite")
    for rating in (2.0, 4.0, None):
        answers.add("same", "same.png", rating)
    assert [answer.rating for answer in answers.standing()] == [2.0, 4.0, None]
    assert answers.undo().rating is None
    assert answers.undo().rating == 4.0
    answers.add("same", "same.png", 5.0)
    assert [answer.rating for answer in answers.standing()] == [2.0, 5.0]
    assert [answers.undo().rating, answers.undo().rating, answers.undo()] == [5.0, 2.0, None]
    with sqlite3.connect(answers.path) as database:
        rows = database.execute("SELECT rating, answered_at <= undone_at FROM answers ORDER BY number").fetchall()
    assert rows == [(2.0, 1), (4.0, 1), (None, 1), (5.0, 1)]


def test_what_a_lost_current_leaves_is_whole(tmp_path):
    answers = Answers(tmp_path / "answers.sqlite")
    pragmas = [answers._database.execute(f"PRAGMA {name}").fetchone()[0] for name in ("journal_mode", "synchronous")]
    assert pragmas == ["wal", 2]  # 2 is FULL: the log is flushed at every commit


@pytest.mark.parametrize("rating", [0.99, 5.01, float("nan"), float("inf")])
def test_ratings_off_the_scale_are_refused(tmp_path, rating):
    answers = Answers(tmp_path / "answers.sqlite")
    with pytest.raises(DataError, match=r"a\.png is .*, expected a number from 1 to 5"):
        answers.add("a", "a.png", rating)
    assert answers.standing() == []


def test_a_file_that_is_something_else_is_left_alone(tmp_path):
    path = tmp_path / "answers.sqlite"
    path.write_text("a shopping list, and a long one at that" * 40)
    with pytest.raises(DataError, match="Move it away"):
        Answers(path)
    assert path.read_text().startswith("a shopping list")


def test_a_disk_that_is_full_is_said(tmp_path):
    answers = Answers(tmp_path / "answers.sqlite")
    answers.add("a", "a.png", 3.0)
    pages = answers._database.execute("PRAGMA page_count").fetchone()[0]
    answers._database.execute(f"PRAGMA max_page_count = {pages}")  # SQLite's own way to run out of room
    with pytest.raises(DataError, match=r"could not be saved .*full"):
        answers.add("b", "b" * 100_000, 3.0)
    assert answers.standing()[0].name == "a.png"
