"""
Import of PARA as it is published: a folder or zip with `annotation/` and `imgs/<sessionId>/<imageName>`.

`annotation/PARA-Images.csv` has one row a rating: `sessionId`, `imageName`, `userId`, `aestheticScore` (1 to 5), further scores
(`qualityScore`, `compositionScore`, ...), and `semantic`, the picture's theme. `PARA-UserInfo.csv` has one row a person. The picture is
called `<sessionId>/<imageName>`. All columns are kept. `PARA-GiaaTrain.csv` and `PARA-GiaaTest.csv` become the column
`official_split` of the pictures, which `pamela data split --pictures-from official_split` uses.
For the values: [`~modeling_pamela.data.importers.standard`].
"""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ..archive import open_archive
from ..tables import SourceError, SourceTable, read_table
from .standard import ImportSummary, Source, attribute_tables, check_out, write_source


__all__ = ["import_para"]

SCALE = (1.0, 5.0)
_FOLDER = "annotation"


def import_para(
    source: str | Path,
    out: str | Path,
    *,
    encoding: str = "utf-8",
    overwrite: bool = False,
    strict: bool = False,
    dry_run: bool = False,
) -> ImportSummary:
    """
    Writes PARA as a data set in the standard form; see [`~modeling_pamela.data.importers.para`].

    Args:
        source (`str` or `Path`): The folder, or a zip of it.
        out (`str` or `Path`): Folder to write; it appears only once it is whole.
        encoding (`str`): Of the CSV files.
        overwrite (`bool`): Replace a data set that stands at `out`.
        strict (`bool`): Write nothing if any row would be set aside.
        dry_run (`bool`): Check everything, pictures included, and write nothing.

    Returns:
        [`ImportSummary`]

    Raises:
        SourceError: The source cannot be read, or nothing usable is left.
        DataFolderError: `out` is taken.
    """
    out = Path(out)
    if not dry_run:
        check_out(Path(source), out, overwrite)
    with open_archive(source, marker=f"{_FOLDER}/PARA-Images.csv", alias="PARA") as archive:

        def read(name: str, *columns: str) -> SourceTable:
            table = read_table(archive, f"{_FOLDER}/PARA-{name}.csv", encoding=encoding)
            table.require(*columns)
            return table

        ratings = read("Images", "sessionId", "imageName", "userId", "aestheticScore")
        users = read("UserInfo", "userId")
        ratings.columns["image_id"] = _picture(ratings)
        ratings.rename({"user_id": "userId", "rating": "aestheticScore"})
        users.rename({"user_id": "userId"})
        pictures: dict[str, str] = {
            name: name for name in ("sessionId", "imageName", "semantic") if name in ratings.columns
        }
        images, _, notes = attribute_tables(ratings, pictures, {})
        names = images.columns["image_id"]
        images.columns["file"] = pc.binary_join_element_wise("imgs", names, "/")

        split = np.full(len(images), "", dtype=object)
        for part in ("Train", "Test"):
            listed = read(f"Giaa{part}", "sessionId", "imageName")
            here = np.asarray(pc.is_in(names, value_set=_picture(listed)))
            if (here & (split != "")).any():
                picture = names[int(np.flatnonzero(here & (split != ""))[0])].as_py()
                raise SourceError(f"{picture!r} is both in PARA-GiaaTrain.csv and in PARA-GiaaTest.csv.")
            split[here] = part.lower()
        images.columns["official_split"] = pa.array(split, pa.string())
        return write_source(
            Source(
                archive,
                ratings,
                images,
                users,
                SCALE,
                card={"pamela": {"source": {"name": "PARA"}}},
                notes=notes,
            ),
            out,
            overwrite=overwrite,
            strict=strict,
            dry_run=dry_run,
        )


def _picture(table: SourceTable) -> pa.Array:
    """`<sessionId>/<imageName>`, or `""` where one of them is empty."""
    session, name = (pc.utf8_trim_whitespace(table.columns[column]) for column in ("sessionId", "imageName"))
    blank = pc.or_(pc.equal(session, ""), pc.equal(name, ""))
    return pc.if_else(blank, "", pc.binary_join_element_wise(session, name, "/"))
