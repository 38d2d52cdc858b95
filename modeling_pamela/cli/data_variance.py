"""`pamela data taste-variance`"""

from pathlib import Path
from typing import Annotated

import typer


__all__ = ["taste_variance"]


def taste_variance(
    source: Annotated[
        Path,
        typer.Argument(
            help="A data folder, or a CSV or Parquet table with user_id, image_id and rating; one that has repeated ratings tells more."
        ),
    ],
    draws: Annotated[int, typer.Option(min=1, help="Bootstrap draws of people.")] = 1000,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object instead of a table.")] = False,
) -> None:
    """How much of the ratings is the picture, the person's generosity, personal taste, and noise."""
    import json
    from dataclasses import asdict

    from ..data.files import DataError
    from ..evaluation.variance import taste_variance as split_variance

    try:
        found = split_variance(*_columns(source), n=draws)
    except DataError:
        raise
    except ValueError as error:
        raise DataError(f"{source}: {error}") from error
    if as_json:
        typer.echo(json.dumps(asdict(found)))
        return
    typer.echo(
        f"{found.num_ratings:,} ratings of {found.num_pictures:,} pictures by {found.num_people:,} people, {found.num_repeated:,} of them repeated\n"
    )
    parts = {
        "picture: what all agree on": found.picture,
        "person: how generous they are": found.person,
        "person x picture: taste": found.taste,
        "noise: not repeated by the same person": found.noise,
    }
    if found.taste is None:
        parts = {**dict(list(parts.items())[:2]), "person x picture and noise together": found.taste_and_noise}
    parts["all"] = found.total
    for name, part in parts.items():
        if part is not None:
            share = part.mean / found.total.mean
            typer.echo(f"{name:40} {part.mean:.4g} [{part.low:.4g}, {part.high:.4g}]  {share:.0%}")


def _columns(source: Path) -> tuple:
    import pandas as pd

    from ..data.files import DataError
    from ..data.folder import DataFolder

    names = ["user_id", "image_id", "rating"]
    if source.is_dir():
        folder = DataFolder(source)
        frame = pd.concat([folder.table("ratings", split).select(names).to_pandas() for split in folder.splits])
    else:
        try:
            frame = (
                pd.read_parquet(source)
                if source.suffix == ".parquet"
                else pd.read_csv(source, dtype={"user_id": str, "image_id": str})
            )
        except (OSError, ValueError) as error:
            raise DataError(f"{source} cannot be read ({error}). Expected a data folder, CSV or Parquet.") from error
        if missing := [name for name in names if name not in frame]:
            raise DataError(f"{source} lacks the columns {missing}; found {list(frame.columns)}.")
    if (gaps := frame[names].isna().any(axis=1)).any():
        row = int(gaps.to_numpy().nonzero()[0][0])
        raise DataError(
            f"{int(gaps.sum())} rows of {source} have no user_id, image_id or rating; the first is row {row + 1}."
        )
    return tuple(frame[name].to_numpy() for name in names)
