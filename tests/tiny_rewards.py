"""A posterior or token model over a tiny image-text encoder, so that it takes real pictures."""

from modeling_pamela import PamelaConfig
from modeling_pamela.encoders_pamela import load_image_encoder, load_text_encoder


def make_config(siglip: str, **fields: object) -> PamelaConfig:
    """For the encoder saved at `siglip`."""
    fingerprints = {
        "image": load_image_encoder(siglip).fingerprint,
        "text": load_text_encoder(siglip).fingerprint,
        "profile": load_text_encoder(siglip).fingerprint,
    }
    return PamelaConfig(
        image_encoder=siglip,
        text_encoder=siglip,
        profile_encoder=siglip,
        encoder_fingerprints=fingerprints,
        image_embed_dim=16,
        text_embed_dim=16,
        profile_embed_dim=16,
        hidden_size=16,
        intermediate_size=16,
        num_attention_heads=2,
        num_learned_directions=4,
        num_free_image_directions=64,
        initializer_range=0.3,
        **fields,
    )
