"""
What a reward call costs beside rendering and encoding, which nobody can do without.

    python benchmarks/reward_overhead.py [--model CHECKPOINT] [--out benchmarks/results/reward_overhead.md]

Processor time of calls of the reward function for TRL, by part: rendering (painted scenes, which take a fraction of what a text-to-image
model takes), encoding of pictures and prompts by the model's frozen encoders, the content guard, and everything else: features, scores
and standard deviations of all people, normalisation, checks, the cache. The last two are what is added. Every call is of prompts that
were not rendered before. Without a model one is trained on simulated ratings of scenes, which takes minutes.
"""

import argparse
import platform
import statistics
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from modeling_pamela import TasteProfile
from modeling_pamela.data.scenes import RATING_SCALE, sample_raters, sample_scenes
from modeling_pamela.rewards.personal import PersonalReward
from modeling_pamela.rewards.trl import PamelaReward
from modeling_pamela.steering.scene_renderer import SceneRenderer
from modeling_pamela.steering.simulation import PaintedScenes, train_on_scenes


class Clock:
    """Processor seconds by part; what a part spends inside another is the other's alone."""

    def __init__(self) -> None:
        self.seconds: Counter[str] = Counter()
        self.depth = 0

    def time(self, part: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*args: Any, **kwargs: Any) -> Any:
            start, self.depth = time.process_time(), self.depth + 1
            try:
                return function(*args, **kwargs)
            finally:
                self.depth -= 1
                if self.depth == 0:
                    self.seconds[part] += time.process_time() - start

        return timed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, help="a PAMELA checkpoint")
    parser.add_argument("--people", type=int, default=8)
    parser.add_argument("--ratings", type=int, default=50, help="of each person")
    parser.add_argument("--completions", type=int, default=16, help="a call")
    parser.add_argument("--calls", type=int, default=7)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/reward_overhead.md"))
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        if arguments.model is None:
            train_on_scenes(Path(folder) / "scenes", seed=0)
        reward = PersonalReward.from_pretrained(arguments.model or Path(folder) / "scenes" / "model")
    rated = PaintedScenes.paint(sample_scenes(arguments.ratings, 1), reward.model)
    raters = sample_raters(arguments.people, 1)
    reward.people = {
        rater.user_id: TasteProfile.fit(
            reward.model,
            torch.from_numpy(rater.rate(rated.scenes, np.random.default_rng(1))),
            scale=RATING_SCALE,
            **rated.embeds,
        )
        for rater in raters
    }
    renderer, clock = SceneRenderer(), Clock()
    rate = PamelaReward(reward, renderer, reference=rated.images[:16], min_content=-10.0)
    names = [raters[row % arguments.people].user_id for row in range(arguments.completions)]
    calls = [sample_scenes(arguments.completions, seed) for seed in range(100, 101 + arguments.calls)]

    def call(number: int) -> None:
        texts = [scene.caption for scene in calls[number]]
        rate([scene.subject for scene in calls[number]], texts, user_id=names)

    call(0)  # everybody's level on the reference is learned once
    targets: list[tuple[str, Any, str]] = [
        ("rendering", renderer, "render"),
        ("encoding", reward, "embed"),
        ("content guard", rate.content, "embed_texts"),
    ]
    for part, owner, name in targets:
        setattr(owner, name, clock.time(part, getattr(owner, name)))
    rows: list[dict[str, float]] = []
    for number in range(1, len(calls)):
        clock.seconds.clear()
        start = time.process_time()
        call(number)
        total = time.process_time() - start
        rows.append({**clock.seconds, "the rest": total - sum(clock.seconds.values())})
    parts = {name: statistics.median(row[name] for row in rows) for name in rows[0]}
    shares = [(row["content guard"] + row["the rest"]) / (row["rendering"] + row["encoding"]) for row in rows]
    lines = [
        "# What a reward call adds to rendering and encoding",
        "",
        f"`python benchmarks/reward_overhead.py`: {arguments.calls} calls with {arguments.completions} new completions for {arguments.people} people of "
        f"{arguments.ratings} ratings each; painted scenes of 384 x 288; {reward.model.config.image_encoder}, {reward.model.taste_width} taste features; "
        f"{platform.machine()}, {torch.get_num_threads()} threads, torch {torch.__version__}. Medians of processor time.",
        "",
        "| part | ms a call |",
        "|---|---|",
        *(f"| {name} | {1e3 * value:.1f} |" for name, value in parts.items()),
        "",
        f"Added to rendering and encoding: **{statistics.median(shares):.1%}** (calls: {min(shares):.1%} to {max(shares):.1%}).",
    ]
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text("\n".join(lines) + "\n", encoding="utf-8")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
