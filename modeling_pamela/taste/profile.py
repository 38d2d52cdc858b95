"""A person's taste as a small object of its own."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from ..data.files import atomic_write
from ..gaussian_taste import TastePosterior, predictive_variance
from ..modeling_pamela import PamelaForPersonalizedScoring


__all__ = ["ProfileError", "ProfileScores", "TasteProfile", "profile_folder_name"]

PROFILE_FILE = "profile.json"
WEIGHTS_FILE = "profile.safetensors"


def profile_folder_name(user_id: str) -> str:
    """Name of a person's folder: one that no file system takes for a path; `urllib.parse.unquote` gives the user_id back."""
    name = quote(user_id, safe=" ")
    return name if name.strip(".") else name.replace(".", "%2E")


class ProfileError(ValueError):
    """A profile cannot be made or read, or does not belong to the model at hand."""


class ProfileScores(NamedTuple):
    """
    Scores of N pictures for one person.

    Attributes:
        mean (`torch.Tensor` of shape `(N,)`): Expected score; 0 and 1 are the ends of the rating scale.
        std (`torch.Tensor` of shape `(N,)`): How unsure the model is of it, rating noise not included.
    """

    mean: Tensor
    std: Tensor


@dataclass(frozen=True)
class TasteProfile:
    """
    The posterior of one person's taste, learned in closed form from their ratings.

    Attributes:
        posterior ([`~modeling_pamela.gaussian_taste.TastePosterior`]): Mean `(W,)` and covariance of the taste.
        num_ratings (`int`): How many ratings it was learned from; with 0 it is the prior.
        model_fingerprint (`str`): The model it belongs to. Another model's taste features mean something else.

    Example:

    ```python
    >>> import torch
    >>> from modeling_pamela import PamelaConfig, PamelaForPersonalizedScoring, TasteProfile

    >>> _ = torch.manual_seed(0)
    >>> model = PamelaForPersonalizedScoring(PamelaConfig(image_embed_dim=8, hidden_size=16)).eval()
    >>> pictures = torch.randn(20, 8)
    >>> profile = TasteProfile.fit(model, torch.linspace(1, 7, 15), scale=(1, 7), image_embeds=pictures[:15])
    >>> profile.num_ratings, profile.score(model, image_embeds=pictures).mean.shape
    (15, torch.Size([20]))

    ```
    """

    posterior: TastePosterior
    num_ratings: int
    model_fingerprint: str

    @classmethod
    @torch.no_grad()
    def fit(
        cls,
        model: PamelaForPersonalizedScoring,
        ratings: Tensor,
        *,
        scale: tuple[float, float] = (0.0, 1.0),
        demographics_embeds: Tensor | None = None,
        **pictures: Tensor,
    ) -> "TasteProfile":
        """
        Learn a taste.

        Args:
            model ([`PamelaForPersonalizedScoring`]): A posterior model.
            ratings (`torch.Tensor` of shape `(k,)`): One rating a picture; without any the taste is the prior.
            scale (`tuple[float, float]`): The two ends of the scale they were given on.
            demographics_embeds (`torch.Tensor` of shape `(1, D)`, *optional*): Frozen embedding of the person's demographics.
            pictures: The k rated pictures: `pixel_values` or `image_embeds`, and where known `text_embeds`, … as in the
                model's `forward`.

        Raises:
            ProfileError: The ratings are not finite, outside of the scale, or not one a picture; a picture's inputs are not
                finite; or the model has no posterior.
        """
        if model.taste is None:
            raise ProfileError('A profile needs a model with `user_conditioning="posterior"`; this is a token model.')
        ratings = torch.as_tensor(ratings, dtype=torch.float64)
        if ratings.ndim != 1:
            raise ProfileError(
                f"The ratings have shape {tuple(ratings.shape)}, expected one number a picture, `(k,)`."
            )
        low, high = scale
        if not low < high:
            raise ProfileError(f"The scale must go from a smaller to a larger number, got {scale}.")
        wrong = ~((ratings >= low) & (ratings <= high))
        if wrong.any():
            raise ProfileError(
                f"{int(wrong.sum())} of {len(ratings)} ratings are not between {low:g} and {high:g} (the first: "
                f"{ratings[wrong][0].item():g}, number {int(wrong.nonzero()[0]) + 1}). Correct them, or name the scale."
            )
        num_pictures = len(next(iter(pictures.values()), ()))
        if num_pictures != len(ratings):
            raise ProfileError(
                f"There are {len(ratings)} ratings for {num_pictures} pictures; expected one a picture."
            )
        if num_pictures == 0:
            return cls.prior(model, demographics_embeds)
        model.eval()
        features = model(**pictures).taste_features.double().cpu()
        unusable = ~features.isfinite().all(-1)
        if unusable.any():
            raise ProfileError(
                f"What is known of picture number {int(unusable.nonzero()[0]) + 1} has values that are not finite. Encode it anew, "
                "or leave it out."
            )
        prior = model.prior_taste(demographics_embeds)[0].double().cpu()
        posterior = model.learn_taste(features, (ratings - low) / (high - low), prior)
        return cls(posterior, len(ratings), model.fingerprint())

    @classmethod
    @torch.no_grad()
    def prior(cls, model: PamelaForPersonalizedScoring, demographics_embeds: Tensor | None = None) -> "TasteProfile":
        """The taste of somebody who has not rated anything yet."""
        if model.taste is None:
            raise ProfileError('A profile needs a model with `user_conditioning="posterior"`; this is a token model.')
        mean = model.prior_taste(demographics_embeds)[0].double().cpu()
        return cls(TastePosterior(mean, mean.new_zeros(0, len(mean))), 0, model.fingerprint())

    @torch.no_grad()
    def score(self, model: PamelaForPersonalizedScoring, **pictures: Tensor) -> ProfileScores:
        """
        Score pictures for this person.

        Args:
            model ([`PamelaForPersonalizedScoring`]): The model that the profile was made with.
            pictures: `pixel_values` or `image_embeds`, and where known `text_embeds`, … as in the model's `forward`.

        Raises:
            ProfileError: The model is another one.
        """
        self.check_model(model)
        model.eval()
        output = model(**pictures)
        features = output.taste_features.double().cpu()
        return ProfileScores(features @ self.posterior.mean, predictive_variance(self.posterior, features).sqrt())

    def check_model(self, model: PamelaForPersonalizedScoring) -> None:
        """Raises [`ProfileError`] where the profile belongs to another model."""
        if (fingerprint := model.fingerprint()) != self.model_fingerprint:
            raise ProfileError(
                f"The profile belongs to the model {self.model_fingerprint}, not to {fingerprint}. Load the model it was made "
                "with, or fit it anew from the person's ratings."
            )

    def save_pretrained(self, save_directory: str | Path) -> None:
        """Write `profile.json` and `profile.safetensors`."""
        folder = Path(save_directory)
        tensors = {name: tensor.contiguous() for name, tensor in self.posterior._asdict().items()}
        facts = {"num_ratings": self.num_ratings, "model_fingerprint": self.model_fingerprint}
        with atomic_write(folder / WEIGHTS_FILE) as temporary:
            save_file(tensors, temporary)
        with atomic_write(folder / PROFILE_FILE) as temporary:
            temporary.write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")

    @classmethod
    def from_pretrained(cls, directory: str | Path) -> "TasteProfile":
        """
        Read a saved profile.

        Raises:
            ProfileError: The folder holds none, or it is damaged.
        """
        folder = Path(directory)
        try:
            facts = json.loads((folder / PROFILE_FILE).read_text(encoding="utf-8"))
            tensors = load_file(folder / WEIGHTS_FILE)
            mean, reduction = tensors["mean"], tensors["reduction"]
            if mean.ndim != 1 or reduction.ndim != 2 or reduction.shape[1] != len(mean):
                raise ValueError(f"a mean of shape {tuple(mean.shape)} beside a reduction of {tuple(reduction.shape)}")
            return cls(TastePosterior(mean, reduction), facts["num_ratings"], facts["model_fingerprint"])
        except (OSError, ValueError, TypeError, KeyError, SafetensorError) as error:
            raise ProfileError(
                f"{folder} holds no readable taste profile ({error}). Make one from the person's ratings."
            ) from error
