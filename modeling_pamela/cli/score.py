"""`pamela score`"""

import csv
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .checkpoint import Device, Precision


if TYPE_CHECKING:
    from torch import Tensor

    from ..modeling_pamela import PamelaForPersonalizedScoring


def score(
    model: Annotated[str, typer.Argument(help="A checkpoint: a folder or a Hub repo.")],
    pictures: Annotated[list[Path], typer.Argument(help="Picture files, and folders, which are read recursively.")],
    user: Annotated[str | None, typer.Option(help="A training person whose taste was saved with the model.")] = None,
    profile: Annotated[Path | None, typer.Option(help="A saved taste profile.")] = None,
    demographics: Annotated[
        str | None, typer.Option(help='What is known of the person, as JSON: \'{"age": 26, "gender": "female"}\'.')
    ] = None,
    prompts: Annotated[
        Path | None, typer.Option(help="JSON file from file name to prompt, for pictures whose prompts are known.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="CSV with a header.")] = False,
    batch_size: Annotated[int, typer.Option(min=1, help="Pictures a forward pass.")] = 4,
    device: Device = "cpu",
    dtype: Precision = None,
) -> None:
    """Score pictures, best first: for the population, or for one person. Pictures that cannot be read are named on stderr."""
    import torch
    from transformers import AutoProcessor

    from ..data.pictures import encode_files
    from ..taste.profile import ProfileError, TasteProfile, profile_folder_name
    from .checkpoint import load_checkpoint

    if sum(option is not None for option in (user, profile, demographics)) > 1:
        raise typer.BadParameter("--user, --profile and --demographics exclude each other.")
    if as_json and as_csv:
        raise typer.BadParameter("--json and --csv exclude each other.")
    scorer = load_checkpoint(model, device, dtype)
    processor = AutoProcessor.from_pretrained(model)
    files, embeds, set_aside = encode_files(
        pictures, scorer.encoder("image"), processor, batch_size, sys.stderr.isatty()
    )
    for error in set_aside:
        typer.secho(f"Set aside: {error}", fg=typer.colors.YELLOW, err=True)

    inputs = {"image_embeds": embeds}
    if prompts is not None:
        inputs["text_embeds"] = _prompt_embeds(scorer, processor, prompts, files)
    person: dict[str, Tensor] = {}
    if demographics is not None:
        try:
            known = json.loads(demographics)
        except json.JSONDecodeError as error:
            raise typer.BadParameter(f"--demographics is not JSON ({error}).") from error
        if not isinstance(known, dict):
            raise typer.BadParameter("--demographics is not a JSON object from field to value.")
        if scorer.taste is not None and (
            scorer.taste.demographics is None or not scorer.taste.demographics.weight.any()
        ):
            typer.secho(
                "In training, demographics told nothing of tastes: these are the population's scores.", err=True
            )
        tokens = processor(demographics=known)
        person["demographics_embeds"] = scorer.get_text_embeds(
            tokens["demographics_input_ids"], tokens["demographics_attention_mask"], "profile"
        ).cpu()
    # What is left is small; tastes live on the CPU.
    scorer.cpu()
    if user is not None and scorer.taste is None:
        person["taste"] = _user_token(scorer, Path(model), user)
    elif user is not None:
        profile = Path(model) / "profiles" / profile_folder_name(user)
        if not profile.is_dir():
            raise ProfileError(
                f"No taste of {user!r} is saved with this model. Train with --save-profiles, or score with --profile or for the "
                "population."
            )
    with torch.no_grad():
        if profile is not None:
            mean, std = TasteProfile.from_pretrained(profile).score(scorer, **inputs)
        else:
            output = scorer(**inputs, **person)
            mean, std = output.scores, output.std
    rows = [
        {"file": str(files[row]), "score": float(mean[row]), "std": None if std is None else float(std[row])}
        for row in torch.argsort(mean, descending=True, stable=True).tolist()
    ]
    _write(rows, as_json, as_csv)


def _prompt_embeds(
    scorer: "PamelaForPersonalizedScoring", processor: object, prompts: Path, files: list[Path]
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
    return scorer.get_text_embeds(**processor.tokenize(texts)).cpu()  # type: ignore[attr-defined]


def _user_token(scorer: "PamelaForPersonalizedScoring", folder: Path, user: str) -> "Tensor":
    from ..taste.profile import ProfileError
    from ..training.trainer import USERS_FILE

    users = json.loads((folder / USERS_FILE).read_text()) if (folder / USERS_FILE).is_file() else []
    if user not in users or scorer.pamela.user_embeddings is None:
        raise ProfileError(
            f"The model was not trained on a user {user!r}; it knows {len(users)} training users by name."
        )
    return scorer.pamela.user_embeddings.weight.detach()[[users.index(user)]]


def _write(rows: list[dict], as_json: bool, as_csv: bool) -> None:
    if as_json:
        for row in rows:
            typer.echo(json.dumps(row, ensure_ascii=False))
    elif as_csv:
        writer = csv.DictWriter(sys.stdout, fieldnames=["file", "score", "std"])
        writer.writeheader()
        writer.writerows(rows)
    else:
        for row in rows:
            std = "" if row["std"] is None else f" ± {row['std']:.3f}"
            typer.echo(f"{row['score']:.3f}{std}  {row['file']}")
