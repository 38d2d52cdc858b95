"""
What a few ratings teach, as one page: two simulated people of opposite taste on generated pictures, or a person on their own.

The model is a checkpoint, so nothing is trained. That pictures are generated and people simulated is said wherever they are shown.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from .data.files import DataError
from .data.pictures import embed_pictures
from .data.scenes import RATING_SCALE, SimulatedRater, sample_scenes
from .evaluation.metrics import user_spearman
from .modeling_pamela import PamelaForPersonalizedScoring
from .processing_pamela import PamelaProcessor
from .taste.onboarding import onboarding_order
from .taste.profile import TasteProfile


__all__ = ["TASTE", "Demo", "Gallery", "Record", "demo_of_one", "demo_of_two", "learn", "ranks"]

SIZE = (384, 288)
# A taste that shows in a picture and that a network trained on photographs can see: made by hand and brush, or by ruler and grid. It was
# picked among about 20 such rules for what ratings teach on average over seeds, as the page says.
TASTE = {
    "style": {
        **dict.fromkeys(("photograph", "watercolour", "oil painting"), 1.2),
        **dict.fromkeys(("poster", "pixel art", "low poly"), -1.2),
    }
}
TASTE_WORDS = "photographs, watercolours and oil paintings", "posters, pixel art and low-poly renderings"


@dataclass(frozen=True)
class Gallery:
    """
    N pictures.

    Attributes:
        names (`list[str]`): File names or captions, for people to read. The model does not see them.
        pictures (list of `PIL.Image.Image` or `Path`): How they look.
        image_embeds (`torch.Tensor` of shape `(N, D)`): How the model sees them.
    """

    names: list[str]
    pictures: Sequence[Image.Image | Path]
    image_embeds: Tensor


@dataclass(frozen=True)
class Record:
    """
    One person, rating by rating. All scores are in points of the person's own rating scale.

    Attributes:
        name (`str`): What the person is called.
        taste (`str`): What is known of their taste; may be empty.
        profile ([`TasteProfile`]): After all k ratings.
        rated (`list[int]`): Rows of the gallery that were rated, in order.
        unrated (`list[int]`): All other rows, M of them.
        ratings (`np.ndarray` of shape `(k,)`): In points.
        mean, std (`np.ndarray` of shape `(k + 1, N)`): Scores after 0..k ratings, the first for nobody in particular, and how
            unsure the model was of them.
        truth (`np.ndarray` of shape `(N,)`, *optional*): True opinions, which only a simulation knows.
    """

    name: str
    taste: str
    profile: TasteProfile
    rated: list[int]
    unrated: list[int]
    ratings: np.ndarray
    mean: np.ndarray
    std: np.ndarray
    truth: np.ndarray | None = None

    @property
    def best_first(self) -> list[int]:
        """The unrated rows, the highest score first."""
        return [self.unrated[place] for place in np.argsort(-self.mean[-1, self.unrated], kind="stable")]

    @property
    def taught(self) -> np.ndarray:
        """`(k,)`: by how much each rating moved the unrated pictures' scores, on average, in points."""
        return np.abs(np.diff(self.mean[:, self.unrated], axis=0)).mean(1)

    @property
    def guesses(self) -> np.ndarray:
        """`(k,)`: what the model expected of each rated picture before it heard the rating."""
        return self.mean[np.arange(len(self.rated)), self.rated]

    @property
    def srocc(self) -> np.ndarray:
        """`(k + 1,)`: Spearman correlation of scores and true opinions over the unrated pictures, after 0..k ratings."""
        assert self.truth is not None
        steps, pictures = len(self.mean), len(self.unrated)
        truth = np.tile(self.truth[self.unrated], steps)
        return user_spearman(self.mean[:, self.unrated].ravel(), truth, np.repeat(np.arange(steps), pictures)).values


@dataclass(frozen=True)
class Demo:
    """
    What a page shows.

    Attributes:
        gallery ([`Gallery`]): All pictures.
        people (sequence of [`Record`]): One or two, of whom the same pictures are unrated.
        simulated (`bool`): Whether pictures and people are made up.
    """

    gallery: Gallery
    people: Sequence[Record]
    simulated: bool


def ranks(scores: np.ndarray) -> np.ndarray:
    """`(N,)`: the place of each, 1 for the highest."""
    return np.argsort(np.argsort(-scores, kind="stable"), kind="stable") + 1


