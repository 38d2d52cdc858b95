"""Pictures for several people: rendered once, scored for everybody."""

import math

import numpy as np
import pytest
import torch
from tiny_steering import ColourReward, LoggedRenderer, WordContent

from modeling_pamela import TasteProfile, blend
from modeling_pamela.rewards.base import RewardError
from modeling_pamela.steering.base import SteeringError
from modeling_pamela.steering.crowd import best_of_seeds, saturation_by_group, search_together
from modeling_pamela.steering.guards import Guards, colour_statistics
from modeling_pamela.steering.modifiers import ModifierProposer
from modeling_pamela.steering.search import SearchSettings


pytestmark = pytest.mark.usefixtures("one_thread")

PROMPT = "a castle on a hill"
PEOPLE = {"ann": "red", "bob": "blue", "all": None}
SMALL = SearchSettings(num_candidates=4, max_rounds=2, batch_size=3)


def test_everybody_gets_the_best_of_the_same_pictures():
    renderer, reward = LoggedRenderer(), ColourReward()
    pool = best_of_seeds(PROMPT, range(5), reward=reward, renderer=renderer, people=PEOPLE)
    assert renderer.prompts == [PROMPT] * 5
    assert pool.mean.shape == (3, 5)
    for row, (name, person) in enumerate(PEOPLE.items()):
        alone = reward(pool.images, people=[person] * 5).mean
        np.testing.assert_array_equal(pool.mean[row], alone)
        assert pool.best(name) == int(alone.argmax())
    assert pool.images[2].tobytes() == renderer.render([PROMPT], [2])[0].tobytes()


def test_a_distance_is_better_the_smaller_it_is_and_what_is_unsure_counts_less():
    away = ColourReward(higher_is_better=False, std=0.5)
    pool = best_of_seeds(PROMPT, range(3), reward=away, renderer=LoggedRenderer(), people=PEOPLE)
    assert pool.best("ann") == int(away(pool.images, people="red").mean.argmin())
    pool.std[0, pool.best("ann")] += 100
    assert pool.best("ann", beta=1.0) != pool.best("ann")


def test_a_model_encodes_each_picture_once_for_people_couples_and_the_population(tiny_reward, monkeypatch):
    model, encoded = tiny_reward.model, []
    encode = model.get_image_embeds

    def count(**pictures):
        encoded.append(len(pictures["pixel_values"]))
        return encode(**pictures)

    scenes = LoggedRenderer().render([PROMPT] * 4, range(4))
    embeds = tiny_reward.embed(scenes)
    ann, bob = (
        TasteProfile.fit(model, torch.tensor(ratings), **embeds)
        for ratings in ([0.0, 0.2, 0.8, 1.0], [1.0, 0.7, 0.4, 0.0])
    )
    monkeypatch.setattr(model, "get_image_embeds", count)
    people = {"ann": ann, "bob": bob, "couple": blend([ann, bob]), "all": None}
    pool = best_of_seeds(PROMPT, range(3), reward=tiny_reward, renderer=LoggedRenderer(), people=people)
    assert sum(encoded) == 3
    np.testing.assert_allclose(pool.mean[2], pool.mean[:2].mean(0), atol=1e-6)
    assert (pool.std > 0).all()


def test_searching_together():
    renderer, reward = LoggedRenderer(), ColourReward(std=0.01)
    results = search_together(
        PROMPT,
        reward=reward,
        proposer=ModifierProposer(),
        renderer=renderer,
        people=PEOPLE,
        settings=SMALL,
        guards=Guards(min_content=None),
    )
    assert list(results) == list(PEOPLE)
    prompts = [one.prompt for one in results["ann"].history]
    assert renderer.prompts == prompts == list(dict.fromkeys(prompts))
    assert 1 < len(prompts) <= 1 + SMALL.max_rounds * SMALL.num_candidates
    for name, person in PEOPLE.items():
        result = results[name]
        assert [one.prompt for one in result.history] == prompts
        assert result.score == pytest.approx(float(reward([result.image], people=[person]).mean))
        value = Guards().value
        assert value(result.kept[0]) == max(value(one) for one in result.history if value(one) is not None)
        assert result.history[0].prompt == PROMPT
        assert (result.history[0].population is None) == (person is None)
    assert (
        results["ann"].score
        > results["ann"].history[[one.prompt for one in results["bob"].history].index(results["bob"].prompt)].score
    )
    again = search_together(
        PROMPT,
        reward=reward,
        proposer=ModifierProposer(),
        renderer=LoggedRenderer(),
        people=PEOPLE,
        settings=SMALL,
        guards=Guards(min_content=None),
    )
    assert {name: result.history for name, result in again.items()} == {
        name: result.history for name, result in results.items()
    }
    rows = saturation_by_group(results)
    assert [row["group"] for row in rows] == list(PEOPLE)
    for row in rows:
        assert row["saturation"] == colour_statistics(results[row["group"]].image)["saturation"]
        assert row["saturation at first"] == rows[0]["saturation at first"]


