"""Simulated people to steer for: what they like is known, so that it can be told whether a search found it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from tqdm.auto import tqdm

from ..data.embed import embed_folder
from ..data.files import DataError, atomic_folder
from ..data.folder import DataFolder
from ..data.importers.tidy import import_tidy
from ..data.pictures import embed_pictures
from ..data.scenes import (
    RATING_SCALE,
    Scene,
    SimulatedRater,
    sample_raters,
    sample_scenes,
    write_scene_dataset,
)
from ..data.splits import SplitOptions, split_folder
from ..modeling_pamela import PamelaForPersonalizedScoring
from ..processing_pamela import PamelaProcessor
from ..rewards.personal import PersonalReward
from ..taste.profile import TasteProfile
from ..training.recipes import RECIPES
from ..training.trainer import train
from .defaults import content_for, guards_for
from .modifiers import ModifierProposer
from .scene_renderer import SceneRenderer
from .search import SearchSettings, search


__all__ = ["PaintedScenes", "learn_simulated_tastes", "search_for_simulated_people", "train_on_scenes"]

SIZE = (384, 288)


@dataclass(frozen=True)
class PaintedScenes:
    """
    Painted scenes as a model takes them.

    Attributes:
        scenes (list of [`~modeling_pamela.data.scenes.Scene`]): N scenes.
        images (list of `PIL.Image.Image`): How they look.
        embeds (`dict`): `image_embeds` and `text_embeds` (of the captions), of N rows each.
    """

    scenes: list[Scene]
    images: list[Image.Image]
    embeds: dict[str, torch.Tensor]

    @classmethod
    def paint(cls, scenes: Sequence[Scene], model: PamelaForPersonalizedScoring) -> "PaintedScenes":
        """Paint scenes, and encode them with the model's own encoders."""
        processor = PamelaProcessor.from_config(model.config)
        images = [scene.render(SIZE) for scene in scenes]
        embeds = {
            "image_embeds": torch.from_numpy(embed_pictures(images, model.encoder("image"), processor)),
            "text_embeds": model.get_text_embeds(**processor.tokenize([scene.caption for scene in scenes])),
        }
        return cls(list(scenes), images, embeds)


def train_on_scenes(
    output: str | Path, seed: int, num_scenes: int = 240, num_raters: int = 60, ratings_per_rater: int = 60
) -> PamelaForPersonalizedScoring:
    """
    Simulate ratings of painted scenes, and go the way of every data set: import, split, embed, train.

    Args:
        output (`str` or `Path`): Gets the folders `scenes`, `data` and `model`, all or none of them. What was made there before is loaded.
        seed (`int`): Of everything.
        num_scenes, num_raters, ratings_per_rater (`int`): Of the simulation.

    Raises:
        DataError: `output` holds something else.
    """
    output = Path(output)
    if not (output / "model" / "model.safetensors").is_file():
        if output.is_dir() and any(output.iterdir()):
            raise DataError(f"{output} holds no model that was trained on scenes. Choose an empty folder.")
        with atomic_folder(output) as new:
            source = write_scene_dataset(new / "scenes", num_scenes, num_raters, ratings_per_rater, seed, size=SIZE)
            import_tidy(source, new / "data", RATING_SCALE)
            # Whom a search is for, and what it paints, is drawn anew, so nearly everything is for training.
            split_folder(
                new / "data",
                SplitOptions(seed, test_users=0.05, val_users=0.1, test_pictures=0.05, val_pictures=0.1, draws=1),
            )
            folder, recipe = DataFolder(new / "data"), RECIPES["posterior"]
            config = recipe.config(rating_scale=list(folder.rating_scale))
            embed_folder(folder, config)
            train(folder, config, new / "model", seed=seed, **recipe.training())
    return PamelaForPersonalizedScoring.from_pretrained(output / "model")


def learn_simulated_tastes(
    raters: Sequence[SimulatedRater],
    reward: PersonalReward,
    num_ratings: int = 25,
    seed: int = 0,
    size: tuple[int, int] = SIZE,
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
    content = content_for(known)
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
            guards=guards_for(known),
            content=content,
            folder=Path(folder) / f"{person}-{prompt}-{number}",
        )
