"""
The main job from end to end, without a network: ratings of many people in, one new person's ranking out.

Pictures are generated scenes, and the people who rate them are simulated, which is said wherever their ratings are shown.
"""

import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from transformers.utils import logging

from .data.embed import embed_folder
from .data.files import DataError
from .data.folder import DataFolder
from .data.importers.tidy import import_tidy
from .data.pictures import embed_pictures
from .data.scenes import RATING_SCALE, Scene, SimulatedRater, sample_raters, sample_scenes, write_scene_dataset
from .data.splits import SplitOptions, split_folder
from .evaluation.contact_sheet import Card, Section, write_contact_sheet
from .evaluation.metrics import user_spearman
from .modeling_pamela import PamelaForPersonalizedScoring
from .processing_pamela import PamelaProcessor
from .taste.profile import TasteProfile
from .training.recipes import RECIPES
from .training.trainer import train


__all__ = ["Pictures", "Ranking", "make_model", "rank_for", "run_demo"]

SIZE = (384, 288)
# Says that the folder is a demo's own, which may be replaced.
MARK = ".pamela-demo"
SIMULATED = "Everything here is simulated: the pictures are generated, and no person gave any rating."


@dataclass(frozen=True)
class Pictures:
    """
    Painted scenes as a model takes them.

    Attributes:
        scenes (list of [`Scene`]): N scenes.
        images (list of `PIL.Image.Image`): How they look.
        embeds (`dict`): `image_embeds` and `text_embeds` (of the captions), of N rows each.
    """

    scenes: list[Scene]
    images: list[Image.Image]
    embeds: dict[str, torch.Tensor]

    @classmethod
    def paint(cls, scenes: Sequence[Scene], model: PamelaForPersonalizedScoring) -> "Pictures":
        """Paint scenes, and encode them with the model's own encoders."""
        processor = PamelaProcessor.from_config(model.config)
        images = [scene.render(SIZE) for scene in scenes]
        embeds = {
            "image_embeds": torch.from_numpy(embed_pictures(images, model.encoder("image"), processor)),
            "text_embeds": model.get_text_embeds(**processor.tokenize([scene.caption for scene in scenes])),
        }
        return cls(list(scenes), images, embeds)


@dataclass(frozen=True)
class Ranking:
    """
    Pictures as scored for one person.

    Attributes:
        person ([`SimulatedRater`]): The person.
        ratings (`np.ndarray` of shape `(k,)`): What they rated, from 1 to 5.
        mean, std (`np.ndarray` of shape `(N,)`): Scores of the new pictures, on 0..1 of the scale, and how unsure they are.
        srocc (`float`): Spearman correlation of the scores with the person's true opinion, which only a simulation knows.
        population_srocc (`float`): The same for the population score.
    """

    person: SimulatedRater
    ratings: np.ndarray
    mean: np.ndarray
    std: np.ndarray
    srocc: float
    population_srocc: float


def make_model(
    output: Path,
    seed: int,
    num_scenes: int = 240,
    num_raters: int = 60,
    ratings_per_rater: int = 60,
    echo: Callable[[str], object] = print,
) -> PamelaForPersonalizedScoring:
    """
    Simulate ratings, and go the way of every data set: import, split, embed, train.

    Args:
        output (`Path`): Gets the folders `scenes`, `data` and `model`.
        seed (`int`): Of everything.
        num_scenes, num_raters, ratings_per_rater (`int`): Of the simulation.
        echo (callable): Prints a line of progress.
    """
    with _step(echo, f"Painting {num_scenes} scenes; {num_raters} simulated people rate {ratings_per_rater} each"):
        source = write_scene_dataset(output / "scenes", num_scenes, num_raters, ratings_per_rater, seed, size=SIZE)
    with _step(echo, "Importing and splitting"):
        import_tidy(source, output / "data", RATING_SCALE)
        # The demo tests on new people and new scenes, so nearly everything is for training.
        options = SplitOptions(seed, test_users=0.05, val_users=0.1, test_pictures=0.05, val_pictures=0.1, draws=1)
        split_folder(output / "data", options)
    folder, recipe = DataFolder(output / "data"), RECIPES["posterior"]
    config = recipe.config(rating_scale=list(folder.rating_scale))
    with _step(echo, "Encoding pictures and captions"):
        embed_folder(folder, config)
    with _step(echo, "Training the posterior model in closed form"):
        return train(folder, config, output / "model", seed=seed, **recipe.training())


def rank_for(
    person: SimulatedRater,
    model: PamelaForPersonalizedScoring,
    rated: Pictures,
    new: Pictures,
    rng: np.random.Generator,
) -> Ranking:
    """Let a person rate some pictures, learn their taste, and score the new ones."""
    ratings = person.rate(rated.scenes, rng)
    profile = TasteProfile.fit(
        model, torch.from_numpy(ratings), scale=RATING_SCALE, image_ids=None, data_set=None, **rated.embeds
    )
    mean, std = (values.numpy() for values in profile.score(model, **new.embeds))
    truth = np.array([person.utility(scene) for scene in new.scenes])
    scores = np.concatenate([mean, _population_scores(model, new)])
    one_and_all = np.repeat([0, 1], len(truth))
    srocc, population_srocc = user_spearman(scores, np.tile(truth, 2), one_and_all).values
    return Ranking(person, ratings, mean, std, float(srocc), float(population_srocc))


