import numpy as np
import pytest

from modeling_pamela.data.folder import Ratings
from modeling_pamela.evaluation.factorisation import MatrixFactorisation, factorise, tune_factorisation
from modeling_pamela.evaluation.protocol import Case, Evidence, evaluate_scorer


NUM_PICTURES, NUM_PEOPLE, TRAIN_PICTURES = 120, 80, 80


@pytest.fixture(scope="module")
def world():
    """Two hidden factors, a linear map of the features, decide what people like; noise is small."""
    rng = np.random.default_rng(0)
    features = rng.normal(size=(NUM_PICTURES, 10))
    hidden = features @ rng.normal(size=(10, 2)) / 10**0.5
    truth = 0.5 + 0.1 * rng.normal(size=(NUM_PEOPLE, 2)) @ hidden.T
    ratings = truth + rng.normal(0, 0.02, truth.shape)
    user, image = (index.ravel() for index in np.indices((60, TRAIN_PICTURES)))
    values = ratings[user, image]
    train = Ratings(np.arange(len(user)), user, image, values, values)
    context, queries = np.arange(TRAIN_PICTURES), np.arange(TRAIN_PICTURES, NUM_PICTURES)
    cases = [Case(Evidence(u, context, ratings[u, context]), queries, ratings[u, queries]) for u in range(60, 80)]
    return train, features, cases


def test_hidden_factors_are_found(world):
    train, features, cases = world
    population = np.full(NUM_PICTURES, 0.5)
    factors = factorise(train, population, features, rank=2, penalty=0.01, map_penalty=0.01)
    assert factors.shape == (NUM_PICTURES, 2)
    # With the few numbers that matter, 8 ratings are enough for pictures and people never seen.
    scores = evaluate_scorer(MatrixFactorisation(population, factors, penalty=0.1), cases, k=8)
    assert scores.srocc.mean() > 0.9


def test_nothing_known_is_the_population(world):
    train, features, _ = world
    population = np.linspace(0, 1, NUM_PICTURES)
    factors = factorise(train, population, features, rank=2, penalty=1.0, map_penalty=1.0)
    nothing = Evidence(0, np.array([], dtype=int), np.array([]))
    found = MatrixFactorisation(population, factors, 1.0)(nothing, np.array([3, 5]))
    assert found.tolist() == population[[3, 5]].tolist()


def test_tuning_is_per_context_size(world):
    train, features, cases = world
    tuned = tune_factorisation(train, np.full(NUM_PICTURES, 0.5), features, cases[:5], [4, None])
    assert list(tuned) == [4, None]
    assert evaluate_scorer(tuned[None], cases, None).srocc.mean() > 0.9
