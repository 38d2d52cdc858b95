"""Both kinds of model: shapes, laws, inputs that are absent, gradients, saving, and checkpoints that are not whole."""

import copy
import itertools
import json
import subprocess
import sys

import pytest
import torch
from transformers import AutoConfig, AutoModel

from modeling_pamela import PamelaConfig, PamelaForPersonalizedScoring
from modeling_pamela.encoders_pamela import EncoderError
from modeling_pamela.gaussian_taste import predictive_variance


ROWS = {
    "picture_index": torch.tensor([0, 1, 2, 2, 8, 3]),
    "user_index": torch.tensor([1, 0, 0, 1, 1, 0]),
    "labels": torch.tensor([0.1, 0.9, 0.5, 0.2, 0.0, 1.0]),
}


@pytest.mark.parametrize("fusion", ["mlp", "transformer"])
def test_posterior_output_shapes(tiny_config, tiny_pictures, fusion):
    model = PamelaForPersonalizedScoring(PamelaConfig(**tiny_config, fusion=fusion)).eval()
    output = model(**tiny_pictures, **ROWS)
    assert output.loss.shape == ()
    assert output.scores.shape == output.std.shape == (6,)
    assert output.population_scores.shape == (9,)
    assert output.taste_features.shape == (9, model.taste_width) == (9, 2 + 3 + 8 + 4)


@pytest.mark.parametrize("fusion", ["mlp", "transformer"])
def test_token_output_shapes(tiny_token_config, tiny_pictures, fusion):
    model = PamelaForPersonalizedScoring(PamelaConfig(**{**tiny_token_config, "fusion": fusion})).eval()
    output = model(**tiny_pictures, user_ids=torch.tensor([3, 6]), **ROWS)
    assert output.scores.shape == (6,)
    assert output.loss == torch.nn.functional.mse_loss(output.scores, ROWS["labels"])
    assert output.std is None
    assert output.taste_features is None


def test_loss_is_the_density_of_each_persons_ratings(tiny_model, tiny_pictures):
    output = tiny_model(**tiny_pictures, **ROWS)
    total = 0.0
    for user in (0, 1):
        rows = ROWS["user_index"] == user
        pictures = ROWS["picture_index"][rows]
        features = output.taste_features[pictures].double()
        covariance = features @ features.T + tiny_model.noise_variance * torch.eye(len(pictures))
        mean = output.population_scores[pictures].double()
        density = torch.distributions.MultivariateNormal(mean, covariance)
        total += density.log_prob(ROWS["labels"][rows].double())
    assert output.loss.item() == pytest.approx(-total.item() / 6, rel=1e-5)


def test_population_score_is_the_score_without_taste(tiny_model, tiny_pictures):
    output = tiny_model(**tiny_pictures)
    torch.testing.assert_close(output.scores, output.population_scores)


def test_kernel_features_are_the_kernel_at_landmarks(tiny_kernel_model, tiny_pictures):
    network = tiny_kernel_model.pamela(**tiny_pictures)
    image = network.image_projection
    lengthscale = tiny_kernel_model.config.kernel_lengthscale * (2 * image.shape[1]) ** 0.5
    expected = (-(torch.cdist(image, image) ** 2) / (2 * lengthscale**2)).exp()
    features = network.pooler_output[:, :9]
    torch.testing.assert_close(features @ features.T, expected, rtol=1e-3, atol=1e-3)


def test_novelty_is_what_landmarks_leave_unexplained(tiny_kernel_model, tiny_pictures):
    def novelty(image_embeds):
        return tiny_kernel_model(**{**tiny_pictures, "image_embeds": image_embeds}).novelty

    known = tiny_pictures["image_embeds"]
    torch.testing.assert_close(novelty(known), torch.zeros(9), atol=1e-3, rtol=0)
    torch.testing.assert_close(novelty(100 * known), torch.ones(9), atol=1e-3, rtol=0)
    torch.testing.assert_close(novelty(torch.zeros_like(known)), torch.ones(9))
    asked = known + 0.5 * known.roll(1, 0)
    kernels, projection = tiny_kernel_model.pamela.kernels["image"], tiny_kernel_model.pamela.projections["image"]
    rows, landmarks = projection(asked).double(), projection(known).double()
    cross, gram = kernels.kernel(rows, landmarks), kernels.kernel(landmarks, landmarks)
    expected = 1 - (cross @ torch.linalg.inv(gram) * cross).sum(1)
    torch.testing.assert_close(novelty(asked).double(), expected, atol=1e-3, rtol=0)


def test_without_kernels_novelty_is_unknown(tiny_model, tiny_pictures):
    assert tiny_model(**tiny_pictures).novelty is None


