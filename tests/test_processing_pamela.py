"""The processor with the embedded encoders' real preprocessing, and a checkpoint that scores raw pictures."""

import os
import subprocess
import sys
import textwrap

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from transformers import AutoModel, AutoProcessor

from modeling_pamela import PamelaConfig, PamelaForPersonalizedScoring, PamelaProcessor
from modeling_pamela.encoders_pamela import EMBEDDED_IMAGE_ENCODER, EMBEDDED_TEXT_ENCODER, EncoderError
from modeling_pamela.processing_pamela import describe, to_rgb


ENCODERS = {
    "image_encoder": EMBEDDED_IMAGE_ENCODER,
    "text_encoder": EMBEDDED_TEXT_ENCODER,
    "profile_encoder": EMBEDDED_TEXT_ENCODER,
}


@pytest.fixture(scope="module")
def raw_model():
    torch.manual_seed(0)
    config = PamelaConfig(
        **ENCODERS, image_embed_dim=4920, hidden_size=16, num_free_image_directions=8, initializer_range=0.3
    )
    return PamelaForPersonalizedScoring(config).eval()


@pytest.fixture(scope="module")
def processor(raw_model):
    return PamelaProcessor.from_config(raw_model.config)


@pytest.fixture(scope="module")
def pictures():
    return [Image.radial_gradient("L").convert("RGB"), Image.linear_gradient("L").convert("RGB")]


def test_describe_leaves_missing_fields_out():
    fields = {"age": 26.0, "gender": "", "income": float("nan"), "art_experience": "some", "nationality": None}
    assert describe(fields) == "Age is 26. Art experience is some."
    assert describe({}) == ""


@given(st.dictionaries(st.text(min_size=1), st.none() | st.just(float("nan")) | st.just(" ")))
def test_describe_of_nothing_known_is_empty(fields):
    assert describe(fields) == ""


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "HSV", "LAB", "I;16"])
def test_to_rgb_takes_every_mode(mode):
    image = to_rgb(Image.new(mode, (5, 4)))
    assert (image.mode, image.size) == ("RGB", (5, 4))


def test_to_rgb_scales_16_bit():
    image = Image.fromarray(np.array([[0, 32896, 65535]], dtype=np.uint16))
    assert [to_rgb(image).getpixel((x, 0))[0] for x in range(3)] == [0, 128, 255]


def test_transparency_lies_on_white():
    assert to_rgb(Image.new("RGBA", (1, 1), (255, 0, 0, 0))).getpixel((0, 0)) == (255, 255, 255)


def test_processor_makes_all_inputs(processor, pictures):
    batch = processor(pictures, text=["a disc", None], demographics={"age": 30}, metadata=[{"style": "ink"}, {}])
    assert batch["pixel_values"].shape == (2, 3, 260, 260)
    assert batch["attention_mask"].sum(-1).bool().tolist() == [True, False]
    assert batch["demographics_input_ids"].shape[0] == 1
    assert batch["metadata_attention_mask"].sum(-1).bool().tolist() == [True, False]


def test_raw_inputs_equal_their_embeddings(raw_model, processor, pictures):
    batch = processor(pictures, text=["a disc", ""], metadata=[{"style": "ink"}, {}])
    raw = raw_model(**batch)
    embeds = {
        "image_embeds": raw_model.get_image_embeds(batch["pixel_values"]),
        "text_embeds": raw_model.get_text_embeds(batch["input_ids"], batch["attention_mask"]),
        "metadata_embeds": raw_model.get_text_embeds(
            batch["metadata_input_ids"], batch["metadata_attention_mask"], "profile"
        ),
    }
    assert embeds["text_embeds"][1].eq(0).all()
    torch.testing.assert_close(raw.scores, raw_model(**embeds).scores)


def test_gradient_from_score_to_pixels(raw_model, processor, pictures):
    pixel_values = processor(pictures)["pixel_values"].requires_grad_()
    raw_model(pixel_values=pixel_values).scores.sum().backward()
    assert pixel_values.grad.isfinite().all()
    assert pixel_values.grad.abs().sum() > 0


