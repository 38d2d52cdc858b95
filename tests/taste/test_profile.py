"""One person's taste: learned, scored with, saved, and refused where the input is not what it should be."""

import dataclasses
import json
import math
import shutil
import subprocess
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from safetensors.torch import load_file, save_file

from modeling_pamela import PamelaConfig, PamelaForPersonalizedScoring, PamelaProcessor, TasteProfile
from modeling_pamela.encoders_pamela import EMBEDDED_IMAGE_ENCODER, EMBEDDED_TEXT_ENCODER
from modeling_pamela.taste.onboarding import suggest_next, suggest_pair
from modeling_pamela.taste.profile import TIE_THRESHOLD, ProfileError


pytestmark = pytest.mark.usefixtures("one_thread")

ENCODERS = {
    "image_encoder": EMBEDDED_IMAGE_ENCODER,
    "text_encoder": EMBEDDED_TEXT_ENCODER,
    "profile_encoder": EMBEDDED_TEXT_ENCODER,
}
RATINGS = torch.tensor([0.1, 0.9, 0.4, 0.7])


@pytest.fixture
def rated(tiny_pictures):
    return {name: rows[:4] for name, rows in tiny_pictures.items()}


def some(pictures, number):
    return {name: rows[:number] for name, rows in pictures.items()}


def test_nothing_rated_is_the_prior(tiny_model, tiny_pictures):
    profile = TasteProfile.fit(tiny_model, torch.tensor([]), **some(tiny_pictures, 0))
    prior = TasteProfile.prior(tiny_model)
    assert profile.num_ratings == prior.num_ratings == 0
    output = tiny_model(**tiny_pictures)
    for each in (profile, prior):
        scores = each.score(tiny_model, **tiny_pictures)
        torch.testing.assert_close(scores.mean.float(), output.population_scores)
        torch.testing.assert_close(scores.std.float(), output.std)


def test_demographics_move_the_prior(tiny_model, tiny_pictures, rated):
    torch.nn.init.normal_(tiny_model.taste.demographics.weight)
    person = torch.randn(1, 5, generator=torch.Generator().manual_seed(0))
    prior = TasteProfile.prior(tiny_model, person).score(tiny_model, **tiny_pictures)
    expected = tiny_model(**tiny_pictures, demographics_embeds=person)
    torch.testing.assert_close(prior.mean.float(), expected.scores)
    assert not torch.allclose(prior.mean.float(), expected.population_scores)
    # With ratings they still count: the same ratings of another person give another taste.
    tastes = [TasteProfile.fit(tiny_model, RATINGS, demographics_embeds=d, **rated) for d in (None, person)]
    assert not torch.allclose(tastes[0].posterior.mean, tastes[1].posterior.mean)


def test_one_rating_moves_its_picture_part_of_the_way(tiny_model, tiny_pictures):
    one = some(tiny_pictures, 1)
    before = TasteProfile.prior(tiny_model).score(tiny_model, **one)
    after = TasteProfile.fit(tiny_model, torch.tensor([1.0]), **one).score(tiny_model, **one)
    share = before.std**2 / (before.std**2 + tiny_model.noise_variance)
    torch.testing.assert_close(after.mean, before.mean + share * (1 - before.mean))
    torch.testing.assert_close(after.std**2, before.std**2 * (1 - share))


def test_all_equal_ratings_pull_everything_towards_them(tiny_model, tiny_pictures, rated):
    before = TasteProfile.prior(tiny_model).score(tiny_model, **rated).mean
    profile = TasteProfile.fit(tiny_model, torch.full((4,), 0.9), **rated)
    after = profile.score(tiny_model, **rated).mean
    assert (after - 0.9).square().sum() < (before - 0.9).square().sum()
    assert profile.score(tiny_model, **tiny_pictures).mean.isfinite().all()


