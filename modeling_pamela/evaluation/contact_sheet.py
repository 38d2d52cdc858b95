"""A page of scored pictures to look at: one HTML file with everything inside, which needs no network and no script."""

import base64
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

from PIL import Image

from ..data.files import atomic_write
from ..data.images import open_image


__all__ = ["Card", "Section", "write_contact_sheet"]

# Twice the width of a card, for sharp screens.
_THUMBNAIL = (480, 480)
_JPEG_QUALITY = 82


@dataclass(frozen=True)
class Card:
    """
    A picture and what is known about it.

    Attributes:
        picture (`PIL.Image.Image`, `str` or `Path`): The picture, or its file.
        caption (`str`): Shown below it, and read out in its place. May be empty.
        score (`float`, *optional*): Mean score, on 0..1 of the rating scale; may leave it.
        std (`float`, *optional*): Standard deviation of the score: how unsure the model is. Drawn as a whisker.
        badge (`str`, *optional*): A short remark in the picture's corner, e.g. `"rated 4.5"` or `"up 12 places"`.
    """

    picture: Image.Image | str | Path
    caption: str
    score: float | None = None
    std: float | None = None
    badge: str | None = None

    def __post_init__(self) -> None:
        for name, value in (("score", self.score), ("std", self.std)):
            if value is not None and not math.isfinite(value):
                raise ValueError(f"The {name} of {self.caption!r} is {value}; expected a finite number, or None.")
        if self.std is not None and (self.score is None or self.std < 0):
            raise ValueError(
                f"The std of {self.caption!r} is {self.std} for the score {self.score}; expected a number from 0, and a score."
            )


@dataclass(frozen=True)
class Section:
    """
    Cards under one heading.

    Attributes:
        heading (`str`): Of the section.
        text (`str`): A paragraph that says what is shown.
        cards (sequence of `Card`): In the order to show them.
    """

    heading: str
    text: str
    cards: Sequence[Card]


def write_contact_sheet(path: str | Path, title: str, sections: Sequence[Section]) -> Path:
    """
    Writes a page of pictures with their scores.

    Pictures are embedded as JPEG thumbnails of at most 480 pixels a side. Every text may hold any characters: it is shown as
    it is, never read as HTML. All bars share one axis, from 0 to 1 or as far as the scores and their whiskers go. The same
    arguments give the same bytes.

    Args:
        path (`str` or `Path`): HTML file to write; replaced as a whole, or not at all on an error.
        title (`str`): Of the page.
        sections (sequence of `Section`): From top to bottom.

    Returns:
        `Path`: The file.

    Raises:
        ImageError: A picture's file cannot be used.

    Example:

    ```python
    >>> import tempfile
    >>> card = Card(Image.new("RGB", (32, 24), "teal"), "plain teal", score=0.7, std=0.1, badge="rated 4")
    >>> folder = Path(tempfile.mkdtemp())
    >>> page = write_contact_sheet(folder / "page.html", "Favourites", [Section("Best", "Highest scores first.", [card])])
    >>> "plain teal" in page.read_text()
    True

    ```
    """
    cards = [card for section in sections for card in section.cards if card.score is not None]
    low = min([0.0, *((card.score or 0) - (card.std or 0) for card in cards)])
    high = max([1.0, *((card.score or 0) + (card.std or 0) for card in cards)])
    with atomic_write(path) as temporary, open(temporary, "w", encoding="utf-8", newline="\n") as file:
        file.write(_HEAD.replace("{title}", escape(title)).replace("{style}", _STYLE))
        for section in sections:
            file.write(f"<section>\n<h2>{escape(section.heading)}</h2>\n<p>{escape(section.text)}</p>\n<ul>\n")
            for card in section.cards:
                file.write(_card_html(card, low, high))
            file.write("</ul>\n</section>\n")
        if cards:
            file.write(
                f"<footer>Bars run from {low:.2g} to {high:.2g} of the rating scale; the whisker is one standard deviation "
                "to either side.</footer>\n"
            )
        file.write("</main>\n</body>\n</html>\n")
    return Path(path)


