"""Whether searches for one person end alike, and otherwise than searches for others (PAMELA, arXiv 2604.07427, section 6.2)."""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ..data.prompts import prompt_key
from ..evaluation.report import Report
from ..rewards.personal import PersonalReward
from .base import SteeringError
from .guards import Guards
from .history import HISTORY_FILE, History


if TYPE_CHECKING:
    from matplotlib.figure import Figure


__all__ = ["Consistency", "FinishedRun", "consistency", "consistency_report", "jaccard", "read_runs"]

MAX_PERMUTATIONS = 9_999


@dataclass(frozen=True)
class FinishedRun:
    """
    How a search ended.

    Attributes:
        person (`str`): For whom.
        prompt (`str`): What was asked for.
        seed (`int`): Of the proposer.
        final (`str`): The best prompt.
        picture (`PIL.Image.Image`): Its picture.
    """

    person: str
    prompt: str
    seed: int
    final: str
    picture: Image.Image


class Consistency(NamedTuple):
    """
    How alike runs are.

    Attributes:
        within, between (`float`): Mean similarity of two runs of the same prompt for the same person, and for two people.
        p_value (`float`): Of a difference as large or larger if it did not matter for whom a run is.
        permutations (`int`): How many assignments of the people to the runs it was judged by, the true one included.
        exact (`bool`): Whether these are all there are.
    """

    within: float
    between: float
    p_value: float
    permutations: int
    exact: bool


def consistency(
    similarity: np.ndarray,
    people: Sequence[str],
    prompts: Sequence[str],
    max_permutations: int = MAX_PERMUTATIONS,
    seed: int = 0,
) -> Consistency:
    """
    Similarity within a person against between people, over pairs of runs of the same prompt, with a one-sided permutation test.

    If it does not matter for whom a run is, the people of one prompt's runs may as well be exchanged. The p-value is (b + 1) / (m + 1),
    where b of m other assignments give a difference at least as large (Phipson & Smyth 2010); these are all where there are at most
    `max_permutations`, and random ones otherwise.

    Args:
        similarity (`np.ndarray` of shape `(R, R)`): Of R runs, symmetric.
        people, prompts (sequence of R `str`): For whom and of what each run is.
        max_permutations (`int`): How many assignments are looked at at most.
        seed (`int`): Of the random ones.

    Returns:
        [`Consistency`]

    Raises:
        SteeringError: No prompt has two runs for one person, or none has runs for two people.

    Example:

    ```python
    >>> same = np.kron(np.eye(2), np.ones((3, 3)))  # three runs of each of two people: alike within, unlike between
    >>> found = consistency(same, ["ann"] * 3 + ["bob"] * 3, ["a cat"] * 6)
    >>> found.within, found.between, found.p_value, found.exact  # 2 of the 20 assignments
    (1.0, 0.0, 0.1, True)

    ```
    """
    person = np.unique(np.asarray(people), return_inverse=True)[1]
    prompt = np.asarray(prompts)
    strata = [np.flatnonzero(prompt == name) for name in dict.fromkeys(prompts)]
    pairs = np.triu(prompt[:, None] == prompt, 1)
    same = person[:, None] == person
    if not (pairs & same).any() or not (pairs & ~same).any():
        raise SteeringError(
            "There is nothing to compare: of at least one prompt there must be two runs for one person and runs for two people."
        )
    within, between = similarity[pairs & same], similarity[pairs & ~same]
    # How many pairs are within is the same in all assignments, so the sum within tells as much as the difference of the means.
    blocks = [(similarity[np.ix_(rows, rows)], person[rows]) for rows in strata]
    counts = [_num_assignments(labels) for _, labels in blocks]
    total = math.prod(counts)
    exact = total <= max_permutations
    if exact:
        sums = np.zeros(1)
        for block, labels in blocks:
            sums = np.add.outer(sums, _sums_within(block, _assignments(tuple(np.bincount(labels).tolist())))).ravel()
        others = sums  # the true assignment is one of them
    else:
        rng = np.random.default_rng(seed)
        others = np.zeros(max_permutations)
        for block, labels in blocks:
            others += _sums_within(block, rng.permuted(np.tile(labels, (max_permutations, 1)), axis=1))
    # Equal sums may differ by the order in which they were added up.
    reached = int((others >= within.sum() - 1e-9 * max(1.0, float(np.abs(similarity).max()) * len(within))).sum())
    p_value = reached / total if exact else (reached + 1) / (max_permutations + 1)
    return Consistency(
        float(within.mean()), float(between.mean()), p_value, total if exact else max_permutations + 1, exact
    )


