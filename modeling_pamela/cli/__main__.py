"""`python -m modeling_pamela.cli`, as `torchrun -m` starts it."""

from .main import main


main()
