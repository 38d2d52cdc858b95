"""
Import of PAMELA (arXiv 2604.07427) as it is published: `PAMELA.zip`, or the folder in it.

`annotations/pamela_<split>.json` is a list of records, one a rating: `participant_id`, `image_id`, `image_path` (relative to the
root, perhaps with `./` or `PAMELA/` in front), `original_score`, `image_metadata` (`prompt`, `group`, `style`, `type`, ...) and
`user_demographics` (`age`, `age_binned`, `gender`, `nationality`, ...). The two objects become columns of the pictures and people, all else
of the ratings. Where records of one person or picture contradict each other in an attribute, it is empty there and every rating keeps
what its record says, in a column of the same name.

The published splits become the splits of the ratings. Contexts of the protocol `query` are drawn for the new people. Lines in
`rejected.parquet` are numbers of records, from 1. For the values: [`~modeling_pamela.data.importers.standard`].
"""

from collections.abc import Mapping
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from ..archive import open_archive
from ..schema import UNSEEN
from ..splits import SplitOptions
from ..tables import SourceError, SourceTable, parse_numbers, read_records
from .standard import ImportSummary, Source, attribute_tables, check_out, check_scale, write_source


__all__ = ["PUBLISHED_COUNTS", "SCALES", "import_pamela"]

PUBLISHED_COUNTS: Mapping[str, int] = {
    "train": 50_222,
    "val_seen": 6_551,
    "val_unseen": 926,
    "test_seen": 9_735,
    "test_unseen": 2_470,
    "pictures": 5_077,
    "people": 199,
}
"""Ratings of each split, pictures and people, as published."""

SCALES = (
    (0.0, 1.0),
    (1.0, 5.0),
    (0.0, 5.0),
    (1.0, 7.0),
    (1.0, 10.0),
    (0.0, 10.0),
    (0.0, 100.0),
    (1.0, 100.0),
    (-1.0, 1.0),
)
"""Scales that are recognised. The publication does not say which it is."""

_SPLITS = tuple(PUBLISHED_COUNTS)[:5]
# The ends of a slider are reached to within a hundredth of it among thousands of ratings.
_REACHED = 0.01


def import_pamela(
    source: str | Path,
    out: str | Path,
    scale: tuple[float, float] | None = None,
    *,
    seed: int = 0,
    draws: int = 5,
    max_query_context: int = 15,
    min_queries: int = 5,
    overwrite: bool = False,
    strict: bool = False,
    dry_run: bool = False,
) -> ImportSummary:
    """
    Writes PAMELA as a data set in the standard form; see [`~modeling_pamela.data.importers.pamela`].

    Args:
        source (`str` or `Path`): `PAMELA.zip`, or the unpacked folder.
        out (`str` or `Path`): Folder to write; it appears only once it is whole.
        scale (`tuple[float, float]`, *optional*):
            Lowest and highest possible rating. By default the one of [`SCALES`] whose two ends the scores reach and keep to; the
            summary says which.
        seed, draws, max_query_context, min_queries (`int`): See [`~modeling_pamela.data.splits.SplitOptions`].
        overwrite (`bool`): Replace a data set that stands at `out`.
        strict (`bool`): Write nothing if any row would be set aside.
        dry_run (`bool`): Check everything, pictures included, and write nothing.

    Returns:
        [`ImportSummary`]: Its notes say what differs from [`PUBLISHED_COUNTS`].

    Raises:
        SourceError: The source cannot be read, the scores fit no known scale, or nothing usable is left.
        DataFolderError: `out` is taken.
    """
    out = Path(out)
    files = [f"annotations/pamela_{split}.json" for split in _SPLITS]
    if not dry_run:
        check_out(Path(source), out, overwrite)
    with open_archive(source, marker=files[0], alias="PAMELA") as archive:
        ratings = read_records(archive, files, nested=("image_metadata", "user_demographics"))
        ratings.require("participant_id", "image_id", "image_path", "original_score")
        ratings.rename({"user_id": "participant_id", "rating": "original_score"})
        images, users, notes = attribute_tables(
            ratings, {"file": "image_path"} | _fields(ratings, "image_metadata"), _fields(ratings, "user_demographics")
        )
        ratings.columns["official_split"] = pc.replace_substring_regex(
            pa.array([ratings.file_of(row) for row in range(len(ratings))], pa.string()), r"^pamela_(.*)\.json$", r"\1"
        )
        if scale is None:
            scale, note = _read_scale(ratings)
            notes |= note
        return write_source(
            Source(
                archive,
                ratings,
                images,
                users,
                check_scale(scale),
                split=SplitOptions(
                    seed,
                    draws=draws,
                    max_query_context=max_query_context,
                    min_queries=min_queries,
                    ratings_from="official_split",
                ),
                card={"license": "cc-by-4.0", "pamela": {"source": {"name": "PAMELA", "arxiv": "2604.07427"}}},
                notes=notes | _leaks(ratings),
                published=PUBLISHED_COUNTS,
            ),
            out,
            overwrite=overwrite,
            strict=strict,
            dry_run=dry_run,
        )


def _fields(ratings: SourceTable, nested: str) -> dict[str, str]:
    """Name of each attribute to its column; the full name where the short one has a meaning of its own."""
    columns = [column for column in ratings.columns if column.startswith(f"{nested}.")]
    taken = {"user_id", "image_id", "file"}
    short = {column: column.removeprefix(f"{nested}.") for column in columns}
    return {column if name in taken else name: column for column, name in short.items()}


def _read_scale(ratings: SourceTable) -> tuple[tuple[float, float], dict[str, list[str]]]:
    scores = parse_numbers(ratings.columns["rating"]).drop_null().to_numpy()
    if not len(scores):
        raise SourceError(f"No score in {ratings.path} is a number.")
    lowest, highest = float(scores.min()), float(scores.max())
    fitting = [
        (low, high)
        for low, high in SCALES
        if low <= lowest <= low + _REACHED * (high - low) and high - _REACHED * (high - low) <= highest <= high
    ]
    if len(fitting) != 1:
        known = ", ".join(f"{low:g} to {high:g}" for low, high in SCALES)
        raise SourceError(
            f"The scores in {ratings.path} go from {lowest:g} to {highest:g}, so their scale cannot be told: that reaches both "
            f"ends of {'several' if fitting else 'none'} of {known}. Pass --scale LOW HIGH."
        )
    low, high = fitting[0]
    note = f"scale read from the scores, which go from {lowest:g} to {highest:g}"
    return (low, high), {note: [f"{low:g} to {high:g}"]}


def _leaks(ratings: SourceTable) -> dict[str, list[str]]:
    """People of the unseen splits, and pictures of the validation and test splits, that are in `train` too."""
    frame = pd.DataFrame(
        {
            name: ratings.columns[name].to_numpy(zero_copy_only=False)
            for name in ("user_id", "image_id", "official_split")
        }
    )[ratings.usable]
    train = frame[frame["official_split"] == "train"]
    new_people = frame[frame["official_split"].isin(UNSEEN)]["user_id"].unique()
    new_pictures = frame[frame["official_split"] != "train"]["image_id"].unique()
    return {
        "people of unseen splits who are in 'train' too": sorted(set(new_people) & set(train["user_id"])),
        "pictures of validation or test splits that are in 'train' too": sorted(
            set(new_pictures) & set(train["image_id"])
        ),
    }