class Strays:
    """Keeps the content once a round and loses it otherwise."""

    def propose(self, prompt, history, num, seed):
        return [f"{prompt}, variant {len(history)}", *(f"something else {seed} {place}" for place in range(num - 1))]


def test_guards_and_the_budget_hold_for_all():
    renderer = LoggedRenderer()
    results = search_together(
        PROMPT,
        reward=ColourReward(),
        proposer=Strays(),
        renderer=renderer,
        people=PEOPLE,
        settings=SearchSettings(num_candidates=6, max_rounds=9, patience=9, max_renders=5),
        content=WordContent(),
    )
    assert len(renderer.prompts) == 5
    for result in results.values():
        assert result.stopped == "renders"
        refused = [one for one in result.history if one.refused and one.refused.startswith("content")]
        assert refused
        assert all(one.score is None and one.prompt.startswith("something") for one in refused)


def test_pictures_that_were_held_back_count_for_the_budget():
    class Censored(LoggedRenderer):
        def render(self, prompts, seeds):
            made = super().render(prompts, seeds)
            return [picture if prompt == PROMPT else None for prompt, picture in zip(prompts, made, strict=True)]

    renderer = Censored()
    results = search_together(
        PROMPT,
        reward=ColourReward(),
        proposer=ModifierProposer(),
        renderer=renderer,
        people=PEOPLE,
        settings=SearchSettings(num_candidates=6, max_rounds=9, patience=9, max_renders=9),
    )
    assert len(renderer.prompts) == 9
    assert {result.stopped for result in results.values()} == {"renders"}


def test_what_cannot_be_done():
    parts = {"reward": ColourReward(), "renderer": LoggedRenderer()}
    with pytest.raises(SteeringError, match="0 seeds and 3 people"):
        best_of_seeds(PROMPT, [], people=PEOPLE, **parts)
    with pytest.raises(SteeringError, match="at least one person"):
        search_together(PROMPT, people={}, proposer=ModifierProposer(), **parts)
    for prompt in ("", " . "):
        with pytest.raises(SteeringError, match="prompt is empty"):
            best_of_seeds(prompt, [0], people=PEOPLE, **parts)
    with pytest.raises(SteeringError, match="not scored for 'eve'; expected one of ann, bob, all"):
        best_of_seeds(PROMPT, [0], people=PEOPLE, **parts).best("eve")
    with pytest.raises(SteeringError, match="no number"):
        best_of_seeds(PROMPT, [0], people=PEOPLE, reward=ColourReward(scale=math.nan), renderer=LoggedRenderer())
    with pytest.raises(RewardError, match="no taste of 'eve'"):
        search_together(PROMPT, people={"eve": "eve"}, proposer=ModifierProposer(), settings=SMALL, **parts)


def test_where_it_is_not_known_how_sure_a_score_is_the_score_decides():
    parts = {"renderer": LoggedRenderer(), "people": PEOPLE}
    sure, unknown = (ColourReward(std=std) for std in (0.0, math.nan))
    expected, found = (
        [best_of_seeds(PROMPT, range(4), reward=reward, **parts).best(name, beta=1.0) for name in PEOPLE]
        for reward in (sure, unknown)
    )
    assert any(expected)
    assert found == expected
    found, known = (
        search_together(PROMPT, reward=reward, proposer=ModifierProposer(), settings=SMALL, **parts)
        for reward in (unknown, sure)
    )
    assert found["ann"].kept[0].index == known["ann"].kept[0].index
    assert found["ann"].std is None


def test_a_proposer_that_fails_later_is_told_of():
    class Failing(ModifierProposer):
        def propose(self, prompt, history, num, seed):
            if len(history) > 1:
                raise SteeringError("the server is gone")
            return super().propose(prompt, history, num, seed)

    with pytest.warns(UserWarning, match="Nothing is proposed for ann in round 2: the server is gone"):
        results = search_together(
            PROMPT,
            reward=ColourReward(),
            proposer=Failing(),
            renderer=LoggedRenderer(),
            people=PEOPLE,
            settings=SMALL,
        )
    assert results["ann"].stopped == "proposals"
