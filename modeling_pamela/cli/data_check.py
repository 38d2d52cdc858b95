"""`pamela data validate`, `card` and `anonymity`: what a data set is worth, and what it may give away."""

import json
from pathlib import Path
from typing import Annotated

import typer


__all__ = ["anonymity", "card", "validate"]

Folder = Annotated[Path, typer.Argument(help="Data set in the standard form.")]


def validate(
    folder: Folder,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
) -> None:
    """Check every rule and list every violation with its file and row (from 0). Exit code 1 if there is any."""
    from ..data.validate import validate_folder

    report = validate_folder(folder)
    typer.echo(json.dumps(report.to_dict(), indent=2) if as_json else report)
    raise typer.Exit(1 if report.violations else 0)


def card(folder: Folder) -> None:
    """Write the card, README.md, from the data: statistics, plots and pictures go to FOLDER/assets. The front matter stays."""
    from ..data.card import update_card

    update_card(folder)
    typer.echo(f"written to {folder / 'README.md'}")


def anonymity(
    folder: Folder,
    k: Annotated[int, typer.Option(min=2, help="Wanted number of people who look alike.")] = 5,
    columns: Annotated[
        list[str] | None,
        typer.Option(
            "--column",
            help="Column of users/ by which somebody could be recognised; by default all. Repeatable.",
            show_default=False,
        ),
    ] = None,
    coarsen: Annotated[
        Path | None,
        typer.Option(metavar="OUT", help="Write a data set whose people are coarsened until k is reached."),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a data set that stands at OUT.")] = False,
) -> None:
    """
    Report how many people share each combination of demographics.

    With --coarsen, numbers become bands, rare values become "other", and columns are dropped, until everybody looks like at
    least k people; what was done stands in the front matter of OUT.
    """
    from ..data.anonymity import anonymity_report, coarsen_folder
    from ..data.card import update_card
    from ..data.folder import DataFolder

    typer.echo(anonymity_report(DataFolder(folder).users, k, columns))
    if coarsen is not None:
        report = coarsen_folder(folder, coarsen, k, columns, overwrite=overwrite)
        update_card(coarsen)
        typer.echo(f"\nwritten to {coarsen}\n{report}")
