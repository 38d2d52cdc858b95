"""Colour palettes and picture styles, applied to a lit picture: float32 arrays of shape `(height, width, 3)`, about 0..1."""

from collections.abc import Callable

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from .canvas import blur, noise, rgb, smoothstep


__all__ = ["STYLES", "grade"]

_LUMA = np.array([0.3, 0.59, 0.11], np.float32)

# From black to white, and the share of the picture's own colours that is kept.
_RAMPS = {
    "warm": (("#1c0d12", "#6b2a24", "#c9703a", "#f3bd78", "#fff3dc"), 0.42),
    "cool": (("#060f22", "#15406a", "#3f8fb0", "#a4d4de", "#f0fbfd"), 0.40),
    "pastel": (("#6f6aa0", "#ab90c4", "#e6b3c4", "#fadfcb", "#fffaf0"), 0.5),
    "monochrome": (("#0b0b0c", "#414243", "#818283", "#c3c3c2", "#fbfbf9"), 0.0),
}


def _image(picture: np.ndarray) -> Image.Image:
    return Image.fromarray((np.clip(picture, 0, 1) * 255 + 0.5).astype(np.uint8))


def _array(image: Image.Image) -> np.ndarray:
    return np.asarray(image.convert("RGB"), np.float32) / 255


def _saturate(picture: np.ndarray, amount: float) -> np.ndarray:
    grey = (picture @ _LUMA)[:, :, None]
    return grey + (picture - grey) * amount


def grade(picture: np.ndarray, palette: str) -> np.ndarray:
    """
    Draws the colours together to a palette.

    Args:
        picture (`np.ndarray`): Lit picture; what shines may exceed 1.
        palette (`str`): `"natural"`, `"vivid"`, `"warm"`, `"cool"`, `"pastel"` or `"monochrome"`.

    Returns:
        `np.ndarray`: float32 in 0..1 of the same shape.
    """
    # A shoulder instead of a clip keeps the colour of bright skies and lamps.
    picture = np.where(picture > 0.8, 0.8 + 0.2 * np.tanh((picture - 0.8) / 0.3), picture)
    picture = np.clip(picture, 0, 1).astype(np.float32)
    if palette == "natural":
        return picture
    if palette == "vivid":
        vivid = _saturate(picture, 1.9)
        return np.clip(vivid + 0.22 * (smoothstep(0, 1, vivid) - vivid) * 2, 0, 1)
    colours, keep = _RAMPS[palette]
    luma = picture @ _LUMA
    stops = np.linspace(0, 1, len(colours))
    ramp = np.stack([np.interp(luma, stops, [rgb(code)[k] for code in colours]) for k in range(3)], 2)
    return np.clip(ramp + keep * _saturate(picture - luma[:, :, None], 1.15), 0, 1).astype(np.float32)


