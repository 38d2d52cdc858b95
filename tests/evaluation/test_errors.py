import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LinearRegression
from sklearn.metrics import mean_absolute_error, mean_squared_error

from modeling_pamela.evaluation.errors import user_absolute_error, user_squared_error


PEERS = [(user_squared_error, mean_squared_error), (user_absolute_error, mean_absolute_error)]
rows_of_two_people = st.lists(
    st.tuples(st.integers(-3, 3), st.integers(1, 5), st.integers(0, 1)), min_size=4, max_size=40
).filter(lambda rows: all(len({r for _, r, user in rows if user == u}) > 1 for u in (0, 1)))


def fitted(predictions, references):
    x = predictions[:, None]
    return LinearRegression().fit(x, references).predict(x)


@pytest.mark.parametrize(("metric", "peer"), PEERS)
@settings(deadline=None)
@given(rows_of_two_people)
def test_errors_are_scikit_learns(metric, peer, rows):
    predictions, references, users = (np.array(column, float) for column in zip(*rows, strict=True))
    users = users.astype(int)
    mine = [users == 0, users == 1]
    everybody = fitted(predictions, references)
    expected = {
        "none": [peer(references[who], predictions[who]) for who in mine],
        "global": [peer(references[who], everybody[who]) for who in mine],
        "user": [peer(references[who], fitted(predictions[who], references[who])) for who in mine],
    }
    for calibration, values in expected.items():
        assert metric(predictions, references, users, calibration).values == pytest.approx(values, abs=1e-9)


def test_unknown_calibration():
    with pytest.raises(ValueError, match="calibration must be"):
        user_squared_error([1, 2], [1, 2], [0, 0], "linear")
