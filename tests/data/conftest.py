"""A small tidy source of real pictures and ratings."""

import csv
import resource
import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from modeling_pamela.data.importers.tidy import import_tidy


def write_csv(path: Path, rows: list[dict[str, object]]) -> None:
    with open(path, "w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


@pytest.fixture
def write_table() -> Callable[[Path, list[dict[str, object]]], None]:
    """Writes rows as CSV."""
    return write_csv


@pytest.fixture(scope="session")
def made_source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """12 people x 20 pictures in 2 sets, all rated, on a scale from 1 to 5; not to be changed."""
    folder = tmp_path_factory.mktemp("made") / "source"
    (folder / "pictures").mkdir(parents=True)
    rng = np.random.default_rng(0)
    pictures = [
        {
            "image_id": f"p{i}",
            "file": f"pictures/p{i}.png",
            "prompt": f"prompt {i}",
            "set": "AB"[i % 2],
            "year": 2000 + i,
        }
        for i in range(20)
    ]
    for picture in pictures:
        pixels = rng.integers(0, 256, (16, 24, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / str(picture["file"]))
    users = [{"user_id": f"u{u}", "age": 20 + u, "gender": ["female", "male", ""][u % 3]} for u in range(12)]
    ratings = [
        {"user_id": user["user_id"], "image_id": picture["image_id"], "rating": int(rng.integers(1, 6)), "trial": i}
        for user in users
        for i, picture in enumerate(pictures)
    ]
    write_csv(folder / "images.csv", pictures)
    write_csv(folder / "users.csv", users)
    write_csv(folder / "ratings.csv", ratings)
    return folder


@pytest.fixture
def source(made_source: Path, tmp_path: Path) -> Path:
    """A copy of the source for one test."""
    return shutil.copytree(made_source, tmp_path / "source")


@pytest.fixture(scope="session")
def made_folder(made_source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The source, imported; not to be changed."""
    folder = tmp_path_factory.mktemp("made") / "data"
    import_tidy(made_source, folder, (1, 5))
    return folder


@pytest.fixture
def folder(source: Path, made_folder: Path, tmp_path: Path) -> Path:
    """A copy of the imported source, beside the source, for one test."""
    return shutil.copytree(made_folder, tmp_path / "data")


@pytest.fixture
def full_disk() -> Callable[[int], AbstractContextManager[None]]:
    """The system itself refuses to write past so many bytes of a file, as it does when a disk is full."""

    @contextmanager
    def limited(size: int) -> Iterator[None]:
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    return limited
