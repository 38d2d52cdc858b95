"""`pamela evaluate`"""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from .checkpoint import Device, Precision


class Split(StrEnum):
    """Splits with queries."""

    test_unseen = "test_unseen"
    test_seen = "test_seen"
    val_unseen = "val_unseen"
    val_seen = "val_seen"


class Protocol(StrEnum):
    """Where contexts come from."""

    train = "train"
    query = "query"


def evaluate(
    model: Annotated[
        str, typer.Argument(help="A posterior checkpoint: a folder, pamela-small (part of the package) or a Hub repo.")
    ],
    datasets: Annotated[list[Path], typer.Argument(help="Data folders, split and embedded; a table for each.")],
    split: Annotated[Split, typer.Option(help="Whose ratings are predicted.")] = Split.test_unseen,
    context: Annotated[
        list[str] | None,
        typer.Option(help='Ratings of a person that may be seen: a number or "all". Repeatable; 15 by default.'),
    ] = None,
    protocol: Annotated[
        Protocol | None,
        typer.Option(
            help="Contexts from pictures outside of the split (where there are some, the default), or (the paper's) from the split itself."
        ),
    ] = None,
    token_model: Annotated[
        Path | None,
        typer.Option(
            help="A token checkpoint trained on the same split. Without it one is trained, once, beside the model."
        ),
    ] = None,
    cross: Annotated[
        Path | None,
        typer.Option(
            metavar="DATASET",
            help="Judge across data sets: the data folder that the model was trained on, which has no picture in common with these.",
            show_default=False,
        ),
    ] = None,
    prompts: Annotated[bool, typer.Option(help="Let the methods see the prompts.")] = True,
    json_file: Annotated[Path | None, typer.Option("--json", help="Also write the rows to this file.")] = None,
    device: Device = "cpu",
    dtype: Precision = None,
) -> None:
    """Judge a model on fixed contexts, next to the population score, the paper's token + kNN, a ridge and the crowd oracle."""
    import json

    from ..data.files import atomic_write
    from ..data.folder import DataFolder
    from ..evaluation.comparison import compare, markdown_table, summarise
    from ..evaluation.methods import check_split
    from ..taste.profile import ProfileError
    from .baseline import token_baseline
    from .checkpoint import load_checkpoint

    if cross is not None and token_model is not None:
        raise typer.BadParameter("--cross: a token model knows nobody of another data set; leave --token-model out.")
    trained_on = None if cross is None else DataFolder(cross)
    folders = [DataFolder(dataset) for dataset in datasets]
    posterior = load_checkpoint(model, device, dtype)
    if posterior.taste is None:
        raise ProfileError("The model to evaluate must be a posterior model; pass a token model as --token-model.")
    sizes = [context_size(text) for text in context or ["15"]]
    every = {}
    for dataset, folder in zip(datasets, folders, strict=True):
        token = None
        if trained_on is None:
            check_split(posterior, folder)  # before a token model is trained
            beside = token_model or token_baseline(folder, Path(model), prompts)
            token = load_checkpoint(beside, device, dtype)
        chosen = protocol.value if protocol else None
        results = compare(folder, posterior, token, split.value, sizes, chosen, prompts, trained_on)
        rows = every[str(dataset)] = summarise([results])
        people = len(results[0].people)
        typer.echo(f"{dataset}, {split.value}: {people} people, {results[0].scores.skipped} without a value\n")
        typer.echo(markdown_table(rows))
    if json_file is not None:
        with atomic_write(json_file) as temporary:
            temporary.write_text(json.dumps(every if len(every) > 1 else rows, indent=2) + "\n")


def context_size(text: str) -> int | None:
    """A number of ratings, or `None` for "all"; a `typer.BadParameter` for anything else."""
    if text == "all":
        return None
    if not text.isdigit():
        raise typer.BadParameter(f'--context {text}: expected a number of ratings or "all".')
    return int(text)
