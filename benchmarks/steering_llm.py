"""
A small language model as proposer, without a network: SmolLM2-135M-Instruct against the bandit over modifiers.

    python benchmarks/steering_llm.py --work DIR [--seed 1] [--people 5] [--candidates 8] [--rounds 3] [--out benchmarks/results]

**A simulation.** Painted scenes stand in for the pictures of a generator, and the people are simulated; each rates 25 scenes, from which their taste is
learned by a model that `pamela demo` trains (kept in the work folder). Two things are measured. First the proposals alone: the share of those asked
for, in one ask, that are a new prompt after parsing, and of these that keep the content (the search's own guard), when the model is asked by
examples and when it is asked for a list. Then the search: every person and prompt, with each proposer, the same number of renders, the first picture
and as many as the candidates of all rounds. Duplicates and prompts that lose the content are not rendered, so a search goes on for up to twice the
rounds until the renders are made, gain or no gain; the table says how many were made, since a proposer may still fall short of them. True utilities,
in points of the rating scale from 1 to 5, are never seen by the search; intervals redraw people. Searches stay in the work folder and are not done
again.
"""

import argparse
import json
import time
from pathlib import Path

import numpy as np
from transformers.utils import logging

from modeling_pamela import PamelaProcessor
from modeling_pamela.data.scenes import sample_raters
from modeling_pamela.evaluation.bootstrap import Interval, PairedDifference, bootstrap_mean, paired_difference
from modeling_pamela.evaluation.report import format_interval
from modeling_pamela.rewards.content import ModelContent, kept_content
from modeling_pamela.rewards.personal import PersonalReward
from modeling_pamela.steering.base import SteeringError
from modeling_pamela.steering.guards import Guards
from modeling_pamela.steering.llm import LLMProposer
from modeling_pamela.steering.modifiers import ModifierProposer
from modeling_pamela.steering.scene_renderer import SceneRenderer
from modeling_pamela.steering.search import SearchSettings, search
from modeling_pamela.steering.simulation import learn_simulated_tastes, train_on_scenes


PROMPTS = ("a lighthouse on a cliff", "a castle on a hill at night")
# Asked for proposals alone, too.
MORE_PROMPTS = ("a bowl of fruit on a table", "two children flying a kite in a field")


