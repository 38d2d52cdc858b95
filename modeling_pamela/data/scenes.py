"""
Generated scenes, simulated people whose true taste is known, and a data set of their ratings.

A person's true opinion of a scene is linear in its attributes and in a few pairs of them:

    utility(scene) = 3 + bias + scale * sum over blocks of weights[block, value of the scene]
    weights        = common taste + loadings . traits + a little of the person's own

The common taste and the loadings are the same for everyone ever simulated; 4 traits a person say how people differ, as the
learned directions of a taste model do. A rating adds noise and is cut to the scale from 1 to 5 of a continuous slider.
"""

import csv
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from tqdm.auto import tqdm

from .files import DataError, atomic_folder
from .painting import ATTRIBUTES, Scene, sample_scenes


__all__ = [
    "ATTRIBUTES",
    "RATING_SCALE",
    "Scene",
    "SimulatedRater",
    "sample_raters",
    "sample_scenes",
    "write_scene_dataset",
]

RATING_SCALE = (1.0, 5.0)
_TRAITS = 4
# Standard deviation of the utility over scenes, in points of the scale, that each part of the taste brings about.
_COMMON, _SHARED, _OWN = 0.5, 0.6, 0.2
_BLOCKS: dict[tuple[str, ...], float] = {  # share of the variance
    ("subject",): 0.28,
    ("style",): 0.22,
    ("palette",): 0.16,
    ("light",): 0.12,
    ("composition",): 0.06,
    ("viewpoint",): 0.06,
    ("light", "palette"): 0.05,
    ("subject", "style"): 0.05,
}


def _values(block: tuple[str, ...]) -> int:
    return int(np.prod([len(ATTRIBUTES[name]) for name in block]))


def _weights(rng: np.random.Generator, std: float) -> np.ndarray:
    """Weights of all blocks in one row: mean 0 in each, so that over all scenes their sum has the given deviation."""
    parts = []
    for block, share in _BLOCKS.items():
        part = rng.standard_normal(_values(block))
        part -= part.mean()
        parts.append(part * std * np.sqrt(share) / part.std())
    return np.concatenate(parts)


@lru_cache(maxsize=1)
def _population() -> tuple[np.ndarray, np.ndarray]:
    """Common taste of shape `(weights,)` and loadings of shape `(traits, weights)`."""
    rng = np.random.default_rng(2604)
    return _weights(rng, _COMMON), np.stack([_weights(rng, _SHARED / np.sqrt(_TRAITS)) for _ in range(_TRAITS)])


def _columns(scene: Scene) -> list[int]:
    """Where the scene's weights stand."""
    columns, offset = [], 0
    for block in _BLOCKS:
        index = 0
        for name in block:
            index = index * len(ATTRIBUTES[name]) + list(ATTRIBUTES[name]).index(getattr(scene, name))
        columns.append(offset + index)
        offset += _values(block)
    return columns


@dataclass(frozen=True, eq=False)
class SimulatedRater:
    """
    A simulated person.

    Attributes:
        user_id (`str`): Starts with `sim-`.
        weights (`np.ndarray`): Taste, of shape `(number of weights,)`, in points of the scale.
        bias (`float`): How much kinder than others, in points.
        scale (`float`): How much stronger the opinions are than the taste; about 1.
        noise (`float`): Standard deviation of a rating around the true opinion, in points.
    """

    user_id: str
    weights: np.ndarray = field(repr=False)
    bias: float
    scale: float
    noise: float

    @classmethod
    def preferring(
        cls, user_id: str, points: Mapping[str, Mapping[str, float]], noise: float = 0.3
    ) -> "SimulatedRater":
        """
        A person of a given taste.

        Args:
            user_id (`str`): Name.
            points (`Mapping`): Attribute to value to what it is worth, in points of the scale; 0 where a value is not named.
            noise (`float`): Standard deviation of a rating around the true opinion, in points.

        Example:

        ```python
        >>> fan = SimulatedRater.preferring("fan", {"light": {"fog": 1.5, "noon": -1.0}})
        >>> [fan.utility(Scene.from_prompt(words, seed=0)) for words in ("fog", "noon", "night")]
        [4.5, 2.0, 3.0]

        ```
        """
        weights = []
        for block in _BLOCKS:
            worth = points.get(block[0], {}) if len(block) == 1 else {}
            values = list(ATTRIBUTES[block[0]]) if len(block) == 1 else range(_values(block))
            weights.append([worth.get(str(value), 0.0) for value in values])
        return cls(user_id, np.concatenate(weights), bias=0.0, scale=1.0, noise=noise)

    def utility(self, scene: Scene) -> float:
        """True opinion in points of the scale from 1 to 5, which it may leave: no noise, no ties by cutting."""
        return 3 + self.bias + self.scale * float(self.weights[_columns(scene)].sum())

    def rate(self, scenes: Sequence[Scene], rng: np.random.Generator) -> np.ndarray:
        """
        Ratings on the slider, rounded to 0.01.

        Args:
            scenes (sequence of `Scene`): What is rated.
            rng (`np.random.Generator`): Of the noise.

        Returns:
            `np.ndarray`: float64 of shape `(len(scenes),)`, from 1 to 5.
        """
        opinions = np.array([self.utility(scene) for scene in scenes], float)
        return np.clip(opinions + self.noise * rng.standard_normal(len(opinions)), *RATING_SCALE).round(2)

    def opposite(self) -> "SimulatedRater":
        """The person who likes what this one dislikes: every pair of scenes in the opposite order, same bias and noise."""
        return replace(self, user_id=f"{self.user_id}-opposite", weights=-self.weights)


