"""`python -m modeling_pamela.cli`, as `torchrun -m` starts it."""

from .main import app


if __name__ == "__main__":
    app()
