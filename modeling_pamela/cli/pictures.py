"""What commands that score pictures share: reading pictures, prompts, demographics and ratings, and writing rows."""

import csv
import json
import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import typer


if TYPE_CHECKING:
    from torch import Tensor

    from ..modeling_pamela import PamelaForPersonalizedScoring
    from ..processing_pamela import PamelaProcessor
    from ..taste.profile import TasteProfile

__all__ = [
    "EncodedPictures",
    "RatedFiles",
    "check_page",
    "demographics_embeds",
    "encode_pictures",
    "known_ratings",
    "pictures_of",
    "read_ratings",
    "write_scores",
]


class EncodedPictures(NamedTuple):
    """
    Pictures as a model takes them.

    Attributes:
        files (`list[Path]` of length N): Those that could be read.
        names (`list[str]` of length N): The file's path below the folder that was given, with forward slashes; of a file its name.
        inputs (`dict[str, Tensor]`): `image_embeds` and perhaps `text_embeds`, `(N, D)`.
    """

    files: list[Path]
    names: list[str]
    inputs: "dict[str, Tensor]"

    def take(self, rows: list[int]) -> "dict[str, Tensor]":
        """Inputs of some of them."""
        return {name: table[rows] for name, table in self.inputs.items()}


class RatedFiles(NamedTuple):
    """Names of rated pictures and their ratings, in the order of the file."""

    names: list[str]
    ratings: list[float]


def check_page(html: Path | None) -> None:
    """A `typer.BadParameter` for a page that cannot be written, before anything takes time."""
    if html is not None and html.is_dir():
        raise typer.BadParameter(f"--html {html} is a folder; expected a file to write.")


def pictures_of(folder: Path) -> dict[str, Path]:
    """
    The picture files of a folder, read recursively, by the names that ratings give them; none of them is opened.

    Raises:
        DataError: There is no such folder, or no picture in it.
    """
    from ..data.files import DataError
    from ..data.images import find_images

    if not folder.is_dir():
        raise DataError(f"There is no folder {folder}.")
    files = {_name(file, [folder]): file for file in find_images([folder])}
    if not files:
        raise DataError(f"There is no picture in {folder}.")
    return files


def encode_pictures(
    paths: list[Path],
    model: "PamelaForPersonalizedScoring",
    processor: "PamelaProcessor",
    prompts: Path | None = None,
    batch_size: int = 4,
) -> EncodedPictures:
    """
    Read and encode picture files, and folders recursively. Pictures that cannot be read are named on stderr.

    Raises:
        DataError: There is no picture, or none can be read; or the prompts cannot.
    """
    from ..data.pictures import encode_files

    found = encode_files(paths, model.encoder("image"), processor, batch_size, sys.stderr.isatty())
    for error in found.set_aside:
        typer.secho(f"Set aside: {error}", fg=typer.colors.YELLOW, err=True)
    files, inputs = found.files, {"image_embeds": found.image_embeds}
    if prompts is not None:
        inputs["text_embeds"] = _prompt_embeds(model, processor, prompts, files)
    folders = [path for path in paths if path.is_dir()]
    return EncodedPictures(files, [_name(file, folders) for file in files], inputs)


def _name(file: Path, folders: list[Path]) -> str:
    folder = next((folder for folder in folders if file.is_relative_to(folder)), None)
    return file.name if folder is None else file.relative_to(folder).as_posix()


def _prompt_embeds(
    model: "PamelaForPersonalizedScoring", processor: "PamelaProcessor", prompts: Path, files: list[Path]
) -> "Tensor":
    from ..data.files import DataError

    try:
        known = json.loads(prompts.read_text(encoding="utf-8"))
        texts = [known.get(file.name) for file in files]
    except (json.JSONDecodeError, UnicodeDecodeError, AttributeError) as error:
        raise DataError(f"{prompts} is not a JSON object from file name to prompt ({error}).") from error
    if not all(text is None or isinstance(text, str) for text in texts):
        raise DataError(f"{prompts} has prompts that are not text.")
    if not any(texts):
        raise DataError(
            f"{prompts} has a prompt for none of the pictures; its keys must be file names such as {files[0].name!r}."
        )
    return model.get_text_embeds(**processor.tokenize(texts)).cpu()


def demographics_embeds(text: str, model: "PamelaForPersonalizedScoring", processor: "PamelaProcessor") -> "Tensor":
    """Frozen embedding `(1, D)` of demographics given as a JSON object; says so where the model makes nothing of them."""
    try:
        known = json.loads(text)
    except json.JSONDecodeError as error:
        raise typer.BadParameter(f"--demographics is not JSON ({error}).") from error
    if not isinstance(known, dict):
        raise typer.BadParameter("--demographics is not a JSON object from field to value.")
    if model.taste is not None and (model.taste.demographics is None or not model.taste.demographics.weight.any()):
        typer.secho("In training, demographics told nothing of tastes: these are the population's scores.", err=True)
    tokens = processor(demographics=known)
    embeds = model.get_text_embeds(tokens["demographics_input_ids"], tokens["demographics_attention_mask"], "profile")
    return embeds.cpu()


