"""
What a model of the closed form gives away of a person whose ratings it was trained on. Part of `benchmarks/checkpoint.py`.

- Influence: the model is trained again without one person, some people one after the other; how far do scores move?
- Membership: somebody who knows a person's ratings asks whether the person was a training person, by how likely the model finds
  these ratings. Training people of held-out runs against people held out, who rated the same pictures; the area under the curve is .5
  where nothing can be told.
"""

import copy
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.stats import mannwhitneyu, spearmanr

from modeling_pamela import PamelaForPersonalizedScoring
from modeling_pamela.data.embed import FolderEmbeddings, read_embeddings
from modeling_pamela.data.folder import DataFolder, Ratings
from modeling_pamela.training.closed_form import fit_closed_form
from modeling_pamela.training.trainer import make_model


def without(ratings: Ratings, user: int) -> Ratings:
    """All ratings but one person's."""
    keep = ratings.user != user
    columns = ("rating_id", "user", "image", "rating", "rating_norm")
    return replace(ratings, **{name: getattr(ratings, name)[keep] for name in columns})


@torch.no_grad()
def scores(model: PamelaForPersonalizedScoring, embeddings: FolderEmbeddings) -> np.ndarray:
    """Population scores of all pictures of a folder, without captions."""
    return model.eval()(image_embeds=embeddings.image).population_scores.double().numpy()


def influence(folder: DataFolder, checkpoint: Path, number: int) -> list[dict[str, float]]:
    """How far the population scores of the training pictures move when one person is left out."""
    shipped = PamelaForPersonalizedScoring.from_pretrained(checkpoint)
    ratings, embeddings = folder.ratings(*folder.splits), read_embeddings(folder, shipped.config)

    def fit(part: Ratings) -> np.ndarray:
        config = copy.deepcopy(shipped.config)
        model = make_model(config, part, embeddings, 0)
        fit_closed_form(model, part, embeddings, 0)
        return scores(model, embeddings)

    everybody = fit(ratings)
    people = np.unique(ratings.user)
    rows = []
    for user in np.random.default_rng(0).choice(people, number, replace=False):
        moved = fit(without(ratings, int(user))) - everybody
        own = ratings.user == user
        # What the person gave more than the crowd, and what the model would lose with them.
        wish = ratings.rating_norm[own] - everybody[ratings.image[own]]
        rows.append(
            {
                "root mean square": float(np.sqrt((moved**2).mean())),
                "most": float(np.abs(moved).max()),
                "rank correlation": float(spearmanr(everybody, everybody + moved).statistic),
                "correlation with the person's wishes": float(-np.corrcoef(moved[ratings.image[own]], wish)[0, 1]),
            }
        )
        print(rows[-1], flush=True)
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


def measure(work: Path, shipped: Path, held_out: Sequence[str], left_out: int = 10) -> dict[str, Any]:
    """
    Both, as numbers of the card.

    Args:
        work (`Path`): Work folder of `benchmarks/checkpoint.py`.
        shipped (`Path`): The checkpoint, trained on everybody.
        held_out (sequence of `str`): Names of the held-out models in the work folder, in the order of the splits.
        left_out (`int`): People to train without.
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
