"""A person's taste as a small object of its own."""

import hashlib
import json
import math
import warnings
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple
from urllib.parse import quote

import torch
from huggingface_hub import HfApi, snapshot_download
from huggingface_hub.errors import (
    HfHubHTTPError,
    HFValidationError,
    LocalEntryNotFoundError,
    LocalTokenNotFoundError,
)
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from ..data.files import atomic_write
from ..data.pictures import encode_files
from ..gaussian_taste import TastePosterior, predictive_variance, taste_posterior
from ..modeling_pamela import PamelaForPersonalizedScoring
from ..processing_pamela import PamelaProcessor
from .comparisons import GaussianSites, comparison_sites
from .evidence import TasteEvidence


__all__ = [
    "Explanation",
    "ProfileError",
    "ProfileScores",
    "RankedPicture",
    "RatingPrediction",
    "TasteProfile",
    "preference_chance",
    "profile_folder_name",
]

PROFILE_FILE = "profile.json"
FORMAT_VERSION = 1
# A difference below so many standard deviations of its noise is called a tie.
TIE_THRESHOLD = 0.4


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


class RatingPrediction(NamedTuple):
    """
    What a person may rate N pictures, on their own scale.

    Attributes:
        median (`torch.Tensor` of shape `(N,)`): As likely to be passed as not.
        low, high (`torch.Tensor` of shape `(N,)`): Ends of the interval, the rating's noise included.
    """

    median: Tensor
    low: Tensor
    high: Tensor


class RankedPicture(NamedTuple):
    """
    A picture in a ranking.

    Attributes:
        image_id (`str`): Its file, name, or place among the pictures given.
        mean, std (`float`): Its score, and how unsure the model is of it.
    """

    image_id: str
    mean: float
    std: float


class Explanation(NamedTuple):
    """
    Where the scores of N pictures come from. `prior + contributions.sum(1)` is the score, up to rounding.

    Attributes:
        prior (`torch.Tensor` of shape `(N,)`): Score without any evidence.
        contributions (`torch.Tensor` of shape `(N, k + c)`): By how much each rating, then each comparison, moved it.
        evidence (`list[tuple[str, ...]]` of length k + c): The picture of a rating; preferred and other picture of a comparison.
    """

    prior: Tensor
    contributions: Tensor
    evidence: list[tuple[str, ...]]


