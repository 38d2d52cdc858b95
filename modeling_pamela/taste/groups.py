"""The taste of several people together: of a demographic group (PAMELA, arXiv 2604.07427, section 5), or of a couple."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..gaussian_taste import TastePosterior, predictive_variance
from ..modeling_pamela import PamelaForPersonalizedScoring
from .profile import ProfileError, ProfileScores, TasteProfile


__all__ = ["SharedTaste", "blend", "group_profile"]

MIN_GROUP_SIZE = 5


@dataclass(frozen=True)
class SharedTaste:
    """
    The weighted mean of several people's tastes. It scores as a profile does but has no evidence to add to: change the profiles
    it was made of instead.

    The score of a picture is the weighted mean of the people's scores. Their tastes are independent Gaussians, so theirs is one too,
    and its std says how well that *mean* is known; it shrinks as people are added, and says nothing of how far they are apart. Scores
    are on the scale of the model's first data set.

    Attributes:
        posterior ([`~modeling_pamela.gaussian_taste.TastePosterior`]): Mean `(W,)` and covariance of the mean taste.
        num_people (`int`): How many people it is of.
        model_fingerprint (`str`): The model it belongs to.
    """

    posterior: TastePosterior
    num_people: int
    model_fingerprint: str

    @torch.no_grad()
    def score(self, model: PamelaForPersonalizedScoring, **pictures: Tensor) -> ProfileScores:
        """
        Score pictures for the people together.

        Args:
            model ([`PamelaForPersonalizedScoring`]): The model that the profiles were made with.
            pictures: `pixel_values` or `image_embeds`, and where known `text_embeds`, … as in the model's `forward`.

        Raises:
            ProfileError: The model is another one.
        """
        if (fingerprint := model.fingerprint()) != self.model_fingerprint:
            raise ProfileError(
                f"The shared taste belongs to the model {self.model_fingerprint}, not to {fingerprint}. Load the model it was made "
                "with, or migrate the profiles and share them anew."
            )
        features = model.eval().get_taste_features(**pictures).double().cpu()
        return ProfileScores(features @ self.posterior.mean, predictive_variance(self.posterior, features).sqrt())


def blend(profiles: Sequence[TasteProfile], weights: Sequence[float] | None = None) -> SharedTaste:
    """
    The taste of a few people who look at one picture together.

    Args:
        profiles (sequence of [`TasteProfile`]): Of one model, each of another person.
        weights (sequence of `float`, *optional*): How much each counts: at least 0, not all 0; only their ratios matter. All the same
            where not given.

    Raises:
        ProfileError: There are no profiles, they are of different models, or there is not one proper weight for each.

    Example:

    ```python
    >>> import torch
    >>> from modeling_pamela import PamelaConfig, PamelaForPersonalizedScoring, TasteProfile
    >>> from modeling_pamela.taste.groups import blend

    >>> _ = torch.manual_seed(0)
    >>> model = PamelaForPersonalizedScoring(PamelaConfig(image_embed_dim=8, hidden_size=16)).eval()
    >>> pictures = torch.randn(4, 8)
    >>> ann = TasteProfile.fit(model, torch.tensor([0.9, 0.1, 0.5, 0.5]), image_embeds=pictures)
    >>> bob = TasteProfile.fit(model, torch.tensor([0.1, 0.9, 0.5, 0.5]), image_embeds=pictures)
    >>> both = blend([ann, bob], [3, 1]).score(model, image_embeds=pictures).mean
    >>> apart = [profile.score(model, image_embeds=pictures).mean for profile in (ann, bob)]
    >>> torch.allclose(both, 0.75 * apart[0] + 0.25 * apart[1])
    True

    ```
    """
    if not profiles:
        raise ProfileError("There are no profiles to blend; give at least one.")
    fingerprints = sorted({profile.model_fingerprint for profile in profiles})
    if len(fingerprints) > 1:
        raise ProfileError(
            f"The profiles belong to {len(fingerprints)} models ({', '.join(fingerprints)}), whose tastes cannot be mixed. Migrate "
            "all to one model."
        )
    shares = torch.tensor([1.0] * len(profiles) if weights is None else list(weights), dtype=torch.float64)
    if shares.shape != (len(profiles),) or not shares.isfinite().all() or (shares < 0).any() or not shares.sum() > 0:
        raise ProfileError(
            f"The weights of {len(profiles)} profiles are {shares.tolist()}; expected one for each, at least 0 and not all 0."
        )
    shares = shares / shares.sum()
    mean = sum(
        (share * profile.posterior.mean for share, profile in zip(shares, profiles, strict=True)), torch.zeros(1)
    )
    # The covariance, sum_u a_u^2 (I - R_u^T R_u), written as I - R^T R.
    width = len(profiles[0].posterior.mean)
    taken = (1 - shares.square().sum()) * torch.eye(width, dtype=torch.float64)
    for share, profile in zip(shares, profiles, strict=True):
        taken += share.square() * (profile.posterior.reduction.mT @ profile.posterior.reduction)
    values, vectors = torch.linalg.eigh(taken)
    reduction = values.clamp(0, 1).sqrt()[:, None] * vectors.mT
    return SharedTaste(TastePosterior(mean, reduction), len(profiles), fingerprints[0])


@torch.no_grad()
def group_profile(
    profiles: Sequence[TasteProfile],
    *,
    model: PamelaForPersonalizedScoring | None = None,
    demographics_embeds: Tensor | None = None,
    min_size: int = MIN_GROUP_SIZE,
) -> SharedTaste:
    """
    The taste of a group: the mean of its people's. The same for a demographic group and for any other set of people.

    The paper averages the embeddings of all users who fit a demographic profile and embeds the profile itself as the group's own
    demographics. Here demographics are in the mean of the prior, so the group's takes the place of its people's: what is
    averaged is by how far each taste is from its own prior.

    Args:
        profiles (sequence of [`TasteProfile`]): The group's people, of one model.
        model ([`PamelaForPersonalizedScoring`], *optional*): Their model; needed with `demographics_embeds`.
        demographics_embeds (`torch.Tensor` of shape `(1, D)`, *optional*): Frozen embedding of the profile that they all fit.
        min_size (`int`): The smallest group whose taste is told: that of fewer would give away what single people like.

    Raises:
        ProfileError: There are fewer than `min_size` people, the profiles are of different models, or the model is another one.
    """
    if len(profiles) < min_size:
        raise ProfileError(
            f"The group has {len(profiles)} people, fewer than the {min_size} below which its taste would give away that of single "
            "people. Widen the group."
        )
    shared = blend(profiles)
    if demographics_embeds is None:
        return shared
    if model is None:
        raise ProfileError(
            "The prior of a demographic group comes from the model: give `model` with `demographics_embeds`."
        )
    profiles[0].check_model(model)
    own_prior = model.prior_taste(demographics_embeds.to(model.device, model.dtype))[0].double().cpu()
    mean = shared.posterior.mean + own_prior - torch.stack([profile.prior_mean for profile in profiles]).mean(0)
    return SharedTaste(shared.posterior._replace(mean=mean), shared.num_people, shared.model_fingerprint)
