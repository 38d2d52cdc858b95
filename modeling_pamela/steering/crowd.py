"""Pictures for several people: rendered once, scored for everybody."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from PIL import Image

from ..rewards.base import Person, Reward
from .base import NO_PICTURE, Candidate, Proposer, Renderer, SteeringError, held_back
from .guards import ContentMeasure, Guards, colour_statistics, kept_content
from .history import prompt_key
from .search import SearchResult, SearchSettings


__all__ = ["Pool", "best_of_seeds", "saturation_by_group", "search_together"]


@dataclass(frozen=True)
class Pool:
    """
    N pictures and what U people think of them.

    Attributes:
        people (list of U `str`): Their names.
        prompts, seeds (list of N): What the pictures were rendered from.
        images (list of N `PIL.Image.Image`): The pictures.
        mean (`np.ndarray` of shape `(U, N)`): Rewards.
        std (`np.ndarray` of shape `(U, N)`, *optional*): How unsure the reward is of them.
        sign (`int`): 1 where a higher reward is better, else -1.
    """

    people: list[str]
    prompts: list[str]
    seeds: list[int]
    images: list[Image.Image]
    mean: np.ndarray
    std: np.ndarray | None
    sign: int = 1

    def best(self, person: str, beta: float = 0.0) -> int:
        """Which picture is the best for a person: the one with the highest `mean - beta * std`, the first of several."""
        row = self.people.index(person)
        spread = 0.0 if self.std is None else self.std[row]
        return int(np.argmax(self.sign * self.mean[row] - beta * spread))


def score_for_all(
    images: Sequence[Image.Image], prompts: Sequence[str | None], people: Sequence[Person], reward: Reward
) -> tuple[np.ndarray, np.ndarray | None]:
    """Rewards `(U, N)` of N pictures for U people and, where known, their std; every picture is encoded once."""
    shape = len(people), len(images)
    asked = [person for person in people for _ in images]
    scores = reward([*images] * len(people), [*prompts] * len(people), asked)
    return scores.mean.numpy().reshape(shape), None if scores.std is None else scores.std.numpy().reshape(shape)


def best_of_seeds(
    prompt: str,
    seeds: Sequence[int],
    *,
    reward: Reward,
    renderer: Renderer,
    people: Mapping[str, Person],
    batch_size: int = 4,
) -> Pool:
    """
    One prompt rendered with many seeds, for everybody to get the picture they like best: best of n, without changing the prompt.

    Args:
        prompt (`str`): What is rendered.
        seeds (sequence of N `int`): Of the renderings.
        reward ([`~modeling_pamela.rewards.base.Reward`]): What scores pictures.
        renderer ([`~modeling_pamela.steering.base.Renderer`]): What makes them.
        people (`Mapping[str, Person]` of U): For whom: profiles, blends, groups, user ids, or `None` for the population.
        batch_size (`int`): Pictures a call of the renderer.

    Returns:
        [`Pool`]; `pool.images[pool.best("ann")]` is Ann's.

    Raises:
        SteeringError: There are no seeds, or no people.
        RewardError: The reward does not know a person.
    """
    if not seeds or not people:
        raise SteeringError(f"There are {len(seeds)} seeds and {len(people)} people; expected at least one of each.")
    made: list[tuple[int, Image.Image]] = []
    for start in range(0, len(seeds), batch_size):
        batch = list(seeds[start : start + batch_size])
        pictures = zip(batch, renderer.render([prompt] * len(batch), batch), strict=True)
        made += [(seed, picture) for seed, picture in pictures if picture is not None]
    if not made:
        raise held_back(prompt, seeds[0])
    seeds, images = [seed for seed, _ in made], [picture for _, picture in made]
    mean, std = score_for_all(images, [prompt] * len(images), list(people.values()), reward)
    return Pool(
        list(people), [prompt] * len(images), list(seeds), images, mean, std, 1 if reward.higher_is_better else -1
    )


def search_together(
    prompt: str,
    *,
    reward: Reward,
    proposer: Proposer,
    renderer: Renderer,
    people: Mapping[str, Person],
    settings: SearchSettings = SearchSettings(),
    guards: Guards = Guards(),
    content: ContentMeasure | None = None,
) -> dict[str, SearchResult]:
    """
    [`~modeling_pamela.steering.search.search`] for many people at once: what is rendered for one is scored for all, and may please another.

    Each round's prompts are divided among the people whose search still goes on; a person's share is proposed from their own scores of
    everything rendered so far. With `settings.num_candidates` prompts a round altogether, each person sees as many pictures as if
    all were rendered for them alone. Everything is kept in memory.

    Args:
        people (`Mapping[str, Person]` of U): For whom, as in [`best_of_seeds`].
        settings: As in `search`, but that `max_renders` counts all pictures, and that `max_seconds` and `history_size` are not used.
        prompt, reward, proposer, renderer, guards, content: As in `search`.

    Returns:
        `dict[str, SearchResult]`: By person. All have the same candidates, with their own scores, guards and refusals; `parent` is not known.

    Raises:
        SteeringError: The prompt is empty, there are no people, or the proposer has nothing to begin with.
        RewardError: The reward does not know a person.
    """
    if not prompt_key(prompt) or not people:
        raise SteeringError(
            f"The prompt is {prompt!r} and there are {len(people)} people; expected words and at least one person."
        )
    start = time.monotonic()
    crowd = _Crowd(prompt, reward, renderer, people, settings, guards, content)
    crowd.try_prompts([prompt], 0)
    stopped = "rounds"
    for number in range(1, settings.max_rounds + 1):
        active = [person for person in people if number - crowd.kept(person)[0].round <= settings.patience]
        left = settings.num_candidates
        if settings.max_renders is not None:
            left = min(left, settings.max_renders - len(crowd.images))
        if not active or left <= 0:
            stopped = "renders" if active else "patience"
            break
        proposed: dict[str, str] = {}
        for place, person in enumerate(active):
            share = left // len(active) + (place < left % len(active))
            seed = int(np.random.SeedSequence([settings.seed, number, place]).generate_state(1)[0])
            try:
                found = proposer.propose(prompt, crowd.histories[person], share, seed) if share else []
            except SteeringError:
                if number == 1:
                    raise
                found = []
            for text in found[:share]:
                if not crowd.was_tried(text):
                    proposed.setdefault(prompt_key(text), text)
        if not proposed:
            stopped = "proposals"
            break
        crowd.try_prompts(list(proposed.values()), number)
    seconds = time.monotonic() - start
    return {
        person: SearchResult(
            [crowd.images[one.index] for one in crowd.kept(person)],
            crowd.kept(person),
            crowd.histories[person],
            stopped,
            seconds,
        )
        for person in people
    }


class _Crowd:
    """What was rendered so far, and a history for each person."""

    def __init__(
        self,
        prompt: str,
        reward: Reward,
        renderer: Renderer,
        people: Mapping[str, Person],
        settings: SearchSettings,
        guards: Guards,
        content: ContentMeasure | None,
    ) -> None:
        self.prompt, self.reward, self.renderer, self.people = prompt, reward, renderer, people
        self.settings, self.guards, self.content = settings, guards, content
        self.images: dict[int, Image.Image] = {}
        self.histories: dict[str, list[Candidate]] = {person: [] for person in people}
        self._tried: set[str] = set()

    def was_tried(self, text: str) -> bool:
        return prompt_key(text) in self._tried

    def kept(self, person: str) -> list[Candidate]:
        """A person's best candidates, best first; the earlier of two that are equal."""
        values = [(self.guards.value(one), one) for one in self.histories[person]]
        found = sorted((-value, one.index, one) for value, one in values if value is not None)
        return [one for _, _, one in found[: self.settings.keep]]

    def try_prompts(self, prompts: Sequence[str], number: int) -> None:
        """Render prompts that are new, and write down what everybody thinks of them."""
        self._tried.update(map(prompt_key, prompts))
        settings, first = self.settings, len(next(iter(self.histories.values())))
        candidates = [
            Candidate(first + place, number, text, seed=settings.render_seed) for place, text in enumerate(prompts)
        ]
        if number and self.content is not None:
            similarities = kept_content(self.content, self.prompt, prompts)
            candidates = [
                replace(one, guards={"content": value}, refused=self.guards.refuse_prompt(value))
                for one, value in zip(candidates, similarities, strict=True)
            ]
        asked = [one for one in candidates if one.refused is None]
        for start in range(0, len(asked), settings.batch_size):
            batch = asked[start : start + settings.batch_size]
            pictures = self.renderer.render([one.prompt for one in batch], [one.seed for one in batch])
            made = zip(batch, pictures, strict=True)
            self.images.update({one.index: picture for one, picture in made if picture is not None})
        missing = {one.index for one in asked} - self.images.keys()
        if missing and not number:
            raise held_back(self.prompt, settings.render_seed)
        candidates = [replace(one, refused=NO_PICTURE) if one.index in missing else one for one in candidates]
        asked = [one for one in asked if one.index not in missing]
        judged = self._judge(asked) if asked else {person: [] for person in self.people}
        for person, history in self.histories.items():
            seen = {one.index: one for one in judged[person]}
            history += [seen.get(one.index, one) for one in candidates]

    def _judge(self, asked: Sequence[Candidate]) -> dict[str, list[Candidate]]:
        images = [self.images[one.index] for one in asked]
        told = self.guards.told(self.prompt, [one.prompt for one in asked])
        # The last row is the population's.
        mean, std = score_for_all(images, told, [*self.people.values(), None], self.reward)
        if not np.isfinite(mean).all():
            raise SteeringError(
                f"The reward {self.reward.name} gave a score that is no number; nothing can be chosen by it."
            )
        mean = mean if self.reward.higher_is_better else -mean
        alignment = None if self.content is None else self.content.alignment(images, self.prompt)
        measured = [{**one.guards, **colour_statistics(image)} for one, image in zip(asked, images, strict=True)]
        if alignment is not None:
            measured = [{**found, "alignment": float(value)} for found, value in zip(measured, alignment, strict=True)]
        low, high = self.reward.score_range
        judged: dict[str, list[Candidate]] = {}
        for row, (person, taste) in enumerate(self.people.items()):
            judged[person] = []
            for column, one in enumerate(asked):
                scored = replace(
                    one,
                    score=float(mean[row, column]),
                    std=None if std is None else float(std[row, column]),
                    population=None if taste is None else float(mean[-1, column]),
                    guards=measured[column],
                )
                if one.round:
                    base = self.histories[person][0]
                    drift = {
                        f"{name}_drift": scored.guards[name] - base.guards[name] for name in ("saturation", "contrast")
                    }
                    refused = self.guards.refuse_picture(
                        base, scored.population, scored.guards.get("alignment"), high - low
                    )
                    scored = replace(scored, guards={**scored.guards, **drift}, refused=refused)
                judged[person].append(scored)
        return judged


def saturation_by_group(results: Mapping[str, SearchResult]) -> list[dict[str, Any]]:
    """
    How colourful and contrasty the pictures are that different people, blends or demographic groups end with (the paper's Fig. 7).

    Args:
        results (`Mapping[str, SearchResult]`): Of searches for the same prompt, by person or group.

    Returns:
        list of `dict`: A row a group: its prompt and score, and saturation and contrast (0 to 1) of its picture and of the first one.
    """
    return [
        {
            "group": name,
            "prompt": result.prompt,
            "score": result.score,
            **{key: result.kept[0].guards[key] for key in ("saturation", "contrast")},
            **{f"{key} at first": result.history[0].guards[key] for key in ("saturation", "contrast")},
        }
        for name, result in results.items()
    ]
