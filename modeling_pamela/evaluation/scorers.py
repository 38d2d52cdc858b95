"""PAMELA models and the baselines beside them as [`PersonalScorer`]s over a data folder's embeddings."""

import copy

import numpy as np
import torch

from ..data.embed import FolderEmbeddings, read_embeddings
from ..data.files import DataError
from ..data.folder import DataFolder, Ratings
from ..data.joint import JointFolder, data_set_of_user
from ..gaussian_taste import TastePosterior
from ..modeling_pamela import PamelaForPersonalizedScoring
from ..taste.neighbours import neighbour_user_embedding, preference_profile
from ..taste.onboarding import suggest_next
from .protocol import Evidence, PersonalScorer


__all__ = ["ChosenContextScorer", "PopulationScorer", "PosteriorScorer", "RatingScales", "TokenScorer", "model_scorer"]


class RatingScales:
    """
    Between every person's own 0..1 scale and the model's, which is that of its first data set.

    Args:
        model ([`PamelaForPersonalizedScoring`]): Perhaps of several data sets.
        num_people (`int`): U.
        data_set (`int` or `np.ndarray` of shape `(U,)`): Which set everybody is of.
    """

    def __init__(self, model: PamelaForPersonalizedScoring, num_people: int, data_set: np.ndarray | int) -> None:
        sets = model.config.data_sets or [{"offset": 0.0, "scale": 1.0}]
        self.data_set = np.broadcast_to(data_set, num_people)
        self.offset = np.array([member["offset"] for member in sets])
        self.scale = np.array([member["scale"] for member in sets])

    def to_model(self, user: int, ratings: np.ndarray) -> np.ndarray:
        """A person's ratings `(k,)` on the model's scale."""
        number = self.data_set[user]
        return (ratings - self.offset[number]) / self.scale[number]

    def from_model(self, user: int, scores: np.ndarray) -> np.ndarray:
        """Scores `(q,)` on the person's own scale."""
        number = self.data_set[user]
        return self.offset[number] + self.scale[number] * scores


class PosteriorScorer:
    """
    A posterior model: the closed-form taste of the evidence, seen or unseen people alike.

    Args:
        model ([`PamelaForPersonalizedScoring`]): A posterior model.
        embeddings ([`FolderEmbeddings`]): Of the data folder.
        with_demographics (`bool`): Let demographics move the prior.
        data_set (`int` or `np.ndarray` of shape `(U,)`): Set of the folder, or of every person in it, in the order of `config.data_sets`.
    """

    name = "posterior"

    @torch.no_grad()
    def __init__(
        self,
        model: PamelaForPersonalizedScoring,
        embeddings: FolderEmbeddings,
        with_demographics: bool = True,
        data_set: np.ndarray | int = 0,
    ) -> None:
        if not with_demographics:
            self.name = "posterior without demographics"
        self.scales = RatingScales(model, len(embeddings.demographics), data_set)
        was_training = model.training
        model.eval()
        device = model.device
        output = model(
            image_embeds=embeddings.image.to(device),
            text_embeds=embeddings.text.to(device),
            metadata_embeds=embeddings.metadata.to(device),
        )
        self.features = output.taste_features.double().cpu()
        demographics = embeddings.demographics.to(device) if with_demographics else None
        self.priors = model.prior_taste(demographics, len(embeddings.demographics)).double().cpu()
        self.learn_taste = model.learn_taste
        self.noise_variances = model.noise_variances.cpu()
        model.train(was_training)

    def __call__(self, evidence: Evidence, queries: np.ndarray) -> np.ndarray:
        user = evidence.user
        ratings = torch.from_numpy(self.scales.to_model(user, evidence.ratings))
        noise_variance = self.noise_variances[self.scales.data_set[user]]
        taste = self.learn_taste(self.features[evidence.images], ratings, self.priors[user], noise_variance)
        return self.scales.from_model(user, (self.features[queries] @ taste.mean).numpy())


class ChosenContextScorer:
    """
    A posterior model that picks which of a person's ratings it sees, by what would teach it most
    ([`~modeling_pamela.taste.onboarding.suggest_next`]); ratings themselves have no part in that.

    Args:
        posterior ([`PosteriorScorer`]): The model.
        noise_variance (`float`): Variance of a rating around its score.
        k (`int`): How many ratings it picks.
    """

    name = "posterior, chosen pictures"

    def __init__(self, posterior: PosteriorScorer, noise_variance: float, k: int) -> None:
        self.posterior, self.noise_variance, self.k = posterior, noise_variance, k

    def __call__(self, evidence: Evidence, queries: np.ndarray) -> np.ndarray:
        pool, mean = self.posterior.features[evidence.images], self.posterior.priors[evidence.user]
        prior = TastePosterior(mean, mean.new_zeros(0, len(mean)))
        chosen = suggest_next(prior, self.noise_variance, pool, min(self.k, len(pool))).numpy()
        return self.posterior(Evidence(evidence.user, evidence.images[chosen], evidence.ratings[chosen]), queries)