def test_prompts_of_any_kind(raw_model, processor):
    prompts = ["Ein Kätzchen 🐈 in 京都", "word " * 5000, "   ", ""]
    batch = processor(text=prompts)
    assert batch["input_ids"].shape[1] <= 512
    embeds = raw_model.get_text_embeds(batch["input_ids"], batch["attention_mask"])
    assert embeds.isfinite().all()
    assert embeds.ne(0).any(-1).tolist() == [True, True, False, False]


def test_nothing_to_process(processor):
    with pytest.raises(ValueError, match="Nothing to process"):
        processor()


def test_encoders_are_not_saved_and_serve_heads_of_any_precision(raw_model, processor, pictures, tmp_path):
    pixel_values = processor(pictures)["pixel_values"]
    raw_model.get_image_embeds(pixel_values)
    raw_model.save_pretrained(tmp_path)
    assert (tmp_path / "model.safetensors").stat().st_size < 2_000_000
    model = AutoModel.from_pretrained(tmp_path).double()
    assert model(pixel_values=pixel_values).scores.dtype == torch.float64
    assert raw_model(pixel_values=pixel_values).scores.dtype == torch.float32


def test_encoder_with_another_fingerprint_is_refused(raw_model, tmp_path):
    raw_model.save_pretrained(tmp_path)
    model = AutoModel.from_pretrained(tmp_path, encoder_fingerprints={"image": "0123456789abcdef"})
    with pytest.raises(EncoderError, match="trained on 0123456789abcdef"):
        model(pixel_values=torch.zeros(1, 3, 260, 260))


def test_encoder_of_another_width_is_refused():
    model = PamelaForPersonalizedScoring(PamelaConfig(**ENCODERS, image_embed_dim=100, hidden_size=16))
    with pytest.raises(EncoderError, match="width 4920, but the model was made for width 100"):
        model(pixel_values=torch.zeros(1, 3, 260, 260))


def test_processor_round_trip(processor, pictures, tmp_path):
    processor.save_pretrained(tmp_path)
    loaded = AutoProcessor.from_pretrained(tmp_path)
    assert isinstance(loaded, PamelaProcessor)
    ours = processor(pictures, text=["a disc", "b"], demographics={"age": 30})
    theirs = loaded(pictures, text=["a disc", "b"], demographics={"age": 30})
    assert set(ours) == set(theirs)
    for name, tensor in ours.items():
        assert torch.equal(tensor, theirs[name])


def test_a_config_without_an_encoder(raw_model):
    config = PamelaConfig(**{**ENCODERS, "text_encoder": None}, image_embed_dim=4920)
    with pytest.raises(EncoderError, match="no text_encoder"):
        PamelaProcessor.from_config(config)


def test_remote_code_scores_raw_pictures_without_the_package(raw_model, processor, pictures, tmp_path):
    raw_model.save_pretrained(tmp_path / "checkpoint")
    processor.save_pretrained(tmp_path / "checkpoint")
    pictures[0].save(tmp_path / "picture.png")
    expected = raw_model(**processor(pictures[0], text="a disc")).scores.item()
    code = textwrap.dedent(f"""
        import sys
        sys.modules["modeling_pamela"] = None  # as if it were not installed
        from PIL import Image
        from transformers import AutoModel, AutoProcessor
        model = AutoModel.from_pretrained({str(tmp_path / "checkpoint")!r}, trust_remote_code=True)
        processor = AutoProcessor.from_pretrained({str(tmp_path / "checkpoint")!r}, trust_remote_code=True)
        inputs = processor(Image.open({str(tmp_path / "picture.png")!r}), text="a disc")
        print(model(**inputs).scores.item())
    """)
    environment = {**os.environ, "HF_MODULES_CACHE": str(tmp_path / "modules"), "HF_HUB_OFFLINE": "1"}
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, env=environment
    )
    assert result.returncode == 0, result.stderr
    assert float(result.stdout.strip().splitlines()[-1]) == pytest.approx(expected, abs=1e-5)
