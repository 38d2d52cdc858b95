"""
Far from home: people whose pictures are unlike anything in training. One category of OASIS photographs is left out.

    PAMELA_OASIS_DIR=/path/to/oasis python benchmarks/far_from_home.py [--seeds 0 1 2 3 4] [--work DIR] [--out benchmarks/results]

On each of the five splits of `oasis.py` and for each category (Animal, Object, Person, Scene) the default recipe is trained on the
training people's ratings of the other three. New people then rate k pictures of the category left out, and the rest of their
ratings in it are predicted. Prompts are given. The ridges' kernel and penalty are chosen on validation people, one for each k; test
people are only read here. Trained models stay in the work folder and are not trained again.
"""

import argparse
import itertools
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from oasis import prepare
from torch import Tensor

from modeling_pamela import PamelaForPersonalizedScoring
from modeling_pamela.data.embed import FolderEmbeddings, read_embeddings
from modeling_pamela.data.folder import DataFolder, Ratings
from modeling_pamela.evaluation.baselines import PENALTIES
from modeling_pamela.evaluation.bootstrap import bootstrap_mean, paired_difference
from modeling_pamela.evaluation.methods import ridge_features
from modeling_pamela.evaluation.metrics import user_spearman
from modeling_pamela.training.closed_form import fit_closed_form
from modeling_pamela.training.recipes import RECIPES
from modeling_pamela.training.trainer import make_model


CATEGORIES = ("Animal", "Object", "Person", "Scene")
CONTEXTS = (5, 10, 15)
DRAWS = {"val": 5, "test": 10}
MIN_QUERIES = 5
BANDWIDTHS = (None, 0.35, 0.7, 1.4)
# What is best lies well inside of these.
RIDGE_PENALTIES = PENALTIES[3:10]
NOVELTY_BINS = 5

OURS, LEARNED, FREE, POPULATION = "learned + free (the model)", "learned", "population + free", "population"
RIDGE, PLAIN_RIDGE = "population + ridge", "ridge"


class Gaussian(NamedTuple):
    """A method as a Gaussian process over N pictures: mean `(N,)`, covariance `(N, N)`, variance of a rating."""

    mean: Tensor
    covariance: Tensor
    noise_variance: float


@dataclass(frozen=True)
class Draws:
    """
    People in random draws, padded: `user` `(D,)`, rated `picture` `(D, n)` in random order, `rating` `(D, n)`, `mask` `(D, n)`. The first
    ratings are the context; all but the longest context's are predicted.
    """

    user: np.ndarray
    picture: Tensor
    rating: Tensor
    mask: Tensor


@dataclass(frozen=True)
class Cell:
    """One split with one category left out: validation and test draws, all methods but the ridges, and what these need."""

    val: Draws
    test: Draws
    methods: dict[str, Gaussian]
    ridge_kernels: dict[float | None, Tensor]
    novelty: np.ndarray


def select(ratings: Ratings, mask: np.ndarray) -> Ratings:
    columns = (ratings.rating_id, ratings.user, ratings.image, ratings.rating, ratings.rating_norm)
    return Ratings(*(column[mask] for column in columns))


def draw_people(ratings: Ratings, number: int, stream: Sequence[int]) -> Draws:
    """Every person with enough ratings, in so many random orders."""
    users, counts = np.unique(ratings.user, return_counts=True)
    users = np.repeat(users[counts >= max(CONTEXTS) + MIN_QUERIES], number)
    picture = torch.zeros(len(users), int(counts.max()), dtype=torch.long)
    rating = torch.zeros(picture.shape, dtype=torch.float64)
    mask = torch.zeros(picture.shape, dtype=torch.bool)
    for row, user in enumerate(users):
        rows = np.random.default_rng([*stream, row]).permutation(np.flatnonzero(ratings.user == user))
        picture[row, : len(rows)] = torch.from_numpy(ratings.image[rows])
        rating[row, : len(rows)] = torch.from_numpy(ratings.rating_norm[rows])
        mask[row, : len(rows)] = True
    return Draws(users, picture, rating, mask)


def predict(method: Gaussian, draws: Draws, k: int) -> tuple[Tensor, Tensor]:
    """Mean and variance `(D, q)` of the scores of all queries given the first k ratings."""
    context, query = draws.picture[:, :k], draws.picture[:, max(CONTEXTS) :]
    observed = method.covariance[context[:, :, None], context[:, None, :]]
    observed = observed + method.noise_variance * torch.eye(k, dtype=torch.float64)
    cross = method.covariance[query[:, :, None], context[:, None, :]]
    gain = torch.linalg.solve(observed, cross.mT).mT
    residual = draws.rating[:, :k] - method.mean[context]
    mean = method.mean[query] + (gain @ residual.unsqueeze(-1)).squeeze(-1)
    return mean, method.covariance.diagonal()[query] - (gain * cross).sum(-1)


