"""A search with the person in it."""

import numpy as np
import pytest
import torch
from tiny_steering import LoggedRenderer

from modeling_pamela import TasteProfile
from modeling_pamela.steering.base import SteeringError
from modeling_pamela.steering.choices import choose, search_with_choices
from modeling_pamela.steering.modifiers import ModifierProposer
from modeling_pamela.steering.search import SearchSettings


pytestmark = pytest.mark.usefixtures("one_thread")

PROMPT = "a castle on a hill"


def redness(image):
    red, _, blue = np.asarray(image, float).mean((0, 1))
    return red - blue


@pytest.fixture
def begin(tiny_reward):
    def begin(profile=None, max_rounds=3, **options):
        return search_with_choices(
            PROMPT,
            profile or TasteProfile.prior(tiny_reward.model),
            reward=tiny_reward,
            proposer=ModifierProposer(),
            renderer=LoggedRenderer(),
            settings=SearchSettings(num_candidates=4, max_rounds=max_rounds),
            **options,
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
    # The best so far stays in the offer, and what is learned moves the scores its way.
    chosen = [offer.candidates[likes_red(offer)] for offer in offers[:]]
    assert offers[1].candidates[0].prompt == chosen[0].prompt
    scores = {one.prompt: one.score for one in result.history}
    prior = TasteProfile.prior(tiny_reward.model)
    first = offers[0]
    embeds = tiny_reward.embed(first.images, [one.prompt for one in first.candidates])
    before = prior.score(tiny_reward.model, **embeds).mean.tolist()
    winner = first.candidates.index(chosen[0])
    for place, one in enumerate(first.candidates):
        if place != winner:
            assert scores[chosen[0].prompt] - scores[one.prompt] > before[winner] - before[place]


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
    result = choose(begin(profile, max_rounds=1, num_shown=2), lambda offer: 1)
    assert (result.profile.num_ratings, result.profile.num_comparisons) == (3, 1)
