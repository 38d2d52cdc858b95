"""
The search of PAMELA (arXiv 2604.07427, section 6): propose variants of a prompt, render them, score them for a person, keep the best.
"""

import re
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

from PIL import Image
from torch import Tensor

from ..data.prompts import prompt_key
from ..rewards.base import Person, Reward
from ..rewards.content import ContentMeasure
from ..taste.groups import SharedTaste
from ..taste.profile import ProfileError, TasteProfile
from ..taste.store import TasteStore
from .base import NO_PICTURE, Candidate, Proposer, Renderer, SteeringError, held_back
from .defaults import check_prompt, of_people
from .guards import Guards
from .history import History
from .judge import Judge, proposer_seed, refuse_repeats, refused_unseen, render


__all__ = ["SearchProgress", "SearchResult", "SearchSettings", "search"]

# Why a search ended that may go on another time.
FAILURE = "failure"


@dataclass(frozen=True)
class SearchSettings:
    """
    How a search goes; the defaults are the paper's.

    Attributes:
        num_candidates (`int`): Prompts a round.
        keep (`int`): How many of the best are kept: shown to the proposer whatever `history_size`, and returned.
        max_rounds (`int`): Rounds, not counting the rendering of the person's own prompt.
        patience (`int`): Stop after so many rounds without gain.
        render_seed (`int`): Of every rendering, so that pictures differ by their prompts alone.
        seed (`int`): Of the proposer.
        history_size (`int`, *optional*): The proposer is shown so many candidates: the kept ones, then the latest. By default all; `1` with
            `keep=1` is the paper's.
        max_renders (`int`, *optional*): Stop after so many pictures, the first one and those that the renderer held back included.
        max_seconds (`float`, *optional*): Stop after so long, before the next batch; a resumed search goes on counting.
        batch_size (`int`): Pictures a call of the renderer.

    Raises:
        SteeringError: A number is out of range.
    """

    num_candidates: int = 20
    keep: int = 1
    max_rounds: int = 5
    patience: int = 2
    render_seed: int = 0
    seed: int = 0
    history_size: int | None = None
    max_renders: int | None = None
    max_seconds: float | None = None
    batch_size: int = 4

    def __post_init__(self) -> None:
        for name in ("num_candidates", "keep", "patience", "history_size", "max_renders", "batch_size"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise SteeringError(f"{name} is {value}; expected at least 1.")
        for name in ("max_rounds", "render_seed", "seed", "max_seconds"):
            value = getattr(self, name)
            if value is not None and value < 0:
                raise SteeringError(f"{name} is {value}; expected at least 0.")


@dataclass(frozen=True)
class SearchProgress:
    """
    Where a search stands after a round.

    Attributes:
        round, max_rounds (`int`): The round that has ended, 0 for the person's own prompt, and the last one there can be.
        renders (`int`): Pictures so far, those that the renderer held back included.
        best ([`~modeling_pamela.steering.base.Candidate`]): The best so far.
        seconds, seconds_left (`float`): Taken so far, and at most still to be taken, as the rounds so far went.
    """

    round: int
    max_rounds: int
    renders: int
    best: Candidate
    seconds: float
    seconds_left: float


@dataclass(frozen=True)
class SearchResult:
    """
    What a search found.

    Attributes:
        images (list of `PIL.Image.Image`): The best pictures, at most `keep`, best first.
        kept (list of [`~modeling_pamela.steering.base.Candidate`]): Their candidates.
        history (list of [`~modeling_pamela.steering.base.Candidate`]): Everything that was tried, in order.
        stopped (`str`): Why it ended: `"rounds"`, `"patience"`, `"renders"`, `"seconds"`, `"proposals"` (there were no new
            ones) or `"failure"` (the proposer failed after the first round; a run in a folder goes on from there when it is resumed).
        seconds (`float`): How long it took, in all processes together.
    """

    images: list[Image.Image]
    kept: list[Candidate]
    history: list[Candidate]
    stopped: str
    seconds: float

    @property
    def image(self) -> Image.Image:
        """The best picture."""
        return self.images[0]

    @property
    def prompt(self) -> str:
        """Its prompt."""
        return self.kept[0].prompt

    @property
    def score(self) -> float:
        """Its reward, larger is better."""
        assert self.kept[0].score is not None
        return self.kept[0].score

    @property
    def std(self) -> float | None:
        """How unsure the reward is of it."""
        return self.kept[0].std


def search(
    prompt: str,
    *,
    reward: Reward,
    proposer: Proposer,
    renderer: Renderer,
    person: Person = None,
    settings: SearchSettings = SearchSettings(),
    guards: Guards = Guards(),
    content: ContentMeasure | None = None,
    folder: str | Path | None = None,
    callback: Callable[[SearchProgress], object] | None = None,
) -> SearchResult:
    """
    Search for the variant of a prompt whose picture a person likes best.

    Args:
        prompt (`str`): What the person asks for. Its picture is rendered first, and is what the others are compared with.
        reward ([`~modeling_pamela.rewards.base.Reward`]): What scores pictures.
        proposer ([`~modeling_pamela.steering.base.Proposer`]): What writes variants.
        renderer ([`~modeling_pamela.steering.base.Renderer`]): What makes pictures.
        person ([`~modeling_pamela.rewards.base.Person`]): For whom; the population where not given.
        settings ([`SearchSettings`]): How long and how wide.
        guards ([`~modeling_pamela.steering.guards.Guards`]): What candidates must not do.
        content ([`~modeling_pamela.rewards.content.ContentMeasure`], *optional*): What guards of content measure with, such as
            [`~modeling_pamela.rewards.content.ModelContent`]. Without one they do not act.
        folder (`str` or `Path`, *optional*): Of the run: pictures and history go there, and a run that was killed goes on. The same
            arguments and a folder of before give the same result, with nothing rendered or scored again that was written down.
        callback (callable, *optional*): Called after every round with a [`SearchProgress`]; what it raises ends the search, which can be resumed.

    Returns:
        [`SearchResult`]

    Raises:
        SteeringError: The prompt is empty, the folder holds another search, or the reward gives a score that is no number.
        RewardError: The reward does not know the person.

    Example:

    ```python
    >>> from modeling_pamela.rewards.personal import PersonalReward
    >>> from modeling_pamela.steering.modifiers import ModifierProposer
    >>> from modeling_pamela.steering.scene_renderer import SceneRenderer

    >>> result = search(
    ...     "a castle on a hill",
    ...     reward=PersonalReward.from_pretrained("pamela-small"),
    ...     person=None,  # or a profile
    ...     proposer=ModifierProposer(),
    ...     renderer=SceneRenderer(),  # or DiffusersRenderer(pipeline)
    ...     settings=SearchSettings(num_candidates=2, max_rounds=1),
    ... )
    >>> result.stopped, len(result.history), result.prompt.startswith("a castle on a hill")
    ('rounds', 3, True)

    ```
    """
    check_prompt(prompt)
    reward, person = of_people(reward, person)
    header = {
        "prompt": prompt,
        "settings": asdict(settings),
        "guards": asdict(guards),
        "person": _person_identity(person, reward),
        "reward": _identity(reward),
        "proposer": _identity(proposer),
        "renderer": _identity(renderer),
        "content": _identity(content),
    }
    run = _Run(Judge(prompt, reward, guards, content), renderer, person, settings, History(header, folder))
    stopped = run.history.stopped
    begun = run.history.candidates
    round_number = begun[-1].round if begun else 0
    while stopped is None:
        stopped = run.play(round_number, proposer)
        if callback is not None:
            callback(run.progress(round_number))
        stopped = stopped or run.is_over(round_number)
        round_number += 1
    # A server that is gone may be back; everything else would end the search again.
    if run.history.stopped is None and stopped != FAILURE:
        run.history.stop(stopped)
    kept = run.kept()
    images = [run.history.picture(candidate.index) for candidate in kept]
    return SearchResult(images, kept, run.history.candidates, stopped, run.history.seconds)


class _Run:
    """A search under way; all of its state is in the history."""

    def __init__(
        self, judge: Judge, renderer: Renderer, person: Person, settings: SearchSettings, history: History
    ) -> None:
        self.judge, self.renderer, self.person = judge, renderer, person
        self.settings, self.history = settings, history
        self.started = time.monotonic() - history.seconds

    def play(self, number: int, proposer: Proposer) -> str | None:
        """One round, or what is left of it; returns why the search ends in its middle, if so."""
        settings = self.settings
        if not self._of_round(number):
            if number and self._seconds_are_up():
                return "seconds"
            if not self._renders_left():
                return "renders"
            before = self.history.candidates
            prompts = [self.judge.prompt]
            if number:
                shown = self._shown(before)
                try:
                    prompts = proposer.propose(
                        self.judge.prompt, shown, settings.num_candidates, proposer_seed(settings.seed, number)
                    )
                except SteeringError as error:
                    if number == 1:
                        raise
                    warnings.warn(f"The search ends after round {number - 1}: {error}", stacklevel=3)
                    return FAILURE
            if not prompts:
                return "proposals"
            self.history.begin_round(self._candidates(number, prompts[: settings.num_candidates], before))
        # Batches are those of the whole round whatever was done before, so that a resumed search computes the same.
        asked = [candidate for candidate in self._of_round(number) if not refused_unseen(candidate)]
        for start in range(0, len(asked), settings.batch_size):
            batch = asked[start : start + settings.batch_size]
            if not _was_judged(batch[0]):
                if number and self._seconds_are_up():
                    return "seconds"
                if affordable := batch[: self._renders_left()]:
                    self.history.add(self._judged(affordable), time.monotonic() - self.started)
                    self.history.forget_pictures([candidate.index for candidate in self.kept()])
            if not _was_judged(self.history.candidates[batch[-1].index]):
                return "renders"
        return None

    def is_over(self, number: int) -> str | None:
        """Why the search ends after a round, if so."""
        if number >= self.settings.max_rounds:
            return "rounds"
        best = self.kept()[0]
        return "patience" if number - best.round >= self.settings.patience else None

    def kept(self) -> list[Candidate]:
        """The best candidates, best first. The person's own prompt is never refused."""
        return self.judge.best(self.history.candidates, self.settings.keep)

    def progress(self, number: int) -> SearchProgress:
        seconds = time.monotonic() - self.started
        renders = len(self._rendered())
        # A round takes as long as its pictures; without one to go by, as the first picture.
        left = (self.settings.max_rounds - number) * self.settings.num_candidates * seconds / max(1, renders)
        if self.settings.max_seconds is not None:
            left = min(left, max(0.0, self.settings.max_seconds - seconds))
        return SearchProgress(number, self.settings.max_rounds, renders, self.kept()[0], seconds, left)

    def _of_round(self, number: int) -> list[Candidate]:
        return [candidate for candidate in self.history.candidates if candidate.round == number]

    def _rendered(self) -> list[Candidate]:
        """What the renderer was asked for, also where it gave no picture."""
        return [one for one in self.history.candidates if _was_judged(one) and not refused_unseen(one)]

    def _renders_left(self) -> int:
        limit = self.settings.max_renders
        return sys.maxsize if limit is None else max(0, limit - len(self._rendered()))

    def _seconds_are_up(self) -> bool:
        limit = self.settings.max_seconds
        return limit is not None and time.monotonic() - self.started >= limit

    def _shown(self, candidates: list[Candidate]) -> list[Candidate]:
        """What the proposer sees, in order."""
        size = self.settings.history_size
        if size is None:
            return candidates
        kept = [candidate.index for candidate in self.kept()][:size]
        latest = [candidate.index for candidate in candidates if candidate.index not in kept]
        shown = {*kept, *latest[len(latest) - min(len(latest), size - len(kept)) :]}
        return [candidate for candidate in candidates if candidate.index in shown]

    def _candidates(self, number: int, prompts: Sequence[str], before: Sequence[Candidate]) -> list[Candidate]:
        """The round's candidates, those refused that need not be rendered."""
        kept = self.kept()
        candidates = [
            Candidate(index, number, text, _nearest(text, kept), self.settings.render_seed)
            for index, text in enumerate(prompts, start=len(before))
        ]
        if number:
            candidates = self.judge.read(candidates)
        return refuse_repeats(candidates, before)

    def _judged(self, batch: Sequence[Candidate]) -> list[Candidate]:
        """Render what has no picture yet, score it, and look at it."""
        new = [candidate for candidate in batch if not self.history.has_picture(candidate.index)]
        for index, picture in render(self.renderer, new, self.settings.batch_size).items():
            self.history.save_picture(index, picture)
        unseen = [replace(asked, refused=NO_PICTURE) for asked in batch if not self.history.has_picture(asked.index)]
        batch = [candidate for candidate in batch if self.history.has_picture(candidate.index)]
        if unseen and unseen[0].round == 0:
            raise held_back(self.judge.prompt, unseen[0].seed)
        if not batch:
            return unseen
        images = [self.history.picture(candidate.index) for candidate in batch]
        people = [self.person] if self.person is None else [self.person, None]
        mean, std = self.judge.score(batch, images, people)
        if self.history.folder is not None:
            batch = [replace(one, picture=self.history.picture_file(one.index)) for one in batch]
        first = self.history.candidates[0] if batch[0].round else None
        judged = self.judge.compare(
            self.judge.look(batch, images),
            first,
            mean[0],
            None if std is None else std[0],
            None if self.person is None else mean[1],
        )
        return [*judged, *unseen]


def _was_judged(candidate: Candidate) -> bool:
    return candidate.score is not None or candidate.refused is not None


def _nearest(text: str, kept: Sequence[Candidate]) -> int | None:
    """Of the kept candidates the one that shares most words with a prompt: what it was made from, as far as can be told."""
    words = set(prompt_key(text).split())

    def overlap(candidate: Candidate) -> float:
        theirs = set(prompt_key(candidate.prompt).split())
        return len(words & theirs) / max(1, len(words | theirs))

    return max(kept, key=overlap).index if kept else None


def _identity(part: Any) -> str | None:
    """What tells a part of the search from another: its `repr` where it has one of its own, else its name; and its model."""
    if part is None:
        return None
    name = getattr(part, "name", type(part).__name__)
    if type(part).__repr__ is not object.__repr__:
        text = re.sub(r" at 0x[0-9a-f]+", "", repr(part))
        name = text if len(text) <= 200 else f"{text[:160]}… {sha256(text.encode()).hexdigest()[:12]}"
    if hasattr(getattr(part, "model", None), "fingerprint"):
        name += f" {part.model.fingerprint()}"
    return name


def _person_identity(person: Person, reward: Reward) -> str | None:
    """A taste is told from another by its mean, so that a person who rated more in the meantime is another one."""
    taste: Any = person
    if isinstance(person, str):
        people = getattr(reward, "people", {})
        try:
            taste = people.mean(person) if isinstance(people, TasteStore) else people.get(person)
        except ProfileError:  # nobody is stored under this name; the reward says so
            taste = None
    mean = taste.posterior.mean if isinstance(taste, TasteProfile | SharedTaste) else taste
    if not isinstance(mean, Tensor):
        return person if isinstance(person, str) else None
    digest = sha256(mean.detach().cpu().numpy().tobytes()).hexdigest()[:16]
    return f"{person} {digest}" if isinstance(person, str) else digest
