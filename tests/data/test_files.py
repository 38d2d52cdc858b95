import os

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from modeling_pamela.data.files import atomic_folder, atomic_write, link_tree


def test_atomic_write_replaces(tmp_path):
    target = tmp_path / "new" / "file.txt"
    for text in ("one", "two"):
        with atomic_write(target) as temporary:
            temporary.write_text(text)
        assert target.read_text() == text
    assert os.listdir(target.parent) == ["file.txt"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_atomic_write_keeps_the_old_file_on_an_error(tmp_path, error):
    target = tmp_path / "file.txt"
    target.write_text("old")

    def write_half() -> None:
        with atomic_write(target) as temporary:
            temporary.write_text("half")
            raise error

    with pytest.raises(error):
        write_half()
    assert target.read_text() == "old"
    assert os.listdir(tmp_path) == ["file.txt"]


def test_a_full_disk_leaves_no_half_written_file(tmp_path, full_disk):
    table = pa.table({"bytes": [os.urandom(1 << 20)]})
    target = tmp_path / "table.parquet"
    with pytest.raises(OSError, match="too large"), full_disk(1 << 16), atomic_write(target) as temporary:
        pq.write_table(table, temporary)
    assert os.listdir(tmp_path) == []


def test_a_full_disk_leaves_the_old_folder(tmp_path, full_disk):
    target = tmp_path / "data"
    target.mkdir()
    (target / "a").write_text("old")
    with pytest.raises(OSError, match="too large"), full_disk(1 << 10), atomic_folder(target) as new:
        (new / "a").write_bytes(bytes(1 << 16))
    assert (target / "a").read_text() == "old"
    assert os.listdir(tmp_path) == ["data"]


def test_atomic_folder_swaps_whole_folders(tmp_path):
    target = tmp_path / "data"
    for name in ("first", "second"):
        with atomic_folder(target) as new:
            assert new.parent == tmp_path
            (new / name).write_text(name)
            assert not (target / name).exists()
        assert os.listdir(target) == [name]
    assert os.listdir(tmp_path) == ["data"]


def test_link_tree_shares_parquet_and_copies_the_rest(tmp_path):
    source, target = tmp_path / "a", tmp_path / "b"
    (source / "sub" / "skipped").mkdir(parents=True)
    (source / "skipped").mkdir()
    target.mkdir()
    for name in ("x.parquet", "README.md", "sub/y.parquet", "skipped/z.parquet", "sub/skipped/kept.parquet"):
        (source / name).write_text(name)
    (tmp_path / "blob").write_text("linked")
    (source / "link.parquet").symlink_to(tmp_path / "blob")
    link_tree(source, target, frozenset({"skipped"}))

    found = sorted(str(path.relative_to(target)) for path in target.rglob("*") if path.is_file())
    assert found == ["README.md", "link.parquet", "sub/skipped/kept.parquet", "sub/y.parquet", "x.parquet"]
    assert (target / "x.parquet").samefile(source / "x.parquet")
    assert not (target / "README.md").samefile(source / "README.md")
    assert not (target / "link.parquet").is_symlink()
    assert (target / "link.parquet").read_text() == "linked"