def _photograph(picture: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Film curve, vignette and grain."""
    height, width = picture.shape[:2]
    picture = picture + 0.35 * (smoothstep(0, 1, picture) - picture)
    x, y = np.linspace(-1, 1, width, dtype=np.float32), np.linspace(-1, 1, height, dtype=np.float32)[:, None]
    picture = picture * (1 - 0.16 * (x * x + y * y))[:, :, None]
    grain = rng.standard_normal((height, width), dtype=np.float32)
    return picture + 0.008 * grain[:, :, None]


def _watercolour(picture: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Wet washes with dark rims and granulation, on white paper that shows at the border."""
    height, width = picture.shape[:2]
    wobble = height * 0.004
    small = _image(picture).resize((max(width // 2, 8), max(height // 2, 8)), Image.Resampling.BOX)
    small = small.filter(ImageFilter.MedianFilter(3))
    wash = _array(small.resize((width, height), Image.Resampling.BICUBIC))
    dx, dy = noise(rng, width, height, 1.6, 1.6), noise(rng, width, height, 1.6, 1.6)
    rows = np.clip(np.arange(height)[:, None] + dy * wobble, 0, height - 1).astype(np.intp)
    columns = np.clip(np.arange(width)[None, :] + dx * wobble, 0, width - 1).astype(np.intp)
    wash = wash[rows, columns]
    luma = wash @ _LUMA
    rim = np.clip(blur(luma, height * 0.008) - luma, 0, 0.2)
    flow = noise(rng, width, height, 0.7, 0.7)
    grain = noise(rng, width, height, 1.3, 1.3)
    # Washes multiply, as pigment does: white stays paper, and a second layer deepens the colour.
    density = np.clip(0.78 + 0.05 * flow + 0.06 * grain + 2.6 * rim, 0.3, 2)
    paint = np.clip(_saturate(wash, 1.2), 0.03, 1) ** density[:, :, None]
    x = np.minimum(np.arange(width) + 0.5, width - np.arange(width) - 0.5) / height
    y = (np.minimum(np.arange(height) + 0.5, height - np.arange(height) - 0.5) / height)[:, None]
    edge = np.minimum(x, y) + 0.005 * dx + 0.003 * grain
    inside = smoothstep(0.032, 0.040, edge)
    pool = np.exp(-(((edge - 0.044) / 0.008) ** 2)) * 0.10
    paper = rgb("#fdfaf2") * (1 + 0.014 * grain)[:, :, None]
    return paper * (1 - inside[:, :, None] * (1 - (paint - pool[:, :, None])))


def _oil(picture: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Three layers of brush strokes along the contours, coarse to fine, with the relief of thick paint."""
    height, width = picture.shape[:2]
    source = _image(_saturate(picture, 1.18)).filter(ImageFilter.BoxBlur(max(height * 0.004, 1)))
    pixels = np.asarray(source)
    luma = blur((pixels @ _LUMA) / 255, height * 0.012)
    gy, gx = np.gradient(luma)
    swirl = noise(rng, width, height, 0.35, 0.35)
    strength = np.hypot(gx, gy) * height
    angle = np.where(strength > 0.8, np.arctan2(gx, -gy), 0.25 + 0.55 * swirl)
    canvas = Image.fromarray(pixels)
    draw = ImageDraw.Draw(canvas)
    relief = Image.new("L", (width, height), 128)
    ridge = ImageDraw.Draw(relief)
    detail = np.abs(pixels @ _LUMA / 255 - luma)
    for size, step, everywhere in ((0.036, 0.028, True), (0.018, 0.016, True), (0.008, 0.0105, False)):
        gap = max(step * height, 1.5)
        columns, rows = max(int(width / gap), 1), max(int(height / gap), 1)
        spots = np.stack(np.meshgrid(np.arange(columns), np.arange(rows)), 2).reshape(-1, 2)
        spots = (spots + rng.uniform(0, 1, spots.shape)) * (width / columns, height / rows)
        spots = spots[rng.permutation(len(spots))]
        x, y = np.minimum(spots.astype(int), (width - 1, height - 1)).T
        if not everywhere:
            fine = detail[y, x] > 0.025
            spots, x, y = spots[fine], x[fine], y[fine]
        tone = 1 + rng.normal(0, 0.03, (len(spots), 1))
        colour = np.clip(pixels[y, x] * tone, 0, 255).astype(int)
        reach = size * height * 1.3 * np.stack([np.cos(angle[y, x]), np.sin(angle[y, x])], 1)
        start, end = spots - reach, spots + reach
        thick, heights = max(round(size * height * 0.75), 1), rng.integers(60, 200, len(spots))
        lines = np.concatenate([start, end], 1).tolist()
        for line, fill, level in zip(lines, map(tuple, colour.tolist()), heights.tolist(), strict=True):
            draw.line(line, fill=fill, width=thick)
            ridge.line(line, fill=level, width=thick)
    bumps = np.asarray(relief, np.float32) / 255
    shine = np.clip(bumps - np.roll(bumps, (1, 1), (0, 1)), -0.3, 0.3)
    return _array(canvas) + 0.09 * shine[:, :, None]


def _ink(picture: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Pen contours and hatching over a thin wash, on cream paper."""
    height, width = picture.shape[:2]
    luma = picture @ _LUMA
    fine, coarse = blur(luma, height * 0.0035), blur(luma, height * 0.009)
    contour = smoothstep(0.012, 0.045, coarse - fine)
    y, x = np.mgrid[0:height, 0:width].astype(np.float32) / height
    wobble = 0.004 * noise(rng, width, height, 1, 1)
    tone = blur(luma, height * 0.008)
    tone = tone / max(float(np.quantile(tone[::4, ::4], 0.95)), 0.25)  # a dark scene is not all hatching
    ink = contour
    for turn, limit in ((0.8, 0.5), (-0.75, 0.3), (0.05, 0.16)):
        wave = np.abs(np.mod((x * np.cos(turn) + y * np.sin(turn) + wobble) / 0.019, 1) - 0.5) * 2
        dark = np.clip((limit - tone) / 0.36, 0, 0.8)
        ink = np.maximum(ink, smoothstep(0.98 - dark * 0.6, 1.16 - dark * 0.6, wave + 0.08) * (dark > 0.03))
    paper = rgb("#f7f0df") * (1 + 0.012 * noise(rng, width, height, 1.3, 1.3))[:, :, None]
    wash = 1 - 0.42 * (1 - blur(_saturate(picture, 1.25), height * 0.006))
    return paper * wash * (1 - 0.93 * ink[:, :, None]) + rgb("#1b1a22") * (0.93 * ink[:, :, None])


def _poster(picture: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A screen print: a few flat colours, clean edges, a border of paper."""
    height, width = picture.shape[:2]
    luma = picture @ _LUMA
    low, high = np.quantile(luma[::4, ::4], (0.01, 0.99))
    smooth = (picture - 0.7 * low) / max(1 - 0.7 * low - 0.7 * (1 - high), 0.3)
    smooth = np.clip(_saturate(smooth, 1.35), 0, 1)
    smooth = smooth + 0.3 * (smoothstep(0, 1, smooth) - smooth)
    image = _image(smooth).filter(ImageFilter.MedianFilter(3)).filter(ImageFilter.BoxBlur(max(height * 0.006, 1)))
    inks = image.resize((96, 72), Image.Resampling.BOX).quantize(7, Image.Quantize.MAXCOVERAGE, kmeans=2)
    printed = image.quantize(palette=inks, dither=Image.Dither.NONE).convert("RGB")
    flat = _array(printed.filter(ImageFilter.MedianFilter(5)))
    flat = flat * (1 + 0.014 * noise(rng, width, height, 1.3, 1.3))[:, :, None]
    x = np.minimum(np.arange(width) + 0.5, width - np.arange(width) - 0.5) / height
    y = (np.minimum(np.arange(height) + 0.5, height - np.arange(height) - 0.5) / height)[:, None]
    inside = (np.minimum(x, y) > 0.035).astype(np.float32)[:, :, None]
    return flat * inside + rgb("#f4ecd8") * (1 - inside)


_BAYER = np.array([[0, 8, 2, 10], [12, 4, 14, 6], [3, 11, 1, 9], [15, 7, 13, 5]], np.float32) / 16 - 0.47


def _pixels(picture: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """72 rows of large pixels in 24 colours, with ordered dithering."""
    height, width = picture.shape[:2]
    rows = min(72, height)
    columns = max(round(rows * width / height), 1)
    lively = np.clip(_saturate(picture, 1.35), 0, 1)
    lively = lively + 0.35 * (smoothstep(0, 1, lively) - lively)
    small = _image(lively).resize((columns, rows), Image.Resampling.BOX)
    palette = small.quantize(24, Image.Quantize.MEDIANCUT, kmeans=1)
    pattern = np.tile(_BAYER, (rows // 4 + 1, columns // 4 + 1))[:rows, :columns, None]
    dithered = _image(_array(small) + 0.05 * pattern).quantize(palette=palette, dither=Image.Dither.NONE)
    return _array(dithered.convert("RGB").resize((width, height), Image.Resampling.NEAREST))


def _low_poly(picture: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Flat triangles whose corners cling to the contours."""
    height, width = picture.shape[:2]
    rows = 30
    columns = max(round(rows * width / height), 2)
    u, v = np.meshgrid(np.linspace(0, width, columns + 1), np.linspace(0, height, rows + 1))
    points = np.stack([u, v], 2)
    step = height / rows
    source = np.asarray(
        _image(_saturate(picture, 1.3)).filter(ImageFilter.BoxBlur(max(height * 0.009, 1))), np.float32
    )
    gy, gx = np.gradient(blur(source @ _LUMA, height * 0.004))
    edges = np.hypot(gx, gy)
    # Of a few jittered places each corner takes the one with the strongest contour.
    inner = (slice(1, -1), slice(1, -1))
    trial = points[inner] + rng.uniform(-0.46, 0.46, (9, rows - 1, columns - 1, 2)) * step
    at = np.clip(trial.astype(int), 0, (width - 1, height - 1))
    best = np.argmax(edges[at[..., 1], at[..., 0]], axis=0)
    points[inner] = np.take_along_axis(trial, best[None, :, :, None], 0)[0]

    def pick(xy: np.ndarray) -> np.ndarray:
        place = np.clip(xy.astype(int), 0, (width - 1, height - 1))
        return source[place[..., 1], place[..., 0]]

    a, b, c, d = points[:-1, :-1], points[:-1, 1:], points[1:, 1:], points[1:, :-1]
    first = np.abs(pick((2 * a + c) / 3) - pick((a + 2 * c) / 3)).sum(-1)
    second = np.abs(pick((2 * b + d) / 3) - pick((b + 2 * d) / 3)).sum(-1)
    along = (first < second)[:, :, None]
    triangles = np.concatenate(
        [
            np.stack([a, np.where(along, c, b), np.where(along, b, d)], 2).reshape(-1, 3, 2),
            np.stack([np.where(along, a, b), c, d], 2).reshape(-1, 3, 2),
        ]
    )
    centre = triangles.mean(1)
    colour = (pick(centre) * 2 + sum(pick(0.6 * centre + 0.4 * triangles[:, i]) for i in range(3))) / 5
    colour = np.clip(colour * (1 + rng.normal(0, 0.035, (len(colour), 1))), 0, 255).astype(int)
    sheet = Image.new("RGB", (2 * width, 2 * height))
    draw = ImageDraw.Draw(sheet)
    for corners, fill in zip((2 * triangles).reshape(-1, 6).tolist(), map(tuple, colour.tolist()), strict=True):
        draw.polygon(corners, fill=fill, outline=fill)
    return _array(sheet.reduce(2))


STYLES: dict[str, Callable[[np.ndarray, np.random.Generator], np.ndarray]] = {
    "photograph": _photograph,
    "watercolour": _watercolour,
    "oil painting": _oil,
    "ink drawing": _ink,
    "poster": _poster,
    "pixel art": _pixels,
    "low poly": _low_poly,
}
