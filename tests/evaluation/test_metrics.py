import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import kendalltau, pearsonr, spearmanr

from modeling_pamela.evaluation.metrics import (
    average_kendall,
    average_pairwise_accuracy,
    average_pearson,
    average_spearman,
    user_kendall,
    user_pairwise_accuracy,
    user_pearson,
    user_spearman,
)


METRICS = [user_spearman, user_pearson, user_kendall, user_pairwise_accuracy]
AVERAGES = [average_spearman, average_pearson, average_kendall, average_pairwise_accuracy]

# Few distinct values, so that ties are everywhere, in both predictions and ratings; people's rows are interleaved.
tied_rows = st.lists(st.tuples(st.integers(-3, 3), st.integers(1, 5), st.integers(0, 4)), min_size=1, max_size=80)
real = st.floats(-1e6, 1e6, allow_subnormal=False)
real_rows = st.lists(st.tuples(real, real, st.integers(0, 2)), min_size=1, max_size=40)


def columns(rows):
    predictions, references, users = zip(*rows, strict=True)
    return np.array(predictions, float), np.array(references, float), np.array(users)


def pairwise_brute_force(predictions, references, margin=0.0):
    """Half points for ties, or None where no pair counts."""
    points = []
    for i in range(len(references)):
        for j in range(len(references)):
            gap = references[i] - references[j]
            if gap > 0 and gap >= margin:
                points.append(0.5 + 0.5 * np.sign(predictions[i] - predictions[j]))
    return np.mean(points) if points else None


def check_each_user(metric, rows, expected):
    """`expected(predictions, references)` is the peer's value for one person, or None where there is none."""
    predictions, references, users = columns(rows)
    values = dict(zip(metric.user_ids.tolist(), metric.values.tolist(), strict=True))
    skipped = [user for group in metric.skipped.values() for user in group.tolist()]
    assert sorted([*values, *skipped]) == np.unique(users).tolist()
    for user in np.unique(users).tolist():
        mine = users == user
        value = expected(predictions[mine], references[mine])
        assert (user in skipped) == (value is None)
        if value is not None:
            assert values[user] == pytest.approx(value, abs=1e-9)


def peer_correlation(function):
    def correlation(predictions, references):
        if np.ptp(references) == 0:
            return None
        return 0.0 if np.ptp(predictions) == 0 else function(predictions, references).statistic

    return correlation


@settings(deadline=None)
@given(tied_rows)
def test_spearman_is_scipys(rows):
    check_each_user(user_spearman(*columns(rows)), rows, peer_correlation(spearmanr))


@settings(deadline=None)
@given(real_rows)
def test_spearman_of_real_numbers_is_scipys(rows):
    check_each_user(user_spearman(*columns(rows)), rows, peer_correlation(spearmanr))


@settings(deadline=None)
@given(tied_rows)
def test_pearson_is_scipys(rows):
    check_each_user(user_pearson(*columns(rows)), rows, peer_correlation(pearsonr))


@settings(deadline=None)
@given(tied_rows)
def test_kendall_is_scipys(rows):
    check_each_user(user_kendall(*columns(rows)), rows, peer_correlation(kendalltau))


@pytest.mark.parametrize("seed", range(5))
def test_a_hundred_people_with_ties_each_as_their_peer_says(seed):
    rng = np.random.default_rng(seed)
    users = np.sort(rng.integers(0, 100, 2000))
    rows = list(zip(rng.integers(0, 9, 2000) / 7, rng.integers(1, 6, 2000) / 3, users, strict=True))
    for metric, peer in ((user_spearman, spearmanr), (user_pearson, pearsonr), (user_kendall, kendalltau)):
        check_each_user(metric(*columns(rows)), rows, peer_correlation(peer))
    for margin in (0.0, 0.4):
        metric = user_pairwise_accuracy(*columns(rows), margin=margin)
        check_each_user(metric, rows, lambda p, r, margin=margin: pairwise_brute_force(p, r, margin))


