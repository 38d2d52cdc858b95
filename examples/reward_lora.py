"""
A picture model that learns one person's taste by gradient: LoRA on the denoiser, trained through its last steps (DRaFT-K; Clark et al. 2023).

    python examples/reward_lora.py                                     # the mechanics: everything tiny and random, on CPU, offline
    python examples/reward_lora.py --pipeline stabilityai/stable-diffusion-xl-base-1.0 --model runs/posterior --profile profiles/ann \
        --prompts prompts.txt --steps 30 --backprop-steps 1 --size 1024 --updates 500 --batch-size 4 --learning-rate 4e-4 --device cuda --dtype bfloat16

The loss is `anchor * distance - reward`. The reward is what the person is expected to think of the picture, less `--caution` standard
deviations of it. The distance is the squared difference of the adapted and the base model's predictions of every step that is trained, in
units of the base's: up to a factor the Kullback-Leibler divergence of the two models' steps. Without an anchor, rewards are hacked.

The LoRA is saved for `pipeline.load_lora_weights(folder)`.
"""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from diffusers import DiffusionPipeline
from diffusers.training_utils import cast_training_params
from peft import LoraConfig, get_peft_model_state_dict
from torch import Tensor
from tqdm.auto import trange
from transformers import AutoModel, AutoProcessor

from modeling_pamela import PamelaConfig, PamelaForPersonalizedScoring, PamelaProcessor, TasteProfile
from modeling_pamela.encoders_pamela import EMBEDDED_IMAGE_ENCODER, EMBEDDED_TEXT_ENCODER
from modeling_pamela.rewards.differentiable import DifferentiableReward


class RewardLora:
    """
    LoRA on the denoiser of a text-to-image pipeline.

    Args:
        pipeline (`DiffusionPipeline`): One whose call takes `callback_on_step_end`: Stable Diffusion, SDXL, SD3, Flux, …
        rank (`int`): Of the update of every attention projection.
        steps (`int`), backprop_steps (`int`): Denoising steps, and how many of them, the last ones, are trained through: at least 1, not all.
        size (`int`): Height and width of the pictures.
    """

    def __init__(self, pipeline: Any, rank: int, steps: int, backprop_steps: int, size: int) -> None:
        if not 0 < backprop_steps < steps:
            raise SystemExit(
                f"--backprop-steps {backprop_steps}: expected at least 1 and fewer than the {steps} steps."
            )
        self.pipeline, self.steps, self.backprop_steps, self.size = pipeline, steps, backprop_steps, size
        self.part = "unet" if hasattr(pipeline, "unet") else "transformer"
        self.denoiser = getattr(pipeline, self.part)
        for module in pipeline.components.values():
            if isinstance(module, torch.nn.Module):
                module.requires_grad_(False)
        self.denoiser.add_adapter(
            LoraConfig(r=rank, lora_alpha=rank, target_modules=["to_q", "to_k", "to_v", "to_out.0"])
        )
        cast_training_params(self.denoiser)  # The LoRA learns in float32, whatever the pipeline is in.
        self.parameters = [weights for weights in self.denoiser.parameters() if weights.requires_grad]
        self.denoiser.register_forward_hook(self._measure, with_kwargs=True)
        self.distances: list[Tensor] = []
        pipeline.set_progress_bar_config(disable=True)
        if getattr(pipeline, "safety_checker", None) is not None:
            pipeline.safety_checker = None  # It works on PIL pictures, and lets no gradient through.

    def render(self, prompts: list[str], seed: int) -> tuple[Tensor, Tensor]:
        """
        Pictures `(n, 3, size, size)` in 0..1 and the distance from the base model, both with gradient to the LoRA.
        """
        self.distances.clear()
        images = self.pipeline(
            prompt=prompts,
            num_inference_steps=self.steps,
            height=self.size,
            width=self.size,
            generator=torch.Generator().manual_seed(seed),
            output_type="pt",
            callback_on_step_end=self._switch_gradients_on,
        ).images
        return images, torch.stack(self.distances).mean()

    def _switch_gradients_on(
        self, pipeline: Any, step: int, timestep: Any, tensors: dict[str, Tensor]
    ) -> dict[str, Tensor]:
        """Pipelines run without gradients. From here on this one does not."""
        if step + 1 >= self.steps - self.backprop_steps:
            torch.set_grad_enabled(True)
        return tensors

    def _measure(self, denoiser: Any, args: tuple, inputs: dict[str, Any], output: Any) -> None:
        if not torch.is_grad_enabled():
            return
        denoiser.disable_adapters()
        with torch.no_grad():
            base = denoiser.forward(*args, **inputs)[0].float()
        denoiser.enable_adapters()
        self.distances.append((output[0].float() - base).square().mean() / base.square().mean())

    def save(self, folder: Path) -> None:
        """Write the LoRA as `load_lora_weights` reads it."""
        layers = {f"{self.part}_lora_layers": get_peft_model_state_dict(self.denoiser)}
        self.pipeline.save_lora_weights(folder, **layers)


