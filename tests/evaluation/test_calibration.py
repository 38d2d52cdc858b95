"""Coverage and randomised PIT against brute force, scipy, and data whose distribution is known."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import kstest, norm

from modeling_pamela.evaluation.calibration import (
    calibration_error,
    pit_deviation,
    randomised_pit,
    rating_step,
    user_coverage,
    user_pit_coverage,
)


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(-5, 5), st.integers(0, 6), st.integers(-6, 9)), min_size=1))
def test_coverage_is_what_a_loop_counts(rows):
    users, lower, width, ratings = (np.array(column) for column in zip(*rows, strict=True))
    metric = user_coverage(lower, lower + width, ratings, users)
    assert metric.user_ids.tolist() == sorted(set(users.tolist()))
    for user, value in zip(metric.user_ids, metric.values, strict=True):
        hits = [low <= r <= low + w for u, low, w, r in rows if u == user]
        assert value == pytest.approx(np.mean(hits))
    assert metric.skipped == {}


@given(st.integers(0, 10_000), st.sampled_from([0.0, 0.25, 1 / 6]))
def test_a_place_lies_between_the_chances_below_and_up_to_the_rating(seed, step):
    rng = np.random.default_rng(seed)
    means, stds = rng.normal(0.5, 0.5, 20), rng.uniform(0.05, 1, 20)
    ratings = rng.random(20).round(1) if not step else rng.integers(0, round(1 / step) + 1, 20) * step
    places = randomised_pit(means, stds, ratings, step, seed)
    for mean, std, rating, place in zip(means, stds, ratings, places, strict=True):
        below = 0.0 if rating <= step / 2 else norm.cdf(rating - step / 2, mean, std)
        up_to = 1.0 if rating >= 1 - step / 2 else norm.cdf(rating + step / 2, mean, std)
        assert below - 1e-12 <= place <= up_to + 1e-12


@pytest.mark.parametrize("step", [0.0, 0.25])
def test_honest_distributions_give_uniform_places(step):
    rng = np.random.default_rng(0)
    means, stds = rng.normal(0.6, 0.4, 20_000), rng.uniform(0.1, 0.4, 20_000)
    ratings = np.clip(rng.normal(means, stds), 0, 1)
    if step:
        ratings = np.round(ratings / step) * step
        assert rating_step(ratings) == step
    users = np.repeat(np.arange(20), 1000)
    places = randomised_pit(means, stds, ratings, step)
    assert kstest(places, "uniform").pvalue > 0.01
    assert pit_deviation(places) == pytest.approx(kstest(places, "uniform").statistic)
    np.testing.assert_allclose(user_pit_coverage(places, users, 0.8).values, 0.8, atol=0.05)
    # Who is too sure covers less.
    too_sure = randomised_pit(means, stds / 2, ratings, step)
    assert user_pit_coverage(too_sure, users, 0.8).mean < 0.7
    assert pit_deviation(too_sure) > 0.05


@given(st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1))
def test_calibration_error_is_what_a_loop_counts(pairs):
    chances, outcomes = (np.array(column, dtype=float) for column in zip(*pairs, strict=True))
    expected = 0.0
    for number in range(10):
        inside = [min(int(chance * 10), 9) == number for chance in chances]
        expected += abs(chances[inside].sum() - outcomes[inside].sum())
    assert calibration_error(chances, outcomes) == pytest.approx(expected / len(pairs))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: user_coverage([1], [0], [0.5], ["a"]), "1 intervals end before"),
        (lambda: user_coverage([0, 0], [1, 1], [0.5], ["a"]), "2 lower ends"),
        (lambda: user_coverage([0], [1], [np.nan], ["a"]), "NaN"),
        (lambda: user_coverage([0], [1], [0.5], ["a", "b"]), "2 ids"),
        (lambda: randomised_pit([0.5], [0.0], [0.5]), "above 0"),
        (lambda: randomised_pit([0.5], [0.1], [0.5, 0.6]), "2 references"),
        (lambda: user_pit_coverage([0.5], ["a"], 1.0), "between 0 and 1"),
        (lambda: pit_deviation([]), "no ratings"),
        (lambda: calibration_error([1.2], [1]), "between 0 and 1"),
        (lambda: calibration_error([], []), "at least one"),
    ],
)
def test_what_cannot_be_judged(call, message):
    with pytest.raises(ValueError, match=message):
        call()
