"""`pamela profile`: learn a person's taste from a few ratings, and use it."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .checkpoint import DEFAULT_MODEL
from .rank import rank


if TYPE_CHECKING:
    from ..modeling_pamela import PamelaForPersonalizedScoring
    from ..processing_pamela import PamelaProcessor
    from ..taste.profile import TasteProfile

__all__ = ["profile_app"]

profile_app = typer.Typer(
    help="Learn a person's taste from a few ratings, and use it. A profile is personal data: it holds what the person said of which "
    "picture, and the taste learned from it. Keep it where only they, or whom they allow, can read it.",
    no_args_is_help=True,
)
profile_app.command()(rank)

Model = Annotated[str, typer.Option(help="A posterior checkpoint: a folder, a model of the package, or a Hub repo.")]
Saved = Annotated[Path, typer.Option(help="A saved taste profile.")]
Folder = Annotated[Path, typer.Argument(help="Folder of pictures, read recursively.")]
Ratings = Annotated[
    Path, typer.Argument(help="CSV file with the columns file (its path below the folder) and rating.")
]
Prompts = Annotated[Path | None, typer.Option(help="JSON file from file name to prompt.")]


@profile_app.command()
def fit(
    pictures: Folder,
    ratings: Ratings,
    out: Annotated[Path, typer.Option(help="Folder to write the profile to. It is personal data.")],
    scale: Annotated[
        tuple[float, float], typer.Option(metavar="LOW HIGH", help="Lowest and highest possible rating.")
    ],
    model: Model = DEFAULT_MODEL,
    demographics: Annotated[
        str | None, typer.Option(help='What is known of the person, as JSON: \'{"age": 26, "gender": "female"}\'.')
    ] = None,
    data_set: Annotated[
        str | None,
        typer.Option(help="Of a model trained on several, the data set whose people rate as this one does."),
    ] = None,
    prompts: Prompts = None,
) -> None:
    """Learn a taste from ratings and save it: personal data, which holds the ratings. Rows that cannot be used are named on stderr."""
    from ..taste.profile import TasteProfile
    from .pictures import demographics_embeds

    scorer, processor = _load(model)
    known = None if demographics is None else demographics_embeds(demographics, scorer, processor)
    prior = TasteProfile.prior(scorer, known, scale, data_set)
    _save(_learn(prior, scorer, processor, pictures, ratings, scale, prompts), out)


@profile_app.command()
def update(
    pictures: Folder,
    ratings: Ratings,
    profile: Saved,
    model: Model = DEFAULT_MODEL,
    out: Annotated[
        Path | None, typer.Option(help="Folder to write to, instead of the profile's own. It is personal data.")
    ] = None,
    scale: Annotated[
        tuple[float, float] | None,
        typer.Option(metavar="LOW HIGH", help="Ends of the scale; by default the profile's.", show_default=False),
    ] = None,
    prompts: Prompts = None,
) -> None:
    """Learn from further ratings: the same as if all had been given at once."""
    person, scorer, processor = _open(profile, model)
    _save(_learn(person, scorer, processor, pictures, ratings, scale or person.scale, prompts), out or profile)


@profile_app.command()
def show(profile: Annotated[Path, typer.Argument(help="A saved taste profile.")]) -> None:
    """What a profile knows: the evidence, in the order in which it was given."""
    from ..taste.profile import TasteProfile

    person = TasteProfile.from_pretrained(profile)
    evidence, (low, high) = person.evidence, person.scale
    typer.echo(f"{person.num_ratings} ratings from {low:g} to {high:g}, {person.num_comparisons} comparisons")
    typer.echo(f"noise of a rating: {person.noise_variance**0.5 * (high - low):.2f} (standard deviation)")
    typer.echo(f"model: {person.model_fingerprint}")
    if not person.num_ratings and not person.num_comparisons:
        typer.echo("Nothing is known of the person's taste: it is that of anybody.")
    for name, rating in zip(evidence.rating_ids, evidence.ratings.tolist(), strict=True):
        typer.echo(f"  {low + (high - low) * rating:g}  {name}")
    for (first, second), tied in zip(evidence.comparison_ids, evidence.tied.tolist(), strict=True):
        typer.echo(f"  {first} {'as good as' if tied else 'preferred to'} {second}")


@profile_app.command()
def suggest(
    pictures: Folder,
    model: Model = DEFAULT_MODEL,
    profile: Annotated[
        Path | None, typer.Option(help="A saved taste profile; without it, what to ask anybody first.")
    ] = None,
    n: Annotated[int, typer.Option("-n", min=1, help="How many pictures.")] = 15,
    pair: Annotated[
        bool, typer.Option("--pair", help="Two pictures to compare, instead of pictures to rate.")
    ] = False,
    prompts: Prompts = None,
) -> None:
    """The pictures of a folder whose ratings would teach most about how the person ranks it, the most telling first."""
    from ..taste.profile import TasteProfile
    from .pictures import encode_pictures

    if profile is None:
        scorer, processor = _load(model)
        person = TasteProfile.prior(scorer)
    else:
        person, scorer, processor = _open(profile, model)
    encoded = encode_pictures([pictures], scorer, processor, prompts)
    if pair:
        place = {name: row for row, name in enumerate(encoded.names)}
        asked = [
            (min(place[first], place[second]), max(place[first], place[second]))
            for first, second in person.evidence.comparison_ids
            if first in place and second in place
        ]
        chosen = list(person.suggest_pair(scorer, targets=None, exclude=asked, **encoded.inputs))
    else:
        rated = set(person.evidence.rating_ids)
        left = [row for row, name in enumerate(encoded.names) if name not in rated]
        order = person.suggest_next(scorer, n, targets=encoded.inputs, **encoded.take(left))
        chosen = [left[row] for row in order.tolist()]
    for row in chosen:
        typer.echo(encoded.names[row])


@profile_app.command()
def compare(
    first: Annotated[Path, typer.Argument(help="A picture file.")],
    second: Annotated[Path, typer.Argument(help="Another.")],
    profile: Saved,
    model: Model = DEFAULT_MODEL,
    prompts: Prompts = None,
) -> None:
    """How likely the person is to prefer the first picture to the second."""
    from .pictures import encode_pictures

    person, scorer, processor = _open(profile, model)
    pair = [encode_pictures([file], scorer, processor, prompts).inputs for file in (first, second)]
    typer.echo(f"{float(person.compare(scorer, *pair)):.3f}")


@profile_app.command()
def explain(
    picture: Annotated[Path, typer.Argument(help="A picture file.")],
    profile: Saved,
    model: Model = DEFAULT_MODEL,
    top: Annotated[
        int, typer.Option(min=1, help="How many pieces of evidence, those that moved the score most.")
    ] = 10,
    prompts: Prompts = None,
) -> None:
    """What the person said that moved a picture's score up or down, and by how much. The parts add up to the score."""
    import torch

    from .pictures import encode_pictures

    person, scorer, processor = _open(profile, model)
    inputs = encode_pictures([picture], scorer, processor, prompts).inputs
    score = person.score(scorer, **inputs)
    explanation = person.explain(scorer, **inputs)
    moves = explanation.contributions[0]
    order = torch.argsort(moves.abs(), descending=True, stable=True).tolist()
    typer.echo(f"{float(score.mean):.3f} ± {float(score.std):.3f}  {picture}")
    typer.echo(f"{float(explanation.prior):+.3f}  before anything was rated")
    for row in order[:top]:
        typer.echo(f"{float(moves[row]):+.3f}  {' against '.join(explanation.evidence[row])}")
    if order[top:]:
        typer.echo(f"{float(moves[order[top:]].sum()):+.3f}  the other {len(order) - top}")


