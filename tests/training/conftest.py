"""Simulated raters whose tastes are known, without any picture file."""

from dataclasses import dataclass

import numpy as np
import pytest
import torch

from modeling_pamela import PamelaConfig
from modeling_pamela.data.embed import FolderEmbeddings
from modeling_pamela.data.folder import Ratings


@dataclass(frozen=True)
class World:
    """Pictures as embeddings, and people whose scores are a common taste plus what they make of three directions."""

    embeddings: FolderEmbeddings
    scores: np.ndarray
    noise_std: float

    def ratings(self, users: np.ndarray, images: np.ndarray, seed: int = 0) -> Ratings:
        """Noisy ratings of pictures by people, row by row."""
        noise = np.random.default_rng(seed).normal(0, self.noise_std, len(users))
        values = self.scores[users, images] + noise
        return Ratings(np.arange(len(users)), users, images, values, values)


def simulate(num_users: int, num_pictures: int, noise_std: float = 0.06, seed: int = 0) -> World:
    """Common taste and every direction of difference have a standard deviation of 0.1 and 0.06 over pictures."""
    rng = np.random.default_rng(seed)
    image = rng.normal(size=(num_pictures, 8))
    directions, _ = np.linalg.qr(rng.normal(size=(8, 4)))
    along = image @ directions
    scores = 0.5 + 0.1 * along[:, 0] + 0.06 * rng.normal(size=(num_users, 3)) @ along[:, 1:].T
    embeddings = FolderEmbeddings(
        image=torch.from_numpy(image).float(),
        text=torch.from_numpy(rng.normal(size=(num_pictures, 6))).float(),
        metadata=torch.from_numpy(rng.normal(size=(4, 5))[np.arange(num_pictures) % 4]).float(),
        demographics=torch.zeros(num_users, 5),
    )
    return World(embeddings, scores, noise_std)


@pytest.fixture(scope="session")
def kernel_config() -> PamelaConfig:
    """The recipe `posterior`, for the simulated embeddings."""
    return PamelaConfig(
        fusion="kernel",
        image_embed_dim=8,
        text_embed_dim=6,
        profile_embed_dim=5,
        image_projection_dim=8,
        text_projection_dim=6,
        profile_projection_dim=3,
        num_learned_directions=24,
        num_free_image_directions=16,
        num_free_text_directions=8,
    )


@pytest.fixture(scope="session")
def world() -> World:
    """100 training people, 40 new ones; 100 training pictures, 40 new ones."""
    return simulate(140, 140)


@pytest.fixture(scope="session")
def train_ratings(world: World) -> Ratings:
    """35 training pictures, rated by each training person."""
    rng = np.random.default_rng(1)
    images = np.concatenate([rng.permutation(100)[:35] for _ in range(100)])
    return world.ratings(np.repeat(np.arange(100), 35), images)
