"""The steering pipeline over tiny random pipelines of the real classes, with a tiny random model of taste over a tiny SigLIP."""

import inspect

import numpy as np
import pytest
import torch


pytest.importorskip("diffusers")

from diffusers import DiffusionPipeline, FluxPipeline, StableDiffusionPipeline
from tiny_pipelines import FAST, PIPELINES, SIZE, flux, stable_diffusion
from tiny_tastes import make_taste

from modeling_pamela import PamelaForPersonalizedScoring, TasteProfile
from modeling_pamela.data.prompts import MODIFIERS
from modeling_pamela.rewards.base import RewardError, RewardScores
from modeling_pamela.rewards.personal import PersonalReward
from modeling_pamela.steering.base import SteeringError
from modeling_pamela.steering.guards import Guards
from modeling_pamela.steering.modifiers import ModifierProposer
from modeling_pamela.steering.pipeline import PamelaSteeringPipeline
from modeling_pamela.steering.scene_renderer import SceneRenderer
from modeling_pamela.steering.search import SearchSettings, search


SHORT = {**FAST, "num_candidates": 3, "max_rounds": 2, "guards": Guards.off()}


class Redness:
    """A reward of the population: how red a picture is."""

    name = "redness"
    score_range = (0.0, 1.0)
    higher_is_better = True
    differentiable = False

    def __call__(self, images, prompts=None, people=None):
        return RewardScores(torch.tensor([np.asarray(image)[..., 0].mean() / 255 for image in images]))


@pytest.fixture(scope="module")
def taste(tmp_path_factory):
    """Model, processor and two people who disagree."""
    return make_taste(tmp_path_factory.mktemp("siglip"))


@pytest.fixture(scope="module")
def inner():
    return stable_diffusion()


@pytest.fixture(scope="module")
def steering(inner, taste):
    return quiet(PamelaSteeringPipeline(inner, *taste[:2]))


def quiet(pipeline):
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def tried(output):
    return [(candidate.prompt, candidate.score, candidate.refused) for candidate in output.history]


@pytest.mark.parametrize("make", PIPELINES.values(), ids=PIPELINES)
def test_every_kind_of_pipeline(make, taste, tmp_path):
    """A search, and the same search after a round trip through files."""
    model, processor, ann, _ = taste
    steering = quiet(PamelaSteeringPipeline(make(), model, processor))
    short = {**SHORT, "num_candidates": 2, "max_rounds": 1}
    found = steering("a lake", profile=ann, **short)
    assert [candidate.round for candidate in found.history] == [0, 1, 1]
    assert found.score == max(candidate.score for candidate in found.history)
    assert found.images[0].size == (SIZE, SIZE)
    assert found.std > 0

    steering.save_pretrained(tmp_path)
    loaded = quiet(PamelaSteeringPipeline.from_pretrained(tmp_path))
    assert type(loaded.pipeline) is type(steering.pipeline)
    assert loaded.scorer.fingerprint() == model.fingerprint()
    again = loaded("a lake", profile=ann, **short)
    assert tried(again) == tried(found)
    assert np.array_equal(again.images[0], found.images[0])


def test_people_are_steered_apart(steering, taste):
    """What the search finds for one person it finds by that person's score, and the population's is noted."""
    model, processor, ann, bob = taste
    for_ann, for_bob = (steering("a lake", profile=person, **SHORT) for person in (ann, bob))
    reward = PersonalReward(model, processor)
    for found, person in ((for_ann, ann), (for_bob, bob)):
        score = reward(found.images, [found.prompt], person)
        assert found.score == pytest.approx(score.mean.item())
        assert found.std == pytest.approx(score.std.item())
        assert all(candidate.population is not None for candidate in found.history)
    first = [found.history[0].score for found in (for_ann, for_bob)]
    assert first[0] != pytest.approx(first[1])


def test_one_persons_own_reward_is_guarded_as_any(inner, steering, taste):
    model, processor, ann, _ = taste
    own = quiet(PamelaSteeringPipeline(inner, PersonalReward(model, processor).of(ann)))
    assert tried(own("a lake", **SHORT)) == tried(steering("a lake", profile=ann, **SHORT))
    with pytest.raises(SteeringError, match="name nobody else"):
        own("a lake", profile=ann, **SHORT)


