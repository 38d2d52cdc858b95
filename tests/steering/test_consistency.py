"""Consistency of searches, against a brute-force permutation test and on runs of real searches."""

import itertools
import json
import shutil

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from tiny_steering import ColourReward, LoggedRenderer

from modeling_pamela.steering.base import SteeringError
from modeling_pamela.steering.consistency import (
    FinishedRun,
    added_modifiers,
    added_words,
    consistency,
    consistency_report,
    jaccard,
    read_runs,
)
from modeling_pamela.steering.guards import Guards
from modeling_pamela.steering.history import HISTORY_FILE
from modeling_pamela.steering.modifiers import ModifierProposer
from modeling_pamela.steering.search import SearchSettings, search


def brute_force(similarity, people, prompts):
    """Within, between and p-value as they are defined: every way to shuffle the people among a prompt's runs, repetitions and all."""

    def difference(labels):
        means = []
        for same in (True, False):
            values = [
                similarity[i, j]
                for i, j in itertools.combinations(range(len(labels)), 2)
                if prompts[i] == prompts[j] and (labels[i] == labels[j]) == same
            ]
            means.append(np.mean(values))
        return means[0] - means[1], means

    observed, (within, between) = difference(people)
    rows_of = [[row for row, name in enumerate(prompts) if name == prompt] for prompt in dict.fromkeys(prompts)]
    reached = total = 0
    for orders in itertools.product(*(itertools.permutations([people[row] for row in rows]) for rows in rows_of)):
        labels = list(people)
        for rows, order in zip(rows_of, orders, strict=True):
            for row, person in zip(rows, order, strict=True):
                labels[row] = person
        reached += difference(labels)[0] >= observed - 1e-9
        total += 1
    return within, between, reached / total


@st.composite
def runs(draw):
    """Runs of one or two prompts, with similarities on a coarse grid, so that there are ties."""
    people, prompts = ["ann", "ann", "bob"], ["a cat"] * 3
    extra = draw(
        st.lists(st.tuples(st.sampled_from(["ann", "bob", "eve"]), st.sampled_from(["a cat", "a dog"])), max_size=3)
    )
    people += [person for person, _ in extra]
    prompts += [prompt for _, prompt in extra]
    size = len(people)
    values = draw(st.lists(st.integers(-2, 2), min_size=size * size, max_size=size * size))
    half = np.triu(np.array(values, float).reshape(size, size) / 2, 1)
    return half + half.T + np.eye(size), people, prompts


@settings(max_examples=60, deadline=None)
@given(runs())
def test_it_is_what_trying_every_assignment_gives(drawn):
    similarity, people, prompts = drawn
    found = consistency(similarity, people, prompts)
    within, between, p_value = brute_force(similarity, people, prompts)
    assert found.exact
    assert (found.within, found.between) == pytest.approx((within, between))
    assert found.p_value == pytest.approx(p_value)
    order = np.random.default_rng(0).permutation(len(people))
    again = consistency(similarity[np.ix_(order, order)], [people[i] for i in order], [prompts[i] for i in order])
    assert again == pytest.approx(found)


def test_random_assignments_come_close_to_all_of_them():
    rng = np.random.default_rng(1)
    people, prompts = ["ann"] * 4 + ["bob"] * 4, ["a cat"] * 8
    half = np.triu(rng.standard_normal((8, 8)) + 0.6 * np.kron(np.eye(2), np.ones((4, 4))), 1)
    exact = consistency(half + half.T, people, prompts)
    drawn = consistency(half + half.T, people, prompts, max_permutations=60)
    assert (exact.exact, exact.permutations) == (True, 70)
    assert (drawn.exact, drawn.permutations) == (False, 61)
    many = np.mean(
        [consistency(half + half.T, people, prompts, max_permutations=60, seed=seed).p_value for seed in range(60)]
    )
    # (b + 1) / (m + 1) lies above the share of all assignments by at most 1 / (m + 1).
    assert exact.p_value - 0.03 < many < exact.p_value + 1 / 61 + 0.03


def test_where_people_do_not_matter_p_values_are_not_small():
    rng = np.random.default_rng(2)
    people, prompts = ["ann"] * 3 + ["bob"] * 3 + ["eve"] * 3, ["a cat"] * 9
    p_values = []
    for _ in range(100):
        half = np.triu(rng.standard_normal((9, 9)), 1)
        p_values.append(consistency(half + half.T, people, prompts).p_value)
    assert np.mean(np.array(p_values) <= 0.1) < 0.2
    assert 0.35 < np.mean(p_values) < 0.65


