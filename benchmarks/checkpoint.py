"""
Build pamela-small, the checkpoint that travels in the package, from the ratings, and measure what stands in its card.

    PAMELA_OASIS_DIR=/path/to/oasis python benchmarks/checkpoint.py [--work DIR] [--out benchmarks/results]     (make checkpoint)

Import, encode, five splits; on each the recipe and the paper's token model are trained and judged on people and pictures held out, by the
picture alone and with its caption. Then the recipe is trained once more on everybody, and stored in half precision. What is finished
stays in the work folder, which `benchmarks/oasis.py` can share.
"""

import argparse
import json
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from oasis import prepare, token_model
from safetensors.torch import load_file, save_file

from modeling_pamela import PamelaForPersonalizedScoring
from modeling_pamela.data.folder import DataFolder
from modeling_pamela.evaluation.baselines import CrowdOracle
from modeling_pamela.evaluation.bootstrap import bootstrap_mean
from modeling_pamela.evaluation.comparison import Result, markdown_table, summarise
from modeling_pamela.evaluation.methods import Methods
from modeling_pamela.evaluation.protocol import evaluate_scorer, unseen_cases
from modeling_pamela.evaluation.scorers import PosteriorScorer
from modeling_pamela.training.recipes import RECIPES
from modeling_pamela.training.refit import refit
from modeling_pamela.training.trainer import train


NAME = "pamela-small"
SEEDS = (0, 1, 2, 3, 4)
CONTEXTS = (0, 5, 15, 50)
# Smaller groups of people are counted but not judged.
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
    results: dict[str, Any] = {}
    for name, with_captions in (("without captions", False), ("with captions", True)):
        splits = [
            judge(folder, model, token_model(folder, arguments.work, seed, with_captions), with_captions)
            for seed, folder, model in zip(SEEDS, folders, models, strict=True)
        ]
        results[name] = summarise(splits)
        print(f"\n## {name}\n\n{markdown_table(results[name])}", flush=True)
        if not with_captions:
            results["groups"] = by_group(folders[0], splits, 15)
    (arguments.out / "checkpoint.json").write_text(json.dumps(results, indent=1) + "\n")
    refit(DataFolder(arguments.work / "oasis"), models, arguments.checkpoint)
    halve(arguments.checkpoint / "model.safetensors")
    strip_code(arguments.checkpoint)


if __name__ == "__main__":
    main()
