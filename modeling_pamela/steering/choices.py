"""A search with the person in it: between rounds they choose, and every choice teaches their profile."""

from collections.abc import Callable, Generator
from dataclasses import dataclass, replace

import torch
from PIL import Image
from torch import Tensor

from ..rewards.personal import PersonalReward
from ..taste.profile import TasteProfile
from .base import Candidate, Proposer, Renderer, SteeringError, held_back
from .history import prompt_key
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
        history (list of [`~modeling_pamela.steering.base.Candidate`]): Everything rendered, scored by that profile.
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
        num_shown (`int`): Pictures in an offer, at least 2.

    Returns:
        [`ChoiceResult`], as the generator's value, after `max_rounds` or where there are no more proposals.

    Raises:
        SteeringError: The prompt is empty, fewer than two pictures should be shown, what is sent is no place in the offer, or there is
            nothing to begin with.
        ProfileError: The profile is of another model.
    """
    if not prompt_key(prompt) or num_shown < 2:
        raise SteeringError(
            f"The prompt is {prompt!r} and {num_shown} pictures are to be shown; expected words and at least 2."
        )
    profile.check_model(reward.model)
    images: list[Image.Image] = []
    embeds: dict[str, Tensor] = {}
    history: list[Candidate] = []
    best = 0
    for number in range(settings.max_rounds + 1):
        try:
            texts = (
                proposer.propose(prompt, history, settings.num_candidates, settings.seed + number)
                if number
                else [prompt]
            )
        except SteeringError:
            if number == 1:
                raise
            texts = []
        if not texts:
            break
        made: list[tuple[str, Image.Image]] = []
        for start in range(0, len(texts), settings.batch_size):
            batch = texts[start : start + settings.batch_size]
            pictures = zip(batch, renderer.render(batch, [settings.render_seed] * len(batch)), strict=True)
            made += [(text, picture) for text, picture in pictures if picture is not None]
        if not made and not number:
            raise held_back(prompt, settings.render_seed)
        if not made:
            break
        texts = [text for text, _ in made]
        images += [picture for _, picture in made]
        new = [
            Candidate(len(history) + place, number, text, best if number else None, settings.render_seed)
            for place, text in enumerate(texts)
        ]
        found = reward.embed(images[len(history) :], texts)
        embeds = {name: torch.cat([embeds[name], rows]) if embeds else rows for name, rows in found.items()}
        history = _scored([*history, *new], profile, reward, embeds)
        if not number:
            continue
        promising = sorted(history[-len(new) :], key=lambda one: (-(one.score or 0.0), one.index))
        shown = [best, *(one.index for one in promising[: num_shown - 1])]
        choice = yield Offer(number, [history[index] for index in shown], [images[index] for index in shown])
        if choice is not None and choice not in range(len(shown)):
            raise SteeringError(
                f"The choice is {choice!r}; expected the place of one of {len(shown)} pictures, from 0 on, or None."
            )
        profile = _learned(profile, reward, embeds, shown, choice)
        best = best if choice is None else shown[choice]
        history = _scored(history, profile, reward, embeds)
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


def _scored(
    history: list[Candidate], profile: TasteProfile, reward: PersonalReward, embeds: dict[str, Tensor]
) -> list[Candidate]:
    mean, std = profile.score(reward.model, **embeds)
    return [
        replace(one, score=score, std=spread)
        for one, score, spread in zip(history, mean.tolist(), std.tolist(), strict=True)
    ]


def _learned(
    profile: TasteProfile, reward: PersonalReward, embeds: dict[str, Tensor], shown: list[int], choice: int | None
) -> TasteProfile:
    """The profile after the chosen picture was preferred to all others shown, or all were called alike."""
    chosen = shown[choice or 0]
    others = [index for index in shown if index != chosen]
    winner, loser = (
        {name: rows[indices] for name, rows in embeds.items()} for indices in ([chosen] * len(others), others)
    )
    return profile.update_pairs(reward.model, winner, loser, torch.full((len(others),), choice is None))