def _num_assignments(labels: np.ndarray) -> int:
    return math.factorial(len(labels)) // math.prod(map(math.factorial, np.bincount(labels).tolist()))


@lru_cache
def _assignments(counts: tuple[int, ...]) -> np.ndarray:
    """All orders of label i `counts[i]` times, `(P, R)`."""
    if not sum(counts):
        return np.zeros((1, 0), int)
    parts = []
    for label, count in enumerate(counts):
        if count:
            rest = _assignments((*counts[:label], count - 1, *counts[label + 1 :]))
            parts.append(np.column_stack([np.full(len(rest), label), rest]))
    return np.concatenate(parts)


def _sums_within(similarity: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Sum of the similarities of pairs with the same label, for P assignments `(P, R)`."""
    sums = np.zeros(len(labels))
    for one, other in itertools.combinations(range(labels.shape[1]), 2):
        sums += similarity[one, other] * (labels[:, one] == labels[:, other])
    return sums


def jaccard(sets: Sequence[set[str]]) -> np.ndarray:
    """
    Share of common members of every two of R sets, `(R, R)`; two empty sets are the same.

    Example:

    ```python
    >>> jaccard([{"dusk", "warm"}, {"warm"}]).tolist()
    [[1.0, 0.5], [0.5, 1.0]]

    ```
    """
    return np.array([[len(a & b) / len(a | b) if a | b else 1.0 for b in sets] for a in sets])


def added_words(run: FinishedRun) -> set[str]:
    """The words of the final prompt that the person's own does not have."""
    return set(prompt_key(run.final).split()) - set(prompt_key(run.prompt).split())


def added_modifiers(run: FinishedRun) -> set[str]:
    """The parts between commas of the final prompt that the person's own does not have."""
    own, final = ({prompt_key(part) for part in text.split(",")} for text in (run.prompt, run.final))
    return final - own - {prompt_key(run.prompt), ""}


def consistency_report(
    runs: Sequence[FinishedRun],
    reward: PersonalReward,
    max_permutations: int = MAX_PERMUTATIONS,
) -> tuple[Report, "Figure"]:
    """
    How alike the final prompts and pictures of people's searches are.

    Args:
        runs (sequence of R [`FinishedRun`]): At least two for one person and some for another, of one prompt.
        reward ([`~modeling_pamela.rewards.personal.PersonalReward`]): Gives the embeddings of pictures and prompts.
        max_permutations (`int`): As in [`consistency`].

    Returns:
        [`~modeling_pamela.evaluation.report.Report`] and figure: A row for each way of comparing.

    Raises:
        SteeringError: Two runs are one and the same, or nothing can be compared.
    """
    keys = [(run.person, run.prompt, run.seed) for run in runs]
    if doubled := [key for key in keys if keys.count(key) > 1]:
        person, prompt, seed = doubled[0]
        raise SteeringError(
            f"There are {keys.count(doubled[0])} runs of {prompt!r} for {person} with the seed {seed}. Runs must be independent: give each "
            "a seed of its own."
        )
    embeds = reward.embed([run.picture for run in runs], [run.final for run in runs])
    similarities = {
        "pictures: cosine of embeddings": _cosine(embeds["image_embeds"]),
        "prompts: cosine of embeddings": _cosine(embeds["text_embeds"]),
        "added words: Jaccard": jaccard([added_words(run) for run in runs]),
        "added modifiers: Jaccard": jaccard([added_modifiers(run) for run in runs]),
    }
    people, prompts = [run.person for run in runs], [run.prompt for run in runs]
    rows = []
    for name, similarity in similarities.items():
        found = consistency(similarity, people, prompts, max_permutations)
        rows.append(
            {
                "similarity": name,
                "within a person": found.within,
                "between people": found.between,
                "difference": found.within - found.between,
                "p-value": found.p_value,
                "assignments": found.permutations,
                "exact": found.exact,
            }
        )
    report = Report(
        "consistency",
        "Consistency of steering",
        f"{len(runs)} runs for {len(set(people))} people and {len(set(prompts))} prompts. Mean similarity of how two runs of the same prompt "
        "ended, for the same person and for two people. The p-value is that of a permutation test, one-sided: people are exchanged among the "
        "runs of each prompt. Words and modifiers (between commas) are those that the prompt asked for does not have.",
        rows,
    )
    return report, _draw(similarities, people, prompts)


def _cosine(embeds: Tensor) -> np.ndarray:
    rows = torch.nn.functional.normalize(embeds.double(), dim=-1)
    return (rows @ rows.mT).cpu().numpy()


def _draw(similarities: dict[str, np.ndarray], people: Sequence[str], prompts: Sequence[str]) -> "Figure":
    """A matrix a way of comparing: mean similarity of two people's runs of the same prompt, a run with itself left out."""
    from matplotlib.figure import Figure

    names = list(dict.fromkeys(people))
    labels = [name.split()[0][:16] for name in names]
    member = np.array([[person == name for person in people] for name in names], float)
    usable = (np.array(prompts)[:, None] == np.array(prompts)) & ~np.eye(len(people), dtype=bool)
    pairs = member @ usable @ member.T
    figure = Figure(figsize=(3.4 * len(similarities), 3.4), layout="constrained")
    for place, (name, similarity) in enumerate(similarities.items(), 1):
        axes = figure.add_subplot(1, len(similarities), place)
        with np.errstate(invalid="ignore"):
            means = member @ (similarity * usable) @ member.T / pairs
        image = axes.imshow(means, cmap="viridis")
        figure.colorbar(image, ax=axes, fraction=0.046)
        axes.set_title(name, fontsize=9)
        axes.set_xticks(range(len(names)), labels, rotation=90, fontsize=7)
        axes.set_yticks(range(len(names)), labels if place == 1 else [""] * len(names), fontsize=7)
    return figure


def read_runs(folders: Sequence[str | Path]) -> list[FinishedRun]:
    """
    Searches that were written to disk.

    Args:
        folders (sequence of `str` or `Path`): Each of a run, or with folders of runs anywhere inside.

    Returns:
        list of [`FinishedRun`], by folder

    Raises:
        SteeringError: There are no runs, one has not ended, one is for nobody, or they differ in more than person, prompt and seed.
    """
    files = sorted({file for folder in folders for file in Path(folder).rglob(HISTORY_FILE)})
    if not files:
        raise SteeringError(f"There is no run (no {HISTORY_FILE}) in {', '.join(map(str, folders))}.")
    runs: list[FinishedRun] = []
    first: dict[str, object] = {}
    for file in files:
        history = History.read(file.parent)
        try:
            header = history.header
            settings = dict(header["settings"])
            seed, prompt, person = settings.pop("seed"), header["prompt"], header["person"]
        except (ValueError, KeyError, TypeError) as error:
            raise SteeringError(f"{file} is not the history of a search ({error}).") from error
        if history.stopped is None:
            raise SteeringError(f"The search in {file.parent} has not ended. Resume it first, or leave it out.")
        if person is None:
            raise SteeringError(f"The search in {file.parent} is for nobody in particular. Leave it out.")
        others = {**header, "settings": settings}
        others = {name: value for name, value in others.items() if name not in ("prompt", "person")}
        first = first or others
        if differs := [name for name in {**first, **others} if first.get(name) != others.get(name)]:
            raise SteeringError(
                f"The search in {file.parent} has another {' and another '.join(differs)} than that in {files[0].parent}; only runs that "
                "differ in person, prompt and seed alone can be compared."
            )
        guards = Guards(**header["guards"])
        judged = [(guards.value(candidate), candidate) for candidate in history.candidates]
        # The same as the search's own choice.
        _, _, best = min((-value, candidate.index, candidate) for value, candidate in judged if value is not None)
        runs.append(FinishedRun(person, prompt, seed, best.prompt, history.picture(best.index)))
    return runs
