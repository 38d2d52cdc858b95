"""
A new community: is LoRA on its ratings worth more than the profiles of its people alone? One category of OASIS photographs is new.

    PAMELA_OASIS_DIR=/path/to/oasis python benchmarks/personal_lora.py [--seeds 0 1] [--categories Animal Scene] [--people 30 420]

For each seed and category the pictures are parted in two data sets with the same 120 test and 60 validation people: home, the other three
categories, and the new one. A perceptron model (`posterior-mlp`) is trained on home. Then the training people's ratings of new pictures
are used in different ways, or not at all, and new people are judged on new pictures of the new category, given k of their ratings of other
pictures in it: so everybody has a profile, whatever was adapted. The default model, in closed form, stands beside it. Learning rates and
epochs are chosen on validation people; test people are only read for the table. Trained models stay in the work folder.
"""

import argparse
import json
import os
import shutil
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from oasis import prepare

from modeling_pamela import PamelaForPersonalizedScoring
from modeling_pamela.data.embed import read_embeddings
from modeling_pamela.data.files import link_tree
from modeling_pamela.data.folder import DataFolder
from modeling_pamela.data.splits import SplitOptions, split_folder
from modeling_pamela.evaluation.bootstrap import bootstrap_mean, paired_difference
from modeling_pamela.evaluation.protocol import Scores, evaluate_scorer, unseen_cases
from modeling_pamela.evaluation.scorers import PosteriorScorer
from modeling_pamela.training.adaptation import start_config
from modeling_pamela.training.recipes import RECIPES
from modeling_pamela.training.trainer import VALIDATION_CONTEXT, train, train_recipe


CATEGORIES = ("Animal", "Object", "Person", "Scene")
CONTEXTS = (0, 5, 15)
LEARNING_RATES = (3e-4, 1e-3)

PROFILE, LORA, ALL_WEIGHTS = "profile alone", "LoRA", "all weights"
CLOSED = "closed form, profile alone"


def restrict(source: Path, target: Path, category: str, is_new: bool, seed: int) -> DataFolder:
    """A split data folder of the ratings of one category, or of all others."""
    if not target.exists():
        whole, unsplit = DataFolder(source), target.with_name(f"{target.name}-unsplit")
        chosen = whole.images.filter(pc.equal(pc.equal(whole.images["category"], category), is_new))["image_id"]
        shutil.rmtree(unsplit, ignore_errors=True)
        link_tree(source, unsplit, skip=frozenset({"ratings"}))
        (unsplit / "ratings").mkdir()
        ratings = whole.table("ratings", "train")
        pq.write_table(
            ratings.filter(pc.is_in(ratings["image_id"], value_set=chosen)), unsplit / "ratings" / "train.parquet"
        )
        # Shares of the pictures, since a category has fewer of them; people are drawn by the same seed from all who rated.
        options = SplitOptions(
            seed, test_users=120, val_users=60, test_pictures=0.35, val_pictures=0.15, group="subset", draws=5
        )
        split_folder(unsplit, options, target)
    return DataFolder(target)


def only_people(folder: DataFolder, number: int, target: Path) -> DataFolder:
    """The same data set with the ratings of so many training people, the first in an order by chance."""
    table = folder.table("ratings", "train")
    users = np.unique(table["user_id"].to_numpy(zero_copy_only=False))
    if number >= len(users):
        return folder
    if not target.exists():
        chosen = np.random.default_rng(0).permutation(users)[:number]
        link_tree(folder.path, target, skip=frozenset({"ratings"}))
        shutil.copytree(folder.path / "ratings", target / "ratings")
        kept = table.filter(pc.is_in(table["user_id"], value_set=pa.array(chosen)))
        pq.write_table(kept, target / "ratings" / "train.parquet")
    return DataFolder(target)


def judge(model: PamelaForPersonalizedScoring, folder: DataFolder, part: str, k: int) -> Scores:
    scorer = PosteriorScorer(model, read_embeddings(folder, model.config))
    return evaluate_scorer(scorer, unseen_cases(folder, f"{part}_unseen"), k)


def train_at_home(folder: DataFolder, recipe: str, directory: Path) -> PamelaForPersonalizedScoring:
    if not (directory / "model.safetensors").exists():
        train_recipe(folder, recipe, directory, device="cpu")
    return PamelaForPersonalizedScoring.from_pretrained(directory).eval()


