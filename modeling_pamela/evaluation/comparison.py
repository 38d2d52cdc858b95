"""A posterior model next to what it should beat, on the same people, contexts and queries."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..data.folder import DataFolder
from ..modeling_pamela import PamelaForPersonalizedScoring
from .baselines import CrowdOracle
from .bootstrap import bootstrap_mean, paired_difference
from .methods import Methods
from .protocol import PersonalScorer, Scores, evaluate_scorer, seen_cases, unseen_cases
from .scorers import TokenScorer


__all__ = ["Result", "compare", "markdown_table", "summarise"]


@dataclass(frozen=True)
class Result:
    """
    One method with one context size on one split.

    Attributes:
        method (`str`): Name of the method.
        k (`int` or `str`): Ratings of the person that it saw: a number, `"all"`, or `"-"` for what sees none.
        people (`np.ndarray` of shape `(U,)`): user_ids.
        scores ([`~modeling_pamela.evaluation.protocol.Scores`]): Metrics, a value a person.
    """

    method: str
    k: int | str
    people: np.ndarray
    scores: Scores


def compare(
    folder: DataFolder,
    model: PamelaForPersonalizedScoring,
    token_model: PamelaForPersonalizedScoring | None = None,
    split: str = "test_unseen",
    contexts: Sequence[int | None] = (15,),
    protocol: str | None = None,
    with_prompts: bool = True,
    trained_on: DataFolder | None = None,
) -> list[Result]:
    """
    Evaluate a posterior model, its population score alone, with a ridge on a person's residuals and with a matrix factorisation of them, a token
    model and the crowd oracle.

    Ridge and factorisation see the same frozen features and the same population score; how they are tuned says [`~modeling_pamela.evaluation.methods.Methods`].

    Args:
        folder ([`DataFolder`]): Split and embedded.
        model ([`PamelaForPersonalizedScoring`]): A posterior model.
        token_model ([`PamelaForPersonalizedScoring`], *optional*): The paper's model, trained on the same split.
        split (`str`): `test_unseen` or `val_unseen`; or `test_seen`, `val_seen`, where a person's context is their training ratings.
        contexts (sequence of `int` or `None`): Context sizes; `None` is all of a person's context.
        protocol (`"train"` or `"query"`, *optional*): See [`~modeling_pamela.evaluation.protocol.unseen_cases`].
        with_prompts (`bool`): Whether the methods may see prompts.
        trained_on ([`DataFolder`], *optional*): Another data set, to judge across data sets; see [`~modeling_pamela.evaluation.methods.Methods`].

    Returns:
        list of [`Result`]

    Raises:
        DataError: A model was trained on another split.
    """
    seen = split.endswith("_seen")
    cases = seen_cases(folder, split) if seen else unseen_cases(folder, split, protocol)
    methods = Methods(folder, model, token_model, with_prompts, trained_on)
    contexts = [None] if seen else contexts
    names = np.array(folder.user_ids)

    def judged(scorer: PersonalScorer, k: int | None, label: int | str) -> Result:
        scores = evaluate_scorer(scorer, cases, k)
        return Result(scorer.name, label, names[scores.users], scores)

    results = [judged(methods.oracle, 0, "-"), judged(methods.population, 0, "-")]
    for k in contexts:
        label = "all" if k is None else k
        if methods.token is not None:
            results.append(judged(methods.token, k, label))
        if k != 0:
            results.append(judged(methods.ridge(k), k, label))
            results.append(judged(methods.factorisation([size for size in contexts if size != 0])[k], k, label))
        results.append(judged(methods.posterior, k, label))
    return results


def summarise(splits: Sequence[Sequence[Result]], reference: str = TokenScorer.name) -> list[dict[str, Any]]:
    """
    Means over people and splits, with 95 % intervals that redraw people (somebody in several splits is one person).

    Args:
        splits (sequence of results): [`compare`] on each split, with the same methods and contexts.
        reference (`str`): Method that gains are measured against, at the same context size.

    Returns:
        list of `dict`: One flat row a method and context size: `srocc`, its interval, `plcc`, `pairwise`, `mse`, the share of
        the crowd oracle's SROCC, and where the reference was run, the paired `gain` over it with its interval.
    """
    found = {(result.method, result.k): row for row, result in enumerate(splits[0])}
    oracle = np.concatenate([results[found[CrowdOracle.name, "-"]].scores.srocc for results in splits]).mean()
    rows = []
    for (method, k), place in found.items():
        chosen = [results[place] for results in splits]
        srocc = np.concatenate([result.scores.srocc for result in chosen])
        people = np.concatenate([result.people for result in chosen])
        interval = bootstrap_mean(srocc, people)
        row = {
            "method": method,
            "k": k,
            "srocc": interval.mean,
            "srocc_low": interval.low,
            "srocc_high": interval.high,
            **{
                name: float(np.concatenate([getattr(result.scores, name) for result in chosen]).mean())
                for name in ("plcc", "pairwise", "mse")
            },
            "oracle_share": interval.mean / oracle,
        }
        if (reference, k) in found and method != reference:
            others = [results[found[reference, k]] for results in splits]
            if any(not np.array_equal(a.people, b.people) for a, b in zip(chosen, others, strict=True)):
                raise ValueError(f"{method} and {reference} were judged on different people.")
            other = np.concatenate([result.scores.srocc for result in others])
            gain = paired_difference(srocc, other, people)
            row |= {"gain": gain.mean, "gain_low": gain.low, "gain_high": gain.high}
        rows.append(row)
    return rows


def markdown_table(rows: Sequence[dict[str, Any]], reference: str = TokenScorer.name) -> str:
    """Rows of [`summarise`] as a Markdown table."""
    header = f"| method | k | user SROCC [95 %] | PLCC | pairwise | share of oracle | gain over {reference} [95 %] |"
    lines = [header, "|" + "---|" * 7]
    for row in rows:
        gain = f"{row['gain']:+.3f} [{row['gain_low']:+.3f}, {row['gain_high']:+.3f}]" if "gain" in row else ""
        lines.append(
            f"| {row['method']} | {row['k']} | {row['srocc']:.3f} [{row['srocc_low']:.3f}, {row['srocc_high']:.3f}] "
            f"| {row['plcc']:.3f} | {row['pairwise']:.3f} | {row['oracle_share']:.2f} | {gain} |"
        )
    return "\n".join(lines)
