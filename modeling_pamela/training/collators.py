"""Ratings as batches: whole people for the posterior, single ratings for the paper's objective."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from ..data.embed import FolderEmbeddings
from ..data.folder import Ratings
from ..data.processes import num_processes, process_index


__all__ = ["PamelaCollator", "RatingDataset", "UserDataset"]


class UserDataset(Dataset):
    """
    One item a person: all of their ratings, as the marginal likelihood needs them.

    Args:
        ratings ([`~modeling_pamela.data.folder.Ratings`]): Training ratings.
    """

    def __init__(self, ratings: Ratings) -> None:
        order = np.argsort(ratings.user, kind="stable")
        starts = np.unique(ratings.user[order], return_index=True)[1][1:]
        self.rows = np.split(order, starts)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> np.ndarray:
        return self.rows[index]


class RatingDataset(Dataset):
    """
    One item a rating, as the paper's mean squared error needs them.

    Args:
        ratings ([`~modeling_pamela.data.folder.Ratings`]): Training ratings.
    """

    def __init__(self, ratings: Ratings) -> None:
        self.size = len(ratings.user)

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, index: int) -> np.ndarray:
        return np.array([index])


class PamelaCollator:
    """
    From rows of ratings to model inputs: every distinct picture and every distinct person of the batch once.

    Args:
        ratings ([`~modeling_pamela.data.folder.Ratings`]): Training ratings.
        embeddings ([`~modeling_pamela.data.embed.FolderEmbeddings`]): Of their data folder.
        with_user_ids (`bool`): Add the people's rows in the user table (token models): their rank among the training people.
        data_set (`np.ndarray` of shape `(U,)`, *optional*): Set of every person of the folder; one set by default.
        set_weights (sequence of `float`): What a rating of each set counts for.

    Under `torchrun` every process is given the same items and keeps its share of them.
    """

    def __init__(
        self,
        ratings: Ratings,
        embeddings: FolderEmbeddings,
        with_user_ids: bool,
        data_set: np.ndarray | None = None,
        set_weights: Sequence[float] = (1.0,),
    ) -> None:
        users = len(embeddings.demographics)
        self.data_set = np.zeros(users, dtype=np.int64) if data_set is None else data_set
        self.weights = torch.tensor(set_weights, dtype=torch.float32)
        self.ratings = ratings
        self.embeddings = embeddings
        self.train_users = np.unique(ratings.user)
        self.with_user_ids = with_user_ids

    def __call__(self, items: Sequence[np.ndarray]) -> dict[str, Tensor]:
        """
        Args:
            items (sequence of `np.ndarray`): Rows of the ratings, as the data sets give them.

        Returns:
            `dict[str, torch.Tensor]`: Keyword arguments of [`PamelaForPersonalizedScoring`]: embeddings of N pictures and U
            people, their `data_set` and `weights`, `picture_index`, `user_index` and `labels` of R ratings.
        """
        share = items[process_index() :: num_processes()]
        # Fewer items than processes: this one takes part in the step without having a say.
        counts = float(len(share) > 0)
        rows = np.concatenate(share if share else items[:1])
        pictures, picture_index = np.unique(self.ratings.image[rows], return_inverse=True)
        users, user_index = np.unique(self.ratings.user[rows], return_inverse=True)
        batch = {
            "image_embeds": self.embeddings.image[pictures],
            "text_embeds": self.embeddings.text[pictures],
            "metadata_embeds": self.embeddings.metadata[pictures],
            "demographics_embeds": self.embeddings.demographics[users],
            "picture_index": torch.from_numpy(picture_index),
            "user_index": torch.from_numpy(user_index),
            "data_set": torch.from_numpy(self.data_set[users]),
            "weights": counts * self.weights[self.data_set[users]],
            "labels": torch.from_numpy(self.ratings.rating_norm[rows]).float(),
        }
        if self.with_user_ids:
            batch["user_ids"] = torch.from_numpy(np.searchsorted(self.train_users, users))
        return batch
