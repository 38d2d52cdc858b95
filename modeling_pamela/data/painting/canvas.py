"""
What a scene is painted on: buffers of material, distance and glow, filled back to front.

Lengths are in picture heights: y runs from 0 (top) to 1, x from 0 to width / height. Colours are RGB in 0..1. Nothing here
knows the light; [`~modeling_pamela.data.painting.lights`] turns the buffers into a picture.
"""

import math
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from PIL import Image, ImageDraw


__all__ = ["Canvas", "Layer", "blob", "blur", "ground_noise", "noise", "rgb", "smoothstep", "stroke"]

_ATLAS = 512  # side of the tileable noise, in pixels
_TILES = 4
_SUPERSAMPLING = 3


def rgb(code: str) -> np.ndarray:
    """Colour of a hexadecimal code such as `"#ff8800"`: float32 of shape `(3,)` in 0..1."""
    return np.array([int(code[i : i + 2], 16) / 255 for i in (1, 3, 5)], np.float32)


def smoothstep(low: float | np.ndarray, high: float | np.ndarray, values: np.ndarray) -> np.ndarray:
    """0 below `low`, 1 above `high`, smooth between."""
    t = np.clip((values - low) / (high - low), 0, 1)
    return t * t * (3 - 2 * t)


@lru_cache(maxsize=1)
def _atlas() -> Image.Image:
    """Fractal noise of unit variance by spectral synthesis (amplitude ~ f^-1.7), repeated 4 x 4 times."""
    rng = np.random.default_rng(20260407)
    fy, fx = np.fft.fftfreq(_ATLAS)[:, None], np.fft.rfftfreq(_ATLAS)[None, :]
    frequency = np.hypot(fx, fy)
    frequency[0, 0] = 1
    amplitude = np.maximum(frequency, 2 / _ATLAS) ** -1.7
    amplitude[0, 0] = 0
    phase = rng.uniform(0, 2 * np.pi, amplitude.shape)
    tile = np.fft.irfft2(amplitude * np.exp(1j * phase), s=(_ATLAS, _ATLAS))
    return Image.fromarray(np.tile((tile / tile.std()).astype(np.float32), (_TILES, _TILES)))


def noise(rng: np.random.Generator, width: int, height: int, across: float = 1.0, down: float = 1.0) -> np.ndarray:
    """
    Fractal noise of about zero mean and unit variance.

    Args:
        rng (`np.random.Generator`): Chooses the place in the noise: two draws, whatever the size.
        width, height (`int`): Pixels.
        across, down (`float`): How much of the noise to show, up to 3: the larger, the finer.

    Returns:
        `np.ndarray`: float32 of shape `(height, width)`.
    """
    x, y = rng.uniform(0, _ATLAS, 2)
    box = (x, y, x + _ATLAS * across, y + _ATLAS * down)
    return np.asarray(_atlas().resize((width, height), Image.Resampling.BICUBIC, box=box))


def ground_noise(
    rng: np.random.Generator, width: int, rows: int, height: int, grain: float, stretch: float = 1.0
) -> np.ndarray:
    """
    Noise that lies on the plane below (or above) the horizon, in perspective; row 0 is at the horizon.

    Args:
        rng (`np.random.Generator`): Chooses the place in the noise.
        width, rows (`int`): Pixels to fill, from the horizon away.
        height (`int`): Pixels of the whole picture, so that the result does not depend on the size.
        grain (`float`): The larger, the finer (about 5 to 100).
        stretch (`float`): Above 1: drawn out from left to right.

    Returns:
        `np.ndarray`: float32 of shape `(rows, width)`, 0 where the plane is too far away to show anything.
    """
    centre = _ATLAS * _TILES / 2
    u, v = centre + rng.uniform(-_ATLAS / 2, _ATLAS / 2, 2)
    a, depth = grain / stretch, grain * 0.5 * height
    coefficients = (a, u, u - a * width / 2, 0, v, v + depth, 0, 1)
    plane = _atlas().transform((width, rows), Image.Transform.PERSPECTIVE, coefficients, Image.Resampling.BILINEAR)
    # Near the horizon neighbouring pixels are far apart in the noise: fade before it becomes grain.
    fade = np.linspace(0, 1, rows, dtype=np.float32)[:, None] ** 0.5
    return np.asarray(plane) * fade


