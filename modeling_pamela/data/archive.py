"""
Reading the files of a folder or of a `.zip`, by relative path and in any order. Nothing is ever unpacked to disk.

An archive comes from somebody else, and so do the paths in its tables. A path that is absolute or leads out of the archive, a
symbolic link that does, an encrypted member and one that unpacks to far more than it holds are not read.
"""

import hashlib
import unicodedata
import zipfile
import zlib
from abc import ABC, abstractmethod
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from .files import DataError


__all__ = ["Archive", "MemberError", "open_archive"]

# Deflate packs 1,032 to 1 at most; pictures hardly at all, tables of repeated text perhaps 50 to 1.
MAX_RATIO = 200
# Below this a ratio says nothing.
RATIO_FROM_BYTES = 10_000_000
MAX_MEMBER_BYTES = 4_000_000_000
_SYMLINK = 0o120000


class MemberError(DataError):
    """
    One file of an archive cannot be read.

    Attributes:
        reason (`str`): Why, without the name.
    """

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(f"{name}: {reason}")
        self.reason = reason


def _normalise(name: str) -> str:
    """A relative path of `/`-separated parts, in NFC; see [`Archive`]."""
    relative = unicodedata.normalize("NFC", name.strip()).replace("\\", "/")
    if "\0" in relative:
        raise MemberError(repr(name), "a path cannot hold a null byte")
    if relative.startswith("/") or relative[1:2] == ":":
        raise MemberError(name, "the path is absolute; expected one relative to the source")
    parts = PurePosixPath(relative).parts
    if ".." in parts:
        raise MemberError(name, "the path leads out of the source")
    return "/".join(parts)


class Archive(ABC):
    """
    A folder or a zip file; see [`open_archive`].

    Paths are relative, with their case kept. `./` in front is passed over, and so is the name of the root folder, which published
    paths sometimes have and sometimes lack. Accented letters are found in either Unicode form.

    Args:
        path (`Path`): Where it is.
        root (`str`): Folder inside it to which all paths are relative; `""` for the archive itself.
        alias (`str`, *optional*): Name of the root folder, where the archive does not say.
    """

    def __init__(self, path: Path, root: str = "", alias: str | None = None) -> None:
        self.path = path
        self.root = root
        self._alias = alias or PurePosixPath(root).name

    @abstractmethod
    def _exists(self, name: str) -> bool: ...

    @abstractmethod
    def _read(self, name: str) -> bytes: ...

    @abstractmethod
    def _stamp(self, name: str) -> str: ...

    @abstractmethod
    def _folders(self) -> list[str]:
        """Names of the folders directly inside."""

    def _locate(self, name: str) -> str | None:
        relative = _normalise(name)
        first, _, rest = relative.partition("/")
        candidates = [relative, *([rest] if rest and first == self._alias else [])]
        for candidate in candidates:
            inside = f"{self.root}/{candidate}" if self.root else candidate
            if candidate and self._exists(inside):
                return inside
        return None

    def exists(self, name: str) -> bool:
        """Whether there is such a file; also false for a path that is never read."""
        try:
            return self._locate(name) is not None
        except MemberError:
            return False

    def read(self, name: str) -> bytes:
        """
        The content of a file. May be called from several threads.

        Raises:
            MemberError: There is no such file, it is damaged, or it is not safe to read.
        """
        found = self._locate(name)
        if found is None:
            raise MemberError(name, "there is no such file")
        try:
            return self._read(found)
        except OSError as error:
            raise MemberError(name, f"the file cannot be read ({error.strerror or error})") from error

    def fingerprint(self, names: Iterable[str]) -> str:
        """16 hex digits that change when one of the files does, found without reading them."""
        digest = hashlib.sha256(str(self.path.resolve()).encode())
        for name in names:
            try:
                found = self._locate(name)
            except MemberError:
                found = None
            digest.update(f"{name}\0{found and self._stamp(found)}\n".encode("utf-8", "surrogatepass"))
        return digest.hexdigest()[:16]

    @abstractmethod
    def close(self) -> None:
        """Closes the file, where there is one."""

    def __enter__(self) -> "Archive":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _Folder(Archive):
    def _path(self, name: str) -> Path | None:
        for form in dict.fromkeys((name, unicodedata.normalize("NFD", name))):
            path = self.path / form
            if path.is_file():
                return path
        return None

    def _exists(self, name: str) -> bool:
        return self._path(name) is not None

    def _read(self, name: str) -> bytes:
        path = self._path(name)
        assert path is not None
        if not path.resolve().is_relative_to(self.path.resolve()):
            raise MemberError(
                name,
                "a symbolic link that leads out of the source; put a copy of the file there (cp -rL follows links)",
            )
        return path.read_bytes()

    def _stamp(self, name: str) -> str:
        path = self._path(name)
        assert path is not None
        status = path.stat()
        return f"{status.st_size} {status.st_mtime_ns}"

    def _folders(self) -> list[str]:
        return sorted(entry.name for entry in self.path.iterdir() if entry.is_dir())

    def close(self) -> None:
        pass


