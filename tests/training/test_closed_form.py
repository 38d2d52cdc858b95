"""The closed-form fit next to exact Gaussian processes, on raters whose tastes are known."""

import copy
import dataclasses

import numpy as np
import pytest
import torch
from scipy import optimize

from modeling_pamela import PamelaForPersonalizedScoring, TasteProfile
from modeling_pamela.data.files import DataError
from modeling_pamela.data.folder import Ratings
from modeling_pamela.evaluation.protocol import Case, Evidence, evaluate_scorer
from modeling_pamela.evaluation.scorers import PopulationScorer, PosteriorScorer
from modeling_pamela.training import closed_form
from modeling_pamela.training.trainer import make_model


pytestmark = pytest.mark.usefixtures("one_thread")


def fit(config, ratings, embeddings, seed=0):
    model = make_model(copy.deepcopy(config), ratings, embeddings, seed)
    closed_form.fit_closed_form(model, ratings, embeddings, seed)
    return model.eval()


def inputs(embeddings, rows):
    return {
        "image_embeds": embeddings.image[rows],
        "text_embeds": embeddings.text[rows],
        "metadata_embeds": embeddings.metadata[rows],
    }


@pytest.fixture(scope="module")
def model(kernel_config, world, train_ratings):
    return fit(kernel_config, train_ratings, world.embeddings)


def rbf(model, name, a, b):
    """Kernel of one input between embeddings, from its definition."""
    projection = model.pamela.projections[name]
    a, b = (projection(rows).double().detach().numpy() for rows in (a, b))
    lengthscale = model.config.kernel_lengthscale * np.sqrt(2 * projection.output_dim)
    return np.exp(-np.square(a[:, None] - b[None]).sum(-1) / (2 * lengthscale**2))


@pytest.mark.parametrize("with_prompts", [True, False])
def test_the_population_is_an_exact_gaussian_process_of_the_crowd(model, world, train_ratings, with_prompts):
    pictures, place = np.unique(train_ratings.image, return_inverse=True)
    means, counts = closed_form._crowd_means(closed_form._pad(train_ratings, place), len(pictures))
    features = model.pamela(**inputs(world.embeddings, pictures)).pooler_output.double().detach()
    blocks = closed_form._input_blocks(model)
    scales, noise = closed_form._fit_population_hyperparameters(features, blocks, means, counts)
    means, counts = means.numpy(), counts.numpy()

    def kernel(rows, columns):
        total = np.zeros((len(rows), len(columns)))
        for name, block in blocks.items():
            if name != "text" or with_prompts:
                embeds = getattr(world.embeddings, name)
                total += float(scales[block][0]) ** 2 * rbf(model, name, embeds[rows], embeds[columns])
        return total

    everything = np.arange(140)
    observed = kernel(pictures, pictures) + np.diag(noise.numpy() * counts.mean() / counts)
    expected = means.mean() + kernel(everything, pictures) @ np.linalg.solve(observed, means - means.mean())
    given = inputs(world.embeddings, everything)
    if not with_prompts:
        given.pop("text_embeds")
    found = model(**given).population_scores.detach().numpy()
    np.testing.assert_allclose(found, expected, atol=2e-4)
    # ... which says something of pictures that nobody rated.
    assert np.corrcoef(found[100:], world.scores[:, 100:].mean(0))[0, 1] > 0.8


def test_the_population_is_as_unsure_as_a_gaussian_process(model, world, train_ratings):
    """Its weights' covariance, and beyond the landmarks the prior variance of every input, against the definition."""
    pictures, place = np.unique(train_ratings.image, return_inverse=True)
    means, counts = closed_form._crowd_means(closed_form._pad(train_ratings, place), len(pictures))
    blocks = closed_form._input_blocks(model)
    everything = np.arange(140)
    given = inputs(world.embeddings, everything)
    given["image_embeds"] = given["image_embeds"] * torch.linspace(0.5, 10, 140)[:, None]
    pooled = model.pamela(**given).pooler_output.double().detach()
    features = model.pamela(**inputs(world.embeddings, pictures)).pooler_output.double().detach()
    scales, noise = closed_form._fit_population_hyperparameters(features, blocks, means, counts)
    variance = noise * counts.mean() / counts

    covariance = closed_form._population_covariance(features, scales, variance)
    found = ((pooled @ covariance) * pooled).sum(1)
    observed = torch.diag(variance).numpy()
    cross, prior = 0.0, 0.0
    for name, block in blocks.items():
        weight = float(scales[block][0]) ** 2
        found += weight * (1 - pooled[:, block].square().sum(1))
        rated = getattr(world.embeddings, name)[pictures]
        observed = observed + weight * rbf(model, name, rated, rated)
        cross = cross + weight * rbf(model, name, given[f"{name}_embeds"], rated)
        prior += weight
    expected = prior - (cross * np.linalg.solve(observed, cross.T).T).sum(1)
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_std_grows_away_from_the_training_pictures(model, world):
    steps = [
        model(**{**inputs(world.embeddings, np.arange(100)), "image_embeds": factor * world.embeddings.image[:100]})
        for factor in (1.0, 1.5, 2.0, 3.0, 30.0)
    ]
    novelty, std = ([getattr(step, name).mean().item() for step in steps] for name in ("novelty", "std"))
    assert novelty == sorted(novelty)
    assert novelty[0] < 0.01
    assert novelty[-1] > 0.9
    assert std == sorted(std)
    assert std[-1] > 1.2 * std[0]


