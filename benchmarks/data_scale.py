"""
How fast and in how much memory: importing, checking and reading back a data set of 100,000 and of 1,000,000 ratings.

    python benchmarks/data_scale.py [--pictures 20000] [--ratings 100000 1000000] [--work FOLDER]

The pictures are generated. Each stage runs in a process of its own; rows/s are ratings over its time without starting Python, peak
memory is that of the whole process. Baselines of the same run: pyarrow and pandas reading the same CSV and writing Parquet,
which decode no picture and check nothing; and pyarrow alone reading the same Parquet.
"""

import argparse
import csv
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
from PIL import Image


def generate(folder: Path, num_pictures: int, num_ratings: int, num_users: int = 2000) -> None:
    """Tidy tables of `num_ratings` distinct pairs of a person and a picture, and pictures of 32 x 32 pixels."""
    rng = np.random.default_rng(0)
    (folder / "pictures").mkdir(parents=True)
    for number in range(num_pictures):
        pixels = rng.integers(0, 256, (4, 4, 3), dtype=np.uint8).repeat(8, 0).repeat(8, 1)
        Image.fromarray(pixels).save(folder / "pictures" / f"{number}.png", compress_level=1)
    with open(folder / "images.csv", "w", newline="") as file:
        rows = ((f"p{n}", f"pictures/{n}.png", f"prompt {n}", f"theme {n % 20}") for n in range(num_pictures))
        csv.writer(file).writerows([("image_id", "file", "prompt", "theme"), *rows])
    with open(folder / "users.csv", "w", newline="") as file:
        csv.writer(file).writerows([("user_id", "age"), *((f"u{n}", 18 + n % 60) for n in range(num_users))])
    pairs = rng.choice(num_users * num_pictures, num_ratings, replace=False)
    table = {
        "user_id": np.char.add("u", (pairs // num_pictures).astype(str)),
        "image_id": np.char.add("p", (pairs % num_pictures).astype(str)),
        "rating": rng.integers(0, 101, num_ratings),
    }
    pd.DataFrame(table).to_csv(folder / "ratings.csv", index=False)


def tidy_import(source: Path, out: Path) -> None:
    from modeling_pamela.data.importers.tidy import import_tidy

    import_tidy(source, out, (0, 100))


def validate(_: Path, out: Path) -> None:
    from modeling_pamela.data.validate import validate_folder

    report = validate_folder(out)
    assert not report.violations, report


def pyarrow_csv(source: Path, out: Path) -> None:
    pq.write_table(pa.csv.read_csv(source / "ratings.csv"), out.with_suffix(".pyarrow.parquet"))


def pandas_csv(source: Path, out: Path) -> None:
    pd.read_csv(source / "ratings.csv").to_parquet(out.with_suffix(".pandas.parquet"))


STAGES = {stage.__name__: stage for stage in (tidy_import, validate, pyarrow_csv, pandas_csv)}


def run_stage(name: str, source: Path, out: Path) -> tuple[float, float]:
    """Seconds and peak memory in MiB of a stage, in a process of its own."""
    command = [sys.executable, __file__, "--stage", name, "--work", str(source), "--out", str(out)]
    run = subprocess.run(command, capture_output=True, text=True)
    if run.returncode:
        sys.exit(run.stderr)
    result = json.loads(run.stdout.splitlines()[-1])
    return result["seconds"], result["mib"]


def stage(name: str, source: Path, out: Path) -> None:
    import modeling_pamela.data.importers.tidy
    import modeling_pamela.data.validate  # noqa: F401 (importing is not what is measured)

    start = time.perf_counter()
    STAGES[name](source, out)
    seconds = time.perf_counter() - start
    # Not getrusage: its maximum counts the parent that the process was forked from.
    status = Path("/proc/self/status").read_text()
    mib = int(status.partition("VmHWM:")[2].split()[0]) / 1024
    print(json.dumps({"seconds": seconds, "mib": mib}))


def read_back(out: Path, num_ratings: int) -> None:
    """Warm cache, in turn, so that whatever else the machine does falls on all."""
    from datasets import disable_progress_bars, load_dataset

    from modeling_pamela.data.folder import DataFolder
    from modeling_pamela.data.load import load_pamela

    disable_progress_bars()
    file = out / "ratings" / "train.parquet"

    def stream() -> int:
        batches = load_pamela(out, split="train", streaming=True).with_format("arrow").iter(65_536)
        return sum(len(batch) for batch in batches)

    ways: dict[str, Callable[[], object]] = {
        "pyarrow": lambda: pq.read_table(file),
        "DataFolder.table": lambda: DataFolder(out).table("ratings", "train"),
        "DataFolder.ratings": lambda: DataFolder(out).ratings("train"),
        "load_pamela, streaming": stream,
        "load_pamela, cache filled": lambda: load_pamela(out, split="train").with_format("arrow")[:],
        "load_dataset, cache filled": lambda: load_dataset(str(out), "ratings", split="train").with_format("arrow")[:],
    }
    times: dict[str, list[float]] = {name: [] for name in ways}
    for repeat in range(12):
        for name, way in ways.items():
            start = time.perf_counter()
            way()
            if repeat:
                times[name].append(time.perf_counter() - start)
    plain = statistics.median(times["pyarrow"])
    for name, values in times.items():
        seconds = statistics.median(values)
        print(f"  read: {name:<32}{num_ratings / seconds:>14,.0f} rows/s   {plain / seconds:6.2f} of pyarrow's")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=int, default=20_000)
    parser.add_argument("--ratings", type=int, nargs="+", default=[100_000, 1_000_000])
    parser.add_argument("--work", type=Path, help="Folder for the generated data; by default a temporary one.")
    parser.add_argument("--stage", choices=STAGES, help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.stage:
        return stage(options.stage, options.work, options.out)
    print(
        f"{platform.machine()}, Python {platform.python_version()}, pyarrow {pa.__version__}; {options.pictures:,} pictures"
    )
    with tempfile.TemporaryDirectory(dir=options.work) as work:
        os.environ["HF_DATASETS_CACHE"] = f"{work}/cache"
        for num_ratings in options.ratings:
            source, out = Path(work) / f"source-{num_ratings}", Path(work) / f"data-{num_ratings}"
            generate(source, options.pictures, num_ratings)
            print(f"{num_ratings:,} ratings")
            seconds = {}
            for name in STAGES:
                seconds[name], mib = run_stage(name, source, out)
                ratio = seconds[name] / seconds["pyarrow_csv"] if "pyarrow_csv" in seconds else None
                print(
                    f"  {name:<12}{seconds[name]:>8.2f} s {num_ratings / seconds[name]:>14,.0f} rows/s {mib:>8,.0f} MiB"
                    + (f"   {ratio:.1f}x pyarrow_csv" if ratio and name != "pyarrow_csv" else ""),
                    flush=True,
                )
            both = seconds["tidy_import"] + seconds["validate"]
            ratios = ", ".join(f"{both / seconds[name]:.0f}x {name}" for name in ("pyarrow_csv", "pandas_csv"))
            print(f"  import and validate: {num_ratings / both:,.0f} rows/s; {ratios}")
            read_back(out, num_ratings)
            shutil.rmtree(source)
            shutil.rmtree(out)


if __name__ == "__main__":
    main()
