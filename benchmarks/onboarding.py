"""
Learning a person from few answers: which pictures to ask about, and how many answers are worth how much.

    python benchmarks/onboarding.py --work DIR [--split val_unseen|test_unseen] [--designs] [--out benchmarks/results]

`--work` is the work folder of `benchmarks/oasis.py`, with its five splits and trained models. A person can be asked about the
pictures outside of the queries that they did rate; queries are the pictures of the split. Designs were chosen on `val_unseen`
(`--split val_unseen --designs`); `test_unseen` is read for the result. Intervals redraw people, who keep all their splits.
"""

import argparse
import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.stats import rankdata
from torch import Tensor

from modeling_pamela import PamelaForPersonalizedScoring
from modeling_pamela.data.embed import read_embeddings
from modeling_pamela.data.folder import DataFolder
from modeling_pamela.evaluation.bootstrap import bootstrap_mean, paired_difference
from modeling_pamela.evaluation.protocol import evaluate_scorer, unseen_cases
from modeling_pamela.evaluation.scorers import PopulationScorer, PosteriorScorer, TokenScorer
from modeling_pamela.gaussian_taste import TastePosterior, taste_posterior
from modeling_pamela.taste.comparisons import comparison_sites
from modeling_pamela.taste.onboarding import suggest_next, suggest_pair
from modeling_pamela.taste.profile import TIE_THRESHOLD


SIZES = (5, 10, 15, 20, 25, 30, 35, 40, 50)
CURVE = (5, 15, 25, 50)
CHOSEN = (5, 10, 15, 25)
NUM_ASKED = 15
RANDOM_DRAWS = 40
RANDOM_PAIR_DRAWS = 10
RESAMPLES = 2000


@dataclass(frozen=True)
class Person:
    """One new person in one split: the pictures that they can be asked about, and the queries."""

    pool: Tensor
    ratings: Tensor
    queries: Tensor
    references: np.ndarray
    prior: TastePosterior
    noise_variance: float
    targets: Tensor

    def quality(self, tastes: Tensor) -> float:
        """Mean SROCC of the scores by tastes `(..., W)`."""
        scores = rankdata((tastes @ self.queries.mT).numpy(), axis=-1).reshape(-1, len(self.references))
        ranks = rankdata(self.references)
        scores, ranks = scores - scores.mean(-1, keepdims=True), ranks - ranks.mean()
        norm = np.sqrt((scores**2).sum(-1) * (ranks**2).sum())
        return float(np.mean((scores @ ranks) / norm))

    def learn(self, rows: Tensor) -> Tensor:
        """Mean tastes `(..., W)` after ratings of the pool's rows `(..., k)`."""
        mean = self.prior.mean.expand(*rows.shape[:-1], -1)
        return taste_posterior(self.pool[rows], self.ratings[rows], self.noise_variance, mean).mean

    def compare(self, pairs: list[tuple[int, int]]) -> TastePosterior:
        """The posterior after comparisons, whose outcomes are those of the two ratings; equal ratings are ties."""
        first, second = torch.tensor(pairs).unbind(1)
        behind = self.ratings[first] < self.ratings[second]
        first, second = torch.where(behind, second, first), torch.where(behind, first, second)
        differences = self.pool[first] - self.pool[second]
        noise_std = math.sqrt(2 * self.noise_variance)
        tied = self.ratings[first] == self.ratings[second]
        sites = comparison_sites(
            differences @ self.prior.mean, differences @ differences.mT, tied, noise_std, TIE_THRESHOLD * noise_std
        )
        return taste_posterior(differences, *sites, self.prior.mean)

    def ask_pairs(self, n: int) -> list[tuple[int, int]]:
        """The n most telling comparisons, each chosen after the answers to those before."""
        asked: list[tuple[int, int]] = []
        posterior = self.prior
        for _ in range(n):
            asked.append(suggest_pair(posterior, self.noise_variance, self.pool, self.targets, exclude=asked))
            posterior = self.compare(asked)
        return asked


def chosen(person: Person, n: int) -> Tensor:
    return suggest_next(person.prior, person.noise_variance, person.pool, n, person.targets)


def chosen_for_pool(person: Person, n: int) -> Tensor:
    return suggest_next(person.prior, person.noise_variance, person.pool, n)


