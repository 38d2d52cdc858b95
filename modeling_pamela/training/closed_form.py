"""
A posterior model with kernel fusion, solved instead of stepped towards: a Gaussian process for the population and one for people.

1. Population: the crowd's mean rating of every training picture is regressed on the kernel features of picture, prompt and metadata
   (Rasmussen & Williams 2006, chapter 2); every input's weight and the noise maximise the marginal likelihood.
2. Priors: how much people differ in bias, in scale and along every input, and how noisy a rating is, maximise the marginal
   likelihood of the training people's ratings. The population score of a training picture is, for this, the one predicted
   *without* that picture (cross-fitting): the fitted one knows its ratings already, and people would seem to be all alike. A picture
   that several data sets show is left out in all of them.
3. Learned directions: the covariance of tastes is re-estimated by a few steps of expectation maximisation on the same likelihood,
   held towards the prior of step 2, which is what lets people differ in ways in which no training person did. Its principal
   directions on the training pictures become the learned directions.
   How unsure step 1 left the population score counts for one person like one more way to differ, so its covariance is added: to the
   learned directions near the training pictures, to the free ones away from them, where the score is its prior mean.
4. Demographics: the training people's tastes are regressed on what is known of them, if that predicts the tastes of people left out.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from tqdm.auto import tqdm

from ..data.embed import FolderEmbeddings
from ..data.files import DataError
from ..data.folder import Ratings
from ..data.processes import process_index
from ..modeling_pamela import PamelaForPersonalizedScoring


__all__ = ["fit_closed_form"]

# Matrices of pictures by pictures are solved; beyond this they outgrow a laptop.
MAX_PICTURES = 8192
MIN_PICTURES = 10
FOLDS = 5
STEPS = 120
PEOPLE_A_STEP = 64
# Numbers in one batch of people x ratings x ratings.
MAX_BATCH = 2**24
# Pictures whose kernel value is larger are one picture, e.g. shown by two data sets.
SAME_PICTURE = 0.999
DEMOGRAPHICS_PENALTIES = (1.0, 3.0, 10.0, 30.0, 100.0, 300.0)
# Rounds of EM, and how many people step 2's prior counts for in it; both chosen on validation.
EM_ROUNDS = 12
PRIOR_PEOPLE = 126


@dataclass(frozen=True)
class _People:
    """Training ratings as a table of people by places, padded: `picture` `(U, K)`, `rating` `(U, K)`, `mask` `(U, K)`; `data_set` `(U,)` and `weight` `(U,)`."""

    picture: Tensor
    rating: Tensor
    mask: Tensor
    data_set: Tensor
    weight: Tensor

    @property
    def batch_size(self) -> int:
        """People whose covariances of ratings are held in memory at a time."""
        return max(1, min(PEOPLE_A_STEP, MAX_BATCH // self.mask.shape[1] ** 2))


@torch.no_grad()
def fit_closed_form(
    model: PamelaForPersonalizedScoring,
    ratings: Ratings,
    embeddings: FolderEmbeddings,
    seed: int = 0,
    data_set: np.ndarray | None = None,
) -> None:
    """
    Fit a posterior model with `fusion="kernel"`, in place. Its inputs must be fitted already.

    Args:
        model ([`PamelaForPersonalizedScoring`]): From [`~modeling_pamela.training.trainer.make_model`].
        ratings ([`~modeling_pamela.data.folder.Ratings`]): Training ratings.
        embeddings ([`~modeling_pamela.data.embed.FolderEmbeddings`]): Of their data folder.
        seed (`int`): Of the folds and the order of people.
        data_set (`np.ndarray` of shape `(U,)`, *optional*): Set of every person of the folder, in the order of `config.data_sets`. Each
            has a noise of its own, and its weight multiplies its people's log likelihood.

    The model's device does the work.

    Raises:
        DataError: There are fewer than 10 or more than 8,192 training pictures.
    """
    generator = torch.Generator().manual_seed(seed)
    pictures, place = np.unique(ratings.image, return_inverse=True)
    if not MIN_PICTURES <= len(pictures) <= MAX_PICTURES:
        raise DataError(
            f"There are {len(pictures):,} training pictures; the closed form needs {MIN_PICTURES} to {MAX_PICTURES:,}. With more, "
            "train in steps (`pamela train --recipe posterior-mlp`); with fewer, there is nothing to learn a common taste from."
        )
    device = model.device
    inputs = {
        "image_embeds": embeddings.image[pictures].to(device),
        "text_embeds": embeddings.text[pictures].to(device),
        "metadata_embeds": embeddings.metadata[pictures].to(device),
    }
    blocks = _input_blocks(model)
    features = model.pamela(**inputs).pooler_output.double()
    set_weights = [member["weight"] for member in model.config.data_sets or [{"weight": 1.0}]]
    people = _pad(ratings, place, data_set, set_weights, device)
    means, counts = _crowd_means(people, len(pictures))
    picture_set = torch.zeros(len(pictures), dtype=torch.long, device=device)
    picture_set[people.picture[people.mask]] = people.data_set[:, None].expand(people.mask.shape)[people.mask]
    effective = counts * torch.tensor(set_weights, dtype=torch.float64, device=device)[picture_set]

    scales, noise = _fit_population_hyperparameters(features, blocks, means, effective, picture_set)
    variance = noise[picture_set] * effective.mean() / effective
    weights, bias = _solve_population(features * scales, means, variance)
    unsure = _population_covariance(features, scales, variance)
    model.head.weight.copy_((scales * weights)[None])
    model.head.bias.fill_(bias)
    if model.head_without_prompt is not None:
        visible = scales.clone()
        visible[blocks["text"]] = 0.0
        weights, _ = _solve_population(features * visible, means, variance)
        model.head_without_prompt.weight.copy_((visible * weights)[None])
    unseen = _out_of_fold(features * scales, means, variance, _first_of_each(model, inputs["image_embeds"]), generator)

    deviation = unseen - bias
    prior_std, noise_std = _fit_priors(features, blocks, deviation, people, unseen, generator)
    input_std = features.new_zeros(features.shape[1])
    for name, columns in blocks.items():
        input_std[columns] = prior_std[name]
    scaled = features * input_std
    covariance = _fit_covariance(
        scaled, prior_std["bias"], prior_std["scale"], deviation, noise_std, people, means, counts
    )
    covariance = input_std[:, None] * covariance * input_std + unsure
    directions = _principal_directions(covariance, features, model.config.num_learned_directions)

    taste = model.posterior_taste
    taste.directions.weight.zero_()
    taste.directions.weight[: directions.shape[1]] = directions.T
    free = (input_std.square() + scales.square()).sqrt()
    spread = {f"free_{name}": free[columns][0] for name, columns in blocks.items()}
    parts: dict[str, float | Tensor] = {"learned": 1.0, "free_image": 0.0, "free_text": 0.0, **prior_std, **spread}
    # A part without variance would make its logarithm infinite.
    taste.log_prior_std.copy_(torch.tensor([max(float(parts[part]), 1e-4) for part in taste.parts]).log())
    taste.log_noise_std.copy_(noise_std.log().reshape(taste.log_noise_std.shape))
    if taste.demographics is not None:
        features = model(**inputs).taste_features.double()
        demographics = embeddings.demographics[np.unique(ratings.user)].double().to(device)
        shift_weight, shift_bias = _fit_demographics(model, features, people, demographics, generator)
        taste.demographics.weight.copy_(shift_weight)
        taste.demographics.bias.copy_(shift_bias)


def _input_blocks(model: PamelaForPersonalizedScoring) -> dict[str, slice]:
    """Columns of the pooled features that belong to every input."""
    size = model.config.num_landmarks
    return {name: slice(size * index, size * (index + 1)) for index, name in enumerate(model.pamela.projections)}


def _pad(
    ratings: Ratings,
    place: np.ndarray,
    data_set: np.ndarray | None = None,
    set_weights: Sequence[float] = (1.0,),
    device: torch.device | str = "cpu",
) -> _People:
    users, user = np.unique(ratings.user, return_inverse=True)
    order = np.argsort(user, kind="stable")
    counts = np.bincount(user)
    column = np.arange(len(user)) - np.repeat(counts.cumsum() - counts, counts)
    picture = torch.zeros(len(users), int(counts.max()), dtype=torch.long)
    rating = torch.zeros(picture.shape, dtype=torch.float64)
    mask = torch.zeros(picture.shape, dtype=torch.bool)
    rows, columns = torch.from_numpy(user[order]), torch.from_numpy(column)
    picture[rows, columns] = torch.from_numpy(place[order])
    rating[rows, columns] = torch.from_numpy(ratings.rating_norm[order])
    mask[rows, columns] = True
    of_set = torch.from_numpy(np.zeros(len(users), dtype=np.int64) if data_set is None else data_set[users])
    weight = torch.tensor(set_weights, dtype=torch.float64)[of_set]
    return _People(*(table.to(device) for table in (picture, rating, mask, of_set, weight)))


def _crowd_means(people: _People, num_pictures: int) -> tuple[Tensor, Tensor]:
    """Mean rating `(N,)` of every picture, raters' own biases taken out, and its number of ratings `(N,)`."""
    flat = people.picture[people.mask]
    counts = torch.bincount(flat, minlength=num_pictures).double()
    bias = people.rating.new_zeros(len(people.mask), 1)
    for _ in range(10):
        unbiased = (people.rating - bias)[people.mask]
        means = unbiased.new_zeros(num_pictures).index_add(0, flat, unbiased) / counts
        residual = (people.rating - means[people.picture]) * people.mask
        # One imagined rating without bias keeps the bias of somebody with few ratings small.
        bias = residual.sum(1, keepdim=True) / (people.mask.sum(1, keepdim=True) + 1)
    return means, counts


