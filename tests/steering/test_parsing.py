"""Replies as language models write them."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modeling_pamela.data.prompts import prompt_key
from modeling_pamela.steering.parsing import MAX_WORDS, parse_variants


WANTED = ["A lighthouse at dusk, warm light", "A lighthouse in thick fog, black and white"]


@pytest.mark.parametrize(
    "reply",
    [
        "1. {}\n2. {}",
        "1) {}\n2) {}",
        "(1) {}\n\n(2) {}",
        "[1] {}\n[2] {}",
        "1: {}\n2: {}",
        "- {}\n- {}",
        "* {}\n* {}",
        "• {}\n• {}",
        "{}\n{}",
        "  {}  \r\n\r\n  {}\r\n",
        '"{}"\n"{}"',
        "“{}”\n“{}”",
        "«{}»\n«{}»",
        "'{}'\n'{}'",
        "[{}]\n[{}]",
        "`{}`\n`{}`",
        "**{}**\n**{}**",
        '1. **"{}"**\n2. **"{}"**',
        "**1.** {}\n**2.** {}",
        "**Golden hour:** {}\n**Mist:** {}",
        "1. **Golden hour**: {}\n2. **Mist** - {}",
        "Variant 1: {}\nVariant 2: {}",
        "**Variant 1:** {}\n**Variant 2:** {}",
        "1. Prompt: {}\n2. Prompt: {}",
        "New variant: {}\nNew variant: {}",
        "Sure! Here are two variants:\n\n1. {}\n2. {}\n\nI hope you like them! Let me know.",
        "Here are two variants\n{}\n{}\nLet me know if you need more",
        "# Variants\n\n- {}\n- {}\n\n---\n",
        "```\n{}\n{}\n```",
        '["{}", "{}"]',
        '```json\n["{}",\n "{}"]\n```',
        'Certainly:\n{{"variants": ["{}", "{}"]}}\nEnjoy!',
        '[{{"id": 1, "prompt": "{}"}}, {{"id": 2, "prompt": "{}"}}]',
        '{{"1": "{}", "2": "{}"}}',
        '["{}", "{}", "A lighthouse seen fr',
        '{{"prompts": [\n"{}",\n"{}",\n"A ligh',
        '"{}",\n"{}",\n"A lighthouse seen fr',
        "<think>1. A plan that is no prompt\n</think>\n1. {}\n2. {}",
        "1. {0}\n2. {0}.\n3. {1}",
        "1. {}\n2. Lighthouse\n3. {}\n4.",
        "**Variant 1:**\n{}\n\n**Variant 2:**\n{}\n\nI hope you like them!",
        "**Variant 1**\n{}\n**Variant 2**\n{}",
        'Variant 1:\n"{}"\nVariant 2:\n"{}"',
        "1.\n{}\n2.\n{}\n3.\n\nLet me know if you need more",
        "1. **Golden hour:**\n   - {}\n2. Mist:\n   - {}",
        "1. {} 2. {}",
        "Sure!\n1) {} 2) {} 3) Lighthouse",
        "['{}', '{}']",
        "Here: {{'prompts': ['{}', '{}']}}",
        "[{{'id': 1, 'prompt': '{}'}}, {{'id': 2, 'prompt': \"{}\"}}]",
        "['{}', '{}', 'A lighthouse seen fr",
        '[1, "{}", 2, "{}"]',
        "{{1: '{}', 2: '{}'}}",
        "<prompts>\n<prompt>{}</prompt>\n<prompt id='2'>{}</prompt>\n</prompts>",
        "1. <b>{}</b>\n2. <b>{}</b>",
        "<ol><li>{}</li><li>{}</li></ol>",
        "<answer>\n1. {}\n2. {}\n</answer>",
        "| # | Prompt | Why |\n|---|:---:|---|\n| 1 | {} | calm |\n| 2 | {} | it is much like what was liked so far and goes further |",
        "| {} | calm |\n| {} | warm |",
    ],
)
def test_a_list_in_any_clothes(reply):
    assert parse_variants(reply.format(*WANTED)) == WANTED


@pytest.mark.parametrize(
    "reply",
    [
        "[1, 2]",
        "| No | Prompt |\n|---|---|",
        "<p></p>",
        "",
        " \n\n",
        "Sure!",
        "I can't help with that.",
        "[]",
        "{}",
        "```\n```",
        "1.\n2.",
        "<think>a b c",
        '["',
    ],
)
def test_nothing_to_be_had(reply):
    assert parse_variants(reply) == []


def test_what_belongs_to_a_prompt_stays():
    kept = [
        'A sign that says "open", at night',
        "35 mm photo of a cat",
        "A cat - seen from above (close up)",
        "(soft light) a cat [blurred]",
        "the year 1. and 2. of a cat",
        "a <cat-toy> on a sofa < a dog",
        "a cat | a dog",
        "a cat's and a dog's life in the '70s",
    ]
    assert parse_variants("\n".join(f"{place}. {text}" for place, text in enumerate(kept, 1))) == kept


def test_prose_is_no_prompt():
    prose = ("word " * (MAX_WORDS + 1)).strip()
    assert parse_variants(prose) == []
    assert parse_variants(prose, max_words=MAX_WORDS + 1) == [prose]


words = st.sampled_from(
    [
        "a",
        "the",
        "old",
        "cat",
        "lighthouse",
        "at",
        "dusk",
        "seen",
        "from",
        "above",
        "bird's-eye",
        "café",
        "35mm",
        "光",
        "low-key",
    ]
)
prompts = st.lists(words, min_size=3, max_size=12).map(
    lambda parts: "view of " + " ".join(parts[:-1]) + ", " + parts[-1]
)
CLOTHES = {
    "numbered": lambda entries: "\n".join(f"{place}. {entry}" for place, entry in enumerate(entries, 1)),
    "bracketed numbers": lambda entries: "\n".join(f"{place}) {entry}" for place, entry in enumerate(entries, 1)),
    "bullets": lambda entries: "\n".join(f"- {entry}" for entry in entries),
    "lines": "\n".join,
    "quoted": lambda entries: "\n".join(f'{place}. "{entry}"' for place, entry in enumerate(entries, 1)),
    "bold": lambda entries: "\n\n".join(f"* **{entry}**" for entry in entries),
    "json": lambda entries: json.dumps(entries),
    "json of objects": lambda entries: json.dumps([{"prompt": entry} for entry in entries], indent=1),
}  # fmt: skip


@given(
    entries=st.lists(prompts, min_size=1, max_size=8, unique=True),
    clothes=st.sampled_from(sorted(CLOTHES)),
    before=st.sampled_from(["", "Sure!\n", "Here are the variants:\n\n", "```\n"]),
    after=st.sampled_from(["", "\n\nI hope this helps!", "\n```\n"]),
)
def test_what_was_dressed_is_undressed(entries, clothes, before, after):
    assert parse_variants(before + CLOTHES[clothes](entries) + after) == entries


marks = st.sampled_from(
    [
        *list("abc 12.,:;-*#\"'`[](){}<>“”\n\\_"),
        "1. ",
        "- ",
        "**",
        "```json\n",
        '["',
        "Variant 1: ",
        "<think>",
        "['",
        "', '",
        "</p>",
        "<p>",
        "|",
        "|--|",
        "2. ",
    ]
)


@given(st.one_of(st.text(max_size=200), st.lists(marks, max_size=60).map("".join)))
def test_whatever_comes_the_variants_are_clean(reply):
    found = parse_variants(reply)
    assert len({prompt_key(entry) for entry in found}) == len(found)
    for entry in found:
        assert entry == " ".join(entry.split())
        assert 2 <= len(entry.split()) <= MAX_WORDS
