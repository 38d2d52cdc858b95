"""Configuration of PAMELA models."""

from typing import Literal

from huggingface_hub.dataclasses import strict
from transformers import PreTrainedConfig


@strict
class PamelaConfig(PreTrainedConfig):
    r"""
    Configuration of a [`PamelaModel`] or a [`PamelaForPersonalizedScoring`].

    A checkpoint holds the trainable head only. The frozen encoders are named here, are loaded from where they live, and
    are recognised by their fingerprints.

    Args:
        image_encoder (`str`, *optional*):
            Name of the frozen picture encoder (see [`~modeling_pamela.encoders_pamela.load_image_encoder`]). `None` for a
            model that is only ever given precomputed embeddings.
        text_encoder (`str`, *optional*): Name of the frozen prompt encoder.
        profile_encoder (`str`, *optional*): Name of the frozen encoder of demographics and metadata sentences.
        encoder_fingerprints (`dict[str, str]`, *optional*):
            Role (`"image"`, `"text"`, `"profile"`) to the fingerprint of the encoder the head was trained on. A loaded
            encoder with another fingerprint is refused.
        image_embed_dim, text_embed_dim, profile_embed_dim (`int`): Widths of the frozen embeddings.
        image_embed_blocks (`list[int]`, *optional*): Widths of the parts of a picture embedding that count alike, whatever their widths.
        image_projection_dim, text_projection_dim, profile_projection_dim (`int`, *optional*):
            Number of principal components of the training embeddings that the network sees. `None` feeds it the
            embedding itself, as the paper does.
        use_image, use_text, use_demographics, use_metadata, use_user (`bool`):
            The paper's Table 3: an input that is switched off has no weights at all.
        fusion (`"kernel"`, `"mlp"` or `"transformer"`):
            `"kernel"` (posterior models): kernel features of every input, side by side, under linear heads that are solved in closed form.
            `"transformer"` is the paper's [CLS] encoder, `"mlp"` a perceptron over the same tokens; both are trained step by step.
        hidden_size (`int`): Shared width of all tokens.
        num_hidden_layers, num_attention_heads, intermediate_size (`int`): Shape of the fusion network.
        hidden_dropout_prob (`float`): Dropout in the input projections and the fusion network.
        prompt_dropout (`float`): Share of prompts hidden during training, so that one model serves pictures with and without.
        user_conditioning (`"posterior"` or `"token"`):
            `"token"` is the paper: a learned embedding per training user. `"posterior"`: a Gaussian posterior over taste.
        num_users (`int`): Rows of the user embedding table (`"token"` only).
        num_neighbours (`int`), neighbour_temperature (`float`): K and tau of the paper's step for new users (Eq. 1; `"token"` only).
        num_learned_directions (`int`): Width of the trained part of the taste features (`"posterior"` only).
        num_free_image_directions, num_free_text_directions (`int`):
            Width of the untrained parts: random Fourier features of an RBF kernel on the embedding; even numbers.
        num_landmarks (`int`): Training rows at which the kernel features are exact (`fusion="kernel"`); filled in by training.
        kernel_lengthscale (`float`):
            Lengthscale of all RBF kernels, in units of the root mean squared distance between two training embeddings.
        score_range (`list[float]`): Where scores live: 0 is the low end of the rating scale, 1 the high end. Scores may leave it.
        training_split (`str`, *optional*): Fingerprint of the training ratings, so that no test is run on what was trained on.
        data_sets (`list[dict]`, *optional*):
            The sets of a jointly trained model: `name`, `rating_scale`, `training_split`, `weight`, `num_users` (training people), and
            `offset` and `scale`, by which a rating of the set, on its own 0..1 scale, is `offset + scale * score`: its training ratings
            have the mean and spread of the first set's, so that differences in liking between sets count as use of the scale. The first
            has 0 and 1, and is whose people new ones are like. `rating_scale` is its scale.
        rating_scale (`list[float]`): The raw scale of the training ratings, e.g. `[1.0, 7.0]`.

    Example:

    ```python
    >>> from modeling_pamela import PamelaConfig, PamelaForPersonalizedScoring

    >>> config = PamelaConfig(image_embed_dim=64, text_embed_dim=32, profile_embed_dim=32)
    >>> model = PamelaForPersonalizedScoring(config)
    >>> model.config.user_conditioning
    'posterior'

    ```"""

    model_type = "pamela"

    image_encoder: str | None = None
    text_encoder: str | None = None
    profile_encoder: str | None = None
    encoder_fingerprints: dict[str, str] | None = None

    image_embed_dim: int = 2560
    text_embed_dim: int = 384
    profile_embed_dim: int = 384
    image_embed_blocks: list[int] | None = None
    image_projection_dim: int | None = None
    text_projection_dim: int | None = None
    profile_projection_dim: int | None = None

    use_image: bool = True
    use_text: bool = True
    use_demographics: bool = True
    use_metadata: bool = True
    use_user: bool = True

    fusion: Literal["kernel", "mlp", "transformer"] = "mlp"
    hidden_size: int = 256
    num_hidden_layers: int = 2
    num_attention_heads: int = 4
    intermediate_size: int = 512
    hidden_dropout_prob: float = 0.5
    prompt_dropout: float = 0.0
    initializer_range: float = 0.02

    user_conditioning: Literal["posterior", "token"] = "posterior"
    num_users: int = 0
    num_neighbours: int = 5
    neighbour_temperature: float = 0.1
    num_learned_directions: int = 32
    num_free_image_directions: int = 256
    num_free_text_directions: int = 0
    num_landmarks: int = 0
    kernel_lengthscale: float = 0.7

    score_range: list[float] | tuple[float, ...] = (0.0, 1.0)
    rating_scale: list[float] | tuple[float, ...] = (0.0, 1.0)
    training_split: str | None = None
    data_sets: list[dict] | None = None

    @property
    def num_data_sets(self) -> int:
        """Data sets that the model is trained on."""
        return len(self.data_sets) if self.data_sets else 1