def test_population_reward(inner):
    found = quiet(PamelaSteeringPipeline(inner, Redness()))("a lake", keep=3, **SHORT)
    scores = [candidate.score for candidate in found.history]
    assert found.score == max(scores) == pytest.approx(np.asarray(found.images[0])[..., 0].mean() / 255)
    assert found.std is None
    assert len(found.images) == 3
    reds = [np.asarray(image)[..., 0].mean() for image in found.images]
    assert reds == sorted(reds, reverse=True)


def test_the_proposer_is_shown_as_much_of_the_history_as_asked(inner, taste):
    shown = []

    class Spy(ModifierProposer):
        def propose(self, prompt, history, num, seed):
            shown.append(len(history))
            return super().propose(prompt, history, num, seed)

    quiet(PamelaSteeringPipeline(inner, *taste[:2], Spy()))("a lake", history_size=2, keep=2, **SHORT)
    assert shown == [1, 2]


def test_a_seed_is_the_search(steering, taste):
    def search(seed):
        return steering("a lake", profile=taste[2], generator=torch.Generator().manual_seed(seed), **SHORT)

    one, same, other = search(1), search(1), search(2)
    assert tried(one) == tried(same)
    assert np.array_equal(one.images[0], same.images[0])
    assert not np.array_equal(one.images[0], other.images[0])
    assert len({candidate.seed for candidate in one.history}) == 1


def test_callback_and_output_types(steering, taste):
    seen = []

    def callback(pipeline, round_number, renders, kwargs):
        assert pipeline is steering
        seen.append((round_number, renders, kwargs["progress"].best.score))

    found = steering("a lake", profile=taste[2], callback_on_step_end=callback, **SHORT)
    assert [row[:2] for row in seen] == [(0, 1), (1, 4), (2, 7)]
    assert seen[-1][2] == found.score
    array = steering("a lake", profile=taste[2], output_type="np", **SHORT).images
    tensor, *rest = steering("a lake", profile=taste[2], output_type="pt", return_dict=False, **SHORT)
    assert array.shape == (1, SIZE, SIZE, 3)
    assert np.array_equal((array[0] * 255).round(), np.asarray(found.images[0], float))
    assert tensor.shape == (1, 3, SIZE, SIZE)
    assert rest == [found.prompt, found.score, found.std, found.history]


def test_a_run_folder_is_resumed_without_rendering(steering, taste, tmp_path, monkeypatch):
    found = steering("a lake", profile=taste[2], run_dir=tmp_path / "run", **SHORT)

    def fail(self, *args, prompt=None, generator=None, **kwargs):
        raise RuntimeError("rendered again")

    fail.__signature__ = inspect.signature(StableDiffusionPipeline.__call__)
    monkeypatch.setattr(StableDiffusionPipeline, "__call__", fail)
    again = steering("a lake", profile=taste[2], run_dir=tmp_path / "run", **SHORT)
    assert tried(again) == tried(found)
    assert np.array_equal(again.images[0], found.images[0])


class Censored(SceneRenderer):
    """Shows nothing by moonlight."""

    def render(self, prompts, seeds):
        pictures = super().render(prompts, seeds)
        return [None if "moonlight" in prompt else picture for prompt, picture in zip(prompts, pictures, strict=True)]


def test_a_picture_that_was_held_back_is_refused_and_the_search_goes_on(tmp_path):
    parts = {
        "reward": Redness(),
        "proposer": ModifierProposer({"light": MODIFIERS["light"]}),
        "renderer": Censored((32, 24)),
        "settings": SearchSettings(num_candidates=7, max_rounds=1, batch_size=2),
        "folder": tmp_path,
    }
    found = search("a castle", **parts)
    refused = {candidate.prompt: candidate.refused for candidate in found.history if candidate.score is None}
    assert refused == {"a castle, moonlight": "picture: the renderer held it back"}
    assert len(found.history) == 8
    # Killed after the first batch of variants, and gone on with.
    lines = (tmp_path / "history.jsonl").read_text().splitlines(keepends=True)
    (tmp_path / "history.jsonl").write_text("".join(lines[:5]))
    assert search("a castle", **parts).history == found.history
    with pytest.raises(SteeringError, match="no picture of 'a castle by moonlight' with the seed 0"):
        search("a castle by moonlight", **{**parts, "folder": None})


