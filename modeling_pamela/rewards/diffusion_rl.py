"""A personal reward as trainers of diffusion models by reinforcement learning call it: DDPO, Flow-GRPO and their descendants."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image
from torch import Tensor

from .base import Person, Reward, RewardError
from .pictures import is_black, to_pictures


__all__ = ["DiffusionReward"]


class DiffusionReward:
    """
    `(images, prompts, metadata) -> (scores, info)`.

    Args:
        reward ([`~modeling_pamela.rewards.base.Reward`]): What scores. A lower-is-better reward is negated.
        person (*optional*): Whose reward it is where the metadata name nobody; the population by default.
        person_key (`str`): Of a picture's metadata: its user id.
        black_score (`float`, *optional*): What a picture gets that is black throughout, as safety checkers return what they hold back; an
            error by default.

    Example:

    ```python
    reward_fn = DiffusionReward(PersonalReward.from_pretrained("owner/model"), person="ann")
    scores, info = reward_fn(images, prompts, metadata)
    ```
    """

    def __init__(
        self, reward: Reward, person: Person = None, person_key: str = "user_id", black_score: float | None = None
    ) -> None:
        self.reward = reward
        self.person = person
        self.person_key = person_key
        self.black_score = black_score

    def __call__(
        self,
        images: "Tensor | np.ndarray | Sequence[Image.Image]",
        prompts: Sequence[str],
        metadata: Sequence[Mapping[str, Any]] | None = None,
    ) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """
        Args:
            images (`torch.Tensor` of shape `(n, 3, H, W)` in 0..1, `np.ndarray` of shape `(n, H, W, 3)` and dtype uint8, or n `PIL.Image.Image`):
                Pictures.
            prompts (sequence of n `str`): What they were made for.
            metadata (sequence of n `dict`, *optional*): What the data set says of each.

        Returns:
            `(np.ndarray, dict)`: Scores `(n,)`, float32; and `black` and, where the reward knows it, `std`, `(n,)` each.

        Raises:
            RewardError: A person is unknown, lengths differ, a picture is none, or is black and `black_score` was not given.
        """
        if isinstance(images, Tensor):
            images = images.detach()
        pictures = to_pictures(images)
        # Trainers hand an empty dict or list where a data set has no metadata.
        facts = list(metadata) if metadata else [{}] * len(pictures)
        if len(facts) != len(pictures) or len(prompts) != len(pictures):
            raise RewardError(
                f"There are {len(pictures)} pictures, {len(prompts)} prompts and metadata of {len(facts)}; expected one of each a picture."
            )
        people: list[Person] = [(of_one or {}).get(self.person_key, self.person) for of_one in facts]
        black = np.array([is_black(picture) for picture in pictures])
        if black.any() and self.black_score is None:
            raise RewardError(
                f"{black.sum()} of {len(pictures)} pictures are black (the first: number {black.argmax() + 1}), perhaps by a safety checker. Switch "
                "it off in training, or say with `black_score` what such a picture is worth."
            )
        mean, std = self.reward(pictures, list(prompts), people)
        scores = mean.detach().cpu().numpy() * (1 if self.reward.higher_is_better else -1)
        if not np.isfinite(scores).all():
            raise RewardError(
                f"The reward {self.reward.name} gave a score that is no number; nothing can be learned from it."
            )
        if self.black_score is not None:
            scores = np.where(black, self.black_score, scores)
        return scores.astype(np.float32), {"black": black} | (
            {} if std is None else {"std": std.detach().cpu().numpy()}
        )
