"""Encoders of the classes of real ones, tiny and random, saved as the Hub would hold them."""

import json
from pathlib import Path

import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors, trainers
from transformers import (
    LlamaConfig,
    LlamaModel,
    PreTrainedTokenizerFast,
    Siglip2Config,
    Siglip2Model,
    SiglipConfig,
    SiglipModel,
)
from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil
from transformers.models.siglip2.image_processing_pil_siglip2 import Siglip2ImageProcessorPil


TOWER = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
VOCABULARY = 120


def make_tokenizer(**special_tokens: str) -> PreTrainedTokenizerFast:
    """Byte pairs learned from a few sentences; `<s>` stands before every text."""
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY, special_tokens=["<pad>", "</s>", "<s>", "<unk>"], show_progress=False
    )
    letters = "abcdefghijklmnopqrstuvwxyz ABCDEFGHIJKLMNOPQRSTUVWXYZ 0123456789 .,:'"
    tokenizer.train_from_iterator([letters, "age is 26. gender is female. a lake in the evening"], trainer)
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 2)])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", unk_token="<unk>", **special_tokens
    )


def save_llama(folder: Path, **fields: object) -> str:
    """A decoder without a padding token, as Llamas come."""
    torch.manual_seed(0)
    config = {**TOWER, "num_hidden_layers": 2, "num_key_value_heads": 1, "vocab_size": VOCABULARY, **fields}
    LlamaModel(LlamaConfig(**config, initializer_range=0.3)).save_pretrained(folder)
    make_tokenizer().save_pretrained(folder)
    return str(folder)


def save_nemotron(folder: Path) -> str:
    """The same as NVIDIA publishes its bidirectional Llamas: a model type of their own, code, sentence-transformers files."""
    save_llama(folder)
    config = json.loads((folder / "config.json").read_text())
    config.update(
        model_type="llama_bidirec",
        architectures=["LlamaBidirectionalModel"],
        pooling="avg",
        auto_map={
            "AutoConfig": "llama_bidirectional_model.LlamaBidirectionalConfig",
            "AutoModel": "llama_bidirectional_model.LlamaBidirectionalModel",
        },
    )
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "llama_bidirectional_model.py").write_text("raise SystemExit('code of a repo was run')\n")
    save_pooling(folder, {"pooling_mode_mean_tokens": True, "pooling_mode_cls_token": False})
    return str(folder)


def save_pooling(folder: Path, pooling: dict, normalize: bool = True, **sentence_config: object) -> None:
    """sentence-transformers' files."""
    kinds = [("", "Transformer"), ("1_Pooling", "Pooling")] + [("2_Normalize", "Normalize")] * normalize
    modules = [
        {"idx": index, "name": str(index), "path": path, "type": f"sentence_transformers.models.{kind}"}
        for index, (path, kind) in enumerate(kinds)
    ]
    (folder / "modules.json").write_text(json.dumps(modules))
    (folder / "1_Pooling").mkdir(exist_ok=True)
    width = TOWER["hidden_size"]
    (folder / "1_Pooling" / "config.json").write_text(json.dumps({"word_embedding_dimension": width, **pooling}))
    (folder / "config_sentence_transformers.json").write_text(json.dumps(sentence_config))


TEXT = {**TOWER, "vocab_size": VOCABULARY, "max_position_embeddings": 16, "projection_size": 16}
TOKENS = {"pad_token_id": 0, "eos_token_id": 1, "bos_token_id": 2}


def save_siglip(folder: Path) -> str:
    """Of the class of SigLIP and of SigLIP2 at a fixed resolution."""
    torch.manual_seed(0)
    config = SiglipConfig(text_config={**TEXT, **TOKENS}, vision_config={**TOWER, "image_size": 32, "patch_size": 8})
    SiglipModel(config).save_pretrained(folder)
    make_tokenizer(pad_token="<pad>").save_pretrained(folder)
    SiglipImageProcessorPil(size={"height": 32, "width": 32}).save_pretrained(folder)
    return str(folder)


def save_naflex(folder: Path) -> str:
    """SigLIP2 at a picture's own shape."""
    torch.manual_seed(0)
    config = Siglip2Config(text_config={**TEXT, **TOKENS}, vision_config={**TOWER, "patch_size": 8, "num_patches": 16})
    Siglip2Model(config).save_pretrained(folder)
    make_tokenizer(pad_token="<pad>").save_pretrained(folder)
    Siglip2ImageProcessorPil(patch_size=8, max_num_patches=16).save_pretrained(folder)
    return str(folder)
