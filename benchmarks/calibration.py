"""
Whether a profile's intervals and chances hold on real people: OASIS photographs, new people and new pictures, five fixed splits.

    PAMELA_OASIS_DIR=/path/to/oasis python benchmarks/calibration.py [--seeds 0 1 2 3 4] [--work DIR] [--out benchmarks/results]

The work folder is that of benchmarks/oasis.py, with its splits and posterior models; a model of before the noise model gets one
fitted here. "Gaussian" is the same model with one noise for everybody. Everything is read on `test_unseen`; what was chosen
(the heaviness of the tails) was chosen on `val_unseen`. `retest.csv` holds other people, who rated pictures twice.
"""

import argparse
import csv
import os
import platform
import statistics
import sys
import time
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import matplotlib
import numpy as np
import torch
from torch import Tensor

from modeling_pamela import PamelaForPersonalizedScoring, TasteProfile
from modeling_pamela.data.embed import FolderEmbeddings, read_embeddings
from modeling_pamela.data.folder import DataFolder
from modeling_pamela.evaluation.bootstrap import bootstrap_mean, paired_difference
from modeling_pamela.evaluation.calibration import calibration_error, pit_deviation, randomised_pit, rating_step
from modeling_pamela.evaluation.metrics import user_spearman
from modeling_pamela.evaluation.protocol import unseen_cases
from modeling_pamela.evaluation.scorers import PosteriorScorer
from modeling_pamela.gaussian_taste import predictive_variance, taste_posterior
from modeling_pamela.taste.profile import preference_chance
from modeling_pamela.training.noise import fit_noise


matplotlib.use("Agg")
from matplotlib import pyplot as plt


CONTEXTS = (0, 5, 15, 50, None)
RANDOM_SHARE = 0.2
MAX_PAIRS = 60
NOISES = ("Gaussian", "noise model")


@dataclass
class Judged:
    """What one noise model says in all cases of all splits; one entry a case, but for `pairs` and `places`."""

    people: list[str]
    srocc: list[float]
    covered: list[float]  # randomised PIT inside .1 to .9
    inside: list[float]  # rating inside the interval as given
    places: list[np.ndarray]  # randomised PIT of every rating
    pair_chance: list[np.ndarray]  # chance given to the side that is ahead
    pair_right: list[np.ndarray]


def judge(
    splits: list[tuple[DataFolder, PamelaForPersonalizedScoring, FolderEmbeddings]],
    k: int | None,
    with_noise_model: bool,
    share: float,
    draws: int,
) -> Judged:
    result = Judged([], [], [], [], [], [], [])
    for number, (folder, model, embeddings) in enumerate(splits):
        fitted = model.posterior_taste.noise_model.clone()
        if not with_noise_model:
            model.posterior_taste.noise_model.zero_()
        # The same draws of random ratings, places and pairs for both.
        rng = np.random.default_rng(number)
        scorer = PosteriorScorer(model, embeddings)
        all_ratings = folder.ratings("train").rating_norm
        step, values = rating_step(all_ratings), np.unique(all_ratings)
        for case in unseen_cases(folder, "test_unseen", max_draws=draws):
            evidence, rated = case.evidence.images[:k], case.evidence.ratings[:k].copy()
            wrong = rng.random(len(rated)) < share
            rated[wrong] = rng.choice(values, wrong.sum())
            features, queries = scorer.features[evidence], scorer.features[case.queries]
            prior, ratings = scorer.priors[case.evidence.user], torch.from_numpy(rated)
            variances, person = model.rating_noise(features, ratings, prior)
            posterior = taste_posterior(features, ratings, variances, prior)
            mean = queries @ posterior.mean
            noise = person + model.picture_variance
            std = (predictive_variance(posterior, queries) + noise).sqrt()
            reference = torch.from_numpy(case.references)

            place = randomised_pit(mean.numpy(), std.numpy(), case.references, step, rng)
            low, high = ((mean + side * 1.2815515655 * std).clamp(0, 1) for side in (-1, 1))
            metric = user_spearman(mean.numpy(), case.references, np.zeros(len(reference), int))
            first, second = _pairs(reference, rng)
            difference = queries[first] - queries[second]
            pair_variance = predictive_variance(posterior, difference) + 2 * person
            chance = preference_chance(mean[first] - mean[second], pair_variance, person)
            right = reference[first] > reference[second]
            if not len(metric.values):
                continue
            result.people.append(folder.user_ids[case.evidence.user])
            result.srocc.append(float(metric.values[0]))
            result.covered.append(float(((place > 0.1) & (place < 0.9)).mean()))
            result.inside.append(float(((reference >= low - 1e-9) & (reference <= high + 1e-9)).double().mean()))
            result.places.append(place)
            result.pair_chance.append(chance.numpy())
            result.pair_right.append(right.numpy().astype(float))
        model.posterior_taste.noise_model.copy_(fitted)
    return result


