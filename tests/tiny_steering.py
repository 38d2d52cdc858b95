"""Parts of a search that take no time: painted scenes of 48 x 36 pixels, a taste for colours, words as content."""

import zlib

import numpy as np
import torch

from modeling_pamela.rewards.base import RewardError, RewardScores
from modeling_pamela.steering.scene_renderer import SceneRenderer


class LoggedRenderer(SceneRenderer):
    """Writes down every picture that it begins to paint."""

    def __init__(self, log=None):
        super().__init__((48, 36))
        self.log = log
        self.prompts = []

    def render(self, prompts, seeds):
        pictures = []
        for prompt, seed in zip(prompts, seeds, strict=True):
            self.prompts.append(prompt)
            if self.log is not None:
                with open(self.log, "a") as file:
                    file.write(f"paint {prompt}\n")
            pictures += super().render([prompt], [seed])
        return pictures


class ColourReward:
    """How red a picture is for "red", how blue for "blue", how bright for everybody else."""

    name = "colours"
    score_range = (0.0, 1.0)
    differentiable = False

    def __init__(self, higher_is_better=True, std=None, log=None, scale=1.0):
        self.scale = scale
        self.higher_is_better = higher_is_better
        self.std = std
        self.log = log

    def __call__(self, images, prompts=None, people=None):
        people = people if isinstance(people, list) else [people] * len(images)
        means = []
        for image, person in zip(images, people, strict=True):
            if person not in ("red", "blue", None):
                raise RewardError(f"There is no taste of {person!r}.")
            red, _, blue = np.asarray(image, float).mean((0, 1)) / 255
            score = {"red": red - blue, "blue": blue - red, None: float(np.asarray(image, float).mean()) / 255}[person]
            means.append(score if self.higher_is_better else -score)
            if self.log is not None:
                with open(self.log, "a") as file:
                    file.write(f"score {person} {zlib.crc32(image.tobytes())}\n")
        return RewardScores(
            torch.tensor(means, dtype=torch.float64) * self.scale,
            None if self.std is None else torch.full((len(means),), self.std, dtype=torch.float64),
        )


class WordContent:
    """Texts are about the same as far as they share words."""

    def embed_texts(self, texts):
        rows = torch.zeros(len(texts), 512)
        for row, text in enumerate(texts):
            for word in text.split():
                rows[row, zlib.crc32(word.encode()) % 512] += 1
        return rows

    def alignment(self, images, prompt):
        return None