def test_contradicting_ratings_of_a_picture_count_as_their_mean_twice(tiny_model, tiny_pictures):
    twice = {name: rows[[0, 0]] for name, rows in tiny_pictures.items()}
    contradicting = TasteProfile.fit(tiny_model, torch.tensor([0.0, 1.0]), **twice)
    agreeing = TasteProfile.fit(tiny_model, torch.tensor([0.5, 0.5]), **twice)
    torch.testing.assert_close(contradicting.posterior.mean, agreeing.posterior.mean)
    torch.testing.assert_close(
        contradicting.score(tiny_model, **tiny_pictures).std, agreeing.score(tiny_model, **tiny_pictures).std
    )


def test_order_of_ratings_does_not_matter(tiny_model, rated):
    order = [2, 0, 3, 1]
    profiles = [
        TasteProfile.fit(tiny_model, RATINGS, **rated),
        TasteProfile.fit(tiny_model, RATINGS[order], **{name: rows[order] for name, rows in rated.items()}),
    ]
    torch.testing.assert_close(profiles[0].posterior.mean, profiles[1].posterior.mean)


def test_evidence_never_makes_less_sure(tiny_model, tiny_pictures):
    ratings = torch.linspace(0, 1, 9)
    previous = TasteProfile.prior(tiny_model).score(tiny_model, **tiny_pictures).std
    for k in range(1, 10):
        std = (
            TasteProfile.fit(tiny_model, ratings[:k], **some(tiny_pictures, k)).score(tiny_model, **tiny_pictures).std
        )
        assert (std <= previous + 1e-9).all()
        assert std[k - 1] < previous[k - 1]
        assert std[k - 1] < tiny_model.noise_variance**0.5
        previous = std


def test_the_scale_is_taken_off(tiny_model, rated):
    on_unit = TasteProfile.fit(tiny_model, RATINGS, **rated)
    on_seven = TasteProfile.fit(tiny_model, 1 + 6 * RATINGS.double(), scale=(1, 7), **rated)
    torch.testing.assert_close(on_unit.posterior.mean, on_seven.posterior.mean, atol=1e-6, rtol=0)


@pytest.mark.parametrize(
    ("ratings", "scale", "message"),
    [
        ([0.1, math.nan, 0.4, 0.7], (0, 1), r"1 of 4 ratings are not between 0 and 1 \(the first: nan, number 2\)"),
        ([0.1, 0.5, math.inf, 0.7], (0, 1), r"the first: inf, number 3"),
        ([0.1, 0.5, 1.2, -3.0], (0, 1), r"2 of 4 ratings are not between 0 and 1 \(the first: 1\.2, number 3\)"),
        ([0.0, 1.0, 5.0, 7.0], (1, 7), r"1 of 4 ratings are not between 1 and 7 \(the first: 0, number 1\)"),
        ([0.1, 0.5, 0.9], (0, 1), "3 ratings for 4 pictures"),
        ([], (0, 1), "0 ratings for 4 pictures"),
        ([[0.1], [0.5], [0.9], [0.2]], (0, 1), r"shape \(4, 1\).*one number a picture"),
        ([0.1, 0.5, 0.9, 0.2], (1, 0), "from a smaller to a larger number"),
        ([0.1, 0.5, 0.9, 0.2], (0, math.nan), "from a smaller to a larger number"),
    ],
)
def test_ratings_that_cannot_be_meant_are_refused(tiny_model, rated, ratings, scale, message):
    with pytest.raises(ProfileError, match=message):
        TasteProfile.fit(tiny_model, torch.tensor(ratings), scale=scale, **rated)


def test_pictures_that_are_not_numbers_are_refused(tiny_model, rated):
    rated["image_embeds"] = rated["image_embeds"].clone()
    rated["image_embeds"][2, 0] = math.nan
    with pytest.raises(ProfileError, match=r"picture number 3.*not finite"):
        TasteProfile.fit(tiny_model, RATINGS, **rated)