def run_demo(
    output: str | Path,
    seed: int = 0,
    num_scenes: int = 240,
    num_raters: int = 60,
    ratings_per_rater: int = 60,
    num_rated: int = 15,
    num_new: int = 24,
    echo: Callable[[str], object] = print,
) -> list[Ranking]:
    """
    Train a model on simulated ratings, learn two opposite people's tastes, print their rankings and write `output/index.html`.

    Args:
        output (`str` or `Path`): Folder of the demo; one that an earlier demo filled is replaced.
        seed (`int`): Of everything.
        num_scenes, num_raters, ratings_per_rater (`int`): What the model is trained on.
        num_rated, num_new (`int`): Pictures that each of the two people rates, and that are then ranked.
        echo (callable): Prints a line.

    Returns:
        list of two [`Ranking`]

    Raises:
        DataError: The folder holds something that is not a demo's.
    """
    output = Path(output)
    _clear(output)
    logging.disable_progress_bar()  # of loading and saving, which take a moment
    echo(SIMULATED)
    model = make_model(output, seed, num_scenes, num_raters, ratings_per_rater, echo)
    with _step(echo, f"Two new people of opposite taste rate {num_rated} new scenes; {num_new} others are ranked"):
        # Another seed than the training data's: new people, new scenes.
        pictures = sample_scenes(num_rated + num_new, seed + 1)
        rated, new = Pictures.paint(pictures[:num_rated], model), Pictures.paint(pictures[num_rated:], model)
        person = sample_raters(1, seed + 1)[0]
        rng = np.random.default_rng([seed, 3])
        rankings = [rank_for(someone, model, rated, new, rng) for someone in (person, person.opposite())]
    population = _population_scores(model, new)
    for name, ranking in zip("AB", rankings, strict=True):
        _print_ranking(f"Person {name} (simulated)", ranking, new, echo)
    page = write_contact_sheet(
        output / "index.html",
        "Two opposite tastes, learned from a few ratings (simulated)",
        list(_sections(rankings, rated, new, population)),
    )
    echo(f"\nAll pictures: {page}")
    return rankings


def _clear(output: Path) -> None:
    if output.exists() and not (output / MARK).is_file() and (not output.is_dir() or any(output.iterdir())):
        raise DataError(f"{output} is not empty, and not a demo of before. Choose another folder.")
    output.mkdir(parents=True, exist_ok=True)
    (output / MARK).touch()
    for name in ("scenes", "data", "model"):
        shutil.rmtree(output / name, ignore_errors=True)


@contextmanager
def _step(echo: Callable[[str], object], what: str) -> Iterator[None]:
    echo(f"{what} …")
    start = time.monotonic()
    yield
    echo(f"  done in {time.monotonic() - start:.0f} s")


@torch.no_grad()
def _population_scores(model: PamelaForPersonalizedScoring, pictures: Pictures) -> np.ndarray:
    return model(**pictures.embeds).population_scores.double().numpy()


def _print_ranking(name: str, ranking: Ranking, new: Pictures, echo: Callable[[str], object]) -> None:
    echo(f"\n{name}: best of {len(new.scenes)} new scenes, after {len(ranking.ratings)} ratings")
    for row in np.argsort(-ranking.mean, kind="stable")[:5]:
        echo(f"  {ranking.mean[row]:.2f} ± {ranking.std[row]:.2f}  {new.scenes[row].caption}")
    echo(f"  {_agreement(ranking)}")


def _agreement(ranking: Ranking) -> str:
    return (
        f"Spearman correlation with the person's true opinion: {ranking.srocc:+.2f}; "
        f"of the population score: {ranking.population_srocc:+.2f}."
    )


def _sections(
    rankings: Sequence[Ranking], rated: Pictures, new: Pictures, population: np.ndarray
) -> Iterator[Section]:
    yield Section(
        "What this is",
        f"{SIMULATED}\nA model learned from simulated people how tastes differ. Two new simulated people, A and B, then rated the "
        f"same {len(rated.scenes)} scenes; B likes what A dislikes. From these ratings alone the model ranks "
        f"{len(new.scenes)} scenes that it and they never saw. Scores are on 0 to 1 of the rating scale; ± is how unsure the "
        "model is of a score.",
        [],
    )
    for name, ranking in zip("AB", rankings, strict=True):
        yield Section(
            f"What person {name} rated (simulated)",
            f"{len(ranking.ratings)} ratings from 1 to 5, the highest first. These are all that is known of {name}.",
            [
                Card(rated.images[row], rated.scenes[row].caption, badge=f"rated {ranking.ratings[row]:.1f}")
                for row in np.argsort(-ranking.ratings, kind="stable")
            ],
        )
    places = np.argsort(np.argsort(-population, kind="stable")) + 1
    for name, ranking in zip("AB", rankings, strict=True):
        yield Section(
            f"New scenes for person {name}, best first",
            f"{_agreement(ranking)} In the corner: a scene's place for the population.",
            [
                Card(
                    new.images[row],
                    new.scenes[row].caption,
                    float(ranking.mean[row]),
                    float(ranking.std[row]),
                    badge=f"population: #{places[row]}",
                )
                for row in np.argsort(-ranking.mean, kind="stable")
            ],
        )
    yield Section(
        "The same scenes for the population, best first",
        "Scores for nobody in particular: what the simulated training people like on average.",
        [
            Card(new.images[row], new.scenes[row].caption, float(population[row]))
            for row in np.argsort(-population, kind="stable")
        ],
    )
