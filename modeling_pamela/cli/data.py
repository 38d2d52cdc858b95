"""`pamela data`: everything from a source of ratings to a data set on the Hub."""

from pathlib import Path
from typing import Annotated

import typer

from .data_check import anonymity, card, validate
from .data_import import import_app
from .data_preferences import preferences
from .data_publish import build, push
from .data_variance import taste_variance


__all__ = ["data_app"]

data_app = typer.Typer(
    help="Data sets of personal picture ratings, from their source to the Hub.", no_args_is_help=True
)
data_app.add_typer(import_app, name="import")
data_app.command()(validate)
data_app.command("taste-variance")(taste_variance)
data_app.command()(anonymity)
data_app.command()(card)
data_app.command()(build)
data_app.command()(push)
data_app.command()(preferences)


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
    users_from: Annotated[
        str | None,
        typer.Option(metavar="COLUMN", help="Column of the people that holds train, val or test.", show_default=False),
    ] = None,
    pictures_from: Annotated[
        str | None,
        typer.Option(
            metavar="COLUMN", help="Column of the pictures that holds train, val or test.", show_default=False
        ),
    ] = None,
    ratings_from: Annotated[
        str | None,
        typer.Option(metavar="COLUMN", help="Column of the ratings that holds their split.", show_default=False),
    ] = None,
    leave_out: Annotated[
        str | None,
        typer.Option(
            metavar="COLUMN=VALUE",
            help="All pictures with this value are test pictures, and no others: a theme that no model will have seen.",
            show_default=False,
        ),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a data set that stands at --out.")] = False,
) -> None:
    """
    Part people and pictures into train, validation and test, and draw fixed contexts.

    Sizes are counts (38) or fractions (0.25): of the people with ratings; and of the pictures with ratings, in each value of
    --group. A data set that is split already is split anew. Where it comes with parts of its own, --users-from, --pictures-from or
    --ratings-from take them from a column, such as official_split.
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
        users_from=users_from,
        pictures_from=pictures_from,
        ratings_from=ratings_from,
        leave_out=leave_out,
    )
    summary = split_folder(folder, options, out, overwrite)
    typer.echo(summary)
    typer.echo(f"written to {out or folder}")