@dataclass(frozen=True)
class TasteProfile:
    """
    The posterior of one person's taste, learned from their ratings and comparisons. Every change gives a new profile.

    Attributes:
        posterior ([`~modeling_pamela.gaussian_taste.TastePosterior`]): Mean `(W,)` and covariance of the taste.
        prior_mean (`torch.Tensor` of shape `(W,)`): Mean of the taste before any evidence.
        noise_variance (`float`): Variance of one of this person's ratings around their score; 0 and 1 are the ends of their scale.
        evidence ([`~modeling_pamela.taste.evidence.TasteEvidence`]): All that was said, repeated ratings included.
        sites ([`~modeling_pamela.taste.comparisons.GaussianSites`]): The k ratings, then the c comparisons, as Gaussian observations.
        scale (`tuple[float, float]`): The two ends of the rating scale the person used.
        model_fingerprint (`str`): The model it belongs to. Another model's taste features mean something else.
        encoder_fingerprints (`dict[str, str]`, *optional*): The encoders of the embeddings in the evidence.
        data_set (`str`, *optional*): Of a jointly trained model, the set of `config.data_sets` whose people the person is like.

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
    >>> profile = profile.update(model, torch.tensor([2.0]), image_ids=["beach.png"], image_embeds=pictures[15:16])
    >>> profile.num_ratings, profile.forget(model, "beach.png").num_ratings
    (16, 15)

    ```
    """

    posterior: TastePosterior
    prior_mean: Tensor
    noise_variance: float
    evidence: TasteEvidence
    sites: GaussianSites
    scale: tuple[float, float]
    model_fingerprint: str
    encoder_fingerprints: dict[str, str] | None
    demographics_embeds: Tensor | None = None
    data_set: str | None = None

    @property
    def num_ratings(self) -> int:
        """How many ratings it was learned from."""
        return len(self.evidence.rated)

    @property
    def num_comparisons(self) -> int:
        """How many comparisons it was learned from. With neither these nor ratings it is the prior."""
        return len(self.evidence.compared)

    # Learning -------------------------------------------------------------------------------------------------------

    @classmethod
    @torch.no_grad()
    def fit(
        cls,
        model: PamelaForPersonalizedScoring,
        ratings: Tensor,
        *,
        scale: tuple[float, float] = (0.0, 1.0),
        image_ids: Sequence[str] | None = None,
        demographics_embeds: Tensor | None = None,
        data_set: str | None = None,
        **pictures: Tensor,
    ) -> "TasteProfile":
        """
        Learn a taste.

        Args:
            model ([`PamelaForPersonalizedScoring`]): A posterior model.
            ratings (`torch.Tensor` of shape `(k,)`): One rating a picture; without any the taste is the prior.
            scale (`tuple[float, float]`): The two ends of the scale they were given on.
            image_ids (sequence of `str`, *optional*): Names of the pictures; hashes of their embeddings where not given.
            demographics_embeds (`torch.Tensor` of shape `(1, D)`, *optional*): Frozen embedding of the person's demographics.
            data_set (`str`, *optional*): Name of the data set, of those in `config.data_sets`, whose people use the scale as this one
                does and are as noisy; by default the first. All scores are then on that set's scale, 0 to 1.
            pictures: The k rated pictures: `pixel_values` or `image_embeds`, and where known `text_embeds`, `metadata_embeds`.

        Raises:
            ProfileError: The ratings are not finite, outside of the scale, or not one a picture; a picture's inputs are not
                finite; or the model has no posterior, or was not trained on such a data set.
        """
        return cls.prior(model, demographics_embeds, scale, data_set).update(
            model, ratings, scale=scale, image_ids=image_ids, **pictures
        )

    @classmethod
    @torch.no_grad()
    def prior(
        cls,
        model: PamelaForPersonalizedScoring,
        demographics_embeds: Tensor | None = None,
        scale: tuple[float, float] = (0.0, 1.0),
        data_set: str | None = None,
    ) -> "TasteProfile":
        """The taste of somebody who has not rated anything yet; arguments and errors as in [`fit`]."""
        if model.taste is None:
            raise ProfileError('A profile needs a model with `user_conditioning="posterior"`; this is a token model.')
        low, high = scale
        if not (math.isfinite(low) and math.isfinite(high) and low < high):
            raise ProfileError(f"The scale must go from a smaller to a larger number, got {scale}.")
        if demographics_embeds is not None:
            demographics_embeds = demographics_embeds.detach().cpu()
            prior_mean = model.prior_taste(demographics_embeds.to(model.device, model.dtype))[0]
        else:
            prior_mean = model.prior_taste()[0]
        return cls._learn(
            model,
            TasteEvidence.empty(model.taste_width),
            prior_mean.double().cpu(),
            (float(low), float(high)),
            model.fingerprint(),
            model.config.encoder_fingerprints,
            demographics_embeds,
            data_set,
        )

    @torch.no_grad()
    def update(
        self,
        model: PamelaForPersonalizedScoring,
        ratings: Tensor,
        *,
        scale: tuple[float, float] | None = None,
        image_ids: Sequence[str] | None = None,
        **pictures: Tensor,
    ) -> "TasteProfile":
        """
        The profile after further ratings; the same as if all had been given to [`fit`]. Arguments and errors are those of [`fit`],
        but that the scale is the profile's own where none is given.
        """
        self.check_model(model)
        low, high = self.scale if scale is None else scale
        if not low < high:
            raise ProfileError(f"The scale must go from a smaller to a larger number, got {scale}.")
        ratings = torch.as_tensor(ratings, dtype=torch.float64)
        if ratings.ndim != 1:
            raise ProfileError(
                f"The ratings have shape {tuple(ratings.shape)}, expected one number a picture, `(k,)`."
            )
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
            return self
        features, embeds = _describe(model, pictures, image_ids)
        evidence, rows = self.evidence.add_pictures(features, embeds, image_ids)
        return self._relearn(model, evidence.add_ratings(rows, (ratings - low) / (high - low)))

    @torch.no_grad()
    def update_pairs(
        self,
        model: PamelaForPersonalizedScoring,
        winner: Mapping[str, Tensor],
        loser: Mapping[str, Tensor],
        tie: Tensor | None = None,
        *,
        winner_ids: Sequence[str] | None = None,
        loser_ids: Sequence[str] | None = None,
    ) -> "TasteProfile":
        """
        The profile after c comparisons of two pictures.

        Args:
            model ([`PamelaForPersonalizedScoring`]): The model that the profile was made with.
            winner, loser (`dict[str, torch.Tensor]`): The c preferred and the c other pictures, as `pictures` of [`fit`].
            tie (`torch.Tensor` of shape `(c,)`, bool, *optional*): Where neither was preferred.
            winner_ids, loser_ids (sequence of `str`, *optional*): Names of the pictures; hashes where not given.

        Raises:
            ProfileError: There is not one winner a loser, or inputs are not finite, or the model is another one.
        """
        self.check_model(model)
        numbers = [len(next(iter(pictures.values()), ())) for pictures in (winner, loser)]
        tied = torch.zeros(numbers[0], dtype=torch.bool) if tie is None else torch.as_tensor(tie)
        if numbers[0] != numbers[1] or tied.shape != (numbers[0],) or tied.dtype != torch.bool:
            raise ProfileError(
                f"There are {numbers[0]} winners, {numbers[1]} losers and ties of shape {tuple(tied.shape)} ({tied.dtype}); "
                "expected one of each a comparison, ties as bool."
            )
        if not numbers[0]:
            return self
        evidence, rows = self.evidence, []
        for pictures, ids in ((winner, winner_ids), (loser, loser_ids)):
            features, embeds = _describe(model, pictures, ids)
            evidence, added = evidence.add_pictures(features, embeds, ids)
            rows.append(added)
        return self._relearn(model, evidence.add_comparisons(torch.stack(rows, dim=1), tied))

    @torch.no_grad()
    def forget(self, model: PamelaForPersonalizedScoring, image_id: str) -> "TasteProfile":
        """
        The profile as if nothing had ever been said of a picture.

        Raises:
            ProfileError: Nothing was said of it, or the model is another one.
        """
        self.check_model(model)
        try:
            return self._relearn(model, self.evidence.without(image_id))
        except KeyError as error:
            known = ", ".join(self.evidence.image_ids[:3])
            raise ProfileError(
                f"The profile has no evidence of a picture {image_id!r}; it knows {len(set(self.evidence.image_ids))} pictures"
                f"{f' ({known}, …)' if known else ''}."
            ) from error

    @torch.no_grad()
    def migrate(
        self, model: PamelaForPersonalizedScoring, demographics_embeds: Tensor | None = None, **pictures: Tensor
    ) -> "TasteProfile":
        """
        The same evidence, learned anew by another model.

        Args:
            model ([`PamelaForPersonalizedScoring`]): The new model.
            demographics_embeds (`torch.Tensor` of shape `(1, D)`, *optional*), pictures: Needed where its encoders are others: the
                person's demographics, and the pictures of `evidence.image_ids` in that order, as in [`fit`].

        Raises:
            ProfileError: The new model has other encoders and the pictures were not given, or not one a row of the evidence.
        """
        same = model.config.encoder_fingerprints == self.encoder_fingerprints
        evidence = self.evidence
        if pictures:
            number = len(next(iter(pictures.values())))
            if number != len(evidence.image_ids):
                raise ProfileError(
                    f"There are {number} pictures for the {len(evidence.image_ids)} in the evidence. Give one for each of "
                    "`evidence.image_ids`, in that order."
                )
        elif len(evidence.image_ids) or self.demographics_embeds is not None:
            if not same:
                raise ProfileError(
                    f"The new model sees pictures with other encoders ({model.config.encoder_fingerprints}, the profile's are "
                    f"{self.encoder_fingerprints}). Give it the {len(evidence.image_ids)} pictures of `evidence.image_ids`."
                )
            pictures = {name: rows.to(model.device, model.dtype) for name, rows in evidence.embeds.items()}
        if demographics_embeds is None and same:
            demographics_embeds = self.demographics_embeds
        fresh = type(self).prior(model, demographics_embeds, self.scale, self.data_set)
        if not len(evidence.image_ids):
            return fresh
        features, embeds = _describe(model, pictures, evidence.image_ids)
        renewed, _ = fresh.evidence.add_pictures(features, embeds, evidence.image_ids)
        renewed = renewed.add_ratings(evidence.rated, evidence.ratings)
        return fresh._relearn(model, renewed.add_comparisons(evidence.compared, evidence.tied))

    def _relearn(self, model: PamelaForPersonalizedScoring, evidence: TasteEvidence) -> "TasteProfile":
        return self._learn(
            model,
            evidence,
            self.prior_mean,
            self.scale,
            self.model_fingerprint,
            self.encoder_fingerprints,
            self.demographics_embeds,
            self.data_set,
        )

    @classmethod
    def _learn(
        cls,
        model: PamelaForPersonalizedScoring,
        evidence: TasteEvidence,
        prior_mean: Tensor,
        scale: tuple[float, float],
        model_fingerprint: str,
        encoder_fingerprints: dict[str, str] | None,
        demographics_embeds: Tensor | None,
        data_set: str | None,
    ) -> "TasteProfile":
        """The posterior of all evidence: ratings as they are, comparisons as the Gaussian observations that stand for them."""
        units = _units(model, data_set)
        rows, targets = evidence.rating_features, (evidence.ratings - units.offset) / units.scale
        variances, noise = model.rating_noise(rows, targets, prior_mean, units.noise_variance)
        noise_variance = noise.item()
        posterior = taste_posterior(rows, targets, variances, prior_mean)
        if len(evidence.compared):
            differences = evidence.comparison_features
            reduced = differences @ posterior.reduction.mT
            noise_std = math.sqrt(2 * noise_variance)
            sites = comparison_sites(
                differences @ posterior.mean,
                differences @ differences.mT - reduced @ reduced.mT,
                evidence.tied,
                noise_std,
                TIE_THRESHOLD * noise_std,
            )
            rows = torch.cat([rows, differences])
            targets = torch.cat([targets, sites.target])
            variances = torch.cat([variances, sites.noise_variance])
            posterior = taste_posterior(rows, targets, variances, prior_mean)
        if not model.config.use_user:
            # Nobody's taste differs from the population's, whatever they say.
            posterior = TastePosterior(prior_mean, prior_mean.new_zeros(0, len(prior_mean)))
        return cls(
            posterior,
            prior_mean,
            noise_variance * units.scale**2,
            evidence,
            GaussianSites(targets, variances),
            scale,
            model_fingerprint,
            encoder_fingerprints,
            demographics_embeds,
            data_set,
        )

    # Using ----------------------------------------------------------------------------------------------------------

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
        units, features = _units(model, self.data_set), self._features(model, pictures)
        std = predictive_variance(self.posterior, features).sqrt()
        return ProfileScores(units.offset + units.scale * (features @ self.posterior.mean), units.scale * std)

    @torch.no_grad()
    def predict_rating(
        self, model: PamelaForPersonalizedScoring, coverage: float = 0.8, **pictures: Tensor
    ) -> RatingPrediction:
        """
        The interval in which this person's rating of a picture lies with a given chance. Unlike the std of [`score`] it holds their
        noise and the error of a new picture's score, and it is cut off at the ends of their scale. On a scale of steps it covers more
        than its level, since its end points count as inside: at 0.8, about 0.86 of OASIS ratings on 7 steps. Where a rating that lies
        on an end is counted in part (a randomised PIT) it covers 0.82.

        Args:
            model ([`PamelaForPersonalizedScoring`]): The model that the profile was made with.
            coverage (`float`): The chance, between 0 and 1.
            pictures: N pictures, as in [`score`].

        Raises:
            ProfileError: The model is another one, or the coverage is out of range.
        """
        if not 0 < coverage < 1:
            raise ProfileError(f"The coverage must lie between 0 and 1, got {coverage}.")
        mean, std = self.score(model, **pictures)
        picture_variance = model.picture_variance * _units(model, self.data_set).scale ** 2
        spread = (std.square() + self.noise_variance + picture_variance).sqrt()
        reach = spread * torch.special.ndtri(torch.tensor((1 + coverage) / 2, dtype=torch.float64))
        low, high = self.scale
        ends = (low + (high - low) * place.clamp(0, 1) for place in (mean, mean - reach, mean + reach))
        return RatingPrediction(*ends)

    def rank(
        self,
        model: PamelaForPersonalizedScoring,
        paths: str | Path | Sequence[str | Path] | None = None,
        *,
        top: int | None = None,
        image_ids: Sequence[str] | None = None,
        batch_size: int = 4,
        **pictures: Tensor,
    ) -> list[RankedPicture]:
        """
        Pictures, best first for this person.

        Args:
            model ([`PamelaForPersonalizedScoring`]): The model that the profile was made with.
            paths (path or sequence of paths, *optional*): Picture files, and folders, which are read recursively. Pictures that cannot
                be read are set aside, with a warning that names them.
            top (`int`, *optional*): Only the first so many.
            image_ids (sequence of `str`, *optional*): Names of `pictures`.
            batch_size (`int`): Files a forward pass of the encoder.
            pictures: Instead of `paths`, as in [`score`].

        Raises:
            ProfileError: The model is another one; or both or neither of `paths` and `pictures` were given.
            DataError: There is no picture that can be read.
        """
        self.check_model(model)
        if (paths is None) == (not pictures):
            raise ProfileError("Give either `paths` of picture files or `pictures`, to be ranked.")
        if top is not None and top < 1:
            raise ProfileError(f"`top` must be at least 1, got {top}.")
        if paths is not None:
            sources = [paths] if isinstance(paths, str | Path) else paths
            processor = PamelaProcessor.from_config(model.config)
            found = encode_files(sources, model.encoder("image"), processor, batch_size)
            for error in found.set_aside:
                warnings.warn(f"Set aside: {error}", stacklevel=2)
            pictures, image_ids = {"image_embeds": found.image_embeds}, [str(file) for file in found.files]
        mean, std = self.score(model, **pictures)
        names = [str(place) for place in range(len(mean))] if image_ids is None else image_ids
        if len(names) != len(mean):
            raise ProfileError(f"There are {len(names)} image_ids for {len(mean)} pictures; expected one each.")
        order = torch.argsort(mean, descending=True, stable=True)[:top].tolist()
        return [RankedPicture(names[row], float(mean[row]), float(std[row])) for row in order]

    @torch.no_grad()
    def suggest_next(
        self, model: PamelaForPersonalizedScoring, n: int, targets: Mapping[str, Tensor] | None = None, **pool: Tensor
    ) -> Tensor:
        """
        The n pictures of a pool whose ratings would teach most about how this person ranks the targets.

        Args:
            model ([`PamelaForPersonalizedScoring`]): The model that the profile was made with.
            n (`int`): How many to choose.
            targets (`dict[str, torch.Tensor]`, *optional*): The pictures to rank in the end, as `pictures` of [`score`]; by default
                the pool.
            pool: N pictures, as in [`score`]. Those that were rated may be among them.

        Returns:
            `torch.Tensor` of shape `(n,)`: Rows of the pool, the most telling first.

        Raises:
            ProfileError: The model is another one, or the pool has fewer than n pictures.
        """
        from .onboarding import suggest_next

        features = self._features(model, pool)
        wanted = None if targets is None else self._features(model, targets)
        return suggest_next(self.posterior, self._model_noise(model), features, n, wanted)

    @torch.no_grad()
    def suggest_pair(
        self,
        model: PamelaForPersonalizedScoring,
        targets: Mapping[str, Tensor] | None = None,
        exclude: Collection[tuple[int, int]] = (),
        **pool: Tensor,
    ) -> tuple[int, int]:
        """
        The two pictures of a pool whose comparison would teach most. Arguments and errors as in [`suggest_next`].

        Args:
            exclude (collection of `(int, int)`): Pairs of rows, the smaller first, that are not to be asked (again).

        Returns:
            `(int, int)`: Two rows of the pool, the smaller first.
        """
        from .onboarding import suggest_pair

        features = self._features(model, pool)
        wanted = None if targets is None else self._features(model, targets)
        return suggest_pair(self.posterior, self._model_noise(model), features, wanted, exclude)

    def _model_noise(self, model: PamelaForPersonalizedScoring) -> float:
        """The person's noise variance on the scale of the model's scores."""
        return self.noise_variance / _units(model, self.data_set).scale ** 2

    @torch.no_grad()
    def compare(self, model: PamelaForPersonalizedScoring, a: Mapping[str, Tensor], b: Mapping[str, Tensor]) -> Tensor:
        """
        Chance that this person, asked, and where they do not call it a tie, prefers a to b, for N pairs. What is not known of their
        taste and the noise of their answers both draw it towards one half.

        Args:
            model ([`PamelaForPersonalizedScoring`]): The model that the profile was made with.
            a, b (`dict[str, torch.Tensor]`): N pictures each, as `pictures` of [`score`].

        Returns:
            `torch.Tensor` of shape `(N,)`: Chances that a is preferred; that of b is one less it.

        Raises:
            ProfileError: The model is another one, or there is not one b an a.
        """
        first, second = self._features(model, a), self._features(model, b)
        if len(first) != len(second):
            raise ProfileError(f"There are {len(first)} pictures a and {len(second)} pictures b; expected pairs.")
        difference, scale = first - second, _units(model, self.data_set).scale
        variance = scale**2 * predictive_variance(self.posterior, difference) + 2 * self.noise_variance
        return preference_chance(scale * (difference @ self.posterior.mean), variance, self.noise_variance)

    @torch.no_grad()
    def explain(self, model: PamelaForPersonalizedScoring, **pictures: Tensor) -> Explanation:
        """
        Which evidence moved the scores of pictures, and by how much: exact, since the posterior mean is linear in the evidence.

        Args:
            model ([`PamelaForPersonalizedScoring`]): The model that the profile was made with.
            pictures: N pictures, as in [`score`].

        Raises:
            ProfileError: The model is another one.
        """
        features = self._features(model, pictures)
        rows = torch.cat([self.evidence.rating_features, self.evidence.comparison_features])
        named = [(name,) for name in self.evidence.rating_ids]
        evidence: list[tuple[str, ...]] = [*named, *self.evidence.comparison_ids]
        reduction = self.posterior.reduction
        covariance = features @ rows.mT - (features @ reduction.mT) @ (rows @ reduction.mT).mT
        if not model.config.use_user:
            covariance = torch.zeros_like(covariance)
        pull = (self.sites.target - rows @ self.prior_mean) / self.sites.noise_variance
        units = _units(model, self.data_set)
        prior = units.offset + units.scale * (features @ self.prior_mean)
        return Explanation(prior, units.scale * covariance * pull, evidence)

    def _features(self, model: PamelaForPersonalizedScoring, pictures: Mapping[str, Tensor]) -> Tensor:
        self.check_model(model)
        if model.training:
            model.eval()
        return model.get_taste_features(**pictures).double().cpu()

    def check_model(self, model: PamelaForPersonalizedScoring) -> None:
        """Raises [`ProfileError`] where the profile belongs to another model."""
        if (fingerprint := model.fingerprint()) != self.model_fingerprint:
            raise ProfileError(
                f"The profile belongs to the model {self.model_fingerprint}, not to {fingerprint}. Load the model it was made "
                "with, or learn the taste anew from its evidence with `profile.migrate(model)`."
            )

    # Saving ---------------------------------------------------------------------------------------------------------

    def save_pretrained(self, save_directory: str | Path) -> None:
        """
        Write `profile.json` and the `profile-*.safetensors` that it names. A profile that stood there is replaced at once and whole.
        """
        folder = Path(save_directory)
        tensors = {
            **{f"posterior.{name}": tensor for name, tensor in self.posterior._asdict().items()},
            **{f"sites.{name}": tensor for name, tensor in self.sites._asdict().items()},
            **self.evidence.to_tensors(),
            "prior_mean": self.prior_mean,
        }
        if self.demographics_embeds is not None:
            tensors["demographics_embeds"] = self.demographics_embeds
        facts: dict[str, Any] = {
            "format_version": FORMAT_VERSION,
            "num_ratings": self.num_ratings,
            "num_comparisons": self.num_comparisons,
            "scale": list(self.scale),
            "data_set": self.data_set,
            "noise_variance": self.noise_variance,
            "model_fingerprint": self.model_fingerprint,
            "encoder_fingerprints": self.encoder_fingerprints,
            "image_ids": list(self.evidence.image_ids),
        }
        weights = save({name: tensor.clone(memory_format=torch.contiguous_format) for name, tensor in tensors.items()})
        facts["checksum"] = _checksum(facts, weights)
        weights_file = folder / _weights_name(facts)
        with atomic_write(weights_file) as temporary:
            temporary.write_bytes(weights)
        with atomic_write(folder / PROFILE_FILE) as temporary:
            temporary.write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")
        for old in folder.glob("profile-*.safetensors"):
            if old != weights_file:
                old.unlink()

    def push_to_hub(self, repo_id: str, *, private: bool = True, token: str | None = None) -> str:
        """
        Upload the profile to a Hub model repo of its own, private unless said otherwise: it tells what a person likes.

        Args:
            repo_id (`str`): `"name/repo"`; made where it does not exist.
            private (`bool`): Whether nobody else may read it.
            token (`str`, *optional*): Hub token; the one logged in with by default.

        Returns:
            `str`: Address of the commit.

        Raises:
            ProfileError: It was to be private, but the repo exists and is public; or the Hub refuses.
        """
        api = HfApi(token=token)
        try:
            api.create_repo(repo_id, private=private, exist_ok=True)
            if private and not api.model_info(repo_id).private:
                raise ProfileError(
                    f"The repo {repo_id} exists and is public, so everybody could read this profile. Name another repo, make that one "
                    "private, or pass `private=False`."
                )
            with TemporaryDirectory() as folder:
                self.save_pretrained(folder)
                commit = api.upload_folder(
                    repo_id=repo_id,
                    folder_path=folder,
                    delete_patterns="profile-*.safetensors",
                    commit_message="Upload taste profile",
                )
        except (HfHubHTTPError, HFValidationError, LocalTokenNotFoundError) as error:
            raise ProfileError(f"The Hub did not take the profile as {repo_id} ({error}).") from error
        return str(commit.commit_url)

    @classmethod
    def from_pretrained(cls, directory: str | Path, *, token: str | None = None) -> "TasteProfile":
        """
        Read a saved profile: a folder or, where there is no such folder, a Hub repo.

        Raises:
            ProfileError: There is none, or it was cut off or changed since.
        """
        folder = Path(directory)
        if not folder.exists() and str(directory).count("/") == 1 and not str(directory).startswith(("/", ".")):
            try:
                folder = Path(snapshot_download(str(directory), token=token, allow_patterns=["profile*"]))
            except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
                raise ProfileError(
                    f"There is no folder {directory}, and no taste profile can be had from the Hub under that name ({error})."
                ) from error
        try:
            facts = json.loads((folder / PROFILE_FILE).read_text(encoding="utf-8"))
            if facts["format_version"] != FORMAT_VERSION:
                raise ValueError(f"its format is {facts['format_version']}, expected {FORMAT_VERSION}")
            weights = (folder / _weights_name(facts)).read_bytes()
            if _checksum(facts, weights) != facts["checksum"]:
                raise ValueError("it was cut off or changed since it was saved")
            tensors = load(weights)
            return cls(
                TastePosterior(tensors["posterior.mean"], tensors["posterior.reduction"]),
                tensors["prior_mean"],
                facts["noise_variance"],
                TasteEvidence.from_tensors(tensors, facts["image_ids"]),
                GaussianSites(tensors["sites.target"], tensors["sites.noise_variance"]),
                (facts["scale"][0], facts["scale"][1]),
                facts["model_fingerprint"],
                facts["encoder_fingerprints"],
                tensors.get("demographics_embeds"),
                facts.get("data_set"),
            )
        except (OSError, ValueError, TypeError, KeyError, SafetensorError) as error:
            raise ProfileError(
                f"{folder} holds no readable taste profile ({error}). Make one from the person's ratings."
            ) from error


