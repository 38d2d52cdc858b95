"""
Import of LAPIS as it is published: a folder or zip with `annotation/`, `images/`, `imageset/` and `userset/`.

`annotation/LAPIS_individualratings_metaANDdemodata.csv` (or `.xlsx`) has one row a rating: `image_id`, `file` (older:
`image_filename`; a folder in front of the name is passed over), `style`, `genre`, `participant_id`, `response` (0 to 100), and of the
person `age`, `nationality`, `demo_*`, `VAIAK1` to `7` and `2VAIAK1` to `4`. Every other column stays with the ratings. Where rows
contradict each other in an attribute, it is empty and the ratings keep what their rows say.

`imageset/{Train,Val,Test}ImageSet.txt` name files of pictures, or their ids; they become the column `official_split` of the pictures. With
a fold, `userset/{Train,Test}UserIDs_Fold<N>.txt` become that of the people, and the ratings are split by both. The publication has
no validation people, so for `val_unseen` some are drawn from the fold's training people. Without a fold the ratings stay in `train`.
For the values: [`~modeling_pamela.data.importers.standard`].
"""

import re
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ..archive import Archive, MemberError, open_archive
from ..splits import SplitOptions
from ..tables import SourceError, read_table
from .standard import ImportSummary, Source, attribute_tables, check_out, write_source


__all__ = ["import_lapis"]

SCALE = (0.0, 100.0)
_TABLE = "annotation/LAPIS_individualratings_metaANDdemodata"
_OF_PEOPLE = re.compile(r"age|nationality|demo_.*|2?VAIAK\d+")
_OF_PICTURES = ("style", "genre")


def import_lapis(
    source: str | Path,
    out: str | Path,
    *,
    fold: int | None = None,
    seed: int = 0,
    val_users: int | float = 0.1,
    encoding: str = "utf-8",
    overwrite: bool = False,
    strict: bool = False,
    dry_run: bool = False,
) -> ImportSummary:
    """
    Writes LAPIS as a data set in the standard form; see [`~modeling_pamela.data.importers.lapis`].

    Args:
        source (`str` or `Path`): The folder, or a zip of it.
        out (`str` or `Path`): Folder to write; it appears only once it is whole.
        fold (`int`, *optional*): Fold of the people, 1 to 4, whose split is written.
        seed (`int`): Of the validation people and the contexts.
        val_users (`int` or `float`): Validation people, a number or a fraction of the fold's training people.
        encoding (`str`): Of the CSV file.
        overwrite (`bool`): Replace a data set that stands at `out`.
        strict (`bool`): Write nothing if any row would be set aside.
        dry_run (`bool`): Check everything, pictures included, and write nothing.

    Returns:
        [`ImportSummary`]

    Raises:
        SourceError: The source cannot be read, or nothing usable is left.
        SplitError: The sizes do not fit.
        DataFolderError: `out` is taken.
    """
    out = Path(out)
    if not dry_run:
        check_out(Path(source), out, overwrite)
    with open_archive(source, marker="imageset/TrainImageSet.txt", alias="LAPIS") as archive:
        table = next(
            (f"{_TABLE}{end}" for end in (".csv", ".xlsx") if archive.exists(f"{_TABLE}{end}")), f"{_TABLE}.csv"
        )
        ratings = read_table(archive, table, encoding=encoding)
        file = "file" if "file" in ratings.columns else "image_filename"
        ratings.require("image_id", file, "participant_id", "response")
        ratings.rename({"user_id": "participant_id", "rating": "response"})
        pictures = {"file": file} | {name: name for name in _OF_PICTURES if name in ratings.columns}
        people = {name: name for name in ratings.columns if _OF_PEOPLE.fullmatch(name)}
        images, users, notes = attribute_tables(ratings, pictures, people)

        names = pc.replace_substring_regex(images.columns["file"], r"^.*[/\\]", "")
        images.columns["file"] = pc.if_else(pc.equal(names, ""), "", pc.binary_join_element_wise("images", names, "/"))
        parts = {part: _lines(archive, f"imageset/{part.title()}ImageSet.txt") for part in ("train", "val", "test")}
        images.columns["official_split"], unknown = _parts([images.columns["image_id"], names], parts)
        notes["pictures of the picture sets that nobody rated"] = unknown
        split = None
        if fold is not None:
            parts = {
                part: _lines(archive, f"userset/{part.title()}UserIDs_Fold{fold}.txt") for part in ("train", "test")
            }
            users.columns["official_split"], unknown = _parts([users.columns["user_id"]], parts)
            notes["people of the fold without a rating"] = unknown
            split = SplitOptions(
                seed, val_users=val_users, users_from="official_split", pictures_from="official_split"
            )
        return write_source(
            Source(
                archive,
                ratings,
                images,
                users,
                SCALE,
                split=split,
                card={"pamela": {"source": {"name": "LAPIS"} | ({"fold": fold} if fold is not None else {})}},
                notes=notes,
            ),
            out,
            overwrite=overwrite,
            strict=strict,
            dry_run=dry_run,
        )


def _lines(archive: Archive, name: str) -> list[str]:
    try:
        text = archive.read(name).decode("utf-8-sig")
    except MemberError as error:
        raise SourceError(f"{archive.path / name}: {error.reason}.") from error
    except UnicodeDecodeError as error:
        raise SourceError(f"{archive.path / name} is not UTF-8 ({error}). Save it as UTF-8.") from error
    return [line.strip() for line in text.splitlines() if line.strip()]


def _parts(names: list[pa.Array], parts: dict[str, list[str]]) -> tuple[pa.Array, list[str]]:
    """
    The part of each row by any of its names (`""` for none), and the names of the parts that no row has.

    Raises:
        SourceError: A row is in several parts.
    """
    found = np.full(len(names[0]), "", dtype=object)
    for part, listed in parts.items():
        here = np.zeros(len(found), dtype=bool)
        for column in names:
            here |= np.asarray(pc.is_in(column, value_set=pa.array(listed, pa.string())))
        both = here & (found != "")
        if both.any():
            row = int(np.flatnonzero(both)[0])
            raise SourceError(
                f"{names[0][row].as_py()!r} is listed for {found[row]!r} and for {part!r}. Remove it from one of the lists."
            )
        found[here] = part
    known = {name for column in names for name in column.to_pylist()}
    unknown = [name for listed in parts.values() for name in listed if name not in known]
    return pa.array(found, pa.string()), unknown
