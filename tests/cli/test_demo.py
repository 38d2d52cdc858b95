import re

import numpy as np
import pytest

from modeling_pamela.data.files import DataError
from modeling_pamela.demo import run_demo


TINY = {"num_scenes": 16, "num_raters": 12, "ratings_per_rater": 16, "num_rated": 5, "num_new": 6}


def test_run_twice(tmp_path):
    lines: list[str] = []
    rankings = run_demo(tmp_path / "demo", **TINY, echo=lines.append)
    person, opposite = rankings
    assert opposite.person.user_id == f"{person.person.user_id}-opposite"
    assert person.ratings.shape == (5,)
    assert person.mean.shape == person.std.shape == (6,)
    assert (person.std > 0).all()
    # The population's order cannot be right for both.
    assert person.population_srocc == pytest.approx(-opposite.population_srocc)

    printed = "\n".join(lines)
    assert "no person gave any rating" in lines[0]
    assert len(re.findall(r"^  \d\.\d\d ± \d\.\d\d  \w", printed, re.MULTILINE)) == 10
    assert printed.count("Spearman correlation") == 2
    page = (tmp_path / "demo" / "index.html").read_text()
    assert "no person gave any rating" in page
    assert page.count("<img ") == 2 * 5 + 3 * 6

    again = run_demo(tmp_path / "demo", **TINY, echo=lines.append)
    np.testing.assert_array_equal(again[0].mean, person.mean)
    assert (tmp_path / "demo" / "index.html").read_text() == page


def test_nothing_of_others_is_deleted(tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "precious.txt").write_text("keep")
    with pytest.raises(DataError, match="not a demo of before"):
        run_demo(tmp_path)
    assert (tmp_path / "data" / "precious.txt").read_text() == "keep"
    with pytest.raises(DataError, match="not a demo of before"):
        run_demo(tmp_path / "data" / "precious.txt")
