"""A search with the person in it: between rounds they choose, and every choice teaches their profile."""

import warnings
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, replace

import torch
from PIL import Image
from torch import Tensor

from ..rewards.personal import PersonalReward
from ..taste.profile import TasteProfile
from .base import NO_PICTURE, Candidate, Proposer, Renderer, SteeringError, held_back
from .defaults import check_prompt, content_for, guards_for
from .guards import Guards
from .judge import Judge, proposer_seed, refuse_repeats, render
from .search import SearchSettings


__all__ = ["ChoiceResult", "Offer", "choose", "search_with_choices"]


@dataclass(frozen=True)
class Offer:
    """
    What the person is asked to choose from.

    Attributes:
        round (`int`): From 1 on.
        candidates (list of [`~modeling_pamela.steering.base.Candidate`]): The best so far first, then the most promising new ones.
        images (list of `PIL.Image.Image`): Their pictures.
    """

    round: int
    candidates: list[Candidate]
    images: list[Image.Image]


@dataclass(frozen=True)
class ChoiceResult:
    """
    How it ended.

    Attributes:
        image (`PIL.Image.Image`), candidate ([`~modeling_pamela.steering.base.Candidate`]): What the person likes best of what they saw.
        profile ([`~modeling_pamela.taste.profile.TasteProfile`]): Theirs, with all choices learned.
        history (list of [`~modeling_pamela.steering.base.Candidate`]): Everything that was tried; what was rendered is scored by that profile.
    """

    image: Image.Image
    candidate: Candidate
    profile: TasteProfile
    history: list[Candidate]


def search_with_choices(
    prompt: str,
    profile: TasteProfile,
    *,
    reward: PersonalReward,
    proposer: Proposer,
    renderer: Renderer,
    settings: SearchSettings = SearchSettings(),
    guards: Guards | None = None,
    num_shown: int = 4,
) -> Generator[Offer, int | None, ChoiceResult]:
    """
    Offer pictures, take the person's choice, learn from it, and go on.

    A generator: it yields an [`Offer`] and is sent the place of the picture that the person likes best, or `None` where they cannot
    tell; closing it ends the search. [`choose`] does that with a function. A choice counts as a comparison with each of the other pictures
    shown, `None` as a tie between all of them. The next round is proposed from all scores under the new profile.

    Args:
        prompt (`str`): What the person asks for.
        profile ([`~modeling_pamela.taste.profile.TasteProfile`]): What is known of them; `TasteProfile.prior(model)` if nothing.
        reward ([`~modeling_pamela.rewards.personal.PersonalReward`]): Of the profile's model.
        proposer ([`~modeling_pamela.steering.base.Proposer`]): What writes variants.
        renderer ([`~modeling_pamela.steering.base.Renderer`]): What makes pictures.
        settings ([`~modeling_pamela.steering.search.SearchSettings`]): `num_candidates`, `max_rounds`, `batch_size` and the seeds are used.
        guards ([`~modeling_pamela.steering.guards.Guards`], *optional*): What a variant must not do to be offered; by default everything
            that the model can measure is guarded.
        num_shown (`int`): Pictures in an offer, at least 2; fewer where guards refuse the others.

    Returns:
        [`ChoiceResult`], as the generator's value, after `max_rounds` or where there are no more proposals.

    Raises:
        SteeringError: The prompt is empty, fewer than two pictures should be shown, what is sent is no place in the offer, or there is
            nothing to begin with.
        ProfileError: The profile is of another model.
    """
    check_prompt(prompt)
    if num_shown < 2:
        raise SteeringError(f"{num_shown} pictures are to be shown; expected at least 2.")
    profile.check_model(reward.model)
    judge = Judge(prompt, reward, guards_for(reward) if guards is None else guards, content_for(reward))
    images: dict[int, Image.Image] = {}
    embeds: dict[str, Tensor] = {}  # a row for each of the images
    history: list[Candidate] = []
    best = 0
    for number in range(settings.max_rounds + 1):
        texts = [prompt]
        if number:
            try:
                texts = proposer.propose(
                    prompt, history, settings.num_candidates, proposer_seed(settings.seed, number)
                )[: settings.num_candidates]
            except SteeringError as error:
                if number == 1:
                    raise
                warnings.warn(f"The search ends after round {number - 1}: {error}", stacklevel=2)
                texts = []
        if not texts:
            break
        new = [
            Candidate(index, number, text, best if number else None, settings.render_seed)
            for index, text in enumerate(texts, start=len(history))
        ]
        if number:
            new = refuse_repeats(judge.read(new), history)
        asked = [one for one in new if one.refused is None]
        made = render(renderer, asked, settings.batch_size)
        if not number and not made:
            raise held_back(prompt, settings.render_seed)
        missing = {one.index for one in asked} - made.keys()
        history += [replace(one, refused=NO_PICTURE) if one.index in missing else one for one in new]
        if not made:
            continue
        pictured = [history[index] for index in made]
        found = reward.embed(list(made.values()), judge.told(pictured))
        population, _ = judge.signed(reward.score_embeds([None] * len(made), **found), (len(made),))
        mean, std = judge.signed(reward.score_embeds([profile] * len(made), **found), (len(made),))
        first = history[0] if number else None
        for one in judge.compare(judge.look(pictured, list(made.values())), first, mean, std, population):
            history[one.index] = one
        images |= made
        embeds = {name: torch.cat([embeds[name], rows]) if embeds else rows for name, rows in found.items()}
        if not number:
            continue
        promising = judge.best([history[index] for index in made], num_shown - 1)
        if not promising:
            continue
        shown = [best, *(one.index for one in promising)]
        choice = yield Offer(number, [history[index] for index in shown], [images[index] for index in shown])
        if choice is not None and choice not in range(len(shown)):
            raise SteeringError(
                f"The choice is {choice!r}; expected the place of one of {len(shown)} pictures, from 0 on, or None."
            )
        rows = [list(images).index(index) for index in shown]
        profile = _learned(profile, reward, embeds, rows, choice or 0, tied=choice is None)
        best = best if choice is None else shown[choice]
        mean, std = judge.signed(reward.score_embeds([profile] * len(images), **embeds), (len(images),))
        for row, index in enumerate(images):
            history[index] = replace(
                history[index], score=float(mean[row]), std=None if std is None else float(std[row])
            )
    return ChoiceResult(images[best], history[best], profile, history)


def choose(offers: Generator[Offer, int | None, ChoiceResult], ask: Callable[[Offer], int | None]) -> ChoiceResult:
    """
    Run [`search_with_choices`] with a function that asks the person.

    Args:
        offers (generator): What `search_with_choices` gave.
        ask (callable): Takes an [`Offer`], returns the place of the picture that is liked best, or `None`.
    """
    try:
        offer = next(offers)
        while True:
            offer = offers.send(ask(offer))
    except StopIteration as end:
        result: ChoiceResult = end.value
        return result


def _learned(
    profile: TasteProfile,
    reward: PersonalReward,
    embeds: dict[str, Tensor],
    shown: Sequence[int],
    chosen: int,
    tied: bool,
) -> TasteProfile:
    """The profile after one of the rows shown was preferred to all others, or all were called alike."""
    others = [row for place, row in enumerate(shown) if place != chosen]
    winner, loser = (
        {name: values[rows] for name, values in embeds.items()} for rows in ([shown[chosen]] * len(others), others)
    )
    return profile.update_pairs(reward.model, winner, loser, torch.full((len(others),), tied))