def test_std_of_a_person_grows_with_novelty_at_the_same_evidence(model, world):
    rated = inputs(world.embeddings, np.arange(20))
    profile = TasteProfile.fit(model, torch.linspace(0, 1, 20), **rated)
    # The directions of pictures nobody rated, at ever larger distances.
    novelty, std = [], []
    for factor in (0.5, 1.0, 1.5, 2.0, 3.0, 30.0):
        asked = {
            **inputs(world.embeddings, np.arange(100, 140)),
            "image_embeds": factor * world.embeddings.image[100:],
        }
        novelty.append(model(**asked).novelty.mean().item())
        std.append(profile.score(model, **asked).std.mean().item())
    assert novelty == sorted(novelty)
    assert std == sorted(std)
    assert std[-1] > 1.5 * std[0]


def test_the_fitted_hyperparameters_are_the_likeliest(model, world, train_ratings):
    pictures, place = np.unique(train_ratings.image, return_inverse=True)
    means, counts = closed_form._crowd_means(closed_form._pad(train_ratings, place), len(pictures))
    features = model.pamela(**inputs(world.embeddings, pictures)).pooler_output.double().detach()
    blocks = closed_form._input_blocks(model)
    scales, noise = closed_form._fit_population_hyperparameters(features, blocks, means, counts)
    grams = [features[:, block] @ features[:, block].T for block in blocks.values()]
    deviations, weights = means - means.mean(), counts.mean() / counts

    def negative_log_likelihood(log_std):
        point = torch.tensor(log_std, requires_grad=True)
        variances = (2 * point).exp()
        covariance = sum(v * gram for v, gram in zip(variances, grams, strict=False)) + torch.diag(
            variances[-1] * weights
        )
        loss = -torch.distributions.MultivariateNormal(torch.zeros_like(means), covariance).log_prob(deviations)
        (gradient,) = torch.autograd.grad(loss, point)
        return loss.item(), gradient.numpy()

    found = [float(scales[block][0].log()) for block in blocks.values()] + [float(noise.log()) / 2]
    best = optimize.minimize(
        negative_log_likelihood, np.full(4, -3.0), jac=True, method="L-BFGS-B", bounds=[(-9, 1)] * 4
    )
    assert negative_log_likelihood(found)[0] < best.fun + 0.5


def test_a_profile_is_an_exact_gaussian_process_of_the_persons_residuals(model, world):
    rated, asked = np.arange(20), np.concatenate([np.arange(20), np.arange(90, 140)])
    evidence = world.ratings(np.full(20, 120), rated)
    profile = TasteProfile.fit(
        model, torch.from_numpy(evidence.rating_norm).clamp(0, 1), **inputs(world.embeddings, rated)
    )
    scores = profile.score(model, **inputs(world.embeddings, asked))

    output = model(**inputs(world.embeddings, asked))
    population, features = output.population_scores.double().detach(), output.taste_features.double().detach()
    kernel = features @ features.T
    gain = torch.linalg.solve(kernel[:20, :20] + model.noise_variance * torch.eye(20), kernel[:20]).T
    residual = torch.from_numpy(evidence.rating_norm).clamp(0, 1) - population[:20]
    torch.testing.assert_close(scores.mean, population + gain @ residual, atol=1e-5, rtol=0)
    variance = kernel.diagonal() - (gain * kernel[:, :20]).sum(1)
    torch.testing.assert_close(scores.std**2, variance, atol=1e-6, rtol=0)


def test_simulated_tastes_are_found(model, world):
    cases = []
    for user in range(100, 140):
        context = np.random.default_rng(user).permutation(100)[:15]
        evidence = Evidence(user, context, world.ratings(np.full(15, user), context, seed=user).rating_norm)
        cases.append(Case(evidence, np.arange(100, 140), world.scores[user, 100:]))
    posterior = PosteriorScorer(model, world.embeddings)
    srocc = {k: evaluate_scorer(posterior, cases, k).srocc.mean() for k in (0, 5, 15)}
    population = evaluate_scorer(PopulationScorer(model, world.embeddings), cases, 0).srocc.mean()
    assert srocc[0] == pytest.approx(population, abs=1e-6)
    assert srocc[0] + 0.03 < srocc[5]
    assert srocc[5] + 0.03 < srocc[15]
    assert srocc[15] > 0.8
    assert model.noise_variance**0.5 == pytest.approx(world.noise_std, rel=0.25)


