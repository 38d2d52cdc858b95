"""`pamela rate`"""

import shlex
import threading
from contextlib import closing, suppress
from pathlib import Path
from typing import Annotated

import typer

from .checkpoint import DEFAULT_MODEL


def rate(
    folder: Annotated[Path, typer.Argument(help="Folder of pictures, read recursively. Nothing is written there.")],
    model: Annotated[
        str, typer.Option(help="A posterior checkpoint: a folder, a model of the package, or a Hub repo.")
    ] = DEFAULT_MODEL,
    out: Annotated[
        Path,
        typer.Option(help="Folder for your answers, your profile and the ranking. They are personal data."),
    ] = Path("my-taste"),
    n: Annotated[int, typer.Option("-n", min=1, help="Ratings after which the folder is ranked.")] = 15,
    port: Annotated[
        int | None,
        typer.Option(min=1, max=65535, help="Of 127.0.0.1; by default the first free one from 7860."),
    ] = None,
    browser: Annotated[bool, typer.Option(help="Open the page in the browser.")] = True,
) -> None:
    """
    Rate pictures of a folder in the browser, and have the folder ranked by your taste. The page is seen by this machine alone. Every answer is
    saved before the next picture comes: run it again to go on where you stopped.
    """
    from ..studio.answers import Answers
    from ..studio.library import Library
    from ..studio.rate import RatingPage, serve
    from ..studio.session import RatingSession
    from .checkpoint import load_checkpoint, load_processor

    scorer = load_checkpoint(model)
    library = Library(folder, out / "embeddings.sqlite", scorer.encoder("image"), load_processor(model))
    answers = Answers(out / "answers.sqlite")
    session = RatingSession(library, answers, scorer, n)
    command = shlex.join(["pamela", "rank", str(folder), "--model", model, "--profile", str(out)])
    with closing(answers), closing(library):
        library.start()
        blocks, address = serve(RatingPage(session, out, command), port, browser)
        typer.echo(f"{len(library.files):,} pictures. Rate some of them at {address} (to stop, press Ctrl+C here)")
        with suppress(KeyboardInterrupt):
            threading.Event().wait()
        blocks.close(verbose=False)
        progress = session.progress()
        typer.echo(f"\n{progress.rated} of {progress.wanted} rated. All answers are in {answers.path}.")
        typer.echo(command if session.finished and progress.rated else "Run the same command again to go on.")
