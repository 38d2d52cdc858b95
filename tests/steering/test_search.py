"""The search finds what a person likes, within its budget and its guards, and the same every time."""

import dataclasses
import json
import math

import numpy as np
import pytest
import torch
from PIL import Image
from tiny_steering import ColourReward, LoggedRenderer, WordContent

from modeling_pamela import TasteProfile
from modeling_pamela.rewards.base import RewardError
from modeling_pamela.rewards.personal import PersonalReward, PersonReward
from modeling_pamela.steering.base import NO_PICTURE, SteeringError
from modeling_pamela.steering.guards import Guards
from modeling_pamela.steering.history import HISTORY_FILE
from modeling_pamela.steering.modifiers import ModifierProposer
from modeling_pamela.steering.search import SearchSettings, search
from modeling_pamela.taste.store import TasteStore


PROMPT = "a castle on a hill"
SMALL = SearchSettings(num_candidates=6, max_rounds=3, batch_size=4)


class Listed:
    """Proposes what stands in its list, one entry a round."""

    def __init__(self, *rounds):
        self.rounds = rounds
        self.shown = []

    def propose(self, prompt, history, num, seed):
        self.shown.append(list(history))
        played = max(candidate.round for candidate in history)
        return list(self.rounds[played]) if played < len(self.rounds) else []


def run(settings=SMALL, proposer=None, reward=None, person="red", guards=None, **others):
    renderer = LoggedRenderer()
    result = search(
        PROMPT,
        reward=reward or ColourReward(),
        person=person,
        proposer=proposer or ModifierProposer(),
        renderer=renderer,
        settings=settings,
        guards=guards or Guards.off(),
        **others,
    )
    return result, renderer


def test_the_defaults_are_the_papers():
    settings = SearchSettings()
    found = (settings.num_candidates, settings.keep, settings.max_rounds, settings.patience, settings.render_seed)
    assert found == (20, 1, 5, 2, 0)


def test_each_person_gets_what_they_like_better_than_what_the_other_gets():
    reward = ColourReward()
    found = {person: run(person=person)[0] for person in ("red", "blue")}
    for person, other in (("red", "blue"), ("blue", "red")):
        own, others, first = (
            float(reward([image], people=person).mean)
            for image in (found[person].image, found[other].image, LoggedRenderer().render([PROMPT], [0])[0])
        )
        assert own == found[person].score
        assert own > first > others or (own > first and own > others)


def test_where_lower_is_better_the_lowest_wins():
    high, low = (run(reward=ColourReward(higher_is_better=better))[0] for better in (True, False))
    assert low.history == high.history
    assert low.image.tobytes() == high.image.tobytes()


def test_every_candidate_is_recorded_and_the_best_is_returned():
    result, renderer = run()
    assert [candidate.index for candidate in result.history] == list(range(len(result.history)))
    assert renderer.prompts == [candidate.prompt for candidate in result.history]
    assert result.history[0].prompt == PROMPT
    assert result.score == max(candidate.score for candidate in result.history)
    assert all(candidate.parent < candidate.index for candidate in result.history[1:])
    assert {"saturation", "contrast", "saturation_drift", "contrast_drift"} <= set(result.history[-1].guards)


def test_the_same_seeds_give_the_same_and_others_something_else():
    assert run()[0].history == run()[0].history
    assert run(dataclasses.replace(SMALL, seed=1))[0].history != run()[0].history


def test_the_result_does_not_depend_on_the_batch_size():
    assert run(dataclasses.replace(SMALL, batch_size=1))[0].history == run()[0].history


def test_a_population_can_be_steered_for_and_a_reward_need_not_know_how_sure_it_is():
    result, _ = run(person=None, guards=Guards())
    assert result.std is None
    assert {candidate.population for candidate in result.history} == {None}


