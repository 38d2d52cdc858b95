"""What to train and how: the paper's setting, the same model tuned on validation, and the posterior."""

from dataclasses import dataclass, field, replace
from typing import Any

from ..configuration_pamela import PamelaConfig
from ..encoders_pamela import EMBEDDED_IMAGE_ENCODER, EMBEDDED_TEXT_ENCODER


__all__ = ["RECIPES", "Recipe"]


@dataclass(frozen=True)
class Recipe:
    """
    Everything that `pamela train` needs to know apart from the data.

    Attributes:
        model (`dict`): Fields of [`PamelaConfig`].
        num_epochs, learning_rate, batch_size, weight_decay, warmup_steps, lr_scheduler_type, patience: See [`~modeling_pamela.training.trainer.train`].
    """

    model: dict[str, Any]
    num_epochs: float
    learning_rate: float
    batch_size: int
    weight_decay: float = 0.01
    warmup_steps: float = 100
    lr_scheduler_type: str = "constant_with_warmup"
    patience: int | None = None
    encoders: dict[str, str] = field(
        default_factory=lambda: {
            "image_encoder": EMBEDDED_IMAGE_ENCODER,
            "text_encoder": EMBEDDED_TEXT_ENCODER,
            "profile_encoder": EMBEDDED_TEXT_ENCODER,
        }
    )

    def config(self, **overrides: Any) -> PamelaConfig:
        """The recipe's configuration, with other values for some fields."""
        return PamelaConfig(**{**self.encoders, **self.model, **overrides})

    def training(self, **overrides: Any) -> dict[str, Any]:
        """Keyword arguments for [`~modeling_pamela.training.trainer.train`]; overrides that are `None` are left out."""
        changed = replace(self, **{name: value for name, value in overrides.items() if value is not None})
        names = (
            "num_epochs",
            "learning_rate",
            "batch_size",
            "weight_decay",
            "warmup_steps",
            "lr_scheduler_type",
            "patience",
        )
        return {name: getattr(changed, name) for name in names}


RECIPES = {
    # Solved in closed form; the network's shape and the settings of steps do not matter.
    "posterior": Recipe(
        model={
            "fusion": "kernel",
            "image_projection_dim": 128,
            "text_projection_dim": 256,
            "profile_projection_dim": 16,
            "num_learned_directions": 126,
            "num_free_image_directions": 128,
            "num_free_text_directions": 64,
        },
        num_epochs=0,
        learning_rate=0.0,
        batch_size=1,
    ),
    # The same taste over a perceptron, trained by marginal likelihood: for data sets too large for kernels.
    "posterior-mlp": Recipe(
        model={
            "fusion": "mlp",
            "image_projection_dim": 128,
            "text_projection_dim": 64,
            "profile_projection_dim": 16,
            "num_free_image_directions": 256,
            "num_free_text_directions": 30,
        },
        num_epochs=40,
        learning_rate=1e-3,
        batch_size=32,
        weight_decay=0.05,
        warmup_steps=20,
    ),
    # arXiv 2604.07427, section 4 and appendix; width and depth are not stated there.
    "paper": Recipe(
        model={
            "user_conditioning": "token",
            "fusion": "transformer",
            "hidden_size": 256,
            "num_hidden_layers": 2,
            "hidden_dropout_prob": 0.1,
        },
        num_epochs=10,
        learning_rate=2e-5,
        batch_size=32,
    ),
    # The paper's model and objective with the settings that validate best on photographs and embedded encoders.
    "token": Recipe(
        model={
            "user_conditioning": "token",
            "fusion": "transformer",
            "image_projection_dim": 128,
            "text_projection_dim": 256,
            "profile_projection_dim": 16,
            "hidden_size": 64,
            "intermediate_size": 128,
            "num_hidden_layers": 1,
            "hidden_dropout_prob": 0.3,
        },
        num_epochs=10,
        learning_rate=3e-3,
        batch_size=512,
        # A share of all steps, so that small data sets are not warmed up for their whole training.
        warmup_steps=0.1,
        patience=4,
    ),
}