def train(
    lora: RewardLora,
    score: Callable[[Tensor, list[str]], Tensor],
    prompts: list[str],
    updates: int,
    batch_size: int,
    learning_rate: float,
    anchor: float,
    seed: int = 0,
) -> list[tuple[float, float]]:
    """Reward and distance of every update; `score` maps pictures and their prompts to rewards `(n,)`."""
    optimizer = torch.optim.AdamW(lora.parameters, lr=learning_rate, weight_decay=0.0)
    history, progress = [], trange(updates)
    for update in progress:
        batch = [prompts[(update * batch_size + number) % len(prompts)] for number in range(batch_size)]
        images, distance = lora.render(batch, seed + 1 + update)
        reward = score(images, batch).mean()
        optimizer.zero_grad()
        (anchor * distance.to(reward.device) - reward).backward()
        torch.nn.utils.clip_grad_norm_(lora.parameters, 1.0)
        optimizer.step()
        history.append((reward.item(), distance.item()))
        progress.set_postfix(reward=f"{history[-1][0]:.4f}", distance=f"{history[-1][1]:.4f}")
    return history


def evaluate(
    lora: RewardLora, score: Callable[[Tensor, list[str]], Tensor], prompts: list[str], seed: int = 0
) -> tuple[float, float]:
    """Mean reward and distance of one picture a prompt, of a seed that is not trained on."""
    found = []
    for prompt in prompts:
        images, distance = lora.render([prompt], seed)
        found.append((score(images.detach(), [prompt]).item(), distance.item()))
    reward, distance = (sum(values) / len(found) for values in zip(*found, strict=True))
    return reward, distance


