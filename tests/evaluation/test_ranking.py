from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import ndcg_score

from modeling_pamela.evaluation.ranking import user_ndcg, user_top_regret


tied_rows = st.lists(st.tuples(st.integers(-3, 3), st.integers(0, 5), st.integers(0, 3)), min_size=1, max_size=60)


def by_user(rows):
    predictions, references, users = (np.array(column, float) for column in zip(*rows, strict=True))
    for user in np.unique(users):
        mine = users == user
        if mine.sum() > 1 and np.ptp(references[mine]):
            yield predictions[mine], references[mine]


@settings(deadline=None)
@given(tied_rows, st.sampled_from([None, 1, 3, 10]))
def test_ndcg_is_scikit_learns(rows, k):
    predictions, references, users = zip(*rows, strict=True)
    expected = [ndcg_score([r], [p], k=k) for p, r in by_user(rows)]
    assert user_ndcg(predictions, references, users, k).values == pytest.approx(expected, abs=1e-9)


@settings(deadline=None, max_examples=50)
@given(tied_rows.map(lambda rows: rows[:6]), st.sampled_from([1, 2, 3]))
def test_regret_is_the_mean_over_all_orders_of_ties(rows, k):
    predictions, references, users = zip(*rows, strict=True)
    expected = []
    for p, r in by_user(rows):
        if len(p) < k:
            continue
        picks = [
            r[list(order[:k])].mean() for order in permutations(range(len(p))) if (np.diff(p[list(order)]) <= 0).all()
        ]
        expected.append(np.sort(r)[-k:].mean() - np.mean(picks))
    assert user_top_regret(predictions, references, users, k).values == pytest.approx(expected, abs=1e-9)


def test_a_perfect_order_has_no_regret():
    assert user_top_regret([1, 5, 3], [0.1, 0.9, 0.3], [0, 0, 0], k=2).values.tolist() == [0.0]
    assert user_ndcg([1, 5, 3], [0.1, 0.9, 0.3], [0, 0, 0]).values.tolist() == [1.0]


def test_people_with_fewer_pictures_than_are_taken_are_named():
    metric = user_top_regret([1, 2, 3, 4, 5], [1, 2, 1, 2, 3], ["ann", "ann", "bob", "bob", "bob"], k=3)
    assert metric.user_ids.tolist() == ["bob"]
    assert metric.skipped["fewer ratings than k"].tolist() == ["ann"]


@pytest.mark.parametrize("metric", [user_ndcg, user_top_regret])
def test_bad_k(metric):
    with pytest.raises(ValueError, match="k must be at least 1 picture, got 0"):
        metric([1, 2], [1, 2], [0, 0], k=0)


def test_negative_ratings_have_no_gain():
    with pytest.raises(ValueError, match=r"references must be ratings of at least 0, got -1\.0"):
        user_ndcg([1, 2], [-1, 2], [0, 0])