class TestPeople:
    def test_by_user_id_of_a_reward(self, inner, taste):
        model, processor, ann, bob = taste
        reward = PersonalReward(model, processor, {"ann": ann, "bob": bob})
        steering = quiet(PamelaSteeringPipeline(inner, reward))
        by_name = steering("a lake", user_id="ann", **SHORT)
        assert tried(by_name) == tried(steering("a lake", profile=ann, **SHORT))

    def test_by_user_id_of_a_saved_model(self, inner, taste, tmp_path):
        model, processor, ann, _ = taste
        model.save_pretrained(tmp_path)
        ann.save_pretrained(tmp_path / "profiles" / "ann")
        loaded = PamelaForPersonalizedScoring.from_pretrained(tmp_path)
        steering = quiet(PamelaSteeringPipeline(inner, loaded, processor))
        assert tried(steering("a lake", user_id="ann", **SHORT)) == tried(steering("a lake", profile=ann, **SHORT))
        with pytest.raises(RewardError, match="no taste of a user 'eve'; the reward knows 1 people"):
            steering("a lake", user_id="eve", **SHORT)

    def test_a_model_of_no_folder_knows_nobody(self, steering, taste, tmp_path, monkeypatch):
        """Whatever lies in the present folder."""
        taste[2].save_pretrained(tmp_path / "profiles" / "ann")
        monkeypatch.chdir(tmp_path)
        with pytest.raises(RewardError, match="no taste of a user 'ann'; the reward knows 0 people"):
            steering("a lake", user_id="ann", **SHORT)

    def test_by_demographics(self, steering, taste):
        model, processor, *_ = taste
        found = steering("a lake", demographics={"age": 26}, **SHORT)
        tokens = processor(demographics={"age": 26})
        embeds = model.get_text_embeds(
            tokens["demographics_input_ids"], tokens["demographics_attention_mask"], "profile"
        )
        prior = TasteProfile.prior(model, embeds)
        assert found.score == pytest.approx(
            PersonalReward(model, processor)(found.images, [found.prompt], prior).mean.item()
        )

    def test_nobody_is_the_population(self, steering, taste):
        found = steering("a lake", **SHORT)
        score = PersonalReward(*taste[:2])(found.images, [found.prompt]).mean.item()
        assert found.score == pytest.approx(score)

    def test_another_models_profile(self, steering, taste):
        torch.manual_seed(1)
        other = PamelaForPersonalizedScoring(taste[0].config).eval()
        with pytest.raises(RewardError, match="belongs to the model"):
            steering("a lake", profile=TasteProfile.prior(other), **SHORT)


