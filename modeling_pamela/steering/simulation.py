"""Simulated people to steer for: what they like is known, so that it can be told whether a search found it."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from tqdm.auto import tqdm

from ..data.scenes import RATING_SCALE, SimulatedRater, sample_raters, sample_scenes
from ..rewards.personal import PersonalReward
from ..taste.profile import TasteProfile
from .modifiers import ModifierProposer
from .scene_renderer import SceneRenderer
from .search import SearchSettings, search


__all__ = ["learn_simulated_tastes", "search_for_simulated_people"]


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


def search_for_simulated_people(
    reward: PersonalReward,
    folder: str | Path,
    prompts: Sequence[str],
    num_people: int,
    num_runs: int,
    settings: SearchSettings,
    seed: int = 0,
) -> None:
    """
    Independent searches for each of some simulated people, with painted scenes; those in the folder are not done again.

    Args:
        reward ([`~modeling_pamela.rewards.personal.PersonalReward`]): Of a model trained on such scenes.
        folder (`str` or `Path`): Gets a folder for each search.
        prompts (sequence of `str`): What is asked for.
        num_people, num_runs (`int`): People, and searches for each of them and each prompt.
        settings ([`~modeling_pamela.steering.search.SearchSettings`]): Of every search but for its seed, which no two have in common.
        seed (`int`): Of the people and the ratings they give.
    """
    tastes = learn_simulated_tastes(sample_raters(num_people, seed), reward, seed=seed)
    known = PersonalReward(reward.model, reward.processor, tastes, reward.batch_size)
    runs = [
        (person, prompt, number) for person in tastes for prompt in range(len(prompts)) for number in range(num_runs)
    ]
    for place, (person, prompt, number) in enumerate(tqdm(runs, "searching", unit="search", delay=2)):
        search(
            prompts[prompt],
            reward=known,
            proposer=ModifierProposer(),
            renderer=SceneRenderer(),
            person=person,
            settings=replace(settings, seed=place),
            folder=Path(folder) / f"{person}-{prompt}-{number}",
        )