def read_ratings(path: Path, scale: tuple[float, float], names: list[str]) -> RatedFiles:
    """
    Read a person's ratings from a CSV file with the columns `file` and `rating`. Rows that cannot be used are named on stderr and
    set aside; a rating outside of the scale stops it all. A picture that was rated twice keeps both ratings.

    Args:
        path (`Path`): The CSV file.
        scale (`tuple[float, float]`): The lowest and highest possible rating.
        names (`list[str]`): Of the pictures that there are; `file` is one of these.

    Raises:
        DataError: The file cannot be read, lacks a column, has a rating outside of the scale, or no row that can be used.
    """
    from ..data.files import DataError

    low, high = scale
    if not low < high:
        raise DataError(f"The scale must go from a smaller to a larger number, got {low:g} {high:g}.")
    known = set(names)
    rated = RatedFiles([], [])
    problems = []
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            if not {"file", "rating"} <= set(reader.fieldnames or ()):
                raise DataError(
                    f"{path} has the columns {', '.join(reader.fieldnames or ()) or '(none)'}; expected file and rating."
                )
            for row in reader:
                name, text = (row["file"] or "").strip().replace("\\", "/"), (row["rating"] or "").strip()
                try:
                    rating = float(text)
                except ValueError:
                    rating = math.nan
                if name not in known:
                    problems.append(f"line {reader.line_num}: there is no picture {name!r} that can be read")
                elif math.isnan(rating):
                    problems.append(f"line {reader.line_num}: the rating {text!r} of {name!r} is not a number")
                elif not low <= rating <= high:
                    # Other ratings would be misread too, should the scale be another one.
                    raise DataError(
                        f"{path}, line {reader.line_num}: the rating {text} of {name!r} is not from {low:g} to {high:g}. Correct it, or "
                        "name the ends of the scale (--scale)."
                    )
                else:
                    rated.names.append(name)
                    rated.ratings.append(rating)
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path} is not a CSV file in UTF-8 ({error}).") from error
    except OSError as error:
        raise DataError(
            f"{path} cannot be read ({error.strerror}); expected a CSV file with the columns file and rating."
        ) from error
    _set_aside([f"{path}, {problem}" for problem in problems])
    if not rated.names:
        raise DataError(
            f"{path} has no rating that can be used ({problems[0] if problems else 'it has no rows'}). Name files by their paths below "
            f"the folder, such as {names[0]!r}."
        )
    return rated


def known_ratings(profile: "TasteProfile", names: list[str]) -> RatedFiles:
    """
    The ratings in a profile, on its own scale. Those of pictures that are not there are named on stderr and set aside.

    Raises:
        DataError: It has no rating of a picture that is there.
    """
    from ..data.files import DataError

    low, high = profile.scale
    known, rated = set(names), RatedFiles([], [])
    problems = []
    for name, rating in zip(profile.evidence.rating_ids, profile.evidence.ratings.tolist(), strict=True):
        if name in known:
            rated.names.append(name)
            rated.ratings.append(low + (high - low) * rating)
        else:
            problems.append(f"the rating of {name!r}, which is not there")
    if pairs := len(profile.evidence.compared):
        problems.append(f"{pairs} comparison{'s' * (pairs != 1)}, which say no rating")
    _set_aside(problems)
    if not rated.names:
        raise DataError(
            f"The profile has no rating of a picture that is there (such as {names[0]!r}). Name the folder whose pictures were rated."
        )
    return rated


def _set_aside(problems: list[str], shown: int = 5) -> None:
    rest = [f"{len(problems) - shown} more of this kind"] if len(problems) > shown else []
    for problem in problems[:shown] + rest:
        typer.secho(f"Set aside: {problem}", fg=typer.colors.YELLOW, err=True)


def write_scores(rows: list[dict], as_json: bool, as_csv: bool) -> None:
    """Print rows of `file`, `score` and `std` (may be None), and as JSON and CSV whatever else is in them."""
    if as_json:
        for row in rows:
            typer.echo(json.dumps(row, ensure_ascii=False))
    elif as_csv:
        writer = csv.DictWriter(sys.stdout, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    else:
        for row in rows:
            std = "" if row["std"] is None else f" ± {row['std']:.3f}"
            typer.echo(f"{row['score']:.3f}{std}  {row['file']}")
