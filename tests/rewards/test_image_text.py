import pytest
import torch
from tiny_encoders import make_tokenizer, save_llama
from torch.nn import functional as F
from transformers import AutoModel, CLIPConfig, CLIPModel
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from modeling_pamela.encoders_pamela import EncoderError
from modeling_pamela.rewards.base import Reward, RewardError
from modeling_pamela.rewards.image_text import ImageTextReward


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    """Folder of a tiny random CLIP."""
    folder = tmp_path_factory.mktemp("clip")
    torch.manual_seed(0)
    tower = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    tokens = {
        "vocab_size": 120,
        "max_position_embeddings": 16,
        "pad_token_id": 0,
        "eos_token_id": 1,
        "bos_token_id": 2,
    }
    config = CLIPConfig(
        text_config={**tower, **tokens}, vision_config={**tower, "image_size": 32, "patch_size": 8}, projection_dim=16
    )
    CLIPModel(config).save_pretrained(folder)
    make_tokenizer(pad_token="<pad>").save_pretrained(folder)
    CLIPImageProcessorPil(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}).save_pretrained(folder)
    return str(folder)


@pytest.mark.parametrize("kind", ["clip", "siglip"])
def test_the_similarity_of_picture_and_prompt(kind, request, pictures):
    name = request.getfixturevalue(kind)
    reward = ImageTextReward(name, batch_size=2)
    assert isinstance(reward, Reward)
    prompts = ["a lake", "age is 26", "A LAKE", "evening"]
    mean, std = reward([*pictures[:3], pictures[0]], prompts)
    assert std is None
    model = AutoModel.from_pretrained(name)
    processor = reward.processor
    with torch.no_grad():
        seen = model.get_image_features(**processor(images=[*pictures[:3], pictures[0]])).pooler_output
        tokens = processor.tokenize(prompts)
        if kind == "siglip":
            del tokens["attention_mask"]
        read = model.get_text_features(**tokens).pooler_output
    assert torch.allclose(mean, F.cosine_similarity(seen, read).double(), atol=1e-5)
    assert torch.allclose(reward(pictures[:3], prompts[:3], ["ann", None, "bob"]).mean, mean[:3])


@pytest.mark.parametrize(
    ("prompts", "message"),
    [
        (None, "2 pictures and no prompts"),
        ("a lake", "one text"),
        (["a"], "2 pictures and 1"),
        (["a", " "], "number 2 has no prompt"),
        ([None, "a"], "number 1 has no prompt"),
    ],
)
def test_pictures_without_prompts(siglip, pictures, prompts, message):
    with pytest.raises(RewardError, match=message):
        ImageTextReward(siglip)(pictures[:2], prompts)


def test_a_model_of_texts_alone(tmp_path):
    with pytest.raises(EncoderError):
        ImageTextReward(save_llama(tmp_path / "llama"))
