"""Tiny real models whose reward takes real pictures."""

import pytest
import torch
from PIL import Image
from tiny_encoders import save_siglip
from tiny_rewards import make_config

from modeling_pamela import PamelaForPersonalizedScoring, PamelaProcessor, TasteProfile
from modeling_pamela.rewards.personal import PersonalReward


@pytest.fixture(scope="session")
def siglip(tmp_path_factory):
    """Folder of a tiny random image-text model."""
    return save_siglip(tmp_path_factory.mktemp("encoders") / "siglip")


@pytest.fixture(scope="session")
def pictures():
    """Twelve plain pictures from blue to red."""
    return [Image.new("RGB", (40, 32), (20 * step, 40, 255 - 20 * step)) for step in range(12)]


@pytest.fixture(scope="session")
def model(siglip):
    """A posterior model that sees pictures with the tiny encoder."""
    torch.manual_seed(0)
    return PamelaForPersonalizedScoring(make_config(siglip)).eval()


@pytest.fixture(scope="session")
def processor(model):
    return PamelaProcessor.from_config(model.config)


@pytest.fixture(scope="session")
def profiles(model, processor, pictures):
    """Ann likes red and Bob blue."""
    # Rated over and over, so that nothing is left unsure.
    embeds = model.get_image_embeds(**processor(images=pictures)).repeat(30, 1)
    redness = torch.linspace(0, 1, len(pictures)).repeat(30)
    return {
        "ann": TasteProfile.fit(model, redness, image_embeds=embeds),
        "bob": TasteProfile.fit(model, 1 - redness, image_embeds=embeds),
    }


@pytest.fixture
def reward(model, processor, profiles):
    return PersonalReward(model, processor, profiles, batch_size=5)


@pytest.fixture(scope="session")
def reward_of_module(model, processor, profiles):
    """The same, for tests that draw many examples."""
    return PersonalReward(model, processor, profiles)
