"""What a reward is."""

from collections.abc import Sequence
from typing import NamedTuple, Protocol, TypeAlias, runtime_checkable

from PIL import Image
from torch import Tensor

from ..taste.groups import SharedTaste
from ..taste.profile import TasteProfile


__all__ = ["Person", "Reward", "RewardError", "RewardScores"]

Person: TypeAlias = "str | TasteProfile | SharedTaste | None"
"""Whose reward: a user id that the reward knows, a taste, or `None` for the population."""


class RewardError(ValueError):
    """A reward cannot be computed as asked."""


class RewardScores(NamedTuple):
    """
    Rewards of n pictures.

    Attributes:
        mean (`torch.Tensor` of shape `(n,)`): Expected rewards.
        std (`torch.Tensor` of shape `(n,)`, *optional*): How unsure the reward is of each, NaN where it does not know of a person; `None` where
            it never knows.
    """

    mean: Tensor
    std: Tensor | None = None


@runtime_checkable
class Reward(Protocol):
    """
    Anything that scores pictures.

    Attributes:
        name (`str`): Of the method, in tables and logs.
        score_range (`tuple[float, float]`): Where scores usually lie. They may leave it and are never cut off.
        higher_is_better (`bool`): Whether a higher score is a better picture.
        differentiable (`bool`): Whether gradients reach pictures given as a tensor.
    """

    name: str
    score_range: tuple[float, float]
    higher_is_better: bool
    differentiable: bool

    def __call__(
        self,
        images: "Sequence[Image.Image] | Tensor",
        prompts: Sequence[str | None] | None = None,
        people: "Sequence[Person] | Person" = None,
    ) -> RewardScores:
        """
        Args:
            images (sequence of n `PIL.Image.Image`, or `torch.Tensor` of shape `(n, 3, H, W)` in 0..1): Pictures. One that occurs
                several times (the same object), e.g. for several people, is encoded once.
            prompts (sequence of n `str` or `None`, *optional*): What was asked for.
            people (sequence of n, or one for all, *optional*): For whom; the population where not given.

        Returns:
            [`RewardScores`] of n pictures. A score never depends on what else is in the batch.

        Raises:
            RewardError: There are no pictures, a person is unknown to the reward, lengths differ, or a picture is none (NaN, wrong channels
                or range).
        """
        ...
