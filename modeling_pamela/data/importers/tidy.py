"""
Import of tidy tables: `ratings.csv`, `images.csv`, optionally `users.csv` and `pairs.csv`, and the pictures they name.

The tables have a header and may be delimited text (comma, or tab if the name ends in `.tsv`), `.xlsx` (the first sheet) or
`.parquet`, each on its own. Needed are `user_id`, `image_id` and `rating` in the ratings, `image_id` and `file` (the picture's path,
relative to the source) in the images, `user_id` in the users, `user_id`, `left_id`, `right_id` and `choice` in the pairs;
`prompt` in the images is optional. Every other column is kept. What is done with the values:
[`~modeling_pamela.data.importers.standard`].
"""

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from huggingface_hub import metadata_load

from ..archive import Archive, open_archive
from ..tables import SourceError, SourceTable, read_table
from .standard import ImportSummary, Source, check_out, check_scale, write_source


__all__ = ["import_tidy"]

# The tables in which a standard column is looked for, where --map does not say.
_TABLES = {
    "user_id": ("ratings", "users", "pairs"),
    "image_id": ("ratings", "images"),
    "rating": ("ratings",),
    "file": ("images",),
    "prompt": ("images",),
}


def import_tidy(
    source: str | Path,
    out: str | Path,
    scale: tuple[float, float],
    *,
    ratings_file: str | None = None,
    images_file: str | None = None,
    users_file: str | None = None,
    pairs_file: str | None = None,
    columns: Mapping[str, str] | None = None,
    repetition: str | None = None,
    delimiter: str | None = None,
    encoding: str = "utf-8",
    overwrite: bool = False,
    strict: bool = False,
    dry_run: bool = False,
) -> ImportSummary:
    """
    Writes tidy tables and their pictures as a data set in the standard form; see [`~modeling_pamela.data.importers.tidy`].

    Args:
        source (`str` or `Path`):
            Folder or `.zip` of the tables. If it has a README.md with YAML front matter (licence, tags, ...), that is carried over.
        out (`str` or `Path`): Folder to write; it appears only once it is whole.
        scale (`tuple[float, float]`): Lowest and highest possible rating (not those that happen to occur).
        ratings_file, images_file (`str`, *optional*):
            Relative to `source`. By default the one of `ratings.csv`, `.tsv`, `.xlsx` and `.parquet` that is there; `images` likewise.
        users_file, pairs_file (`str`, *optional*):
            By default `users` and `pairs` if there is one. Without users, people are made from the ratings.
        columns (`Mapping[str, str]`, *optional*):
            Standard name to the source's name, e.g. `{"rating": "score"}`; `{"ratings.image_id": "filename"}` for one table only.
        repetition (`str`, *optional*): Column of the ratings (after mapping) that counts repeated ratings of a picture.
        delimiter, encoding (`str`): Of delimited text; see [`~modeling_pamela.data.tables.read_table`].
        overwrite (`bool`): Replace a data set that stands at `out`.
        strict (`bool`): Write nothing if any row would be set aside.
        dry_run (`bool`): Check everything, pictures included, and write nothing.

    Returns:
        [`ImportSummary`]

    Raises:
        SourceError: The source cannot be read, nothing usable is left, or `strict` and a row would be set aside.
        DataFolderError: `out` is taken.
    """
    source, out = Path(source), Path(out)
    scale = check_scale(scale)
    if not source.exists():
        raise SourceError(f"There is no folder {source}. Expected one with tables of ratings and pictures, or a .zip.")
    if not dry_run:
        check_out(source, out, overwrite)
    with open_archive(source) as archive:

        def read(name: str | None) -> SourceTable | None:
            return None if name is None else read_table(archive, name, delimiter, encoding)

        tables = {
            "ratings": read(ratings_file or _find(archive, "ratings") or "ratings.csv"),
            "images": read(images_file or _find(archive, "images") or "images.csv"),
            "users": read(users_file or _find(archive, "users")),
            "pairs": read(pairs_file or _find(archive, "pairs")),
        }
        present = {name: table for name, table in tables.items() if table is not None}
        _map_columns(present, columns or {})
        ratings, images = present["ratings"], present["images"]
        ratings.require("user_id", "image_id", "rating", *([repetition] if repetition else []))
        images.require("image_id", "file")
        if "users" in present:
            present["users"].require("user_id")
        if "pairs" in present:
            present["pairs"].require("user_id", "left_id", "right_id", "choice")
        return write_source(
            Source(
                archive,
                ratings,
                images,
                present.get("users"),
                scale,
                pairs=present.get("pairs"),
                repetition=repetition,
                card=_card(archive),
            ),
            out,
            overwrite=overwrite,
            strict=strict,
            dry_run=dry_run,
        )


def _find(archive: Archive, table: str) -> str | None:
    found = [name for end in ("csv", "tsv", "xlsx", "parquet") if archive.exists(name := f"{table}.{end}")]
    if len(found) > 1:
        raise SourceError(f"{archive.path} has {' and '.join(found)}. Say which is meant with --{table}-file.")
    return found[0] if found else None


def _card(archive: Archive) -> dict[str, Any]:
    """The YAML front matter of the source's README.md."""
    if not archive.exists("README.md"):
        return {}
    try:
        with tempfile.TemporaryDirectory() as folder:
            copy = Path(folder) / "README.md"
            copy.write_bytes(archive.read("README.md"))
            return metadata_load(copy) or {}
    except (ValueError, yaml.YAMLError) as error:
        raise SourceError(f"The front matter of {archive.path / 'README.md'} is not valid YAML: {error}") from error


def _map_columns(tables: Mapping[str, SourceTable], columns: Mapping[str, str]) -> None:
    names: dict[str, dict[str, str]] = {table: {} for table in tables}
    for target, source in columns.items():
        table, _, column = target.rpartition(".")
        scope = [table] if table in tables else [name for name in _TABLES.get(target, tables) if name in tables]
        new = column if table in tables else target
        found = [name for name in scope if source in tables[name].columns]
        if not found:
            present = "; ".join(f"{tables[name].path.name}: {list(tables[name].columns)}" for name in scope)
            raise SourceError(f"--map {target}={source}: there is no column {source!r}. Found {present}.")
        for name in found:
            names[name][new] = source
    for name, mapping in names.items():
        tables[name].rename(mapping)
