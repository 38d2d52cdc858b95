"""`pamela data preferences`: ratings as chosen and rejected pictures."""

from pathlib import Path
from typing import Annotated

import typer


__all__ = ["preferences"]


def preferences(
    folder: Annotated[Path, typer.Argument(help="Data set in the standard form, split or not.")],
    out: Annotated[Path, typer.Argument(help="Folder to write; it appears only once it is whole.")],
    split: Annotated[
        list[str] | None, typer.Option(help="Split of the ratings; repeatable, all by default.", show_default=False)
    ] = None,
    margin: Annotated[float, typer.Option(help="Least difference of two ratings, as a share of the scale.")] = 0.1,
    max_pairs: Annotated[int, typer.Option(help="Pairs of a person in a split, drawn at random.")] = 100,
    same_prompt: Annotated[
        bool, typer.Option("--same-prompt", help="Only pictures of one prompt, for DPO of a text-to-image model.")
    ] = False,
    texts: Annotated[
        bool, typer.Option("--texts", help="Prompts instead of pictures, for DPO of a language model.")
    ] = False,
    instruction: Annotated[
        str, typer.Option(help="What the language model is asked, with --texts.")
    ] = "Write the prompt of a picture.",
    seed: Annotated[int, typer.Option(min=0, help="The same seed and options give the same pairs.")] = 0,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace preferences that stand at OUT.")] = False,
) -> None:
    """
    Write pairs of a chosen and a rejected picture, person by person, for DPO and reward trainers.

    Splits stay apart: load_dataset(OUT, split="train") has pairs of training ratings alone.
    """
    from ..rewards.preferences import PreferenceOptions, write_preferences

    options = PreferenceOptions(margin, max_pairs, same_prompt, texts, instruction, seed)
    typer.echo(write_preferences(folder, out, options, split, overwrite))
    typer.echo(f"written to {out}")
