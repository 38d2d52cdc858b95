import choix
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modeling_pamela.evaluation.bradley_terry import bradley_terry, elo_scores


def random_wins(rng, size, games=40):
    strength = rng.normal(size=size)
    wins = np.zeros((size, size))
    for _ in range(games):
        i, j = rng.choice(size, 2, replace=False)
        wins[(i, j) if rng.random() < 1 / (1 + np.exp(strength[j] - strength[i])) else (j, i)] += 1
    # A cycle, so that all are connected.
    for i in range(size):
        wins[i, (i + 1) % size] += 1
    return wins


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 2**32 - 1), st.integers(2, 7))
def test_strengths_are_choixs(seed, size):
    wins = random_wins(np.random.default_rng(seed), size)
    comparisons = [(i, j) for i in range(size) for j in range(size) for _ in range(int(wins[i, j]))]
    assert bradley_terry(wins) == pytest.approx(choix.ilsr_pairwise(size, comparisons), abs=1e-6)


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 2**32 - 1))
def test_many_problems_at_once_are_each_solved(seed):
    rng = np.random.default_rng(seed)
    wins = np.stack([random_wins(rng, 4) for _ in range(10)])
    assert bradley_terry(wins) == pytest.approx(np.stack([bradley_terry(problem) for problem in wins]), abs=1e-7)


def test_a_lopsided_problem_converges():
    strengths = bradley_terry([[0, 1e9], [1, 0]])
    assert strengths[0] - strengths[1] == pytest.approx(np.log(1e9), rel=1e-7)


def test_a_tie_is_half_a_win_for_either():
    scores = elo_scores(["a", "b", "a"], ["b", "a", "b"], ["tie", "tie", "left"], n=50)
    assert 10 ** ((scores.elo[0] - scores.elo[1]) / 400) == pytest.approx(2.0)
    assert scores.conditions == ["a", "b"]
    assert scores.elo.mean() == pytest.approx(1000)
    assert scores.num_comparisons.tolist() == [3, 3]


def test_left_and_right_do_not_matter():
    rng = np.random.default_rng(0)
    left, right = np.array([rng.choice(list("abc"), 2, replace=False) for _ in range(200)]).T
    choices = rng.choice(["left", "right", "tie"], 200)
    turned = np.array([{"left": "right", "right": "left", "tie": "tie"}[choice] for choice in choices])
    before, after = elo_scores(left, right, choices), elo_scores(right, left, turned)
    assert after.elo == pytest.approx(before.elo)
    assert after.low == pytest.approx(before.low)


@pytest.mark.parametrize("by_people", [False, True])
def test_intervals_cover_the_truth_about_as_often_as_they_say(by_people):
    rng = np.random.default_rng(0)
    truth = 1000 + 400 / np.log(10) * (np.array([0.8, 0.0, -0.8]))
    covered = []
    for seed in range(60):
        first, second = np.array([rng.choice(3, 2, replace=False) for _ in range(150)]).T
        odds = 10 ** ((truth[first] - truth[second]) / 400)
        choices = np.where(rng.random(150) < odds / (1 + odds), "left", "right")
        names = np.array(["strong", "middle", "weak"])
        users = np.arange(150) % 50 if by_people else None
        scores = elo_scores(names[first], names[second], choices, users, n=200, seed=seed)
        expected = {"strong": truth[0], "middle": truth[1], "weak": truth[2]}
        covered += [
            low <= expected[name] <= high
            for name, low, high in zip(scores.conditions, scores.low, scores.high, strict=True)
        ]
    assert 0.88 < np.mean(covered) < 0.99


def test_people_who_agree_with_themselves_widen_the_interval():
    rng = np.random.default_rng(0)
    favourite = np.where(rng.random(30) < 0.6, "left", "right")
    choices, users = np.repeat(favourite, 20), np.repeat(np.arange(30), 20)
    left, right = ["own"] * 600, ["other"] * 600
    by_comparison, by_person = elo_scores(left, right, choices), elo_scores(left, right, choices, users)
    assert by_comparison.elo.tolist() == by_person.elo.tolist()
    assert (
        np.ptp([by_person.low, by_person.high], axis=0)[0]
        > 2 * np.ptp([by_comparison.low, by_comparison.high], axis=0)[0]
    )


def test_draws_that_are_not_connected_are_counted():
    scores = elo_scores(["a", "a", "b"], ["b", "b", "a"], ["left", "left", "left"], n=300)
    assert 0 < scores.num_draws_left_out < 300


@pytest.mark.parametrize(
    ("left", "right", "choices", "message"),
    [
        (["a", "a"], ["b", "b"], ["left", "left"], "not connected"),
        (["a", "b", "c", "d"], ["b", "a", "d", "c"], ["left"] * 4, "not connected"),
        (["a"], ["a"], ["left"], "'a' is compared with itself"),
        (["a"], ["b"], ["both"], "got 'both'"),
        (["a"], ["b"], [], "1 left and 1 right conditions and 0 choices"),
        ([], [], [], "at least one"),
    ],
)
def test_bad_comparisons(left, right, choices, message):
    with pytest.raises(ValueError, match=message):
        elo_scores(left, right, choices)


@pytest.mark.parametrize("wins", [[[0, -1], [1, 0]], [[0, np.nan], [1, 0]]])
def test_bad_wins(wins):
    with pytest.raises(ValueError, match="numbers of at least 0"):
        bradley_terry(wins)


def test_wins_must_be_square():
    with pytest.raises(ValueError, match="square matrix"):
        bradley_terry([1, 2])