def test_token_models_have_no_profiles(tiny_token_model, rated):
    with pytest.raises(ProfileError, match="token model"):
        TasteProfile.fit(tiny_token_model, RATINGS, **rated)
    with pytest.raises(ProfileError, match="token model"):
        TasteProfile.prior(tiny_token_model)


def test_another_model_is_refused(tiny_model, tiny_pictures, rated):
    profile = TasteProfile.fit(tiny_model, RATINGS, **rated)
    with torch.no_grad():
        tiny_model.head.weight[0, 0] += 0.01
    with pytest.raises(ProfileError, match=f"belongs to the model {profile.model_fingerprint}, not to"):
        profile.score(tiny_model, **tiny_pictures)


def test_saving_keeps_everything(tiny_model, tiny_pictures, rated, tmp_path):
    profile = TasteProfile.fit(tiny_model, RATINGS, **rated)
    profile.save_pretrained(tmp_path / "ann")
    loaded = TasteProfile.from_pretrained(tmp_path / "ann")
    assert (loaded.num_ratings, loaded.model_fingerprint) == (4, profile.model_fingerprint)
    for before, after in zip(
        profile.score(tiny_model, **tiny_pictures), loaded.score(tiny_model, **tiny_pictures), strict=True
    ):
        assert torch.equal(before, after)
    names = [path.name for path in (tmp_path / "ann").iterdir()]
    assert sorted(names) == [weights_file(tmp_path / "ann").name, "profile.json"]
    # A newer one takes its place and leaves nothing behind.
    updated = loaded.update(tiny_model, RATINGS, **rated)
    updated.save_pretrained(tmp_path / "ann")
    assert len(list((tmp_path / "ann").iterdir())) == 2
    assert TasteProfile.from_pretrained(tmp_path / "ann").num_ratings == 8


def test_the_prior_can_be_saved(tiny_model, tiny_pictures, tmp_path):
    prior = TasteProfile.prior(tiny_model)
    prior.save_pretrained(tmp_path)
    loaded = TasteProfile.from_pretrained(tmp_path)
    assert torch.equal(loaded.score(tiny_model, **tiny_pictures).std, prior.score(tiny_model, **tiny_pictures).std)


def weights_file(folder):
    (file,) = folder.glob("profile-*.safetensors")
    return file


def cut_weights(folder):
    weights_file(folder).write_bytes(weights_file(folder).read_bytes()[:-9])


def change_a_rating(folder):
    tensors = load_file(weights_file(folder))
    save_file({**tensors, "ratings": 1 - tensors["ratings"]}, weights_file(folder))


def change_a_fact(folder):
    facts = json.loads((folder / "profile.json").read_text())
    (folder / "profile.json").write_text(json.dumps({**facts, "noise_variance": 0.001}))


def drop_fact(folder):
    (folder / "profile.json").write_text(json.dumps({"num_ratings": 4}))


def other_version(folder):
    facts = json.loads((folder / "profile.json").read_text())
    (folder / "profile.json").write_text(json.dumps({**facts, "format_version": 99}))


@pytest.mark.parametrize(
    "damage",
    [
        shutil.rmtree,
        lambda folder: (folder / "profile.json").unlink(),
        lambda folder: weights_file(folder).unlink(),
        lambda folder: (folder / "profile.json").write_text('{"num_ratings": 4, "mod'),
        lambda folder: (folder / "profile.json").write_text("[1, 2]"),
        lambda folder: (folder / "profile.json").write_bytes(b"\xff\xfe\x00"),
        drop_fact,
        cut_weights,
        change_a_rating,
        change_a_fact,
        other_version,
        lambda folder: weights_file(folder).write_bytes(b""),
    ],
)
def test_damaged_profiles_are_refused(tiny_model, rated, tmp_path, damage):
    folder = tmp_path / "ann"
    TasteProfile.fit(tiny_model, RATINGS, **rated).save_pretrained(folder)
    damage(folder)
    with pytest.raises(ProfileError, match="holds no readable taste profile"):
        TasteProfile.from_pretrained(folder)


