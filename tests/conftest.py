"""Small real models that several tests share."""

import pytest
import torch

from modeling_pamela import PamelaConfig, PamelaForPersonalizedScoring


@pytest.fixture
def tiny_config():
    """A posterior model's configuration that computes in no time; `dict`, to be changed at will."""
    return {
        "image_embed_dim": 12,
        "text_embed_dim": 6,
        "profile_embed_dim": 5,
        "image_projection_dim": 4,
        "text_projection_dim": 3,
        "hidden_size": 16,
        "intermediate_size": 16,
        "num_attention_heads": 2,
        "num_learned_directions": 3,
        "num_free_image_directions": 8,
        "num_free_text_directions": 4,
    }


@pytest.fixture
def tiny_token_config(tiny_config):
    """The same for the paper's model, with 7 training people."""
    return {**tiny_config, "user_conditioning": "token", "fusion": "transformer", "num_users": 7}


@pytest.fixture
def tiny_pictures():
    """Embeddings of 9 pictures with prompts and metadata."""
    generator = torch.Generator().manual_seed(1)
    return {
        "image_embeds": torch.randn(9, 12, generator=generator),
        "text_embeds": torch.randn(9, 6, generator=generator),
        "metadata_embeds": torch.randn(9, 5, generator=generator),
    }


@pytest.fixture
def tiny_model(tiny_config, tiny_pictures):
    """A posterior model with fitted inputs and weights large enough to matter."""
    return make_fitted(tiny_config, tiny_pictures)


@pytest.fixture
def tiny_token_model(tiny_token_config, tiny_pictures):
    """A token model, likewise."""
    return make_fitted(tiny_token_config, tiny_pictures)


def make_fitted(config, pictures):
    torch.manual_seed(0)
    model = PamelaForPersonalizedScoring(PamelaConfig(**{**config, "initializer_range": 0.3}))
    model.fit_inputs(
        0.5, image=pictures["image_embeds"], text=pictures["text_embeds"], metadata=pictures["metadata_embeds"]
    )
    return model.eval()