def main(arguments: list[str] | None = None) -> None:
    """Train, and say what it did."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--pipeline", help="folder or Hub repo of a diffusers pipeline; a tiny random one where not given"
    )
    parser.add_argument("--model", help="folder or Hub repo of a PAMELA checkpoint; an untrained one where not given")
    parser.add_argument("--profile", type=Path, help="whose taste; the population's where not given")
    parser.add_argument("--prompts", type=Path, help="text file, a prompt a line")
    parser.add_argument("--out", type=Path, default=Path("runs/reward-lora"))
    parser.add_argument("--steps", type=int, default=4, help="denoising steps")
    parser.add_argument(
        "--backprop-steps", type=int, default=1, help="how many of them, the last ones, are trained through"
    )
    parser.add_argument("--size", type=int, default=64, help="height and width of the pictures")
    parser.add_argument("--rank", type=int, default=8)
    parser.add_argument("--updates", type=int, default=20)
    parser.add_argument("--batch-size", type=int, default=2)
    parser.add_argument(
        "--learning-rate", type=float, default=3e-2, help="suits the tiny pipeline; 1e-4 to 1e-3 real ones"
    )
    parser.add_argument("--anchor", type=float, default=0.1, help="price of the distance from the base model")
    parser.add_argument("--caution", type=float, default=0.0, help="standard deviations taken off the reward")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", default="float32", choices=("float32", "bfloat16"), help="of the pipeline")
    options = parser.parse_args(arguments)

    torch.manual_seed(options.seed)
    if options.pipeline is None:
        pipeline = tiny_pipeline()
    else:
        pipeline = DiffusionPipeline.from_pretrained(options.pipeline, dtype=getattr(torch, options.dtype))
    if options.model is None:
        model, processor = untrained_model()
    else:
        model, processor = AutoModel.from_pretrained(options.model), AutoProcessor.from_pretrained(options.model)
    reward = DifferentiableReward(model.to(options.device), processor)
    person = None if options.profile is None else TasteProfile.from_pretrained(options.profile)

    def score(images: Tensor, prompts: list[str]) -> Tensor:
        mean, std = reward(images, prompts, person)
        assert std is not None
        return mean - options.caution * std

    prompts = ["a lake in the evening", "a red house", "an old tree", "a street in the rain"]
    if options.prompts is not None:
        prompts = [line.strip() for line in options.prompts.read_text().splitlines() if line.strip()]
    lora = RewardLora(pipeline.to(options.device), options.rank, options.steps, options.backprop_steps, options.size)
    judged = prompts[:8]
    before, _ = evaluate(lora, score, judged, options.seed)
    train(
        lora, score, prompts, options.updates, options.batch_size, options.learning_rate, options.anchor, options.seed
    )
    after, distance = evaluate(lora, score, judged, options.seed)
    lora.save(options.out)
    print(
        f"Reward of {len(judged)} pictures: {before:.4f} before, {after:.4f} after; distance from the base model {distance:.4f}."
    )
    print(f"Saved to {options.out}: pipeline.load_lora_weights({str(options.out)!r})")


def untrained_model() -> tuple[PamelaForPersonalizedScoring, PamelaProcessor]:
    """A taste by chance for what the embedded encoder sees."""
    texts = dict.fromkeys(("text_encoder", "profile_encoder"), EMBEDDED_TEXT_ENCODER)
    config = PamelaConfig(
        image_encoder=EMBEDDED_IMAGE_ENCODER, **texts, image_embed_dim=4920, use_text=False, initializer_range=0.05
    )
    return PamelaForPersonalizedScoring(config), PamelaProcessor.from_config(config)


def tiny_pipeline() -> Any:
    """Stable Diffusion with few random weights: it paints noise, in a second."""
    from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import CLIPTextConfig, CLIPTextModel, PreTrainedTokenizerFast

    words = Tokenizer(models.WordLevel({"<pad>": 0, "<unk>": 1, "a": 2, "the": 3}, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    text = CLIPTextConfig(
        vocab_size=4,
        hidden_size=16,
        intermediate_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        max_position_embeddings=8,
        bos_token_id=2,
        eos_token_id=3,
        pad_token_id=0,
    )
    return StableDiffusionPipeline(
        vae=AutoencoderKL(
            block_out_channels=(16, 16),
            down_block_types=("DownEncoderBlock2D",) * 2,
            up_block_types=("UpDecoderBlock2D",) * 2,
            latent_channels=4,
            norm_num_groups=4,
        ),
        text_encoder=CLIPTextModel(text),
        tokenizer=PreTrainedTokenizerFast(
            tokenizer_object=words, pad_token="<pad>", unk_token="<unk>", model_max_length=8
        ),
        unet=UNet2DConditionModel(
            block_out_channels=(16, 16),
            layers_per_block=1,
            down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
            up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
            cross_attention_dim=16,
            attention_head_dim=2,
            norm_num_groups=4,
        ),
        scheduler=DDIMScheduler(clip_sample=False, steps_offset=1),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


if __name__ == "__main__":
    main()