def test_a_profile_does_not_change(tiny_model, rated):
    profile = TasteProfile.fit(tiny_model, RATINGS, **rated)
    with pytest.raises(dataclasses.FrozenInstanceError):
        profile.noise_variance = 5


# Evidence: updates, comparisons, forgetting ---------------------------------------------------------------------------


def rows_of(pictures, rows):
    return {name: values[rows] for name, values in pictures.items()}


def noisy(model, spread=0.3, heaviness=0.2):
    """The model with a noise model, as training leaves it."""
    model.taste.noise_model.copy_(torch.tensor([0.1, spread, heaviness, 0.1]))
    return model


def assert_same_taste(first, second, atol=1e-9):
    torch.testing.assert_close(first.posterior.mean, second.posterior.mean, rtol=0, atol=atol)
    covariances = [p.posterior.reduction.T @ p.posterior.reduction for p in (first, second)]
    torch.testing.assert_close(*covariances, rtol=0, atol=atol)
    assert first.noise_variance == pytest.approx(second.noise_variance, rel=1e-9)


@given(seed=st.integers(0, 10_000), number=st.integers(1, 14), cut=st.integers(0, 14), with_noise_model=st.booleans())
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_updates_give_the_posterior_of_a_fit(tiny_model, tiny_pictures, seed, number, cut, with_noise_model):
    # In double precision, since a forward pass rounds otherwise in a batch than alone.
    noisy(tiny_model.double(), *((0.3, 0.2) if with_noise_model else (0.0, 0.0)))
    tiny_pictures = {name: rows.double() for name, rows in tiny_pictures.items()}
    generator = torch.Generator().manual_seed(seed)
    rows, ratings = torch.randint(9, (number,), generator=generator), torch.rand(number, generator=generator)
    batch = TasteProfile.fit(tiny_model, ratings, **rows_of(tiny_pictures, rows))
    # The first `cut` at once, the others one by one.
    stepwise = TasteProfile.fit(tiny_model, ratings[:cut], **rows_of(tiny_pictures, rows[:cut]))
    for place in range(cut, number):
        one = rows[place : place + 1]
        stepwise = stepwise.update(tiny_model, ratings[place : place + 1], **rows_of(tiny_pictures, one))
    assert stepwise.num_ratings == number
    assert_same_taste(stepwise, batch)


def test_forgetting_is_as_if_it_had_never_been_said(tiny_model, tiny_pictures, rated):
    noisy(tiny_model)
    names = ["a", "b", "c", "d"]
    without = TasteProfile.fit(
        tiny_model, RATINGS[[0, 2, 3]], image_ids=["a", "c", "d"], **rows_of(tiny_pictures, [0, 2, 3])
    )
    profile = TasteProfile.fit(tiny_model, RATINGS, image_ids=names, **rated)
    assert_same_taste(profile.forget(tiny_model, "b"), without)
    with pytest.raises(ProfileError, match=r"no evidence of a picture 'z'; it knows 4 pictures \(a, b, c"):
        profile.forget(tiny_model, "z")
    emptied = profile
    for name in names:
        emptied = emptied.forget(tiny_model, name)
    assert_same_taste(emptied, TasteProfile.prior(tiny_model))


def test_mixed_evidence_in_any_order_is_one_posterior(tiny_model, tiny_pictures):
    noisy(tiny_model)
    pair = rows_of(tiny_pictures, [4, 5]), rows_of(tiny_pictures, [6, 7])
    tie = torch.tensor([False, True])
    ratings = rows_of(tiny_pictures, [0, 1, 2, 3])
    first = TasteProfile.fit(tiny_model, RATINGS, **ratings).update_pairs(tiny_model, *pair, tie)
    second = TasteProfile.prior(tiny_model).update_pairs(tiny_model, *pair, tie).update(tiny_model, RATINGS, **ratings)
    assert_same_taste(first, second, atol=1e-7)
    assert (first.num_ratings, first.num_comparisons) == (4, 2)


