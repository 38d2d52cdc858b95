"""The bandit over modifiers keeps the prompt, never repeats itself, and learns what pleases."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modeling_pamela.data.painting import Scene
from modeling_pamela.data.prompts import MODIFIERS, ModifierKind, prompt_key
from modeling_pamela.steering.base import Candidate
from modeling_pamela.steering.modifiers import ModifierProposer


PROMPT = "a castle on a hill"


def modifiers_of(text, prompt=PROMPT):
    return text[len(prompt) :].split(", ")[1:]


@given(st.integers(0, 2**32 - 1), st.integers(1, 30), st.integers(0, 20))
def test_proposals_are_new_and_keep_the_prompt(seed, num, known):
    history = [
        Candidate(index, 1, text, score=float(index))
        for index, text in enumerate(ModifierProposer().propose(PROMPT, [], known, 1) if known else [])
    ]
    found = ModifierProposer().propose(PROMPT, history, num, seed)
    assert found == ModifierProposer().propose(PROMPT, history, num, seed)
    assert len(found) == num == len({prompt_key(text) for text in found})
    assert not {prompt_key(text) for text in found} & {candidate.prompt for candidate in history}
    assert all(text.startswith(f"{PROMPT}, ") for text in found)
    for text in found:
        kinds = [kind for word in modifiers_of(text) for kind, some in MODIFIERS.items() if word in some.modifiers]
        assert len(kinds) == len(set(kinds)) == len(modifiers_of(text))


@pytest.mark.parametrize(
    ("prompt", "kind"),
    [
        ("a castle at night", "light"),
        ("A watercolor of a castle", "medium"),
        ("a castle, warm tones", "colour"),
        ("aerial castle", "camera"),
        ("Minimalist castle!", "composition"),
        ("a serene castle", "mood"),
    ],
)
def test_what_the_prompt_says_is_left_alone(prompt, kind):
    found = [word for text in ModifierProposer().propose(prompt, [], 40, 0) for word in text.split(", ")]
    assert not set(found) & set(MODIFIERS[kind].modifiers)


def test_it_finds_the_best_of_a_known_taste():
    shares = []
    for seed in range(5):
        rng = np.random.default_rng(seed)
        worth = {word: rng.normal() for kind in MODIFIERS.values() for word in kind.modifiers}
        best = sum(max(0, *(worth[word] for word in kind.modifiers)) for kind in MODIFIERS.values())
        history = [Candidate(0, 0, PROMPT, score=0.0)]
        for number in range(1, 6):
            for text in ModifierProposer().propose(PROMPT, history, 20, 10 * seed + number):
                score = sum(worth[word] for word in modifiers_of(text))
                history.append(Candidate(len(history), number, text, score=score))
        shares.append(max(candidate.score for candidate in history) / best)
    assert min(shares) > 0.85


def test_it_learns_from_other_proposers_prompts_and_from_refusals():
    good = [Candidate(i, 1, f"Pixel art of a castle number {i}", score=1.0) for i in range(12)]
    bad = [Candidate(12 + i, 1, f"a castle in an oil painting, {i}", score=0.0) for i in range(12)]
    words = [word for text in ModifierProposer().propose(PROMPT, good + bad, 50, 0) for word in modifiers_of(text)]
    assert words.count("pixel art") > 20 > words.count("oil painting") == 0
    refused = [Candidate(c.index, 1, c.prompt, score=9.0, refused="population: …") for c in bad]
    words = [word for text in ModifierProposer().propose(PROMPT, good + refused, 50, 0) for word in modifiers_of(text)]
    assert words.count("pixel art") > 20 > words.count("oil painting") == 0


def test_where_all_was_tried_there_are_fewer():
    tiny = ModifierProposer({"light": ModifierKind(("golden hour", "moonlight"), "light")})
    found = tiny.propose(PROMPT, [], 5, 0)
    assert sorted(found) == [f"{PROMPT}, golden hour", f"{PROMPT}, moonlight"]
    assert tiny.propose("light", [], 5, 0) == []


def test_a_prompt_with_a_modifier_gets_no_other_of_its_kind():
    for kind in MODIFIERS.values():
        for modifier in kind.modifiers:
            found = ModifierProposer().propose(f"{PROMPT}, {modifier}", [], 3, 0)
            added = [word for text in found for word in text.split(", ")[2:]]
            assert not set(added) & set(kind.modifiers), modifier


def test_the_stand_in_for_a_generator_heeds_what_it_can():
    words = {
        "medium": "style",
        "light": "light",
        "colour": "palette",
        "composition": "composition",
        "camera": "viewpoint",
    }
    for kind, attribute in words.items():
        scenes = [Scene.from_prompt(f"{PROMPT}, {modifier}", 0) for modifier in MODIFIERS[kind].modifiers]
        assert len({getattr(scene, attribute) for scene in scenes}) >= 4
        assert {scene.subject for scene in scenes} == {"castle"}
