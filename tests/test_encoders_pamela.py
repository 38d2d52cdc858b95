"""Frozen encoders: the embedded ones, and Hub classes as tiny randomly initialised models."""

import pytest
import torch
from PIL import Image
from transformers import (
    AutoTokenizer,
    BertConfig,
    BertModel,
    CLIPConfig,
    CLIPModel,
    SiglipConfig,
    SiglipModel,
)

from modeling_pamela.encoders_pamela import (
    EMBEDDED_IMAGE_ENCODER,
    EMBEDDED_TEXT_ENCODER,
    EfficientNetLiteEncoder,
    EncoderError,
    load_image_encoder,
    load_text_encoder,
)


TINY_TOWER = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}


@pytest.fixture(scope="module")
def image_encoder():
    return load_image_encoder(EMBEDDED_IMAGE_ENCODER)


@pytest.fixture(scope="module")
def text_encoder():
    return load_text_encoder(EMBEDDED_TEXT_ENCODER)


def save_tiny(model, folder, text_encoder, image_processor):
    """A local folder as the Hub would hold it."""
    model.save_pretrained(folder)
    text_encoder.tokenizer.save_pretrained(folder)
    image_processor(size={"height": 32, "width": 32}).save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="module")
def tiny_siglip(tmp_path_factory, text_encoder):
    from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil

    torch.manual_seed(0)
    config = SiglipConfig(
        text_config={**TINY_TOWER, "vocab_size": 30522, "max_position_embeddings": 16, "projection_size": 16},
        vision_config={**TINY_TOWER, "image_size": 32, "patch_size": 8},
    )
    return save_tiny(SiglipModel(config), tmp_path_factory.mktemp("siglip"), text_encoder, SiglipImageProcessorPil)


@pytest.fixture(scope="module")
def tiny_clip(tmp_path_factory, text_encoder):
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

    torch.manual_seed(0)
    config = CLIPConfig(
        text_config={**TINY_TOWER, "vocab_size": 30522, "max_position_embeddings": 16, "eos_token_id": 102},
        vision_config={**TINY_TOWER, "image_size": 32, "patch_size": 8},
        projection_dim=12,
    )
    folder = tmp_path_factory.mktemp("clip")
    name = save_tiny(CLIPModel(config), folder, text_encoder, CLIPImageProcessorPil)
    CLIPImageProcessorPil(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}).save_pretrained(folder)
    return name


def test_embedded_image_encoder(image_encoder):
    picture = Image.linear_gradient("L").convert("RGB")
    pixel_values = image_encoder.image_processor([picture], return_tensors="pt")["pixel_values"]
    # (x - 127) / 128, as the network was trained.
    assert pixel_values.min().item() == pytest.approx(-127 / 128, abs=1e-5)
    assert pixel_values.max().item() == pytest.approx(1.0, abs=1e-5)
    embeds = image_encoder(pixel_values=pixel_values)
    assert embeds.shape == (1, image_encoder.embed_dim) == (1, 4920)
    assert sum(image_encoder.embed_blocks) == image_encoder.embed_dim
    assert embeds.isfinite().all()


def test_embedded_image_encoder_recognises_what_it_was_trained_on(image_encoder):
    """The converted weights still classify: a plain red disc is no animal, but twice the same picture is the same embedding."""
    red, blue = (Image.new("RGB", (64, 64), colour) for colour in ("red", "blue"))
    pixel_values = image_encoder.image_processor([red, blue, red], return_tensors="pt")["pixel_values"]
    first, second, third = image_encoder(pixel_values=pixel_values)
    torch.testing.assert_close(first, third)
    assert not torch.allclose(first, second, atol=1e-2)


def test_gradient_reaches_the_pixels(image_encoder):
    pixel_values = torch.zeros(1, 3, 260, 260, requires_grad=True)
    image_encoder(pixel_values=pixel_values).sum().backward()
    assert pixel_values.grad.isfinite().all()
    assert pixel_values.grad.abs().sum() > 0
    assert all(weight.grad is None for weight in image_encoder.parameters())


