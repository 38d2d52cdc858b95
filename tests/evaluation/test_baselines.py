import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.gaussian_process.kernels import RBF
from sklearn.kernel_ridge import KernelRidge

from modeling_pamela.evaluation.baselines import CrowdOracle, ResidualRidge, residual_ridge, tune_residual_ridge
from modeling_pamela.evaluation.protocol import Case, Evidence, evaluate_scorer


def rbf(bandwidth):
    return lambda a, b: 1 + RBF(bandwidth)(a[None], b[None])[0, 0]


@pytest.mark.parametrize("bandwidth", [None, 1.5])
@pytest.mark.parametrize("k", [1, 4, 12])
def test_ridge_is_sklearns(k, bandwidth):
    rng = np.random.default_rng(0)
    context, queries, residuals = rng.normal(size=(k, 5)), rng.normal(size=(7, 5)), rng.normal(size=k)
    kernel = (lambda a, b: 1 + a @ b) if bandwidth is None else rbf(bandwidth)
    peer = KernelRidge(alpha=0.7, kernel=kernel).fit(context, residuals)
    assert residual_ridge(context, residuals, queries, 0.7, bandwidth) == pytest.approx(peer.predict(queries))


def test_dual_form_is_the_primal_form():
    rng = np.random.default_rng(1)
    context, queries, residuals = rng.normal(size=(6, 3)), rng.normal(size=(4, 3)), rng.normal(size=6)
    with_one, queries_with_one = np.c_[np.ones(6), context], np.c_[np.ones(4), queries]
    weights = np.linalg.solve(with_one.T @ with_one + 0.3 * np.eye(4), with_one.T @ residuals)
    assert residual_ridge(context, residuals, queries, 0.3) == pytest.approx(queries_with_one @ weights)


def test_no_context_is_no_correction():
    assert residual_ridge(np.empty((0, 3)), np.empty(0), np.ones((2, 3)), 1.0).tolist() == [0.0, 0.0]


def test_pictures_rated_twice_do_not_break_it():
    features = np.ones((3, 2), dtype=np.float16)
    correction = residual_ridge(features, np.array([0.1, 0.2, 0.3]), features[:1], 1e-9)
    assert correction == pytest.approx([0.2])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"penalty": 0.0}, "penalty and bandwidth must be above 0"),
        ({"penalty": np.nan}, "penalty and bandwidth must be above 0"),
        ({"bandwidth": -1.0}, "penalty and bandwidth must be above 0"),
        ({"residuals": np.zeros(3)}, "3 residuals for context features of shape"),
        ({"residuals": np.array([0.0, np.nan])}, "residuals holds 1 values that are NaN"),
        ({"query_features": np.zeros((1, 4))}, r"query features of shape \(1, 4\)"),
    ],
)
def test_bad_ridge_input(change, message):
    arguments = {
        "context_features": np.zeros((2, 3)),
        "residuals": np.zeros(2),
        "query_features": np.zeros((1, 3)),
        "penalty": 1.0,
    }
    with pytest.raises(ValueError, match=message):
        residual_ridge(**{**arguments, **change})


@pytest.fixture
def world():
    """People whose ratings are population + a linear taste of their own: population, features, cases."""
    rng = np.random.default_rng(0)
    features, population = rng.normal(size=(60, 4)) / 2, rng.uniform(size=60)
    cases = []
    for user in range(12):
        pictures = rng.permutation(60)
        ratings = population + features @ rng.normal(size=4) / 4 + rng.normal(size=60) / 20
        evidence = Evidence(user, pictures[:30], ratings[pictures[:30]])
        cases.append(Case(evidence, pictures[30:], ratings[pictures[30:]]))
    return population, features, cases


def test_tuning_takes_the_best_of_the_grid(world):
    population, features, cases = world
    penalties, bandwidths = [1e-3, 0.1, 1e5], [None, 0.5]
    best = tune_residual_ridge(population, features, cases, 10, penalties, bandwidths)
    value = {
        (penalty, bandwidth): evaluate_scorer(
            ResidualRidge(population, features, penalty, bandwidth), cases, 10
        ).srocc.mean()
        for penalty in penalties
        for bandwidth in bandwidths
    }
    assert value[best.penalty, best.bandwidth] == max(value.values())
    # The world is linear, and 10 ratings with little noise say a lot about 4 numbers.
    assert (best.penalty, best.bandwidth) == (0.1, None)


