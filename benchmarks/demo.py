"""
What 15 ratings teach of the two simulated people of `pamela demo`, over many draws of pictures and ratings.

    python benchmarks/demo.py [--model pamela-small] [--seeds 10] [--out benchmarks/results]

Every seed is one run of the demo, as its page shows it; no seed is left out. Seed 0 is what `pamela demo` shows by default.
"""

import argparse
from pathlib import Path

import numpy as np
from tqdm.auto import tqdm

from modeling_pamela.cli.checkpoint import load_checkpoint, load_processor
from modeling_pamela.demo import Demo, demo_of_two


STEPS = (0, 5, 10, 15)


def pairwise(demo: Demo) -> np.ndarray:
    """`(2, k + 1)`: share of the pairs on which A and B truly disagree that are in each person's right order."""
    shares = []
    for person in demo.people:
        truth, scores = person.truth[person.unrated], person.mean[:, person.unrated]
        first, second = np.nonzero(truth[:, None] > truth[None, :])
        shares.append((scores[:, first] > scores[:, second]).mean(1))
    return np.array(shares)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="pamela-small")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    options = parser.parse_args()
    model, processor = load_checkpoint(options.model), load_processor(options.model)
    correlations, pairs = [], []
    for seed in tqdm(range(options.seeds), "runs of the demo"):
        demo = demo_of_two(model, processor, seed, echo=lambda line: None)
        correlations.append([person.srocc for person in demo.people])
        pairs.append(pairwise(demo))
    tables = {"Spearman correlation with the true opinion": correlations, "pairs in the right order": pairs}
    lines = [
        "# What 15 ratings teach in `pamela demo`",
        "",
        f"`python benchmarks/demo.py --model {options.model} --seeds {options.seeds}`. Two simulated people of opposite taste, 60 painted "
        "scenes, 15 rated, the other 45 judged. Mean over the seeds ± standard error; the default seed 0 by itself.",
        "",
        "| | person | " + " | ".join(f"k = {step}" for step in STEPS) + " | better than at k = 0 |",
        "|---|---|" + "---|" * (len(STEPS) + 1),
    ]
    for name, values in tables.items():
        table = np.array(values)  # (seeds, people, k + 1)
        for person, letter in enumerate("AB"):
            mean = table[:, person].mean(0)
            error = table[:, person].std(0, ddof=1) / options.seeds**0.5
            cells = " | ".join(f"{mean[step]:+.2f} ± {error[step]:.2f}" for step in STEPS)
            better = (table[:, person, -1] > table[:, person, 0]).sum()
            lines.append(f"| {name} | {letter} | {cells} | {better} of {options.seeds} seeds |")
            cells = " | ".join(f"{table[0, person, step]:+.2f}" for step in STEPS)
            lines.append(f"| … seed 0 | {letter} | {cells} | |")
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "demo.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
