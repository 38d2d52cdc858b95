"""Chances of ratings on scales of steps and continuous ones; the fitted noise model of a trained model."""

import copy
import math

import numpy as np
import pytest
import torch
from scipy.integrate import quad

from modeling_pamela.data.embed import read_embeddings
from modeling_pamela.evaluation.calibration import rating_step
from modeling_pamela.training.noise import HEAVINESS, fit_noise, rating_log_probability


pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.mark.parametrize(("mean", "std"), [(0.4, 0.2), (1.3, 0.1), (-2.0, 0.5)])
def test_chances_add_up_to_one(mean, std):
    steps = torch.linspace(0, 1, 7, dtype=torch.float64)
    chances = rating_log_probability(steps, torch.full((7,), mean), torch.full((7,), std), 1 / 6).exp()
    assert chances.sum().item() == pytest.approx(1, abs=1e-6)

    def density(rating):
        given = torch.tensor([rating], dtype=torch.float64)
        return rating_log_probability(given, torch.tensor([mean]), torch.tensor([std]), 0.0).exp().item()

    inside, _ = quad(density, 1e-12, 1 - 1e-12, points=[min(max(mean, 0.01), 0.99)])
    assert inside + density(0.0) + density(1.0) == pytest.approx(1, abs=1e-5)


def test_steps_are_told_from_a_slider():
    assert rating_step(np.array([0.0, 0.25, 1.0, 0.5])) == 0.25
    assert rating_step(np.random.default_rng(0).random(500)) == 0.0
    assert rating_step(np.array([0.3, 0.3])) == 0.0


def fitted_noise(posterior, folder, factor):
    """The median noise on the rating scale, and the noise model, fitted to a model whose own noise is off by a factor."""
    model = copy.deepcopy(posterior)
    model.taste.log_noise_std.data += math.log(factor)
    fit_noise(model, folder, folder.ratings("train"), read_embeddings(folder, model.config))
    return model.noise_variance**0.5, model.taste.noise_model


def test_noise_is_fitted_to_what_validation_people_rated(posterior, taste_folder):
    right, (_, spread, heaviness, picture_std) = fitted_noise(posterior, taste_folder, 1.0)
    assert heaviness == pytest.approx(HEAVINESS)
    assert spread >= 0.05
    assert picture_std >= 0
    # Ratings were made with noise of 0.2 on a scale of 4, and predicted from 36 pictures of 14 people: it is not less than that.
    assert 0.05 < right + picture_std < 0.2
    # A model that is too sure of itself is corrected, and so is one that is not sure enough.
    for factor in (0.75, 1.3):
        other, noise_model = fitted_noise(posterior, taste_folder, factor)
        assert abs(math.log(other / right)) < abs(math.log(factor))
        assert (noise_model[0] > 0) if factor < 1 else (noise_model[0] < 0)


def test_where_persons_do_not_differ_noise_stays_gaussian(posterior, taste_folder):
    model = copy.deepcopy(posterior)
    model.config.use_user = False
    model.taste.noise_model.fill_(0.1)
    fit_noise(model, taste_folder, taste_folder.ratings("train"), read_embeddings(taste_folder, model.config))
    assert model.taste.noise_model.eq(0).all()
