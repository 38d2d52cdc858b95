"""`pamela data import`: data sets as they are published, and tables of one's own."""

from pathlib import Path
from typing import Annotated

import typer


__all__ = ["PamelaScale", "import_app"]

import_app = typer.Typer(help="Import ratings and pictures from another form.", no_args_is_help=True)

Out = Annotated[Path, typer.Argument(help="Folder to write; it appears only once it is whole.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace a data set that stands at OUT.")]
Strict = Annotated[bool, typer.Option("--strict", help="Fail, and write nothing, if any row would be set aside.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Check everything, print counts and problems, write nothing.")]
Delimiter = Annotated[
    str | None,
    typer.Option(help="Between the fields of text tables; by default a comma, a tab in .tsv.", show_default=False),
]
Encoding = Annotated[str, typer.Option(help="Of text tables, e.g. utf-8, cp1252, latin-1.")]
Seed = Annotated[int, typer.Option(min=0, help="Of what is drawn: contexts, validation people.")]
ColumnMap = Annotated[
    list[str] | None,
    typer.Option(
        "--map",
        metavar="STANDARD=SOURCE",
        help="Column names, e.g. --map rating=score, or --map ratings.image_id=filename for one table only. Repeatable.",
    ),
]

PamelaScale = Annotated[
    tuple[float, float] | None,
    typer.Option(
        metavar="LOW HIGH",
        help="Lowest and highest possible score; by default the known scale whose ends they reach.",
        show_default=False,
    ),
]


def _column_map(entries: list[str]) -> dict[str, str]:
    columns: dict[str, str] = {}
    for entry in entries:
        target, equals, source = entry.partition("=")
        if not (target and equals and source):
            raise typer.BadParameter(f"expected STANDARD=SOURCE, e.g. rating=score; got {entry!r}", param_hint="--map")
        if target in columns:
            raise typer.BadParameter(f"{target!r} is given twice", param_hint="--map")
        columns[target] = source
    return columns


def _delimiter(text: str | None) -> str | None:
    if text == r"\t":
        return "\t"
    if text is not None and len(text) != 1:
        raise typer.BadParameter(f"expected one character, or \\t; got {text!r}", param_hint="--delimiter")
    return text


def _report(summary: object, out: Path, dry_run: bool) -> None:
    typer.echo(summary)
    typer.echo("dry run: nothing was written" if dry_run else f"written to {out}")


@import_app.command()
def pamela(
    source: Annotated[Path, typer.Argument(help="PAMELA.zip, or the unpacked folder.")],
    out: Out,
    scale: PamelaScale = None,
    seed: Seed = 0,
    draws: Annotated[int, typer.Option(min=1, help="Context draws per split and person.")] = 5,
    max_query_context: Annotated[int, typer.Option(min=1, help="Context ratings taken from the query split.")] = 15,
    min_queries: Annotated[int, typer.Option(min=2, help="People who keep fewer queries get no contexts.")] = 5,
    overwrite: Overwrite = False,
    strict: Strict = False,
    dry_run: DryRun = False,
) -> None:
    """Import PAMELA with its published splits, and draw contexts for its new people."""
    from ..data.importers.pamela import import_pamela

    summary = import_pamela(
        source,
        out,
        scale,
        seed=seed,
        draws=draws,
        max_query_context=max_query_context,
        min_queries=min_queries,
        overwrite=overwrite,
        strict=strict,
        dry_run=dry_run,
    )
    _report(summary, out, dry_run)


@import_app.command()
def lapis(
    source: Annotated[Path, typer.Argument(help="Folder, or zip, with annotation/, images/, imageset/, userset/.")],
    out: Out,
    fold: Annotated[
        int | None,
        typer.Option(
            min=1, max=4, help="Split by the published pictures and this fold of people.", show_default=False
        ),
    ] = None,
    seed: Seed = 0,
    val_users: Annotated[
        float,
        typer.Option(help="Validation people out of the fold's training people: a fraction, or a number from 1."),
    ] = 0.1,
    encoding: Encoding = "utf-8",
    overwrite: Overwrite = False,
    strict: Strict = False,
    dry_run: DryRun = False,
) -> None:
    """Import LAPIS, with its published split if a fold is given."""
    from ..data.importers.lapis import import_lapis

    summary = import_lapis(
        source,
        out,
        fold=fold,
        seed=seed,
        val_users=int(val_users) if val_users.is_integer() else val_users,
        encoding=encoding,
        overwrite=overwrite,
        strict=strict,
        dry_run=dry_run,
    )
    _report(summary, out, dry_run)