@pytest.mark.parametrize(
    ("people", "prompts"),
    [
        (["ann", "ann"], ["a cat", "a cat"]),
        (["ann", "bob"], ["a cat", "a cat"]),
        (["ann", "ann", "bob", "bob"], ["a cat", "a cat", "a dog", "a dog"]),
        ([], []),
    ],
)
def test_nothing_to_compare(people, prompts):
    with pytest.raises(SteeringError, match="nothing to compare"):
        consistency(np.eye(len(people)), people, prompts)


def test_what_was_added():
    run = FinishedRun("ann", "a cat, at night", 0, "A cat, at night, warm light, seen from above.", None)
    assert added_words(run) == {"warm", "light", "seen", "from", "above"}
    assert added_modifiers(run) == {"warm light", "seen from above"}
    assert jaccard([set(), set(), {"a"}]).tolist() == [[1, 1, 0], [1, 1, 0], [0, 0, 1]]


@pytest.fixture(scope="module")
def searches(tmp_path_factory):
    """Three searches each for one who likes red and one who likes blue."""
    folder = tmp_path_factory.mktemp("searches")
    for person in ("red", "blue"):
        for seed in range(3):
            one_search(folder / person / str(seed), person, seed)
    return folder


def one_search(folder, person, seed, **options):
    return search(
        "a castle on a hill",
        reward=ColourReward(std=0.01),
        person=person,
        proposer=ModifierProposer(),
        renderer=LoggedRenderer(),
        settings=SearchSettings(num_candidates=3, max_rounds=1, seed=seed),
        guards=Guards(min_content=None),
        folder=folder,
        **options,
    )


def test_runs_are_read_as_they_ended(searches):
    found = {(run.person, run.seed): run for run in read_runs([searches])}
    assert len(found) == 6
    result = one_search(searches / "red" / "1", "red", 1)  # it was done before
    run = found["red", 1]
    assert (run.prompt, run.final) == ("a castle on a hill", result.prompt)
    assert run.picture.tobytes() == result.image.tobytes()


def test_runs_are_read_and_not_repaired(searches, tmp_path):
    shutil.copytree(searches, tmp_path / "runs")
    history = tmp_path / "runs" / "red" / "0" / HISTORY_FILE
    torn = history.read_bytes() + b'{"stopp'
    history.write_bytes(torn)
    assert len(read_runs([tmp_path / "runs"])) == 6
    assert history.read_bytes() == torn


def test_report(tiny_reward):
    ends = {"red": "a castle, warm light", "blue": "a castle, cool light, at night"}
    colours = {"red": (220, 30, 20), "blue": (20, 40, 220)}
    runs = [
        FinishedRun(person, "a castle", seed, ends[person], Image.new("RGB", (40, 32), colours[person]))
        for person in ends
        for seed in range(3)
    ]
    report, figure = consistency_report(runs, tiny_reward)
    rows = {row["similarity"]: row for row in report.rows}
    assert rows["added words: Jaccard"]["between people"] == pytest.approx(1 / 5)
    assert rows["added modifiers: Jaccard"]["between people"] == 0
    for row in rows.values():
        assert row["within a person"] == pytest.approx(1)
        assert row["between people"] < 1
        assert (row["p-value"], row["assignments"], row["exact"]) == (pytest.approx(2 / 20), 20, True)
    assert len([axes for axes in figure.axes if axes.get_title()]) == len(rows) == 4


def test_runs_that_cannot_be_compared(searches, tiny_reward, tmp_path):
    with pytest.raises(SteeringError, match="There is no run"):
        read_runs([tmp_path])
    shutil.copytree(searches, tmp_path / "runs")
    shutil.copytree(searches / "red" / "0", tmp_path / "runs" / "red" / "copy")
    with pytest.raises(SteeringError, match="2 runs of 'a castle on a hill' for red with the seed 0"):
        consistency_report(read_runs([tmp_path / "runs"]), tiny_reward)
    history = tmp_path / "runs" / "red" / "copy" / HISTORY_FILE
    lines = history.read_text().splitlines()
    history.write_text("\n".join(lines[:-1]) + "\n")
    with pytest.raises(SteeringError, match="has not ended"):
        read_runs([tmp_path / "runs"])
    header = json.loads(lines[0])
    for change, message in (
        ({"person": None}, "for nobody"),
        ({"reward": "other"}, "has another reward than"),
        ({"settings": {**header["settings"], "keep": 2}}, "has another settings than"),
        ({"settings": None}, "not the history of a search"),
    ):
        history.write_text("\n".join([json.dumps({**header, **change}), *lines[1:]]) + "\n")
        with pytest.raises(SteeringError, match=message):
            read_runs([tmp_path / "runs"])