def test_what_is_preferred_moves_ahead_and_ties_move_together(tiny_model, tiny_pictures):
    a, b = rows_of(tiny_pictures, [0]), rows_of(tiny_pictures, [1])
    prior = TasteProfile.prior(tiny_model)
    before = prior.compare(tiny_model, a, b).item()
    assert prior.update_pairs(tiny_model, a, b).compare(tiny_model, a, b).item() > before
    assert prior.update_pairs(tiny_model, b, a).compare(tiny_model, a, b).item() < before
    tied = prior.update_pairs(tiny_model, a, b, torch.tensor([True])).compare(tiny_model, a, b).item()
    assert abs(tied - 0.5) < abs(before - 0.5)


def test_the_chance_of_a_preference_is_that_of_noisy_ratings(tiny_model, tiny_pictures, rated):
    profile = TasteProfile.fit(noisy(tiny_model), RATINGS, **rated)
    a, b = rows_of(tiny_pictures, [4, 5, 6]), rows_of(tiny_pictures, [7, 8, 6])
    chance = profile.compare(tiny_model, a, b)
    torch.testing.assert_close(chance + profile.compare(tiny_model, b, a), torch.ones(3, dtype=torch.float64))
    assert chance[2].item() == pytest.approx(0.5)
    generator = torch.Generator().manual_seed(0)
    width = len(profile.prior_mean)
    covariance = torch.eye(width, dtype=torch.float64) - profile.posterior.reduction.T @ profile.posterior.reduction
    root = torch.linalg.cholesky(covariance + 1e-12 * torch.eye(width, dtype=torch.float64))
    tastes = profile.posterior.mean + torch.randn(200_000, width, generator=generator, dtype=torch.float64) @ root.T
    difference = tiny_model(**a).taste_features.double() - tiny_model(**b).taste_features.double()
    noise = (2 * profile.noise_variance) ** 0.5
    draws = tastes @ difference.T + noise * torch.randn(200_000, 3, generator=generator, dtype=torch.float64)
    threshold = TIE_THRESHOLD * (2 * profile.noise_variance) ** 0.5
    first, second = (draws > threshold).double().mean(0), (draws < -threshold).double().mean(0)
    torch.testing.assert_close(chance, first / (first + second), rtol=0, atol=0.006)


def test_contributions_add_up_to_the_score(tiny_model, tiny_pictures, rated):
    profile = TasteProfile.fit(noisy(tiny_model), RATINGS, image_ids=list("abcd"), **rated)
    pairs = rows_of(tiny_pictures, [4]), rows_of(tiny_pictures, [5])
    profile = profile.update_pairs(tiny_model, *pairs, winner_ids=["e"], loser_ids=["f"])
    explanation = profile.explain(tiny_model, **tiny_pictures)
    assert explanation.evidence == [("a",), ("b",), ("c",), ("d",), ("e", "f")]
    total = explanation.prior + explanation.contributions.sum(1)
    torch.testing.assert_close(total, profile.score(tiny_model, **tiny_pictures).mean, rtol=0, atol=1e-9)
    prior = TasteProfile.prior(tiny_model).score(tiny_model, **tiny_pictures).mean
    torch.testing.assert_close(explanation.prior, prior)