def chosen_adaptively(person: Person, n: int) -> Tensor:
    """Every next picture after the answer to the one before, which moves the scores whose stretch does not count."""
    rows = torch.zeros(0, dtype=torch.int64)
    for _ in range(n):
        posterior = taste_posterior(person.pool[rows], person.ratings[rows], person.noise_variance, person.prior.mean)
        left = torch.tensor([row for row in range(len(person.pool)) if row not in rows])
        pick = suggest_next(posterior, person.noise_variance, person.pool[left], 1, person.targets)
        rows = torch.cat([rows, left[pick]])
    return rows


def greedy(person: Person, n: int, gain: Callable[[Tensor], Tensor]) -> Tensor:
    """The greedy design of another gain, from the pool's covariance `(N, N)` to `(N,)`."""
    covariance = person.pool @ person.pool.mT
    rows: list[int] = []
    for _ in range(n):
        gains = gain(covariance)
        gains[rows] = -torch.inf
        rows.append(int(gains.argmax()))
        column = covariance[rows[-1]]
        covariance = covariance - torch.outer(column, column) / (column[rows[-1]] + person.noise_variance)
    return torch.tensor(rows)


def chosen_for_scores(person: Person, n: int) -> Tensor:
    """A-optimal for differences of scores, their stretch included."""

    def gain(covariance: Tensor) -> Tensor:
        centred = covariance - covariance.mean(0)
        return centred.square().sum(0) / (covariance.diagonal() + person.noise_variance)

    return greedy(person, n, gain)


def chosen_most_uncertain(person: Person, n: int) -> Tensor:
    """D-optimal: the highest variance every time."""
    return greedy(person, n, lambda covariance: covariance.diagonal().clone())


def chosen_by_clusters(person: Person, n: int) -> Tensor:
    """Greedy k-medoids: every picture is near one that is asked."""
    gram = person.pool @ person.pool.mT
    distance = gram.diagonal()[:, None] + gram.diagonal() - 2 * gram
    nearest, rows = torch.full_like(gram[0], torch.inf), []
    for _ in range(n):
        cost = torch.minimum(nearest[:, None], distance).sum(0)
        cost[rows] = torch.inf
        rows.append(int(cost.argmin()))
        nearest = torch.minimum(nearest, distance[rows[-1]])
    return torch.tensor(rows)


def chosen_extremes(person: Person, n: int) -> Tensor:
    """Highest and lowest population scores, in turn."""
    order = (person.pool @ person.prior.mean).argsort()
    return torch.stack([order, order.flip(0)], dim=1).flatten()[:n]


DESIGNS = {
    "ranking of the training pictures": chosen,
    "ranking of the pool": chosen_for_pool,
    "ranking of the training pictures, adaptive": chosen_adaptively,
    "scores of the pool (A-optimal)": chosen_for_scores,
    "highest variance (D-optimal)": chosen_most_uncertain,
    "greedy k-medoids": chosen_by_clusters,
    "extremes of the population score": chosen_extremes,
}


def people_of(folder: DataFolder, model: PamelaForPersonalizedScoring, split: str) -> list[tuple[str, Person]]:
    """Everybody with ratings that can be ordered, with their ids."""
    scorer = PosteriorScorer(model, read_embeddings(folder, model.config))
    targets = scorer.features[np.unique(folder.ratings("train").image)]
    people = {}
    for case in unseen_cases(folder, split, max_draws=1):
        if np.ptp(case.references) == 0:
            continue
        mean = scorer.priors[case.evidence.user]
        people[folder.user_ids[case.evidence.user]] = Person(
            scorer.features[case.evidence.images],
            torch.from_numpy(case.evidence.ratings).double(),
            scorer.features[case.queries],
            case.references,
            TastePosterior(mean, mean.new_zeros(0, len(mean))),
            float(model.noise_variance),
            targets,
        )
    return list(people.items())


def worth(chosen_srocc: np.ndarray, random_srocc: np.ndarray, sizes: tuple[int, ...]) -> float:
    """The number of random ratings with the same mean SROCC, between the sizes that were tried; `(P,)` and `(P, sizes)`."""
    curve = np.maximum.accumulate(random_srocc.mean(0))
    return float(np.interp(chosen_srocc.mean(), curve, sizes))


def worth_interval(chosen_srocc: np.ndarray, random_srocc: np.ndarray, ids: np.ndarray) -> tuple[float, float, float]:
    rng = np.random.default_rng(0)
    people, owner = np.unique(ids, return_inverse=True)
    rows_of = [np.flatnonzero(owner == person) for person in range(len(people))]
    draws = []
    for _ in range(RESAMPLES):
        rows = np.concatenate([rows_of[person] for person in rng.integers(len(people), size=len(people))])
        draws.append(worth(chosen_srocc[rows], random_srocc[rows], SIZES))
    low, high = np.quantile(draws, [0.025, 0.975])
    return worth(chosen_srocc, random_srocc, SIZES), float(low), float(high)