def user_srocc(method: Gaussian, draws: Draws, k: int) -> tuple[np.ndarray, np.ndarray]:
    """People and their SROCC, mean of their draws."""
    mean, _ = predict(method, draws, k)
    mask = draws.mask[:, max(CONTEXTS) :]
    case = torch.arange(len(mask))[:, None].expand_as(mask)
    found = user_spearman(mean[mask].numpy(), draws.rating[:, max(CONTEXTS) :][mask].numpy(), case[mask].numpy())
    users, place = np.unique(draws.user[found.user_ids], return_inverse=True)
    return users, np.bincount(place, found.values) / np.bincount(place)


@torch.no_grad()
def methods_of(
    model: PamelaForPersonalizedScoring, embeddings: FolderEmbeddings
) -> tuple[dict[str, Gaussian], Tensor]:
    """The model, and what it is made of, each over all pictures; and the pictures' novelty."""
    given = {"image_embeds": embeddings.image, "text_embeds": embeddings.text, "metadata_embeds": embeddings.metadata}
    output = model(**given)
    mean, features, noise = output.population_scores.double(), output.taste_features.double(), model.noise_variance
    taste = model.posterior_taste
    variance = dict(zip(taste.parts, (2 * taste.log_prior_std.double()).exp(), strict=True))
    free = features[:, :2] @ features[:, :2].T
    for name in taste.free:
        # The kernel itself, whole, in place of random features of what the learned directions do not cover.
        projected = model.pamela.projections[name](given[f"{name}_embeds"])
        free += variance[f"free_{name}"] * model.pamela.kernels[name].kernel(projected, projected).double()
    learned = features[:, : taste.num_named]
    return {
        OURS: Gaussian(mean, features @ features.T, noise),
        LEARNED: Gaussian(mean, learned @ learned.T, noise),
        FREE: Gaussian(mean, free, noise),
        POPULATION: Gaussian(mean, torch.zeros_like(free), noise),
    }, output.novelty


def make_cell(folder: DataFolder, work: Path, seed: int, number: int) -> Cell:
    """Train without one category, if that is not done yet, and collect the methods."""
    category, directory = CATEGORIES[number], work / f"far-{seed}-{CATEGORIES[number]}"
    of_image = np.array(folder.images["category"].to_pylist())
    config = RECIPES["posterior"].config()
    embeddings = read_embeddings(folder, config)
    if not (directory / "model.safetensors").exists():
        train = folder.ratings("train")
        train = select(train, of_image[train.image] != category)
        model = make_model(config, train, embeddings, seed)
        fit_closed_form(model, train, embeddings, seed)
        model.save_pretrained(directory)
    model = PamelaForPersonalizedScoring.from_pretrained(directory).eval()
    draws = []
    for part_number, part in enumerate(("val", "test")):
        ratings = folder.ratings(f"{part}_unseen", f"{part}_context")
        ratings = select(ratings, of_image[ratings.image] == category)
        draws.append(draw_people(ratings, DRAWS[part], [seed, number, part_number]))
    methods, novelty = methods_of(model, embeddings)
    features = torch.from_numpy(ridge_features(model, embeddings))
    squared = torch.cdist(features, features, compute_mode="donot_use_mm_for_euclid_dist").square()
    kernels = {
        bandwidth: 1 + (features @ features.T if bandwidth is None else (-squared / (2 * bandwidth**2)).exp())
        for bandwidth in BANDWIDTHS
    }
    # The ridge without the population starts from the mean rating.
    methods[PLAIN_RIDGE] = methods[POPULATION]._replace(
        mean=torch.full_like(methods[POPULATION].mean, model.head.bias.item())
    )
    methods[RIDGE] = methods[POPULATION]
    return Cell(draws[0], draws[1], methods, kernels, novelty.double().numpy())


def tune_ridge(cells: Sequence[Cell], name: str, k: int) -> tuple[float | None, float]:
    """Bandwidth and penalty with the best mean SROCC of validation people over all cells."""

    def validation(setting: tuple[float | None, float]) -> float:
        bandwidth, penalty = setting
        found = [
            user_srocc(Gaussian(cell.methods[name].mean, cell.ridge_kernels[bandwidth], penalty), cell.val, k)[1]
            for cell in cells
        ]
        return float(np.mean([values.mean() for values in found]))

    return max(((bandwidth, penalty) for bandwidth in BANDWIDTHS for penalty in RIDGE_PENALTIES), key=validation)