@import_app.command()
def para(
    source: Annotated[Path, typer.Argument(help="Folder, or zip, with annotation/ and imgs/.")],
    out: Out,
    encoding: Encoding = "utf-8",
    overwrite: Overwrite = False,
    strict: Strict = False,
    dry_run: DryRun = False,
) -> None:
    """
    Import PARA.

    Its published split of the pictures is kept: pamela data split OUT --pictures-from official_split --seed 0.
    """
    from ..data.importers.para import import_para

    summary = import_para(source, out, encoding=encoding, overwrite=overwrite, strict=strict, dry_run=dry_run)
    _report(summary, out, dry_run)


@import_app.command()
def pairs(
    source: Annotated[Path, typer.Argument(help="Table with user_id, left_id, right_id, choice (left, right, tie).")],
    folder: Annotated[Path, typer.Argument(help="Data set to add them to; where it is split, they are split too.")],
    column_map: ColumnMap = None,
    delimiter: Delimiter = None,
    encoding: Encoding = "utf-8",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the comparisons it has.")] = False,
    strict: Strict = False,
    dry_run: DryRun = False,
) -> None:
    """Add comparisons of two pictures to a data set."""
    from ..data.importers.pairs import import_pairs

    summary = import_pairs(
        source,
        folder,
        columns=_column_map(column_map or []),
        delimiter=_delimiter(delimiter),
        encoding=encoding,
        overwrite=overwrite,
        strict=strict,
        dry_run=dry_run,
    )
    _report(summary, folder, dry_run)


@import_app.command()
def tidy(
    source: Annotated[
        Path, typer.Argument(help="Folder, or zip, with tables of ratings and images, perhaps users and pairs.")
    ],
    out: Out,
    scale: Annotated[
        tuple[float, float], typer.Option(metavar="LOW HIGH", help="Lowest and highest possible rating.")
    ],
    ratings_file: Annotated[
        str | None, typer.Option(help="Table of ratings, relative to SOURCE; by default ratings.*", show_default=False)
    ] = None,
    images_file: Annotated[
        str | None, typer.Option(help="Table of pictures; by default images.*", show_default=False)
    ] = None,
    users_file: Annotated[
        str | None, typer.Option(help="Table of people; by default users.* if it is there.", show_default=False)
    ] = None,
    pairs_file: Annotated[
        str | None, typer.Option(help="Table of comparisons; by default pairs.* if it is there.", show_default=False)
    ] = None,
    column_map: ColumnMap = None,
    repetition: Annotated[
        str | None, typer.Option(metavar="COLUMN", help="Column that counts repeated ratings; the first is kept.")
    ] = None,
    delimiter: Delimiter = None,
    encoding: Encoding = "utf-8",
    overwrite: Overwrite = False,
    strict: Strict = False,
    dry_run: DryRun = False,
) -> None:
    """
    Import tables of ratings, pictures and people (.csv, .tsv, .xlsx, .parquet).

    Rows that cannot be used (a rating off the scale, a broken picture, ...) are set aside with their line and the reason in
    OUT/rejected.parquet.
    """
    from ..data.importers.tidy import import_tidy

    summary = import_tidy(
        source,
        out,
        scale,
        ratings_file=ratings_file,
        images_file=images_file,
        users_file=users_file,
        pairs_file=pairs_file,
        columns=_column_map(column_map or []),
        repetition=repetition,
        delimiter=_delimiter(delimiter),
        encoding=encoding,
        overwrite=overwrite,
        strict=strict,
        dry_run=dry_run,
    )
    _report(summary, out, dry_run)
