"""Simulated people to steer for: what they like is known, so that it can be told whether a search found it."""

from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image

from ..data.scenes import RATING_SCALE, SimulatedRater, sample_scenes
from ..rewards.personal import PersonalReward
from ..taste.profile import TasteProfile


__all__ = ["learn_simulated_tastes"]


def learn_simulated_tastes(
    raters: Sequence[SimulatedRater],
    reward: PersonalReward,
    num_ratings: int = 25,
    seed: int = 0,
    size: tuple[int, int] = (384, 288),
) -> dict[str, TasteProfile]:
    """
    Simulated people rate painted scenes, the same for all; from these ratings alone their tastes are learned.

    Args:
        raters (sequence of [`~modeling_pamela.data.scenes.SimulatedRater`]): The people.
        reward ([`~modeling_pamela.rewards.personal.PersonalReward`]): Of a model trained on such scenes.
        num_ratings (`int`): Scenes that each person rates.
        seed (`int`): Of the scenes, and of the noise of the ratings.
        size (`tuple[int, int]`): Width and height of the scenes in pixels.

    Returns:
        `dict[str, TasteProfile]`: By the person's `user_id`.
    """
    scenes = sample_scenes(num_ratings, seed)
    images: list[Image.Image] = [scene.render(size) for scene in scenes]
    embeds = reward.embed(images, [scene.caption for scene in scenes])
    rng = np.random.default_rng([seed, 4])
    return {
        rater.user_id: TasteProfile.fit(
            reward.model,
            torch.from_numpy(rater.rate(scenes, rng)),
            scale=RATING_SCALE,
            image_ids=None,
            data_set=None,
            **embeds,
        )
        for rater in raters
    }
