"""
Steering towards people whose true taste is known, which the search never sees.

    python benchmarks/steering_known_taste.py --work DIR [--seed 1] [--people 20] [--tune] [--out benchmarks/results]

**A simulation.** Painted scenes stand in for the pictures of a generator, and the people are simulated. A model is trained on the ratings of other
simulated people, as `pamela demo` does it; each person then rates 15 (or 50) scenes, and every prompt is searched for them with the settings of the
paper. What is reported is the true utility of the pictures, in points of the rating scale from 1 to 5, as a mean over prompts; intervals
redraw people. `--tune` compares settings of the guards on people and prompts of other seeds.
"""

import argparse
import json
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from modeling_pamela import PamelaForPersonalizedScoring, PamelaProcessor, TasteProfile
from modeling_pamela.data.files import atomic_write
from modeling_pamela.data.painting import ATTRIBUTES, Scene, sample_scenes
from modeling_pamela.data.prompts import MODIFIERS
from modeling_pamela.data.scenes import RATING_SCALE, SimulatedRater, sample_raters
from modeling_pamela.evaluation.bootstrap import bootstrap_mean, paired_difference
from modeling_pamela.rewards.content import ModelContent
from modeling_pamela.rewards.personal import PersonalReward
from modeling_pamela.steering.base import Candidate
from modeling_pamela.steering.guards import Guards
from modeling_pamela.steering.modifiers import ModifierProposer
from modeling_pamela.steering.scene_renderer import SceneRenderer
from modeling_pamela.steering.search import SearchResult, SearchSettings, search
from modeling_pamela.steering.simulation import PaintedScenes, train_on_scenes


# Each leaves three of the six attributes open, 112 to 168 scenes. The seed of the rendering is the place in the list.
PROMPTS = (
    "a castle on a hill, watercolour, seen from below",
    "a photograph of a lighthouse at eye level",
    "an oil painting of a forest path, rule of thirds",
    "a cottage in the fog, seen from above",
    "hot-air balloons over a valley at noon, vivid colours",
    "a city skyline at night, low angle",
    "a poster of a sailing boat, minimalist",
    "a lone tree in pastel colours, close-up",
    "the pyramids in the desert, black and white, seen from above",
    "a field of flowers in a storm at eye level",
)
TUNING_PROMPTS = (
    "a mountain lake at noon",
    "a still life with fruit and a vase, ink drawing",
    "a castle on a hill, framed by foliage",
)
SETTINGS = SearchSettings(batch_size=20)