def test_it_stops_after_rounds_without_gain():
    worse = [f"{PROMPT}, cool colours, at night {number}" for number in range(4)]
    result, _ = run(proposer=Listed(*[[prompt] for prompt in worse]), settings=dataclasses.replace(SMALL, patience=2))
    assert result.stopped == "patience"
    assert result.prompt == PROMPT
    assert [candidate.round for candidate in result.history] == [0, 1, 2]


@pytest.mark.parametrize("renders", [1, 2, 6, 9])
def test_it_stops_at_the_budget_of_pictures(renders):
    result, renderer = run(dataclasses.replace(SMALL, max_renders=renders))
    assert len(renderer.prompts) == renders
    assert result.stopped == "renders"


@pytest.mark.parametrize("renders", [4, 7])
def test_pictures_that_were_held_back_count_for_the_budget(renders):
    class Censored(LoggedRenderer):
        def render(self, prompts, seeds):
            made = super().render(prompts, seeds)
            return [picture if prompt == PROMPT else None for prompt, picture in zip(prompts, made, strict=True)]

    renderer, told = Censored(), []
    result = search(
        PROMPT,
        reward=ColourReward(),
        proposer=ModifierProposer(),
        renderer=renderer,
        settings=dataclasses.replace(SMALL, max_renders=renders, batch_size=2),
        callback=told.append,
    )
    assert len(renderer.prompts) == told[-1].renders == renders
    assert result.stopped == "renders"
    # What was not tried comes last, and a round that cannot be rendered is not begun.
    refused = [candidate.refused for candidate in result.history[1:]]
    assert refused == [NO_PICTURE] * (renders - 1) + [None] * (7 - renders)


def test_the_budget_ends_a_search_within_its_last_round():
    result, renderer = run(dataclasses.replace(SMALL, max_rounds=1, max_renders=6))
    assert (result.stopped, len(renderer.prompts)) == ("renders", 6)


def test_it_stops_at_the_budget_of_seconds_with_at_least_the_first_picture():
    result, renderer = run(dataclasses.replace(SMALL, max_seconds=0))
    assert (result.stopped, renderer.prompts, result.prompt) == ("seconds", [PROMPT], PROMPT)


def test_no_rounds_score_the_persons_own_prompt():
    result, _ = run(dataclasses.replace(SMALL, max_rounds=0))
    assert (result.stopped, result.prompt) == ("rounds", PROMPT)


def test_it_ends_where_there_are_no_more_proposals():
    result, _ = run(proposer=Listed([f"{PROMPT}, warm colours at dusk"]))
    assert result.stopped == "proposals"
    assert len(result.history) == 2


def test_a_proposer_that_fails_later_ends_the_search_with_what_it_has():
    class Failing(Listed):
        def propose(self, prompt, history, num, seed):
            if len(history) > self.rounds[0]:
                raise SteeringError("the server is gone")
            return [f"{PROMPT}, warm colours at dusk"]

    with pytest.warns(UserWarning, match="after round 1: the server is gone"):
        result, _ = run(proposer=Failing(1))
    assert result.stopped == "failure"
    with pytest.raises(SteeringError, match="the server is gone"):
        run(proposer=Failing(0))


def test_it_goes_on_once_the_proposer_works_again(tmp_path):
    class Server(ModifierProposer):
        down = True

        def propose(self, prompt, history, num, seed):
            if self.down and len(history) > 1:
                raise SteeringError("the server is gone")
            return super().propose(prompt, history, num, seed)

    with pytest.warns(UserWarning, match="the server is gone"):
        result, _ = run(proposer=Server(), folder=tmp_path / "run")
    Server.down = False
    resumed, renderer = run(proposer=Server(), folder=tmp_path / "run")
    whole, everything = run(proposer=Server())
    assert resumed.stopped == whole.stopped != result.stopped == "failure"
    assert [one.prompt for one in resumed.history] == [one.prompt for one in whole.history]
    assert renderer.prompts == everything.prompts[len(result.history) :]


