"""From a language model's reply to the prompts in it."""

import json
import re
from collections.abc import Iterator
from typing import Any

from ..data.prompts import prompt_key


__all__ = ["parse_variants"]

# Fewer words than this are a title or a remark, more are prose. CLIP's text encoders read about 60 words.
MIN_WORDS, MAX_WORDS = 2, 80

_THOUGHT = re.compile(r"<think>.*?(?:</think>|\Z)", re.DOTALL | re.IGNORECASE)
_FENCE = re.compile(r"^\s*(?:```|~~~)\w*\s*$", re.MULTILINE)
_STRING = re.compile(r'"((?:[^"\\]|\\.)*)"', re.DOTALL)
# "3." "3)" "(3)" "[3]" "3:" "Variant 3:" "Prompt -", perhaps bold.
_NUMBER = re.compile(
    r"^(?:\*\*|__)?[(\[]?(?:(?:new\s+)?(?:variant|variation|prompt|option|version)\s*)?(?:#\s*)?\d{1,3}\s*[.)\]:]+(?:\*\*|__)?(?:\s+|$)"
    r"|^(?:\*\*|__)?(?:new\s+)?(?:variant|variation|prompt|option|version)\s*#?\d{0,3}\s*[:\-–—]+(?:\*\*|__)?\s*",
    re.IGNORECASE,
)
_BULLET = re.compile(r"^[-*+•‣▪◦–—·]\s+")
_TITLE = re.compile(r"^(\*\*|__)[^*_]{1,60}?(?::\1|\1\s*[:\-–—])\s*")
_EMPHASIS = [re.compile(rf"^{mark}(?=\S)(.*\S){mark}$") for mark in (r"\*\*\*", r"\*\*", "__", r"\*", "_", "`")]
_PAIRS = {'"': '"', "“": "”", "„": "“", "«": "»", "‘": "’", "[": "]", "(": ")", "{": "}", "<": ">"}
_CHATTER = re.compile(
    r"^(?:sure\b|certainly\b|of course\b|absolutely\b|okay\b|ok[,.!]|here(?:'s|’s| is| are)\b|below (?:is|are)\b|these (?:are|prompts|variants)\b"
    r"|i (?:am|can|cannot|could|have|hope|will|would)\b|i['’](?:d|ll|m|ve)\b|i can['’]t\b|as an ai\b|let me know\b|feel free\b|please\b|note\b|each (?:prompt|variant|of)\b|all of (?:these|them)\b|thank)",
    re.IGNORECASE,
)


def parse_variants(reply: str) -> list[str]:
    """
    The prompts in a reply.

    Numbered lists, bullets, quotes, brackets, JSON (also cut off), markdown and one prompt a line are understood; where some
    lines are marked as entries of a list the others are chatter. Left out are headings, remarks, entries of one word or of more than
    80, entries that were cut off inside of a quote, and all but the first of several that are the same.

    Args:
        reply (`str`): What a language model wrote.

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
    text = _FENCE.sub("", _THOUGHT.sub("", reply)).strip()
    found: dict[str, str] = {}
    for entry in _from_json(text) or _from_lines(text):
        words = len(entry.split())
        if MIN_WORDS <= words <= MAX_WORDS and any(letter.isalpha() for letter in entry):
            found.setdefault(prompt_key(entry), entry)
    return list(found.values())


def _from_json(text: str) -> list[str]:
    """Strings of a JSON document, of one with words around it, or of one that was cut off; none where there is no JSON."""
    start = min((place for mark in "[{" if (place := text.find(mark)) >= 0), default=-1)
    if start < 0 or not re.match(r"[\[{][\s\[{]*\"", text[start:]):
        return []
    # What stands before is a remark, which a list's own mark is not.
    if _NUMBER.match(text) or _BULLET.match(text):
        return []
    try:
        document, _ = json.JSONDecoder(strict=False).raw_decode(text, start)
    except ValueError:
        # Cut off: the strings that are whole, but for the names of fields.
        whole = [match for match in _STRING.finditer(text, start) if not re.match(r"\s*:", text[match.end() :])]
        return [_tidy(match.group(1).replace('\\"', '"')) for match in whole]
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
    for mark in (_NUMBER, _BULLET):
        marked = [line for line in lines if mark.match(line)]
        if marked:
            return [entry for line in marked if (entry := _entry(mark.sub("", line)))]
    return [entry for line in lines if not line.endswith(":") and not _CHATTER.match(line) and (entry := _entry(line))]


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
