"""From a language model's reply to the prompts in it."""

import ast
import json
import re
import warnings
from collections.abc import Iterator, Sequence
from itertools import zip_longest
from typing import Any

from ..data.prompts import prompt_key


__all__ = ["parse_variants"]

# Fewer words than this are a title or a remark, more are prose, but where a longer prompt is varied. CLIP's text encoders read about 60 words.
MIN_WORDS, MAX_WORDS = 2, 80

_THOUGHT = re.compile(r"<think>.*?(?:</think>|\Z)", re.DOTALL | re.IGNORECASE)
_FENCE = re.compile(r"^\s*(?:```|~~~)\w*\s*$", re.MULTILINE)
# Tags that are closed somewhere; others, such as <cat-toy>, may be words that an image model was taught.
_CLOSED = re.compile(r"</([a-z][\w-]*)\s*>", re.IGNORECASE)
_ATTRIBUTES = r"(?:\s+[\w-]+\s*=\s*(?:\"[^\"]*\"|'[^']*'))*\s*/?"
# Python's strings, in which an apostrophe does not end one.
_STRINGS = {
    '"': re.compile(r'"((?:[^"\\]|\\.)*)"', re.DOTALL),
    "'": re.compile(r"'((?:[^'\\]|\\.|'(?!\s*(?:[,:\]}]|\Z)))*)'", re.DOTALL),
}
_DOCUMENT = re.compile(r"[\[{][\s\[{]*(?:-?\d+\s*[,:]\s*)*([\"'])")
# "3." "3)" "(3)" "[3]" "3:" "Variant 3:" "Prompt -", perhaps bold.
_NUMBER = re.compile(
    r"^(?:\*\*|__)?[(\[]?(?:(?:new\s+)?(?:variant|variation|prompt|option|version)\s*)?(?:#\s*)?\d{1,3}\s*[.)\]:]+(?:\*\*|__)?(?:\s+|$)"
    r"|^(?:\*\*|__)?(?:new\s+)?(?:variant|variation|prompt|option|version)\s*#?\d{0,3}\s*[:\-–—]+(?:\*\*|__)?\s*"
    r"|^(?:\*\*|__)?(?:new\s+)?(?:variant|variation|prompt|option|version)\s*#?\d{1,3}(?:\*\*|__)?$",
    re.IGNORECASE,
)
_INLINE_NUMBER = re.compile(r"(?<!\S)[(\[]?(\d{1,3})[.)\]](?=\s)")
_BULLET = re.compile(r"^[-*+•‣▪◦–—·]\s+")
_TITLE = re.compile(r"^(\*\*|__)[^*_]{1,60}?(?::\1|\1\s*[:\-–—])\s*")
_TABLE_HEAD = re.compile(r"prompt|variant|variation", re.IGNORECASE)
_TABLE_RULE = re.compile(r"[|:\s-]*")  # the line under the head
_EMPHASIS = [re.compile(rf"^{mark}(?=\S)(.*\S){mark}$") for mark in (r"\*\*\*", r"\*\*", "__", r"\*", "_", "`")]
_PAIRS = {'"': '"', "“": "”", "„": "“", "«": "»", "‘": "’", "[": "]", "(": ")", "{": "}", "<": ">"}
_CHATTER = re.compile(
    r"^(?:sure\b|certainly\b|of course\b|absolutely\b|okay\b|ok[,.!]|here(?:'s|’s| is| are)\b|below (?:is|are)\b|these (?:are|prompts|variants)\b"
    r"|i (?:am|can|cannot|could|have|hope|will|would)\b|i['’](?:d|ll|m|ve)\b|i can['’]t\b|as an ai\b|let me know\b|feel free\b|please\b|note\b|each (?:prompt|variant|of)\b|all of (?:these|them)\b|thank)",
    re.IGNORECASE,
)


def parse_variants(reply: str, max_words: int = MAX_WORDS) -> list[str]:
    """
    The prompts in a reply.

    Numbered lists, bullets, quotes, brackets, JSON and Python's lists (also cut off), tags, markdown with its tables and one prompt a line
    are understood; where some lines are marked as entries of a list the others are chatter, but for the one after a mark that stands alone.
    Left out are headings, remarks, entries of one word or of too many, entries that were cut off inside of a quote, and all but the first
    of several that are the same.

    Args:
        reply (`str`): What a language model wrote.
        max_words (`int`): Entries of more are prose.

    Returns:
        `list[str]`: In the order of the reply, each a line of its own without marks around it. Empty where there are none.

    Example:

    ```python
    >>> parse_variants('Sure! Here are two:\\n1. **"A cat at dusk"**\\n2. A cat, seen from above\\n\\nEnjoy!')
    ['A cat at dusk', 'A cat, seen from above']
    >>> parse_variants('```json\\n{"prompts": ["a cat at dusk", "a cat in the fog", "a ca')
    ['a cat at dusk', 'a cat in the fog']

    ```
    """
    text = _FENCE.sub("", _without_tags(_THOUGHT.sub("", reply))).strip()
    found: dict[str, str] = {}
    for entry in _from_document(text) or _from_lines(text):
        words = len(entry.split())
        if MIN_WORDS <= words <= max_words and any(letter.isalpha() for letter in entry):
            found.setdefault(prompt_key(entry), entry)
    return list(found.values())


def _without_tags(text: str) -> str:
    """A text without its XML or HTML tags; what stood in different ones is on different lines."""
    for name in {match.lower() for match in _CLOSED.findall(text)}:
        text = re.sub(rf"</?{re.escape(name)}{_ATTRIBUTES}>", "\n", text, flags=re.IGNORECASE)
    return text