@settings(deadline=None)
@given(tied_rows, st.sampled_from([0.0, 0.5, 1.0, 2.0, 3.5, 10.0]))
def test_pairwise_accuracy_is_the_count_over_all_pairs(rows, margin):
    metric = user_pairwise_accuracy(*columns(rows), margin=margin)
    check_each_user(metric, rows, lambda p, r: pairwise_brute_force(p, r, margin))


@settings(deadline=None)
@given(real_rows)
def test_pairwise_accuracy_of_real_numbers_is_the_count_over_all_pairs(rows):
    check_each_user(user_pairwise_accuracy(*columns(rows)), rows, pairwise_brute_force)


@settings(max_examples=5, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from([0.0, 0.2]))
def test_pairwise_accuracy_of_people_with_many_ratings(seed, margin):
    rng = np.random.default_rng(seed)
    users = np.repeat([0, 1, 2], [300, 1, 129])
    references, predictions = rng.integers(1, 8, len(users)) / 8, rng.integers(0, 50, len(users)) / 50
    metric = user_pairwise_accuracy(predictions, references, users, margin)
    check_each_user(
        metric,
        list(zip(predictions, references, users, strict=True)),
        lambda p, r: pairwise_brute_force(p, r, margin),
    )


@settings(deadline=None)
@given(tied_rows, st.randoms(use_true_random=False))
def test_order_of_rows_names_of_people_and_scale_of_predictions_do_not_matter(rows, random):
    predictions, references, users = columns(rows)
    shuffled = list(range(len(rows)))
    random.shuffle(shuffled)
    for metric in METRICS:
        before = metric(predictions, references, users)
        names = np.char.add("persön ", users.astype(str))
        after = metric(4 * predictions[shuffled] - 8, references[shuffled], names[shuffled].astype(object).tolist())
        assert after.values == pytest.approx(before.values, abs=1e-12)
        assert after.user_ids.tolist() == [f"persön {user}" for user in before.user_ids]


@settings(deadline=None)
@given(tied_rows)
def test_opposite_predictions_have_the_opposite_value(rows):
    predictions, references, users = columns(rows)
    for metric, total in (
        (user_spearman, 0.0),
        (user_pearson, 0.0),
        (user_kendall, 0.0),
        (user_pairwise_accuracy, 1.0),
    ):
        values = metric(predictions, references, users).values
        assert metric(-predictions, references, users).values == pytest.approx(total - values, abs=1e-12)


def test_perfect_predictions():
    references, users = [1, 2, 2, 5, 3, 4], [0, 0, 0, 0, 1, 1]
    for metric in METRICS:
        assert metric(references, references, users).values == pytest.approx([1.0, 1.0])


def test_equal_predictions_order_nothing():
    for metric, value in (
        (user_spearman, 0.0),
        (user_pearson, 0.0),
        (user_kendall, 0.0),
        (user_pairwise_accuracy, 0.5),
    ):
        assert metric([0.1] * 3, [1, 2, 3], [0, 0, 0]).values.tolist() == [value]


def test_people_without_a_value_are_named():
    users = ["one", "same", "same", "near", "near", "far", "far"]
    metric = user_pairwise_accuracy([1, 2, 3, 4, 5, 6, 7], [1, 3, 3, 2, 3, 1, 5], users, margin=2)
    assert metric.user_ids.tolist() == ["far"]
    assert {reason: names.tolist() for reason, names in metric.skipped.items()} == {
        "fewer than two ratings": ["one"],
        "all ratings equal": ["same"],
        "no two ratings as far apart as the margin": ["near"],
    }


def test_mean_of_nobody_is_an_error():
    with pytest.raises(ValueError, match=r"Nobody has a value.*1 with fewer than two ratings"):
        _ = user_spearman([1], [1], [0]).mean


def test_a_difference_of_just_the_margin_counts_in_spite_of_rounding():
    assert 0.7 - 0.6 < 0.1
    assert user_pairwise_accuracy([0, 1], [0.6, 0.7], [0, 0], margin=0.1).values.tolist() == [1.0]


