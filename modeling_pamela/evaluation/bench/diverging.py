"""Pairs on which two people disagree (PAMELA, section 7.1 and Fig. 10)."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from ...data.folder import DataFolder
from ...data.images import open_image
from ..bootstrap import bootstrap_mean
from ..contact_sheet import Card, Section, write_contact_sheet
from ..disagreement import disagreement, find_conflicts
from ..protocol import Case, PersonalScorer, predict
from ..report import Report


__all__ = ["PUBLISHED", "diverging_report", "write_conflicts"]

# Pairs of conflicting users that the paper's model orders rightly, section 7.1.
PUBLISHED = {"test_seen": 0.6144, "test_unseen": 0.5523}


def diverging_report(
    scorers: Sequence[PersonalScorer], cases: Mapping[str, Sequence[Case]], k: int | None, margin: float = 0.0
) -> Report:
    """
    How often contradicted orders are predicted; a population score is right half of the time, whatever it says.

    Args:
        scorers (sequence of [`~modeling_pamela.evaluation.protocol.PersonalScorer`]): Methods.
        cases (`Mapping`): Split, e.g. `"test_seen"`, to its cases. Only the first context draw of each is judged.
        k (`int`, *optional*): Size of new people's contexts; `None` for all. Training people are judged with all they rated.
        margin (`float`): Smallest difference of a person's two ratings, on the 0..1 scale.
    """
    rows = []
    for split, found_cases in cases.items():
        first_draw = [case for case in found_cases if case.draw == 0]
        for scorer in scorers:
            result = disagreement(predict(scorer, first_draw, None if split.endswith("_seen") else k), margin)
            accuracy = bootstrap_mean(result.accuracy.values)
            rows.append(
                {
                    "split": split,
                    "method": scorer.name,
                    "accuracy": accuracy.mean,
                    "low": accuracy.low,
                    "high": accuracy.high,
                    "pooled": result.pooled,
                    "people": len(result.accuracy.values),
                    "conflicts": result.num_conflicts,
                    "pairs of pictures": result.num_pairs,
                    "pictures with two or more": result.num_pictures,
                    "paper, as published": PUBLISHED.get(split),
                }
            )
    return Report(
        "diverging",
        "Pairs on which two people disagree",
        "A conflict is two people who order the same two pictures in opposite ways. Accuracy: how often a person's contradicted orders are predicted, mean over "
        "people with a 95 % interval that redraws people; pooled: over all conflicts alike, where chance and any population score are at .500. The "
        "published column is on the paper's own data.",
        rows,
    )


def write_conflicts(
    path: Path, folder: DataFolder, scorer: PersonalScorer, cases: Sequence[Case], k: int | None, number: int = 12
) -> Path:
    """
    A page of the clearest conflicts with what was rated and predicted (PAMELA, Fig. 10).

    Args:
        path (`Path`): HTML file to write.
        folder ([`~modeling_pamela.data.folder.DataFolder`]): Where the pictures are.
        scorer ([`~modeling_pamela.evaluation.protocol.PersonalScorer`]): A personal method.
        cases (sequence of [`~modeling_pamela.evaluation.protocol.Case`]): Of one split.
        k (`int`, *optional*): Size of the context; `None` for all of it.
        number (`int`): Of conflicts.

    Returns:
        `Path`: The page.
    """
    conflicts = find_conflicts(predict(scorer, cases, k), number)
    wanted = {image for conflict in conflicts for image in conflict.images}
    pictures = {row: open_image(content) for row, content in folder.iter_image_bytes() if row in wanted}
    low, high = folder.rating_scale
    sections = []
    for index, conflict in enumerate(conflicts):
        right = [
            np.sign(predicted[0] - predicted[1]) == np.sign(rated[0] - rated[1])
            for rated, predicted in zip(conflict.ratings, conflict.predictions, strict=True)
        ]
        cards = [
            Card(
                pictures[image],
                f"{'AB'[person]}: {'first' if column == 0 else 'second'} picture",
                score=float(conflict.predictions[person, column]),
                badge=f"rated {low + conflict.ratings[person, column] * (high - low):g}",
            )
            for person in (0, 1)
            for column, image in enumerate(conflict.images)
        ]
        verdicts = ", ".join(f"{'AB'[person]} {'right' if right[person] else 'wrong'}" for person in (0, 1))
        sections.append(
            Section(f"Conflict {index + 1}", f"Two people, the same two pictures. Predicted: {verdicts}.", cards)
        )
    return write_contact_sheet(path, f"Where people disagree: {scorer.name}", sections)
