import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import bootstrap

from modeling_pamela.evaluation.bootstrap import bootstrap_mean, paired_difference


@pytest.fixture
def values():
    return np.random.default_rng(0).normal(0.5, 0.2, 120)


def test_interval_is_scipys(values):
    interval = bootstrap_mean(values, n=20_000)
    peer = bootstrap((values,), np.mean, n_resamples=20_000, method="percentile", rng=1).confidence_interval
    assert interval.mean == values.mean()
    # Two bootstraps of 20,000 resamples differ by about 1 % of the interval's half width (0.036).
    assert (interval.low, interval.high) == pytest.approx((peer.low, peer.high), abs=0.002)


def test_same_seed_same_interval(values):
    assert bootstrap_mean(values, seed=3) == bootstrap_mean(values, seed=3)
    assert bootstrap_mean(values, seed=3) != bootstrap_mean(values, seed=4)


def test_resamples_in_blocks_are_the_same_resamples(values, monkeypatch):
    whole = bootstrap_mean(values)
    monkeypatch.setattr("modeling_pamela.evaluation.bootstrap.BLOCK", 7 * len(values))
    assert bootstrap_mean(values) == whole


def test_higher_level_is_wider(values):
    narrow, wide = bootstrap_mean(values, level=0.5), bootstrap_mean(values, level=0.99)
    assert wide.low < narrow.low < narrow.mean < narrow.high < wide.high


def test_a_person_in_several_splits_is_one_person(values):
    people = np.arange(len(values))
    once = bootstrap_mean(values, people)
    # The same values again in four further splits are no further evidence ...
    again = bootstrap_mean(np.tile(values, 5), np.tile(people, 5))
    assert (again.low, again.high) == pytest.approx((once.low, once.high))
    # ... but five times as many people would be.
    many = bootstrap_mean(np.tile(values, 5))
    assert many.high - many.low < 0.6 * (once.high - once.low)


def test_splits_with_different_people_weight_every_value_alike():
    # ann has two values and bob one: of the four equally likely resamples, two hold both of them.
    interval = bootstrap_mean([0.0, 0.0, 0.9], ["ann", "ann", "bob"], n=4000, level=0.2)
    assert interval.mean == pytest.approx(0.3)
    assert (interval.low, interval.high) == pytest.approx((0.3, 0.3))
    # The other two hold one of them twice, with all of that person's values and nobody else's.
    widest = bootstrap_mean([0.0, 0.0, 0.9], ["ann", "ann", "bob"], n=4000)
    assert (widest.low, widest.high) == pytest.approx((0.0, 0.9))


@settings(deadline=None)
@given(st.lists(st.floats(-1, 1), min_size=2, max_size=30), st.integers(0, 5))
def test_laws(values, seed):
    interval = bootstrap_mean(values, n=50, seed=seed)
    assert min(values) - 1e-12 <= interval.low <= interval.high <= max(values) + 1e-12
    zeros = np.zeros(len(values))
    difference, opposite = (paired_difference(*pair, n=50, seed=seed) for pair in ((values, zeros), (zeros, values)))
    assert (difference.low, difference.high) == pytest.approx((-opposite.high, -opposite.low))
    assert difference.p_value == opposite.p_value
    assert 2 / 51 <= difference.p_value <= 1


def test_paired_difference_is_the_bootstrap_of_differences(values):
    other = values - np.random.default_rng(1).normal(0.02, 0.05, len(values))
    people = np.arange(len(values)) // 2
    difference = paired_difference(values, other, people)
    interval = bootstrap_mean(values - other, people)
    assert (difference.mean, difference.low, difference.high) == (interval.mean, interval.low, interval.high)
    # Far tighter than either method's own interval, because people differ much more than methods do.
    own = bootstrap_mean(values, people)
    assert difference.high - difference.low < (own.high - own.low) / 2
    assert difference.low > 0
    assert difference.p_value < 0.05


def test_methods_that_are_the_same_do_not_differ(values):
    difference = paired_difference(values, values)
    assert (difference.mean, difference.low, difference.high, difference.p_value) == (0, 0, 0, 1)


def test_p_value_is_that_of_a_t_test_where_it_should_be():
    rng = np.random.default_rng(2)
    differences = rng.normal(size=400)
    differences += 2 / np.sqrt(400) - differences.mean()
    # A mean of two standard errors: p = .0455 for normal means.
    assert paired_difference(differences, np.zeros(400), n=20_000).p_value == pytest.approx(0.0455, abs=0.01)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"values": [0.1, np.nan]}, "values holds 1 values that are NaN"),
        ({"values": []}, "at least two of them, got 0"),
        ({"values": [0.1, 0.2], "user_ids": ["ann", "ann"]}, "at least two of them, got 1"),
        ({"values": [0.1, 0.2], "user_ids": ["ann"]}, "2 values and ids of shape"),
        ({"values": [0.1, 0.2], "n": 0}, "n must be at least 1"),
        ({"values": [0.1, 0.2], "level": 95}, "level must lie between 0 and 1, got 95"),
    ],
)
def test_bad_input(arguments, message):
    with pytest.raises(ValueError, match=message):
        bootstrap_mean(**arguments)


def test_methods_with_different_people():
    with pytest.raises(ValueError, match="a has 2 values and b has 3"):
        paired_difference([0.1, 0.2], [0.1, 0.2, 0.3])