class CachedScenes(SceneRenderer):
    """Paints every scene once, and keeps the pictures in a folder."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.folder = folder
        self.painted: dict[Scene, Image.Image] = {}

    def render(self, prompts: Sequence[str], seeds: Sequence[int]) -> list[Image.Image]:
        scenes = [self.scene(prompt, seed) for prompt, seed in zip(prompts, seeds, strict=True)]
        return [self.paint(scene) for scene in scenes]

    def paint(self, scene: Scene) -> Image.Image:
        if scene not in self.painted:
            file = self.folder / f"{scene.seed} {' '.join(scene.attributes.values())}.png"
            if not file.exists():
                with atomic_write(file) as temporary:
                    scene.render(self.size).save(temporary, "PNG")
            image = Image.open(file).convert("RGB")
            image.info["file"] = file
            self.painted[scene] = image
        return self.painted[scene]


class CachedReward(PersonalReward):
    """Encodes every picture of [`CachedScenes`] once, likewise, and every prompt once."""

    def __init__(self, model: PamelaForPersonalizedScoring, processor: PamelaProcessor) -> None:
        super().__init__(model, processor)
        self.pictures: dict[Path, Tensor] = {}
        self.texts: dict[str, Tensor] = {}

    @torch.no_grad()
    def embed(self, images: Sequence[Image.Image], prompts: Sequence[str | None] | None = None) -> dict[str, Tensor]:
        for image in images:
            if image.info["file"] not in self.pictures:
                self.pictures[image.info["file"]] = self.encode(image)
        embeds = {"image_embeds": torch.stack([self.pictures[image.info["file"]] for image in images])}
        texts = [prompt or "" for prompt in prompts or ()]
        unseen = list({text: None for text in texts if text not in self.texts})
        if unseen:
            found = self.model.get_text_embeds(**self.processor.tokenize(unseen))
            self.texts.update(zip(unseen, found, strict=True))
        if texts:
            embeds["text_embeds"] = torch.stack([self.texts[text] for text in texts])
        return embeds

    def encode(self, image: Image.Image) -> Tensor:
        file = image.info["file"].with_suffix(".npy")
        if not file.exists():
            with atomic_write(file) as temporary, open(temporary, "wb") as stream:
                np.save(stream, super().embed([image])["image_embeds"][0].numpy())
        return torch.from_numpy(np.load(file))


@dataclass(frozen=True)
class CarelessProposer:
    """
    Proposals as a careless language model makes them: a third ask for another subject, and a third promise what the picture will not show.

    The rest, and what is learned, are those of `ModifierProposer`. The renderer paints the first of two contradicting words, so that what is said
    after them is a promise to the reward alone.
    """

    inner: ModifierProposer = field(default_factory=ModifierProposer)

    def propose(self, prompt: str, history: Sequence[Candidate], num: int, seed: int) -> list[str]:
        rng = np.random.default_rng([seed, 1])
        subjects = list(ATTRIBUTES["subject"].values())
        at = list(ATTRIBUTES["subject"]).index(Scene.from_prompt(prompt, 0).subject)
        own, other = subjects[at][0], subjects[at - 1][0]
        found = []
        for text in self.inner.propose(prompt, history, num, seed):
            fate = rng.integers(3)
            if fate == 0:
                text = text.replace(own, other)
            elif fate == 1:
                text += "".join(f", {rng.choice(kind.modifiers)}" for kind in MODIFIERS.values())
            found.append(text)
        known = {candidate.prompt for candidate in history}
        return [text for text in dict.fromkeys(found) if text not in known]


@dataclass(frozen=True)
class World:
    """What all searches share."""

    reward: CachedReward
    renderer: CachedScenes
    content: ModelContent
    raters: list[SimulatedRater]
    profiles: dict[int, list[TasteProfile]]  # number of ratings -> a profile each person
    prompts: Sequence[str]

    def search(
        self, prompt: str, person: TasteProfile | None, proposer: object, guards: Guards, seed: int
    ) -> SearchResult:
        return search(
            prompt,
            reward=self.reward,
            person=person,
            proposer=proposer,
            renderer=self.renderer,
            settings=replace(SETTINGS, seed=seed, render_seed=self.prompts.index(prompt)),
            guards=guards,
            content=self.content,
        )

    def steer(
        self, profiles: Iterable[TasteProfile | None], guards: Guards, proposer: object
    ) -> list[list[SearchResult]]:
        """A search for each person and prompt."""
        return [
            [self.search(prompt, profile, proposer, guards, seed) for prompt in self.prompts]
            for seed, profile in enumerate(profiles)
        ]

    def scene(self, candidate: Candidate) -> Scene:
        return self.renderer.scene(candidate.prompt, candidate.seed)

    def utility(self, results: list[list[SearchResult]], shift: int = 0) -> np.ndarray:
        """True utility `(people, prompts)` of the pictures that were found, for the person `shift` places further on."""
        return np.array(
            [
                [
                    self.raters[(row + shift) % len(self.raters)].utility(self.scene(result.kept[0]))
                    for result in of_person
                ]
                for row, of_person in enumerate(results)
            ]
        )

    def for_others(self, results: list[list[SearchResult]]) -> np.ndarray:
        """Mean true utility `(people, prompts)` for a person of what was found for each of the others."""
        shifted = [np.roll(self.utility(results, shift), shift, axis=0) for shift in range(1, len(self.raters))]
        return np.mean(shifted, axis=0)

    def initial(self) -> np.ndarray:
        scenes = [self.renderer.scene(prompt, seed) for seed, prompt in enumerate(self.prompts)]
        return np.array([[rater.utility(scene) for scene in scenes] for rater in self.raters])

    def best_possible(self) -> np.ndarray:
        """The highest utility among scenes that keep all that the prompt says."""
        best = []
        for seed, prompt in enumerate(self.prompts):
            free = [
                name
                for name in ATTRIBUTES
                if len({getattr(self.renderer.scene(prompt, s), name) for s in range(60)}) > 1
            ]
            scenes = [self.renderer.scene(prompt, seed)]
            for name in free:
                scenes = [replace(scene, **{name: value}) for scene in scenes for value in ATTRIBUTES[name]]
            best.append([max(rater.utility(scene) for scene in scenes) for rater in self.raters])
        return np.array(best).T

    def kept(self, results: list[list[SearchResult]]) -> np.ndarray:
        """Whether the subject is the one asked for, `(people, prompts)`."""
        return np.array(
            [
                [self.scene(r.kept[0]).subject == self.scene(r.history[0]).subject for r in of_person]
                for of_person in results
            ]
        )


def make_world(
    model: PamelaForPersonalizedScoring,
    folder: Path,
    seed: int,
    people: int,
    sizes: Sequence[int],
    prompts: Sequence[str],
) -> World:
    """Simulated people who did not train the model, and what it learned of them."""
    processor = PamelaProcessor.from_config(model.config)
    raters = sample_raters(people, 1000 + seed)
    pictures = PaintedScenes.paint(sample_scenes(max(sizes), 1000 + seed), model)
    profiles: dict[int, list[TasteProfile]] = {size: [] for size in sizes}
    for row, rater in enumerate(raters):
        ratings = torch.from_numpy(rater.rate(pictures.scenes, np.random.default_rng([seed, row])))
        for size in sizes:
            embeds = {name: values[:size] for name, values in pictures.embeds.items()}
            profiles[size].append(TasteProfile.fit(model, ratings[:size], scale=RATING_SCALE, **embeds))
    content = ModelContent(model, processor)
    return World(CachedReward(model, processor), CachedScenes(folder), content, raters, profiles, prompts)


def tune(world: World) -> None:
    """The share of the possible gain that settings of the guards reach, with a careful and a careless proposer."""
    initial, best = world.initial(), world.best_possible()
    print("| guards | careful: gain | content | careless: gain | content |\n" + "|---" * 5 + "|")
    base = Guards()
    variants = {"none": Guards.off(), "default": base}
    variants |= {f"beta {beta:g}": replace(base, beta=beta) for beta in (0, 1, 2, 5)}
    variants |= {f"population {loss}": replace(base, max_population_loss=loss) for loss in (0.1, 0.0)}
    variants |= {f"reward told the {told} prompt": replace(base, scored_prompt=told) for told in ("base", "none")}
    for name, guards in variants.items():
        cells = []
        for proposer in (ModifierProposer(), CarelessProposer()):
            results = world.steer(world.profiles[15], guards, proposer)
            utility = world.utility(results)
            cells += [f"{(utility - initial).mean():.3f}", f"{world.kept(results).mean():.3f}"]
        print(f"| {name} | {' | '.join(cells)} |", flush=True)
    print(f"possible gain: {(best - initial).mean():.3f}; scenes painted: {len(world.renderer.painted)}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--work", type=Path, default=Path("benchmarks/work"), help="Gets the simulated data and the model."
    )
    parser.add_argument("--seed", type=int, default=1, help="Of the people and what they rate.")
    parser.add_argument("--people", type=int, default=20)
    parser.add_argument(
        "--tune", action="store_true", help="Compare settings, on other people and prompts, and nothing else."
    )
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    start = time.monotonic()
    folder = arguments.work / "scenes"
    model = train_on_scenes(folder, seed=0)
    if arguments.tune:
        tune(
            make_world(
                model, arguments.work / "pictures", arguments.seed + 500, arguments.people, (15,), TUNING_PROMPTS
            )
        )
        return
    world = make_world(model, arguments.work / "pictures", arguments.seed, arguments.people, (15, 50), PROMPTS)
    text, facts = report(world)
    text += f"\n{time.monotonic() - start:.0f} s on one thread, {len(world.renderer.painted)} scenes painted.\n"
    arguments.out.mkdir(parents=True, exist_ok=True)
    (arguments.out / "steering_known_taste.md").write_text(text)
    (arguments.out / "steering_known_taste.json").write_text(json.dumps(facts, indent=1) + "\n")
    print(text)


def report(world: World) -> tuple[str, dict[str, object]]:
    """All searches; a table of what they found, and one of paired differences."""
    guarded, people = Guards(), len(world.raters)
    careful, careless = ModifierProposer(), CarelessProposer()
    start = time.monotonic()

    def steer(profiles: Iterable[TasteProfile | None], guards: Guards, proposer: object) -> list[list[SearchResult]]:
        results = world.steer(profiles, guards, proposer)
        print(f"{time.monotonic() - start:.0f} s, {len(world.renderer.painted)} scenes", flush=True)
        return results

    own, own_50 = (steer(world.profiles[size], guarded, careful) for size in (15, 50))
    blind = steer([None], guarded, careful) * people
    free = steer(world.profiles[15], Guards.off(), careful)
    tempted, fallen = (steer(world.profiles[15], guards, careless) for guards in (guarded, Guards.off()))
    initial = world.initial()
    utility = {
        "the prompt as it was": initial,
        "searched for nobody in particular": world.utility(blind),
        "searched for another person (mean of the others)": world.for_others(own),
        "searched for the person, 15 ratings": world.utility(own),
        "searched for the person, 50 ratings": world.utility(own_50),
        "15 ratings, guards off": world.utility(free),
        "15 ratings, careless proposals": world.utility(tempted),
        "15 ratings, careless proposals, guards off": world.utility(fallen),
        "the same, a picture of another subject counted as no gain": np.where(
            world.kept(fallen), world.utility(fallen), initial
        ),
        "the best there is": world.best_possible(),
    }
    searched = {
        "searched for nobody in particular": blind,
        "searched for the person, 15 ratings": own,
        "searched for the person, 50 ratings": own_50,
        "15 ratings, guards off": free,
        "15 ratings, careless proposals": tempted,
        "15 ratings, careless proposals, guards off": fallen,
    }
    kept = {name: float(world.kept(results).mean()) for name, results in searched.items()}
    owners = np.repeat(np.arange(people), len(world.prompts))
    facts: dict[str, object] = {"utility": {}, "content kept": kept, "differences": {}}
    lines = [
        "# Steering towards people of known taste",
        f"\n**A simulation: painted scenes stand in for a generator's pictures, and the {people} people are simulated.** True utility of the pictures, in points of "
        f"the scale from 1 to 5, which the search never sees; {len(world.prompts)} prompts a person, {SETTINGS.num_candidates} proposals a round, "
        f"at most {SETTINGS.max_rounds} rounds. Intervals (95 %) redraw people.\n",
        "| picture | true utility | content kept |",
        "|---|---|---|",
    ]
    for name, values in utility.items():
        interval = bootstrap_mean(values.ravel(), owners)
        facts["utility"][name] = vars(interval)
        share = f"{kept[name]:.1%}" if name in kept else ""
        lines.append(f"| {name} | {interval.mean:.3f} [{interval.low:.3f}, {interval.high:.3f}] | {share} |")
    names = list(utility)
    pairs = [(3, 0), (3, 1), (3, 2), (4, 3), (4, 1), (4, 2), (3, 5), (6, 7), (6, 8), (6, 3)]
    lines += ["\n| difference | mean [95 %] | p | people for whom it is above 0 |", "|---|---|---|---|"]
    for a, b in pairs:
        found = paired_difference(utility[names[a]].ravel(), utility[names[b]].ravel(), owners)
        above = int(((utility[names[a]] - utility[names[b]]).mean(1) > 0).sum())
        facts["differences"][f"{names[a]} - {names[b]}"] = {**vars(found), "people above 0": above}
        lines.append(
            f"| {names[a]} − {names[b]} | {found.mean:+.3f} [{found.low:+.3f}, {found.high:+.3f}] | {found.p_value:.3f} | {above} of {people} |"
        )
    refused = [
        candidate.refused.split(":")[0]
        for rows in tempted
        for r in rows
        for candidate in r.history
        if candidate.refused
    ]
    counts = ", ".join(f"{name} {refused.count(name)}" for name in sorted(set(refused)))
    lines.append(
        "\nCareless proposals: a third ask for another subject, a third promise what the picture will not show (the renderer paints the first of two "
        f"contradicting words). Without guards the search takes another subject where the person likes it better. Of {sum(len(r.history) for rows in tempted for r in rows)} candidates were refused for {counts}."
    )
    return "\n".join(lines) + "\n", facts


if __name__ == "__main__":
    main()
