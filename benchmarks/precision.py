"""
Half precision and compilation: how fast, how much memory, and how far from the scores in float32.

    python benchmarks/precision.py [--pictures 64] [--batch-size 8] [--checkpoint FOLDER] [--encoder NAME]
    python benchmarks/precision.py --siglip2-so400m [--batch-size 64] [--users 1000000] [--matrix-pictures 10000]

The first form runs an encoder and the heads of three recipes in every precision, each in a process of its own, over generated
scenes; speed is a ratio to float32 in the same run. Without `--checkpoint` the heads are random over fitted inputs. The second
form builds the architecture of SigLIP2-so400m at 384 px with random weights in bfloat16 and measures pictures/s and its share of the
machine's bfloat16 matrix rate, which is measured first; then steps of posterior training, and a matrix of scores in chunks. Both run on
a GPU where there is one, unchanged.
"""

import argparse
import json
import platform
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import torch
from transformers import AutoModel, SiglipConfig, SiglipModel
from transformers.modeling_outputs import BaseModelOutputWithPooling

from modeling_pamela import PamelaForPersonalizedScoring
from modeling_pamela.data.scenes import sample_scenes
from modeling_pamela.encoders_pamela import load_image_encoder
from modeling_pamela.training.recipes import RECIPES


MODES = ("float32", "bfloat16", "float16", "float32 compiled", "bfloat16 compiled")
SO400M = {"hidden_size": 1152, "intermediate_size": 4304, "num_hidden_layers": 27, "num_attention_heads": 16}


def default_device() -> str:
    return "cuda" if torch.cuda.is_available() else "cpu"


def machine(device: str) -> str:
    name = (
        torch.cuda.get_device_name()
        if device == "cuda"
        else f"{platform.machine()}, {torch.get_num_threads()} threads"
    )
    return f"{name}, torch {torch.__version__}"


def seconds(function: Callable[[], object], device: str, repeats: int = 5) -> float:
    """Median time of a call after two to warm up (and compile)."""

    def timed() -> float:
        start = time.perf_counter()
        function()
        if device == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter() - start

    return statistics.median([timed() for _ in range(repeats + 2)][2:])


def peak_megabytes(device: str) -> float:
    """Of this process since it started."""
    if device == "cuda":
        return torch.cuda.max_memory_allocated() / 2**20
    # Kilobytes on Linux, bytes on macOS.
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)


# Every precision of an encoder and of heads --------------------------------------------------------------------------


def make_heads(options: argparse.Namespace, embeds: torch.Tensor) -> dict[str, PamelaForPersonalizedScoring]:
    if options.checkpoint:
        return {"checkpoint": AutoModel.from_pretrained(options.checkpoint)}
    heads = {}
    for name in ("posterior", "posterior-mlp", "paper"):
        torch.manual_seed(0)
        config = RECIPES[name].config(
            image_embed_dim=embeds.shape[1], num_users=10, num_landmarks=len(embeds), initializer_range=0.1
        )
        heads[name] = PamelaForPersonalizedScoring(config)
        heads[name].fit_inputs(0.5, image=embeds)
    return heads