def test_ridge_gains_with_every_rating(world):
    population, features, cases = world
    ridge = ResidualRidge(population, features, 0.1)
    gains = [evaluate_scorer(ridge, cases, k).srocc.mean() for k in (0, 5, 30)]
    assert gains == sorted(gains)
    assert gains[-1] > 0.9
    only_population = ridge(Evidence(0, np.empty(0, dtype=np.int64), np.empty(0)), np.arange(60))
    assert only_population.tolist() == population.tolist()


def test_equally_good_penalties(world):
    # Where the features say nothing, every penalty orders alike: the strongest is taken.
    population, features, cases = world
    assert tune_residual_ridge(population, np.zeros_like(features), cases, 5, [0.1, 10.0, 1.0]).penalty == 10.0


def test_nothing_to_tune_on(world):
    population, features, cases = world
    with pytest.raises(ValueError, match="got 0, 1 and 12"):
        tune_residual_ridge(population, features, cases, 5, penalties=[])
    with pytest.raises(ValueError, match="got 13, 1 and 0"):
        tune_residual_ridge(population, features, [], 5)


rating_rows = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 5), st.integers(1, 5)), min_size=1, max_size=60)


@settings(deadline=None)
@given(rating_rows, st.lists(st.tuples(st.integers(0, 6), st.integers(0, 7)), max_size=20))
def test_oracle_is_the_mean_over_everybody_else(rows, queries):
    users, images, ratings = np.array(rows).T
    query_users, query_images = np.array(queries, dtype=np.int64).reshape(-1, 2).T
    if any((users == user).all() for user in query_users):
        with pytest.raises(ValueError, match="at least two people"):
            CrowdOracle(users, images, ratings).scores(query_users, query_images)
        return
    scores = CrowdOracle(users, images, ratings).scores(query_users, query_images)
    for user, image, score in zip(query_users, query_images, scores, strict=True):
        others = users != user
        of_picture = ratings[others & (images == image)]
        assert score == pytest.approx((of_picture if len(of_picture) else ratings[others]).mean())


def test_oracle_does_not_look_at_the_persons_own_rating():
    users, images = np.array([0, 1, 2, 0]), np.array([0, 0, 0, 1])
    queries = np.array([0, 1])
    evidence = Evidence(0, queries, np.zeros(2))
    low, high = (CrowdOracle(users, images, [own, 0.2, 0.4, own])(evidence, queries).tolist() for own in (0.0, 1.0))
    assert low == high == [0.3, 0.3]


def test_equal_means_of_the_crowd_are_equal():
    # Three times .1, .2, .3 in another order and beside another own rating: rounding errors differ, the means do not.
    users = np.array([0, 1, 2, 3] * 3)
    images = np.repeat([0, 1, 2], 4)
    ratings = np.array([0.7, 0.1, 0.2, 0.3, 0.9, 0.3, 0.2, 0.1, 0.1, 0.2, 0.2, 0.2])
    scores = CrowdOracle(users, images, ratings).scores(np.zeros(3, dtype=int), np.arange(3))
    assert len(set(scores.tolist())) == 1


@pytest.mark.parametrize(
    ("users", "images", "ratings", "message"),
    [
        ([], [], [], "at least one"),
        ([0, 1], [0, 1], [0.1], "1 ratings, 2 users and 2 images"),
        ([0, 1], [0, 1], [0.1, np.nan], "ratings holds 1 values that are NaN"),
        ([0, -1], [0, 1], [0.1, 0.2], "users must be one flat array of row numbers"),
        ([0, 1], [0.0, 1.0], [0.1, 0.2], "images must be one flat array of row numbers"),
    ],
)
def test_bad_oracle_input(users, images, ratings, message):
    with pytest.raises(ValueError, match=message):
        CrowdOracle(np.array(users), np.array(images), ratings)


def test_queries_of_different_lengths():
    oracle = CrowdOracle(np.array([0, 1]), np.array([0, 0]), [0.1, 0.2])
    with pytest.raises(ValueError, match="2 users and 1 images"):
        oracle.scores(np.array([0, 1]), np.array([0]))
