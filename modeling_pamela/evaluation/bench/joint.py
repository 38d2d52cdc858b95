"""One model of several data sets against one model each, and whether either gives up telling people apart."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from tqdm.auto import tqdm

from ...data.folder import DataFolder
from ...data.joint import JointFolder, members
from ...modeling_pamela import PamelaForPersonalizedScoring
from ..bootstrap import bootstrap_mean, paired_difference
from ..protocol import Predictions, judge, predict, shift_case, unseen_cases
from ..report import Report
from ..scorers import model_scorer


if TYPE_CHECKING:
    from matplotlib.figure import Figure


__all__ = ["joint_report", "score_spread"]


def joint_report(
    folders: Sequence[DataFolder],
    train: Callable[[DataFolder | JointFolder, Path], PamelaForPersonalizedScoring],
    work: Path,
    k: int | None = 15,
    protocol: str | None = None,
) -> tuple[Report, "Figure"]:
    """
    New people of every data set, judged with the model of that set alone and with the one of all sets.

    Args:
        folders (sequence of [`~modeling_pamela.data.folder.DataFolder`]): Two or more, split and embedded.
        train (callable): Trains a model on a folder, alone or joint, into a folder; is only called where there is none from before.
        work (`Path`): Where the models are kept.
        k (`int`, *optional*): Ratings of a new person that are seen; `None` for all of a context.
        protocol (`str`, *optional*): Of contexts, see [`~modeling_pamela.evaluation.protocol.unseen_cases`].
    """
    joint = JointFolder(folders)
    trained = {}
    for name, folder in tqdm(
        [*zip(_names(joint), folders, strict=True), ("jointly", joint)], desc="Models", unit="model"
    ):
        made_of = "-".join(member.folder.split_fingerprint()[:8] for member in members(folder))
        directory = work / f"{name}-{made_of}"
        if (directory / "model.safetensors").is_file():
            trained[name] = PamelaForPersonalizedScoring.from_pretrained(directory)
        else:
            trained[name] = train(folder, directory)
    jointly = model_scorer(trained["jointly"], joint)
    rows: list[dict[str, Any]] = []
    for member in joint.members:
        cases = unseen_cases(member.folder, "test_unseen", protocol)
        alone = predict(model_scorer(trained[member.name], member.folder), cases, k)
        together = predict(jointly, [shift_case(case, member) for case in cases], k)
        results = {"alone": judge(alone), "jointly": judge(together)}
        of_ratings = score_spread(alone.user, alone.image, alone.references)
        for name, found in (("alone", alone), ("jointly", together)):
            scores = results[name]
            interval = bootstrap_mean(scores.srocc, scores.users)
            gain = paired_difference(scores.srocc, results["alone"].srocc, scores.users)
            spread = _spread_of_draws(found)
            rows.append(
                {
                    "data set": member.name,
                    "trained": name,
                    "user SROCC": interval.mean,
                    "low": interval.low,
                    "high": interval.high,
                    "gain": None if name == "alone" else gain.mean,
                    "gain low": None if name == "alone" else gain.low,
                    "gain high": None if name == "alone" else gain.high,
                    "spread": spread,
                    "share of the ratings' spread": spread / of_ratings,
                }
            )
    seen = "all ratings that may be known" if k is None else f"{k} ratings"
    report = Report(
        "joint",
        "Trained jointly and alone",
        f"User SROCC of new people with {seen} each, and its paired gain over the model of the data set alone, with 95 % intervals that redraw people. Spread: "
        "standard deviation over people of a picture's score, mean over pictures, on the set's 0 to 1 scale. At 0 a model has collapsed to one score for "
        "everybody; ratings have noise besides taste, so that a share of 1 is not to be reached.",
        rows,
    )
    return report, _draw(rows)


def score_spread(users: np.ndarray, images: np.ndarray, values: np.ndarray) -> float:
    """
    Standard deviation over people of what one picture got, mean over the pictures that two people or more were asked about.

    Args:
        users, images (`np.ndarray` of shape `(Q,)`): Who, and which picture. Several values of one person and picture count as their mean.
        values (`np.ndarray` of shape `(Q,)`): Scores or ratings.

    Returns:
        `float`: 0 where no picture has two people.

    Example:

    ```python
    >>> import numpy as np
    >>> from modeling_pamela.evaluation.bench.joint import score_spread

    >>> users, images = np.array([0, 1, 0, 1, 2]), np.array([0, 0, 1, 1, 2])
    >>> round(score_spread(users, images, np.array([0.2, 0.4, 0.5, 0.5, 0.9])), 3)
    0.05

    ```
    """
    pairs, owner = np.unique(np.stack([images, users]), axis=1, return_inverse=True)
    means = np.bincount(owner, values) / np.bincount(owner)
    _, picture, sizes = np.unique(pairs[0], return_inverse=True, return_counts=True)
    centred = means - (np.bincount(picture, means) / sizes)[picture]
    stds = np.sqrt(np.bincount(picture, np.square(centred)) / sizes)
    return float(stds[sizes > 1].mean()) if (sizes > 1).any() else 0.0


def _spread_of_draws(found: Predictions) -> float:
    """Mean over context draws, inside of which every person has one score of a picture."""
    spreads = [
        score_spread(found.user[rows], found.image[rows], found.predictions[rows])
        for rows in (found.draw == draw for draw in np.unique(found.draw))
    ]
    return float(np.mean(spreads))


def _names(joint: JointFolder) -> list[str]:
    return [member.name for member in joint.members]


def _draw(rows: Sequence[dict[str, Any]]) -> "Figure":
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 0.7 * len(rows) / 2 + 1))
    axes = figure.add_subplot()
    for shift, color, trained in ((-0.12, "grey", "alone"), (0.12, "black", "jointly")):
        chosen = [row for row in rows if row["trained"] == trained]
        mean = np.array([row["user SROCC"] for row in chosen])
        spread = [mean - [row["low"] for row in chosen], [row["high"] for row in chosen] - mean]
        places = np.arange(len(chosen)) + shift
        axes.errorbar(mean, places, xerr=np.clip(spread, 0, None), fmt="o", color=color, capsize=2, label=trained)
    axes.set_yticks(np.arange(len(chosen)), [row["data set"] for row in chosen])
    axes.invert_yaxis()
    axes.set_xlabel("user SROCC of new people, 95 % interval over people")
    axes.legend(frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    return figure
