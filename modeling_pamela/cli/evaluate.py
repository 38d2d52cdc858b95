"""`pamela evaluate`"""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer


if TYPE_CHECKING:
    from ..data.folder import DataFolder


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
    model: Annotated[str, typer.Argument(help="A posterior checkpoint: a folder or a Hub repo.")],
    dataset: Annotated[Path, typer.Argument(help="A data folder, split and embedded.")],
    split: Annotated[Split, typer.Option(help="Whose ratings are predicted.")] = Split.test_unseen,
    context: Annotated[
        list[str] | None,
        typer.Option(help='Ratings of a person that may be seen: a number or "all". Repeatable; 15 by default.'),
    ] = None,
    protocol: Annotated[
        Protocol,
        typer.Option(help="Contexts from pictures outside of the split, or (the paper's) from the split itself."),
    ] = Protocol.train,
    token_model: Annotated[
        Path | None,
        typer.Option(
            help="A token checkpoint trained on the same split. Without it one is trained, once, beside the model."
        ),
    ] = None,
    prompts: Annotated[bool, typer.Option(help="Let the methods see the prompts.")] = True,
    json_file: Annotated[Path | None, typer.Option("--json", help="Also write the rows to this file.")] = None,
) -> None:
    """Judge a model on fixed contexts, next to the population score, the paper's token + kNN, a ridge and the crowd oracle."""
    import json

    from ..data.files import atomic_write
    from ..data.folder import DataFolder
    from ..evaluation.comparison import compare, markdown_table, summarise
    from ..taste.profile import ProfileError
    from .checkpoint import load_checkpoint

    folder = DataFolder(dataset)
    posterior = load_checkpoint(model)
    if posterior.taste is None:
        raise ProfileError("The model to evaluate must be a posterior model; pass a token model as --token-model.")
    if token_model is None:
        encoders = {
            f"{role}_encoder": getattr(posterior.config, f"{role}_encoder") for role in ("image", "text", "profile")
        }
        token_model = _token_baseline(folder, Path(model), encoders, prompts)
    token = load_checkpoint(token_model)
    results = compare(
        folder, posterior, token, split.value, [_size(text) for text in context or ["15"]], protocol.value, prompts
    )
    rows = summarise([results])
    people = len(results[0].people)
    typer.echo(f"{dataset}, {split.value}: {people} people, {results[0].scores.skipped} without a value\n")
    typer.echo(markdown_table(rows))
    if json_file is not None:
        with atomic_write(json_file) as temporary:
            temporary.write_text(json.dumps(rows, indent=2) + "\n")


def _size(text: str) -> int | None:
    if text == "all":
        return None
    if not text.isdigit():
        raise typer.BadParameter(f'--context {text}: expected a number of ratings or "all".')
    return int(text)


def _token_baseline(folder: "DataFolder", model: Path, encoders: dict[str, str], prompts: bool) -> Path:
    """The paper's model, trained on the same split with the settings that validate best, kept in the model's folder."""
    import contextlib
    import hashlib
    import sys

    from ..data.files import DataError
    from ..training.recipes import RECIPES
    from ..training.trainer import USERS_FILE, train

    if not model.is_dir():
        raise DataError(
            f"{model} is no local folder to keep a token model in; train one and pass it as --token-model."
        )
    recipe = RECIPES["token"]
    config = recipe.config(**encoders, use_text=prompts, rating_scale=list(folder.rating_scale))
    made_of = f"{folder.split_fingerprint()} {recipe} {config.to_json_string()}"
    directory = model / "baselines" / f"token-{hashlib.sha256(made_of.encode()).hexdigest()[:8]}"
    if not (directory / USERS_FILE).is_file():
        typer.echo(f"Training the paper's token model for comparison; it is kept in {directory}.", err=True)
        # The trainer prints its log; standard output is for the table.
        with contextlib.redirect_stdout(sys.stderr):
            train(folder, config, directory, resume=True, **recipe.training())
    return directory
