"""Anything that scores pictures, as a [`~modeling_pamela.evaluation.protocol.PersonalScorer`]: tables of scores, and rewards."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image
from tqdm.auto import tqdm

from ..data.files import DataError
from ..data.folder import DataFolder
from ..data.images import open_image
from ..rewards.base import Reward
from .protocol import Evidence


__all__ = ["RewardScorer", "TableScorer"]


class TableScorer:
    """
    Scores that were computed elsewhere, for everybody alike or for each person.

    Args:
        path (`str` or `Path`): CSV or Parquet with the columns `image_id` and `score`, and for scores that differ by person `user_id`.
        folder ([`~modeling_pamela.data.folder.DataFolder`]): What is to be judged.
        name (`str`, *optional*): Of the method; the file's name by default.

    Raises:
        DataError: The file cannot be read, lacks a column, scores something twice, or a score is not finite.
    """

    def __init__(self, path: str | Path, folder: DataFolder, name: str | None = None) -> None:
        self.path = Path(path)
        self.name = name or self.path.stem
        # Names are text, whatever they look like: picture 007 is not picture 7.
        text = {"image_id": str, "user_id": str}
        try:
            if self.path.suffix == ".parquet":
                table = pd.read_parquet(self.path)
            else:
                table = pd.read_csv(self.path, dtype=text, keep_default_na=False, na_values={"score": [""]})
        except (OSError, ValueError) as error:
            raise DataError(f"The scores {self.path} cannot be read ({error}). Expected CSV or Parquet.") from error
        if missing := [column for column in ("image_id", "score") if column not in table]:
            raise DataError(f"The scores {self.path} lack the columns {missing}; found {list(table.columns)}.")
        keys = [column for column in ("user_id", "image_id") if column in table]
        table = table.astype(dict.fromkeys(keys, str))
        scores = pd.to_numeric(table["score"], errors="coerce")
        if (wrong := ~np.isfinite(scores)).any():
            row = int(np.flatnonzero(wrong)[0])
            raise DataError(
                f"{int(wrong.sum())} scores in {self.path} are no finite numbers; the first is in row {row + 1}: {table['score'].iloc[row]!r}."
            )
        if (twice := table.duplicated(keys)).any():
            raise DataError(
                f"{self.path} scores {table[keys][twice].iloc[0].to_dict()} more than once; keep one score."
            )
        # What the data folder does not hold is not asked for.
        images = {name: row for row, name in enumerate(folder.image_ids)}
        self.user_ids, self.image_ids = folder.user_ids, folder.image_ids
        row_of_image = table["image_id"].map(images).fillna(-1).astype(int).to_numpy()
        owners = table["user_id"] if "user_id" in table else pd.Series([""] * len(table))
        self.is_personal = "user_id" in table
        self.scores = {}
        for owner, rows in owners.groupby(owners).indices.items():
            of_owner = np.full(len(images), np.nan)
            known = rows[row_of_image[rows] >= 0]
            of_owner[row_of_image[known]] = scores.to_numpy()[known]
            self.scores[owner] = of_owner

    def __call__(self, evidence: Evidence, queries: np.ndarray) -> np.ndarray:
        """Scores `(q,)` of the pictures in rows `queries`; a `DataError` that names what has none."""
        user = self.user_ids[evidence.user] if self.is_personal else ""
        if user not in self.scores:
            raise DataError(f"{self.path} has no score for user {user!r}, who is to be judged on.")
        found = self.scores[user][queries]
        if np.isnan(found).any():
            missing = self.image_ids[queries[np.isnan(found)][0]]
            who = f" and user {user!r}" if self.is_personal else ""
            raise DataError(f"{self.path} has no score for picture {missing!r}{who}, which is to be judged on.")
        return found


class RewardScorer:
    """
    A reward, for the average person or for each one that it knows. Every picture is scored once, when this is made.

    Args:
        reward ([`~modeling_pamela.rewards.base.Reward`] or callable): Any function from a list of `PIL.Image.Image` and a list of prompts (`str`
            or `None`) to one number a picture will do. A lower-is-better reward is negated.
        folder ([`~modeling_pamela.data.folder.DataFolder`]): What is to be judged.
        name (`str`, *optional*): Of the method; the reward's own or the function's by default.
        batch_size (`int`): Pictures a call.
        user_ids (sequence of `str`, *optional*): People for whom each picture is scored; by default everybody gets the reward for
            nobody in particular. What such a reward has seen of a person must not be among what it is judged on.

    Raises:
        DataError: The reward does not give one finite number a picture, or a person is not in the folder.
        RewardError: The reward refuses a picture, a prompt or a person.
    """

    def __init__(
        self,
        reward: Reward | Callable[[Sequence[Image.Image], Sequence[str | None]], Sequence[float]],
        folder: DataFolder,
        name: str | None = None,
        batch_size: int = 16,
        user_ids: Sequence[str] | None = None,
    ) -> None:
        self.reward = reward
        own = reward.name if isinstance(reward, Reward) else getattr(reward, "__name__", type(reward).__name__)
        self.name = str(name or own)
        known = {user_id: row for row, user_id in enumerate(folder.user_ids)}
        if unknown := [user_id for user_id in user_ids or () if user_id not in known]:
            raise DataError(f"{folder.path} has nobody called {unknown[0]!r}, for whom the reward is to score.")
        self.user_ids = folder.user_ids
        # Row of a person in the scores; everybody's is the first where the reward is for nobody in particular.
        self.rows = None if user_ids is None else {known[user_id]: row for row, user_id in enumerate(user_ids)}
        self.scores = np.full((1 if user_ids is None else len(user_ids), len(folder.image_ids)), np.nan)
        pictures: dict[int, Image.Image] = {}
        for row, content in tqdm(
            folder.iter_image_bytes(), total=len(folder.image_ids), desc=f"Scoring by {self.name}", unit="picture"
        ):
            pictures[row] = open_image(content)
            if len(pictures) == batch_size:
                self._score(pictures, folder, user_ids)
        if pictures:
            self._score(pictures, folder, user_ids)

    def _score(self, pictures: dict[int, Image.Image], folder: DataFolder, user_ids: Sequence[str] | None) -> None:
        rows, images = list(pictures), list(pictures.values())
        prompts = [folder.prompts[row] for row in rows]
        number, sign = len(self.scores), 1
        if not isinstance(self.reward, Reward):
            answer: Any = self.reward(images, prompts)
        else:
            sign = 1 if self.reward.higher_is_better else -1
            people = None if user_ids is None else [user_id for user_id in user_ids for _ in images]
            answer = self.reward(images * number, prompts * number, people).mean
        try:
            found = np.asarray(answer, dtype=np.float64)
        except (TypeError, ValueError):
            found = np.empty(0)
        if found.shape != (number * len(rows),) or not np.isfinite(found).all():
            raise DataError(
                f"The reward {self.name!r} gave {answer!r} for {len(rows)} pictures; expected one finite number each."
            )
        self.scores[:, rows] = sign * found.reshape(number, -1)
        pictures.clear()

    def __call__(self, evidence: Evidence, queries: np.ndarray) -> np.ndarray:
        """Scores `(q,)` of the pictures in rows `queries`; a `DataError` for a person for whom they were not computed."""
        if self.rows is None:
            return self.scores[0, queries]
        if evidence.user not in self.rows:
            raise DataError(
                f"The reward {self.name!r} was not asked to score for user {self.user_ids[evidence.user]!r}."
            )
        return self.scores[self.rows[evidence.user], queries]
