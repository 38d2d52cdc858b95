from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modeling_pamela.evaluation import disagreement as module
from modeling_pamela.evaluation.disagreement import disagreement, find_conflicts
from modeling_pamela.evaluation.protocol import Predictions


def predictions(rows):
    """From (draw, user, image, prediction, rating), one a draw, user and image."""
    rows = sorted({row[:3]: row for row in rows}.values())
    draw, user, image, predicted, rated = (np.array(column) for column in zip(*rows, strict=True))
    return Predictions(user + 10 * draw, user, image, draw, predicted.astype(float), rated.astype(float))


def brute_force(found, margin):
    right, weight, conflicts, pairs, of_image = {}, {}, 0, set(), {}
    for draw in set(found.draw.tolist()):
        rows = np.flatnonzero(found.draw == draw).tolist()
        value = {(found.user[r], found.image[r]): (found.references[r], found.predictions[r]) for r in rows}
        users, images = {u for u, _ in value}, sorted({i for _, i in value})
        for a, b in combinations(images, 2):
            for u, v in combinations(users, 2):
                if not all((person, image) in value for person in (u, v) for image in (a, b)):
                    continue
                gaps = {p: value[p, a][0] - value[p, b][0] for p in (u, v)}
                if gaps[u] * gaps[v] >= 0 or min(abs(gaps[u]), abs(gaps[v])) < margin:
                    continue
                conflicts += 1
                pairs.add((a, b))
                for image in (a, b):
                    of_image[image] = of_image.get(image, 0) + 1
                for person in (u, v):
                    predicted = value[person, a][1] - value[person, b][1]
                    weight[person] = weight.get(person, 0) + 1
                    right[person] = right.get(person, 0) + 0.5 + 0.5 * np.sign(predicted) * np.sign(gaps[person])
    return right, weight, conflicts, pairs, sum(count >= 2 for count in of_image.values())


rows = st.lists(
    st.tuples(st.integers(0, 1), st.integers(0, 4), st.integers(0, 4), st.integers(0, 3), st.integers(0, 4)),
    min_size=2,
)


@settings(deadline=None)
@given(rows, st.sampled_from([0.0, 2.0]), st.sampled_from([1, 10**6]))
def test_conflicts_are_those_of_all_pairs_of_people_and_pictures(data, margin, block):
    found = predictions(data)
    right, weight, conflicts, pairs, pictures = brute_force(found, margin)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "BLOCK", block)
        if not conflicts:
            with pytest.raises(ValueError, match="No two people"):
                disagreement(found, margin)
            return
        result = disagreement(found, margin)
    assert (result.num_conflicts, result.num_pairs, result.num_pictures) == (conflicts, len(pairs), pictures)
    assert result.accuracy.user_ids.tolist() == sorted(weight)
    assert result.accuracy.values == pytest.approx([right[user] / weight[user] for user in sorted(weight)])
    assert result.pooled == pytest.approx(sum(right.values()) / sum(weight.values()))


def test_a_population_score_is_right_half_of_the_time():
    rng = np.random.default_rng(0)
    population = rng.random(12)
    data = [(0, user, image, population[image], rng.integers(5)) for user in range(9) for image in range(12)]
    assert disagreement(predictions(data)).pooled == pytest.approx(0.5)


def test_the_clearest_conflicts_come_first_and_share_no_picture():
    rng = np.random.default_rng(0)
    ratings = rng.random((6, 10))
    data = [(0, user, image, 0.0, ratings[user, image]) for user in range(6) for image in range(10)]
    found = find_conflicts(predictions(data), number=3)
    gaps = [min(c.ratings[0, 0] - c.ratings[0, 1], c.ratings[1, 1] - c.ratings[1, 0]) for c in found]
    assert gaps == sorted(gaps, reverse=True)
    assert gaps[-1] > 0
    images = [image for conflict in found for image in conflict.images]
    assert len(set(images)) == 6
    best = max(
        min(ratings[u, a] - ratings[u, b], ratings[v, b] - ratings[v, a])
        for u in range(6)
        for v in range(6)
        for a in range(10)
        for b in range(10)
    )
    assert gaps[0] == pytest.approx(best)
