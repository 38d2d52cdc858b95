import numpy as np
import pytest
import torch
from PIL import Image

from modeling_pamela.rewards.base import RewardError, RewardScores
from modeling_pamela.rewards.diffusion_rl import DiffusionReward


@pytest.fixture
def arrays(pictures):
    return np.stack([np.asarray(picture) for picture in pictures])


def test_whatever_form_pictures_come_in(reward, pictures, arrays):
    tensor = torch.from_numpy(arrays).permute(0, 3, 1, 2) / 255
    metadata = [{"user_id": "ann"}, {"user_id": "bob"}] * 6
    expected = reward(pictures, ["a lake"] * 12, ["ann", "bob"] * 6)
    for images in (pictures, arrays, tensor, tensor.half(), tensor.clone().requires_grad_()):
        scores, info = DiffusionReward(reward)(images, ["a lake"] * 12, metadata)
        assert scores.dtype == np.float32
        assert scores == pytest.approx(expected.mean.numpy(), abs=1e-6)
        assert info["std"] == pytest.approx(expected.std.numpy(), abs=1e-6)
        assert not info["black"].any()


@pytest.mark.parametrize("metadata", [None, [], {}, [{}] * 12, [None] * 12])
def test_one_person(reward, pictures, metadata):
    scores, _ = DiffusionReward(reward, person="bob")(pictures, ["a lake"] * 12, metadata)
    assert scores == pytest.approx(reward(pictures, ["a lake"] * 12, "bob").mean.numpy(), abs=1e-6)


def test_black_pictures(reward, pictures):
    images = [pictures[0], Image.new("RGB", (40, 32))]
    with pytest.raises(RewardError, match=r"1 of 2 pictures are black \(the first: number 2\)"):
        DiffusionReward(reward)(images, ["a"] * 2)
    scores, info = DiffusionReward(reward, black_score=-1.0)(images, ["a"] * 2)
    assert info["black"].tolist() == [False, True]
    assert scores[1] == -1
    assert scores[0] == pytest.approx(reward(images[:1], ["a"]).mean.item(), abs=1e-6)


def test_bad_input(reward, pictures, arrays):
    adapter = DiffusionReward(reward)
    with pytest.raises(RewardError, match="12 pictures, 1 prompts"):
        adapter(pictures, ["a"])
    with pytest.raises(RewardError, match="metadata of 1"):
        adapter(pictures, ["a"] * 12, [{}])
    with pytest.raises(RewardError, match="no taste of a user 'eve'"):
        adapter(pictures[:2], ["a"] * 2, [{"user_id": "ann"}, {"user_id": "eve"}])
    broken = reward.of("ann")
    broken.reward = lambda images, prompts, people: RewardScores(torch.full((len(images),), torch.nan))
    with pytest.raises(RewardError, match="a score that is no number"):
        DiffusionReward(broken)(pictures, ["a"] * 12)
    with pytest.raises(RewardError, match="NaN"):
        adapter(torch.full((1, 3, 8, 8), torch.nan), ["a"])
    with pytest.raises(RewardError, match=r"\(12, 3, 32, 40\)"):
        adapter(arrays.transpose(0, 3, 1, 2), ["a"] * 12)
    with pytest.raises(RewardError, match="from -1 to"):
        adapter(torch.linspace(-1, 1, 3 * 64).reshape(1, 3, 8, 8), ["a"])