def blur(values: np.ndarray, radius: float) -> np.ndarray:
    """
    Blurs by two box filters per direction, edges repeated.

    Args:
        values (`np.ndarray`): Shape `(height, width)` or `(height, width, channels)`.
        radius (`float`): Pixels.

    Returns:
        `np.ndarray`: float32 of the same shape.
    """
    # A large radius needs no resolution: work on a smaller picture.
    height, width = values.shape[:2]
    shrink = max(int(radius / 2), 1)
    small = (max(width // shrink, 1), max(height // shrink, 1))
    planes = values[:, :, None] if values.ndim == 2 else values
    out = np.empty(planes.shape, np.float32)
    for channel in range(planes.shape[2]):
        image = Image.fromarray(np.ascontiguousarray(planes[:, :, channel], np.float32)).resize(
            small, Image.Resampling.BOX
        )
        data = np.asarray(image)
        box = max(round(1.2 * radius / shrink), 1)
        for axis in (0, 1):
            for _ in range(2):
                data = _box(data, box, axis)
        out[:, :, channel] = np.asarray(Image.fromarray(data).resize((width, height), Image.Resampling.BICUBIC))
    return out.reshape(values.shape)


def _soft(line: np.ndarray, radius: float) -> np.ndarray:
    return blur(line[None].repeat(2, 0), radius)[0]


def _box(data: np.ndarray, radius: int, axis: int) -> np.ndarray:
    pad = [(0, 0), (0, 0)]
    pad[axis] = (radius, radius)
    padded = np.pad(data, pad, mode="edge")
    size = data.shape[axis]
    total = np.zeros_like(data)
    for shift in range(2 * radius + 1):
        total += padded[shift : shift + size] if axis == 0 else padded[:, shift : shift + size]
    return total / np.float32(2 * radius + 1)


def blob(x: float, y: float, rx: float, ry: float, turn: float = 0.0, points: int = 24) -> np.ndarray:
    """An ellipse, turned by `turn` radians: polygon of shape `(points, 2)`."""
    cos, sin = math.cos(turn), math.sin(turn)
    return _circle(points) @ np.array([[rx * cos, rx * sin], [-ry * sin, ry * cos]]) + (x, y)


@lru_cache
def _circle(points: int) -> np.ndarray:
    angle = np.linspace(0, 2 * np.pi, points, endpoint=False)
    return np.stack([np.cos(angle), np.sin(angle)], 1)


def stroke(points: Sequence[tuple[float, float]], start: float, end: float) -> np.ndarray:
    """A line through `points` whose width goes from `start` to `end`: polygon of shape `(2 * len(points), 2)`."""
    line = np.asarray(points, float)
    along = np.concatenate([line[1:2] - line[:1], line[2:] - line[:-2], line[-1:] - line[-2:-1]])
    half = np.linspace(start / 2, end / 2, len(line)) / np.maximum(np.hypot(along[:, 0], along[:, 1]), 1e-9)
    offset = along[:, ::-1] * (-1, 1) * half[:, None]
    return np.concatenate([line + offset, (line - offset)[::-1]])


class Layer:
    """
    Buffers of what stands in front of the sky. Colours are weighted by the cover, so that edges blend without a dark rim.

    Attributes:
        material (`np.ndarray`): Colour under white light, `(height, width, 3)`.
        cover (`np.ndarray`): 0 where the sky shows, 1 where something stands, `(height, width)`.
        depth (`np.ndarray`): 0 near to 1 at the horizon, `(height, width)`.
        glow (`np.ndarray`): Light that is given off, `(height, width, 3)`.
        water (`np.ndarray`): Share of water surface, `(height, width)`.
        has_glow, has_water (`bool`): Whether there is any.
    """

    def __init__(self, width: int, height: int) -> None:
        self.material = np.zeros((height, width, 3), np.float32)
        self.glow = np.zeros((height, width, 3), np.float32)
        self.cover = np.zeros((height, width), np.float32)
        self.depth = np.ones((height, width), np.float32)
        self.water = np.zeros((height, width), np.float32)
        self.has_water = self.has_glow = False

    def lay(
        self,
        window: tuple[slice, slice],
        alpha: np.ndarray,
        colour: np.ndarray,
        depth: float | np.ndarray,
        glow: np.ndarray | None = None,
        water: bool = False,
    ) -> None:
        """Covers `window` with a colour (of shape `(3,)` or `(h, w, 3)`) to the degree of `alpha` (`(h, w)`)."""
        keep, a = 1 - alpha, alpha[:, :, None]
        self.material[window] = self.material[window] * keep[:, :, None] + colour * a
        self.cover[window] = self.cover[window] * keep + alpha
        self.depth[window] = self.depth[window] * keep + depth * alpha
        if water or self.has_water:
            self.water[window] = self.water[window] * keep + (alpha if water else 0)
            self.has_water = True
        if glow is not None or self.has_glow:
            self.glow[window] *= keep[:, :, None]
            if glow is not None:
                self.glow[window] += glow * a
            self.has_glow = True


class Canvas:
    """
    Two layers: what stands in the picture, and what of it is mirrored in water below its own foot.

    Args:
        width, height (`int`): Pixels.
        rng (`np.random.Generator`): For the roughness of surfaces.
        sun (`float`): -1 if the light comes from the left, 1 if from the right.
        tilt (`float`): How much uprights converge: above 0 upwards (seen from below), below 0 downwards.
        horizon (`float`): y of the horizon.
    """

    def __init__(
        self, width: int, height: int, rng: np.random.Generator, sun: float, tilt: float, horizon: float
    ) -> None:
        self.width, self.height, self.aspect = width, height, width / height
        self.sun, self.tilt, self.horizon = sun, tilt, horizon
        self.front, self.mirror = Layer(width, height), Layer(width, height)
        self.x = (np.arange(width, dtype=np.float32) + 0.5) / height
        self.y = ((np.arange(height, dtype=np.float32) + 0.5) / height)[:, None]
        self.roughness = noise(rng, width, height, 1.2, 1.2)

    def fill(
        self,
        shapes: Sequence[np.ndarray],
        colour: np.ndarray,
        depth: float,
        *,
        across: float = 0.0,
        down: float = 0.0,
        rough: float = 0.06,
        alpha: float = 1.0,
        glow: np.ndarray | None = None,
        foot: float | None = None,
    ) -> None:
        """
        Paints polygons as one surface.

        Args:
            shapes (sequence of `np.ndarray`): Polygons, each of shape `(n, 2)`.
            colour (`np.ndarray`): Colour of shape `(3,)`.
            depth (`float`): 0 near to 1 far.
            across, down (`float`): How much brighter the side towards the sun, and the top, are than the opposite.
            rough (`float`): Strength of the surface's texture.
            alpha (`float`): Opacity.
            glow (`np.ndarray`, *optional*): Light given off, of shape `(3,)`.
            foot (`float`, *optional*): y of the water that the shapes stand in; they are mirrored there.
        """
        self._fill(self.front, shapes, colour, depth, across, down, rough, alpha, glow)
        if foot is not None:
            flipped = [np.stack([shape[:, 0], 2 * foot - shape[:, 1]], 1) for shape in shapes]
            self._fill(self.mirror, flipped, colour, depth, across, -down, rough, alpha, glow)

    def shine(self, shapes: Sequence[np.ndarray], glow: np.ndarray) -> None:
        """Adds a soft beam of light in the air to what has been painted so far."""
        beam = Layer(self.width, self.height)
        self._fill(beam, shapes, glow, 0, 0, 0, 0, 1, None)
        self.front.glow += blur(beam.cover, self.height * 0.006)[:, :, None] * glow
        self.front.has_glow = True

    def _fill(
        self,
        layer: Layer,
        shapes: Sequence[np.ndarray],
        colour: np.ndarray,
        depth: float,
        across: float,
        down: float,
        rough: float,
        alpha: float,
        glow: np.ndarray | None,
    ) -> None:
        scale, middle = self.height * _SUPERSAMPLING, self.aspect / 2
        points = np.concatenate(shapes)
        points[:, 0] = middle + (points[:, 0] - middle) * (1 + self.tilt * (points[:, 1] - self.horizon))
        points *= scale
        left, top = (max(int(np.floor(low / _SUPERSAMPLING)), 0) for low in points.min(0))
        right, bottom = (
            min(int(np.ceil(high / _SUPERSAMPLING)) + 1, limit)
            for high, limit in zip(points.max(0), (self.width, self.height), strict=True)
        )
        if left >= right or top >= bottom:
            return
        size = ((right - left) * _SUPERSAMPLING, (bottom - top) * _SUPERSAMPLING)
        mask = Image.new("L", size)
        draw = ImageDraw.Draw(mask)
        corners = (points - np.array([left, top]) * _SUPERSAMPLING).ravel().tolist()
        start = 0
        for shape in shapes:
            end = start + 2 * len(shape)
            draw.polygon(corners[start:end], fill=255)
            start = end
        window = (slice(top, bottom), slice(left, right))
        opacity = np.asarray(mask.reduce(_SUPERSAMPLING), np.float32) * np.float32(alpha / 255)
        shade = 1 + rough * self.roughness[window]
        if across:
            shade = shade + across * self.sun * np.linspace(-1, 1, right - left, dtype=np.float32)
        if down:
            shade = shade - down * np.linspace(-1, 1, bottom - top, dtype=np.float32)[:, None]
        layer.lay(window, opacity, colour * shade[:, :, None], depth, glow)

    def terrain(
        self,
        rng: np.random.Generator,
        base: float,
        height: float,
        colour: np.ndarray,
        depth: float,
        *,
        peaks: float = 0.0,
        summit: float | None = None,
        snow: float = 0.0,
        texture: float = 0.25,
        across: float = 1.0,
    ) -> np.ndarray:
        """
        Paints a range of hills or mountains from its ridge down to `base`.

        Args:
            rng (`np.random.Generator`): Shapes it.
            base (`float`): y of its foot.
            height (`float`): Height of its ridge above the foot.
            colour (`np.ndarray`): Colour of shape `(3,)`.
            depth (`float`): 0 near to 1 far.
            peaks (`float`): 0 rolling to 1 jagged.
            summit (`float`, *optional*): x of the highest place.
            snow (`float`): Share of the height that is under snow.
            texture (`float`): Strength of light and shade on the slopes.
            across (`float`): How much of the noise the ridge runs through.

        Returns:
            `np.ndarray`: y of the ridge at each pixel column, of shape `(width,)`.
        """
        line = _soft(noise(rng, self.width, 1, across, 0.002)[0], 0.02 * self.height)
        crags = noise(rng, self.width, 1, 2.2 * across, 0.002)[0]
        fine = _soft(crags, 0.010 * self.height)
        profile = 0.55 + 0.2 * line + peaks * (0.28 * (0.5 - np.abs(fine)) + 0.05 * (crags - fine))
        if summit is not None:
            away = np.abs(self.x - summit)
            profile = 0.55 * profile + 0.62 * np.exp(-away / 0.32) + 0.16 * np.exp(-np.abs(away - 0.42) / 0.12)
        ridge = base - height * np.clip(profile, 0.08, 1.3)
        top, bottom = max(int(ridge.min() * self.height) - 1, 0), min(int(base * self.height) + 1, self.height)
        if top >= bottom:
            return ridge
        window = (slice(top, bottom), slice(None))
        below = self.y[window[0]] - ridge
        alpha = np.clip(below * self.height + 0.5, 0, 1)
        # Creased noise: its slopes are facets that meet in ridges, and its gradient says which of them face the sun.
        relief = blur(
            noise(rng, self.width, bottom - top, 0.75, 0.45 * (bottom - top) / self.height), 0.006 * self.height
        )
        relief = np.abs(relief + 0.9 * (ridge - ridge.mean()) / height)
        slope = np.tanh(np.gradient(relief, axis=1) * self.height * 0.05)
        lit = 1 + texture * self.sun * slope - 0.25 * texture * below / height + 0.06 * self.roughness[window]
        ground = colour * lit[:, :, None]
        if snow:
            limit = base - height * (0.8 - 0.6 * snow) + 0.16 * height * (relief - 0.6 + 0.3 * slope)
            white = smoothstep(0.012, -0.012, self.y[window[0]] - limit)
            bright = np.clip(0.9 + 0.3 * self.sun * slope, 0.5, 1.1)
            ground = ground * (1 - white[:, :, None]) + bright[:, :, None] * rgb("#eef3fa") * white[:, :, None]
        self.front.lay(window, alpha, ground.astype(np.float32), depth)
        return ridge

    def plane(
        self,
        rng: np.random.Generator,
        near: np.ndarray,
        far: np.ndarray,
        *,
        top: float | None = None,
        texture: float = 0.12,
        grain: float = 60.0,
    ) -> None:
        """Paints the ground from the horizon (or `top`) down, its colour going from `far` to `near`."""
        window, down = self._below(top)
        rows = len(down)
        pattern = ground_noise(rng, self.width, rows, self.height, grain)
        colour = (far + (near - far) * down[:, :, None]) * (1 + texture * pattern[:, :, None])
        self.front.lay(window, np.ones((rows, self.width), np.float32), colour, 0.9 * (1 - down) ** 3)

    def sea(self, body: np.ndarray, *, top: float | None = None) -> None:
        """Paints water from the horizon (or `top`) down; `body` is its own colour."""
        window, down = self._below(top)
        self.front.lay(window, np.ones((len(down), self.width), np.float32), body, 0.9 * (1 - down) ** 3, water=True)

    def _below(self, top: float | None) -> tuple[tuple[slice, slice], np.ndarray]:
        first = min(round((self.horizon if top is None else top) * self.height), self.height - 1)
        rows = self.height - first
        down = np.linspace(0, 1, rows, dtype=np.float32)[:, None]
        return (slice(first, self.height), slice(None)), down