def _load(model: str) -> "tuple[PamelaForPersonalizedScoring, PamelaProcessor]":
    from .checkpoint import load_checkpoint, load_processor

    return load_checkpoint(model), load_processor(model)


def _open(profile: Path, model: str) -> "tuple[TasteProfile, PamelaForPersonalizedScoring, PamelaProcessor]":
    """A profile and its model; an error at once where they do not belong together."""
    from ..taste.profile import TasteProfile

    person = TasteProfile.from_pretrained(profile)
    scorer, processor = _load(model)
    person.check_model(scorer)
    return person, scorer, processor


def _learn(
    person: "TasteProfile",
    model: "PamelaForPersonalizedScoring",
    processor: "PamelaProcessor",
    folder: Path,
    table: Path,
    scale: tuple[float, float],
    prompts: Path | None,
) -> "TasteProfile":
    import torch

    from .pictures import encode_pictures, pictures_of, read_ratings

    files = pictures_of(folder)
    rated = read_ratings(table, scale, list(files))
    # Only what was rated is encoded, each picture once.
    encoded = encode_pictures([files[name] for name in dict.fromkeys(rated.names)], model, processor, prompts)
    row_of = {file: row for row, file in enumerate(encoded.files)}
    usable = [place for place, name in enumerate(rated.names) if files[name] in row_of]
    names = [rated.names[place] for place in usable]
    return person.update(
        model,
        torch.tensor([rated.ratings[place] for place in usable], dtype=torch.float64),
        scale=scale,
        image_ids=names,
        **encoded.take([row_of[files[name]] for name in names]),
    )


def _save(person: "TasteProfile", out: Path) -> None:
    person.save_pretrained(out)
    typer.echo(f"A taste from {person.num_ratings} ratings is saved to {out}. It is personal data.")