def sample_raters(n: int, seed: int) -> list[SimulatedRater]:
    """
    Draws people of one population: whatever the seed, they share the common taste and the ways in which people differ.

    Args:
        n (`int`): How many.
        seed (`int`): Of the draw. The first people of a seed do not depend on `n`.

    Returns:
        `list[SimulatedRater]`: Of length n, called `sim-<seed>-0000` and so on.

    Example:

    ```python
    >>> rater = sample_raters(1, seed=7)[0]
    >>> rater.user_id
    'sim-7-0000'
    >>> rater.opposite().user_id
    'sim-7-0000-opposite'

    ```
    """
    common, loadings = _population()
    rng = np.random.default_rng([seed, 1])
    raters = []
    for index in range(n):
        traits = rng.standard_normal(_TRAITS)
        weights = common + traits @ loadings + _weights(rng, _OWN)
        bias, scale, noise = rng.normal(0, 0.3), np.exp(rng.normal(0, 0.2)), rng.uniform(0.25, 0.5)
        raters.append(SimulatedRater(f"sim-{seed}-{index:04d}", weights, float(bias), float(scale), float(noise)))
    return raters


def write_scene_dataset(
    out: str | Path,
    num_scenes: int,
    num_raters: int,
    ratings_per_rater: int,
    seed: int,
    *,
    size: tuple[int, int] = (384, 288),
) -> Path:
    """
    Writes scenes and simulated ratings as tidy tables: `users.csv`, `images.csv`, `ratings.csv`, `images/`, `README.md`.

    `pamela data import tidy OUT DATASET --scale 1 5` reads it. Every picture is rated about equally often. That the ratings
    are simulated stands in the card, in the names of the people and in a column `simulated` of every table; `utility` in the
    ratings is the true opinion.

    Args:
        out (`str` or `Path`): Folder to write; must not exist or be empty. It appears only once it is whole.
        num_scenes, num_raters (`int`): How many pictures and people.
        ratings_per_rater (`int`): Pictures that each person rates, at most `num_scenes`.
        seed (`int`): Of everything. The same arguments give the same bytes.
        size (`tuple[int, int]`): Width and height of the pictures in pixels.

    Returns:
        `Path`: The folder.

    Raises:
        DataError: The folder holds something, or a person should rate more pictures than there are.
    """
    out = Path(out)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise DataError(f"{out} is not an empty folder. Choose another one.")
    if not 0 < ratings_per_rater <= num_scenes:
        raise DataError(
            f"Each person should rate {ratings_per_rater} of {num_scenes} pictures; expected 1 to {num_scenes}."
        )
    scenes, raters = sample_scenes(num_scenes, seed), sample_raters(num_raters, seed)
    images = [
        {"image_id": f"scene-{seed}-{i:05d}", "file": f"images/scene-{seed}-{i:05d}.jpg", "prompt": scene.caption}
        | scene.attributes
        | {"seed": scene.seed, "simulated": "true"}
        for i, scene in enumerate(scenes)
    ]
    with atomic_folder(out) as folder:
        (folder / "images").mkdir()

        def save(row: int) -> None:
            scenes[row].render(size).save(folder / str(images[row]["file"]), quality=92)

        with ThreadPoolExecutor(2) as pool:  # painting mostly runs outside the interpreter's lock
            list(tqdm(pool.map(save, range(num_scenes)), "painting scenes", num_scenes, unit="picture", delay=2))
        _write_csv(folder / "images.csv", images)
        _write_csv(folder / "users.csv", [{"user_id": rater.user_id, "simulated": "true"} for rater in raters])
        _write_csv(folder / "ratings.csv", _ratings(raters, scenes, images, ratings_per_rater, seed))
        low, high = RATING_SCALE
        (folder / "README.md").write_text(
            _CARD.format(low=low, high=high, scenes=num_scenes, raters=num_raters, each=ratings_per_rater), "utf-8"
        )
    return out


def _ratings(
    raters: Sequence[SimulatedRater],
    scenes: Sequence[Scene],
    images: Sequence[dict[str, Any]],
    each: int,
    seed: int,
) -> list[dict[str, Any]]:
    rng = np.random.default_rng([seed, 2])
    count, rows = np.zeros(len(scenes)), []
    for rater in raters:
        # The pictures rated least so far, in random order.
        chosen = rng.permutation(np.lexsort([rng.random(len(scenes)), count])[:each])
        count[chosen] += 1
        shown = [scenes[i] for i in chosen]
        for i, scene, rating in zip(chosen, shown, rater.rate(shown, rng), strict=True):
            rows.append(
                {"user_id": rater.user_id, "image_id": images[i]["image_id"], "rating": rating}
                | {"utility": round(rater.utility(scene), 4), "simulated": "true"}
            )
    return rows


def _write_csv(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    with open(path, "w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


_CARD = """\
---
pretty_name: Simulated ratings of generated scenes
tags:
- simulated
- synthetic
pamela:
  rating_scale: [{low}, {high}]
  anchors: [bad, poor, fair, good, excellent]
  simulated: true
---

# Simulated ratings of generated scenes

**Simulated: no person gave these ratings.** {raters} simulated people each rated {each} of {scenes} generated pictures on a
continuous slider from {low:g} to {high:g}. Their taste is a known function of what the pictures show (`utility` in
`ratings.csv` is the opinion without noise), which makes this data fit for demonstrations and tests of software, and for
nothing that is to be said about people.
"""