def test_head_without_prompt_scores_pictures_without_one(tiny_kernel_model, tiny_pictures):
    mixed = tiny_pictures["text_embeds"].clone()
    mixed[::2] = 0.0
    scores = tiny_kernel_model(**{**tiny_pictures, "text_embeds": mixed}).scores
    with_prompts = tiny_kernel_model(**tiny_pictures).scores
    without = tiny_kernel_model(**{**tiny_pictures, "text_embeds": torch.zeros_like(mixed)}).scores
    torch.testing.assert_close(scores[1::2], with_prompts[1::2])
    torch.testing.assert_close(scores[::2], without[::2])
    assert not torch.allclose(with_prompts, without)


def test_kernel_fusion_is_for_posteriors(tiny_token_config):
    with pytest.raises(ValueError, match="fuses pictures, not people"):
        PamelaForPersonalizedScoring(PamelaConfig(**{**tiny_token_config, "fusion": "kernel"}))


def test_the_prior_taste_scores_as_the_population_does(tiny_model, tiny_pictures):
    population = tiny_model(**tiny_pictures).population_scores
    torch.testing.assert_close(tiny_model(**tiny_pictures, taste=tiny_model.prior_taste()).scores, population)


def test_ratings_move_the_taste_and_narrow_it(tiny_model, tiny_pictures):
    prior = tiny_model(**tiny_pictures)
    posterior = tiny_model.learn_taste(prior.taste_features[:5], torch.ones(5))
    output = tiny_model(**tiny_pictures, taste=posterior.mean[None].float(), taste_reduction=posterior.reduction[None])
    torch.testing.assert_close(output.scores, prior.taste_features @ posterior.mean.float())
    torch.testing.assert_close(output.std.double() ** 2, predictive_variance(posterior, prior.taste_features))
    assert (output.std <= prior.std + 1e-6).all()
    assert output.scores[:5].mean() > prior.scores[:5].mean()


def test_without_users_ratings_teach_nothing(tiny_config, tiny_pictures):
    model = PamelaForPersonalizedScoring(PamelaConfig(**tiny_config, use_user=False, initializer_range=0.3)).eval()
    output = model(**tiny_pictures)
    posterior = model.learn_taste(output.taste_features[:5], torch.ones(5))
    scores = model(**tiny_pictures, taste=posterior.mean[None].float()).scores
    torch.testing.assert_close(scores, output.population_scores)
    assert output.std.eq(0).all()


@pytest.mark.parametrize("fixture", ["tiny_model", "tiny_kernel_model", "tiny_token_model"])
def test_score_does_not_depend_on_the_rest_of_the_batch(fixture, tiny_pictures, request):
    model = request.getfixturevalue(fixture)
    together = model(**tiny_pictures).scores
    for row in range(9):
        alone = model(**{name: embeds[row : row + 1] for name, embeds in tiny_pictures.items()}).scores
        torch.testing.assert_close(alone[0], together[row])


@pytest.mark.parametrize("fixture", ["tiny_model", "tiny_kernel_model", "tiny_token_model"])
def test_score_matrix_equals_forward(fixture, tiny_pictures, request):
    model = request.getfixturevalue(fixture)
    taste = torch.randn(4, model.taste_width)
    out = torch.empty(4, 9)
    matrix = model.score_matrix(**tiny_pictures, taste=taste, out=out)
    assert matrix.data_ptr() == out.data_ptr()
    for row in range(4):
        torch.testing.assert_close(matrix[row], model(**tiny_pictures, taste=taste[row : row + 1]).scores)


@pytest.mark.parametrize("fixture", ["tiny_model", "tiny_kernel_model", "tiny_token_model"])
@pytest.mark.parametrize("kept", list(itertools.combinations(["image_embeds", "text_embeds", "metadata_embeds"], 2)))
def test_absent_input_is_a_row_of_zeros(fixture, tiny_pictures, kept, request):
    model = request.getfixturevalue(fixture)
    zeroed = {name: embeds if name in kept else torch.zeros_like(embeds) for name, embeds in tiny_pictures.items()}
    left_out = {name: tiny_pictures[name] for name in kept}
    torch.testing.assert_close(model(**left_out).scores, model(**zeroed).scores)