@torch.enable_grad()
def _fit_population_hyperparameters(
    features: Tensor, blocks: dict[str, slice], means: Tensor, counts: Tensor, picture_set: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Prior standard deviation `(M,)` of every column's weight and noise variance `(S,)` of a mean of average count in every data set."""
    if picture_set is None:
        picture_set = torch.zeros(len(means), dtype=torch.long, device=means.device)
    num_sets = int(picture_set.max()) + 1
    grams = torch.stack([features[:, columns] @ features[:, columns].T for columns in blocks.values()])
    # Means that hardly differ still need a place to start from.
    spread = means.std().clamp_min(1e-3)
    start = means.new_full((len(blocks) + num_sets,), float((spread / 2).log()))
    log_std = start.requires_grad_()
    optimizer = torch.optim.Adam([log_std], lr=0.1)
    inverse_counts = counts.mean() / counts
    for _ in _progress(STEPS, "Population"):
        variances = (2 * log_std).exp()
        noise = variances[len(blocks) :][picture_set] * inverse_counts
        covariance = (variances[: len(blocks), None, None] * grams).sum(0) + torch.diag(noise)
        factor = torch.linalg.cholesky(covariance)
        deviations = torch.linalg.solve_triangular(factor, (means - means.mean())[:, None], upper=False)
        loss = deviations.square().sum() / 2 + factor.diagonal().log().sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    std = log_std.detach().exp()
    scales = features.new_zeros(features.shape[1])
    for value, columns in zip(std[: len(blocks)], blocks.values(), strict=True):
        scales[columns] = value
    return scales, std[len(blocks) :].square()


def _solve_population(scaled: Tensor, means: Tensor, variance: Tensor) -> tuple[Tensor, float]:
    """Weights `(M,)` over features `(N, M)` scaled to a unit prior, and bias: the posterior mean given noisy means `(N,)`."""
    bias = float(means.mean())
    gram = scaled @ scaled.T + torch.diag(variance)
    return scaled.T @ torch.linalg.solve(gram, means - bias), bias


def _population_covariance(features: Tensor, scales: Tensor, variance: Tensor) -> Tensor:
    """Posterior covariance `(M, M)` of the weights of [`_solve_population`], over features `(N, M)` that are not scaled."""
    scaled = features * scales
    explained = scaled.T @ torch.linalg.solve(scaled @ scaled.T + torch.diag(variance), scaled)
    return torch.diag(scales.square()) - scales[:, None] * explained * scales


def _first_of_each(model: PamelaForPersonalizedScoring, image_embeds: Tensor) -> Tensor:
    """`(N,)`: the place of the first picture that is the same as each. A model that sees no pictures cannot tell."""
    if "image" not in model.pamela.projections:
        return torch.arange(len(image_embeds), device=image_embeds.device)
    projected = model.pamela.projections["image"](image_embeds)
    return (model.pamela.kernels["image"].kernel(projected, projected) > SAME_PICTURE).int().argmax(1)


def _out_of_fold(scaled: Tensor, means: Tensor, variance: Tensor, first: Tensor, generator: torch.Generator) -> Tensor:
    """Population score `(N,)` of every training picture, predicted without it, wherever it occurs; see [`_first_of_each`]."""
    fold = (torch.randperm(len(scaled), generator=generator) % FOLDS).to(scaled.device)[first]
    scores = scaled.new_empty(len(scaled))
    for number in range(FOLDS):
        held_out = fold == number
        weights, bias = _solve_population(scaled[~held_out], means[~held_out], variance[~held_out])
        scores[held_out] = bias + scaled[held_out] @ weights
    return scores


@torch.enable_grad()
def _fit_priors(
    features: Tensor,
    blocks: dict[str, slice],
    deviation: Tensor,
    people: _People,
    unseen: Tensor,
    generator: torch.Generator,
) -> tuple[dict[str, float], Tensor]:
    """Prior standard deviations of bias, scale and every input, and of every data set's rating noise `(S,)`, by marginal likelihood."""
    names = ["bias", "scale", *blocks]
    grams = [features.new_ones(len(features), len(features)), deviation[:, None] * deviation]
    grams += [features[:, columns] @ features[:, columns].T for columns in blocks.values()]
    stacked = torch.stack(grams)
    num_sets = int(people.data_set.max()) + 1
    log_std = features.new_full((len(names) + num_sets,), np.log(0.15)).requires_grad_()
    optimizer = torch.optim.Adam([log_std], lr=0.1)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, STEPS)
    for _ in _progress(STEPS, "Priors"):
        rows = torch.randperm(len(people.mask), generator=generator)[: people.batch_size].to(features.device)
        picture, mask = people.picture[rows], people.mask[rows].double()
        variances = (2 * log_std).exp()
        kernel = (variances[: len(names), None, None] * stacked).sum(0)
        noise = variances[len(names) :][people.data_set[rows], None]
        weight = people.weight[rows]
        kernel = kernel[picture[:, :, None], picture[:, None, :]] * mask[:, :, None] * mask[:, None, :]
        # Padding is an observation of variance 1 at its mean: it adds nothing to either term.
        factor = torch.linalg.cholesky(kernel + torch.diag_embed(noise * mask + 1 - mask))
        residual = (people.rating[rows] - unseen[picture]) * mask
        whitened = torch.linalg.solve_triangular(factor, residual.unsqueeze(-1), upper=False)
        log_determinant = factor.diagonal(dim1=-2, dim2=-1).log().sum(-1)
        loss = (weight * (whitened.square().sum((-2, -1)) / 2 + log_determinant)).sum() / (
            weight[:, None] * mask
        ).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    std = log_std.detach().exp()
    return dict(zip(names, std[: len(names)].tolist(), strict=True)), std[len(names) :]


