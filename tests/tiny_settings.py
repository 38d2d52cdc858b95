"""Settings of recipes with which tests train in no time."""

TINY = {
    "image_projection_dim": 6,
    "text_projection_dim": 4,
    "profile_projection_dim": 3,
    "hidden_size": 16,
    "intermediate_size": 16,
    "num_attention_heads": 2,
    "num_learned_directions": 4,
    "num_free_image_directions": 8,
    "num_free_text_directions": 4,
    "hidden_dropout_prob": 0.2,
}
