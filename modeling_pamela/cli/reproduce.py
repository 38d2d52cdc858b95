"""`pamela reproduce`: from the published archive to every table."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .checkpoint import Device, check_device
from .data_import import PamelaScale


if TYPE_CHECKING:
    from ..data.folder import DataFolder


__all__ = ["reproduce"]

# What a folder of results was begun with.
SETTINGS_FILE = "reproduce.json"
MODELS = ("posterior", "token")


def reproduce(
    source: Annotated[Path, typer.Argument(help="PAMELA.zip, or the unpacked folder.")],
    out: Annotated[Path, typer.Option(help="Folder of the data set, the models and the tables.")],
    image_encoder: Annotated[str | None, typer.Option(help="Picture encoder; the embedded one by default.")] = None,
    text_encoder: Annotated[str | None, typer.Option(help="Prompt encoder.")] = None,
    profile_encoder: Annotated[str | None, typer.Option(help="Encoder of demographics and metadata.")] = None,
    scale: PamelaScale = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Pictures or texts that are encoded at once.")] = 4,
    device: Device = "cpu",
) -> None:
    """
    Import PAMELA, encode it, train a posterior and a token model, and write all tables and figures next to the published numbers.

    Interrupted, the same command goes on where it stopped: what is finished is kept.
    """
    from ..data.embed import embed_folder
    from ..data.folder import DataFolder
    from ..data.importers.pamela import import_pamela
    from ..training.recipes import RECIPES
    from ..training.trainer import train_recipe

    check_device(device)
    given = {"image_encoder": image_encoder, "text_encoder": text_encoder, "profile_encoder": profile_encoder}
    encoders = {name: value for name, value in given.items() if value}
    _begin(out, {"source": _digest(source), "scale": list(scale) if scale else None, **given})

    typer.echo("1/4 Import")
    data = out / "data"
    if not data.exists():
        typer.echo(import_pamela(source, data, scale))
    folder = DataFolder(data)
    typer.echo("2/4 Encode")
    embed_folder(folder, RECIPES["posterior"].config(**encoders), batch_size, device)
    typer.echo("3/4 Train")
    for name in MODELS:
        if not (out / name / "model.safetensors").is_file():
            train_recipe(folder, name, out / name, encoders, device)
    typer.echo("4/4 Tables")
    _write_tables(folder, out, encoders)


def _begin(out: Path, settings: dict[str, Any]) -> None:
    """Note what the results are made from, or make sure that those in the folder are made from the same."""
    import json

    from ..data.files import DataError, atomic_write

    file = out / SETTINGS_FILE
    if not file.exists():
        if out.exists() and any(out.iterdir()):
            raise DataError(f"{out} is not empty and was not begun by `pamela reproduce`. Choose another folder.")
        out.mkdir(parents=True, exist_ok=True)
        with atomic_write(file) as temporary:
            temporary.write_text(json.dumps(settings, indent=1) + "\n", encoding="utf-8")
        return
    before = json.loads(file.read_text(encoding="utf-8"))
    if changed := [name for name, value in settings.items() if before.get(name) != value]:
        raise DataError(
            f"{out} was begun with another {', '.join(changed)} ("
            + ", ".join(f"{before.get(name)} instead of {settings[name]}" for name in changed)
            + "). Give the same, or choose another folder."
        )


def _digest(source: Path) -> str:
    """16 hex digits that change with the names and the content of the source; pictures of an unpacked folder count by their size."""
    import hashlib
    import zipfile

    from ..data.files import DataError

    digest = hashlib.sha256()
    if source.is_dir():
        for file in sorted(path for path in source.rglob("*") if path.is_file()):
            content = file.read_bytes() if file.suffix == ".json" else b""
            digest.update(f"{file.relative_to(source).as_posix()} {file.stat().st_size}\n".encode() + content)
        return digest.hexdigest()[:16]
    try:
        with zipfile.ZipFile(source) as archive:
            for member in sorted(archive.infolist(), key=lambda member: member.filename):
                digest.update(f"{member.filename} {member.file_size} {member.CRC}\n".encode())
    except (OSError, zipfile.BadZipFile) as error:
        raise DataError(f"{source} is neither a folder nor a whole zip archive: {error}") from error
    return digest.hexdigest()[:16]


def _write_tables(folder: "DataFolder", out: Path, encoders: dict[str, str]) -> None:
    from . import bench

    models: Any = {"model": out / "posterior", "token_model": out / "token", "out": out}
    bench.methods(folder.path, **models)
    bench.table2(folder.path, **models)
    bench.card(folder.path, out / "posterior", out=out)
    bench.table3([folder.path], set_=[f"{name}={value}" for name, value in encoders.items()], out=out)
    bench.table4(folder.path, **models)
    bench.fig11(folder.path, **models)
    bench.diverging(folder.path, **models)
    if folder.pair_splits:
        bench.study(folder.path, out=out)
