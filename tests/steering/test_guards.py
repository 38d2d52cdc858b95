"""Content is measured without the words of style, drift as numbers, and refusals say why."""

import math

import numpy as np
import pytest
from PIL import Image

from modeling_pamela.steering.base import Candidate, SteeringError
from modeling_pamela.steering.guards import Guards, colour_statistics


def test_colour_statistics_of_known_pictures():
    grey = colour_statistics(Image.new("RGB", (300, 200), (90, 90, 90)))
    assert grey == {"saturation": 0.0, "contrast": 0.0}
    assert colour_statistics(Image.new("L", (64, 64), 90)) == grey
    assert colour_statistics(Image.new("RGB", (64, 64), (255, 0, 0)))["saturation"] == 1.0
    halves = np.zeros((256, 256), np.uint8)
    halves[:, 128:] = 255
    assert colour_statistics(Image.fromarray(halves))["contrast"] == pytest.approx(0.5)


def test_nothing_is_refused_where_guards_are_off():
    off, base = Guards.off(), Candidate(0, 0, "", population=0.9, guards={"alignment": 1.0})
    assert off.refuse_prompt(-1.0) is None
    assert off.refuse_picture(base, -9.0, -1.0, 1.0) is None
    assert off.value(Candidate(1, 1, "", score=0.5, std=9.0)) == 0.5


def test_a_loss_counts_as_a_share_of_the_range():
    guards, base = Guards(max_population_loss=0.1), Candidate(0, 0, "", population=50.0)
    assert guards.refuse_picture(base, 41.0, None, 100.0) is None
    assert (
        guards.refuse_picture(base, 39.0, None, 100.0)
        == "population: score lower by 0.11 of the range, at most 0.1 allowed"
    )


def test_a_share_of_a_range_without_end_is_not_guessed():
    for width in (math.inf, math.nan, 0.0):
        with pytest.raises(SteeringError, match="Pass guards with max_population_loss=None"):
            Guards().check_width(width)
        Guards(max_population_loss=None).check_width(width)


@pytest.mark.parametrize(
    "field", [{"beta": -1}, {"max_alignment_loss": -0.1}, {"max_population_loss": math.nan}, {"min_content": math.nan}]
)
def test_numbers_that_make_no_sense(field):
    [name] = field
    with pytest.raises(SteeringError, match=f"{name} is .*; expected"):
        Guards(**field)


def test_what_was_refused_or_not_scored_has_no_value():
    assert Guards().value(Candidate(1, 1, "")) is None
    assert Guards().value(Candidate(1, 1, "", score=1.0, refused="content: no")) is None
