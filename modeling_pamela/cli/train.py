"""`pamela train`"""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .checkpoint import PrecisionName, load_checkpoint


if TYPE_CHECKING:
    from ..configuration_pamela import PamelaConfig


class RecipeName(StrEnum):
    """Names of [`~modeling_pamela.training.recipes.RECIPES`]."""

    posterior = "posterior"
    posterior_mlp = "posterior-mlp"
    paper = "paper"
    token = "token"


class AdapterName(StrEnum):
    """What of a model that training starts from is adapted."""

    lora = "lora"


def train(
    dataset: Annotated[
        list[Path], typer.Argument(help="Data folders, split and embedded; several are trained on jointly.")
    ],
    output_dir: Annotated[Path, typer.Option(help="Where the checkpoint goes.")],
    recipe: Annotated[
        RecipeName | None,
        typer.Option(
            help="posterior (default), solved in closed form; posterior-mlp, trained in steps; paper, its token model and settings; token, that model with settings tuned on validation."
        ),
    ] = None,
    init_from: Annotated[
        str | None,
        typer.Option(metavar="MODEL", help="Start from this checkpoint, of the recipe posterior-mlp or token."),
    ] = None,
    peft: Annotated[
        AdapterName | None,
        typer.Option(help="With --init-from: adapt its network by LoRA instead of training all of its weights."),
    ] = None,
    weights: Annotated[
        str | None,
        typer.Option(metavar="W1,W2,…", help="What a rating of each data set counts for; 1 by default."),
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="FIELD=VALUE",
            help="Another value for a field of PamelaConfig, e.g. use_text=false. Repeatable.",
        ),
    ] = None,
    epochs: Annotated[float | None, typer.Option(help="Instead of the recipe's.")] = None,
    learning_rate: Annotated[float | None, typer.Option(help="Instead of the recipe's.")] = None,
    batch_size: Annotated[
        int | None, typer.Option(min=1, help="Instead of the recipe's: people (posterior) or ratings.")
    ] = None,
    patience: Annotated[
        int | None, typer.Option(min=1, help="Stop after so many epochs without a better validation.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of weights, order and dropout.")] = 0,
    resume: Annotated[bool, typer.Option(help="Go on from the last state in the output folder.")] = False,
    save_profiles: Annotated[
        bool, typer.Option(help="Also save every training person's own taste. They are personal data; off by default.")
    ] = False,
    refit: Annotated[
        list[str] | None,
        typer.Option(
            metavar="CHECKPOINT",
            help="Train the recipe of this checkpoint once more, on all splits: for use, after it was judged on people held out. Repeatable: runs of one recipe.",
            show_default=False,
        ),
    ] = None,
    device: Annotated[str | None, typer.Option(help='"cpu" keeps an accelerator out of it.')] = None,
    dtype: Annotated[
        PrecisionName | None,
        typer.Option(help="Of the network while it is trained in steps; its weights are saved in float32."),
    ] = None,
) -> None:
    """Train a model on a data folder. In steps, the epoch that orders unseen people's pictures best is kept."""
    import torch
    from huggingface_hub.errors import StrictDataclassError

    from ..data.joint import JointFolder, open_data
    from ..data.processes import process_index
    from ..training.adaptation import recipe_of, start_config
    from ..training.recipes import RECIPES
    from ..training.trainer import save_training_profiles, validate
    from ..training.trainer import train as run_training

    if refit:
        _refit(dataset, refit, output_dir, seed)
        return
    folder = open_data(dataset, _numbers(weights, len(dataset)))
    if save_profiles and isinstance(folder, JointFolder):
        raise typer.BadParameter("--save-profiles: a profile is of one data set; train on one to save its people's.")
    if peft is not None and init_from is None:
        raise typer.BadParameter("--peft adapts a trained model; name it with --init-from.")
    start = None
    if init_from is not None:
        if recipe is not None or set_:
            raise typer.BadParameter("--init-from: the model says what it is; leave --recipe and --set out.")
        start = load_checkpoint(init_from)
        config = start_config(start, folder)
        chosen = RECIPES[recipe_of(config)]
    else:
        chosen = RECIPES[(recipe or RecipeName.posterior).value]
        fields = {"rating_scale": list(folder.rating_scale), **dict(parse_setting(text) for text in set_ or [])}
        try:
            config = chosen.config(**fields)
        except StrictDataclassError as error:
            raise typer.BadParameter(f"--set: {' '.join(str(error).split())}") from error
    _check(config, save_profiles, [epochs, learning_rate, batch_size, patience])
    if dtype == PrecisionName.float16 and (device == "cpu" or not torch.cuda.is_available()):
        raise typer.BadParameter("--dtype float16 needs an accelerator to be trained in; bfloat16 does not.")
    settings = chosen.training(
        num_epochs=epochs, learning_rate=learning_rate, batch_size=batch_size, patience=patience
    )
    model = run_training(
        folder,
        config,
        output_dir,
        seed=seed,
        resume=resume,
        device=device,
        dtype=dtype and dtype.value,
        init_from=start,
        peft="lora" if peft else None,
        **settings,
    )
    if save_profiles and process_index() == 0 and not isinstance(folder, JointFolder):
        save_training_profiles(model, folder, output_dir / "profiles")
    if process_index() > 0:
        return
    if config.fusion == "kernel":
        # Trained in steps, a model is validated after every epoch.
        metrics = validate(model, folder)
        typer.echo(", ".join(f"{name} {value:.3f}" for name, value in metrics.items()))
    typer.echo(f"Saved to {output_dir}")


def _refit(datasets: list[Path], checkpoints: list[str], output_dir: Path, seed: int) -> None:
    from ..data.folder import DataFolder
    from ..training.refit import refit
    from .checkpoint import load_checkpoint

    if len(datasets) > 1:
        raise typer.BadParameter("--refit: give the one data folder that the checkpoint was trained on.")
    refit(DataFolder(datasets[0]), [load_checkpoint(name) for name in checkpoints], output_dir, seed)
    typer.echo(f"Saved to {output_dir}")


def _check(config: "PamelaConfig", save_profiles: bool, steps: list[float | int | None]) -> None:
    """Refuse what cannot work before anything is read or trained."""
    from ..modeling_pamela import PamelaForPersonalizedScoring

    if save_profiles and config.user_conditioning == "token":
        raise typer.BadParameter(
            "--save-profiles needs a posterior model; a token model's people are part of its weights."
        )
    if config.fusion == "kernel" and any(value is not None for value in steps):
        raise typer.BadParameter(
            "The closed form has no epochs, learning rate, batches or patience; these are for other recipes."
        )
    try:
        PamelaForPersonalizedScoring(config)
    except (ValueError, RuntimeError, AssertionError, ZeroDivisionError) as error:
        raise typer.BadParameter(f"--set: no model can be made of these fields: {error}") from error


def _numbers(text: str | None, number: int) -> list[float] | None:
    if text is None:
        return None
    try:
        values = [float(part) for part in text.split(",")]
    except ValueError:
        values = []
    if len(values) != number:
        raise typer.BadParameter(f"--weights {text}: expected {number} numbers, one a data set, with commas between.")
    return values


def parse_setting(text: str) -> tuple[str, Any]:
    import json

    from ..configuration_pamela import PamelaConfig

    name, equals, value = text.partition("=")
    if not equals or name not in PamelaConfig.__dataclass_fields__:
        raise typer.BadParameter(f"--set {text}: expected FIELD=VALUE with a field of PamelaConfig.")
    try:
        return name, json.loads(value)
    except json.JSONDecodeError:
        return name, value
