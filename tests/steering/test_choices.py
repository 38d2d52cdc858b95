"""A search with the person in it."""

import numpy as np
import pytest
import torch
from tiny_steering import LoggedRenderer

from modeling_pamela import TasteProfile
from modeling_pamela.steering.base import NO_PICTURE, SteeringError
from modeling_pamela.steering.choices import choose, search_with_choices
from modeling_pamela.steering.guards import Guards
from modeling_pamela.steering.modifiers import ModifierProposer
from modeling_pamela.steering.search import SearchSettings


pytestmark = pytest.mark.usefixtures("one_thread")

PROMPT = "a castle on a hill"


def redness(image):
    red, _, blue = np.asarray(image, float).mean((0, 1))
    return red - blue


@pytest.fixture
def begin(tiny_reward):
    def begin(profile=None, max_rounds=3, proposer=ModifierProposer(), renderer=None, **options):
        return search_with_choices(
            PROMPT,
            profile or TasteProfile.prior(tiny_reward.model),
            reward=tiny_reward,
            proposer=proposer,
            renderer=renderer or LoggedRenderer(),
            settings=SearchSettings(num_candidates=4, max_rounds=max_rounds),
            **{"guards": Guards.off(), **options},
        )

    return begin


def test_what_is_chosen_is_kept_and_learned(begin, tiny_reward):
    offers = []

    def likes_red(offer):
        offers.append(offer)
        return int(np.argmax([redness(image) for image in offer.images]))

    result = choose(begin(num_shown=3), likes_red)
    assert [offer.round for offer in offers] == [1, 2, 3]
    assert [len(offer.images) for offer in offers] == [3, 3, 3]
    assert offers[0].candidates[0].prompt == PROMPT
    seen = [redness(image) for offer in offers for image in offer.images]
    assert redness(result.image) == max(seen)
    assert result.profile.num_comparisons == 3 * 2
    # The best so far stays in the offer.
    assert offers[1].candidates[0].prompt == offers[0].candidates[likes_red(offers[0])].prompt


def test_who_cannot_tell_says_that_all_are_alike(begin):
    result = choose(begin(max_rounds=1, num_shown=4), lambda offer: None)
    assert result.candidate.prompt == PROMPT
    assert result.profile.evidence.tied.tolist() == [True] * 3


def test_it_is_a_generator_that_can_be_left_at_any_time(begin):
    offers = begin()
    offer = next(offers)
    assert offer.images[0].size == (48, 36)
    assert offers.send(1).candidates[0].prompt == offer.candidates[1].prompt
    offers.close()


def test_answers_that_make_no_sense(begin):
    offers = begin(num_shown=3)
    next(offers)
    with pytest.raises(SteeringError, match="The choice is 3"):
        offers.send(3)
    with pytest.raises(SteeringError, match="at least 2"):
        next(begin(num_shown=1))


def test_a_profile_that_knows_something_goes_on_from_it(begin, tiny_reward):
    embeds = tiny_reward.embed(LoggedRenderer().render([PROMPT] * 3, range(3)), [PROMPT] * 3)
    profile = TasteProfile.fit(tiny_reward.model, torch.tensor([0.1, 0.5, 0.9]), **embeds)
    asked = []
    result = choose(begin(profile, max_rounds=1, num_shown=2), lambda offer: asked.append(offer) or 1)
    assert (result.profile.num_ratings, result.profile.num_comparisons) == (3, 1)
    # What was preferred gained on what was not.
    after = {one.index: one.score for one in result.history}
    first, second = asked[0].candidates
    assert after[second.index] - after[first.index] > second.score - first.score


class Scripted:
    """The same two in the first round, one that is held back in the second, then nothing more."""

    def __init__(self):
        self.shown, self.seeds = [], []

    def propose(self, prompt, history, num, seed):
        self.shown.append([one.prompt for one in history])
        self.seeds.append(seed)
        if len(self.shown) > 2:
            raise SteeringError("the server is gone")
        return [[f"{prompt}, warm", f"{prompt}, cold", "too many"], [f"{prompt}, hidden"]][len(self.shown) - 1][:num]


class Censored(LoggedRenderer):
    def render(self, prompts, seeds):
        made = super().render(prompts, seeds)
        return [None if "hidden" in prompt else picture for prompt, picture in zip(prompts, made, strict=True)]


def test_what_is_held_back_is_written_down_and_the_end_is_told(begin, tiny_reward):
    proposer = Scripted()
    with pytest.warns(UserWarning, match="ends after round 2: the server is gone"):
        result = choose(begin(proposer=proposer, renderer=Censored(), num_shown=2), lambda offer: 1)
    assert [one.refused for one in result.history] == [None, None, None, None, NO_PICTURE]
    assert proposer.shown[2] == [one.prompt for one in result.history]
    assert len(set(proposer.seeds)) == 3
    assert result.profile.num_comparisons == 1
    # All that was rendered has the score of the profile with the choice learned.
    pictured = [one for one in result.history if one.score is not None]
    images = LoggedRenderer().render([one.prompt for one in pictured], [0] * 4)
    scores = tiny_reward(images, [one.prompt for one in pictured], result.profile)
    np.testing.assert_allclose([one.score for one in pictured], scores.mean, atol=1e-6)


def test_what_was_rendered_before_is_not_rendered_again(begin):
    class Repeating:
        def propose(self, prompt, history, num, seed):
            return [f"{prompt}, warm", f"{prompt} -- WARM!", prompt.upper(), f"{prompt}, {len(history)}"]

    renderer = LoggedRenderer()
    result = choose(begin(max_rounds=2, proposer=Repeating(), renderer=renderer), lambda offer: None)
    assert renderer.prompts == [PROMPT, f"{PROMPT}, warm", f"{PROMPT}, 1", f"{PROMPT}, 5"]
    assert [one.refused for one in result.history] == [
        None,
        None,
        "duplicate: the same as candidate 1",
        "duplicate: the same as candidate 0",
        None,
        *["duplicate: the same as candidate 1"] * 2,
        "duplicate: the same as candidate 0",
        None,
    ]


def test_what_loses_the_content_is_not_offered(begin):
    offers = []
    result = choose(
        begin(max_rounds=1, num_shown=4, guards=Guards(min_content=2.0)), lambda offer: offers.append(offer) or 0
    )
    assert offers == []
    assert {one.refused.partition(":")[0] for one in result.history[1:]} == {"content"}
