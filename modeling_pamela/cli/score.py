"""`pamela score`"""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .checkpoint import Device, Precision


if TYPE_CHECKING:
    from torch import Tensor

    from ..modeling_pamela import PamelaForPersonalizedScoring


def score(
    model: Annotated[
        str, typer.Argument(help="A checkpoint: a folder, pamela-small (part of the package) or a Hub repo.")
    ],
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
    """
    Score pictures, best first: for the population, or for one person. Pictures that cannot be read are named on stderr.

    std is how unsure the model is of a score. It grows with novelty (--json, --csv): how far a picture lies from the training pictures, 0 to 1.
    """
    import torch

    from ..taste.profile import ProfileError, TasteProfile, profile_folder_name
    from .checkpoint import load_checkpoint, load_processor
    from .pictures import demographics_embeds, encode_pictures, write_scores

    if sum(option is not None for option in (user, profile, demographics)) > 1:
        raise typer.BadParameter("--user, --profile and --demographics exclude each other.")
    if as_json and as_csv:
        raise typer.BadParameter("--json and --csv exclude each other.")
    scorer = load_checkpoint(model, device, dtype)
    processor = load_processor(model)
    files, _, inputs = encode_pictures(pictures, scorer, processor, prompts, batch_size)
    person: dict[str, Tensor] = {}
    if demographics is not None:
        person["demographics_embeds"] = demographics_embeds(demographics, scorer, processor)
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
        output = scorer(**inputs, **person)
        mean, std = output.scores, output.std
        if profile is not None:
            mean, std = TasteProfile.from_pretrained(profile).score(scorer, **inputs)
    columns = {"score": mean, "std": std, "novelty": output.novelty}
    rows = [
        {"file": str(files[row])}
        | {name: None if values is None else float(values[row]) for name, values in columns.items()}
        for row in torch.argsort(mean, descending=True, stable=True).tolist()
    ]
    write_scores(rows, as_json, as_csv)


def _user_token(scorer: "PamelaForPersonalizedScoring", folder: Path, user: str) -> "Tensor":
    from ..taste.profile import ProfileError
    from ..training.trainer import USERS_FILE

    users = json.loads((folder / USERS_FILE).read_text()) if (folder / USERS_FILE).is_file() else []
    if user not in users or scorer.pamela.user_embeddings is None:
        raise ProfileError(
            f"The model was not trained on a user {user!r}; it knows {len(users)} training users by name."
        )
    return scorer.pamela.user_embeddings.weight.detach()[[users.index(user)]]
