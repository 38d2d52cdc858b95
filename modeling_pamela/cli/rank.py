"""`pamela rank`"""

from pathlib import Path
from typing import Annotated

import typer

from .checkpoint import DEFAULT_MODEL


def rank(
    pictures: Annotated[list[Path], typer.Argument(help="Picture files, and folders, which are read recursively.")],
    profile: Annotated[Path, typer.Option(help="A saved taste profile.")],
    model: Annotated[
        str,
        typer.Option(
            help="The checkpoint that the profile was made with: a folder, a model of the package, or a Hub repo."
        ),
    ] = DEFAULT_MODEL,
    top: Annotated[int | None, typer.Option(min=1, help="Only the best so many.")] = None,
    html: Annotated[
        Path | None,
        typer.Option(help="Also write a page with the pictures. It shows what the person likes: personal data."),
    ] = None,
    prompts: Annotated[Path | None, typer.Option(help="JSON file from file name to prompt.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="CSV with a header.")] = False,
) -> None:
    """Rank pictures for one person, best first, with how unsure the model is of each score."""
    import torch

    from ..taste.profile import TasteProfile
    from .checkpoint import load_checkpoint, load_processor
    from .pictures import check_page, encode_pictures, write_scores

    check_page(html)
    if as_json and as_csv:
        raise typer.BadParameter("--json and --csv exclude each other.")
    person = TasteProfile.from_pretrained(profile)
    scorer = load_checkpoint(model)
    person.check_model(scorer)
    files, names, inputs = encode_pictures(pictures, scorer, load_processor(model), prompts)
    mean, std = person.score(scorer, **inputs)
    order = torch.argsort(mean, descending=True, stable=True)[:top].tolist()
    write_scores(
        [{"file": str(files[row]), "score": float(mean[row]), "std": float(std[row])} for row in order],
        as_json,
        as_csv,
    )
    if html is None:
        return
    from ..evaluation.contact_sheet import Card, Section, write_contact_sheet

    low, high = person.scale
    rated = dict(zip(person.evidence.rating_ids, person.evidence.ratings.tolist(), strict=True))
    cards = [
        Card(
            files[row],
            names[row],
            float(mean[row]),
            float(std[row]),
            f"rated {low + (high - low) * rated[names[row]]:.3g}" if names[row] in rated else None,
        )
        for row in order
    ]
    told = [
        f"{number} {kind}{'' if number == 1 else 's'}"
        for number, kind in ((person.num_ratings, "rating"), (person.num_comparisons, "comparison"))
        if number
    ]
    text = (
        f"{'All' if len(order) == len(files) else f'The best {len(order)} of'} {len(files)} pictures by expected score, for a person known from "
        f"{' and '.join(told) or 'nothing that they rated'}. 0 and 1 are the ends of their scale, {low:g} to {high:g}."
    )
    write_contact_sheet(html, f"Ranked for {profile.resolve().name}", [Section("Best first", text, cards)])
    typer.echo(f"Wrote {html}", err=True)
