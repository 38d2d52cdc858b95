"""
Accuracy on real people: OASIS photographs, new people and new pictures, five fixed splits.

    PAMELA_OASIS_DIR=/path/to/oasis python benchmarks/oasis.py [--seeds 0 1 2 3 4] [--work DIR] [--out benchmarks/results]

Every split has 120 test and 60 validation people, and 38 test and 19 validation pictures of each of the four picture sets. On each
the posterior and the paper's token model are trained, with prompts and without. Settings were chosen on validation
people (`posterior` and `token` in modeling_pamela/training/recipes.py); test people are only read here. What is finished stays
in the work folder and is not computed again.
"""

import argparse
import json
import os
import platform
import shutil
import sys
import time
from pathlib import Path
from typing import Any

import torch
from transformers import TrainerCallback

from modeling_pamela import PamelaForPersonalizedScoring
from modeling_pamela.data.embed import embed_folder
from modeling_pamela.data.folder import DataFolder
from modeling_pamela.data.importers.tidy import import_tidy
from modeling_pamela.data.splits import SplitOptions, split_folder
from modeling_pamela.evaluation.comparison import Result, compare, markdown_table, summarise
from modeling_pamela.training.recipes import RECIPES
from modeling_pamela.training.trainer import train


CONTEXTS = (0, 5, 15, 25, 50, None)


class Stopwatch(TrainerCallback):
    """Notes when the best validation score was reached."""

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.start, self.best, self.seconds_to_best = time.perf_counter(), -1.0, 0.0

    def on_evaluate(self, args: Any, state: Any, control: Any, metrics: Any = None, **kwargs: Any) -> None:
        if metrics["eval_user_srocc"] > self.best:
            self.best, self.seconds_to_best = metrics["eval_user_srocc"], time.perf_counter() - self.start


def prepare(source: Path, work: Path, seed: int) -> DataFolder:
    """The data folder of one split; pictures are encoded once for all."""
    imported = work / "oasis"
    if not imported.exists():
        import_tidy(source, imported, (1.0, 7.0), columns={"prompt": "caption"})
        embed_folder(DataFolder(imported), RECIPES["posterior"].config())
    folder = work / f"split-{seed}"
    if not folder.exists():
        options = SplitOptions(
            seed, test_users=120, val_users=60, test_pictures=38, val_pictures=19, group="subset", draws=5
        )
        split_folder(imported, options, folder)
    return DataFolder(folder)


def token_model(folder: DataFolder, work: Path, seed: int, with_prompts: bool) -> Path:
    """Folder of the paper's token model of one split, trained if it is not there."""
    directory = work / f"token-{seed}{'' if with_prompts else '-no-prompts'}"
    if not (directory / "seconds.json").exists():
        shutil.rmtree(directory, ignore_errors=True)
        watch, recipe = Stopwatch(), RECIPES["token"]
        config = recipe.config(use_text=with_prompts)
        train(folder, config, directory, seed=seed, callbacks=[watch], **recipe.training())
        (directory / "seconds.json").write_text(json.dumps({"token to its best validation": watch.seconds_to_best}))
    return directory


def run_split(
    folder: DataFolder, work: Path, seed: int, with_prompts: bool
) -> tuple[list[Result], list[Result], dict[str, float]]:
    """Results on unseen people, on seen people, and seconds of training."""
    posterior_dir = work / f"posterior-{seed}"
    seconds: dict[str, float] = {}
    # One posterior model serves pictures with and without prompts.
    if not (posterior_dir / "seconds.json").exists():
        start = time.perf_counter()
        recipe = RECIPES["posterior"]
        train(folder, recipe.config(), posterior_dir, seed=seed, **recipe.training())
        seconds["posterior"] = time.perf_counter() - start
        (posterior_dir / "seconds.json").write_text(json.dumps(seconds))
    seconds |= json.loads((posterior_dir / "seconds.json").read_text())
    token_dir = token_model(folder, work, seed, with_prompts)
    seconds |= json.loads((token_dir / "seconds.json").read_text())

    posterior = PamelaForPersonalizedScoring.from_pretrained(posterior_dir)
    token = PamelaForPersonalizedScoring.from_pretrained(token_dir)
    unseen = compare(folder, posterior, token, "test_unseen", CONTEXTS, with_prompts=with_prompts)
    seen = compare(folder, posterior, token, "test_seen", with_prompts=with_prompts)
    return unseen, seen, seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--work", type=Path, default=Path("benchmarks/work"))
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    arguments = parser.parse_args()
    source = os.environ.get("PAMELA_OASIS_DIR")
    if not source:
        sys.exit("Set PAMELA_OASIS_DIR to the folder with users.csv, images.csv, ratings.csv and images/ of OASIS.")

    arguments.out.mkdir(parents=True, exist_ok=True)
    report = [
        "# OASIS, five splits" if len(arguments.seeds) == 5 else f"# OASIS, splits {arguments.seeds}",
        f"\nMachine: {platform.machine()}, {os.cpu_count()} cores, {torch.get_num_threads()} threads, torch {torch.__version__}.",
    ]
    for with_prompts in (True, False):
        unseen, seen, times = [], [], []
        for seed in arguments.seeds:
            folder = prepare(Path(source), arguments.work, seed)
            of_unseen, of_seen, seconds = run_split(folder, arguments.work, seed, with_prompts)
            unseen.append(of_unseen)
            seen.append(of_seen)
            times.append(seconds)
            print(f"split {seed}, {'with' if with_prompts else 'without'} prompts: done", file=sys.stderr, flush=True)
        name = "with prompts" if with_prompts else "without prompts"
        for people, splits in (("new people", unseen), ("training people", seen)):
            rows = summarise(splits)
            file = arguments.out / f"oasis_{people}_{name}.json".replace(" ", "_")
            file.write_text(json.dumps(rows, indent=1) + "\n")
            report += [f"\n## {people.capitalize()}, new pictures, {name}\n", markdown_table(rows)]
        ours = sorted(entry["posterior"] for entry in times)[len(times) // 2]
        theirs = sorted(entry["token to its best validation"] for entry in times)[len(times) // 2]
        report.append(
            f"\nTraining from the store, median of the splits: posterior {ours:.1f} s, token model up to its best validation score "
            f"{theirs:.1f} s ({theirs / ours:.1f}x)."
        )
    text = "\n".join(report) + "\n"
    (arguments.out / "oasis.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