def measure_mode(options: argparse.Namespace) -> None:
    """Print, as JSON, speeds, peak memory and scores in one precision. Runs in a process of its own."""
    device, (dtype_name, *compiled) = options.device, options.mode.split()
    dtype = getattr(torch, dtype_name)
    encoder = load_image_encoder(options.encoder)
    pictures = [scene.render((400, 300)) for scene in sample_scenes(options.pictures, seed=0)]
    inputs = encoder.image_processor(pictures, return_tensors="pt").to(device)
    encoder.to(device)

    def encode(precision: torch.dtype) -> torch.Tensor:
        with torch.inference_mode():
            batches = [
                {name: rows[start : start + options.batch_size] for name, rows in inputs.items()}
                for start in range(0, options.pictures, options.batch_size)
            ]
            return torch.cat(
                [
                    encoder(**{**batch, "pixel_values": batch["pixel_values"].to(precision)}).float()
                    for batch in batches
                ]
            )

    exact = encode(torch.float32).clone()
    heads = make_heads(options, exact.cpu())
    encoder.to(dtype)
    if compiled:
        encoder.compile()
    results: dict[str, Any] = {"encoder": options.pictures / seconds(lambda: encode(dtype), device, options.repeats)}
    embeds = encode(dtype).clone()
    many = embeds.repeat(-(-2048 // len(embeds)), 1)
    for name, head in heads.items():
        head.eval().to(device, dtype)
        if compiled:
            head.pamela.compile(fullgraph=True)
        with torch.no_grad():
            taken = seconds(lambda head=head: head(image_embeds=many), device, options.repeats)
            results[name] = len(many) / taken
            results[f"{name} network"] = head(image_embeds=exact).scores.tolist()
            results[f"{name} scores"] = head(image_embeds=embeds).scores.tolist()
    print(json.dumps({**results, "memory": peak_megabytes(device)}))


def spearman(first: torch.Tensor, second: torch.Tensor) -> float:
    ranks = torch.stack([values.argsort().argsort().double() for values in (first, second)])
    return float(torch.corrcoef(ranks)[0, 1])


def compare_modes(options: argparse.Namespace) -> None:
    results = {}
    for mode in options.modes:
        command = [sys.executable, __file__, *sys.argv[1:], "--mode", mode]
        run = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        results[mode] = json.loads(run.stdout.strip().splitlines()[-1])
    reference = results["float32"]
    heads = [name.removesuffix(" scores") for name in reference if name.endswith(" scores")]
    print(
        f"{options.encoder}; float32: {reference['encoder']:.1f} pictures/s, "
        + ", ".join(f"{name} {reference[name]:,.0f}/s" for name in heads)
    )
    titles = [f"{name}: speed; error of the network, with the encoder; Spearman" for name in heads]
    print("| " + " | ".join(["", "encoder speed", "peak MB", *titles]) + " |\n|" + "---|" * (3 + len(heads)))
    for mode, found in results.items():
        cells = [mode, f"{found['encoder'] / reference['encoder']:.2f}x", f"{found['memory']:.0f}"]
        for name in heads:
            exact, network, scores = (
                torch.tensor(values)
                for values in (reference[f"{name} scores"], found[f"{name} network"], found[f"{name} scores"])
            )
            errors = [f"{(values - exact).abs().max() / exact.std():.4f}" for values in (network, scores)]
            speed = found[name] / reference[name]
            cells.append(f"{speed:.2f}x; {', '.join(errors)}; {spearman(scores, exact):.4f}")
        print("| " + " | ".join(cells) + " |", flush=True)
    print("Errors are the largest of all pictures, in standard deviations of the scores.")


# The size of the real thing ------------------------------------------------------------------------------------------


def matrix_rate(device: str, dtype: torch.dtype, size: int) -> float:
    """Measured floating-point operations a second of a square matrix product."""
    first, second = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))
    return 2 * size**3 / seconds(lambda: first @ second, device)


def measure_so400m(options: argparse.Namespace) -> None:
    device, dtype = options.device, torch.bfloat16
    rate = matrix_rate(device, dtype, 8192 if device == "cuda" else 2048)
    print(f"bfloat16 matrix product: {rate / 1e12:.2f} TFLOP/s")
    layers = {"num_hidden_layers": options.layers}
    config = SiglipConfig(
        vision_config={**SO400M, **layers, "image_size": 384, "patch_size": 14},
        # Pictures alone are encoded; the text tower is left small.
        text_config={**SO400M, "num_hidden_layers": 1, "vocab_size": 1000, "projection_size": 1152},
    )
    config.dtype = dtype
    with torch.device(device):
        model: Any = SiglipModel(config).to(dtype).eval()
    pixel_values = torch.randn(options.batch_size, 3, 384, 384, device=device, dtype=dtype)

    @torch.inference_mode()
    def encode(pixels: torch.Tensor = pixel_values) -> torch.Tensor:
        output: BaseModelOutputWithPooling = model.get_image_features(pixel_values=pixels)
        return output.pooler_output

    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter:
        encode(pixel_values[:1])
    operations = counter.get_total_flops()
    for is_compiled in (False, True):
        if is_compiled:
            model.vision_model.compile()
        speed = options.batch_size / seconds(encode, device, options.repeats)
        print(
            f"SigLIP2-so400m, {options.layers} layers, 384 px, batches of {options.batch_size}, {'compiled' if is_compiled else 'eager'}: "
            f"{speed:.1f} pictures/s, {operations / 1e9:.0f} GFLOP a picture, {speed * operations / rate:.1%} of the matrix rate, "
            f"peak {peak_megabytes(device):,.0f} MB",
            flush=True,
        )