def test_migration_to_another_model_is_a_fit_with_it(tiny_model, tiny_other_model, tiny_pictures, rated):
    half = {name: rows.half().double() for name, rows in rated.items()}  # what the evidence keeps
    other, tiny_model = tiny_other_model.double(), tiny_model.double()
    profile = TasteProfile.fit(tiny_model, RATINGS, **half)
    pairs = rows_of(half, [0]), rows_of(half, [1])
    profile = profile.update_pairs(tiny_model, *pairs)
    moved = profile.migrate(other)
    assert_same_taste(moved, TasteProfile.fit(other, RATINGS, **half).update_pairs(other, *pairs))
    moved.score(other, **half)
    other.config.encoder_fingerprints = {"image": "another"}
    with pytest.raises(ProfileError, match=r"other encoders.*Give it the 6 pictures"):
        profile.migrate(other)
    again = rows_of(half, [0, 1, 2, 3, 0, 1])
    assert_same_taste(
        profile.migrate(other, **again), TasteProfile.fit(other, RATINGS, **half).update_pairs(other, *pairs)
    )
    with pytest.raises(ProfileError, match="4 pictures for the 6 in the evidence"):
        profile.migrate(other, **half)


def test_intervals_stay_on_the_scale_and_grow_with_coverage(tiny_model, tiny_pictures, rated):
    profile = TasteProfile.fit(noisy(tiny_model), 1 + 6 * RATINGS, scale=(1, 7), **rated)
    narrow = profile.predict_rating(tiny_model, 0.5, **tiny_pictures)
    wide = profile.predict_rating(tiny_model, 0.99, **tiny_pictures)
    for prediction in (narrow, wide):
        ends = torch.stack([torch.ones(9), prediction.low, prediction.median, prediction.high, torch.full((9,), 7.0)])
        assert (ends.diff(dim=0) >= 0).all()
    assert (wide.low <= narrow.low).all()
    assert (wide.high >= narrow.high).all()
    with pytest.raises(ProfileError, match="got 80"):
        profile.predict_rating(tiny_model, 80, **tiny_pictures)


def test_an_update_is_read_on_the_profiles_own_scale(tiny_model, tiny_pictures, rated):
    profile = TasteProfile.fit(tiny_model, 1 + 6 * RATINGS, scale=(1, 7), **rated)
    one = rows_of(tiny_pictures, [4])
    updated = profile.update(tiny_model, torch.tensor([7.0]), **one)
    assert updated.evidence.ratings[-1] == 1.0
    with pytest.raises(ProfileError, match="not between 1 and 7"):
        profile.update(tiny_model, torch.tensor([0.5]), **one)


def test_a_ranking_is_the_scores_in_order(tiny_model, tiny_pictures, rated):
    profile = TasteProfile.fit(tiny_model, RATINGS, **rated)
    names = [f"p{row}" for row in range(9)]
    ranking = profile.rank(tiny_model, image_ids=names, top=3, **tiny_pictures)
    mean = profile.score(tiny_model, **tiny_pictures).mean
    assert [picture.image_id for picture in ranking] == [names[row] for row in mean.argsort(descending=True)[:3]]
    assert len(profile.rank(tiny_model, **tiny_pictures)) == 9
    for bad in ({}, {"paths": "x", **tiny_pictures}, {"top": 0, **tiny_pictures}):
        with pytest.raises(ProfileError, match=r"Give either|`top`"):
            profile.rank(tiny_model, **bad)


@pytest.mark.parametrize(
    ("pairs", "message"),
    [
        (([0], [1, 2], None), "1 winners, 2 losers"),
        (([0, 1], [2, 3], torch.tensor([True])), r"ties of shape \(1,\)"),
        (([0], [1], torch.tensor([0.5])), r"torch.float32.*ties as bool"),
    ],
)
def test_comparisons_that_cannot_be_meant_are_refused(tiny_model, tiny_pictures, pairs, message):
    winner, loser, tie = pairs
    with pytest.raises(ProfileError, match=message):
        TasteProfile.prior(tiny_model).update_pairs(
            tiny_model, rows_of(tiny_pictures, winner), rows_of(tiny_pictures, loser), tie
        )