@pytest.mark.parametrize(
    ("conditioning", "switch"),
    [
        *itertools.product(["posterior", "token"], ["use_image", "use_text", "use_demographics", "use_metadata"]),
        ("token", "use_user"),
    ],
)
def test_ablated_input_changes_nothing(tiny_token_config, tiny_pictures, conditioning, switch):
    config = PamelaConfig(
        **{**tiny_token_config, "user_conditioning": conditioning, switch: False, "initializer_range": 0.3}
    )
    model = PamelaForPersonalizedScoring(config).eval()
    name = {
        "use_image": "image_embeds",
        "use_text": "text_embeds",
        "use_metadata": "metadata_embeds",
        "use_demographics": "demographics_embeds",
        "use_user": "taste",
    }[switch]
    inputs = {**tiny_pictures, "demographics_embeds": torch.randn(1, 5), "taste": torch.randn(1, model.taste_width)}
    if switch == "use_demographics":
        # A given taste already contains what demographics say.
        del inputs["taste"]
    changed = {**inputs, name: torch.randn_like(inputs[name])}
    torch.testing.assert_close(model(**inputs).scores, model(**changed).scores)
    loss = model(**tiny_pictures, **ROWS, demographics_embeds=torch.randn(2, 5)).loss
    assert loss.isfinite()


def test_demographics_move_the_prior(tiny_model, tiny_pictures):
    with torch.no_grad():
        tiny_model.taste.demographics.weight.normal_()
    known = tiny_model(**tiny_pictures, demographics_embeds=torch.randn(1, 5))
    assert not torch.allclose(known.scores, known.population_scores)


def test_token_moves_the_score(tiny_token_model, tiny_pictures):
    nobody = tiny_token_model(**tiny_pictures).scores
    somebody = tiny_token_model(**tiny_pictures, user_ids=torch.tensor([2])).scores
    assert not torch.allclose(nobody, somebody)


def test_every_weight_is_trained(tiny_model, tiny_pictures):
    with torch.no_grad():
        tiny_model.taste.demographics.weight.normal_()
    tiny_model(**tiny_pictures, **ROWS, demographics_embeds=torch.randn(2, 5)).loss.backward()
    assert [name for name, weight in tiny_model.named_parameters() if weight.grad is None] == []


@pytest.mark.parametrize("fixture", ["tiny_model", "tiny_kernel_model", "tiny_token_model"])
def test_round_trip_gives_the_same_scores(fixture, tiny_pictures, tmp_path, request):
    model = request.getfixturevalue(fixture)
    model.save_pretrained(tmp_path)
    loaded = AutoModel.from_pretrained(tmp_path)
    assert isinstance(loaded, PamelaForPersonalizedScoring)
    assert isinstance(AutoConfig.from_pretrained(tmp_path), PamelaConfig)
    assert loaded.fingerprint() == model.fingerprint()
    assert torch.equal(loaded(**tiny_pictures).scores, model(**tiny_pictures).scores)
    assert not list(tmp_path.glob("*.bin"))


def test_fingerprint_changes_with_weights_and_encoders(tiny_model):
    before = tiny_model.fingerprint()
    tiny_model.config.encoder_fingerprints = {"image": "0123456789abcdef"}
    with_encoder = tiny_model.fingerprint()
    with torch.no_grad():
        tiny_model.head.bias += 1e-3
    assert len({before, with_encoder, tiny_model.fingerprint()}) == 3


def test_cut_off_checkpoint_is_refused(tiny_model, tmp_path):
    tiny_model.save_pretrained(tmp_path)
    weights = tmp_path / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(OSError, match="cut off or damaged"):
        PamelaForPersonalizedScoring.from_pretrained(tmp_path)


def test_checkpoint_of_another_shape_is_refused(tiny_model, tmp_path):
    tiny_model.save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    config["hidden_size"] = 32
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(OSError, match="does not belong to the config"):
        PamelaForPersonalizedScoring.from_pretrained(tmp_path)


def test_checkpoint_with_missing_tensors_is_refused(tiny_token_model, tmp_path):
    tiny_token_model.save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    config["user_conditioning"] = "posterior"
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(OSError, match="lacks"):
        PamelaForPersonalizedScoring.from_pretrained(tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"image_embeds": torch.randn(9, 13)}, r"`image_embeds` has shape \(9, 13\), expected \(rows, 12\)"),
        ({"text_embeds": torch.randn(4, 6)}, "different numbers of pictures"),
        ({"taste": torch.randn(1, 3)}, "`taste` has shape"),
        ({"demographics_embeds": torch.randn(2, 5)}, "without `user_index`"),
        ({"labels": torch.rand(3)}, "`labels` has 3 entries"),
    ],
)
def test_wrong_inputs_are_named(tiny_model, tiny_pictures, change, message):
    with pytest.raises(ValueError, match=message):
        tiny_model(**{**tiny_pictures, **change})


def test_no_input_at_all(tiny_model):
    with pytest.raises(ValueError, match="pass at least one"):
        tiny_model()


def test_no_pictures(tiny_model):
    with pytest.raises(ValueError, match="0 rows"):
        tiny_model(image_embeds=torch.empty(0, 12))