def preference_chance(difference: Tensor, variance: Tensor, noise_variance: Tensor | float) -> Tensor:
    """Chance `(N,)` that a is preferred given no tie, from mean and variance `(N,)` of the noisy difference a - b of two scores."""
    threshold, std = TIE_THRESHOLD * (2 * noise_variance) ** 0.5, variance.sqrt()
    first, second = (torch.special.log_ndtr((side * difference - threshold) / std) for side in (1, -1))
    return torch.sigmoid(first - second)


class _Units(NamedTuple):
    """A rating of a data set, on its own 0..1 scale, is `offset + scale * score`, give or take noise of this variance in the score."""

    offset: float
    scale: float
    noise_variance: float


def _units(model: PamelaForPersonalizedScoring, data_set: str | None) -> _Units:
    """Those of a data set by name; of the first where none is named."""
    if data_set is None:
        return _Units(0.0, 1.0, model.noise_variance)
    sets = model.config.data_sets or []
    names = [member["name"] for member in sets]
    if data_set not in names:
        raise ProfileError(
            f"The model was not trained on a data set {data_set!r}. "
            + (f"Name one of {', '.join(map(repr, names))}, or none." if names else "It knows but one, so name none.")
        )
    number = names.index(data_set)
    return _Units(sets[number]["offset"], sets[number]["scale"], model.noise_variances[number].item())


