"""
Personal best-of-n: n pictures of one prompt, and the one that a person will like best.

    python examples/best_of_n.py "a castle on a hill" [-n 16] [--profile PROFILE] [--diffusers black-forest-labs/FLUX.2-dev] [--out best.png]

By default painted scenes stand in for a generator and a simulated person for the profile, so that it runs anywhere; `--diffusers`
takes any text-to-image pipeline, `--profile` a taste that `pamela rate` or `pamela profile fit` saved.
"""

import argparse
from pathlib import Path

import numpy as np
import torch
from transformers import AutoModel, AutoProcessor

from modeling_pamela import TasteProfile, checkpoint
from modeling_pamela.data.scenes import SimulatedRater, sample_scenes
from modeling_pamela.rewards.personal import PersonalReward
from modeling_pamela.steering.base import Renderer
from modeling_pamela.steering.scene_renderer import SceneRenderer


def simulated_profile(reward: PersonalReward) -> TasteProfile:
    """Somebody who likes photographs and paintings, known from 15 ratings of painted scenes."""
    person = SimulatedRater.preferring("sim", {"style": {"photograph": 1.2, "oil painting": 1.2, "pixel art": -1.2}})
    scenes = sample_scenes(15, seed=0)
    ratings = torch.from_numpy(person.rate(scenes, np.random.default_rng(0)))
    embeds = reward.embed([scene.render((384, 288)) for scene in scenes])
    return TasteProfile.fit(reward.model, ratings, scale=(1, 5), **embeds)


def make_renderer(pipeline: str | None) -> Renderer:
    if pipeline is None:
        return SceneRenderer()
    from diffusers import AutoPipelineForText2Image

    from modeling_pamela.steering.diffusers_renderer import DiffusersRenderer

    device = "cuda" if torch.cuda.is_available() else "cpu"
    return DiffusersRenderer(AutoPipelineForText2Image.from_pretrained(pipeline, dtype=torch.bfloat16).to(device))


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("prompt")
    parser.add_argument("-n", type=int, default=16, help="pictures")
    parser.add_argument("--profile", type=Path)
    parser.add_argument("--model", default=checkpoint("pamela-small"))
    parser.add_argument("--diffusers", metavar="PIPELINE", help="a text-to-image pipeline: a folder or a Hub repo")
    parser.add_argument("--out", type=Path, default=Path("best.png"))
    options = parser.parse_args(arguments)

    model, processor = AutoModel.from_pretrained(options.model), AutoProcessor.from_pretrained(options.model)
    reward = PersonalReward(model, processor)
    if options.profile is None:
        print("Simulated: the taste of a person who does not exist.")
        person = simulated_profile(reward)
    else:
        person = TasteProfile.from_pretrained(options.profile)

    rendered = make_renderer(options.diffusers).render([options.prompt] * options.n, list(range(options.n)))
    pictures = {
        seed: picture for seed, picture in enumerate(rendered) if picture is not None
    }  # a safety filter may hold some back
    if not pictures:
        raise SystemExit("The generator held back every picture.")
    scores = reward(list(pictures.values()), people=person)

    order = scores.mean.argsort(descending=True).tolist()
    seeds = list(pictures)
    for place in order:
        print(f"{scores.mean[place]:.3f} ± {scores.std[place]:.3f}  seed {seeds[place]}")
    print(f"The best is {scores.mean[order[0]] - scores.mean.mean():.3f} above the mean of all {len(order)}.")
    pictures[seeds[order[0]]].save(options.out)
    print(f"Wrote {options.out}")


if __name__ == "__main__":
    main()
