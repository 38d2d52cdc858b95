"""A tiny random model of taste over a tiny random SigLIP, and two people who disagree."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from tiny_encoders import save_siglip

from modeling_pamela import PamelaConfig, PamelaForPersonalizedScoring, PamelaProcessor, TasteProfile
from modeling_pamela.data.embed import bind_encoders
from modeling_pamela.data.pictures import embed_pictures


class Taste(NamedTuple):
    model: PamelaForPersonalizedScoring
    processor: PamelaProcessor
    ann: TasteProfile
    bob: TasteProfile


def make_taste(folder: Path) -> Taste:
    """Its encoder is saved in the folder."""
    name = save_siglip(folder)
    config = PamelaConfig(
        image_encoder=name, text_encoder=name, profile_encoder=name, hidden_size=16, initializer_range=0.3
    )
    bind_encoders(config)
    torch.manual_seed(0)
    model, processor = PamelaForPersonalizedScoring(config).eval(), PamelaProcessor.from_config(config)
    rng = np.random.default_rng(0)
    pictures = [Image.fromarray(rng.integers(0, 255, (32, 32, 3), np.uint8)) for _ in range(6)]
    embeds = torch.from_numpy(embed_pictures(pictures, model.encoder("image"), processor))
    ratings = torch.tensor([1.0, 0, 1, 0, 1, 0])
    ann, bob = (TasteProfile.fit(model, values, image_embeds=embeds) for values in (ratings, 1 - ratings))
    return Taste(model, processor, ann, bob)
