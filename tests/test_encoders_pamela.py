"""Frozen encoders: the embedded ones, and Hub classes as tiny randomly initialised models."""

import shutil

import pytest
import torch
from PIL import Image
from tiny_encoders import (
    TOWER,
    VOCABULARY,
    make_tokenizer,
    save_llama,
    save_naflex,
    save_nemotron,
    save_pooling,
    save_siglip,
)
from transformers import (
    AutoTokenizer,
    BertConfig,
    BertModel,
    CLIPConfig,
    CLIPModel,
    LlamaModel,
    SiglipConfig,
    SiglipModel,
)

from modeling_pamela import PamelaConfig, PamelaForPersonalizedScoring, PamelaProcessor, encoders_pamela
from modeling_pamela.data.embed import bind_encoders
from modeling_pamela.data.pictures import embed_pictures
from modeling_pamela.encoders_pamela import (
    EMBEDDED_IMAGE_ENCODER,
    EMBEDDED_TEXT_ENCODER,
    EfficientNetLiteEncoder,
    EncoderError,
    _weights_identity,
    load_image_encoder,
    load_text_encoder,
)
from modeling_pamela.processing_pamela import to_rgb


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
        text_config={**TOWER, "vocab_size": 30522, "max_position_embeddings": 16, "projection_size": 16},
        vision_config={**TOWER, "image_size": 32, "patch_size": 8},
    )
    return save_tiny(SiglipModel(config), tmp_path_factory.mktemp("siglip"), text_encoder, SiglipImageProcessorPil)


