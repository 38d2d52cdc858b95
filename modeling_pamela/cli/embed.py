"""`pamela embed`"""

from pathlib import Path
from typing import Annotated

import typer

from .checkpoint import Device, check_device


def embed(
    folders: Annotated[list[Path], typer.Argument(help="Data folders (see `pamela data import`).")],
    image_encoder: Annotated[str | None, typer.Option(help="Picture encoder; the embedded one by default.")] = None,
    text_encoder: Annotated[str | None, typer.Option(help="Prompt encoder.")] = None,
    profile_encoder: Annotated[str | None, typer.Option(help="Encoder of demographics and metadata.")] = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Pictures or texts a forward pass.")] = 4,
    device: Device = "cpu",
) -> None:
    """Encode data folders' pictures and texts once. Interrupted, it goes on where it stopped."""
    from ..data.embed import embed_folder
    from ..data.folder import DataFolder
    from ..data.processes import num_processes, process_index
    from ..training.recipes import RECIPES

    check_device(device)
    given = {"image_encoder": image_encoder, "text_encoder": text_encoder, "profile_encoder": profile_encoder}
    config = RECIPES["posterior"].config(**{name: value for name, value in given.items() if value})
    opened = [DataFolder(folder) for folder in folders]
    for folder in opened:
        encoded = embed_folder(folder, config, batch_size, device)
        name = f"{folder.path}: encoded" if len(opened) > 1 else "Encoded"
        by = f" by process {process_index()}" if num_processes() > 1 else ""
        typer.echo(f"{name} now{by}: " + ", ".join(f"{number} {what}" for what, number in encoded.items()))
