"""A table of results on disk: JSON for machines, Markdown for people, PNG where there is a figure."""

import hashlib
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..data.files import atomic_write
from ..data.folder import DataFolder


if TYPE_CHECKING:
    from matplotlib.figure import Figure


__all__ = ["Report", "data_fingerprint", "format_interval", "run_report"]


@dataclass(frozen=True)
class Report:
    """
    One table.

    Attributes:
        name (`str`): Of its files, e.g. `"table4"`.
        title (`str`): Heading.
        text (`str`): What it shows and how it came about, in a few sentences.
        rows (list of `dict`): One flat `dict` a row; all have the same keys in the same order. Numbers stay numbers.
        made_from (`dict`): What the results depend on: the data's fingerprint, models, settings. Results made from the same are not computed again.
        seconds (`float`): Time it took to compute.
    """

    name: str
    title: str
    text: str
    rows: list[dict[str, Any]]
    made_from: dict[str, Any] = field(default_factory=dict)
    seconds: float = 0.0

    def markdown(self) -> str:
        """Heading, text and table."""
        columns = list(self.rows[0]) if self.rows else []
        lines = ["| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]
        lines += ["| " + " | ".join(_cell(row.get(column)) for column in columns) + " |" for row in self.rows]
        made_from = "; ".join(f"{name} {value}" for name, value in self.made_from.items())
        return f"# {self.title}\n\n{self.text}\n\n" + "\n".join(lines) + f"\n\nMade from: {made_from}.\n"

    def write(self, folder: Path, figure: "Figure | None" = None) -> None:
        """Write `<name>.json`, `<name>.md` and, with a figure, `<name>.png`; the JSON last, so that where it is all of it is."""
        if figure is not None:
            with atomic_write(folder / f"{self.name}.png") as temporary:
                # Without the time and version that matplotlib would add, the same figure gives the same bytes.
                figure.savefig(temporary, format="png", dpi=150, bbox_inches="tight", metadata={"Software": None})
        with atomic_write(folder / f"{self.name}.md") as temporary:
            temporary.write_text(self.markdown(), encoding="utf-8")
        with atomic_write(folder / f"{self.name}.json") as temporary:
            temporary.write_text(json.dumps(asdict(self), indent=1) + "\n", encoding="utf-8")

    @classmethod
    def read(cls, folder: Path, name: str) -> "Report | None":
        """A report written before; `None` where there is none that is whole."""
        try:
            return cls(**json.loads((folder / f"{name}.json").read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            return None


def run_report(
    folder: Path, name: str, made_from: dict[str, Any], compute: Callable[[], "tuple[Report, Figure | None]"]
) -> Report:
    """
    A report from disk if it was made from the same, else computed and written.

    Args:
        folder (`Path`): Of the reports.
        name (`str`): Of the report.
        made_from (`dict`): What it depends on; becomes part of it.
        compute (callable): Gives the report, whose `made_from` and `seconds` are filled in, and its figure.
    """
    # As it comes back from a file: tuples are lists there.
    made_from = json.loads(json.dumps(made_from))
    found = Report.read(folder, name)
    if found is not None and found.made_from == made_from:
        return found
    start = time.perf_counter()
    report, figure = compute()
    report = replace(report, made_from=made_from, seconds=round(time.perf_counter() - start, 1))
    report.write(folder, figure)
    return report


def data_fingerprint(folder: DataFolder) -> str:
    """16 hex digits that change with the ratings, people and splits of a data folder, and with its pictures."""
    digest = hashlib.sha256()
    for split in folder.splits:
        digest.update(f"{split} {folder.split_fingerprint(split)}\n".encode())
    for name in sorted(folder.images["sha256"].to_pylist()):
        digest.update(name.encode())
    return digest.hexdigest()[:16]


def format_interval(mean: float, low: float, high: float, sign: bool = False) -> str:
    """`0.512 [0.498, 0.525]`"""
    form = "+.3f" if sign else ".3f"
    return f"{mean:{form}} [{low:{form}}, {high:{form}}]"


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.3f}"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return ", ".join(_cell(entry) for entry in value)
    return str(value).replace("|", "\\|")