class PopulationScorer:
    """
    Scores for nobody in particular: `mu(x)` of a posterior model, or the paper's population score of a token model.

    Args:
        model ([`PamelaForPersonalizedScoring`]): Of either kind.
        embeddings ([`FolderEmbeddings`]): Of the data folder.
    """

    name = "population"

    @torch.no_grad()
    def __init__(
        self, model: PamelaForPersonalizedScoring, embeddings: FolderEmbeddings, data_set: np.ndarray | int = 0
    ) -> None:
        self.scales = RatingScales(model, len(embeddings.demographics), data_set)
        model.eval()
        output = model(
            image_embeds=embeddings.image.to(model.device),
            text_embeds=embeddings.text.to(model.device),
            metadata_embeds=embeddings.metadata.to(model.device),
        )
        scores = output.scores if output.population_scores is None else output.population_scores
        self.scores = scores.double().cpu().numpy()

    def __call__(self, evidence: Evidence, queries: np.ndarray) -> np.ndarray:
        return self.scales.from_model(evidence.user, self.scores[queries])


class TokenScorer:
    """
    The paper's model: a training person's own token, or for a new person the mix of the nearest training people's (Eq. 1).

    Args:
        model ([`PamelaForPersonalizedScoring`]): A token model.
        embeddings ([`FolderEmbeddings`]): Of the data folder.
        train (`Ratings`): The training ratings, whose people, sorted by row, are the rows of the user table.
        data_set (`int` or `np.ndarray` of shape `(U,)`): Set of the folder, whose people then are the set's rows of the user table; or set
            of every person in it.
    """

    name = "token + kNN"

    @torch.no_grad()
    def __init__(
        self,
        model: PamelaForPersonalizedScoring,
        embeddings: FolderEmbeddings,
        train: Ratings,
        data_set: np.ndarray | int = 0,
    ) -> None:
        self.scales = RatingScales(model, len(embeddings.demographics), data_set)
        self.model = model.eval()
        self.embeddings = embeddings
        self.num_neighbours = model.config.num_neighbours
        self.temperature = model.config.neighbour_temperature
        self.users = np.unique(train.user)
        table = model.pamela.user_embeddings
        # Without tokens (`use_user=False`) everybody is known by their demographics alone.
        self.tokens = None if table is None else table.weight.detach().cpu()
        if self.tokens is not None:
            if isinstance(data_set, int) and model.config.data_sets:
                first = sum(member["num_users"] for member in model.config.data_sets[:data_set])
                self.tokens = self.tokens[first : first + model.config.data_sets[data_set]["num_users"]]
            if len(self.tokens) != len(self.users):
                raise DataError(
                    f"The token model knows {len(self.tokens)} people, but these training ratings are of {len(self.users)}. Evaluate it on the "
                    "data it was trained on."
                )
        # Pictures are compared as the network sees them; the paper's network sees the embedding itself.
        self.image_embeds = embeddings.image
        if "image" in model.pamela.projections:
            self.image_embeds = model.pamela.projections["image"](embeddings.image.to(model.device)).cpu()
        self.profiles = torch.stack(
            [
                self._profile(train.image[rows], train.rating_norm[rows])
                for rows in (train.user == u for u in self.users)
            ]
        )

    def with_neighbours(self, num_neighbours: int, temperature: float) -> "TokenScorer":
        """The same model with another K and tau than its config names."""
        other = copy.copy(self)
        other.num_neighbours, other.temperature = num_neighbours, temperature
        return other

    def _profile(self, images: np.ndarray, ratings: np.ndarray) -> torch.Tensor:
        return preference_profile(self.image_embeds[images], torch.from_numpy(ratings).float())

    @torch.no_grad()
    def __call__(self, evidence: Evidence, queries: np.ndarray) -> np.ndarray:
        device = self.model.device
        place = np.searchsorted(self.users, evidence.user)
        token: torch.Tensor | None
        if self.tokens is None:
            token = None
        elif place < len(self.users) and self.users[place] == evidence.user:
            token = self.tokens[place]
        elif len(evidence.images):
            token = neighbour_user_embedding(
                self._profile(evidence.images, evidence.ratings),
                self.profiles,
                self.tokens,
                num_neighbours=self.num_neighbours,
                temperature=self.temperature,
            )
        else:
            token = None
        return self.scales.from_model(
            evidence.user,
            self.model(
                image_embeds=self.embeddings.image[queries].to(device),
                text_embeds=self.embeddings.text[queries].to(device),
                metadata_embeds=self.embeddings.metadata[queries].to(device),
                demographics_embeds=self.embeddings.demographics[[evidence.user]].to(device),
                taste=None if token is None else token[None].to(device),
            )
            .scores.double()
            .cpu()
            .numpy(),
        )


def model_scorer(model: PamelaForPersonalizedScoring, folder: DataFolder | JointFolder) -> PersonalScorer:
    """A model of either kind as the scorer of a data folder that it was trained on, or of all of its data sets together."""
    embeddings, data_set = read_embeddings(folder, model.config), data_set_of_user(folder)
    if model.taste is not None:
        return PosteriorScorer(model, embeddings, data_set=data_set)
    return TokenScorer(model, embeddings, folder.ratings("train"), data_set)