def test_a_reward_that_is_one_persons_already():
    reward = ColourReward()
    own, _ = run(reward=PersonReward(reward, "red"), person=None)
    asked, _ = run(reward=reward, person="red")
    assert (own.prompt, own.score) == (asked.prompt, asked.score)
    assert [one.population for one in own.history] == [one.population for one in asked.history]
    with pytest.raises(SteeringError, match="name nobody else"):
        run(reward=PersonReward(reward, "red"), person="blue")


def test_a_run_of_one_person_is_not_resumed_for_another(tmp_path):
    run(reward=PersonReward(ColourReward(), "red"), person=None, folder=tmp_path / "run")
    with pytest.raises(SteeringError, match="started differently: person"):
        run(reward=PersonReward(ColourReward(), "blue"), person=None, folder=tmp_path / "run")


def test_what_differs_in_spaces_case_and_punctuation_is_rendered_once():
    proposer = Listed([f"{PROMPT}, at dusk", "A  castle on a hill -- at dusk!", "A CASTLE ON A HILL."])
    result, renderer = run(proposer=proposer)
    assert renderer.prompts == [PROMPT, f"{PROMPT}, at dusk"]
    assert [candidate.refused for candidate in result.history] == [
        None,
        None,
        "duplicate: the same as candidate 1",
        "duplicate: the same as candidate 0",
    ]


def test_several_are_kept_best_first():
    result, _ = run(dataclasses.replace(SMALL, keep=3))
    scores = sorted((candidate.score for candidate in result.history), reverse=True)
    assert [candidate.score for candidate in result.kept] == scores[:3]
    assert len(result.images) == 3


@pytest.mark.parametrize(("size", "keep"), [(1, 1), (3, 2), (4, 2)])
def test_the_proposer_sees_the_best_and_then_the_latest(size, keep):
    prompts = ["at night, cool colours", "at dusk, warm colours", "in the fog", "at noon", "in a storm"]
    proposer = Listed(*[[f"{PROMPT}, {words}"] for words in prompts])
    settings = dataclasses.replace(SMALL, history_size=size, keep=keep, max_rounds=4, patience=9)
    proposer.propose = lambda prompt, history, num, seed, at=iter(proposer.rounds): (
        proposer.shown.append(list(history)) or next(at)
    )
    result, _ = run(settings, proposer=proposer)
    for number, shown in enumerate(proposer.shown, start=1):
        before = [candidate for candidate in result.history if candidate.round < number]
        best = sorted(before, key=lambda candidate: -candidate.score)[: min(keep, size)]
        assert len(shown) == min(size, len(before))
        assert shown == sorted(shown, key=lambda candidate: candidate.index)
        assert all(candidate in shown for candidate in best)
        others = [candidate for candidate in before if candidate not in best]
        assert [candidate for candidate in shown if candidate not in best] == others[
            len(others) - len(shown) + len(best) :
        ]


def test_progress_is_told_after_every_round():
    told = []
    result, _ = run(callback=told.append)
    assert [progress.round for progress in told] == sorted({candidate.round for candidate in result.history})
    assert told[-1].best == result.kept[0]
    assert told[-1].renders == len(result.history)
    assert all(math.isfinite(progress.seconds_left) and progress.seconds_left >= 0 for progress in told)
    assert told[-1].round < SMALL.max_rounds or told[-1].seconds_left == 0


def test_a_prompt_that_lost_the_content_is_never_rendered():
    proposer = Listed([f"{PROMPT}, warm colours", "a rusty bicycle, warm colours"])
    result, renderer = run(proposer=proposer, guards=Guards(), content=WordContent())
    assert renderer.prompts == [PROMPT, f"{PROMPT}, warm colours"]
    assert result.history[2].refused.startswith("content: ")
    assert result.history[2].score is None
    _, unguarded = run(proposer=proposer, guards=Guards.off(), content=WordContent())
    assert "a rusty bicycle, warm colours" in unguarded.prompts