def test_raw_pictures_need_a_named_encoder(tiny_model):
    with pytest.raises(EncoderError, match="names no image encoder"):
        tiny_model(pixel_values=torch.zeros(1, 3, 8, 8))


def test_import_is_light():
    heavy = ["diffusers", "trl", "gradio", "datasets", "evaluate", "pyarrow", "pandas"]
    code = f"import sys, modeling_pamela; print([name for name in {heavy} if name in sys.modules])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


HALVES = [torch.bfloat16, torch.float16]


def in_half(model, dtype, how, tmp_path):
    """A copy of the model in half precision."""
    if how == "to":
        return copy.deepcopy(model).to(dtype)
    model.save_pretrained(tmp_path)
    return AutoModel.from_pretrained(tmp_path, dtype=dtype)


@pytest.mark.parametrize("fixture", ["tiny_model", "tiny_kernel_model", "tiny_token_model"])
@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize("how", ["to", "from_pretrained"])
def test_half_precision_scores_nearly_the_same(fixture, dtype, how, tiny_pictures, tmp_path, request):
    model = request.getfixturevalue(fixture)
    half = in_half(model, dtype, how, tmp_path)
    taste = torch.randn(1, model.taste_width, generator=torch.Generator().manual_seed(0))
    for person in ({}, {"taste": taste}):
        expected = model(**tiny_pictures, **person)
        for pictures in (tiny_pictures, {name: embeds.to(dtype) for name, embeds in tiny_pictures.items()}):
            output = half(**pictures, **person)
            assert output.scores.dtype == torch.float32
            torch.testing.assert_close(output.scores, expected.scores, rtol=0.02, atol=0.05)
            if expected.std is not None:
                torch.testing.assert_close(output.std, expected.std, rtol=0.02, atol=0.02)


@pytest.mark.parametrize("dtype", HALVES)
def test_kernels_stay_as_exact_in_half_precision(dtype, tiny_kernel_model, tiny_pictures):
    """All of a model solved in closed form is algebra, so nothing of it is rounded, and its fingerprint stays."""
    expected, fingerprint = tiny_kernel_model(**tiny_pictures), tiny_kernel_model.fingerprint()
    half = tiny_kernel_model.to(dtype)
    assert half.fingerprint() == fingerprint
    with torch.autocast("cpu", dtype=dtype):
        output = half(**tiny_pictures)
    assert torch.equal(output.scores, expected.scores)
    assert torch.equal(output.taste_features, expected.taste_features)


@pytest.mark.parametrize("fixture", ["tiny_model", "tiny_token_model"])
def test_network_goes_to_half_precision_and_back(fixture, tiny_pictures, request):
    model = request.getfixturevalue(fixture).to(torch.bfloat16)
    assert {weight.dtype for weight in model.pamela.tokens.parameters()} == {torch.bfloat16}
    assert {weight.dtype for weight in model.pamela.fusion.parameters()} == {torch.bfloat16}
    assert model.head.weight.dtype == torch.float32
    assert (
        model.double()(**{name: embeds.double() for name, embeds in tiny_pictures.items()}).scores.dtype
        == torch.float64
    )


def test_training_under_autocast(tiny_model, tiny_pictures):
    expected = tiny_model(**tiny_pictures, **ROWS).loss
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = tiny_model(**tiny_pictures, **ROWS).loss
    torch.testing.assert_close(loss, expected, rtol=0.05, atol=0.05)
    loss.backward()
    assert tiny_model.taste.directions.weight.grad.isfinite().all()


@pytest.mark.parametrize("fixture", ["tiny_model", "tiny_kernel_model", "tiny_token_model"])
def test_half_precision_score_matrix(fixture, tiny_pictures, request):
    model = request.getfixturevalue(fixture)
    taste = torch.randn(3, model.taste_width)
    expected = model.score_matrix(**tiny_pictures, taste=taste)
    half = model.to(torch.bfloat16)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        torch.testing.assert_close(half.score_matrix(**tiny_pictures, taste=taste), expected, rtol=0.02, atol=0.05)


@pytest.mark.parametrize("fixture", ["tiny_model", "tiny_kernel_model", "tiny_token_model"])
def test_network_compiles_without_graph_breaks(fixture, tiny_pictures, request):
    """Tracing is checked here; benchmarks/precision.py compares the generated code."""
    model = request.getfixturevalue(fixture)
    expected = model(**tiny_pictures).scores
    model.pamela.compile(fullgraph=True, dynamic=True, backend="eager")  # a graph break is an error
    torch.testing.assert_close(model(**tiny_pictures).scores, expected)
    fewer = {name: embeds[:5] for name, embeds in tiny_pictures.items()}
    torch.testing.assert_close(model(**fewer).scores, expected[:5])