def proposals(proposer: LLMProposer, content: ModelContent, num: int) -> dict[str, float]:
    """Of what is asked for in one ask: the share that is new, and the share that also keeps the content."""
    new = kept = 0
    start = time.monotonic()
    prompts = (*PROMPTS, *MORE_PROMPTS)
    for prompt in prompts:
        try:
            found = proposer.propose(prompt, [], num, seed=0)
        except SteeringError:
            found = []
        new += len(found)
        kept += int((np.array(kept_content(content, prompt, found)) >= Guards().min_content).sum()) if found else 0
        print(f"  {prompt}: {found[:3]}", flush=True)
    asked = num * len(prompts)
    return {
        "asked": asked,
        "new": new / asked,
        "usable": kept / asked,
        "seconds each": (time.monotonic() - start) / asked,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="folder of the model and the searches")
    parser.add_argument("--seed", type=int, default=1, help="of the people; the model is trained on others")
    parser.add_argument("--people", type=int, default=5)
    parser.add_argument("--candidates", type=int, default=8, help="prompts a round")
    parser.add_argument("--rounds", type=int, default=3, help="whose candidates are the renders of a search")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    arguments = parser.parse_args()
    logging.disable_progress_bar()

    model = train_on_scenes(arguments.work / "scenes", seed=0)
    processor = PamelaProcessor.from_config(model.config)
    reward, content, renderer = PersonalReward(model, processor), ModelContent(model, processor), SceneRenderer()
    raters = sample_raters(arguments.people, arguments.seed)
    profiles = learn_simulated_tastes(raters, reward, seed=arguments.seed)

    small = LLMProposer.offline()
    proposers = {"SmolLM2": small, "modifiers": ModifierProposer()}
    settings = SearchSettings(
        num_candidates=arguments.candidates,
        max_rounds=2 * arguments.rounds,
        patience=2 * arguments.rounds,
        max_renders=1 + arguments.candidates * arguments.rounds,
        seed=arguments.seed,
    )
    rows = []
    for number, rater in enumerate(raters):
        for prompt in PROMPTS:
            initial = rater.utility(renderer.scene(prompt, settings.render_seed))
            for name, proposer in proposers.items():
                result = search(
                    prompt,
                    reward=reward,
                    proposer=proposer,
                    renderer=renderer,
                    person=profiles[rater.user_id],
                    settings=settings,
                    content=content,
                    folder=arguments.work
                    / f"steering_llm-{arguments.candidates}x{arguments.rounds}-seed{arguments.seed}"
                    / f"{name} {rater.user_id} {PROMPTS.index(prompt)}",
                )
                tried = [one for one in result.history if one.round]
                rows.append(
                    {
                        "person": number,
                        "prompt": prompt,
                        "proposer": name,
                        "final": result.prompt,
                        "initial": initial,
                        "utility": rater.utility(renderer.scene(result.prompt, settings.render_seed)),
                        "score gain": result.score - result.history[0].score,
                        "renders": sum(one.score is not None for one in result.history),
                        "rounds": result.history[-1].round,
                        "proposed": len(tried),
                        "refused for content": sum((one.refused or "").startswith("content") for one in tried),
                        "seconds": result.seconds,
                    }
                )
                print(
                    f"{rater.user_id} {name}: {initial:.2f} -> {rows[-1]['utility']:.2f} {result.prompt}", flush=True
                )

    # Kept, since a list takes a small model long.
    kept = arguments.work / f"steering_llm_proposals_{arguments.candidates}.json"
    if not kept.is_file():
        forms = {
            "by examples": LLMProposer(small.model, small.tokenizer, few_shot=True, max_asks=1),
            "for a list": LLMProposer(small.model, small.tokenizer, max_asks=1),
        }
        found = {form: proposals(proposer, content, arguments.candidates) for form, proposer in forms.items()}
        kept.write_text(json.dumps(found), encoding="utf-8")
    shares = json.loads(kept.read_text(encoding="utf-8"))

    def of(name: str, key: str) -> np.ndarray:
        """By person, mean over prompts."""
        values = np.array([row[key] for row in rows if row["proposer"] == name], float)
        return values.reshape(len(raters), len(PROMPTS)).mean(1)

    def interval(found: Interval | PairedDifference) -> str:
        return format_interval(found.mean, found.low, found.high, sign=True)

    lines = [
        "# A small language model as proposer (simulated)",
        "",
        f"SmolLM2-135M-Instruct (4 bits, from its wheel), {arguments.candidates} prompts an ask, {len(PROMPTS) + len(MORE_PROMPTS)} prompts, no history. Usable: new, and "
        "the content kept.",
        "",
        "| asked | new | usable | seconds a proposal |",
        "|---|---|---|---|",
        *(f"| {form} | {s['new']:.2f} | {s['usable']:.2f} | {s['seconds each']:.1f} |" for form, s in shares.items()),
        "",
        f"Searches of {settings.max_renders} renders at most, {arguments.candidates} candidates a round and at most {settings.max_rounds} rounds, for {len(raters)} simulated people and {len(PROMPTS)} prompts. True utility in points of "
        "the scale from 1 to 5, against the picture of the prompt asked for; 95 % intervals redraw people.",
        "",
        "| proposer | gain of true utility | gain of predicted score | renders a search | fewest renders | rounds a search | refused for content |",
        "|---|---|---|---|---|---|---|",
        *(
            f"| {name} | {interval(bootstrap_mean(of(name, 'utility') - of(name, 'initial')))} | {interval(bootstrap_mean(of(name, 'score gain')))} | "
            f"{of(name, 'renders').mean():.1f} | {min(row['renders'] for row in rows if row['proposer'] == name)} | {of(name, 'rounds').mean():.1f} | {of(name, 'refused for content').sum() / of(name, 'proposed').sum():.2f} |"
            for name in proposers
        ),
        "",
        "SmolLM2 less modifiers, true utility: "
        + interval(paired_difference(of("SmolLM2", "utility"), of("modifiers", "utility")))
        + ".",
    ]  # fmt: skip
    arguments.out.mkdir(parents=True, exist_ok=True)
    (arguments.out / "steering_llm.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
    (arguments.out / "steering_llm.json").write_text(
        json.dumps({"proposals": shares, "searches": rows}, indent=1) + "\n", encoding="utf-8"
    )
    print("\n".join(lines))


if __name__ == "__main__":
    main()