def measure_training(options: argparse.Namespace) -> None:
    """Steps of the recipe `posterior-mlp`: 32 people with 100 ratings each over 3,200 pictures of SigLIP2's width."""
    device, people, ratings = options.device, 32, 100
    for precision in ("float32", "bfloat16 autocast"):
        torch.manual_seed(0)
        config = RECIPES["posterior-mlp"].config(image_embed_dim=1152, text_embed_dim=1152, profile_embed_dim=4096)
        model = PamelaForPersonalizedScoring(config)
        embeds = torch.randn(people * ratings, 1152)
        model.fit_inputs(0.5, image=embeds, text=embeds)
        model = model.to(device).train()
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
        inputs = {
            "image_embeds": embeds.to(device),
            "text_embeds": embeds.to(device),
            "demographics_embeds": torch.randn(people, 4096, device=device),
            "picture_index": torch.arange(people * ratings, device=device),
            "user_index": torch.arange(people, device=device).repeat_interleave(ratings),
            "labels": torch.rand(people * ratings, device=device),
        }

        def step(
            model: PamelaForPersonalizedScoring = model,
            optimizer: torch.optim.Optimizer = optimizer,
            is_half: bool = precision != "float32",
            inputs: dict[str, torch.Tensor] = inputs,
        ) -> None:
            optimizer.zero_grad()
            with torch.autocast(device, dtype=torch.bfloat16, enabled=is_half):
                loss = model(**inputs).loss
            loss.backward()
            optimizer.step()

        taken = seconds(step, device, options.repeats)
        print(f"posterior-mlp training, {precision}: {people * ratings / taken:,.0f} ratings/s", flush=True)


def measure_score_matrix(options: argparse.Namespace) -> None:
    """Taste features of all pictures, then scores, a chunk of people at a time in one buffer, against the bare products."""
    device = options.device
    config = RECIPES["posterior"].config(image_embed_dim=1152, num_landmarks=1024)
    model = PamelaForPersonalizedScoring(config).to(device).eval()
    embeds = torch.randn(options.matrix_pictures, 1152, device=device)
    chunk = min(options.users, 50_000 if device == "cuda" else 5_000)
    taste = torch.randn(chunk, model.taste_width, device=device)
    features = torch.randn(model.taste_width, options.matrix_pictures, device=device)
    out = torch.empty(chunk, options.matrix_pictures, device=device)
    chunks = -(-options.users // chunk)

    def bare() -> None:
        for _ in range(chunks):
            torch.matmul(taste, features, out=out)

    @torch.no_grad()
    def ours() -> None:
        pictures = model(image_embeds=embeds).taste_features
        for _ in range(chunks):
            torch.matmul(taste, pictures.mT, out=out)

    bare_seconds, taken = seconds(bare, device, 3), seconds(ours, device, 3)
    print(
        f"score matrix, {chunks * chunk:,} people x {options.matrix_pictures:,} pictures, W = {model.taste_width}, float32, {chunks} chunks: "
        f"{taken:.2f} s, {taken / bare_seconds:.2f}x the bare products, peak {peak_megabytes(device):,.0f} MB"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default=default_device())
    parser.add_argument("--encoder", default="embedded:efficientnet-lite2")
    parser.add_argument("--checkpoint", help="score with this model, which must take the encoder's embeddings")
    parser.add_argument("--pictures", type=int, default=64)
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--modes", nargs="+", choices=MODES, default=MODES)
    parser.add_argument("--mode", help=argparse.SUPPRESS)
    parser.add_argument("--siglip2-so400m", action="store_true")
    parser.add_argument("--layers", type=int, default=27, help="fewer, to try it on a small machine")
    parser.add_argument("--users", type=int, default=1_000_000)
    parser.add_argument("--matrix-pictures", type=int, default=10_000)
    options = parser.parse_args()
    if options.mode:
        measure_mode(options)
        return
    print(machine(options.device))
    if options.siglip2_so400m:
        measure_so400m(options)
        measure_training(options)
        measure_score_matrix(options)
    else:
        compare_modes(options)


if __name__ == "__main__":
    main()