def _fit_covariance(
    scaled: Tensor,
    bias_std: float,
    scale_std: float,
    deviation: Tensor,
    noise_std: Tensor,
    people: _People,
    means: Tensor,
    counts: Tensor,
) -> Tensor:
    """
    Covariance `(M, M)` of tastes over features scaled to a unit prior, by maximum a posteriori EM.

    What a person's ratings differ from is here the mean rating of each picture by all others, not its prediction.
    """
    # From the mean over all to the mean over all others; where there are no others, nothing is known.
    left_out = torch.where(counts > 1, counts / (counts - 1).clamp_min(1), 0.0)
    prior = torch.eye(scaled.shape[1], dtype=scaled.dtype, device=scaled.device)
    covariance = prior
    fixed = bias_std**2 + scale_std**2 * deviation[:, None] * deviation
    num_people, num_pictures = float(people.weight.sum()), len(scaled)
    noise_variance = noise_std.square()[people.data_set]
    for _ in _progress(EM_ROUNDS, "Tastes"):
        spread = covariance @ scaled.T
        kernel = fixed + scaled @ spread
        moment = scaled.new_zeros(num_pictures, num_pictures)
        for rows in torch.arange(len(people.mask), device=scaled.device).split(people.batch_size):
            picture = people.picture[rows]
            mask = (people.mask[rows] & (counts[picture] > 1)).double()
            pairs = mask[:, :, None] * mask[:, None, :]
            observed = kernel[picture[:, :, None], picture[:, None, :]] * pairs
            observed = observed + torch.diag_embed(noise_variance[rows, None] * mask + 1 - mask)
            inverse = torch.linalg.inv(observed)
            residual = (people.rating[rows] - means[picture]) * left_out[picture] * mask
            explained = inverse @ residual.unsqueeze(-1)
            # Posterior mean m m^T plus posterior covariance V of w, seen from the pictures: what S has to change by.
            change = (explained @ explained.mT - inverse) * pairs * people.weight[rows, None, None]
            index = (picture[:, :, None] * num_pictures + picture[:, None, :]).flatten()
            moment.view(-1).index_add_(0, index, change.flatten())
        people_covariance = covariance + spread @ (moment / num_people) @ spread.T
        covariance = (PRIOR_PEOPLE * prior + num_people * people_covariance) / (PRIOR_PEOPLE + num_people)
        covariance = (covariance + covariance.T) / 2
    return covariance


