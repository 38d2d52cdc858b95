"""What a person said of pictures, kept where neither a crash nor a lost current takes it away."""

import math
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from ..data.files import DataError


__all__ = ["HIGHEST", "LOWEST", "Answer", "Answers", "open_database"]

# Ends of the scale: bad, poor, fair, good and excellent are 1 to 5.
LOWEST, HIGHEST = 1.0, 5.0

_TABLES = """
CREATE TABLE IF NOT EXISTS answers (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    picture TEXT NOT NULL,      -- SHA-256 of the file
    name TEXT NOT NULL,         -- the file, below its folder
    rating REAL,                -- NULL: the person could not judge it
    answered_at TEXT NOT NULL,  -- UTC
    undone_at TEXT
);
"""


class Answer(NamedTuple):
    """
    What was said of a picture.

    Attributes:
        number (`int`): Counts the answers, from 1.
        picture (`str`): SHA-256 of the picture's file.
        name (`str`): The file, by its path below the folder that was rated.
        rating (`float`, *optional*): From [`LOWEST`] to [`HIGHEST`]; `None` where the person could not judge the picture.
        answered_at (`str`): When, in UTC, as in ISO 8601.
    """

    number: int
    picture: str
    name: str
    rating: float | None
    answered_at: str


class Answers:
    """
    A person's answers in an SQLite file. Each is on the disk before the call that gives it returns; none is ever deleted: one that was
    taken back is marked with the time. Several processes and threads may use one file.

    Args:
        path (`Path`): The file; made, with its folder, where there is none.

    Raises:
        DataError: The file is something else, or cannot be opened or made.

    Example:

    ```python
    >>> import tempfile
    >>> answers = Answers(Path(tempfile.mkdtemp()) / "answers.sqlite")
    >>> answers.add("0a1b", "beach.jpg", 4.2)
    >>> answers.add("77fe", "blurred.jpg", None)
    >>> answers.undo().name
    'blurred.jpg'
    >>> [(answer.name, answer.rating) for answer in answers.standing()]
    [('beach.jpg', 4.2)]

    ```
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._database = open_database(path, _TABLES)
        # Of a write, the log is on the disk before the statement returns.
        self._database.execute("PRAGMA synchronous = FULL")

    def add(self, picture: str, name: str, rating: float | None) -> None:
        """
        Keep an answer; arguments as in [`Answer`].

        Raises:
            DataError: The rating is off the scale, or the disk does not take it.
        """
        if rating is not None and not (math.isfinite(rating) and LOWEST <= rating <= HIGHEST):
            raise DataError(f"The rating of {name} is {rating}, expected a number from {LOWEST:g} to {HIGHEST:g}.")
        with self._writing() as database:
            database.execute(
                "INSERT INTO answers (picture, name, rating, answered_at) VALUES (?, ?, ?, ?)",
                (picture, name, rating, _now()),
            )

    def undo(self) -> Answer | None:
        """
        Take the last answer that stands back, and say which it was; `None` where there is none.

        Raises:
            DataError: The disk does not take it.
        """
        with self._writing() as database:
            rows = database.execute(
                "UPDATE answers SET undone_at = ? "
                "WHERE number = (SELECT max(number) FROM answers WHERE undone_at IS NULL) "
                "RETURNING number, picture, name, rating, answered_at",
                (_now(),),
            ).fetchall()
        return Answer(*rows[0]) if rows else None

    def standing(self) -> list[Answer]:
        """The answers that were not taken back, in the order in which they were given."""
        rows = self._database.execute(
            "SELECT number, picture, name, rating, answered_at FROM answers WHERE undone_at IS NULL ORDER BY number"
        )
        return [Answer(*row) for row in rows.fetchall()]

    def close(self) -> None:
        """Close the file."""
        self._database.close()

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        try:
            yield self._database
        except sqlite3.Error as error:
            raise DataError(f"The answer could not be saved to {self.path} ({error}). Nothing was changed.") from error


def open_database(path: Path, tables: str) -> sqlite3.Connection:
    """
    Open an SQLite file with a write-ahead log, each statement a transaction of its own, for use from several threads.

    Args:
        path (`Path`): The file; made, with its folder, where there is none.
        tables (`str`): SQL that makes its tables where they are missing.

    Raises:
        DataError: It cannot be opened or made, or is something else.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # Two processes that write at the same time wait for each other.
        database = sqlite3.connect(path, timeout=30, isolation_level=None, check_same_thread=False)
        database.execute("PRAGMA journal_mode = WAL")
        database.executescript(tables)
    except (sqlite3.Error, OSError) as error:
        raise DataError(
            f"{path} cannot be used ({error}). Move it away, or name another folder to write to."
        ) from error
    return database


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
