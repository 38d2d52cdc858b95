"""
How fast: scoring a matrix of people and pictures, and scoring a folder of picture files, each against its bare core.

    python benchmarks/speed.py [--users 100000] [--pictures 1000] [--files 200]

Prints ratios measured in the same run. Needs the embedded encoders; the files are generated scenes.
"""

import argparse
import platform
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch

from modeling_pamela import PamelaForPersonalizedScoring, PamelaProcessor
from modeling_pamela.data.embed import bind_encoders
from modeling_pamela.data.images import find_images, open_image
from modeling_pamela.data.pictures import embed_pictures
from modeling_pamela.data.scenes import sample_scenes
from modeling_pamela.training.recipes import RECIPES


def seconds(function: Callable[[], object], repeats: int) -> float:
    """Median of several runs after one to warm up."""
    function()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def score_matrix(model: PamelaForPersonalizedScoring, num_users: int, num_pictures: int) -> None:
    taste = torch.randn(num_users, model.taste_width)
    features = torch.randn(model.taste_width, num_pictures)
    embeds = torch.randn(num_pictures, model.config.image_embed_dim)
    out = torch.empty(num_users, num_pictures)
    # Alternate, so that whatever else the machine does falls on both.
    bare, ours = [], []
    for _ in range(5):
        bare.append(seconds(lambda: torch.matmul(taste, features, out=out), 1))
        ours.append(seconds(lambda: model.score_matrix(embeds, taste, out=out), 1))
    ratio = statistics.median(ours) / statistics.median(bare)
    print(
        f"score_matrix, {num_users:,} people x {num_pictures:,} pictures, W = {model.taste_width}: "
        f"{statistics.median(ours):.2f} s, {ratio:.3f}x the bare matmul"
    )


def folder_scoring(model: PamelaForPersonalizedScoring, processor: PamelaProcessor, num_files: int) -> None:
    encoder = model.encoder("image")
    with tempfile.TemporaryDirectory() as name:
        for number, scene in enumerate(sample_scenes(num_files, seed=0)):
            scene.render((500, 400)).save(Path(name) / f"{number:04d}.jpg", quality=90)
        files = find_images([name])
        batches = [
            torch.stack([processor(images=open_image(file))["pixel_values"][0] for file in files[start : start + 4]])
            for start in range(0, num_files, 4)
        ]

        def bare() -> None:
            with torch.inference_mode():
                for batch in batches:
                    encoder(pixel_values=batch)

        def end_to_end() -> None:
            embeds = embed_pictures(files, encoder, processor)
            with torch.no_grad():
                model(image_embeds=torch.from_numpy(embeds))

        bare_times, times = [], []
        for _ in range(3):
            bare_times.append(seconds(bare, 1))
            times.append(seconds(end_to_end, 1))
    ratio = statistics.median(bare_times) / statistics.median(times)
    print(
        f"folder of {num_files} JPEG files 500 x 400: {num_files / statistics.median(times):.1f} pictures/s, "
        f"{ratio:.2f}x the bare encoder on tensors in memory"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--users", type=int, default=100_000)
    parser.add_argument("--pictures", type=int, default=1_000)
    parser.add_argument("--files", type=int, default=200)
    arguments = parser.parse_args()
    print(f"{platform.machine()}, {torch.get_num_threads()} threads, torch {torch.__version__}")
    config = RECIPES["posterior"].config(num_landmarks=382)  # as many as the OASIS splits have training pictures
    bind_encoders(config)
    model = PamelaForPersonalizedScoring(config).eval()
    score_matrix(model, arguments.users, arguments.pictures)
    folder_scoring(model, PamelaProcessor.from_config(config), arguments.files)


if __name__ == "__main__":
    main()
