import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import openpyxl
import pandas as pd
import pyarrow.parquet as pq
import pytest

from modeling_pamela.data import images as pictures
from modeling_pamela.data.folder import DataFolder
from modeling_pamela.data.importers import standard
from modeling_pamela.data.importers.tidy import import_tidy
from modeling_pamela.data.tables import SourceError


# Imports a source in small shards, slowly, and writes the name of every picture it opens to a log.
SLOW_IMPORT = """
import sys, time
from modeling_pamela.data.archive import _Folder
from modeling_pamela.data.importers import standard
from modeling_pamela.data.importers.tidy import import_tidy
standard.SHARD_BYTES, standard._BATCH = 3000, 2
read = _Folder.read
def slow(self, name):
    if name.endswith(".png"):
        with open(sys.argv[3], "a") as log:
            log.write(name + "\\n")
        time.sleep(float(sys.argv[4]))
    return read(self, name)
_Folder.read = slow
import_tidy(sys.argv[1], sys.argv[2], (1, 5))
"""


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def small_shards(monkeypatch) -> None:
    monkeypatch.setattr(standard, "SHARD_BYTES", 3000)
    monkeypatch.setattr(standard, "_BATCH", 2)


@pytest.fixture
def killed(source, tmp_path):
    """An import that was killed after its first two shards; gives the pictures of these."""
    (source / "pictures" / "p1.png").unlink()
    out, log = tmp_path / "out" / "data", tmp_path / "log"
    command = [sys.executable, "-c", SLOW_IMPORT, source, out, log, "0.1"]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
        deadline = time.monotonic() + 120
        while not (whole := sorted((tmp_path / "out").glob(".data.*.part/00001.json"))):
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
    done = json.loads(whole[0].read_text())["done"]
    assert 0 < done < 20
    assert not out.exists()
    return [f"pictures/p{i}.png" for i in range(done)]


def test_a_killed_import_resumes(source, killed, tmp_path, monkeypatch):
    small_shards(monkeypatch)
    read: list[str] = []
    open_image = pictures.open_image
    monkeypatch.setattr(standard, "open_image", lambda content: (read.append(content), open_image(content))[1])
    import_tidy(source, tmp_path / "out" / "data", (1, 5))
    assert len(read) == 20 - len(killed)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["data"]

    import_tidy(source, tmp_path / "whole", (1, 5))
    assert contents(tmp_path / "whole") == contents(tmp_path / "out" / "data")
    reasons = [row["detail"] for row in pq.read_table(tmp_path / "whole" / "rejected.parquet").to_pylist()]
    assert "pictures/p1.png: there is no such file" in reasons


@pytest.fixture
def interrupted(source, tmp_path, monkeypatch):
    """An import that was interrupted at its 16th picture."""
    small_shards(monkeypatch)
    open_image, count = pictures.open_image, iter(range(16))

    def interrupt(content: bytes):
        if next(count) == 15:
            raise KeyboardInterrupt
        return open_image(content)

    with monkeypatch.context() as patch:
        patch.setattr(standard, "open_image", interrupt)
        with pytest.raises(KeyboardInterrupt):
            import_tidy(source, tmp_path / "data", (1, 5))
    (part,) = tmp_path.glob(".data.*.part")
    return part


def test_an_interrupt_keeps_what_was_read(source, interrupted, tmp_path):
    assert len(list(interrupted.glob("*.json"))) >= 2
    assert import_tidy(source, tmp_path / "data", (1, 5)).pictures == 20
    assert sorted(os.listdir(tmp_path)) == ["data", "source"]


def test_a_source_that_has_changed_is_read_anew(source, interrupted, tmp_path):
    changed = (source / "pictures" / "p0.png").read_bytes()
    (source / "pictures" / "p1.png").write_bytes(changed)
    import_tidy(source, tmp_path / "data", (1, 5))
    assert list(DataFolder(tmp_path / "data").iter_image_bytes())[1] == (1, changed)
    assert not interrupted.exists()
    assert sorted(os.listdir(tmp_path)) == ["data", "source"]


def test_tables_of_other_kinds_give_the_same(source, folder, tmp_path):
    ratings = pd.read_csv(source / "ratings.csv")
    ratings.to_parquet(source / "ratings.parquet")
    users = pd.read_csv(source / "users.csv")
    book = openpyxl.Workbook()
    book.active.append(list(users.columns))
    for row in users.itertuples(index=False):
        book.active.append([None if value != value else value for value in row])
    book.save(source / "users.xlsx")
    for name in ("ratings.csv", "users.csv"):
        (source / name).unlink()
    import_tidy(source, tmp_path / "other", (1, 5))
    one, two = DataFolder(folder), DataFolder(tmp_path / "other")
    for config in ("ratings", "users"):
        assert one.table(config).equals(two.table(config))


def test_two_tables_of_one_name_are_not_chosen_between(source, tmp_path):
    pd.read_csv(source / "ratings.csv").to_parquet(source / "ratings.parquet")
    with pytest.raises(
        SourceError, match=r"has ratings.csv and ratings.parquet. Say which is meant with --ratings-file"
    ):
        import_tidy(source, tmp_path / "data", (1, 5))
    assert import_tidy(source, tmp_path / "data", (1, 5), ratings_file="ratings.parquet").ratings == 240


def test_a_zip_gives_what_the_folder_gives(source, folder, make_zip, tmp_path):
    files = {str(path.relative_to(source)): path.read_bytes() for path in source.rglob("*") if path.is_file()}
    import_tidy(make_zip(tmp_path / "source.zip", files), tmp_path / "other", (1, 5))
    assert contents(folder) == contents(tmp_path / "other")