@pytest.fixture(scope="module")
def tiny_clip(tmp_path_factory, text_encoder):
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

    torch.manual_seed(0)
    config = CLIPConfig(
        text_config={**TOWER, "vocab_size": 30522, "max_position_embeddings": 16, "eos_token_id": 102},
        vision_config={**TOWER, "image_size": 32, "patch_size": 8},
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
    BertModel(BertConfig(**TOWER, vocab_size=30522, max_position_embeddings=16)).save_pretrained(tmp_path)
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


@pytest.fixture(scope="module")
def hub(tmp_path_factory):
    """One folder of each kind."""
    folder = tmp_path_factory.mktemp("hub")
    for save in (save_llama, save_nemotron, save_siglip, save_naflex):
        save(folder / save.__name__.removeprefix("save_"))
    return folder


def encode(encoder, texts):
    tokens = encoder.tokenizer(texts, padding=True, return_tensors="pt")
    return encoder(input_ids=tokens["input_ids"], attention_mask=tokens["attention_mask"])


@pytest.mark.parametrize("side", ["left", "right"])
def test_decoder_is_pooled_at_its_last_token(hub, side, monkeypatch):
    encoder = load_text_encoder(str(hub / "llama"))
    assert (encoder.pooling, encoder.max_length) == ("lasttoken", 2048)  # the tokenizer itself says 1e30
    alone = encode(encoder, ["a lake"])
    monkeypatch.setattr(encoder.tokenizer, "padding_side", side)
    together = encode(encoder, ["a lake", "a lake in the evening", "age"])
    torch.testing.assert_close(together[:1], alone)
    torch.testing.assert_close(together.norm(dim=-1), torch.ones(3))


def test_nemotron_by_its_config_without_its_code(hub):
    encoder = load_text_encoder(str(hub / "nemotron"))
    assert encoder.pooling == "mean"
    hidden = encoder.model(input_ids=torch.tensor([[2, 10, 11], [2, 10, 12]])).last_hidden_state  # without any padding
    assert not torch.allclose(hidden[0, 0], hidden[1, 0]), "the first token must see the last"
    torch.testing.assert_close(encode(encoder, ["a lake", "a lake in the evening"])[:1], encode(encoder, ["a lake"]))


@pytest.mark.parametrize("mode", ["mean", "cls", "lasttoken"])
@pytest.mark.parametrize("normalize", [True, False])
@pytest.mark.parametrize("is_legacy", [True, False])
def test_pooling_equals_sentence_transformers(tmp_path, mode, normalize, is_legacy):
    sentence_transformers = pytest.importorskip("sentence_transformers")
    legacy = {
        "mean": "pooling_mode_mean_tokens",
        "cls": "pooling_mode_cls_token",
        "lasttoken": "pooling_mode_lasttoken",
    }
    pooling = {name: mode == key for key, name in legacy.items()} if is_legacy else {"pooling_mode": mode}
    save_llama(tmp_path)
    make_tokenizer(pad_token="<pad>").save_pretrained(tmp_path)
    save_pooling(tmp_path, pooling, normalize, prompts={"query": "age: ", "document": "lake: "})
    texts = ["a lake in the evening", "Age is 26."]
    peer = sentence_transformers.SentenceTransformer(str(tmp_path), device="cpu")
    expected = torch.from_numpy(peer.encode_document(texts))
    encoder = load_text_encoder(str(tmp_path))
    assert (encoder.pooling, encoder.normalize, encoder.prompt) == (mode, normalize, "lake: ")
    torch.testing.assert_close(
        encode(encoder, [encoder.prompt + text for text in texts]), expected, rtol=1e-4, atol=1e-5
    )


@pytest.mark.parametrize(
    ("pooling", "module", "message"),
    [
        ({"pooling_mode": "weightedmean"}, "Normalize", "pools by weightedmean"),
        ({"pooling_mode_max_tokens": True}, "Normalize", "pools by pooling_mode_max_tokens"),
        ({"pooling_mode_max_tokens": True, "pooling_mode_cls_token": True}, "Normalize", "pools by"),
        ({"pooling_mode": "mean"}, "Dense", "Transformer, Pooling, Dense"),
    ],
)
def test_unknown_pooling_is_refused(tmp_path, pooling, module, message):
    save_llama(tmp_path)
    save_pooling(tmp_path, pooling)
    modules = (tmp_path / "modules.json").read_text().replace("Normalize", module)
    (tmp_path / "modules.json").write_text(modules)
    with pytest.raises(EncoderError, match=message):
        load_text_encoder(str(tmp_path))


def test_naflex_takes_pictures_of_any_shape(hub):
    encoder = load_image_encoder(str(hub / "naflex"))
    wide, tall = Image.linear_gradient("L").resize((90, 30)), Image.radial_gradient("L").resize((20, 60))
    inputs = [encoder.image_processor([to_rgb(picture)], return_tensors="pt") for picture in (wide, tall)]
    assert inputs[0]["spatial_shapes"].tolist() != inputs[1]["spatial_shapes"].tolist()
    together = encoder(**{name: torch.cat([rows[name] for rows in inputs]) for name in inputs[0]})
    torch.testing.assert_close(together, torch.cat([encoder(**rows) for rows in inputs]), rtol=1e-4, atol=1e-5)


def test_naflex_model_scores_raw_pictures_with_gradient(hub):
    name = str(hub / "naflex")
    config = PamelaConfig(
        image_encoder=name, text_encoder=name, profile_encoder=name, hidden_size=16, initializer_range=0.3
    )
    bind_encoders(config)
    model, processor = PamelaForPersonalizedScoring(config).eval(), PamelaProcessor.from_config(config)
    batch = processor(
        [Image.linear_gradient("L").resize((90, 30)), Image.new("RGB", (20, 60), "red")], text=["A lake", None]
    )
    pixel_values = batch["pixel_values"].requires_grad_()
    scores = model(**batch).scores
    embeds = embed_pictures(
        [Image.linear_gradient("L").resize((90, 30)), Image.new("RGB", (20, 60), "red")],
        model.encoder("image"),
        processor,
    )
    text = model.get_text_embeds(batch["input_ids"], batch["attention_mask"])
    torch.testing.assert_close(
        model(image_embeds=torch.from_numpy(embeds), text_embeds=text).scores, scores, rtol=1e-4, atol=1e-5
    )
    scores.sum().backward()
    assert (pixel_values.grad.abs().sum((1, 2)) > 0).all()


def test_copy_of_the_weights_is_the_same_encoder(hub, tmp_path):
    original = load_text_encoder(str(hub / "llama"))
    copy = LlamaModel.from_pretrained(hub / "llama")
    copy.save_pretrained(tmp_path, max_shard_size="4KB")
    make_tokenizer().save_pretrained(tmp_path)
    assert len(list(tmp_path.glob("*.safetensors"))) > 1
    assert load_text_encoder(str(tmp_path)).fingerprint == original.fingerprint
    # Precision is how weights are read, not what they are.
    assert load_text_encoder(f"{tmp_path}:bfloat16").fingerprint == original.fingerprint


def test_downloaded_repo_and_folder_are_the_same_encoder(hub, tmp_path, monkeypatch):
    """A Hub cache as `hf download` leaves it, read offline."""
    from huggingface_hub.file_download import repo_folder_name

    repo = tmp_path / repo_folder_name(repo_id="owner/siglip", repo_type="model")
    shutil.copytree(hub / "siglip", repo / "snapshots" / ("0" * 40))
    (repo / "refs").mkdir()
    (repo / "refs" / "main").write_text("0" * 40)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    for load in (load_image_encoder, load_text_encoder):
        assert load("owner/siglip").fingerprint == load(str(hub / "siglip")).fingerprint


def test_other_weights_are_another_encoder_even_in_the_same_file(tmp_path):
    save_llama(tmp_path / "a")
    first = load_text_encoder(str(tmp_path / "a")).fingerprint
    model = LlamaModel.from_pretrained(tmp_path / "a")
    with torch.no_grad():
        model.norm.weight[0] += 1e-3
    model.save_pretrained(tmp_path / "a")
    load_text_encoder.cache_clear()
    assert load_text_encoder(str(tmp_path / "a")).fingerprint != first


def test_weights_are_hashed_once(hub, tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HOME", str(tmp_path))
    first = _weights_identity(str(hub / "siglip"))
    monkeypatch.setattr("modeling_pamela.encoders_pamela.safe_open", None)
    assert _weights_identity(str(hub / "siglip")) == first


@pytest.mark.parametrize("precision", ["bfloat16", "float16", "float32"])
def test_precision_is_part_of_the_name(hub, precision):
    full, encoder = load_image_encoder(str(hub / "siglip")), load_image_encoder(f"{hub / 'siglip'}:{precision}")
    assert encoder.model.dtype == getattr(torch, precision)
    assert encoder.fingerprint == full.fingerprint
    pixel_values = full.image_processor([Image.linear_gradient("L").convert("RGB")], return_tensors="pt")[
        "pixel_values"
    ]
    embeds = encoder(pixel_values=pixel_values.to(encoder.model.dtype)).float()
    assert torch.cosine_similarity(embeds, full(pixel_values=pixel_values)) > 0.999


@pytest.mark.skipif(torch.cuda.is_available(), reason="about machines without CUDA")
def test_4bit_needs_cuda(hub):
    with pytest.raises(EncoderError, match=r"4bit needs a CUDA device and bitsandbytes"):
        load_text_encoder(f"{hub / 'llama'}:4bit")


def test_code_of_a_repo_is_never_run(hub, tmp_path):
    shutil.copytree(hub / "nemotron", tmp_path / "custom")
    config = (tmp_path / "custom" / "config.json").read_text().replace("llama_bidirec", "my_own", 1)
    (tmp_path / "custom" / "config.json").write_text(config)
    with pytest.raises(EncoderError, match="needs code that comes with it, which is never run"):
        load_text_encoder(str(tmp_path / "custom"))


def test_text_model_is_no_picture_encoder(hub):
    with pytest.raises(EncoderError, match="LlamaModel, which has no joint space"):
        load_image_encoder(str(hub / "llama"))


@pytest.mark.parametrize(
    ("file", "load"),
    [
        ("config.json", load_text_encoder),
        ("model.safetensors", load_text_encoder),
        ("tokenizer.json", load_text_encoder),
        ("preprocessor_config.json", load_image_encoder),
    ],
)
def test_folder_that_is_not_whole(hub, tmp_path, file, load):
    shutil.copytree(hub / "siglip", tmp_path / "part")
    (tmp_path / "part" / file).unlink()
    with pytest.raises(EncoderError, match="part"):
        load(str(tmp_path / "part"))


@pytest.mark.parametrize("content", ["{", "[]"])
@pytest.mark.parametrize(
    ("kind", "file"),
    [
        ("siglip", "config.json"),
        ("siglip", "tokenizer.json"),
        ("siglip", "tokenizer_config.json"),
        ("siglip", "preprocessor_config.json"),
        ("nemotron", "config.json"),
        ("nemotron", "modules.json"),
        ("nemotron", "1_Pooling/config.json"),
    ],
)
def test_damaged_files(hub, tmp_path, kind, file, content):
    shutil.copytree(hub / kind, tmp_path / "damaged")
    (tmp_path / "damaged" / file).write_text(content)
    load = load_image_encoder if file.startswith("preprocessor") else load_text_encoder
    with pytest.raises(EncoderError, match="damaged"):
        load(str(tmp_path / "damaged"))


def test_weights_of_another_model_are_refused(hub, tmp_path):
    shutil.copytree(hub / "llama", tmp_path / "mixed")
    shutil.copy(hub / "siglip" / "model.safetensors", tmp_path / "mixed")
    with pytest.raises(EncoderError, match=r"lack .* tensors of a LlamaModel"):
        load_text_encoder(str(tmp_path / "mixed"))


def test_cut_off_weights_are_refused(hub, tmp_path):
    shutil.copytree(hub / "llama", tmp_path / "cut")
    weights = tmp_path / "cut" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-50])
    with pytest.raises(EncoderError, match="cannot be loaded"):
        load_text_encoder(str(tmp_path / "cut"))


