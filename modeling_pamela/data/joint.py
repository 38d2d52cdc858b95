"""Several data folders read as one, each with its own rating scale and its own names of people and pictures."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .files import DataError
from .folder import DataFolder, Ratings


__all__ = ["JointFolder", "Member", "data_set_of_user", "members", "open_data"]


@dataclass(frozen=True)
class Member:
    """
    One data set of a joint one.

    Attributes:
        name (`str`): Of its folder; unique in the joint set.
        folder ([`DataFolder`])
        weight (`float`): What one of its ratings counts for in training.
        first_user, first_image, first_rating (`int`): Where its rows of people and pictures and its `rating_id`s start.
    """

    name: str
    folder: DataFolder
    weight: float = 1.0
    first_user: int = 0
    first_image: int = 0
    first_rating: int = 0


class JointFolder:
    """
    Several data folders, read as training and evaluation read one [`DataFolder`]. People and pictures of different sets never
    merge, even under one name: they are shown as `name:id`, and their rows follow each other set by set.

    Args:
        folders (sequence of [`DataFolder`]): At least two; each keeps its own scale.
        weights (sequence of `float`, *optional*): What a rating of each set counts for in training; 1 by default.
        names (sequence of `str`, *optional*): By default those of the folders.

    Raises:
        DataError: Two names are alike, or weights are not positive, one a set.
    """

    def __init__(
        self,
        folders: Sequence[DataFolder],
        weights: Sequence[float] | None = None,
        names: Sequence[str] | None = None,
    ) -> None:
        names = [folder.path.resolve().name for folder in folders] if names is None else list(names)
        weights = [1.0] * len(folders) if weights is None else list(weights)
        if len(weights) != len(folders):
            raise DataError(f"There are {len(folders)} data sets but {len(weights)} weights; give one weight a set.")
        for name, weight in zip(names, weights, strict=True):
            if not (np.isfinite(weight) and weight > 0):
                raise DataError(
                    f"The weight of {name} is {weight}; expected a number above 0. Leave the set out instead."
                )
        if len(set(names)) < len(names):
            raise DataError(
                f"Two data sets have the same name ({', '.join(names)}), so their people could not be told apart. Rename a folder."
            )
        self.members: list[Member] = []
        user = image = rating = 0
        for name, folder, weight in zip(names, folders, weights, strict=True):
            self.members.append(Member(name, folder, weight, user, image, rating))
            user, image = user + len(folder.user_ids), image + len(folder.image_ids)
            rating += 1 + max(int(folder.ratings(*folder.splits).rating_id.max(initial=-1)), 0)

    def __repr__(self) -> str:
        return f"JointFolder({self.members!r})"

    @property
    def path(self) -> str:
        """The folders, for messages."""
        return ", ".join(str(member.folder.path) for member in self.members)

    @property
    def rating_scale(self) -> tuple[float, float]:
        """That of the first set, on whose 0..1 scale a joint model's scores are."""
        return self.members[0].folder.rating_scale

    @property
    def splits(self) -> list[str]:
        """Splits of the ratings that every set has."""
        first, *others = (member.folder.splits for member in self.members)
        return [split for split in first if all(split in other for other in others)]

    @property
    def user_ids(self) -> list[str]:
        """`name:id` of the people."""
        return [f"{member.name}:{user}" for member in self.members for user in member.folder.user_ids]

    @property
    def image_ids(self) -> list[str]:
        """`name:id` of the pictures."""
        return [f"{member.name}:{image}" for member in self.members for image in member.folder.image_ids]

    @property
    def prompts(self) -> list[str | None]:
        """Prompt or caption of each picture."""
        return [prompt for member in self.members for prompt in member.folder.prompts]

    def ratings(self, *splits: str) -> Ratings:
        """
        The ratings of one or more splits, set after set; `rating_norm` is each on its own set's scale.

        Raises:
            DataError: A set has no such split.
        """
        parts = []
        for member in self.members:
            part = member.folder.ratings(*splits)
            parts.append(
                Ratings(
                    part.rating_id + member.first_rating,
                    part.user + member.first_user,
                    part.image + member.first_image,
                    part.rating,
                    part.rating_norm,
                )
            )
        columns = ("rating_id", "user", "image", "rating", "rating_norm")
        return Ratings(*(np.concatenate([getattr(part, column) for part in parts]) for column in columns))


def open_data(paths: Sequence[str | Path], weights: Sequence[float] | None = None) -> DataFolder | JointFolder:
    """One folder as it is, several as a [`JointFolder`]."""
    folders = [DataFolder(path) for path in paths]
    return folders[0] if len(folders) == 1 else JointFolder(folders, weights)


def members(folder: DataFolder | JointFolder) -> list[Member]:
    """The data sets of a folder: a plain one is its own only member."""
    return folder.members if isinstance(folder, JointFolder) else [Member(folder.path.resolve().name, folder)]


def data_set_of_user(folder: DataFolder | JointFolder) -> np.ndarray:
    """`(U,)`: the place in [`members`] of the set that every person belongs to."""
    sizes = [len(member.folder.user_ids) for member in members(folder)]
    return np.repeat(np.arange(len(sizes)), sizes)
