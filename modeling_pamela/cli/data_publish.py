"""`pamela data build` and `push`: a data set as a Hub repo."""

from pathlib import Path
from typing import Annotated

import typer


__all__ = ["build", "push"]


def build(
    folder: Annotated[Path, typer.Argument(help="Data set in the standard form.")],
    out: Annotated[Path, typer.Argument(help="Folder to write; it appears only once it is whole.")],
    embeddings: Annotated[bool, typer.Option(help="Publish the embeddings too, so that nobody has to encode.")] = True,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a data set that stands at OUT.")] = False,
) -> None:
    """
    Write a data set in the form in which it is published. The same input gives the same bytes.

    Rows that were set aside are not in it.
    """
    from ..data.export import build_folder

    typer.echo(build_folder(folder, out, embeddings=embeddings, overwrite=overwrite))
    typer.echo(f"written to {out}")


def push(
    folder: Annotated[Path, typer.Argument(help="Data set, best one written by `pamela data build`.")],
    repo_id: Annotated[str, typer.Argument(metavar="OWNER/NAME", help="Data set repo; made where there is none.")],
    private: Annotated[bool, typer.Option("--private/--public", help="Of a repo that is made.")] = True,
    dry_run: Annotated[
        bool, typer.Option("--dry-run/--yes", help="Only list what would be uploaded, or do it.")
    ] = True,
) -> None:
    """Upload a data set. Without --yes it only says what would be uploaded, and to whom it would be visible."""
    from ..data.push import plan_push, push_folder

    typer.echo(plan_push(folder, repo_id, private))
    if dry_run:
        typer.echo("dry run: nothing was uploaded; pass --yes to do it")
    else:
        typer.echo(f"uploaded: {push_folder(folder, repo_id, private)}")
