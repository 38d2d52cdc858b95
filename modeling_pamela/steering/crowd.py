"""Pictures for several people: rendered once, scored for everybody."""

import time
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from PIL import Image

from ..data.prompts import prompt_key
from ..rewards.base import Person, Reward
from ..rewards.content import ContentMeasure
from .base import NO_PICTURE, Candidate, Proposer, Renderer, SteeringError, held_back
from .defaults import check_prompt
from .guards import Guards
from .judge import Judge, proposer_seed, render
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
        mean (`np.ndarray` of shape `(U, N)`): Rewards, larger is better (a reward of which less is better is negated).
        std (`np.ndarray` of shape `(U, N)`, *optional*): How unsure the reward is of them, NaN where it does not know.
    """

    people: list[str]
    prompts: list[str]
    seeds: list[int]
    images: list[Image.Image]
    mean: np.ndarray
    std: np.ndarray | None

    def best(self, person: str, beta: float = 0.0) -> int:
        """
        Which picture is the best for a person: the one with the highest `mean - beta * std`, the first of several.

        Raises:
            SteeringError: There is nobody of that name.
        """
        if person not in self.people:
            raise SteeringError(
                f"The pictures were not scored for {person!r}; expected one of {', '.join(self.people)}."
            )
        row = self.people.index(person)
        spread = 0.0 if self.std is None else np.nan_to_num(self.std[row])
        return int(np.argmax(self.mean[row] - beta * spread))


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
        [`Pool`] of the pictures that were not held back; `pool.images[pool.best("ann")]` is Ann's.

    Raises:
        SteeringError: The prompt is empty, there are no seeds or people, every picture is held back, or a score is no number.
        RewardError: The reward does not know a person.
    """
    check_prompt(prompt)
    if not seeds or not people or batch_size < 1:
        raise SteeringError(
            f"There are {len(seeds)} seeds and {len(people)} people, and batches of {batch_size}; expected at least one of each."
        )
    candidates = [Candidate(index, 0, prompt, seed=seed) for index, seed in enumerate(seeds)]
    images = render(renderer, candidates, batch_size)
    if not images:
        raise held_back(prompt, seeds[0])
    made, pictures = [candidates[index] for index in images], list(images.values())
    mean, std = Judge(prompt, reward, Guards.off(), None).score(made, pictures, list(people.values()))
    return Pool(list(people), [prompt] * len(made), [one.seed for one in made], pictures, mean, std)


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
    check_prompt(prompt)
    if not people:
        raise SteeringError("There is nobody to search for; expected at least one person.")
    start = time.monotonic()
    crowd = _Crowd(Judge(prompt, reward, guards, content), renderer, people, settings)
    crowd.try_prompts([prompt], 0)
    stopped = "rounds"
    for number in range(1, settings.max_rounds + 1):
        active = [person for person in people if number - crowd.kept(person)[0].round <= settings.patience]
        left = settings.num_candidates
        if settings.max_renders is not None:
            left = min(left, settings.max_renders - crowd.renders)
        if not active or left <= 0:
            stopped = "renders" if active else "patience"
            break
        proposed: dict[str, str] = {}
        for place, person in enumerate(active):
            share = left // len(active) + (place < left % len(active))
            seed = proposer_seed(settings.seed, number, place)
            try:
                found = proposer.propose(prompt, crowd.histories[person], share, seed) if share else []
            except SteeringError as error:
                if number == 1:
                    raise
                warnings.warn(f"Nothing is proposed for {person} in round {number}: {error}", stacklevel=2)
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
        self, judge: Judge, renderer: Renderer, people: Mapping[str, Person], settings: SearchSettings
    ) -> None:
        self.judge, self.renderer, self.people, self.settings = judge, renderer, people, settings
        self.images: dict[int, Image.Image] = {}
        self.renders = 0  # also those that the renderer held back
        self.histories: dict[str, list[Candidate]] = {person: [] for person in people}
        self._tried: set[str] = set()

    def was_tried(self, text: str) -> bool:
        return prompt_key(text) in self._tried

    def kept(self, person: str) -> list[Candidate]:
        """A person's best candidates, best first."""
        return self.judge.best(self.histories[person], self.settings.keep)

    def try_prompts(self, prompts: Sequence[str], number: int) -> None:
        """Render prompts that are new, and write down what everybody thinks of them."""
        self._tried.update(map(prompt_key, prompts))
        settings, first = self.settings, len(next(iter(self.histories.values())))
        candidates = [
            Candidate(first + place, number, text, seed=settings.render_seed) for place, text in enumerate(prompts)
        ]
        if number:
            candidates = self.judge.read(candidates)
        asked = [one for one in candidates if one.refused is None]
        images = render(self.renderer, asked, settings.batch_size)
        self.renders += len(asked)
        if not number and not images:
            raise held_back(self.judge.prompt, settings.render_seed)
        self.images |= images
        missing = {one.index for one in asked} - images.keys()
        candidates = [replace(one, refused=NO_PICTURE) if one.index in missing else one for one in candidates]
        made = [one for one in asked if one.index in images]
        judged = self._judge(made, list(images.values())) if made else {person: [] for person in self.people}
        for person, history in self.histories.items():
            seen = {one.index: one for one in judged[person]}
            history += [seen.get(one.index, one) for one in candidates]

    def _judge(self, made: Sequence[Candidate], images: Sequence[Image.Image]) -> dict[str, list[Candidate]]:
        # The last row is the population's.
        mean, std = self.judge.score(made, images, [*self.people.values(), None])
        seen = self.judge.look(made, images)
        return {
            person: self.judge.compare(
                seen,
                self.histories[person][0] if made[0].round else None,
                mean[row],
                None if std is None else std[row],
                None if taste is None else mean[-1],
            )
            for row, (person, taste) in enumerate(self.people.items())
        }


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