def _checksum(facts: Mapping[str, Any], weights: bytes) -> str:
    """SHA-256, hexadecimal, of all facts but this one and of the tensors."""
    said = {name: value for name, value in facts.items() if name != "checksum"}
    digest = hashlib.sha256(json.dumps(said, sort_keys=True).encode())
    digest.update(weights)
    return digest.hexdigest()


def _weights_name(facts: Mapping[str, Any]) -> str:
    return f"profile-{facts['checksum'][:12]}.safetensors"


def _describe(
    model: PamelaForPersonalizedScoring, pictures: Mapping[str, Tensor], image_ids: Sequence[str] | None
) -> tuple[Tensor, dict[str, Tensor]]:
    """Taste features `(n, W)` of pictures, and the frozen embeddings they were computed from."""
    if model.training:
        model.eval()
    embeds = dict(pictures)
    if "pixel_values" in embeds:
        embeds["image_embeds"] = model.get_image_embeds(embeds.pop("pixel_values"))
    features = model.get_taste_features(**embeds).cpu()
    if image_ids is not None and len(image_ids) != len(features):
        raise ProfileError(f"There are {len(image_ids)} image_ids for {len(features)} pictures; expected one each.")
    finite = features.isfinite().all(-1)
    for rows in embeds.values():
        finite &= rows.detach().to("cpu", torch.float16).isfinite().all(-1)
    if not finite.all():
        raise ProfileError(
            f"What is known of picture number {int((~finite).nonzero()[0]) + 1} has values that are not finite. Encode it anew, "
            "or leave it out."
        )
    return features, embeds
