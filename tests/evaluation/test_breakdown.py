import numpy as np
import pytest

from modeling_pamela.evaluation.breakdown import by_people, by_pictures
from modeling_pamela.evaluation.metrics import user_pairwise_accuracy, user_spearman


RNG = np.random.default_rng(0)
USERS = np.repeat([f"user {number}" for number in range(20)], 12)
PREDICTIONS, REFERENCES = RNG.normal(size=len(USERS)), RNG.integers(1, 6, len(USERS))


def test_groups_of_people_part_everybody():
    metric = user_spearman(PREDICTIONS, REFERENCES, USERS)
    groups = {name: "old" if int(name[5:]) % 3 else "young" for name in np.unique(USERS)[:15]}
    parts = by_people(metric, groups)
    assert sorted(parts) == ["old", "unknown", "young"]
    assert sum(len(part.values) for part in parts.values()) == 20
    assert parts["young"].mean == pytest.approx(
        metric.values[[groups.get(u) == "young" for u in metric.user_ids]].mean()
    )


def test_a_theme_is_judged_on_its_own_ratings():
    themes = np.array(["sea", "city", None])[RNG.integers(0, 3, len(USERS))]
    parts = by_pictures(user_pairwise_accuracy, PREDICTIONS, REFERENCES, USERS, themes, margin=2)
    assert sorted(parts) == ["city", "sea", "unknown"]
    rows = themes == "sea"
    alone = user_pairwise_accuracy(PREDICTIONS[rows], REFERENCES[rows], USERS[rows], margin=2)
    assert parts["sea"].values.tolist() == alone.values.tolist()


def test_one_theme_a_rating():
    with pytest.raises(ValueError, match="1 themes for 2 ratings"):
        by_pictures(user_spearman, [1, 2], [1, 2], [0, 0], ["sea"])