def _progress(steps: int, name: str) -> Iterable[int]:
    return tqdm(range(steps), desc=name, leave=False, disable=process_index() > 0)


def _principal_directions(covariance: Tensor, features: Tensor, number: int) -> Tensor:
    """`(M, <= number)`: the root of the covariance `(M, M)`, along the directions in which training pictures `(N, M)` vary most."""
    values, vectors = torch.linalg.eigh(covariance)
    root = vectors * values.clamp_min(0).sqrt()
    _, _, directions = torch.linalg.svd(features @ root, full_matrices=False)
    return root @ directions[:number].T


def _fit_demographics(
    model: PamelaForPersonalizedScoring,
    features: Tensor,
    people: _People,
    demographics: Tensor,
    generator: torch.Generator,
) -> tuple[Tensor, Tensor]:
    """
    How demographics move the prior mean: weight `(V, D)` and bias `(V,)` of a ridge regression of the training people's tastes
    along the V named directions on their demographics `(U, D)`.

    The penalty is the one that predicts people left out best. Where the best is not better than the mean taste by two
    standard errors (it is the best of several), the prior stays the population's.
    """
    posterior = model.learn_taste(
        features[people.picture] * people.mask.unsqueeze(-1),
        people.rating * people.mask,
        noise_variance=model.noise_variances.to(features.device)[people.data_set],
    )
    named = model.posterior_taste.num_named
    tastes = (posterior.mean - model.prior_taste().double())[:, :named]
    known = demographics.ne(0).any(-1)
    tastes, demographics = tastes[known], demographics[known]
    nothing = tastes.new_zeros(named, demographics.shape[1]), tastes.new_zeros(named)
    if len(tastes) < 2 * FOLDS:
        return nothing
    fold = (torch.randperm(len(tastes), generator=generator) % FOLDS).to(tastes.device)

    def solve(rows: Tensor, penalty: float) -> tuple[Tensor, Tensor]:
        centre, mean = demographics[rows].mean(0), tastes[rows].mean(0)
        centred = demographics[rows] - centre
        system = centred @ centred.T + penalty * torch.eye(len(centred), dtype=centred.dtype, device=centred.device)
        weight = (centred.T @ torch.linalg.solve(system, tastes[rows] - mean)).T
        return weight, mean - weight @ centre

    def gains(penalty: float) -> Tensor:
        """Fall of the squared error of every person's taste against the mean taste, both from the other folds."""
        fall = tastes.new_zeros(len(tastes))
        for number in range(FOLDS):
            held_out = fold == number
            weight, bias = solve(~held_out, penalty)
            predicted = demographics[held_out] @ weight.T + bias
            mean = tastes[~held_out].mean(0)
            fall[held_out] = (tastes[held_out] - mean).square().sum(-1) - (tastes[held_out] - predicted).square().sum(
                -1
            )
        return fall

    best = max(DEMOGRAPHICS_PENALTIES, key=lambda penalty: float(gains(penalty).mean()))
    gain = gains(best)
    if not gain.mean() > 2 * gain.std() / len(gain) ** 0.5:
        return nothing
    return solve(torch.ones(len(tastes), dtype=torch.bool, device=tastes.device), best)
