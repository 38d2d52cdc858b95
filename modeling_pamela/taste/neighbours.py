"""A new person's token from the nearest training people (PAMELA, arXiv 2604.07427, Eq. 1)."""

import torch
from torch import Tensor
from torch.nn import functional as F


__all__ = ["neighbour_user_embedding", "preference_profile"]


def preference_profile(image_embeds: Tensor, ratings_norm: Tensor) -> Tensor:
    """
    Mean embedding of the pictures that a person rated, weighted by the ratings: `sum_i r_i v_i / sum_i r_i`.

    The paper's weights depend on where the rating scale has its zero; here it is the lowest rating, which therefore has no
    weight. Somebody who gave nothing but the lowest rating prefers no picture to another: all weights are equal.

    Args:
        image_embeds (`torch.Tensor` of shape `(..., k, D)`): Frozen embeddings of the rated pictures, k >= 1.
        ratings_norm (`torch.Tensor` of shape `(..., k)`): Their ratings, 0 to 1.

    Returns:
        `torch.Tensor` of shape `(..., D)`

    Raises:
        ValueError: There is no rating, not one a picture, or one that is not between 0 and 1.

    Example:

    ```python
    >>> import torch
    >>> from modeling_pamela.taste.neighbours import preference_profile

    >>> preference_profile(torch.tensor([[1.0, 0.0], [0.0, 1.0]]), torch.tensor([0.75, 0.25])).tolist()
    [0.75, 0.25]

    ```
    """
    if image_embeds.shape[:-1] != ratings_norm.shape or not ratings_norm.numel():
        raise ValueError(
            f"Expected one rating for each of at least one picture, got ratings of shape {tuple(ratings_norm.shape)} and "
            f"picture embeddings of shape {tuple(image_embeds.shape)}."
        )
    wrong = ~((ratings_norm >= 0) & (ratings_norm <= 1))
    if wrong.any():
        raise ValueError(
            f"{int(wrong.sum())} ratings are not between 0 and 1 (the first: {ratings_norm[wrong][0].item():g}). Use "
            "(rating - lowest) / (highest - lowest)."
        )
    weights = ratings_norm.to(image_embeds.dtype)
    weights = torch.where((weights > 0).any(-1, keepdim=True), weights, 1.0)
    weights = weights / weights.sum(-1, keepdim=True)
    return (weights.unsqueeze(-2) @ image_embeds).squeeze(-2)


def neighbour_user_embedding(
    profile: Tensor,
    train_profiles: Tensor,
    train_user_embeds: Tensor,
    num_neighbours: int = 5,
    temperature: float = 0.1,
) -> Tensor:
    """
    Mix of the user embeddings of the K nearest training people, weighted by `softmax(cosine / temperature)` over these K.

    Args:
        profile (`torch.Tensor` of shape `(..., D)`): Preference profiles of new people.
        train_profiles (`torch.Tensor` of shape `(T, D)`): Preference profiles of the training people.
        train_user_embeds (`torch.Tensor` of shape `(T, H)`): Their learned user embeddings.
        num_neighbours (`int`): K; with fewer training people, all of them.
        temperature (`float`): tau > 0; the smaller, the more the nearest counts.

    Returns:
        `torch.Tensor` of shape `(..., H)`

    Raises:
        ValueError: There are no training people, the two tables differ in length, or K or tau is out of range.

    Example:

    ```python
    >>> import torch
    >>> from modeling_pamela.taste.neighbours import neighbour_user_embedding

    >>> # The two nearest are equally near; the third is left out.
    >>> profiles = torch.tensor([[1.0, 1.0], [1.0, -1.0], [-1.0, 0.0]])
    >>> user_embeds = torch.tensor([[2.0], [4.0], [100.0]])
    >>> neighbour_user_embedding(torch.tensor([1.0, 0.0]), profiles, user_embeds, num_neighbours=2).tolist()
    [3.0]

    ```
    """
    if not len(train_profiles) or len(train_profiles) != len(train_user_embeds):
        raise ValueError(
            f"Expected a profile and a user embedding of each of at least one training person, got {len(train_profiles)} "
            f"profiles and {len(train_user_embeds)} user embeddings."
        )
    if num_neighbours < 1 or not temperature > 0:
        raise ValueError(
            f"num_neighbours must be at least 1 and temperature above 0, got {num_neighbours} and {temperature}."
        )
    similarity = F.normalize(profile, dim=-1) @ F.normalize(train_profiles, dim=-1).T
    nearest = similarity.topk(min(num_neighbours, len(train_profiles)), dim=-1)
    weights = F.softmax(nearest.values / temperature, dim=-1).to(train_user_embeds.dtype)
    return (weights.unsqueeze(-2) @ train_user_embeds[nearest.indices]).squeeze(-2)