def _pairs(reference: Tensor, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Up to MAX_PAIRS random pairs of pictures that were rated differently, either way round."""
    first, second = np.triu_indices(len(reference), 1)
    chosen = rng.permutation(len(first))
    first, second = torch.from_numpy(first[chosen]), torch.from_numpy(second[chosen])
    differ = (reference[first] != reference[second]).nonzero().squeeze(1)[:MAX_PAIRS]
    first, second = first[differ], second[differ]
    flip = torch.from_numpy(rng.random(len(first)) < 0.5)
    return torch.where(flip, second, first), torch.where(flip, first, second)


def spread(values: list[float], people: list[str]) -> str:
    by_person = defaultdict(list)
    for value, person in zip(values, people, strict=True):
        by_person[person].append(value)
    low, high = np.quantile([np.mean(each) for each in by_person.values()], [0.05, 0.95])
    return f"{low:.2f} to {high:.2f}"


def interval(values: list[float], people: list[str]) -> str:
    found = bootstrap_mean(values, people)
    return f"{found.mean:.3f} [{found.low:.3f}, {found.high:.3f}]"


def plot(results: dict[str, Judged], file: Path) -> None:
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 4))
    levels = np.linspace(0, 1, 101)
    for name, judged in results.items():
        places = np.concatenate(judged.places)
        left.plot(levels, [(places <= level).mean() for level in levels], label=name)
        chance, truth = np.concatenate(judged.pair_chance), np.concatenate(judged.pair_right)
        place = np.minimum((chance * 10).astype(int), 9)
        counts = np.maximum(np.bincount(place, minlength=10), 1)
        centres = np.bincount(place, chance, minlength=10) / counts
        right.plot(centres, np.bincount(place, truth, minlength=10) / counts, marker="o", label=name)
    for axes, x, y in (
        (left, "randomised PIT", "share of ratings below"),
        (right, "chance that a is preferred", "share in which a was rated higher"),
    ):
        axes.plot([0, 1], [0, 1], color="grey", linewidth=0.8)
        axes.set(xlabel=x, ylabel=y, xlim=(0, 1), ylim=(0, 1))
        axes.legend()
    figure.tight_layout()
    figure.savefig(file, dpi=110)


def retest(source: Path, folder: DataFolder, model: PamelaForPersonalizedScoring, embeddings: FolderEmbeddings) -> str:
    """People who rated twice: fitted on their first ratings, how well their second ones are predicted."""
    row_of = {image_id: row for row, image_id in enumerate(folder.image_ids)}
    twice: dict[str, dict[int, dict[str, float]]] = defaultdict(lambda: defaultdict(dict))
    with open(source / "retest.csv", encoding="utf-8", newline="") as file:
        for line in csv.DictReader(file):
            if line["image_id"] in row_of:
                rated = twice[line["user_id"]][row_of[line["image_id"]]]
                rated[line["repetition"]] = (float(line["rating"]) - 1) / 6
    scorer = PosteriorScorer(model, embeddings)
    prior = model.prior_taste()[0].detach().double()
    rows = defaultdict(list)
    for rated in twice.values():
        images = np.array([image for image, both in rated.items() if {"1", "2"} <= set(both)])
        if len(images) < 10:
            continue
        first, second = (np.array([rated[image][number] for image in images]) for number in ("1", "2"))
        if min(np.ptp(first), np.ptp(second)) == 0:
            continue
        features = scorer.features[images]

        def predict(
            known: np.ndarray, wanted: np.ndarray, features: Tensor = features, first: np.ndarray = first
        ) -> np.ndarray:
            taste = model.learn_taste(features[known], torch.from_numpy(first[known]), prior)
            return (features[wanted] @ taste.mean).numpy()

        every = np.arange(len(images))
        fold = np.random.default_rng(0).permutation(len(images)) % 5
        other = np.empty(len(images))
        for number in range(5):
            other[fold == number] = predict(every[fold != number], every[fold == number])
        for name, prediction in {
            "population": (features @ prior).numpy(),
            "taste, from first ratings of other pictures": other,
            "taste, from all first ratings": predict(every, every),
            "the first rating itself": first,
        }.items():
            rows[name].append(user_spearman(prediction, second, np.zeros(len(second), int)).values[0])
    lines = ["| predicted by | SROCC with the second rating [95 %] |", "|---|---|"]
    for name, values in rows.items():
        lines.append(f"| {name} | {interval(values, [str(person) for person in range(len(values))])} |")
    return f"{len(rows['population'])} people.\n\n" + "\n".join(lines)


def latency(model: PamelaForPersonalizedScoring, embeddings: FolderEmbeddings) -> str:
    """Milliseconds of `update` with one rating, forward pass included, beside a fit of everything from the embeddings."""
    ratings = torch.rand(301, generator=torch.Generator().manual_seed(0))

    def milliseconds(call, repeats: int = 60) -> float:  # type: ignore[no-untyped-def]
        call()
        times = []
        for _ in range(repeats):
            start = time.perf_counter()
            call()
            times.append(1000 * (time.perf_counter() - start))
        return statistics.median(times)

    lines = [
        "| ratings before | update, ms | of it the forward pass | fresh fit, ms | update / fit |",
        "|" + "---|" * 5,
    ]
    for k in (5, 15, 50, 100, 300):
        inputs = {"image_embeds": embeddings.image[: k + 1], "text_embeds": embeddings.text[: k + 1]}
        last = {name: rows[k:] for name, rows in inputs.items()}
        profile = TasteProfile.fit(model, ratings[:k], **{name: rows[:k] for name, rows in inputs.items()})  # type: ignore[arg-type]
        update = milliseconds(lambda p=profile, one=last, k=k: p.update(model, ratings[k : k + 1], **one))
        forward = milliseconds(lambda one=last: model.get_taste_features(**one))
        fit = milliseconds(lambda k=k, inputs=inputs: TasteProfile.fit(model, ratings[: k + 1], **inputs))
        lines.append(f"| {k} | {update:.2f} | {forward:.2f} | {fit:.2f} | {update / fit:.2f} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--work", type=Path, default=Path("benchmarks/work"))
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    parser.add_argument("--draws", type=int, default=5, help="context draws a person")
    arguments = parser.parse_args()
    source = os.environ.get("PAMELA_OASIS_DIR")
    if not source:
        sys.exit("Set PAMELA_OASIS_DIR to the folder with users.csv, images.csv, ratings.csv and images/ of OASIS.")
    torch.set_num_threads(1)
    arguments.out.mkdir(parents=True, exist_ok=True)
    splits = []
    for seed in arguments.seeds:
        folder = DataFolder(arguments.work / f"split-{seed}")
        model = PamelaForPersonalizedScoring.from_pretrained(arguments.work / f"posterior-{seed}").eval()
        embeddings = read_embeddings(folder, model.config)
        if not model.posterior_taste.noise_model.any():
            fit_noise(model, folder, folder.ratings("train"), embeddings, seed)
        splits.append((folder, model, embeddings))
        print(f"split {seed}: ready", file=sys.stderr, flush=True)

    report = [
        "# Calibration on OASIS, new people and new pictures",
        f"\nSplits {arguments.seeds}, `test_unseen`, {arguments.draws} context draw(s) a person. Machine: {platform.machine()}, {os.cpu_count()} cores, 1 thread, torch {torch.__version__}.",
        "\nCoverage of the 80 % interval: share of ratings whose randomised PIT lies in .1 to .9 [95 % over people]; its spread is from the "
        "5th to the 95th percentile of people. Inside: share of ratings inside the interval that `predict_rating` gives, which on a scale of "
        "steps with ratings piled up at its ends is above its level. PIT: largest distance of its distribution from the uniform one. Pairs: "
        "expected calibration error of `compare` on pairs that were rated differently.",
    ]
    for share in (0.0, RANDOM_SHARE):
        report += [
            f"\n## {f'With {share:.0%} of the ratings of a context replaced by random ones' if share else 'Ratings as they are'}\n",
            "| k | noise | user SROCC | gain [95 %] | coverage of 80 % | spread over people | inside | PIT | pairs |",
            "|" + "---|" * 9,
        ]
        for k in CONTEXTS:
            results = {name: judge(splits, k, name == NOISES[1], share, arguments.draws) for name in NOISES}
            base = results[NOISES[0]]
            for name, judged in results.items():
                gain = ""
                if name == NOISES[1]:
                    found = paired_difference(judged.srocc, base.srocc, judged.people)
                    gain = f"{found.mean:+.4f} [{found.low:+.4f}, {found.high:+.4f}]"
                deviation = pit_deviation(np.concatenate(judged.places))
                error = calibration_error(np.concatenate(judged.pair_chance), np.concatenate(judged.pair_right))
                report.append(
                    f"| {'all' if k is None else k} | {name} | {np.mean(judged.srocc):.3f} | {gain} | {interval(judged.covered, judged.people)} "
                    f"| {spread(judged.covered, judged.people)} | {np.mean(judged.inside):.3f} | {deviation:.3f} | {error:.3f} |"
                )
            if k == 15 and not share:
                plot(results, arguments.out / "calibration.png")
            print(f"k = {k}, {share:.0%} random: done", file=sys.stderr, flush=True)
    report += ["\n![Reliability at k = 15](calibration.png)", "\n## People who rated twice\n"]
    report.append(retest(Path(source), *splits[0]))
    report += ["\n## Speed\n", latency(splits[0][1], splits[0][2])]
    text = "\n".join(report) + "\n"
    (arguments.out / "calibration.md").write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