def _from_document(text: str) -> list[str]:
    """Strings of JSON or of Python's notation, also with words around it, or cut off; none where there is nothing of the kind."""
    start = min((place for mark in "[{" if (place := text.find(mark)) >= 0), default=-1)
    begun = _DOCUMENT.match(text, start) if start >= 0 else None
    if begun is None:
        return []
    # What stands before is a remark, which a list's own mark is not.
    if _NUMBER.match(text) or _BULLET.match(text):
        return []
    try:
        document, _ = json.JSONDecoder(strict=False).raw_decode(text, start)
    except (ValueError, RecursionError):
        try:
            with warnings.catch_warnings(action="ignore"):  # of a backslash that escapes nothing
                document = ast.literal_eval(text[start : max(text.rfind("]"), text.rfind("}")) + 1])
        except (ValueError, SyntaxError, MemoryError, RecursionError, TypeError):
            # Cut off: the strings that are whole, but for the names of fields.
            quote = begun.group(1)
            found = _STRINGS[quote].finditer(text, start)
            whole = [match for match in found if not re.match(r"\s*:", text[match.end() :])]
            return [_tidy(match.group(1).replace(f"\\{quote}", quote)) for match in whole]
    return [_tidy(value) for value in _strings(document)]


def _strings(document: Any) -> Iterator[str]:
    if isinstance(document, str):
        yield document
    elif isinstance(document, list):
        for entry in document:
            yield from _strings(entry)
    elif isinstance(document, dict):
        named = [document[name] for name in ("prompt", "variant", "text") if isinstance(document.get(name), str)]
        for entry in named[:1] or document.values():
            yield from _strings(entry)


def _from_lines(text: str) -> list[str]:
    lines = [line.strip() for line in text.splitlines()]
    lines = [line for line in lines if line and not line.startswith("#") and not re.fullmatch(r"[-=_*]{3,}", line)]
    lines = _without_table(lines)
    if sum(_NUMBER.match(line) is not None for line in lines) == 1:
        lines = [part for line in lines for part in _numbered_parts(line)]
    for mark in (_NUMBER, _BULLET):
        if any(mark.match(line) for line in lines):
            return [entry for line in _marked(lines, mark) if (entry := _entry(line))]
    return [entry for line in lines if not _is_chatter(line) and (entry := _entry(line))]


def _is_chatter(line: str) -> bool:
    return line.endswith(":") or _CHATTER.match(line) is not None


def _marked(lines: Sequence[str], mark: re.Pattern[str]) -> Iterator[str]:
    """What is marked, without the mark; a mark or a title that stands alone marks the line after it."""
    awaited = False
    for line in lines:
        marked = mark.match(line) is not None
        rest = _TITLE.sub("", mark.sub("", line))
        alone = marked and (not rest or rest.endswith(":"))
        if (marked and not alone) or (awaited and not marked and not _is_chatter(line)):
            yield rest
        awaited = alone


def _numbered_parts(line: str) -> list[str]:
    """`1. a 2. b` as two lines; numbers that do not count on belong to a prompt."""
    marks = list(_INLINE_NUMBER.finditer(line))
    numbers = [int(match.group(1)) for match in marks]
    if len(marks) < 2 or numbers != list(range(numbers[0], numbers[0] + len(marks))):
        return [line]
    ends = [match.start() for match in marks[1:]] + [len(line)]
    return [line[match.start() : end].strip() for match, end in zip(marks, ends, strict=True)]


def _without_table(lines: Sequence[str]) -> list[str]:
    """Of a table's rows the cell below the head that speaks of prompts, or the one with most words; other lines as they are."""
    found, column = [], None
    for line, following in zip_longest(lines, lines[1:], fillvalue=""):
        if _TABLE_RULE.fullmatch(line):
            continue
        if line[0] != "|":
            found.append(line)
            continue
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if following and _TABLE_RULE.fullmatch(following):
            column = next((place for place, cell in enumerate(cells) if _TABLE_HEAD.search(cell)), None)
        elif column is not None and column < len(cells):
            found.append(cells[column])
        else:
            found.append(max(cells, key=lambda cell: len(cell.split())))
    return [line for line in found if line]


def _entry(line: str) -> str:
    """The prompt of a line; empty where its quote is not closed, as in a reply that was cut off."""
    line = _TITLE.sub("", _NUMBER.sub("", _BULLET.sub("", line.strip())))
    line = re.sub(r"([\"”»\]'])[,;]$", r"\1", line)
    while True:
        bare = line
        for form in _EMPHASIS:
            bare = form.sub(r"\1", bare)
        if (len(bare) > 1 and _PAIRS.get(bare[0]) == bare[-1] and not _closes_before_end(bare)) or (
            len(bare) > 1 and bare[0] == bare[-1] == "'"
        ):
            bare = bare[1:-1].strip()
        if bare == line:
            break
        line = bare
    return "" if line[:1] in ('"', "“", "«") and _PAIRS[line[0]] not in line[1:] else _tidy(line)


def _closes_before_end(text: str) -> bool:
    """Whether the bracket or quote at the start is closed before the end, as in `"dusk" and "dawn"`."""
    opening, closing = text[0], _PAIRS[text[0]]
    if opening == closing:
        return closing in text[1:-1]
    depth = 0
    for place, letter in enumerate(text):
        depth += (letter == opening) - (letter == closing)
        if depth == 0:
            return place < len(text) - 1
    return False


def _tidy(text: str) -> str:
    return " ".join(text.split())
