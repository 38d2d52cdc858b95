"""A page that shows where searches led: for everybody the picture asked for and the one found, and on the way one row a round."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..evaluation.contact_sheet import Card, Section, write_contact_sheet
from .base import Candidate
from .guards import Guards
from .search import SearchResult


__all__ = ["SteeredRun", "write_steering_page"]

# As many as stand side by side.
MAX_CARDS = 5


@dataclass(frozen=True)
class SteeredRun:
    """
    A search that has ended, with the folder where its pictures are.

    Attributes:
        person (`str`): For whom, as the page calls them.
        prompt (`str`): What they asked for.
        result ([`~modeling_pamela.steering.search.SearchResult`]): What was found.
        guards ([`~modeling_pamela.steering.guards.Guards`]): What was demanded.
        folder (`Path`): Of the run.
    """

    person: str
    prompt: str
    result: SearchResult
    guards: Guards
    folder: Path

    @property
    def first(self) -> Candidate:
        """The person's own prompt."""
        return self.result.history[0]

    @property
    def best(self) -> Candidate:
        """What was found."""
        return self.result.kept[0]

    @property
    def gain(self) -> float:
        """By how much the score of what was found is above that of what was asked for."""
        return (self.best.score or 0.0) - (self.first.score or 0.0)

    @property
    def rounds(self) -> Iterator[list[Candidate]]:
        """The candidates of each round, without the person's own prompt."""
        for number in range(1, self.result.history[-1].round + 1):
            yield [candidate for candidate in self.result.history if candidate.round == number]

    def card(self, candidate: Candidate, badge: str | None = None) -> Card:
        """A candidate as the page shows it."""
        return Card(
            self.folder / str(candidate.picture), candidate.prompt, candidate.score, candidate.std, badge=badge
        )


def write_steering_page(path: str | Path, runs: Sequence[SteeredRun], note: str = "") -> Path:
    """
    Write one page for all searches. It shows what people like: personal data.

    Args:
        path (`str` or `Path`): HTML file to write.
        runs (sequence of [`SteeredRun`]): Searches with run folders; those for one prompt are shown side by side.
        note (`str`): What else a reader must know, e.g. that pictures come from a stand-in.
    """
    prompts = list(dict.fromkeys(run.prompt for run in runs))
    people = list(dict.fromkeys(run.person for run in runs))
    title = f"{_in_short(prompts[0])}, for {', '.join(people)}" if len(prompts) == 1 else f"For {', '.join(people)}"
    sections = [Section("What this is", f"{_ABOUT} {note}".strip(), [])]
    for prompt in prompts:
        sections.append(_overview(prompt, [run for run in runs if run.prompt == prompt]))
    for run in runs:
        sections += _trajectory(
            run, f"{run.person}: {_in_short(run.prompt)}, " if len(prompts) > 1 else f"{run.person}, "
        )
    return write_contact_sheet(path, title, sections)


_ABOUT = (
    "Each search starts from a prompt as it was asked for. In every round variants of it are proposed, pictures are made of them, all with one "
    "seed, and a model of the person's taste scores them. Scores are on 0 to 1 of the rating scale; ± is how unsure the model is."
)


def _overview(prompt: str, runs: Sequence[SteeredRun]) -> Section:
    alone = runs[0] if len(runs) == 1 else None
    asked = runs[0].card(runs[0].first, "as asked for")
    if alone is None:  # everybody scores it differently
        asked = Card(asked.picture, asked.caption, badge=asked.badge)
    gains = "; ".join(
        f"{run.person} from {run.first.score:.2f} to {run.best.score:.2f}"
        for run in runs
        if run.first.score is not None
    )
    return Section(
        prompt,
        f"The picture as asked for, and what was found: {gains}.",
        [asked, *(run.card(run.best, f"{run.person} {run.gain:+.2f}") for run in runs)],
    )


def _trajectory(run: SteeredRun, heading: str) -> Iterator[Section]:
    def value(candidate: Candidate) -> float:
        found = run.guards.value(candidate)
        return -float("inf") if found is None else found

    best = run.first
    for number, candidates in enumerate(run.rounds, start=1):
        pictured = sorted((one for one in candidates if one.score is not None), key=value, reverse=True)
        leader = max([best, *pictured], key=value)
        news = f"Best so far {leader.score:.2f}." if leader is not best else f"Nothing above {best.score:.2f}."
        refused = Counter(one.refused.partition(":")[0] for one in candidates if one.refused is not None)
        reasons = (
            f" Refused: {', '.join(f'{reason} {count}' for reason, count in refused.items())}." if refused else ""
        )
        shown = f", the best {MAX_CARDS} shown" if len(pictured) > MAX_CARDS else ""
        yield Section(
            f"{heading}round {number}",
            f"Proposals: {len(candidates)}. Pictures: {len(pictured)}{shown}.{reasons} {news}",
            [run.card(one, _badge(one, leader, best)) for one in pictured[:MAX_CARDS]],
        )
        best = leader


def _badge(candidate: Candidate, leader: Candidate, before: Candidate) -> str | None:
    if candidate.refused is not None:
        return f"refused: {candidate.refused.partition(':')[0]}"
    if candidate is leader:
        return f"best so far {(leader.score or 0.0) - (before.score or 0.0):+.2f}"
    return None


def _in_short(prompt: str) -> str:
    return prompt if len(prompt) <= 60 else prompt[:59] + "…"
