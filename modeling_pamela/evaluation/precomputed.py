"""Anything that scores pictures, as a [`~modeling_pamela.evaluation.protocol.PersonalScorer`]: tables of scores, and rewards for the average person."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image
from tqdm.auto import tqdm

from ..data.files import DataError
from ..data.folder import DataFolder
from ..data.images import open_image
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
    A reward for the average person: any function of pictures and prompts. Every picture is scored once, when this is made.

    Args:
        reward (callable): From a list of `PIL.Image.Image` and a list of prompts (`str` or `None`) to one number a picture.
        folder ([`~modeling_pamela.data.folder.DataFolder`]): What is to be judged.
        name (`str`): Of the method.
        batch_size (`int`): Pictures a call.

    Raises:
        DataError: The reward does not give one finite number a picture.
    """

    def __init__(
        self,
        reward: Callable[[Sequence[Image.Image], Sequence[str | None]], Sequence[float]],
        folder: DataFolder,
        name: str,
        batch_size: int = 16,
    ) -> None:
        self.name = name
        self.scores = np.full(len(folder.image_ids), np.nan)
        rows: list[int] = []
        pictures: list[Image.Image] = []

        def score() -> None:
            answer = reward(pictures, [folder.prompts[row] for row in rows])
            try:
                found = np.asarray(answer, dtype=np.float64)
            except (TypeError, ValueError):
                found = np.empty(0)
            if found.shape != (len(rows),) or not np.isfinite(found).all():
                raise DataError(
                    f"The reward {name!r} gave {answer!r} for {len(rows)} pictures; expected one finite number each."
                )
            self.scores[rows] = found
            rows.clear()
            pictures.clear()

        for row, content in tqdm(
            folder.iter_image_bytes(), total=len(self.scores), desc=f"Scoring by {name}", unit="picture"
        ):
            rows.append(row)
            pictures.append(open_image(content))
            if len(rows) == batch_size:
                score()
        if rows:
            score()

    def __call__(self, evidence: Evidence, queries: np.ndarray) -> np.ndarray:
        """Scores `(q,)` of the pictures in rows `queries`."""
        return self.scores[queries]