def _card_html(card: Card, low: float, high: float) -> str:
    picture = card.picture if isinstance(card.picture, Image.Image) else open_image(card.picture)
    thumbnail = picture.convert("RGB")
    thumbnail.thumbnail(_THUMBNAIL, Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    thumbnail.save(buffer, "JPEG", quality=_JPEG_QUALITY)
    data = base64.b64encode(buffer.getvalue()).decode("ascii")
    width, height = thumbnail.size
    caption = escape(card.caption)
    badge = f'<span class="badge">{escape(card.badge)}</span>' if card.badge else ""
    label = caption or "picture without a caption"
    return (
        f'<li><figure><div class="frame">'
        f'<img src="data:image/jpeg;base64,{data}" width="{width}" height="{height}" alt="{label}">{badge}</div>\n'
        f"<figcaption>{_bar_html(card, low, high)}<span>{caption}</span></figcaption></figure></li>\n"
    )


def _bar_html(card: Card, low: float, high: float) -> str:
    if card.score is None:
        return ""

    def percent(value: float) -> str:
        return f"{100 * (value - low) / (high - low):.2f}%"

    spread = f" ± {card.std:.2f}" if card.std is not None else ""
    whisker = ""
    if card.std is not None:
        whisker = f'<i class="whisker" style="left:{percent(card.score - card.std)};width:{percent(low + 2 * card.std)}"></i>'
    return (
        f'<div class="score"><strong>{card.score:z.2f}</strong><small>{spread}</small>'
        f'<div class="bar" aria-hidden="true"><i class="fill" style="width:{percent(card.score)}"></i>{whisker}</div></div>'
    )


_HEAD = """\
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<title>{title}</title>
<style>
{style}</style>
</head>
<body>
<main>
<h1>{title}</h1>
"""

_STYLE = """\
:root {
  color-scheme: light dark;
  --page: #f6f4f0; --card: #fff; --text: #22201d; --soft: #6d675f; --line: #e2ddd4; --track: #e9e5dd; --mark: #c2603a;
  --whisker: #22201d; --shadow: 0 1px 2px #0000000f, 0 6px 18px #00000012;
}
@media (prefers-color-scheme: dark) {
  :root {
    --page: #151517; --card: #1f1f23; --text: #eceae6; --soft: #a09b94; --line: #303036; --track: #34343b; --mark: #e2835a;
    --whisker: #f4f1ec; --shadow: 0 1px 2px #0006, 0 6px 18px #0005;
  }
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--text); font: 16px/1.5 system-ui, "Segoe UI", Roboto, sans-serif; }
main { max-width: 1240px; margin: 0 auto; padding: 48px 28px 64px; }
h1 { margin: 0 0 8px; font-size: 2.1rem; line-height: 1.15; font-weight: 700; letter-spacing: -.02em; text-wrap: balance; }
section { margin-top: 36px; padding-top: 26px; border-top: 1px solid var(--line); }
h2 { margin: 0 0 4px; font-size: 1.25rem; letter-spacing: -.01em; }
p { margin: 0 0 20px; max-width: 72ch; color: var(--soft); white-space: pre-line; overflow-wrap: anywhere; }
ul { list-style: none; margin: 0; padding: 0; display: grid; gap: 20px; grid-template-columns: repeat(auto-fill, minmax(210px, 1fr)); }
li { display: flex; }
figure { margin: 0; width: 100%; background: var(--card); border-radius: 12px; overflow: hidden; box-shadow: var(--shadow); }
.frame { position: relative; aspect-ratio: 4 / 3; background: var(--track); }
img { display: block; width: 100%; height: 100%; object-fit: contain; }
.badge {
  position: absolute; top: 8px; right: 8px; max-width: calc(100% - 16px); padding: 2px 9px; border-radius: 99px;
  background: #14141acc; color: #fff; font-size: .78rem; font-weight: 600; overflow-wrap: anywhere;
}
figcaption { padding: 11px 13px 14px; font-size: .86rem; line-height: 1.4; overflow-wrap: anywhere; }
.score { margin-bottom: 9px; font-variant-numeric: tabular-nums; }
.score strong { font-size: 1.1rem; }
.score small { color: var(--soft); font-size: .84rem; }
.bar { position: relative; height: 6px; margin: 7px 0 3px; border-radius: 3px; background: var(--track); }
.bar i { position: absolute; top: 0; bottom: 0; }
.fill { left: 0; border-radius: 3px; background: var(--mark); }
.whisker { top: -3px !important; bottom: -3px !important; border: solid var(--whisker); border-width: 0 1.5px; }
.whisker::after { content: ""; position: absolute; left: 0; right: 0; top: 50%; margin-top: -.75px; height: 1.5px; background: var(--whisker); }
figcaption span { color: var(--soft); }
footer { margin-top: 40px; color: var(--soft); font-size: .84rem; }
@media print { figure { break-inside: avoid; box-shadow: none; border: 1px solid var(--line); } }
"""
