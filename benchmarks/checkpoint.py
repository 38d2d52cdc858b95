"""
Build pamela-small, the checkpoint that travels in the package, from the ratings, and measure what stands in its card.

    PAMELA_OASIS_DIR=/path/to/oasis python benchmarks/checkpoint.py [--work DIR] [--out benchmarks/results]     (make checkpoint)

Import, encode, five splits; on each the recipe and the paper's token model are trained and judged on people and pictures held out, by the
picture alone and with its caption. Then the recipe is trained once more on everybody, and stored in half precision. What is finished
stays in the work folder, which `benchmarks/oasis.py` can share.
"""

import argparse
import itertools
import json
import os
import platform
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from checkpoint_privacy import measure
from oasis import prepare, token_model
from safetensors.torch import load_file, save_file

from modeling_pamela import PamelaForPersonalizedScoring, PamelaProcessor
from modeling_pamela.data.folder import DataFolder
from modeling_pamela.data.images import open_image
from modeling_pamela.evaluation.baselines import CrowdOracle
from modeling_pamela.evaluation.bootstrap import bootstrap_mean
from modeling_pamela.evaluation.comparison import Result, markdown_table, summarise
from modeling_pamela.evaluation.methods import Methods
from modeling_pamela.evaluation.model_card import card_data, group_rows, render_model_card, result_rows
from modeling_pamela.evaluation.protocol import evaluate_scorer, unseen_cases
from modeling_pamela.evaluation.scorers import PosteriorScorer
from modeling_pamela.training.recipes import RECIPES
from modeling_pamela.training.refit import refit
from modeling_pamela.training.trainer import train


NAME = "pamela-small"
SEEDS = (0, 1, 2, 3, 4)
CONTEXTS = (0, 5, 15, 50)
# Smaller groups of people are left out.
LEAST_PEOPLE = 20
# A person's folder has neither captions nor metadata, and who somebody is should not decide what they are shown first. Both cost
# nothing on validation people (benchmarks/README.md), nor do fewer components of the caption.
FIELDS = {"use_metadata": False, "use_demographics": False, "text_projection_dim": 64}


def held_out_model(folder: DataFolder, work: Path, seed: int) -> PamelaForPersonalizedScoring:
    """The recipe, trained on the training people of one split."""
    directory = work / f"{NAME}-{seed}"
    if not directory.exists():
        config = RECIPES["posterior"].config(rating_scale=list(folder.rating_scale), **FIELDS)
        start = time.process_time()
        train(folder, config, directory, seed=seed, device="cpu", **RECIPES["posterior"].training())
        (directory / "seconds.json").write_text(json.dumps(time.process_time() - start))
    return PamelaForPersonalizedScoring.from_pretrained(directory)


def judge(folder: DataFolder, model: PamelaForPersonalizedScoring, token: Path, with_captions: bool) -> list[Result]:
    """The model, the paper's and the crowd, on one split's people and pictures held out."""
    cases, names = unseen_cases(folder, "test_unseen"), np.array(folder.user_ids)
    methods = Methods(folder, model, PamelaForPersonalizedScoring.from_pretrained(token), with_captions)
    assert methods.token is not None
    scorers = [(methods.oracle, None, "-")]
    scorers += [(scorer, k, k) for k in CONTEXTS for scorer in (methods.token, methods.posterior)]
    scores = [(scorer.name, label, evaluate_scorer(scorer, cases, k)) for scorer, k, label in scorers]
    return [Result(name, label, names[found.users], found) for name, label, found in scores]


def accuracy(
    folders: Sequence[DataFolder], models: Sequence[PamelaForPersonalizedScoring], work: Path
) -> dict[str, Any]:
    """Accuracy of the held-out models with and without captions, and without them by group of people."""
    results: dict[str, Any] = {}
    for name, with_captions in (("without captions", False), ("with captions", True)):
        splits = [
            judge(folder, model, token_model(folder, work, seed, with_captions), with_captions)
            for seed, folder, model in zip(SEEDS, folders, models, strict=True)
        ]
        results[name] = summarise(splits)
        print(f"\n## {name}\n\n{markdown_table(results[name])}", flush=True)
        if not with_captions:
            results["groups"] = by_group(folders[0], splits, 15)
    return results


