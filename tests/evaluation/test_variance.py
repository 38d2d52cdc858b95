import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modeling_pamela.evaluation.variance import _Moments, taste_variance


rows = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4), st.integers(1, 7)), min_size=2, max_size=40)


def brute_force(users, images, ratings, weight):
    """Components from half mean squared differences, pair by pair; somebody who counts twice is no second person."""
    sums = {}
    for a in range(len(ratings)):
        for b in range(len(ratings)):
            if a == b:
                continue
            same = (users[a] == users[b], images[a] == images[b])
            count = weight[users[a]] if same[0] else weight[users[a]] * weight[users[b]]
            total = sums.setdefault(same, [0.0, 0.0])
            total[0] += count
            total[1] += count * (ratings[a] - ratings[b]) ** 2 / 2
    mean = {same: difference / count if count else np.nan for same, (count, difference) in sums.items()}
    neither, person, picture, both = (
        mean.get(same, np.nan) for same in ((False, False), (True, False), (False, True), (True, True))
    )
    return [neither - picture, neither - person, picture + person - neither, both]


@settings(deadline=None)
@given(rows, st.lists(st.integers(0, 3), min_size=5, max_size=5))
def test_components_are_those_of_all_pairs(data, weight):
    users, images, ratings = (np.array(column) for column in zip(*data, strict=True))
    weight = np.array(weight)[: users.max() + 1]
    found = _Moments(users, images, ratings.astype(float), users.max() + 1, images.max() + 1).components(weight)
    expected = brute_force(users, images, ratings.astype(float), weight)
    assert found == pytest.approx(expected, abs=1e-8, nan_ok=True)


def simulated(seed, repeats):
    """60 people rate about half of 40 pictures; picture 1, person 0.5, taste 2, noise 1 (variances)."""
    rng = np.random.default_rng(seed)
    users, images = np.nonzero(rng.random((60, 40)) < 0.5)
    users, images = np.tile(users, repeats), np.tile(images, repeats)
    taste = rng.normal(0, 2**0.5, (60, 40))
    ratings = rng.normal(0, 1, 40)[images] + rng.normal(0, 0.5**0.5, 60)[users] + taste[users, images]
    return users, images, ratings + rng.normal(0, 1, len(users)) + 4


def test_components_are_unbiased():
    found = [taste_variance(*simulated(seed, repeats=2), n=2) for seed in range(60)]
    for name, truth in (("picture", 1), ("person", 0.5), ("taste", 2), ("noise", 1), ("total", 4.5)):
        values = [getattr(result, name).mean for result in found]
        assert np.mean(values) == pytest.approx(truth, abs=3.5 * np.std(values) / len(values) ** 0.5)


def test_without_repetition_taste_and_noise_stay_together():
    found = taste_variance(*simulated(0, repeats=1), n=50)
    assert found.taste is None
    assert found.noise is None
    assert found.taste_and_noise.low < found.taste_and_noise.mean < found.taste_and_noise.high
    parts = found.picture.mean + found.person.mean + found.taste_and_noise.mean
    assert found.total.mean == pytest.approx(parts)


def test_scale_and_names_do_not_matter():
    users, images, ratings = simulated(1, repeats=2)
    before = taste_variance(users, images, ratings, n=20)
    after = taste_variance(users.astype(str), np.char.add("p", images.astype(str)), 10 * ratings - 3, n=20)
    assert after.taste.mean == pytest.approx(100 * before.taste.mean)


@pytest.mark.parametrize(
    ("users", "images", "ratings", "message"),
    [
        ([0, 1], [0, 1], [1, 2], "cannot be told apart"),
        ([0, 1], [0], [1, 2], "2 users, 1 images and 2 ratings"),
        ([0, 1], [0, 0], [1, np.nan], "NaN"),
        ([], [], [], "at least one"),
    ],
)
def test_bad_input(users, images, ratings, message):
    with pytest.raises(ValueError, match=message):
        taste_variance(users, images, ratings)
