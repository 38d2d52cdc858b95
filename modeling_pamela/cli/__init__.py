"""The `pamela` command. One file a command group; heavy imports happen inside the commands, so that `--help` is quick."""

from .main import app


__all__ = ["app"]