def by_group(folder: DataFolder, splits: Sequence[Sequence[Result]], k: int) -> list[dict[str, Any]]:
    """User SROCC of the model and of the crowd for every demographic group, with intervals that redraw people."""
    people = folder.users.to_pandas().set_index("user_id")
    rows = []
    for column in ("gender", "age", "education", "income"):
        groups = people[column].map(age_band) if column == "age" else people[column].astype("string").fillna("unknown")
        for group, members in groups.groupby(groups).groups.items():
            row: dict[str, Any] = {"what": column, "group": group}
            for method, size in ((CrowdOracle.name, "-"), (PosteriorScorer.name, 0), (PosteriorScorer.name, k)):
                found = [
                    result for results in splits for result in results if (result.method, result.k) == (method, size)
                ]
                values, ids = (
                    np.concatenate(parts) for parts in zip(*((r.scores.srocc, r.people) for r in found), strict=True)
                )
                chosen = np.isin(ids, members)
                row["people"] = len(set(ids[chosen]))
                if row["people"] < LEAST_PEOPLE:
                    continue
                interval = bootstrap_mean(values[chosen], ids[chosen])
                row[f"{method}, k = {size}"] = [interval.mean, interval.low, interval.high]
            if row["people"] >= LEAST_PEOPLE:
                rows.append(row)
    return rows


def age_band(age: float) -> str:
    """The decade of an age."""
    return "unknown" if np.isnan(age) else f"{int(age) // 10 * 10} to {int(age) // 10 * 10 + 9}"


def halve(weights: Path) -> None:
    """Store weights in float16, at half the size; a model that is loaded from them computes in float32."""
    halves = {name: tensor.half() for name, tensor in load_file(weights).items()}
    if lost := [name for name, tensor in halves.items() if not tensor.isfinite().all()]:
        sys.exit(f"{', '.join(lost)}: values beyond the range of float16.")
    save_file(halves, weights, {"format": "pt"})
    weights.chmod(0o644)


def strip_code(checkpoint: Path) -> None:
    """Take the copy of the package's code out of a checkpoint that is part of the package, what points to it, and how this machine loads."""
    for file in checkpoint.glob("*.py"):
        file.unlink()
    for file in checkpoint.rglob("*config.json"):
        settings = json.loads(file.read_text(encoding="utf-8"))
        for part in (settings, settings.get("image_processor", {})):
            for name in ("auto_map", "is_local", "local_files_only"):
                part.pop(name, None)
        file.write_text(json.dumps(settings, indent=2, sort_keys=True) + "\n", encoding="utf-8")


@torch.no_grad()
def seconds_a_picture(model: PamelaForPersonalizedScoring, folder: DataFolder, number: int = 40) -> float:
    """Median processor time from the bytes of a picture to its embedding, one at a time."""
    processor, seconds = PamelaProcessor.from_config(model.config), []
    for _, content in itertools.islice(folder.iter_image_bytes(), number):
        start = time.process_time()
        model.get_image_embeds(**processor(images=open_image(content)))
        seconds.append(time.process_time() - start)
    return float(np.median(seconds))


