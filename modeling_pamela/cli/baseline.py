"""The paper's model beside a posterior model, for the commands that compare the two."""

import contextlib
import hashlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import typer


if TYPE_CHECKING:
    from ..data.folder import DataFolder


__all__ = ["token_baseline"]


def token_baseline(folder: "DataFolder", model: Path, prompts: bool = True) -> Path:
    """
    The paper's model, trained on the same split with the settings that validate best, kept in the posterior model's folder.

    Args:
        folder ([`~modeling_pamela.data.folder.DataFolder`]): Split and embedded.
        model (`Path`): Folder of the posterior model. The token model has the same encoders, in the precision that they are named with there.
        prompts (`bool`): Whether it may see prompts.

    Returns:
        `Path`: The token model's folder.

    Raises:
        DataError: The posterior model is no local folder.
    """
    from ..configuration_pamela import PamelaConfig
    from ..data.files import DataError
    from ..training.recipes import RECIPES
    from ..training.trainer import USERS_FILE, train

    if not model.is_dir():
        raise DataError(
            f"{model} is no local folder to keep a token model in; train one and pass it as --token-model."
        )
    recipe = RECIPES["token"]
    config = PamelaConfig.from_pretrained(model)
    encoders = {f"{role}_encoder": getattr(config, f"{role}_encoder") for role in ("image", "text", "profile")}
    token_config = recipe.config(**encoders, use_text=prompts, rating_scale=list(folder.rating_scale))
    made_of = f"{folder.split_fingerprint()} {recipe} {token_config.to_json_string()}"
    directory = model / "baselines" / f"token-{hashlib.sha256(made_of.encode()).hexdigest()[:8]}"
    if not (directory / USERS_FILE).is_file():
        typer.echo(f"Training the paper's token model for comparison; it is kept in {directory}.", err=True)
        # The trainer prints its log; standard output is for the table.
        with contextlib.redirect_stdout(sys.stderr):
            train(folder, token_config, directory, resume=True, **recipe.training())
    return directory
