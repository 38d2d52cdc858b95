"""
Generated pictures with captions, for the demo, tests and benchmarks, and as a stand-in for a text-to-image model.

A [`Scene`] is a choice of subject, light, palette, viewpoint, composition and style, with a seed for everything else. It
writes its own caption, paints itself, and can be read from a prompt. [`~modeling_pamela.data.scenes`] has people who rate
scenes.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields

import numpy as np
from PIL import Image

from .painter import paint


__all__ = ["ATTRIBUTES", "Scene", "sample_scenes"]

# Attribute -> value -> the value's words in a caption, then other words that mean it in a prompt.
ATTRIBUTES: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "subject": {
        "mountain lake": ("a mountain lake", "mountain", "alps", "peak", "lake", "fjord"),
        "lighthouse": ("a lighthouse", "beacon"),
        "sailing boat": ("a sailing boat", "sailboat", "boat", "ship", "yacht", "sea", "ocean"),
        "forest": ("a forest path", "forest", "wood", "woods", "woodland", "pine", "fir"),
        "cottage": ("a cottage", "house", "farmhouse", "cabin", "home", "village"),
        "city": ("a city skyline", "city", "skyline", "skyscraper", "downtown", "street"),
        "flowers": ("a field of flowers", "flower", "poppy", "poppies", "tulip", "sunflower", "daisy", "blossom"),
        "still life": ("a still life with fruit and a vase", "still life", "fruit", "vase", "bowl", "table"),
        "pyramids": ("the pyramids in the desert", "pyramid", "desert", "dune", "egypt", "camel"),
        "balloons": ("hot-air balloons over a valley", "hot air balloon", "hot-air balloon", "balloon"),
        "castle": ("a castle on a hill", "castle", "fortress", "palace", "citadel"),
        "tree": ("a lone tree", "tree", "oak", "maple", "cherry tree"),
    },
    "light": {
        "noon": ("at noon", "noon", "midday", "daylight", "sunny", "bright day", "blue sky", "sunshine"),
        "dusk": ("at dusk", "dusk", "sunset", "sundown", "evening", "twilight", "golden hour", "dawn", "sunrise"),
        "night": ("at night", "night", "midnight", "moonlight", "moonlit", "starry", "stars", "nocturnal"),
        "fog": ("in the fog", "fog", "foggy", "mist", "misty", "haze", "hazy"),
        "storm": ("in a storm", "storm", "stormy", "thunderstorm", "lightning", "rain", "rainy", "tempest"),
    },
    "palette": {
        "natural": ("natural colours", "natural color", "realistic color", "realistic colour"),
        "vivid": ("vivid colours", "vivid", "saturated", "vibrant", "colorful", "colourful", "bold color"),
        "warm": ("warm colours", "warm", "amber", "orange tones", "autumnal", "fiery"),
        "cool": ("cool colours", "cool", "cold", "icy", "blue tones", "teal"),
        "pastel": ("pastel colours", "pastel", "soft color", "soft colour", "muted"),
        "monochrome": ("black and white", "monochrome", "greyscale", "grayscale", "black-and-white", "grey tones"),
    },
    "viewpoint": {
        "eye level": ("at eye level", "eye level", "eye-level", "frontal"),
        "from below": ("seen from below", "from below", "low angle", "low-angle", "worm's-eye", "towering"),
        "from above": ("seen from above", "from above", "high angle", "bird's-eye", "aerial", "overhead", "drone"),
        "close-up": ("seen close up", "close-up", "close up", "closeup", "macro", "shallow depth of field"),
    },
    "composition": {
        "centred": ("with the subject in the centre", "centred", "centered", "symmetrical", "in the middle", "central"),
        "rule of thirds": ("composed on the rule of thirds", "rule of thirds", "off-centre", "off-center", "asymmetrical"),
        "minimalist": ("minimalist with much empty space", "minimalist", "minimal", "negative space", "empty space", "sparse"),
        "framed": ("framed by dark foliage", "framed", "foliage", "through leaves", "vignetted"),
    },
    "style": {
        "photograph": ("a photograph", "photo", "photographic", "photorealistic", "film still"),
        "watercolour": ("a watercolour", "watercolor", "aquarelle", "gouache", "wash"),
        "oil painting": ("an oil painting", "oil", "impressionist", "impasto", "brush strokes", "brushstrokes"),
        "ink drawing": ("an ink drawing", "ink", "pen drawing", "sketch", "etching", "hatching", "line art"),
        "poster": ("a poster", "screen print", "screenprint", "flat color", "flat colour", "graphic design", "linocut"),
        "pixel art": ("pixel art", "pixel", "8-bit", "16-bit", "retro game"),
        "low poly": ("a low-poly rendering", "low poly", "polygonal", "geometric", "facets", "faceted"),
    },
}  # fmt: skip


def _pattern(words: str) -> str:
    """The words without their article, perhaps in the plural, a blank and a hyphen being the same."""
    words = re.sub(r"^(a|an|the) ", "", words)
    return r"\b" + re.sub(r"(\\-|\\ )+", r"[\\s-]+", re.escape(words)) + r"(?:e?s)?\b"


_PATTERNS = {
    attribute: [(value, re.compile(_pattern(words), re.IGNORECASE)) for value, all_words in values.items() for words in all_words]
    for attribute, values in ATTRIBUTES.items()
}  # fmt: skip


@dataclass(frozen=True)
class Scene:
    """
    A picture that can be painted.

    Attributes:
        subject, light, palette, viewpoint, composition, style (`str`): One of the values in [`ATTRIBUTES`].
        seed (`int`):
            Everything else: where things stand, their forms and colours, the weather. Two scenes of one seed and one
            subject show the same things, whatever their light, palette and style.

    Raises:
        ValueError: A value is not one of those of its attribute, or the seed is negative.

    Example:

    ```python
    >>> scene = Scene("lighthouse", "dusk", "warm", "from below", "rule of thirds", "watercolour", seed=1)
    >>> scene.caption
    'A watercolour of a lighthouse at dusk in warm colours, seen from below, composed on the rule of thirds.'
    >>> scene.render((96, 72)).size
    (96, 72)

    ```
    """

    subject: str
    light: str
    palette: str
    viewpoint: str
    composition: str
    style: str
    seed: int = 0

    def __post_init__(self) -> None:
        for attribute, values in ATTRIBUTES.items():
            if getattr(self, attribute) not in values:
                raise ValueError(f"{attribute} is {getattr(self, attribute)!r}; expected one of {', '.join(values)}")
        if self.seed < 0:
            raise ValueError(f"The seed is {self.seed}; expected a number from 0.")

    @property
    def attributes(self) -> dict[str, str]:
        """Attribute to value, without the seed."""
        return {attribute: getattr(self, attribute) for attribute in ATTRIBUTES}

    @property
    def caption(self) -> str:
        """A sentence that names every attribute."""
        words = {attribute: ATTRIBUTES[attribute][value][0] for attribute, value in self.attributes.items()}
        colours = "in " + words["palette"]
        style = words["style"][0].upper() + words["style"][1:]
        return (
            f"{style} of {words['subject']} {words['light']} {colours}, {words['viewpoint']}, {words['composition']}."
        )

    @classmethod
    def from_prompt(cls, prompt: str, seed: int) -> "Scene":
        """
        The scene that a prompt describes, as far as it does.

        Of each attribute the value that the prompt names first counts (of two that start at the same place, the longer
        words), by the words in [`ATTRIBUTES`]; what the prompt does not mention is drawn from the seed.

        Args:
            prompt (`str`): Free text; may be empty.
            seed (`int`): Also of the scene itself.

        Example:

        ```python
        >>> Scene.from_prompt("Aerial photo of sailboats in the mist", seed=0).light
        'fog'

        ```
        """
        chosen = {}
        for index, (attribute, values) in enumerate(ATTRIBUTES.items()):
            found = [
                (hit.start(), -len(hit.group()), value)
                for value, pattern in _PATTERNS[attribute]
                if (hit := pattern.search(prompt))
            ]
            default = list(values)[int(np.random.default_rng([seed, index]).integers(len(values)))]
            chosen[attribute] = min(found)[2] if found else default
        return cls(**chosen, seed=seed)

    def render(self, size: tuple[int, int] = (512, 384)) -> Image.Image:
        """
        Paints the scene: the same picture every time.

        Args:
            size (`tuple[int, int]`): Width and height in pixels, each at least 16.

        Returns:
            `PIL.Image.Image`: Mode `"RGB"`.
        """
        if min(size) < 16:
            raise ValueError(
                f"A size of {size[0]} x {size[1]} pixels is too small to paint; at least 16 x 16 are needed."
            )
        return paint(**self.attributes, seed=self.seed, size=size)


def sample_scenes(n: int, seed: int) -> list[Scene]:
    """
    Draws scenes: every attribute uniform and independent of the others.

    Args:
        n (`int`): How many.
        seed (`int`): Of the draw. The first scenes of a seed do not depend on `n`.

    Returns:
        `list[Scene]`: Of length n.
    """
    rng = np.random.default_rng(seed)
    names = [field.name for field in fields(Scene) if field.name != "seed"]
    return [
        Scene(**{name: str(rng.choice(list(ATTRIBUTES[name]))) for name in names}, seed=int(rng.integers(2**31)))
        for _ in range(n)
    ]