def test_same_seed_same_weights(kernel_config, model, world, train_ratings):
    again = fit(kernel_config, train_ratings, world.embeddings)
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, again.state_dict()[name]), name


def ratings_of(rows):
    users, images, values = (np.array(column) for column in zip(*rows, strict=True))
    values = values.astype(np.float64)
    return Ratings(np.arange(len(rows)), users, images, values, values)


FEW = [(user, image, (user * 7 + image * 3) % 5 / 4) for user in range(6) for image in range(12)]


@pytest.mark.parametrize(
    "rows",
    [
        [*FEW, (6, 3, 1.0)],
        [*FEW, *((6, image, 0.5) for image in range(12))],
        [*FEW, (0, 12, 0.0), (1, 13, 1.0)],
        [(user, user, user / 9) for user in range(10)],
        [(user, image, float(user > 1)) for user in range(4) for image in range(12)],
        [(0, image, image / 11) for image in range(12)],
        [(user, image, 0.5) for user in range(4) for image in range(12)],
    ],
    ids=[
        "somebody with one rating",
        "somebody who rates all alike",
        "pictures that one person rated",
        "one rating a person and picture",
        "everybody rates all alike",
        "one person",
        "all ratings the same",
    ],
)
def test_little_to_go_by_gives_finite_scores(kernel_config, world, rows):
    model = fit(kernel_config, ratings_of(rows), world.embeddings)
    for name, tensor in model.state_dict().items():
        assert tensor.isfinite().all(), name
    output = model(**inputs(world.embeddings, np.arange(140)))
    assert output.scores.isfinite().all()
    assert output.std.isfinite().all()
    profile = TasteProfile.fit(model, torch.tensor([0.0, 1.0]), **inputs(world.embeddings, np.arange(2)))
    assert profile.posterior.mean.isfinite().all()


@pytest.mark.parametrize("number", [3, 10_000])
def test_too_few_or_too_many_pictures_are_refused(model, world, number):
    rows = np.arange(number)
    ratings = Ratings(rows, rows % 7, rows, rows / number, rows / number)
    with pytest.raises(DataError, match=f"There are {number:,} training pictures"):
        closed_form.fit_closed_form(model, ratings, world.embeddings)


def test_free_directions_vanish_where_the_kernel_is_exact(model, world):
    rated = inputs(world.embeddings, np.arange(100))
    rated, far = (model.pamela(**{name: factor * rows for name, rows in rated.items()}) for factor in (1, 30))
    for name, free in model.taste.free.items():
        assert free(getattr(rated, f"{name}_projection"), rated.pooler_output).norm(dim=1).max() < 0.02
        lengths = free(getattr(far, f"{name}_projection"), far.pooler_output).norm(dim=1)
        torch.testing.assert_close(lengths, torch.ones(100), atol=0.1, rtol=0)


def test_scores_survive_saving(model, world, tmp_path):
    model.save_pretrained(tmp_path)
    loaded = PamelaForPersonalizedScoring.from_pretrained(tmp_path)
    before, after = (each(**inputs(world.embeddings, np.arange(140))) for each in (model, loaded))
    assert torch.equal(before.scores, after.scores)
    assert torch.equal(before.std, after.std)
    assert loaded.fingerprint() == model.fingerprint()


def test_demographics_move_the_prior_where_they_tell_of_tastes(kernel_config, world, train_ratings):
    """Half of the people like everything more by 0.2, and say so; new people of that half are expected to do so too."""
    rng = np.random.default_rng(3)
    generous = rng.random(140) < 0.5
    demographics = torch.nn.functional.one_hot(torch.from_numpy(generous).long(), 5).float()
    shifted = type(world)(
        dataclasses.replace(world.embeddings, demographics=demographics),
        world.scores + 0.2 * (generous[:, None] - 0.5),
        world.noise_std,
    )
    ratings = shifted.ratings(train_ratings.user, train_ratings.image)
    model = fit(kernel_config, ratings, shifted.embeddings)
    scores = [
        model(image_embeds=world.embeddings.image[100:], demographics_embeds=demographics[[user]]).scores.mean().item()
        for user in (100 + generous[100:].argmin(), 100 + generous[100:].argmax())
    ]
    assert 0.12 < scores[1] - scores[0] < 0.22


@pytest.mark.parametrize(
    "demographics",
    [torch.randn(140, 5, generator=torch.Generator().manual_seed(0)), torch.ones(140, 5), torch.zeros(140, 5)],
    ids=["random", "all alike", "unknown"],
)
def test_demographics_that_tell_nothing_are_left_out(kernel_config, world, train_ratings, demographics):
    embeddings = dataclasses.replace(world.embeddings, demographics=demographics)
    assert fit(kernel_config, train_ratings, embeddings).taste.demographics.weight.eq(0).all()