def learning_curve(work: Path, folder: DataFolder, seed: int, split: str) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """User ids, and SROCC of every method and context size on the split's fixed random contexts."""
    model = PamelaForPersonalizedScoring.from_pretrained(work / f"posterior-{seed}")
    token = PamelaForPersonalizedScoring.from_pretrained(work / f"token-{seed}")
    embeddings, cases = read_embeddings(folder, model.config), unseen_cases(folder, split)
    scorers = {
        "posterior": PosteriorScorer(model, embeddings),
        "neighbours": TokenScorer(token, embeddings, folder.ratings("train")),
    }
    population = evaluate_scorer(PopulationScorer(model, embeddings), cases, 0)
    found = {"population": population.srocc}
    for name, scorer in scorers.items():
        for k in CURVE:
            found[f"{name} {k}"] = evaluate_scorer(scorer, cases, k).srocc
    return np.array(folder.user_ids)[population.users], found


def shown(interval: Any, digits: int = 4) -> str:
    return f"{interval.mean:+.{digits}f} [{interval.low:+.{digits}f}, {interval.high:+.{digits}f}]"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, default=Path("benchmarks/work"))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--split", choices=["val_unseen", "test_unseen"], default="test_unseen")
    parser.add_argument("--designs", action="store_true", help="Compare all designs, and nothing else.")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    arguments = parser.parse_args()
    ids: list[str] = []
    seeds: list[int] = []
    values: dict[str, list[float]] = {}
    curves: list[tuple[np.ndarray, dict[str, np.ndarray]]] = []
    for seed in arguments.seeds:
        folder = DataFolder(arguments.work / f"split-{seed}")
        model = PamelaForPersonalizedScoring.from_pretrained(arguments.work / f"posterior-{seed}")
        rng = np.random.default_rng(seed)
        for user_id, person in people_of(folder, model, arguments.split):
            ids.append(user_id)
            seeds.append(seed)
            orders = torch.from_numpy(np.stack([rng.permutation(len(person.pool)) for _ in range(RANDOM_DRAWS)]))
            row = {f"random {k}": person.quality(person.learn(orders[:, :k])) for k in SIZES}
            for name, design in DESIGNS.items() if arguments.designs else [("chosen", chosen)]:
                order = design(person, max(CHOSEN))
                row |= {f"{name} {k}": person.quality(person.learn(order[:k])) for k in CHOSEN}
            if not arguments.designs:
                pairs = orders[:RANDOM_PAIR_DRAWS, : 2 * NUM_ASKED].reshape(RANDOM_PAIR_DRAWS, NUM_ASKED, 2)
                row["random pairs"] = float(
                    np.mean([person.quality(person.compare([tuple(p) for p in draw]).mean) for draw in pairs.tolist()])
                )
                row["chosen pairs"] = person.quality(person.compare(person.ask_pairs(NUM_ASKED)).mean)
            for name, value in row.items():
                values.setdefault(name, []).append(value)
        if not arguments.designs:
            curves.append(learning_curve(arguments.work, folder, seed, arguments.split))
        print(f"split {seed}: done", flush=True)
    arrays = {name: np.array(column) for name, column in values.items()}
    people, split_of = np.array(ids), np.array(seeds)
    if arguments.designs:
        print(designs_table(arrays, people, split_of))
        return
    text, facts = report(arrays, people, split_of, curves, arguments.split)
    arguments.out.mkdir(parents=True, exist_ok=True)
    suffix = "" if arguments.split == "test_unseen" else f"_{arguments.split}"
    (arguments.out / f"onboarding{suffix}.md").write_text(text)
    (arguments.out / f"onboarding{suffix}.json").write_text(json.dumps(facts, indent=1) + "\n")
    print(text)


def designs_table(arrays: dict[str, np.ndarray], people: np.ndarray, split_of: np.ndarray) -> str:
    lines = ["| design | 5 | 10 | 15 | 25 | 15, by split |", "|" + "---|" * 6]
    for name in DESIGNS:
        cells = [shown(paired_difference(arrays[f"{name} {k}"], arrays[f"random {k}"], people), 3) for k in CHOSEN]
        gain = arrays[f"{name} 15"] - arrays["random 15"]
        by_split = " ".join(f"{gain[split_of == seed].mean():+.3f}" for seed in np.unique(split_of))
        lines.append(f"| {name} | {' | '.join(cells)} | {by_split} |")
    return "\n".join(lines)