@pytest.mark.parametrize("load", [load_image_encoder, load_text_encoder])
def test_hub_model_that_cannot_be_had(load, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(EncoderError, match=r"nobody/no-such-model.*hf download nobody/no-such-model.*hf auth login"):
        load("nobody/no-such-model:bfloat16")


def test_width_that_the_config_does_not_tell(tmp_path):
    """ALIGN's pictures are as wide as its vision tower, whatever its `projection_dim`."""
    from transformers import AlignConfig, AlignModel
    from transformers.models.efficientnet.image_processing_pil_efficientnet import EfficientNetImageProcessorPil

    vision = {"image_size": 32, "hidden_dim": 24, "width_coefficient": 0.1, "depth_coefficient": 0.1}
    config = AlignConfig(text_config={**TOWER, "vocab_size": VOCABULARY}, vision_config=vision, projection_dim=10)
    AlignModel(config).save_pretrained(tmp_path)
    make_tokenizer(pad_token="<pad>").save_pretrained(tmp_path)
    EfficientNetImageProcessorPil(size={"height": 32, "width": 32}).save_pretrained(tmp_path)
    assert load_image_encoder(str(tmp_path)).embed_dim == 32
    assert load_text_encoder(str(tmp_path)).embed_dim == 10


def test_processor_prepares_texts_as_their_encoders_want_them(hub, tmp_path):
    save_llama(tmp_path / "prompted")
    save_pooling(tmp_path / "prompted", {"pooling_mode": "lasttoken"}, prompts={"document": "lake "})
    config = PamelaConfig(
        image_encoder=str(hub / "siglip"), text_encoder=str(tmp_path / "prompted"), profile_encoder=str(hub / "siglip")
    )
    PamelaProcessor.from_config(config).save_pretrained(tmp_path / "processor")
    processor = PamelaProcessor.from_pretrained(tmp_path / "processor")
    plain = make_tokenizer(pad_token="<pad>")
    batch = processor(text=["Evening", None], metadata=[{"style": "Ink"}, {}])
    assert batch["input_ids"][0].tolist() == plain("lake Evening")["input_ids"]
    assert batch["attention_mask"].any(-1).tolist() == [True, False]
    # SigLIP reads lower case, padded to its full length.
    assert batch["metadata_input_ids"].shape == (2, 16)
    expected = plain("style is ink.", padding="max_length", max_length=16, truncation=True)["input_ids"]
    assert batch["metadata_input_ids"][0].tolist() == expected


KINDS = [
    *((load_image_encoder, kind) for kind in ("tiny_siglip", "tiny_clip", "naflex")),
    *((load_text_encoder, kind) for kind in ("tiny_siglip", "tiny_clip", "naflex", "llama", "nemotron")),
]


@pytest.mark.parametrize(("load", "kind"), KINDS)
def test_without_weights_an_encoder_is_recognised_and_preprocesses_alike(load, kind, hub, request, monkeypatch):
    name = request.getfixturevalue(kind) if kind.startswith("tiny") else str(hub / kind)
    whole = load(name)
    if (load, kind) not in (
        (load_image_encoder, "naflex"),
        (load_text_encoder, "tiny_clip"),
    ):  # need values for a shape
        monkeypatch.setattr(encoders_pamela, "_load_hub_model", None)
    load.cache_clear()
    light = load(name, weights=False)
    for field in ("name", "fingerprint", "embed_dim", "embed_blocks", "max_length", "padding", "lower_case", "prompt"):
        assert getattr(light, field, None) == getattr(whole, field, None), field
    if load is load_text_encoder:
        assert light.tokenizer("a lake")["input_ids"] == whole.tokenizer("a lake")["input_ids"]
        assert getattr(light, "pooling", None) == getattr(whole, "pooling", None)
    else:
        assert light.image_processor.to_dict() == whole.image_processor.to_dict()


def test_embedded_encoders_are_in_memory_once():
    assert load_text_encoder(EMBEDDED_TEXT_ENCODER, weights=False) is load_text_encoder(EMBEDDED_TEXT_ENCODER)
    assert load_image_encoder(EMBEDDED_IMAGE_ENCODER, weights=False) is load_image_encoder(EMBEDDED_IMAGE_ENCODER)


def test_training_reads_no_weights_of_its_encoders(hub, monkeypatch):
    monkeypatch.setattr(encoders_pamela, "_load_hub_model", None)
    name, profile = str(hub / "siglip"), str(hub / "nemotron")
    config = PamelaConfig(image_encoder=name, text_encoder=name, profile_encoder=f"{profile}:bfloat16")
    for load in (load_image_encoder, load_text_encoder):
        load.cache_clear()
    assert set(bind_encoders(config)) == {"image", "text", "profile"}
    assert (config.image_embed_dim, config.text_embed_dim, config.profile_embed_dim) == (16, 16, 16)
    assert PamelaProcessor.from_config(config).profile_max_length > 0
