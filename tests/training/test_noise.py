"""Chances of ratings on scales of steps and continuous ones; the fitted noise model of a trained model."""

import numpy as np
import pytest
import torch
from scipy.integrate import quad

from modeling_pamela.evaluation.calibration import rating_step
from modeling_pamela.training.noise import rating_log_probability


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