def test_what_the_population_dislikes_much_more_cannot_win():
    bright = dataclasses.replace(SMALL, render_seed=5)
    free, _ = run(bright)
    floor, _ = run(bright, guards=dataclasses.replace(Guards.off(), max_population_loss=0.0))
    base = floor.history[0].population
    assert free.kept[0].population < base <= floor.kept[0].population
    refused = [candidate for candidate in floor.history if candidate.refused]
    assert refused
    assert all(candidate.population < base and candidate.refused.startswith("population: ") for candidate in refused)


def test_the_population_is_not_guarded_by_a_range_without_end():
    reward = ColourReward()
    reward.score_range = (-math.inf, math.inf)
    with pytest.raises(SteeringError, match="max_population_loss=None"):
        run(reward=reward, guards=Guards())
    assert run(reward=reward, guards=Guards(), person=None)[0].history
    assert run(reward=reward, guards=Guards(max_population_loss=None))[0].history == run()[0].history


def test_a_picture_that_shows_less_of_the_prompt_cannot_win():
    class Bright(WordContent):
        def alignment(self, images, prompt):
            return ColourReward()(images).mean

    guards = dataclasses.replace(Guards.off(), max_alignment_loss=0.05)
    result, _ = run(dataclasses.replace(SMALL, render_seed=5), guards=guards, content=Bright())
    least = result.history[0].guards["alignment"] - 0.05
    assert {candidate.guards["alignment"] < least for candidate in result.history} == {True, False}
    assert all((candidate.guards["alignment"] < least) == bool(candidate.refused) for candidate in result.history)


def test_the_lower_bound_decides():
    class Unsure(ColourReward):
        def __call__(self, images, prompts=None, people=None):
            scores = super().__call__(images, prompts, people)
            return scores._replace(std=scores.mean.clamp(min=0) * 2)

    bold, _ = run(reward=Unsure())
    careful, _ = run(reward=Unsure(), guards=dataclasses.replace(Guards.off(), beta=1.0))
    assert bold.score > careful.score
    value = [candidate.score - candidate.std for candidate in careful.history]
    assert careful.kept[0].index == value.index(max(value))


@pytest.mark.parametrize(("told", "expected"), [("own", None), ("base", {PROMPT}), ("none", {None})])
def test_the_reward_is_told_the_prompt_that_was_chosen(told, expected):
    heard = set()

    class Listening(ColourReward):
        def __call__(self, images, prompts=None, people=None):
            heard.update(prompts)
            return super().__call__(images, prompts, people)

    result, _ = run(reward=Listening(), guards=Guards.off(told))
    assert heard == (expected or {candidate.prompt for candidate in result.history})


def test_what_cannot_be_searched_is_refused():
    with pytest.raises(RewardError, match="nobody"):
        run(person="nobody")
    with pytest.raises(SteeringError, match="prompt is empty"):
        search(" .", reward=ColourReward(), proposer=ModifierProposer(), renderer=LoggedRenderer())
    with pytest.raises(SteeringError, match="keep is 0"):
        SearchSettings(keep=0)
    with pytest.raises(SteeringError, match="max_seconds is -1"):
        SearchSettings(max_seconds=-1)

    class Broken(ColourReward):
        def __call__(self, images, prompts=None, people=None):
            scores = super().__call__(images, prompts, people)
            return scores._replace(mean=torch.full_like(scores.mean, math.nan))

    with pytest.raises(SteeringError, match="no number"):
        run(reward=Broken())


def test_a_folder_holds_everything(tmp_path):
    result, _ = run(folder=tmp_path / "run")
    lines = [json.loads(line) for line in (tmp_path / "run" / HISTORY_FILE).read_text().splitlines()]
    assert lines[0]["prompt"] == PROMPT
    assert lines[0]["person"] == "red"
    assert lines[-1] == {"stopped": result.stopped}
    assert all((tmp_path / "run" / candidate.picture).is_file() for candidate in result.history)
    assert [dataclasses.replace(candidate, picture=None) for candidate in result.history] == run()[0].history


