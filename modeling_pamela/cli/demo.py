"""`pamela demo`"""

from pathlib import Path
from typing import Annotated

import typer


def demo(
    output: Annotated[
        Path, typer.Option(help="Folder for the page, the data and the model; a demo of before is replaced.")
    ],
    seed: Annotated[int, typer.Option(min=0, help="Of the scenes and the simulated people.")] = 0,
) -> None:
    """Train on generated scenes and simulated people, learn two opposite tastes from 15 ratings each, and show the rankings."""
    from ..demo import run_demo

    run_demo(output, seed, echo=typer.echo)
