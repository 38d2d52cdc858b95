"""Prompts as words: which of them say how a picture shows a thing, and when two prompts are the same."""

import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple


__all__ = ["MODIFIERS", "ModifierKind", "prompt_key"]


def prompt_key(prompt: str) -> str:
    """
    What two prompts have in common that differ in whitespace, case and punctuation only.

    Example:

    ```python
    >>> prompt_key("A castle,  warm light.") == prompt_key("a castle warm light")
    True

    ```
    """
    return re.sub(r"[\W_]+", " ", prompt).strip().casefold()


class ModifierKind(NamedTuple):
    """
    One way in which pictures of the same thing differ.

    Attributes:
        modifiers (sequence of `str`): What can be added to a prompt; at most one of a kind is.
        cues (`str`): Words, with blanks between them. A prompt with one of them says what it wants in this respect, and gets no such modifier.
    """

    modifiers: Sequence[str]
    cues: str


MODIFIERS: Mapping[str, ModifierKind] = {
    "medium": ModifierKind(
        ("photograph", "film still", "watercolour", "oil painting", "ink drawing", "screen print poster", "pixel art", "low poly"),
        "photo film photograph photographic photorealistic painting painted watercolour watercolor drawing drawn sketch etching ink print poster "
        "pixel poly render rendering illustration anime cartoon sculpture collage",
    ),
    "light": ModifierKind(
        ("midday daylight", "golden hour", "moonlight", "misty morning", "stormy weather", "soft window light", "dramatic rim light"),
        "light lit lighting noon midday daylight sunny sunlight sunset sunrise dusk dawn evening morning twilight night moonlight moonlit "
        "starry fog foggy mist misty haze storm stormy rain rainy golden neon candlelight backlit",
    ),
    "colour": ModifierKind(
        ("natural colours", "vivid colours", "warm amber tones", "cool teal tones", "pastel colours", "black and white"),
        "colour color colours colors colourful colorful vivid vibrant saturated muted pastel warm cool monochrome tones palette sepia greyscale "
        "grayscale",
    ),
    "composition": ModifierKind(
        ("centred composition", "rule of thirds", "minimalist with negative space", "framed by foliage", "leading lines"),
        "composition composed leading centred centered symmetrical symmetric asymmetrical thirds minimalist minimal framed framing",
    ),
    "camera": ModifierKind(
        ("eye level view", "low angle view", "aerial view", "close-up", "wide panorama"),
        "view viewed seen angle aerial overhead above below close closeup macro panorama panoramic wide lens",
    ),
    "mood": ModifierKind(
        ("serene", "dramatic", "joyful", "melancholic", "mysterious", "cosy"),
        "mood serene calm peaceful dramatic joyful happy sad melancholic gloomy mysterious eerie cosy cozy epic romantic",
    ),
}  # fmt: skip
"""Kind -> what it can be. Words that generators know; [`~modeling_pamela.steering.scene_renderer.SceneRenderer`] knows most of them."""