def test_encoder_stays_frozen(image_encoder):
    image_encoder.train()
    assert not any(module.training for module in image_encoder.modules())
    assert not any(weight.requires_grad for weight in image_encoder.parameters())


def test_embedded_text_encoder(text_encoder):
    texts = ["a cat on a sofa", "a kitten on a couch", "quarterly tax report"]
    tokens = text_encoder.tokenizer(texts, padding=True, return_tensors="pt")
    embeds = text_encoder(input_ids=tokens["input_ids"], attention_mask=tokens["attention_mask"])
    assert embeds.shape == (3, 384)
    torch.testing.assert_close(embeds.norm(dim=-1), torch.ones(3))
    similarity = embeds @ embeds.T
    assert similarity[0, 1] > similarity[0, 2] + 0.3


def test_damaged_wheel_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HOME", str(tmp_path))
    monkeypatch.setattr(EfficientNetLiteEncoder, "weights_sha256", "0" * 64)
    with pytest.raises(EncoderError, match="was expected"):
        EfficientNetLiteEncoder()


def test_weights_are_kept_as_safetensors(tmp_path, monkeypatch, image_encoder):
    monkeypatch.setattr("huggingface_hub.constants.HF_HOME", str(tmp_path))
    first = EfficientNetLiteEncoder()
    assert list(tmp_path.rglob("*.safetensors"))
    second = EfficientNetLiteEncoder()
    assert first.fingerprint == second.fingerprint == image_encoder.fingerprint
    for ours, theirs in zip(first.parameters(), second.parameters(), strict=True):
        assert torch.equal(ours, theirs)


@pytest.mark.parametrize("fixture", ["tiny_siglip", "tiny_clip"])
def test_image_text_model(fixture, request):
    name = request.getfixturevalue(fixture)
    image, text = load_image_encoder(name), load_text_encoder(name)
    assert image.embed_dim == text.embed_dim
    assert image.fingerprint != text.fingerprint
    pixel_values = image.image_processor([Image.new("RGB", (50, 40), "red")], return_tensors="pt")["pixel_values"]
    assert image(pixel_values=pixel_values).shape == (1, image.embed_dim)
    tokens = text.tokenizer(["a cat"], padding=text.padding, max_length=text.max_length, return_tensors="pt")
    embeds = text(input_ids=tokens["input_ids"], attention_mask=tokens["attention_mask"])
    assert embeds.shape == (1, text.embed_dim)


def test_both_sides_share_their_weights(tiny_siglip):
    assert load_image_encoder(tiny_siglip).model is load_text_encoder(tiny_siglip).model


def test_sentence_encoder_from_a_folder(tmp_path, text_encoder):
    torch.manual_seed(0)
    BertModel(BertConfig(**TINY_TOWER, vocab_size=30522, max_position_embeddings=16)).save_pretrained(tmp_path)
    text_encoder.tokenizer.save_pretrained(tmp_path)
    encoder = load_text_encoder(str(tmp_path))
    assert (encoder.embed_dim, encoder.max_length) == (16, 16)
    tokens = AutoTokenizer.from_pretrained(tmp_path)(["one", "one two three"], padding=True, return_tensors="pt")
    padded = encoder(input_ids=tokens["input_ids"], attention_mask=tokens["attention_mask"])
    alone = encoder(input_ids=tokens["input_ids"][:1, :3], attention_mask=tokens["attention_mask"][:1, :3])
    torch.testing.assert_close(padded[:1], alone)


def test_unknown_names():
    with pytest.raises(EncoderError, match="expected 'embedded:efficientnet-lite2'"):
        load_image_encoder("embedded:resnet")
    with pytest.raises(EncoderError, match="expected 'embedded:all-minilm-l6-v2'"):
        load_text_encoder("embedded:bert")


def test_hub_model_that_cannot_be_had(monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(EncoderError, match=r"nobody/no-such-model.*hf download"):
        load_image_encoder("nobody/no-such-model")
