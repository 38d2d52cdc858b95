"""
What a model of the closed form gives away of a person whose ratings it was trained on. Part of `benchmarks/checkpoint.py`.

- Influence: the population score is solved again without one person, some people one after the other, prior variances kept; how far do
  scores move? (What differs between people is an average over them likewise, and is not looked at.)
- Membership: somebody who knows a person's ratings asks whether the person was a training person, by how likely the model finds
  these ratings. Training people of held-out runs against people held out, who rated the same pictures; the area under the curve is .5
  where nothing can be told.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.stats import mannwhitneyu, spearmanr
from torch import Tensor

from modeling_pamela import PamelaForPersonalizedScoring
from modeling_pamela.data.embed import read_embeddings
from modeling_pamela.data.folder import DataFolder
from modeling_pamela.training import closed_form


@torch.no_grad()
def influence(folder: DataFolder, checkpoint: Path, number: int) -> list[dict[str, float]]:
    """How far the population scores of the training pictures move, without captions, when one person is left out."""
    model = PamelaForPersonalizedScoring.from_pretrained(checkpoint).eval()
    ratings, embeddings = folder.ratings(*folder.splits), read_embeddings(folder, model.config)
    pictures, place = np.unique(ratings.image, return_inverse=True)
    inputs = {"image_embeds": embeddings.image[pictures], "text_embeds": embeddings.text[pictures]}
    features, blocks = model.pamela(**inputs).pooler_output.double(), closed_form._input_blocks(model)
    people = closed_form._pad(ratings, place)
    means, counts = closed_form._crowd_means(people, len(pictures))
    scales, noise = closed_form._fit_population_hyperparameters(features, blocks, means, counts)
    seen = features * scales
    seen[:, blocks["text"]] = 0.0

    def scores(part: closed_form._People) -> Tensor:
        found, given = closed_form._crowd_means(part, len(pictures))
        weights, bias = closed_form._solve_population(seen, found, noise * given.mean() / given)
        return bias + seen @ weights

    everybody, rows = scores(people), []
    for person in np.random.default_rng(0).choice(len(people.mask), number, replace=False):
        keep = torch.arange(len(people.mask)) != int(person)
        columns = (people.picture, people.rating, people.mask, people.data_set, people.weight)
        moved = scores(closed_form._People(*(column[keep] for column in columns))) - everybody
        own, rated = people.mask[person], people.picture[person]
        # What the person gave more than the model's crowd, and what the model loses with them.
        wish = people.rating[person][own] - everybody[rated[own]]
        rows.append(
            {
                "root mean square": float(moved.square().mean().sqrt()),
                "most": float(moved.abs().max()),
                "rank correlation": float(spearmanr(everybody, everybody + moved).statistic),
                "correlation with the person's wishes": float(-np.corrcoef(moved[rated[own]], wish)[0, 1]),
            }
        )
    return rows


@torch.no_grad()
def membership(folder: DataFolder, checkpoint: Path) -> tuple[np.ndarray, np.ndarray]:
    """Mean log likelihood of a rating, by person: of training people, and of people held out, who rated the same pictures."""
    model = PamelaForPersonalizedScoring.from_pretrained(checkpoint).eval()
    embeddings = read_embeddings(folder, model.config)
    features = model(image_embeds=embeddings.image, text_embeds=embeddings.text).taste_features.double()
    prior, noise = model.prior_taste()[0].double(), model.noise_variance
    seen = np.unique(folder.ratings("train").image)
    found = []
    for split in ("train", "test_context"):
        ratings, values = folder.ratings(split), []
        for user in np.unique(ratings.user):
            rows = (ratings.user == user) & np.isin(ratings.image, seen)
            phi = features[ratings.image[rows]]
            covariance = phi @ phi.T + noise * torch.eye(len(phi), dtype=torch.float64)
            given = torch.distributions.MultivariateNormal(phi @ prior, covariance)
            values.append(float(given.log_prob(torch.from_numpy(ratings.rating_norm[rows]))) / len(phi))
        found.append(np.array(values))
    return found[0], found[1]


def measure(work: Path, shipped: Path, held_out: Sequence[str], left_out: int = 100) -> dict[str, Any]:
    """
    Both, as numbers of the card.

    Args:
        work (`Path`): Work folder of `benchmarks/checkpoint.py`.
        shipped (`Path`): The checkpoint, trained on everybody.
        held_out (sequence of `str`): Names of the held-out models in the work folder, in the order of the splits.
        left_out (`int`): People to solve without.
    """
    areas = []
    for seed, name in enumerate(held_out):
        inside, outside = membership(DataFolder(work / f"split-{seed}"), work / name)
        areas.append(float(mannwhitneyu(inside, outside).statistic) / (len(inside) * len(outside)))
        print(f"membership, split {seed}: area under the curve {areas[-1]:.3f}", flush=True)
    rows = influence(DataFolder(work / "oasis"), shipped, left_out)
    summary = {
        name: {"mean": float(np.mean([row[name] for row in rows])), "most": max(row[name] for row in rows)}
        for name in rows[0]
    }
    return {"membership": areas, "left out": left_out, "influence": summary}