def learn(
    model: PamelaForPersonalizedScoring,
    gallery: Gallery,
    rated: Sequence[int],
    ratings: Sequence[float] | np.ndarray,
    scale: tuple[float, float],
    name: str,
    taste: str = "",
    truth: np.ndarray | None = None,
) -> Record:
    """
    Learn a person one rating after the other.

    Args:
        model ([`PamelaForPersonalizedScoring`]): A posterior model.
        gallery ([`Gallery`]): N pictures.
        rated (sequence of `int`): Rows that were rated, in order; one may come twice.
        ratings (array of shape `(k,)`): The ratings.
        scale (`tuple[float, float]`): Lowest and highest possible rating.
        name, taste, truth: See [`Record`].

    Raises:
        DataError: Every picture was rated.
        ProfileError: A rating is outside of the scale.
    """
    unrated = sorted(set(range(len(gallery.names))) - set(rated))
    if not unrated:
        raise DataError(
            f"All {len(gallery.names)} pictures were rated, so there is nothing left to rank. Add pictures to the folder."
        )
    profile = TasteProfile.prior(model, scale=scale)
    scores = [profile.score(model, image_embeds=gallery.image_embeds)]
    for row, rating in zip(rated, ratings, strict=True):
        profile = profile.update(
            model,
            torch.tensor([rating]),
            image_ids=[gallery.names[row]],
            image_embeds=gallery.image_embeds[[row]],
        )
        scores.append(profile.score(model, image_embeds=gallery.image_embeds))
    low, high = scale
    mean = low + (high - low) * np.stack([step.mean.numpy() for step in scores])
    std = (high - low) * np.stack([step.std.numpy() for step in scores])
    return Record(name, taste, profile, list(rated), unrated, np.asarray(ratings, float), mean, std, truth)


def demo_of_two(
    model: PamelaForPersonalizedScoring,
    processor: PamelaProcessor,
    seed: int = 0,
    num_pictures: int = 60,
    num_rated: int = 15,
    echo: Callable[[str], object] = print,
) -> Demo:
    """
    Two simulated people of opposite taste rate the same generated pictures, those that are worth asking about.

    Args:
        model ([`PamelaForPersonalizedScoring`]), processor ([`PamelaProcessor`]): A posterior checkpoint.
        seed (`int`): Of the pictures and of the noise in the ratings.
        num_pictures, num_rated (`int`): How many there are, and how many of them each person rates.
        echo (callable): Prints a line of progress.
    """
    echo(f"Painting {num_pictures} scenes; {model.config.image_encoder} looks at them …")
    scenes = sample_scenes(num_pictures, seed)
    images = [scene.render(SIZE) for scene in scenes]
    embeds = torch.from_numpy(embed_pictures(images, model.encoder("image"), processor))
    gallery = Gallery([scene.caption for scene in scenes], images, embeds)
    rated = onboarding_order(model, model.get_taste_features(image_embeds=embeds), num_rated).tolist()
    echo(f"Two simulated people rate the {num_rated} pictures that are worth asking about …")
    liked, disliked = TASTE_WORDS
    fan = SimulatedRater.preferring("sim-A", TASTE)
    rng = np.random.default_rng([seed, 3])
    people = []
    for name, rater, good, bad in (("A", fan, liked, disliked), ("B", fan.opposite(), disliked, liked)):
        truth = np.array([rater.utility(scene) for scene in scenes])
        ratings = rater.rate([scenes[row] for row in rated], rng)
        taste = f"Likes {good}; dislikes {bad}. Nothing else matters."
        people.append(learn(model, gallery, rated, ratings, RATING_SCALE, f"Person {name}", taste, truth))
    return Demo(gallery, people, simulated=True)


def demo_of_one(
    model: PamelaForPersonalizedScoring,
    gallery: Gallery,
    names: Sequence[str],
    ratings: Sequence[float],
    scale: tuple[float, float],
) -> Demo:
    """
    A person's own pictures and ratings.

    Args:
        model ([`PamelaForPersonalizedScoring`]): A posterior model.
        gallery ([`Gallery`]): The pictures.
        names (sequence of `str`): Of the rated pictures, in the order of the ratings; among `gallery.names`.
        ratings (sequence of `float`): The ratings.
        scale (`tuple[float, float]`): Lowest and highest possible rating.

    Raises:
        DataError: Every picture was rated.
    """
    place = {name: row for row, name in enumerate(gallery.names)}
    person = learn(model, gallery, [place[name] for name in names], ratings, scale, "You")
    return Demo(gallery, [person], simulated=False)