class TestComponents:
    def test_what_cannot_be_saved_is_given_again(self, inner, tmp_path):
        """A reward and a proposer that are no models."""
        only_light = ModifierProposer({"light": MODIFIERS["light"]})
        steering = quiet(PamelaSteeringPipeline(inner, Redness(), proposer=only_light))
        found = steering("a lake", **SHORT)
        steering.save_pretrained(tmp_path)
        with pytest.raises(SteeringError, match="no scorer"):
            PamelaSteeringPipeline.from_pretrained(tmp_path)
        loaded = quiet(PamelaSteeringPipeline.from_pretrained(tmp_path, scorer=Redness(), proposer=only_light))
        assert tried(loaded("a lake", **SHORT)) == tried(found)

    def test_from_pipe_shares_weights(self, inner, taste):
        model, processor, *_ = taste
        steering = PamelaSteeringPipeline.from_pipe(inner, scorer=model, processor=processor)
        assert steering.pipeline is inner
        other = PamelaSteeringPipeline.from_pipe(steering, pipeline=flux())
        assert isinstance(other.pipeline, FluxPipeline)
        assert other.scorer is model

    def test_precision_is_the_inner_pipelines(self, inner, taste, tmp_path):
        model, processor, *_ = taste
        PamelaSteeringPipeline(inner, model, processor).save_pretrained(tmp_path / "saved")
        # A folder may be moved.
        tmp_path = (tmp_path / "saved").rename(tmp_path / "moved")
        loaded = PamelaSteeringPipeline.from_pretrained(tmp_path, dtype=torch.bfloat16)
        assert loaded.pipeline.unet.dtype == loaded.dtype == torch.bfloat16
        assert loaded.scorer.fingerprint() == model.fingerprint()
        moved = PamelaSteeringPipeline.from_pretrained(tmp_path).to("cpu", torch.bfloat16)
        assert moved.pipeline.unet.dtype == torch.bfloat16
        assert moved.scorer.fingerprint() == model.fingerprint()

    def test_moves(self, taste):
        """The meta device stands in for an accelerator: nothing computes there, but everything can go there."""
        model, processor, *_ = taste
        copy = PamelaForPersonalizedScoring(model.config)
        steering = PamelaSteeringPipeline(stable_diffusion(), copy, processor).to("meta")
        assert steering.device.type == copy.device.type == steering.pipeline.unet.device.type == "meta"

    def test_rewards_move_whole_or_not_at_all(self, taste):
        class Headed(Redness, torch.nn.Module):
            """A module with a part that is called as a PAMELA reward's model is."""

            def __init__(self):
                super().__init__()
                self.model, self.head = torch.nn.Linear(2, 2), torch.nn.Linear(2, 1)

        module, own = Headed(), Redness()
        own.model = torch.nn.Linear(2, 2)
        for scorer in (module, own):
            PamelaSteeringPipeline(stable_diffusion(), scorer).to("meta")
        assert {parameter.device.type for parameter in module.parameters()} == {"meta"}
        assert own.model.weight.device.type == "cpu"
        model, processor, ann, _ = taste
        copy = PamelaForPersonalizedScoring(model.config)
        PamelaSteeringPipeline(stable_diffusion(), PersonalReward(copy, processor).of(ann)).to("meta")
        assert copy.device.type == "meta"

    def test_offload(self, taste):
        """With the hooks of accelerate, from the CPU to the CPU where there is nothing else; the scorer has none."""
        pytest.importorskip("accelerate")
        model, processor, ann, _ = taste
        steering = quiet(PamelaSteeringPipeline(stable_diffusion(), model, processor))
        found = steering("a lake", profile=ann, **SHORT)
        steering.enable_model_cpu_offload(device="cpu")
        assert hasattr(steering.pipeline.unet, "_hf_hook")
        assert not hasattr(model, "_hf_hook")
        assert tried(steering("a lake", profile=ann, **SHORT)) == tried(found)

    def test_no_processor(self, inner, taste):
        with pytest.raises(SteeringError, match="needs its processor"):
            PamelaSteeringPipeline(inner, taste[0])

    def test_not_loaded_as_another_class(self, inner, taste, tmp_path):
        """`DiffusionPipeline` knows diffusers' own classes only, and says so."""
        PamelaSteeringPipeline(inner, *taste[:2]).save_pretrained(tmp_path)
        with pytest.raises(AttributeError, match="PamelaSteeringPipeline"):
            DiffusionPipeline.from_pretrained(tmp_path)


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({"prompt": "  "}, "The prompt is empty"),
        ({"prompt": ["a lake"]}, "The prompt is a list; expected one text"),
        ({"prompt": "lake " * 10_000}, "has 10000 words; text-to-image models read at most 512"),
        ({"user_id": "ann", "demographics": {"age": 26}}, "exclude each other"),
        ({"output_type": "latent"}, "expected 'pil', 'np' or 'pt'"),
        ({"num_candidates": 0}, "num_candidates is 0"),
        ({"steps": 3}, "StableDiffusionPipeline does not take steps"),
        ({"height": 17}, "cannot draw 'a lake' .*divisible by 8"),
    ],
)
def test_inputs_that_make_no_sense(steering, inputs, message):
    with pytest.raises(SteeringError, match=message):
        steering(**{"prompt": "a lake", **SHORT, **inputs})


def test_demographics_for_a_reward_that_knows_none(inner):
    with pytest.raises(SteeringError, match="redness makes nothing of demographics"):
        PamelaSteeringPipeline(inner, Redness())("a lake", demographics={"age": 26}, **SHORT)
