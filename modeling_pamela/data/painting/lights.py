"""Lights and weathers: from the buffers of a [`~modeling_pamela.data.painting.canvas.Canvas`] to a picture."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from .canvas import Canvas, Layer, blur, ground_noise, noise, rgb, smoothstep, stroke


__all__ = ["LIGHTS", "Light", "illuminate"]

Streams = Callable[[str], np.random.Generator]


@dataclass(frozen=True)
class Light:
    """
    How a scene is lit.

    Attributes:
        zenith, middle, skyline (`str`): Colours of the sky from top to horizon.
        tint (`str`): Colour of the light on what stands in it.
        strength (`float`): Of that light.
        haze (`float`): How fast distance fades into the sky's colour.
        clouds (`str`), shaded (`str`): Colours of the clouds' bright and dark sides.
        cover (`float`): How much of the sky they cover, about -2 (none) to 2 (all).
        sun (`str` or `None`): Colour of the sun or moon; `None` where it is behind clouds or out of the picture.
        disc (`tuple`): Its height above the horizon (as a share of the sky), and its radius.
        halo (`float`): Strength of the glow around it.
        lamps (`float`): Strength of windows and lamps.
    """

    zenith: str
    middle: str
    skyline: str
    tint: str
    strength: float
    haze: float
    clouds: str
    shaded: str
    cover: float
    sun: str | None
    disc: tuple[float, float]
    halo: float
    lamps: float


LIGHTS = {
    "noon": Light(
        "#2f6fbf", "#6ba8de", "#cfe4f2", "#fffaf0", 1.06, 0.55, "#ffffff", "#c3d2e2", -0.15, None, (1.4, 0.0), 0.0, 0.0
    ),
    "dusk": Light(
        "#3a3a6e", "#c8627a", "#ffbe6e", "#ffb98c", 0.62, 0.85, "#ffb27c", "#7a4a78", 0.1, "#fff0b8", (0.2, 0.045), 0.9, 0.9
    ),
    "night": Light(
        "#060a1e", "#101c40", "#2b4270", "#93a9e6", 0.6, 0.85, "#2c3c66", "#0e1530", -0.4, "#f4f2e2", (0.72, 0.042), 0.42, 1.3
    ),
    "fog": Light(
        "#c3c9cc", "#cfd4d5", "#dadddc", "#e9ecec", 0.8, 3.2, "#d8dcdc", "#d0d4d5", 2.5, "#f7f4ea", (0.62, 0.05), 0.22, 0.25
    ),
    "storm": Light(
        "#262d38", "#454f58", "#8f9a90", "#b4c0c4", 0.66, 0.9, "#75818a", "#1c222c", 1.5, None, (1.4, 0.0), 0.0, 0.7
    ),
}  # fmt: skip


def illuminate(canvas: Canvas, name: str, streams: Streams, calm: bool, ripple: float = 1.0) -> np.ndarray:
    """
    Lights a painted canvas.

    Args:
        canvas (`Canvas`): What stands in the picture.
        name (`str`): One of [`LIGHTS`].
        streams (callable): Gives the random generator of a purpose.
        calm (`bool`): An empty sky and still water.
        ripple (`float`): Roughness of the water.

    Returns:
        `np.ndarray`: float32 of shape `(height, width, 3)`, about 0..1, brighter where it shines.
    """
    light = LIGHTS[name]
    disc = _disc(canvas, light, streams("sun"))
    sky = _sky(canvas, name, light, disc, streams, calm)
    air = sky[min(max(int(canvas.horizon * canvas.height) - 2, 0), canvas.height - 1)]
    air = blur(air[None].repeat(3, 0), canvas.height * 0.03)[1]

    def lit(layer: Layer) -> np.ndarray:
        cover = layer.cover[:, :, None]
        haze = 1 - np.exp(-light.haze * np.clip(layer.depth, 0, 1) ** 1.5)[:, :, None]
        surface = layer.material * (rgb(light.tint) * light.strength)
        return surface * (1 - haze) + air * haze * cover + layer.glow * light.lamps * (1 - 0.6 * haze)

    front = lit(canvas.front)
    glow = canvas.front.glow * light.lamps
    if light.lamps and canvas.front.has_glow:
        front = front + 0.6 * blur(glow, canvas.height * 0.012) + 0.5 * blur(glow, canvas.height * 0.05)
        front = front + 0.8 * blur(glow, canvas.height * 0.25) * (0.2 + canvas.front.material)
    picture = front + (1 - canvas.front.cover[:, :, None]) * sky
    if canvas.front.has_water:
        mirror = lit(canvas.mirror)
        picture = _water(
            canvas, picture, mirror, sky, light, disc, streams("water"), 0.45 * ripple if calm else ripple
        )
    if disc is not None and light.halo:
        x, y, radius = disc
        distance = np.hypot(canvas.x - x, canvas.y - y)
        flare = np.exp(-((distance / (radius * 5)) ** 1.2)) * light.halo * 0.22
        picture = picture + flare[:, :, None] * rgb(light.sun or "#ffffff")
    if name == "fog":
        drift = noise(streams("drift"), canvas.width, canvas.height, 0.35, 1.2)
        low = np.clip(1 - np.abs(canvas.y - canvas.horizon - 0.06) / 0.28, 0, 1)
        veil = np.clip(0.2 + 0.5 * low + 0.16 * drift, 0, 0.85) * (
            0.1 + 0.9 * smoothstep(0.03, 0.4, canvas.front.depth)
        )
        veil = veil[:, :, None]
        picture = picture * (1 - veil) + rgb(light.skyline) * veil
    if name == "storm":
        picture = _rain(canvas, picture, streams("rain"))
    return picture.astype(np.float32)


def _disc(canvas: Canvas, light: Light, rng: np.random.Generator) -> tuple[float, float, float] | None:
    side = rng.uniform(0.18, 0.34)
    if light.sun is None:
        return None
    x = canvas.aspect * (1 - side if canvas.sun > 0 else side)
    return x, max(canvas.horizon * (1 - light.disc[0]), 0.09), light.disc[1]


def _sky(
    canvas: Canvas,
    name: str,
    light: Light,
    disc: tuple[float, float, float] | None,
    streams: Streams,
    calm: bool,
) -> np.ndarray:
    height, width = canvas.height, canvas.width
    up = np.clip(1 - canvas.y / max(canvas.horizon, 0.3), 0, 1)  # 0 at the horizon
    low, middle, top = rgb(light.skyline), rgb(light.middle), rgb(light.zenith)
    a, b = smoothstep(0, 0.45, up)[:, :, None], smoothstep(0.3, 1.0, up)[:, :, None]
    sky = np.broadcast_to((low * (1 - a) + middle * a) * (1 - b) + top * b, (height, width, 3)).copy()
    if name == "night":
        sky += _stars(canvas, streams("stars"))[:, :, None]
    if disc is not None:
        x, y, radius = disc
        distance = np.hypot(canvas.x - x, canvas.y - y)
        near = np.exp(-distance / 0.42)[:, :, None] * light.halo * 0.55
        sky = sky * (1 - 0.5 * near) + rgb(light.sun or "#ffffff") * (
            near * rgb(light.skyline if name == "dusk" else light.sun or "#ffffff")
        )
        round_ = smoothstep(radius + 0.6 / height, radius - 0.6 / height, distance)[:, :, None]
        face = rgb(light.sun or "#ffffff")
        if name == "night":  # the moon's seas
            face = face * (0.92 + 0.06 * noise(streams("moon"), width, height, 1.4, 1.2))[:, :, None]
        sky = sky * (1 - round_) + face * round_ * (0.75 if name == "fog" else 1.0)
    cover = light.cover - (0.9 if calm and name != "storm" else 0)
    rows = max(int(canvas.horizon * height), 2)
    layer = ground_noise(streams("clouds"), width, rows, height, 62, 1.5)[::-1]
    puffs = noise(streams("puffs"), width, rows, 0.9, 1.2 * rows / height)
    shape = (
        blur(0.7 * layer + 0.65 * puffs, height * 0.004)
        + 0.12 * (layer + puffs)
        + cover
        + streams("weather").normal(0, 0.25)
    )
    amount = smoothstep(0.15, 1.15, shape) * smoothstep(0, 0.16, up[:rows])
    if name == "night":
        amount = amount * 0.75
    # Bright towards the light: the cloud is thinner there than a little further away from it.
    step = max(height // 36, 1)
    thicker = np.roll(shape, step, axis=0) if name != "dusk" else np.roll(shape, -step, axis=0)
    side = np.clip(0.5 + 0.55 * (shape - thicker) - 0.16 * (shape - 0.6), 0, 1)[:, :, None]
    colour = rgb(light.shaded) * (1 - side) + rgb(light.clouds) * side
    if name == "dusk":  # burning near the sun
        colour = colour * (0.8 + 0.35 * (1 - up[:rows, :, None]))
    amount = amount[:, :, None]
    sky[:rows] = sky[:rows] * (1 - amount) + colour * amount
    if name == "storm":
        sky = _lightning(canvas, sky, streams("bolt"))
    return sky


def _stars(canvas: Canvas, rng: np.random.Generator) -> np.ndarray:
    field = np.zeros((canvas.height, canvas.width), np.float32)
    count = 220
    x = (rng.random(count) * canvas.width).astype(int)
    y = (rng.random(count) ** 1.3 * canvas.height * canvas.horizon).astype(int)
    brightness = rng.random(count) ** 3
    size = max(round(canvas.height / 400), 1)
    for dx in range(size):
        for dy in range(size):
            field[np.minimum(y + dy, canvas.height - 1), np.minimum(x + dx, canvas.width - 1)] = brightness
    band = noise(rng, canvas.width, canvas.height, 0.8, 0.8)
    along = np.abs(canvas.y - 0.1 - 0.5 * (canvas.x / canvas.aspect)) / 0.16
    return field + 0.05 * np.exp(-(along**2)) * np.clip(1 + 0.6 * band, 0, 2)


def _lightning(canvas: Canvas, sky: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    x, end = canvas.aspect * rng.uniform(0.15, 0.85), canvas.horizon
    y = np.linspace(-0.02, end, 14)
    path = x + np.cumsum(rng.normal(0, 0.022, 14))
    fork = int(rng.integers(4, 8))
    branch = path[fork] + np.cumsum(rng.normal(0.03 * rng.choice([-1, 1]), 0.015, 6)) - 0.0
    sheet = Canvas(canvas.width, canvas.height, rng, 1, 0, end)
    bolt = [stroke(list(zip(path, y, strict=True)), 0.007, 0.003)]
    bolt.append(stroke(list(zip([path[fork], *branch], y[fork : fork + 7], strict=True)), 0.004, 0.0015))
    sheet.fill(bolt, rgb("#ffffff"), 0, rough=0)
    core = sheet.front.cover
    shine = core + 0.8 * blur(core, canvas.height * 0.012) + 1.8 * blur(core, canvas.height * 0.07)
    return sky + shine[:, :, None] * rgb("#d5d8ff")


def _rain(canvas: Canvas, picture: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    sheet = Canvas(canvas.width, canvas.height, rng, 1, 0, 1)
    x, y = rng.uniform(-0.1, canvas.aspect + 0.1, 170), rng.uniform(-0.1, 1, 170)
    length = rng.uniform(0.03, 0.11, 170)
    for shift, (lo, hi) in zip((0.3, 0.55), ((0, 110), (110, 170)), strict=True):
        drops = [
            stroke([(x[i], y[i]), (x[i] - 0.22 * length[i], y[i] + length[i])], 0.0026, 0.0012) for i in range(lo, hi)
        ]
        sheet.fill(drops, rgb("#ffffff"), 0, rough=0, alpha=shift)
    # Only what is some way off stands in the rain: a window keeps it outside.
    streaks = (sheet.front.cover * smoothstep(0.1, 0.16, canvas.front.depth))[:, :, None]
    return picture * (1 - 0.35 * streaks) + 0.35 * streaks * rgb("#c9d4da")


def _water(
    canvas: Canvas,
    picture: np.ndarray,
    mirror: np.ndarray,
    sky: np.ndarray,
    light: Light,
    disc: tuple[float, float, float] | None,
    rng: np.random.Generator,
    ripple: float,
) -> np.ndarray:
    """Water shows what lies above the horizon, upside down, plus the mirror layer, both shaken by waves."""
    height, width = canvas.height, canvas.width
    first = int(np.argmax(canvas.front.water.any(axis=1)))
    rows = height - first
    waves = ground_noise(rng, width, rows, height, 105, 3.0)
    down = np.linspace(0, 1, rows, dtype=np.float32)[:, None]
    amplitude = height * 0.022 * ripple * (0.25 + down)
    row = np.arange(rows)[:, None]
    shaken = row + waves * amplitude
    column = np.clip(np.arange(width)[None, :] + waves * amplitude * 0.35, 0, width - 1).astype(np.intp)
    # What lies above the water's edge is mirrored there; further down than it reaches, the open sky is.
    source = np.clip(first - 1 - np.abs(shaken), 0, first - 1).astype(np.intp)
    reflection = picture[:first][source, column]
    beyond = smoothstep(0.55, 1.0, row / first)[:, :, None]
    reflection = reflection * (1 - beyond) + sky[: max(first // 3, 1) : 4].mean((0, 1)) * beyond
    own_row = np.clip(first + shaken, first, height - 1).astype(np.intp)
    reflection = reflection * (1 - canvas.mirror.cover[own_row, column][:, :, None]) + mirror[own_row, column]
    grazing = (0.86 - 0.42 * down)[:, :, None]
    body = canvas.front.material[first:] * (rgb(light.tint) * light.strength * 0.9) + 0.1 * sky[first - 1]
    surface = reflection * grazing + body * (1 - grazing)
    surface = surface * (1 + 0.10 * ripple * waves * (0.3 + down))[:, :, None]
    if disc is not None and light.halo:
        x, _, radius = disc
        spread = radius * (1.0 + 2.6 * down)
        path = np.exp(-(((canvas.x - x) / spread) ** 2)) * smoothstep(-0.2, 1.1, waves + 0.25 * (1 - down))
        surface = surface + (path * light.halo * 0.85)[:, :, None] * rgb(light.sun or "#ffffff") * rgb(
            light.skyline if light.lamps < 1 else "#ffffff"
        )
    # Foam and glints on the crests.
    crest = smoothstep(1.5, 2.2, waves)[:, :, None] * 0.25 * ripple
    surface = surface * (1 - crest) + crest * (0.3 + 0.7 * rgb(light.skyline))
    share = canvas.front.water[first:, :, None]
    out = picture.copy()
    # `material` of the water itself was lit as if it were ground: take that share out.
    out[first:] = picture[first:] * (1 - share) + surface * share
    return out