def report(
    arrays: dict[str, np.ndarray],
    people: np.ndarray,
    split_of: np.ndarray,
    curves: list[tuple[np.ndarray, dict[str, np.ndarray]]],
    split: str,
) -> tuple[str, dict[str, Any]]:
    facts: dict[str, Any] = {name: float(column.mean()) for name, column in arrays.items()}
    lines = [
        f"# Onboarding on OASIS, {len(np.unique(split_of))} splits, {split}",
        f"\nUser SROCC of {len(people)} new people (a person in several splits counts in each; {len(np.unique(people))} distinct) on "
        "new pictures; 95 % intervals redraw people.",
        f"\n## Chosen against random ratings (mean of {RANDOM_DRAWS} random draws)\n",
        "| ratings | random | chosen | gain [95 %] |",
        "|" + "---|" * 4,
    ]
    for k in SIZES:
        if f"chosen {k}" in arrays:
            gain = paired_difference(arrays[f"chosen {k}"], arrays[f"random {k}"], people)
            facts[f"gain {k}"] = vars(gain)
            lines.append(
                f"| {k} | {arrays[f'random {k}'].mean():.4f} | {arrays[f'chosen {k}'].mean():.4f} | {shown(gain)} |"
            )
        else:
            lines.append(f"| {k} | {arrays[f'random {k}'].mean():.4f} | | |")
    gain = arrays[f"chosen {NUM_ASKED}"] - arrays[f"random {NUM_ASKED}"]
    lines.append(f"\nGain with {NUM_ASKED} by split:")
    for seed in np.unique(split_of):
        here = split_of == seed
        interval = bootstrap_mean(gain[here], people[here])
        facts[f"gain {NUM_ASKED}, split {seed}"] = vars(interval)
        lines.append(f"- split {seed}: {shown(interval)}")
    random = np.stack([arrays[f"random {k}"] for k in SIZES], axis=1)
    equal, low, high = worth_interval(arrays[f"chosen {NUM_ASKED}"], random, people)
    facts["worth"] = {"mean": equal, "low": low, "high": high}
    lines.append(
        f"\n{NUM_ASKED} chosen ratings are worth {equal:.1f} [{low:.1f}, {high:.1f}] random ones (interpolated in the table above, inside every "
        f"resample; at most {SIZES[-1]})."
    )
    pair_gain = paired_difference(arrays["chosen pairs"], arrays["random pairs"], people)
    facts["pair gain"] = vars(pair_gain)
    worth_pairs = worth_interval(arrays["chosen pairs"], random, people)
    lines += [
        f"\n## {NUM_ASKED} comparisons\n",
        f"Random pairs {arrays['random pairs'].mean():.4f} (mean of {RANDOM_PAIR_DRAWS} draws), the most telling pairs, one after the other, "
        f"{arrays['chosen pairs'].mean():.4f}: {shown(pair_gain)}. They are worth {worth_pairs[0]:.1f} "
        f"[{worth_pairs[1]:.1f}, {worth_pairs[2]:.1f}] random ratings. Outcomes are those of the person's two ratings; equal ones are ties.",
        "\n## Random ratings: the posterior, the population and the paper's neighbours (the splits' five fixed draws)\n",
        "| ratings | population | neighbours | posterior | over population | over neighbours | over the row above |",
        "|" + "---|" * 7,
    ]
    owners = np.concatenate([owner for owner, _ in curves])
    joined = {name: np.concatenate([found[name] for _, found in curves]) for name in curves[0][1]}
    before = "population"
    for k in CURVE:
        ours, theirs = joined[f"posterior {k}"], joined[f"neighbours {k}"]
        gains = [paired_difference(ours, other, owners) for other in (joined["population"], theirs, joined[before])]
        facts[f"curve {k}"] = {
            "posterior": float(ours.mean()),
            "neighbours": float(theirs.mean()),
            "population": float(joined["population"].mean()),
            **{
                name: vars(each)
                for name, each in zip(("over population", "over neighbours", "over before"), gains, strict=True)
            },
        }
        cells = " | ".join(shown(each) for each in gains)
        lines.append(
            f"| {k} | {joined['population'].mean():.4f} | {theirs.mean():.4f} | {ours.mean():.4f} | {cells} |"
        )
        before = f"posterior {k}"
    return "\n".join(lines) + "\n", facts


if __name__ == "__main__":
    main()
