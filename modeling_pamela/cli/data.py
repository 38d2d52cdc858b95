"""`pamela data`: import and split data sets of ratings."""

from pathlib import Path
from typing import Annotated

import typer

from .data_variance import taste_variance


__all__ = ["data_app"]

data_app = typer.Typer(help="Import and split data sets of personal picture ratings.", no_args_is_help=True)
import_app = typer.Typer(help="Import ratings and pictures from another form.", no_args_is_help=True)
data_app.add_typer(import_app, name="import")
data_app.command("taste-variance")(taste_variance)


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


def _size(text: str, option: str) -> int | float:
    """A whole number is a count, anything with a point a fraction."""
    try:
        return int(text)
    except ValueError:
        try:
            return float(text)
        except ValueError:
            raise typer.BadParameter(
                f"expected a number such as 38, or a fraction such as 0.2; got {text!r}", param_hint=option
            ) from None


Size = Annotated[str, typer.Option(metavar="N|FRACTION")]


@import_app.command()
def tidy(
    source: Annotated[
        Path, typer.Argument(help="Folder with ratings.csv, images.csv, perhaps users.csv, and pictures.")
    ],
    out: Annotated[Path, typer.Argument(help="Folder to write; it appears only once it is whole.")],
    scale: Annotated[
        tuple[float, float], typer.Option(metavar="LOW HIGH", help="Lowest and highest possible rating.")
    ],
    ratings_file: Annotated[str, typer.Option(help="Table of ratings, relative to SOURCE.")] = "ratings.csv",
    images_file: Annotated[str, typer.Option(help="Table of pictures, relative to SOURCE.")] = "images.csv",
    users_file: Annotated[
        str | None, typer.Option(help="Table of people; by default users.csv if it is there.", show_default=False)
    ] = None,
    column_map: Annotated[
        list[str] | None,
        typer.Option(
            "--map",
            metavar="STANDARD=SOURCE",
            help="Column names, e.g. --map rating=score, or --map ratings.image_id=filename for one table only. Repeatable.",
        ),
    ] = None,
    repetition: Annotated[
        str | None, typer.Option(metavar="COLUMN", help="Column that counts repeated ratings; the first is kept.")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a data set that stands at OUT.")] = False,
    strict: Annotated[
        bool, typer.Option("--strict", help="Fail, and write nothing, if any row would be set aside.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check everything and write nothing.")] = False,
) -> None:
    """
    Import CSV tables of ratings, pictures and people.

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
        columns=_column_map(column_map or []),
        repetition=repetition,
        overwrite=overwrite,
        strict=strict,
        dry_run=dry_run,
    )
    typer.echo(summary)
    typer.echo("dry run: nothing was written" if dry_run else f"written to {out}")


@data_app.command()
def split(
    folder: Annotated[Path, typer.Argument(help="Data set, split or not.")],
    seed: Annotated[int, typer.Option(min=0, help="The same seed and sizes give the same splits.")],
    out: Annotated[
        Path | None,
        typer.Option(help="Folder to write (pictures are hard-linked); by default FOLDER itself.", show_default=False),
    ] = None,
    test_users: Size = "0.2",
    val_users: Size = "0.1",
    test_pictures: Size = "0.25",
    val_pictures: Size = "0.125",
    group: Annotated[
        str | None,
        typer.Option(
            metavar="COLUMN", help="Column of the pictures: the numbers of pictures are meant for each of its values."
        ),
    ] = None,
    draws: Annotated[int, typer.Option(min=1, help="Context draws per protocol, split and person.")] = 5,
    max_query_context: Annotated[int, typer.Option(min=1, help="Context ratings taken from the query split.")] = 15,
    min_queries: Annotated[int, typer.Option(min=2, help="People who keep fewer queries get no contexts.")] = 5,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a data set that stands at --out.")] = False,
) -> None:
    """
    Part people and pictures into train, validation and test, and draw fixed contexts.

    Sizes are counts (38) or fractions (0.25): of the people with ratings; and of the pictures with ratings, in each value of
    --group. A data set that is split already is split anew.
    """
    from ..data.splits import SplitOptions, split_folder

    options = SplitOptions(
        seed=seed,
        test_users=_size(test_users, "--test-users"),
        val_users=_size(val_users, "--val-users"),
        test_pictures=_size(test_pictures, "--test-pictures"),
        val_pictures=_size(val_pictures, "--val-pictures"),
        group=group,
        draws=draws,
        max_query_context=max_query_context,
        min_queries=min_queries,
    )
    summary = split_folder(folder, options, out, overwrite)
    typer.echo(summary)
    typer.echo(f"written to {out or folder}")
