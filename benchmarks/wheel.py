"""
The first five minutes, from the wheel: built, installed into an empty virtual environment, and run in an empty folder without a network.

    python benchmarks/wheel.py [--pictures 40] [--out benchmarks/results]

Prints the size of the wheel, and the time of `pamela rank` with a 15-rating profile until it has ranked a folder, in seconds of one core and
by the clock. Installing takes a network, a few minutes and some gigabytes of disk for torch: the wheel's own requirements with the extra `embedded`, at the
versions of constraints.txt.
"""

import argparse
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
import venv
from pathlib import Path

from modeling_pamela.data.painting import sample_scenes


ROOT = Path(__file__).parents[1]
RATINGS = (7, 1, 4, 5, 2, 6, 3, 3, 5, 7, 1, 4, 6, 2, 5)


def install(place: Path) -> tuple[Path, int]:
    """The Python of a new environment with the wheel in it, and the bytes of the wheel."""
    subprocess.run([sys.executable, "-m", "pip", "wheel", "-q", str(ROOT), "--no-deps", "-w", str(place)], check=True)
    (wheel,) = place.glob("*.whl")
    venv.create(place / "venv", with_pip=True)
    python = place / "venv" / "bin" / "python"
    pinned = ("--constraint", str(ROOT / "constraints.txt"))
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    for what in ("torch", f"{wheel}[embedded]"):
        subprocess.run([python, "-m", "pip", "install", "-q", *pinned, what], check=True, env=environment)
    return python, wheel.stat().st_size


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=int, default=40)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        place = Path(temporary)
        python, size = install(place)
        work = place / "empty"
        (work / "photos").mkdir(parents=True)
        for number, scene in enumerate(sample_scenes(arguments.pictures, seed=0)):
            scene.render((384, 288)).save(work / "photos" / f"{number:03}.png")
        rows = [f"{number:03}.png,{rating}" for number, rating in enumerate(RATINGS)]
        (work / "ratings.csv").write_text("\n".join(["file,rating", *rows]) + "\n")
        (work / "one").mkdir()
        shutil.copy(work / "photos" / "020.png", work / "one")
        environment = {"PATH": os.environ["PATH"], "HOME": str(work), "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}

        def run(*command: str) -> tuple[float, float]:
            """Seconds of one core and by the clock."""
            start, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
            subprocess.run(
                [python, "-m", "modeling_pamela.cli", *command],
                cwd=work,
                env=environment,
                check=True,
                capture_output=True,
            )
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
            return used, time.perf_counter() - start

        model = ("--model", "pamela-small")
        times = {
            "`pamela --help`": run("--help"),
            "`pamela profile fit`, 15 ratings, first run ever": run(
                "profile", "fit", "photos", "ratings.csv", *model, "--scale", "1", "7", "--out", "me"
            ),
            "`pamela rank` to the score of one picture (cold start)": run("rank", "one", *model, "--profile", "me"),
            f"`pamela rank`, {arguments.pictures} pictures": run("rank", "photos", *model, "--profile", "me"),
        }
    lines = [
        "# From the wheel",
        f"\nThe wheel is {size / 1e6:.2f} MB. One thread; {os.cpu_count()} cores, load {os.getloadavg()[0]:.0f} at the end (the clock counts what others do).\n",
        "| | seconds of one core | seconds by the clock |",
        "|---|--:|--:|",
        *(f"| {name} | {used:.1f} | {clock:.1f} |" for name, (used, clock) in times.items()),
    ]
    text = "\n".join(lines) + "\n"
    (arguments.out / "wheel.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
