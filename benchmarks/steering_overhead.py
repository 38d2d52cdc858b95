"""
What a search costs beside what it must do: the share of a run outside rendering, encoding, proposing and writing pictures.

    python benchmarks/steering_overhead.py --model DIR [--seconds 0.1] [--out benchmarks/results]

Painted scenes stand in for a generator; each picture is made to take at least `--seconds`. `--model` is a trained model with embedded encoders, such as
`OUT/model` of `pamela demo --output OUT`. Times are CPU seconds of the process plus the generator's waiting, so that other work on the machine does not count.
"""

import argparse
import os
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from modeling_pamela import PamelaForPersonalizedScoring, PamelaProcessor, TasteProfile
from modeling_pamela.data.scenes import RATING_SCALE, sample_raters, sample_scenes
from modeling_pamela.rewards.content import ModelContent
from modeling_pamela.rewards.personal import PersonalReward
from modeling_pamela.steering.history import History
from modeling_pamela.steering.modifiers import ModifierProposer
from modeling_pamela.steering.scene_renderer import SceneRenderer
from modeling_pamela.steering.search import SearchSettings, search
from modeling_pamela.steering.simulation import PaintedScenes


class Clock:
    """CPU seconds, and those that functions waited; and what of it was spent in each."""

    def __init__(self) -> None:
        self.waited = 0.0
        self.spent: dict[str, float] = {}
        self.inside = False

    def now(self) -> float:
        return time.process_time() + self.waited

    def timed(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function, its time counted under a name unless a timed function called it."""

        def call(*args: Any, **kwargs: Any) -> Any:
            if self.inside:
                return function(*args, **kwargs)
            self.inside, start = True, self.now()
            try:
                return function(*args, **kwargs)
            finally:
                self.inside = False
                self.spent[name] = self.spent.get(name, 0.0) + self.now() - start

        return call


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--seconds", type=float, default=0.1, help="Of one picture, at least.")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    model = PamelaForPersonalizedScoring.from_pretrained(arguments.model)
    processor = PamelaProcessor.from_config(model.config)
    person, rated = sample_raters(1, 7)[0], PaintedScenes.paint(sample_scenes(15, 7), model)
    ratings = torch.tensor([min(5.0, max(1.0, person.utility(scene))) for scene in rated.scenes])
    profile = TasteProfile.fit(model, ratings, scale=RATING_SCALE, **rated.embeds)
    clock, renderer = Clock(), SceneRenderer()
    reward, content, proposer = PersonalReward(model, processor), ModelContent(model, processor), ModifierProposer()

    def render(prompts: list[str], seeds: list[int]) -> list[Any]:
        pictures = []
        for prompt, seed in zip(prompts, seeds, strict=True):
            start = time.process_time()
            pictures += SceneRenderer.render(renderer, [prompt], [seed])
            clock.waited += max(0.0, arguments.seconds - (time.process_time() - start))
        return pictures

    # A history is forced to disk, which costs waiting, not processor time.
    def fsync(file: int) -> None:
        start = time.perf_counter()
        forced(file)
        clock.waited += time.perf_counter() - start

    forced, os.fsync = os.fsync, fsync
    renderer.render = clock.timed("render", render)  # type: ignore[method-assign]
    reward.embed = clock.timed("encode", reward.embed)  # type: ignore[method-assign]
    content.embed_texts = clock.timed("encode", content.embed_texts)  # type: ignore[method-assign]
    saved = History.save_picture
    History.save_picture = clock.timed("write pictures", saved)  # type: ignore[method-assign]
    with TemporaryDirectory() as folder:
        start = clock.now()
        result = search(
            "a castle on a hill",
            reward=reward,
            proposer=proposer,
            renderer=renderer,
            person=profile,
            content=content,
            settings=SearchSettings(),
            folder=Path(folder) / "run",
        )
        total = clock.now() - start
    rest = total - sum(clock.spent.values())
    rows = [*clock.spent.items(), ("all the rest: proposer, scores, guards, history", rest), ("all", total)]
    pictures = len([candidate for candidate in result.history if candidate.score is not None])
    lines = [
        "# Overhead of a search",
        f"\n{pictures} pictures of at least {arguments.seconds:g} s each (painted scenes stand in for a generator), one thread, CPU time.\n",
        "| part | seconds | share |",
        "|---|---|---|",
        *(f"| {name} | {seconds:.2f} | {seconds / total:.1%} |" for name, seconds in rows),
        f"\n{1000 * rest / pictures:.1f} ms a picture beside what must be done.",
    ]
    text = "\n".join(lines) + "\n"
    arguments.out.mkdir(parents=True, exist_ok=True)
    (arguments.out / "steering_overhead.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
