"""Which condition people prefer (PAMELA, Fig. 8): Elo scores from a data folder's comparisons."""

from typing import TYPE_CHECKING

import pyarrow as pa

from ...data.files import DataError
from ..bradley_terry import EloScores, elo_scores
from ..report import Report


if TYPE_CHECKING:
    from matplotlib.figure import Figure


__all__ = ["study_report"]


def study_report(pairs: pa.Table, draws: int = 1000, seed: int = 0) -> tuple[Report, "Figure"]:
    """
    Elo scores of the conditions under which the two pictures of a comparison were made.

    Args:
        pairs (`pyarrow.Table`): The config `pairs` of a data folder, with `left_condition` and `right_condition`.
        draws (`int`): Bootstrap draws.
        seed (`int`): Of the draws.

    Returns:
        [`~modeling_pamela.evaluation.report.Report`] and figure: A row a condition, with an interval over comparisons and one over people.

    Raises:
        DataError: No comparison has two different conditions, or the conditions are not connected.
    """
    frame = pairs.select(["user_id", "choice", "left_condition", "right_condition"]).to_pandas()
    known = frame.dropna()
    usable = known[known["left_condition"] != known["right_condition"]]
    if usable.empty:
        raise DataError(
            f"None of the {len(frame)} comparisons has two different conditions in `left_condition` and `right_condition`."
        )
    left, right = usable["left_condition"].to_numpy(str), usable["right_condition"].to_numpy(str)
    choices, users = usable["choice"].to_numpy(str), usable["user_id"].to_numpy(str)
    try:
        over_comparisons = elo_scores(left, right, choices, n=draws, seed=seed)
        over_people = elo_scores(left, right, choices, users, n=draws, seed=seed)
    except ValueError as error:
        raise DataError(str(error)) from error
    rows = [
        {
            "condition": name,
            "Elo": float(over_comparisons.elo[place]),
            "low (comparisons)": float(over_comparisons.low[place]),
            "high (comparisons)": float(over_comparisons.high[place]),
            "low (people)": float(over_people.low[place]),
            "high (people)": float(over_people.high[place]),
            "comparisons": int(over_comparisons.num_comparisons[place]),
        }
        for place, name in enumerate(over_comparisons.conditions)
    ]
    left_out = over_comparisons.num_draws_left_out, over_people.num_draws_left_out
    report = Report(
        "study",
        "Elo scores of the conditions",
        f"Bradley-Terry strengths from {len(usable)} comparisons by {usable['user_id'].nunique()} people; a tie is half a win for either. Mean 1000; 95 % intervals of {draws} "
        f"bootstrap draws over comparisons and over people, of which {left_out[0]} and {left_out[1]} were left out because the conditions were not connected "
        f"in them. {len(frame) - len(usable)} comparisons without two different conditions play no part.",
        rows,
    )
    return report, _draw(over_people)


def _draw(scores: EloScores) -> "Figure":
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 0.6 + 0.45 * len(scores.conditions)))
    axes = figure.add_subplot()
    places = range(len(scores.conditions))
    axes.barh(places, scores.high - scores.low, left=scores.low, height=0.25, color="tab:blue", alpha=0.3)
    axes.plot(scores.elo, places, "o", color="tab:blue")
    axes.set_yticks(places, scores.conditions)
    axes.invert_yaxis()
    axes.axvline(1000, color="grey", linewidth=0.8, linestyle=":")
    axes.set_xlabel("Elo, 95 % interval over people")
    axes.spines[["top", "right"]].set_visible(False)
    return figure