def adapt(
    base: PamelaForPersonalizedScoring, folder: DataFolder, work: Path, method: str, seed: int
) -> PamelaForPersonalizedScoring:
    """Adapted with the learning rate that validates best."""
    tried = []
    for rate in LEARNING_RATES:
        directory = work / f"{method} {rate}"
        if not (directory / "model.safetensors").exists():
            settings = RECIPES["posterior-mlp"].training(learning_rate=rate, patience=8)
            config, peft = start_config(base, folder), "lora" if method == LORA else None
            train(
                folder, config, directory, seed=seed, device="cpu", resume=True, init_from=base, peft=peft, **settings
            )
        model = PamelaForPersonalizedScoring.from_pretrained(directory).eval()
        tried.append((judge(model, folder, "val", VALIDATION_CONTEXT).srocc.mean(), rate, model))
    return max(tried, key=lambda entry: entry[0])[2]


def methods_of(
    source: Path, work: Path, seed: int, category: str, number: int
) -> tuple[DataFolder, dict[str, PamelaForPersonalizedScoring]]:
    """The new data set, and the models that are judged on it."""
    place = work / f"lora-{seed}-{category}"
    place.mkdir(parents=True, exist_ok=True)
    home = restrict(source, place / "home", category, False, seed)
    new = restrict(source, place / "new", category, True, seed)
    trained_on = only_people(new, number, place / f"new-{number}")
    held_out = np.unique(new.ratings("test_unseen", "test_context").user)
    if np.isin(held_out, home.ratings("train").user).any():
        raise RuntimeError("A test person of the new category is a training person at home.")
    base = train_at_home(home, "posterior-mlp", place / "base")
    found = {PROFILE: base, CLOSED: train_at_home(home, "posterior", place / "closed")}
    for method in (LORA, ALL_WEIGHTS):
        found[method] = adapt(base, trained_on, place / f"adapted-{number}", method, seed)
    return new, found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--categories", nargs="+", choices=CATEGORIES, default=list(CATEGORIES))
    parser.add_argument("--people", type=int, nargs="+", default=[30, 420], help="training people of the new category")
    parser.add_argument("--work", type=Path, default=Path("benchmarks/work"))
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    arguments = parser.parse_args()
    source = os.environ.get("PAMELA_OASIS_DIR")
    if not source:
        sys.exit("Set PAMELA_OASIS_DIR to the folder with users.csv, images.csv, ratings.csv and images/ of OASIS.")
    prepare(Path(source), arguments.work, arguments.seeds[0])
    values: dict[tuple[int, str, int], list[np.ndarray]] = {}
    people: list[np.ndarray] = []
    for seed in arguments.seeds:
        for category in arguments.categories:
            for number in arguments.people:
                new, found = methods_of(arguments.work / "oasis", arguments.work, seed, category, number)
                for method, model in found.items():
                    for k in CONTEXTS:
                        scores = judge(model, new, "test", k)
                        values.setdefault((number, method, k), []).append(scores.srocc)
                print(f"split {seed}, {category}, {number} people: done", file=sys.stderr, flush=True)
            people.append(scores.users)
    ids = np.concatenate(people)
    lines = [
        f"# A new community: one category is new, splits {arguments.seeds}, {', '.join(arguments.categories)}",
        "",
        "User SROCC of test people on new pictures of the new category, people of all splits and categories together; intervals redraw people.",
        "",
        "| training people of the category | method | k | user SROCC [95 %] | gain on the profile alone [95 %] |",
        "|---|---|---|---|---|",
    ]
    rows = []
    for (number, method, k), parts in values.items():
        flat, start = np.concatenate(parts), np.concatenate(values[number, PROFILE, k])
        mean, gain = bootstrap_mean(flat, ids), paired_difference(flat, start, ids)
        shown = "" if method == PROFILE else f"{gain.mean:+.4f} [{gain.low:+.4f}, {gain.high:+.4f}]"
        lines.append(f"| {number} | {method} | {k} | {mean.mean:.4f} [{mean.low:.4f}, {mean.high:.4f}] | {shown} |")
        rows.append(
            {
                "people": number,
                "method": method,
                "k": k,
                "srocc": mean.mean,
                "by_cell": [float(part.mean()) for part in parts],
            }
        )
    text = "\n".join(lines) + "\n"
    arguments.out.mkdir(parents=True, exist_ok=True)
    (arguments.out / "personal_lora.md").write_text(text)
    (arguments.out / "personal_lora.json").write_text(json.dumps(rows, indent=1) + "\n")
    print(text)


if __name__ == "__main__":
    main()
