"""Writing files and folders so that nothing half-written ever takes the place of something whole."""

import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


__all__ = ["DataError", "atomic_folder", "atomic_write", "link_tree"]


class DataError(ValueError):
    """Something is wrong with a data set, its source or its options; the message says what to do."""


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def atomic_write(path: str | Path) -> Iterator[Path]:
    """
    Gives a temporary path in the folder of `path`; what is written there takes the place of `path` when the block ends well.

    On any error inside the block (a full disk, an interrupt) the temporary file is removed and `path` stays as it was.
    The temporary name starts with a dot, so no pattern of data files matches one that a killed process left behind.

    Args:
        path (`str` or `Path`): File to write. Its folder is made where it does not exist.

    Yields:
        `Path`: Where to write.

    Example:

    ```python
    >>> import tempfile
    >>> target = Path(tempfile.mkdtemp()) / "numbers.txt"
    >>> with atomic_write(target) as temporary:
    ...     _ = temporary.write_text("1 2 3")
    >>> target.read_text()
    '1 2 3'

    ```
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.tmp")
    try:
        yield temporary
        _sync(temporary)
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    _sync(path.parent)


@contextmanager
def atomic_folder(path: str | Path) -> Iterator[Path]:
    """
    Gives a new empty folder beside `path`, which takes the place of `path` when the block ends well.

    On any error inside the block the new folder is removed and `path` stays as it was. A folder that stood at `path` is
    renamed out of the way, replaced, then deleted; a process killed between the two renames leaves it, whole, as
    `.<name>.<8 characters>.old`.

    Args:
        path (`str` or `Path`): Folder to write. Whether an existing one may be replaced is for the caller to check.

    Yields:
        `Path`: The folder to fill, on the same file system as `path`.
    """
    path = Path(path).resolve()
    path.parent.mkdir(parents=True, exist_ok=True)
    token = uuid.uuid4().hex[:8]
    temporary, old = (path.with_name(f".{path.name}.{token}.{end}") for end in ("tmp", "old"))
    temporary.mkdir()
    try:
        yield temporary
        for folder, _, names in os.walk(temporary):
            for entry in [*(os.path.join(folder, name) for name in names), folder]:
                _sync(Path(entry))
        replaces = path.exists()
        if replaces:
            os.rename(path, old)
        try:
            os.rename(temporary, path)
        except BaseException:
            if replaces:
                os.rename(old, path)
            raise
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    _sync(path.parent)
    if replaces:
        shutil.rmtree(old)


def link_tree(source: Path, target: Path, skip: frozenset[str] = frozenset()) -> None:
    """
    Repeats the files of `source` under `target`, without a second copy of the large ones.

    Parquet files are never changed in place, only replaced, so they are hard-linked (copied where the file system cannot);
    all other files are copied. A file that is in `target` already stays.

    Args:
        source (`Path`): Folder to repeat. Symbolic links in it (a Hub cache is full of them) are followed.
        target (`Path`): Folder to fill.
        skip (`frozenset[str]`): Names directly under `source` to leave out.
    """

    def link_or_copy(original: str, copy: str) -> None:
        if os.path.exists(copy):
            return
        original = os.path.realpath(original)
        if original.endswith(".parquet") or copy.endswith(".parquet"):
            try:
                os.link(original, copy)
                return
            except OSError:
                pass  # another file system, or one without hard links
        shutil.copy2(original, copy)

    def ignore(folder: str, names: list[str]) -> set[str]:
        return {name for name in names if name in skip} if Path(folder) == source else set()

    shutil.copytree(source, target, ignore=ignore, copy_function=link_or_copy, dirs_exist_ok=True)
