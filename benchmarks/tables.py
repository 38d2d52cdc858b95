"""
Every table and figure of `pamela bench` on OASIS, one after the other, and the time that they take together.

    PAMELA_OASIS_DIR=/path/to/oasis python benchmarks/tables.py [--seed 0] [--work DIR] [--out benchmarks/results/tables]

The data folder is that of one split of `oasis.py`, with its embeddings; a posterior and a token model are trained on it first. Tables that
were made from the same before are read, which takes no time: for a time of all, give an empty `--out`.
"""

import argparse
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from oasis import prepare

from modeling_pamela.cli import bench
from modeling_pamela.training.recipes import RECIPES
from modeling_pamela.training.trainer import train


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=0, help="of the split")
    parser.add_argument("--work", type=Path, default=Path("benchmarks/work"))
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/tables"))
    arguments = parser.parse_args()
    source = os.environ.get("PAMELA_OASIS_DIR")
    if not source:
        sys.exit("Set PAMELA_OASIS_DIR to the folder with users.csv, images.csv, ratings.csv and images/ of OASIS.")
    folder = prepare(Path(source), arguments.work, arguments.seed)
    seconds: dict[str, float] = {}

    def timed(name: str, run: Callable[..., object], *inputs: Any, **options: Any) -> None:
        start = time.perf_counter()
        run(*inputs, **options)
        seconds[name] = time.perf_counter() - start

    models = {name: arguments.out / name for name in ("posterior", "token")}
    for name, directory in models.items():
        if not (directory / "model.safetensors").is_file():
            recipe = RECIPES[name]
            config = recipe.config(rating_scale=list(folder.rating_scale))
            timed(f"training, {name}", train, folder, config, directory, resume=True, **recipe.training())
    given: dict[str, Any] = {"model": models["posterior"], "token_model": models["token"], "out": arguments.out}
    retest = Path(source) / "retest.csv"
    for command in (bench.methods, bench.table2):
        timed(command.__name__, command, folder.path, **given, retest=retest if retest.is_file() else None)
    timed("table3", bench.table3, [folder.path], out=arguments.out)
    for command in (bench.table4, bench.fig11, bench.diverging):
        timed(command.__name__, command, folder.path, **given)
    lines = [f"| {name} | {value:.0f} |" for name, value in [*seconds.items(), ("all", sum(seconds.values()))]]
    print("\n".join(["\n| step | seconds |", "|---|---|", *lines]))


if __name__ == "__main__":
    main()
