import numpy as np
import pytest

from modeling_pamela.data.files import DataError
from modeling_pamela.evaluation.ceilings import read_retest, retest_ceiling, retest_pairs
from modeling_pamela.evaluation.metrics import user_pearson


def test_pairs_are_the_first_two_ratings():
    users, images = ["a", "a", "a", "b", "a", "b"], [1, 1, 1, 1, 2, 1]
    found = retest_pairs(users, images, [5, 3, 4, 1, 2, 6], [3, 1, 2, 2, 1, 1])
    assert [column.tolist() for column in found] == [["a", "b"], [3.0, 6.0], [4.0, 1.0]]


def test_the_ceiling_is_what_the_true_taste_reaches():
    rng = np.random.default_rng(0)
    users, taste = np.repeat(np.arange(100), 400), rng.normal(size=40000)
    first, second = taste + rng.normal(size=40000), taste + rng.normal(size=40000)
    found = retest_ceiling(first, second, users)
    assert found.agreement.mean == pytest.approx(0.5, abs=0.03)
    assert found.ceiling.mean == pytest.approx(user_pearson(taste, second, users).mean, abs=0.03)


def test_nothing_rated_twice():
    with pytest.raises(ValueError, match="Nobody rated a picture twice"):
        retest_pairs(["a", "b"], [1, 1], [1, 2], [1, 1])


def test_lengths():
    with pytest.raises(ValueError, match="2 users, 2 images, 1 ratings"):
        retest_pairs(["a", "b"], [1, 1], [1], [1, 1])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("user_id,image_id,rating,repetition\na,1,x,1\na,1,2,2\n", "x"),
        ("user_id,image_id,rating,repetition\na,1,1,1\na,2,2,1\n", "Nobody rated a picture twice"),
        ("", "cannot be read"),
    ],
)
def test_a_table_that_says_nothing(tmp_path, text, message):
    (tmp_path / "retest.csv").write_text(text)
    with pytest.raises(DataError, match=message):
        read_retest(tmp_path / "retest.csv")
