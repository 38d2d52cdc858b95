"""`pamela checkpoint` and `pamela push`: a model as a folder of one's own, and as a Hub repo."""

from pathlib import Path
from typing import Annotated

import typer


__all__ = ["checkpoint", "push"]


def checkpoint(
    name: Annotated[str, typer.Argument(help="A model of the package, such as pamela-small.")],
    out: Annotated[Path, typer.Argument(help="Folder to write; it appears only once it is whole.")],
) -> None:
    """
    Write a copy of a model that is part of the package, with the code that loads it where the package is not installed.

    Then AutoModel.from_pretrained(OUT) works after `import modeling_pamela`, or with trust_remote_code=True.
    """
    from ..checkpoints import copy_checkpoint

    typer.echo(f"Written to {copy_checkpoint(name, out)}")


def push(
    folder: Annotated[
        Path, typer.Argument(metavar="CHECKPOINT", help="A folder that `pamela train` or `pamela checkpoint` wrote.")
    ],
    repo_id: Annotated[str, typer.Argument(metavar="OWNER/NAME", help="Model repo; made where there is none.")],
    private: Annotated[bool, typer.Option("--private/--public", help="Of a repo that is made.")] = True,
    dry_run: Annotated[
        bool, typer.Option("--dry-run/--yes", help="Only list what would be uploaded, or do it.")
    ] = True,
) -> None:
    """Upload a model with its card. Without --yes it only says what would be uploaded, and to whom it would be visible."""
    from ..checkpoints.push import plan_model_push, push_model

    typer.echo(plan_model_push(folder, repo_id, private))
    if dry_run:
        typer.echo("dry run: nothing was uploaded; pass --yes to do it")
    else:
        typer.echo(f"uploaded: {push_model(folder, repo_id, private)}")