def test_a_folder_is_ranked_by_its_files(tmp_path):
    model = PamelaForPersonalizedScoring(PamelaConfig(**ENCODERS, image_embed_dim=4920, hidden_size=16))
    for number, colour in enumerate(((250, 10, 10), (10, 250, 10), (10, 10, 250))):
        Image.new("RGB", (64, 64), colour).save(tmp_path / f"{number}.png")
    (tmp_path / "broken.png").write_bytes(b"no picture")
    profile = TasteProfile.prior(model.eval())
    with pytest.warns(UserWarning, match=r"Set aside.*broken\.png"):
        ranking = profile.rank(model, tmp_path, top=2)
    processor = PamelaProcessor.from_config(model.config)
    pixel_values = processor(images=[Image.open(tmp_path / f"{number}.png") for number in range(3)])["pixel_values"]
    mean = profile.score(model, pixel_values=pixel_values).mean
    assert [Path(picture.image_id).stem for picture in ranking] == [
        str(row) for row in mean.argsort(descending=True)[:2].tolist()
    ]


class StubHub(BaseHTTPRequestHandler):
    """As much of the Hub as making a repo and asking whether it is private takes; notes what it was asked."""

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.asked.append((self.path, body))
        self.answer(
            {"url": f"http://{self.headers['Host']}/ann/taste"} if self.path == "/api/repos/create" else {}, 200
        )

    def do_GET(self):
        self.answer({"id": "ann/taste", "private": self.server.is_private, "siblings": [], "tags": []}, 200)

    def answer(self, content, status):
        content = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *arguments):
        pass


def test_profiles_are_private_on_the_hub_and_never_go_to_a_public_repo(tiny_model, monkeypatch):
    server = ThreadingHTTPServer(("127.0.0.1", 0), StubHub)
    server.asked, server.is_private = [], False
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", f"http://127.0.0.1:{server.server_port}")
        with pytest.raises(ProfileError, match="exists and is public"):
            TasteProfile.prior(tiny_model).push_to_hub("ann/taste", token="hf_stub")
    finally:
        server.shutdown()
        server.server_close()
    # Nothing but the making of the repo was sent.
    (path, body), *others = server.asked
    assert path == "/api/repos/create"
    assert body.get("private") is True or body.get("visibility") == "private"
    assert not others


def test_a_taste_is_learned_without_the_libraries_of_data_sets(tmp_path):
    """A subprocess in which they cannot be imported learns a taste and ranks a folder."""
    Image.new("RGB", (64, 64), (250, 10, 10)).save(tmp_path / "red.png")
    script = f"""
import sys
sys.modules.update(dict.fromkeys(["datasets", "pyarrow", "pandas", "evaluate", "scipy", "diffusers"]))
import torch
from modeling_pamela import PamelaConfig, PamelaForPersonalizedScoring, TasteProfile, TasteStore, blend, suggest_next
config = PamelaConfig(**{ENCODERS}, image_embed_dim=4920, hidden_size=16)
model = PamelaForPersonalizedScoring(config).eval()
profile = TasteProfile.fit(model, torch.tensor([0.9]), image_embeds=torch.randn(1, 4920))
print(len(profile.rank(model, {str(tmp_path)!r})))
"""
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert run.stdout == "1\n", run.stderr


