"""From attributes to a picture: a subject is laid on a canvas and lit, its colours are graded, and it is given a style."""

import zlib

import numpy as np
from PIL import Image

from . import landscapes, places
from .canvas import Canvas, blur, smoothstep
from .landscapes import View
from .lights import illuminate
from .objects import foliage_frame
from .styles import STYLES, grade


__all__ = ["paint"]

_SUBJECTS = {
    "mountain lake": landscapes.mountain_lake,
    "lighthouse": places.lighthouse,
    "sailing boat": places.sailing_boat,
    "forest": landscapes.forest,
    "cottage": places.cottage,
    "city": places.city,
    "flowers": landscapes.flowers,
    "still life": places.still_life,
    "pyramids": landscapes.pyramids,
    "balloons": places.balloons,
    "castle": places.castle,
    "tree": landscapes.tree,
}

# Horizon, foot of the subject, its size, convergence of uprights.
_VIEWPOINTS = {
    "eye level": (0.58, 0.76, 1.0, 0.0),
    "from below": (0.86, 0.92, 1.3, 0.42),
    "from above": (0.2, 0.66, 0.82, -0.28),
    "close-up": (0.62, 0.97, 1.75, 0.0),
}


def paint(
    subject: str,
    light: str,
    palette: str,
    viewpoint: str,
    composition: str,
    style: str,
    seed: int,
    size: tuple[int, int],
) -> Image.Image:
    """Paints one picture; see [`~modeling_pamela.data.painting.scene.Scene`] for the values. `size` is (width, height) in pixels."""
    width, height = size

    def stream(purpose: str) -> np.random.Generator:
        # One stream a purpose: changing the light or the style leaves the rest of the picture as it is.
        return np.random.default_rng([seed, zlib.crc32(purpose.encode())])

    horizon, foot, scale, tilt = _VIEWPOINTS[viewpoint]
    aspect = width / height
    layout = stream("layout")
    sun, side = (1 if u < 0.5 else -1 for u in layout.random(2))
    spare = composition == "minimalist"
    third = 0.5 + side * (0.5 - 0.34)
    x = {"centred": 0.5, "rule of thirds": third, "minimalist": third, "framed": 0.5 + 0.06 * side}[composition]
    scale *= {"centred": 1.18, "rule of thirds": 0.95, "minimalist": 0.5, "framed": 0.9}[composition]
    canvas = Canvas(width, height, stream("surface"), sun, tilt, horizon)
    _SUBJECTS[subject](canvas, View(x * aspect, foot - (0.04 if spare else 0), scale, spare, stream))
    if composition == "framed":
        foliage_frame(canvas, stream("frame"))
    picture = illuminate(canvas, light, stream, calm=spare)
    if viewpoint == "close-up":  # what is far away is out of focus
        far = smoothstep(0.5, 0.8, canvas.front.depth)[:, :, None]
        picture = picture * (1 - far) + blur(picture, 0.02 * height) * far
    picture = STYLES[style](grade(picture, palette), stream("style"))
    return Image.fromarray((np.clip(picture, 0, 1) * 255 + 0.5).astype(np.uint8))
