from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tiny_encoders import save_siglip

from modeling_pamela import PamelaForPersonalizedScoring, PamelaProcessor
from modeling_pamela.data.embed import bind_encoders
from modeling_pamela.training.recipes import RECIPES


@pytest.fixture(scope="session")
def write_picture():
    """Write a few coloured stripes, others for every seed."""

    def write(path: Path, seed: int) -> Path:
        colours = np.random.default_rng(seed).integers(0, 256, (1, 4, 3), dtype=np.uint8)
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(colours).resize((96, 64)).save(path)
        return path

    return write


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory) -> Path:
    """A posterior model of random weights over a tiny random SigLIP."""
    encoder, path = save_siglip(tmp_path_factory.mktemp("encoder")), tmp_path_factory.mktemp("model")
    config = RECIPES["posterior"].config(
        image_encoder=encoder, text_encoder=encoder, profile_encoder=encoder, num_landmarks=8
    )
    bind_encoders(config)
    torch.manual_seed(0)
    model = PamelaForPersonalizedScoring(config)
    model.fit_inputs(0.5, image=torch.randn(20, config.image_embed_dim), text=torch.randn(20, config.text_embed_dim))
    torch.nn.init.normal_(model.head.weight, std=0.1)
    model.taste.log_prior_std.data.fill_(-1.0)
    model.save_pretrained(path)
    PamelaProcessor.from_config(config).save_pretrained(path)
    return path


@pytest.fixture(scope="session")
def model(checkpoint):
    return PamelaForPersonalizedScoring.from_pretrained(checkpoint).eval()


@pytest.fixture(scope="session")
def processor(checkpoint):
    return PamelaProcessor.from_pretrained(checkpoint)


@pytest.fixture
def folder(tmp_path, write_picture) -> Path:
    """Eight pictures, two of them in a folder inside, and a file that is none."""
    folder = tmp_path / "pictures"
    for number in range(8):
        write_picture(folder / ("inside" if number > 5 else "") / f"{number}.png", number)
    (folder / "notes.txt").write_text("not a picture")
    return folder
