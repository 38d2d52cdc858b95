"""`pamela demo`"""

from pathlib import Path
from typing import Annotated

import typer

from .checkpoint import DEFAULT_MODEL


def demo(
    html: Annotated[Path, typer.Option(help="The page to write; replaced if it is there.")] = Path(
        "demo-output/index.html"
    ),
    model: Annotated[
        str, typer.Option(help="A posterior checkpoint: its name, a folder or a Hub repo.")
    ] = DEFAULT_MODEL,
    seed: Annotated[int, typer.Option(min=0, help="Of the generated pictures and the simulated ratings.")] = 0,
    pictures: Annotated[
        Path | None, typer.Option(help="Folder of your own pictures, read recursively, instead of generated ones.")
    ] = None,
    ratings: Annotated[
        Path | None,
        typer.Option(help="CSV file of your ratings: columns file (its path below the folder) and rating."),
    ] = None,
    profile: Annotated[
        Path | None, typer.Option(help="Instead of --ratings: a taste profile, such as `pamela rate` saves.")
    ] = None,
    scale: Annotated[
        tuple[float, float], typer.Option(metavar="LOW HIGH", help="Lowest and highest possible rating of yours.")
    ] = (1.0, 5.0),
) -> None:
    """
    What 15 ratings teach, as one page: of two simulated people on generated pictures, or of yourself on your own.

    The page holds the pictures it shows. Made of your own pictures and ratings it is personal data.
    """
    from transformers.utils import logging

    from ..data.files import DataError
    from ..demo import Gallery, demo_of_one, demo_of_two
    from ..demo_page import write_demo_page
    from ..taste.profile import TasteProfile
    from .checkpoint import load_checkpoint, load_processor
    from .pictures import check_page, encode_pictures, known_ratings, pictures_of, read_ratings

    check_page(html)

    if ratings is not None and profile is not None:
        raise DataError("--ratings and --profile exclude each other: the profile has the ratings in it.")
    if (pictures is None) != (ratings is None and profile is None):
        raise DataError(
            "Your own demo needs --pictures FOLDER and what you said of them: either --profile, such as `pamela rate FOLDER` makes, or "
            "--ratings FILE."
        )
    logging.disable_progress_bar()  # of loading, which takes a moment
    scorer, processor = load_checkpoint(model), load_processor(model)
    if pictures is None:
        typer.echo("Everything here is simulated: the pictures are generated, and no person gave any rating.")
        shown = demo_of_two(scorer, processor, seed, echo=typer.echo)
    else:
        # What they said of them first: encoding takes long.
        there = list(pictures_of(pictures))
        if profile is not None:
            saved = TasteProfile.from_pretrained(profile)
            saved.check_model(scorer)
            scale = saved.scale
            rated = known_ratings(saved, there)
        else:
            assert ratings is not None
            rated = read_ratings(ratings, scale, there)
        encoded = encode_pictures([pictures], scorer, processor)
        gallery = Gallery(encoded.names, encoded.files, encoded.inputs["image_embeds"])
        readable = set(gallery.names)
        kept = [pair for pair in zip(rated.names, rated.ratings, strict=True) if pair[0] in readable]
        if not kept:
            raise DataError(f"None of the {len(rated.names)} rated pictures in {pictures} can be read.")
        names, values = zip(*kept, strict=True)
        shown = demo_of_one(scorer, gallery, names, values, scale)
    for person in shown.people:
        typer.echo(
            f"\n{person.name}{' (simulated)' if shown.simulated else ''}: best of {len(person.unrated)} new pictures"
        )
        for row in person.best_first[:5]:
            typer.echo(f"  {person.mean[-1, row]:.2f} ± {person.std[-1, row]:.2f}  {shown.gallery.names[row]}")
        if person.truth is not None:
            typer.echo(
                f"  Spearman correlation with their true opinion: {person.srocc[0]:+.2f} before, {person.srocc[-1]:+.2f} "
                f"after {len(person.ratings)} ratings"
            )
    typer.echo(f"\nWrote {write_demo_page(html, shown, scorer)}")