def test_where_it_is_not_known_how_sure_a_score_is_the_score_decides():
    found, known = (run(reward=ColourReward(std=std), guards=Guards())[0] for std in (math.nan, 0.0))
    assert [one.score for one in found.history] == [one.score for one in known.history]
    assert found.kept[0].index == known.kept[0].index
    assert {one.std for one in found.history} == {None}


@pytest.mark.parametrize("mode", ["L", "LA", "RGBA", "CMYK", "YCbCr", "P", "I;16"])
def test_pictures_of_every_mode_are_seen_and_kept_the_same(tmp_path, mode):
    class Toned(LoggedRenderer):
        def render(self, prompts, seeds):
            pictures = super().render(prompts, seeds)
            if mode == "I;16":
                return [Image.fromarray(np.asarray(picture.convert("L"), np.uint16) * 257) for picture in pictures]
            return [picture.convert(mode) for picture in pictures]

    parts = {
        "reward": ColourReward(),
        "proposer": ModifierProposer(),
        "settings": dataclasses.replace(SMALL, num_candidates=2, max_rounds=1),
    }
    kept, written = (search(PROMPT, renderer=Toned(), folder=folder, **parts) for folder in (None, tmp_path))
    assert [dataclasses.replace(one, picture=None) for one in written.history] == kept.history
    assert kept.image.mode == written.image.mode == "RGB"
    assert kept.image.tobytes() == search(PROMPT, renderer=Toned(), folder=tmp_path, **parts).image.tobytes()


@pytest.mark.parametrize(
    ("made", "error", "message"),
    [
        ([], SteeringError, "gave 0 pictures for 1 prompts"),
        ([torch.zeros(3, 8, 8)], RewardError, "is a Tensor; expected a PIL picture"),
        ([Image.new("F", (8, 8))], RewardError, "no known range"),
    ],
)
def test_a_renderer_that_gives_something_else(made, error, message):
    class Odd:
        def render(self, prompts, seeds):
            return made

    with pytest.raises(error, match=message):
        search(PROMPT, reward=ColourReward(), proposer=ModifierProposer(), renderer=Odd())


def test_people_of_a_store_are_searched_for(tmp_path, tiny_reward):
    model = tiny_reward.model
    embeds = tiny_reward.embed(LoggedRenderer().render([PROMPT] * 3, range(3)))
    tastes = [
        TasteProfile.fit(model, torch.tensor(ratings), **embeds) for ratings in ([0.0, 0.5, 1.0], [1.0, 0.5, 0.0])
    ]
    reward = PersonalReward(
        model, tiny_reward.processor, TasteStore.create(tmp_path / "store.safetensors", [("ann", tastes[0])])
    )
    parts = {"proposer": ModifierProposer(), "settings": dataclasses.replace(SMALL, num_candidates=2, max_rounds=1)}
    for each in (reward, PersonalReward(model, tiny_reward.processor, {"ann": tastes[0]})):
        parts["renderer"] = LoggedRenderer()
        result = search(PROMPT, reward=each, person="ann", folder=tmp_path / str(id(each)), **parts)
        assert result.score == pytest.approx(float(each([result.image], [result.prompt], "ann").mean), abs=1e-3)
    # Somebody else under the same name is another search.
    other = TasteStore.create(tmp_path / "other.safetensors", [("ann", tastes[1])])
    with pytest.raises(SteeringError, match="started differently: person was"):
        search(
            PROMPT,
            reward=PersonalReward(model, tiny_reward.processor, other),
            person="ann",
            folder=tmp_path / str(id(reward)),
            **parts,
        )
    with pytest.raises(ValueError, match="eve"):
        search(PROMPT, reward=reward, person="eve", **parts)


def test_guards_that_make_no_sense():
    with pytest.raises(SteeringError, match="scored_prompt is 'mine'"):
        Guards(scored_prompt="mine")
    with pytest.raises(SteeringError, match="beta is nan"):
        Guards(beta=math.nan)