def accuracy(cells: Sequence[Cell], part: str) -> list[str]:
    """Table of user SROCC, people of all cells together, and of what the model gains on each method."""
    lines = [
        "| method | k | user SROCC [95 %] | Animal | Object | Person | Scene | the model's gain [95 %] |",
        "|" + "---|" * 8,
    ]
    for k in CONTEXTS:
        values: dict[str, list[np.ndarray]] = {}
        for name in (OURS, LEARNED, FREE, RIDGE, PLAIN_RIDGE, POPULATION):
            setting = tune_ridge(cells, name, k) if name in (RIDGE, PLAIN_RIDGE) else None
            values[name], people = [], []
            for cell in cells:
                method = cell.methods[name]
                if setting is not None:
                    method = Gaussian(method.mean, cell.ridge_kernels[setting[0]], setting[1])
                users, srocc = user_srocc(method, cell.test if part == "test" else cell.val, k)
                values[name].append(srocc)
                people.append(users)
            flat, ids = np.concatenate(values[name]), np.concatenate(people)
            interval = bootstrap_mean(flat, ids)
            gain = ""
            if name != OURS:
                difference = paired_difference(np.concatenate(values[OURS]), flat, ids)
                gain = f"{difference.mean:+.4f} [{difference.low:+.4f}, {difference.high:+.4f}]"
            by_category = [
                np.mean([found.mean() for found in values[name][number :: len(CATEGORIES)]])
                for number in range(len(CATEGORIES))
            ]
            kernel = (
                ""
                if setting is None
                else f" ({'linear' if setting[0] is None else f'RBF {setting[0]}'}, {setting[1]:.3g})"
            )
            lines.append(
                f"| {name}{kernel} | {k} | {interval.mean:.4f} [{interval.low:.4f}, {interval.high:.4f}] | "
                + " | ".join(f"{value:.3f}" for value in by_category)
                + f" | {gain} |"
            )
    return lines


def honesty(cells: Sequence[Cell], part: str) -> list[str]:
    """Table of the model's standardised errors by novelty: 1 and .90 are what an honest standard deviation gives."""
    lines = [
        "| k | novelty | ratings | std | mean squared standardised error | inside of the 90 % interval | with learned directions alone |",
        "|" + "---|" * 7,
    ]
    for k in (0, *CONTEXTS):
        columns: dict[str, list[np.ndarray]] = {"novelty": [], "std": [], OURS: [], LEARNED: []}
        for cell in cells:
            draws = cell.test if part == "test" else cell.val
            query, mask = draws.picture[:, max(CONTEXTS) :], draws.mask[:, max(CONTEXTS) :]
            columns["novelty"].append(cell.novelty[query[mask].numpy()])
            for name in (OURS, LEARNED):
                mean, variance = predict(cell.methods[name], draws, k)
                error = (draws.rating[:, max(CONTEXTS) :] - mean) / (
                    variance + cell.methods[name].noise_variance
                ).sqrt()
                columns[name].append(error[mask].numpy())
                if name == OURS:
                    columns["std"].append(variance.sqrt()[mask].numpy())
        flat = {name: np.concatenate(arrays) for name, arrays in columns.items()}
        for low, high in itertools.pairwise(np.quantile(flat["novelty"], np.linspace(0, 1, NOVELTY_BINS + 1))):
            inside = (flat["novelty"] >= low) & (flat["novelty"] <= high)
            error = flat[OURS][inside]
            lines.append(
                f"| {k} | {low:.3f} to {high:.3f} | {inside.sum():,} | {flat['std'][inside].mean():.3f} | {np.square(error).mean():.2f} | "
                f"{(np.abs(error) < 1.645).mean():.3f} | {np.square(flat[LEARNED][inside]).mean():.2f} |"
            )
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--work", type=Path, default=Path("benchmarks/work"))
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    parser.add_argument("--part", choices=("test", "val"), default="test")
    arguments = parser.parse_args()
    source = os.environ.get("PAMELA_OASIS_DIR")
    if not source:
        sys.exit("Set PAMELA_OASIS_DIR to the folder with users.csv, images.csv, ratings.csv and images/ of OASIS.")
    cells = []
    for seed in arguments.seeds:
        folder = prepare(Path(source), arguments.work, seed)
        for number in range(len(CATEGORIES)):
            cells.append(make_cell(folder, arguments.work, seed, number))
            print(f"split {seed} without {CATEGORIES[number]}: done", file=sys.stderr, flush=True)
    report = [
        f"# One category left out, {len(arguments.seeds)} splits, {arguments.part} people",
        "",
        *accuracy(cells, arguments.part),
    ]
    report += ["", "## Is the standard deviation honest?", "", *honesty(cells, arguments.part)]
    text = "\n".join(report) + "\n"
    if arguments.part == "test":
        arguments.out.mkdir(parents=True, exist_ok=True)
        (arguments.out / "far_from_home.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