def card(model: PamelaForPersonalizedScoring, folder: DataFolder, results: dict[str, Any]) -> str:
    """The model card, front matter included."""
    stated = yaml.safe_load((Path(__file__).parents[1] / "model_card" / f"{NAME}.yaml").read_text(encoding="utf-8"))
    settings = {name: results[name] for name in ("without captions", "with captions")}
    columns = [f"{PosteriorScorer.name}, k = 0", f"{PosteriorScorer.name}, k = 15", f"{CrowdOracle.name}, k = -"]
    influence, areas = results["privacy"]["influence"], results["privacy"]["membership"]
    wishes = influence["correlation with the person's wishes"]
    measured = {
        "licence": "Apache-2.0",
        "trained_on": "all of OASIS beauty that was at hand",
        "results": {f"{name.capitalize()}": result_rows(rows) for name, rows in settings.items()},
        "groups": group_rows(results["groups"], columns),
        "groups_k": 15,
        "privacy": (
            "The weights are principal components and kernel landmarks of the photographs' embeddings, a regression of the crowd's mean ratings on them, and the covariance of 600 people's "
            "tastes. No row of them belongs to a person. The population's scores, solved again without one person's ratings (prior variances kept), for "
            f"{results['privacy']['left out']} people drawn at random, move on the training pictures by {influence['root mean square']['mean']:.4f} of the scale (root mean "
            f"square; at most {influence['most']['most']:.4f} for any person and picture), with a rank correlation of {influence['rank correlation']['mean']:.5f}; the moves correlate with what the person "
            f"wished by {wishes['mean']:.2f}, as any mean moves towards those who are in it. Somebody who knows all of a person's ratings and asks the model how likely they are tells training people from "
            f"others with an area under the curve of {np.mean(areas):.3f} ({min(areas):.3f} to {max(areas):.3f} over the five held-out runs; .5 is a guess). That is a measurement of one attack, not a "
            "guarantee, and what the covariance of tastes alone gives away of one person was not measured: training is deterministic and not differentially private, so somebody who has everybody else's ratings can train with and without a person and compare. "
            "Of the pictures, the weights hold 128 of 4,920 numbers of an embedding each, as landmarks. That tells whether a given picture was a training picture (its `novelty` is near 0), and what pictures it is like; "
            "whether one could paint it back from so little has not been tried. The photographs of OASIS are public."
        ),
        "cost": (
            f"On one CPU core ({platform.machine()}): {1e3 * results['seconds a picture']:.0f} ms to encode a picture; {results['seconds held out']:.0f} s to train a held-out run once pictures are "
            f"encoded, {results['training seconds']:.0f} s on everybody. No accelerator was used at any point. Energy was not metered; these are seconds of one core, which are more where others use the machine."
        ),
    }
    data = card_data(NAME, "apache-2.0", "OASIS beauty", settings)
    return f"---\n{data.to_yaml()}\n---\n\n{render_model_card(model, folder, stated | measured)}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, default=Path("benchmarks/work"))
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    parser.add_argument("--checkpoint", type=Path, default=Path("modeling_pamela/checkpoints") / NAME)
    arguments = parser.parse_args()
    source = os.environ.get("PAMELA_OASIS_DIR")
    if not source:
        sys.exit("Set PAMELA_OASIS_DIR to the folder with users.csv, images.csv, ratings.csv and images/ of OASIS.")
    # Sums in one order: the same bytes whatever the number of cores.
    torch.set_num_threads(1)
    folders = [prepare(Path(source), arguments.work, seed) for seed in SEEDS]
    models = [held_out_model(folder, arguments.work, seed) for seed, folder in zip(SEEDS, folders, strict=True)]
    found = arguments.work / f"{NAME}.json"
    if not found.exists():
        found.write_text(json.dumps(accuracy(folders, models, arguments.work)))
    results = json.loads(found.read_text())
    seconds = [json.loads((arguments.work / f"{NAME}-{seed}" / "seconds.json").read_text()) for seed in SEEDS]
    results["seconds held out"] = float(np.median(seconds))
    oasis = DataFolder(arguments.work / "oasis")
    start = time.process_time()
    refit(oasis, models, arguments.checkpoint)
    results["training seconds"] = time.process_time() - start
    halve(arguments.checkpoint / "model.safetensors")
    strip_code(arguments.checkpoint)
    final = PamelaForPersonalizedScoring.from_pretrained(arguments.checkpoint)
    results["fingerprint"] = final.fingerprint()
    results["seconds a picture"] = seconds_a_picture(final, oasis)
    results["privacy"] = measure(arguments.work, arguments.checkpoint, [f"{NAME}-{seed}" for seed in SEEDS])
    (arguments.out / "checkpoint.json").write_text(json.dumps(results, indent=1) + "\n")
    (arguments.checkpoint / "README.md").write_text(card(final, oasis, results), encoding="utf-8")


if __name__ == "__main__":
    main()