@pytest.mark.parametrize("factor", [1e-300, 1e-12, 1e12, 1e300])
def test_pearson_of_very_large_and_very_small_numbers(factor):
    predictions, references = np.array([1.0, 2.0, 4.0, 3.0]), np.array([1.0, 3.0, 3.0, 2.0])
    expected = pearsonr(predictions, references).statistic
    value = user_pearson(predictions * factor, references * factor, [0] * 4).values[0]
    assert value == pytest.approx(expected, rel=1e-12)


def test_pearson_of_small_differences_between_large_numbers():
    rng = np.random.default_rng(0)
    predictions, references = rng.integers(0, 9, 1000).astype(float), rng.integers(0, 9, 1000).astype(float)
    value = user_pearson(predictions + 2.0**50, references, [0] * 1000).values[0]
    assert value == pytest.approx(pearsonr(predictions, references).statistic, rel=1e-9)


@settings(deadline=None)
@given(tied_rows.filter(lambda rows: len({row[2] for row in rows}) > 1))
def test_averages_are_the_peers_over_picture_means(rows):
    predictions, references, images = columns(rows)
    # Whole-number sums over each picture's number of ratings: exact fractions, rounded once.
    means = [(predictions[images == i].mean(), references[images == i].mean()) for i in np.unique(images)]
    predicted, rated = np.array(means).T
    if np.ptp(rated) == 0:
        for average in AVERAGES:
            with pytest.raises(ValueError, match="all ratings equal"):
                average(predictions, references, images)
        return
    for average, peer in (
        (average_spearman, spearmanr),
        (average_pearson, pearsonr),
        (average_kendall, kendalltau),
    ):
        expected = peer_correlation(peer)(predicted, rated)
        assert average(predictions, references, images) == pytest.approx(expected, abs=1e-9)
    assert average_pairwise_accuracy(predictions, references, images) == pytest.approx(
        pairwise_brute_force(predicted, rated)
    )


def test_means_that_differ_by_a_rounding_error_are_ties():
    assert np.mean([0.1, 0.2, 0.3]) != 0.2
    predictions, references = [0.1, 0.2, 0.3, 0.2, 0.9], [1, 1, 1, 2, 3]
    # Pictures a and b have the same mean prediction: half right; (a, c) and (b, c) are right.
    assert average_pairwise_accuracy(predictions, references, list("aaabc")) == pytest.approx(2.5 / 3)


@pytest.mark.parametrize("metric", METRICS + AVERAGES)
@pytest.mark.parametrize(
    ("predictions", "references", "ids", "message"),
    [
        ([1, np.nan], [1, 2], [0, 0], r"predictions holds 1 values that are NaN.*nan at position 1"),
        ([1, 2], [np.inf, 2], [0, 0], r"references holds 1 values.*inf at position 0"),
        ([1, None], [1, 2], [0, 0], "predictions holds 1 values that are NaN"),
        (["good", "bad"], [1, 2], [0, 0], "predictions cannot be read as an array of numbers"),
        ([1, 2], [1, 2, 3], [0, 0], "2 predictions, 3 references and 2 ids"),
        ([1, 2], [1, 2], [0], "2 predictions, 2 references and 1 ids"),
        ([], [], [], "no ratings to evaluate on"),
        ([[1], [2]], [1, 2], [0, 0], r"predictions must be one flat array, got shape \(2, 1\)"),
        ([1, 2], [1, 2], ["ann", None], "ids must be one flat array of integers or strings without gaps"),
        ([1, 2], [1, 2], [0.0, np.nan], "ids must be one flat array of integers or strings without gaps"),
    ],
)
def test_bad_input(metric, predictions, references, ids, message):
    with pytest.raises(ValueError, match=message):
        metric(predictions, references, ids)


@pytest.mark.parametrize("margin", [-1, np.nan, np.inf])
def test_bad_margin(margin):
    with pytest.raises(ValueError, match="margin must be a number of at least 0"):
        user_pairwise_accuracy([1, 2], [1, 2], [0, 0], margin=margin)


@pytest.mark.parametrize("average", AVERAGES)
def test_one_picture_cannot_be_compared(average):
    with pytest.raises(ValueError, match="cannot be compared: fewer than two ratings"):
        average([1, 2], [1, 2], ["a", "a"])
