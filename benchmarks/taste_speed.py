"""
How fast tastes are updated and searched: one rating more, and the best of a million people or of 100,000 pictures.

    python benchmarks/taste_speed.py [--people 1000000] [--pictures 100000] [--work DIR]

Searches are measured against a bare loop over blocks of the same memory: widen, multiply, top-k. Both run in turn, so that
whatever else the machine does falls on both. The store (2 bytes a feature and person) is written under `--work` and removed. Everything
is generated.
"""

import argparse
import multiprocessing
import platform
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from modeling_pamela import PamelaForPersonalizedScoring, TasteProfile
from modeling_pamela.gaussian_taste import TastePosterior
from modeling_pamela.taste.store import TasteStore
from modeling_pamela.training.recipes import RECIPES


N = 20
BLOCK = 4_096


def seconds(function: Callable[[], object]) -> float:
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def bare(table: Tensor, vector: Tensor) -> tuple[Tensor, Tensor]:
    """The n highest of `table @ vector`, in blocks."""
    values, rows = [], []
    for start in range(0, len(table), BLOCK):
        block = (table[start : start + BLOCK].float() @ vector).topk(min(N, len(table) - start))
        values.append(block.values)
        rows.append(block.indices + start)
    best = torch.cat(values).topk(N)
    return best.values, torch.cat(rows)[best.indices]


def race(name: str, ours: Callable[[], object], other: Callable[[], object], repeats: int = 7) -> None:
    ours()
    other()
    times = [(seconds(ours), seconds(other)) for _ in range(repeats)]
    mine, theirs = (statistics.median(column) for column in zip(*times, strict=True))
    print(f"{name}: {mine * 1e3:.0f} ms, {mine / theirs:.2f}x the bare loop")


def own_mib() -> float:
    """Memory of this process, pages of the mapped file not counted, in MiB."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("RssAnon:")[1].split()[0]) / 1024


def memory_of_scoring(path: Path, num_pictures: int, max_bytes: int) -> float:
    """How much memory scoring everybody takes at most, in MiB; to be run in a new process."""
    store = TasteStore(path)
    pictures = torch.randn(num_pictures, store.width)
    before = highest = own_mib()
    for _ in store.scores(pictures, max_bytes):
        highest = max(highest, own_mib())
    return highest - before


def crowd(model: PamelaForPersonalizedScoring, people: int) -> Iterator[tuple[str, TasteProfile]]:
    """Profiles of five ratings each, whose means are then drawn at random."""
    config = model.config
    like = TasteProfile.fit(
        model, torch.rand(5), image_ids=list("abcde"), image_embeds=torch.randn(5, config.image_embed_dim)
    )
    generator = torch.Generator().manual_seed(0)
    for start in range(0, people, 10_000):
        means = torch.randn(min(10_000, people - start), model.taste_width, generator=generator) * 0.3
        for row, mean in enumerate(means, start):
            yield f"person-{row}", replace(like, posterior=TastePosterior(mean, like.posterior.reduction))


def updates(model: PamelaForPersonalizedScoring) -> None:
    embeds = torch.randn(400, model.config.image_embed_dim)
    ratings = torch.rand(400)
    for k in (5, 15, 50, 100, 200):
        profile = TasteProfile.fit(model, ratings[:k], image_embeds=embeds[:k])
        times = []
        for i in range(k, k + 30):
            start = time.process_time()
            profile.update(model, ratings[i : i + 1], image_embeds=embeds[i : i + 1])
            times.append(time.process_time() - start)
        print(f"update with one rating, encoded, after {k}: {statistics.median(times) * 1e3:.2f} ms of processor time")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--people", type=int, default=1_000_000)
    parser.add_argument("--pictures", type=int, default=100_000)
    parser.add_argument("--work", type=Path, default=Path(tempfile.gettempdir()))
    arguments = parser.parse_args()
    torch.manual_seed(0)
    model = PamelaForPersonalizedScoring(RECIPES["posterior"].config(num_landmarks=382)).eval()
    # As fitted on OASIS: people differ in noise, and ratings out of line count less.
    model.posterior_taste.noise_model.copy_(torch.tensor([0.18, 0.3, 0.2, 0.06]))
    width = model.taste_width
    print(f"{platform.machine()}, {torch.get_num_threads()} threads, torch {torch.__version__}, W = {width}")
    updates(model)
    with tempfile.TemporaryDirectory(dir=arguments.work) as folder:
        path = Path(folder) / "people.safetensors"
        taken = seconds(lambda: TasteStore.create(path, crowd(model, arguments.people)))
        size = path.stat().st_size
        print(f"store of {arguments.people:,} people: {size / 2**20:.0f} MiB, written in {taken:.0f} s")
        opened = seconds(lambda: TasteStore(path, model))
        store = TasteStore(path, model)
        print(f"opened in {opened * 1e3:.1f} ms")
        picture = torch.randn(width)
        found, expected = store.top_people(picture, N), bare(store.means, picture)
        assert found.user_ids == [store.user_id(row) for row in expected[1].tolist()]
        race(
            f"top {N} of {arguments.people:,} people for a picture",
            lambda: store.top_people(picture, N),
            lambda: bare(store.means, picture),
        )
        pictures = torch.randn(arguments.pictures, width).half()
        mean = store.means[7].float()
        race(
            f"top {N} of {arguments.pictures:,} pictures (half precision) for a person",
            lambda: store.top_pictures("person-7", pictures, N),
            lambda: bare(pictures, mean),
        )
        for limit in (2**23, 2**26):
            with multiprocessing.get_context("spawn").Pool(1) as pool:
                taken = pool.apply(memory_of_scoring, (path, 2000, limit))
            print(f"scores of 2,000 pictures for everybody within {limit / 2**20:.0f} MiB: at most {taken:.1f} MiB")


if __name__ == "__main__":
    main()
