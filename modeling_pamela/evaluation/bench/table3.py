"""Inputs left out, one model trained for each (PAMELA, Table 3)."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from tqdm.auto import tqdm

from ...data.folder import DataFolder
from ...modeling_pamela import PamelaForPersonalizedScoring
from ..bootstrap import Interval, bootstrap_mean
from ..protocol import evaluate_scorer, seen_cases, unseen_cases
from ..report import Report
from ..scorers import model_scorer


if TYPE_CHECKING:
    from matplotlib.figure import Figure


__all__ = ["ABLATIONS", "PUBLISHED", "ablation_report"]

# The paper's rows. "participant" is what is known of the single person by name or ratings: their token or their taste.
ABLATIONS: dict[str, dict[str, bool]] = {
    "full": {},
    "no text": {"use_text": False},
    "no demographics": {"use_demographics": False},
    "no metadata": {"use_metadata": False},
    "no demographics, no metadata": {"use_demographics": False, "use_metadata": False},
    "no participant": {"use_user": False},
}


# The paper's new people, mean over its data sets, with its token model.
PUBLISHED = {"full": 0.4975, "no participant": 0.5322}


def ablation_report(
    folders: Sequence[DataFolder],
    train: Callable[[DataFolder, dict[str, bool], Path], PamelaForPersonalizedScoring],
    work: Path,
    k: int = 15,
    protocol: str | None = None,
) -> tuple[Report, "Figure"]:
    """
    Accuracy on training people and on new people with k ratings, averaged over data sets, as inputs are left out.

    Args:
        folders (sequence of [`~modeling_pamela.data.folder.DataFolder`]): Split and embedded; one model each and ablation.
        train (callable): Trains a model on a folder with the given fields of the configuration changed, into a folder; is only called where there is
            none from before.
        work (`Path`): Where the models are kept.
        k (`int`): Ratings of a new person that are seen.
        protocol (`str`, *optional*): Of contexts, see [`~modeling_pamela.evaluation.protocol.unseen_cases`].
    """
    rows: list[dict[str, Any]] = []
    jobs = [(name, fields, index) for name, fields in ABLATIONS.items() for index in range(len(folders))]
    found: dict[str, list[tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]]] = {name: [] for name in ABLATIONS}
    for name, fields, index in tqdm(jobs, desc="Inputs left out", unit="model"):
        folder = folders[index]
        directory = work / f"{name.replace(', ', '-').replace(' ', '-')}-{index}-{folder.split_fingerprint()}"
        if (directory / "model.safetensors").is_file():
            model = PamelaForPersonalizedScoring.from_pretrained(directory)
        else:
            model = train(folder, fields, directory)
        scorer = model_scorer(model, folder)
        names = np.char.add(f"{index} ", np.array(folder.user_ids))
        seen = evaluate_scorer(scorer, seen_cases(folder, "test_seen"), None)
        unseen = evaluate_scorer(scorer, unseen_cases(folder, "test_unseen", protocol), k)
        found[name].append((seen.srocc, names[seen.users], unseen.srocc, names[unseen.users]))
    for name, results in found.items():
        seen_interval, unseen_interval = (_over_sets(results, place) for place in (0, 2))
        rows.append(
            {
                "inputs": name,
                "seen": seen_interval.mean,
                "seen low": seen_interval.low,
                "seen high": seen_interval.high,
                "unseen": unseen_interval.mean,
                "unseen low": unseen_interval.low,
                "unseen high": unseen_interval.high,
                "gap": seen_interval.mean - unseen_interval.mean,
                "paper's unseen, as published": PUBLISHED.get(name),
            }
        )
    report = Report(
        "table3",
        "Inputs left out",
        f"User SROCC on new pictures: of training people (seen), and of new people with {k} ratings each (unseen), mean over data sets; 95 % intervals redraw "
        "people. One model was trained for each row and data set. Without the participant a person is known by demographics alone. "
        "The published column is of the paper's own data and model.",
        rows,
    )
    return report, _draw(rows)


def _over_sets(results: Sequence[tuple[np.ndarray, ...]], place: int) -> Interval:
    """Mean over data sets, all of which count alike however many people they have, with an interval that redraws people of all of them."""
    total = sum(len(result[place]) for result in results)
    values = [result[place] * (total / (len(results) * len(result[place]))) for result in results]
    return bootstrap_mean(np.concatenate(values), np.concatenate([result[place + 1] for result in results]))


def _draw(rows: Sequence[dict[str, Any]]) -> "Figure":
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 3))
    axes = figure.add_subplot()
    places = np.arange(len(rows))
    for shift, people in ((-0.15, "seen"), (0.15, "unseen")):
        mean = [row[people] for row in rows]
        spread = [
            [row[people] - row[f"{people} low"] for row in rows],
            [row[f"{people} high"] - row[people] for row in rows],
        ]
        axes.errorbar(mean, places + shift, xerr=np.clip(spread, 0, None), fmt="o", capsize=2, label=people)
    axes.set_yticks(places, [row["inputs"] for row in rows])
    axes.invert_yaxis()
    axes.set_xlabel("user SROCC, 95 % interval over people")
    axes.legend(frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    return figure
