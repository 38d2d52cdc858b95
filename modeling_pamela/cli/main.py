"""The command line application: its commands, and how errors reach a person."""

import sys
from typing import Any

import typer
from safetensors import SafetensorError

from ..data.files import DataError
from ..encoders_pamela import EncoderError
from ..rewards.base import RewardError
from ..steering.base import SteeringError
from ..taste.profile import ProfileError
from .bench import bench_app
from .data import data_app
from .demo import demo
from .embed import embed
from .evaluate import evaluate
from .profile import profile_app
from .push import checkpoint, push
from .rank import rank
from .rate import rate
from .reproduce import reproduce
from .score import score
from .steer import steer
from .train import train


__all__ = ["app"]


class PamelaApp(typer.Typer):
    """Errors that say what to do are shown as they are; a traceback is kept for what nobody foresaw."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        try:
            return super().__call__(*args, **kwargs)
        except (DataError, EncoderError, ProfileError, RewardError, SteeringError, OSError) as error:
            message = str(error)
        except SafetensorError as error:  # a full disk, where weights are written
            message = f"Weights cannot be written or read. safetensors said: {error}"
        except ModuleNotFoundError as error:
            message = (
                f"{error.name} is not installed. It comes with an extra (data, metrics, train, steer, rl, studio or embedded); all of them, in a clone: "
                "pip install '.[all]'"
            )
        typer.secho(f"Error: {message}", fg=typer.colors.RED, err=True)
        sys.exit(1)


app = PamelaApp(
    name="pamela",
    help="Personal taste for generative pictures.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
app.add_typer(data_app, name="data")
app.add_typer(bench_app, name="bench")
app.command()(embed)
app.command()(train)
app.command()(score)
app.command()(rank)
app.command()(steer)
app.command()(rate)
app.add_typer(profile_app, name="profile")
app.command()(evaluate)
app.command()(reproduce)
app.command()(checkpoint)
app.command()(push)
app.command()(demo)
