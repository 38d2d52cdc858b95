"""The `pamela` command. One file a command group; what only some commands need is imported inside them."""

from .main import app


__all__ = ["app"]