def test_scores_are_on_the_scale_of_the_data_set(tiny_config, tiny_pictures, rated):
    """Of a set whose ratings are 0.1 + 0.5 score: the same taste, noise and ranking, on another scale."""
    other = {"name": "harsh", "offset": 0.1, "scale": 0.5}
    sets = [{"name": "mild", "offset": 0.0, "scale": 1.0}, other]
    torch.manual_seed(0)
    model = PamelaForPersonalizedScoring(PamelaConfig(**tiny_config, data_sets=sets)).eval()
    model.fit_inputs(0.5, image=tiny_pictures["image_embeds"], text=tiny_pictures["text_embeds"])
    torch.nn.init.normal_(model.head.weight, std=0.3)
    model.taste.log_noise_std.data.copy_(torch.tensor([-2.0, -1.0]))
    model.taste.noise_model.copy_(torch.tensor([0.1, 0.3, 0.2, 0.05]))
    model.taste.log_prior_std.data.fill_(-1.0)
    first = TasteProfile.fit(model, RATINGS, **rated)
    named = TasteProfile.fit(model, RATINGS, data_set="mild", **rated)
    torch.testing.assert_close(first.posterior, named.posterior)
    # Noise of the second set's people on the first set's ratings: the same taste.
    model.taste.log_noise_std.data.copy_(torch.tensor([-1.0, -1.0]))
    mild = TasteProfile.fit(model, RATINGS, **rated)
    harsh = TasteProfile.fit(model, 0.1 + 0.5 * RATINGS, data_set="harsh", **rated)
    torch.testing.assert_close(mild.posterior, harsh.posterior, atol=1e-6, rtol=1e-6)
    assert not torch.allclose(first.posterior.mean, mild.posterior.mean)
    assert harsh.noise_variance == pytest.approx(0.25 * mild.noise_variance, rel=1e-5)
    scores = [profile.score(model, **tiny_pictures) for profile in (mild, harsh)]
    torch.testing.assert_close(scores[1].mean, 0.1 + 0.5 * scores[0].mean, atol=1e-6, rtol=0)
    torch.testing.assert_close(scores[1].std, 0.5 * scores[0].std, atol=1e-6, rtol=0)
    explanation = harsh.explain(model, **tiny_pictures)
    torch.testing.assert_close(explanation.prior + explanation.contributions.sum(1), scores[1].mean)
    pair = some(tiny_pictures, 3), {name: rows[3:6] for name, rows in tiny_pictures.items()}
    torch.testing.assert_close(mild.compare(model, *pair), harsh.compare(model, *pair), atol=1e-6, rtol=0)
    chosen = [profile.suggest_next(model, 3, **tiny_pictures) for profile in (mild, harsh)]
    torch.testing.assert_close(*chosen)
    with pytest.raises(ProfileError, match=r"not trained on a data set 'none'\. Name one of 'mild', 'harsh'"):
        TasteProfile.prior(model, data_set="none")


def test_a_data_set_is_saved_and_kept(tiny_config, tiny_pictures, rated, tmp_path):
    sets = [{"name": "a", "offset": 0.0, "scale": 1.0}, {"name": "b", "offset": 0.2, "scale": 0.5}]
    model = PamelaForPersonalizedScoring(PamelaConfig(**tiny_config, data_sets=sets)).eval()
    model.fit_inputs(0.5, image=tiny_pictures["image_embeds"], text=tiny_pictures["text_embeds"])
    profile = TasteProfile.fit(model, RATINGS, data_set="b", **rated)
    profile.save_pretrained(tmp_path)
    read = TasteProfile.from_pretrained(tmp_path)
    assert read.data_set == "b"
    further = [each.update(model, RATINGS[:1], **some(rated, 1)).posterior for each in (profile, read)]
    torch.testing.assert_close(*further, rtol=0, atol=0)


def test_what_to_ask_next_of_a_profile(tiny_model, tiny_pictures, rated):
    profile = TasteProfile.fit(tiny_model, RATINGS, **rated)
    features = tiny_model.get_taste_features(**tiny_pictures)
    chosen = profile.suggest_next(tiny_model, 3, **tiny_pictures)
    torch.testing.assert_close(chosen, suggest_next(profile.posterior, profile.noise_variance, features, 3))
    pair = profile.suggest_pair(tiny_model, targets=rated, **tiny_pictures)
    assert pair == suggest_pair(profile.posterior, profile.noise_variance, features, features[:4])
    assert profile.suggest_pair(tiny_model, targets=rated, exclude=[pair], **tiny_pictures) != pair
    with pytest.raises(ProfileError, match="too few to choose 99"):
        profile.suggest_next(tiny_model, 99, **tiny_pictures)