class _Zip(Archive):
    def __init__(self, path: Path, root: str = "", alias: str | None = None) -> None:
        super().__init__(path, root, alias)
        try:
            self._file = zipfile.ZipFile(path)
        except (zipfile.BadZipFile, OSError, NotImplementedError) as error:
            raise DataError(f"{path} is not a zip file, or is cut off ({error}). Download it again.") from error
        self._members: dict[str, zipfile.ZipInfo] = {}
        self._refused: dict[str, str] = {}
        packed = unpacked = 0
        for member in self._file.infolist():
            packed, unpacked = packed + member.compress_size, unpacked + member.file_size
            if member.is_dir():
                continue
            try:
                name = _normalise(_decoded(member))
            except MemberError:
                continue  # no path that may be asked for leads to it
            reason = _unsafe(member)
            twin = self._members.get(name)
            if twin is not None and (twin.CRC, twin.file_size) != (member.CRC, member.file_size):
                reason = "the archive holds several different files of this name"
            self._members[name] = member
            if reason is not None:
                self._refused[name] = reason
        # Many members may share the same few bytes, so the whole is judged by the size of the file itself.
        size = max(path.stat().st_size, 1)
        if unpacked > RATIO_FROM_BYTES and (unpacked > MAX_RATIO * size or packed > 2 * size):
            self.close()
            raise DataError(
                f"{path} would unpack from {size:,} to {unpacked:,} bytes, as zip bombs do; at most {MAX_RATIO} to 1 is "
                f"read. If it is what it should be, unpack it and give the folder."
            )

    def _exists(self, name: str) -> bool:
        return name in self._members

    def _read(self, name: str) -> bytes:
        if name in self._refused:
            raise MemberError(name, self._refused[name])
        try:
            return self._file.read(self._members[name])
        except zipfile.BadZipFile as error:
            raise MemberError(name, f"damaged in the archive ({error})") from error
        except (zlib.error, EOFError, RuntimeError, NotImplementedError) as error:
            raise MemberError(name, f"cannot be unpacked ({error})") from error

    def _stamp(self, name: str) -> str:
        member = self._members[name]
        return f"{member.file_size} {member.CRC} {member.header_offset}"

    def _folders(self) -> list[str]:
        return sorted({name.partition("/")[0] for name in self._members if "/" in name})

    def close(self) -> None:
        self._file.close()


def _decoded(member: zipfile.ZipInfo) -> str:
    """The name as it was meant: many tools write UTF-8 without saying so, which is then read as code page 437."""
    if not member.flag_bits & 0x800:
        try:
            return member.filename.encode("cp437").decode("utf-8")
        except UnicodeError:
            pass
    return member.filename


def _unsafe(member: zipfile.ZipInfo) -> str | None:
    if member.flag_bits & 0x1:
        return "encrypted; unpack the archive with its password and give the folder"
    if (member.external_attr >> 16) & 0o170000 == _SYMLINK:
        return "a symbolic link, which is not followed"
    if member.file_size > MAX_MEMBER_BYTES:
        return f"{member.file_size:,} bytes; at most {MAX_MEMBER_BYTES:,} are read"
    if member.file_size > RATIO_FROM_BYTES and member.file_size > MAX_RATIO * max(member.compress_size, 1):
        return (
            f"would unpack from {member.compress_size:,} to {member.file_size:,} bytes, as zip bombs do; at most {MAX_RATIO} "
            f"to 1 is read"
        )
    return None


def open_archive(path: str | Path, marker: str | None = None, alias: str | None = None) -> Archive:
    """
    Opens a folder or a zip file.

    Args:
        path (`str` or `Path`): The folder, or the `.zip`.
        marker (`str`, *optional*):
            A file that must be there. It lies in the archive itself or in a folder of it, which then is the root of all paths.
        alias (`str`, *optional*): Name of the root folder as paths may have it, though the archive may lack it.

    Returns:
        [`Archive`]: Close it, or use it in a `with`.

    Raises:
        DataError: It does not exist, is not a zip file, is a zip bomb, or lacks `marker`.

    Example:

    ```python
    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> (folder / "PAMELA").mkdir()
    >>> _ = (folder / "PAMELA" / "a.txt").write_text("hello")
    >>> archive = open_archive(folder, marker="a.txt")
    >>> archive.read("a.txt"), archive.read("./PAMELA/a.txt")
    (b'hello', b'hello')

    ```
    """
    path = Path(path)
    if path.is_dir():
        archive: Archive = _Folder(path, alias=alias)
    elif path.is_file():
        archive = _Zip(path, alias=alias)
    else:
        raise DataError(f"There is no folder or file {path}. Expected a folder, or a .zip file.")
    if marker is not None and not archive.exists(marker):
        roots = []
        for folder in archive._folders():
            archive.root = folder
            if archive.exists(marker):
                roots.append(folder)
        if len(roots) != 1:
            archive.close()
            found = f"found it in each of {roots}" if roots else "found neither"
            raise DataError(f"{path} should hold {marker}, itself or in one of its folders; {found}.")
        archive.root = roots[0]
        archive._alias = alias or roots[0]
    return archive
