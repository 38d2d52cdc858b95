"""
What a search did, in a folder that survives being killed at any moment.

`history.jsonl` is only ever appended to, and forced to disk after every line: first what is searched with, then the prompts of each
round before any of them is rendered, then the results of each batch. A picture is written whole before its result is, so whatever
is lost when a process dies is what it was doing at that moment: a resumed run takes the prompts from the round's line, the pictures
from their files, and renders only those that have none. A last line that was cut off counts as never written.
"""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from PIL import Image

from ..data.files import atomic_write
from .base import Candidate, SteeringError


__all__ = ["History"]

HISTORY_FILE = "history.jsonl"
FORMAT_VERSION = 1


class History:
    """
    The candidates of one search, and their pictures.

    Args:
        header (`Mapping`): What is searched with, as JSON has it. A run in the folder that was started with anything else is refused.
        folder (`str` or `Path`, *optional*): The run's folder. Without one everything is kept in memory.

    Attributes:
        candidates (list of [`~modeling_pamela.steering.base.Candidate`]): In order. Those of the present round that are neither scored
            nor refused yet have neither `score` nor `refused`.
        seconds (`float`): How long the search had taken when the last result was written.
        stopped (`str`, *optional*): Why the search ended; `None` where it has not.

    Raises:
        SteeringError: The folder holds a run of other settings, or something that is no run.
    """

    def __init__(self, header: Mapping[str, Any], folder: str | Path | None = None) -> None:
        self.header = {"version": FORMAT_VERSION, **json.loads(json.dumps(header))}
        self.folder = None if folder is None else Path(folder)
        self.seconds = 0.0
        self.stopped: str | None = None
        self._candidates: dict[int, Candidate] = {}
        self._images: dict[int, Image.Image] = {}
        if self.folder is not None:
            self._open(self.folder)

    @classmethod
    def read(cls, folder: str | Path) -> "History":
        """
        The history of a run as it is on the disk, where it may be read only or still be written. It is not to be written to.

        Raises:
            SteeringError: The folder holds no run.
        """
        path = Path(folder) / HISTORY_FILE
        lines, _ = _whole_lines(path)
        try:
            history = cls(lines[0])
            for line in lines[1:]:
                history._apply(line)
        except (IndexError, KeyError, TypeError, AttributeError) as error:
            raise SteeringError(f"{path} is not the history of a search ({error}).") from error
        history.folder = Path(folder)
        return history

    @property
    def candidates(self) -> list[Candidate]:
        return [self._candidates[index] for index in sorted(self._candidates)]

    def begin_round(self, candidates: Sequence[Candidate]) -> None:
        """Write down what will be tried, before it is."""
        self._write({"round": [asdict(candidate) for candidate in candidates]})

    def add(self, candidates: Sequence[Candidate], seconds: float) -> None:
        """Write down the results of a batch, after `seconds` of the search."""
        self._write({"results": [asdict(candidate) for candidate in candidates], "seconds": seconds})

    def stop(self, reason: str) -> None:
        """Write down that the search is over."""
        self._write({"stopped": reason})

    def picture_file(self, index: int) -> str:
        """Where a candidate's picture lies, relative to the folder."""
        return f"pictures/{index:05d}.png"

    def save_picture(self, index: int, image: Image.Image) -> None:
        """Keep a picture, as a file that appears whole or not at all."""
        if self.folder is not None:
            with atomic_write(self.folder / self.picture_file(index)) as temporary:
                image.save(temporary, format="PNG", compress_level=1)
        self._images[index] = image

    def has_picture(self, index: int) -> bool:
        """Whether it was kept, by this process or one before."""
        return index in self._images or (
            self.folder is not None and (self.folder / self.picture_file(index)).is_file()
        )

    def picture(self, index: int) -> Image.Image:
        """A picture that was kept, without loss."""
        if self.folder is None or index in self._images:
            return self._images[index]
        with Image.open(self.folder / self.picture_file(index)) as image:
            return image.copy()

    def forget_pictures(self, but: Sequence[int]) -> None:
        """Free the memory of all other pictures; files stay."""
        self._images = {index: image for index, image in self._images.items() if index in but}

    def _open(self, folder: Path) -> None:
        path = folder / HISTORY_FILE
        lines, length = _whole_lines(path)
        if path.is_file() and length < path.stat().st_size:
            with open(path, "r+b") as file:
                file.truncate(length)
                os.fsync(file.fileno())
        if not lines:
            strange = [entry.name for entry in folder.iterdir() if entry != path] if folder.is_dir() else []
            if strange or (folder.exists() and not folder.is_dir()):
                raise SteeringError(
                    f"{folder} holds something that is no search ({', '.join(strange[:3])}). Choose an empty folder."
                )
            folder.mkdir(parents=True, exist_ok=True)
            self._write(self.header)
            return
        found = lines[0]
        if found != self.header:
            names = [name for name in {**found, **self.header} if found.get(name) != self.header.get(name)]
            changes = "; ".join(
                f"{name} was {_short(found.get(name))}, now {_short(self.header.get(name))}" for name in names
            )
            raise SteeringError(
                f"{folder} holds a search that was started differently: {changes}. Resume it with what it was started with, or "
                "choose another folder."
            )
        for line in lines[1:]:
            self._apply(line)

    def _write(self, line: Mapping[str, Any]) -> None:
        if self.folder is not None:
            with open(self.folder / HISTORY_FILE, "ab") as file:
                file.write(json.dumps(line).encode() + b"\n")
                file.flush()
                os.fsync(file.fileno())
        self._apply(line)

    def _apply(self, line: Mapping[str, Any]) -> None:
        for fields in [*line.get("round", ()), *line.get("results", ())]:
            self._candidates[fields["index"]] = Candidate(**fields)
        self.seconds = line.get("seconds", self.seconds)
        self.stopped = line.get("stopped")


def _whole_lines(path: Path) -> tuple[list[Any], int]:
    """The lines of a file but for one that was cut off, and how many bytes they take; nothing where there is no file."""
    if not path.is_file():
        return [], 0
    content = path.read_bytes()
    whole = content[: content.rfind(b"\n") + 1]
    try:
        return [json.loads(line) for line in whole.splitlines()], len(whole)
    except ValueError as error:
        raise SteeringError(
            f"{path} is not the history of a search, or was changed ({error}). Choose another folder."
        ) from error


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 200 else text[:200] + "…"
