"""Single things that stand in a scene: trees, houses, boats, and the shapes they are made of."""

import numpy as np

from .canvas import Canvas, blob, rgb, stroke


__all__ = [
    "balloon",
    "birds",
    "box",
    "broadleaf",
    "camel",
    "conifer",
    "foliage_frame",
    "fruit",
    "house",
    "palm",
    "panes",
    "poly",
    "ragged",
    "sail_boat",
    "tower",
]

WOOD = "#6b4a33"
LAMP = "#ffc871"
LEAVES = ("#4f7a35", "#5f8a3a", "#3f6a38")


def box(x0: float, y0: float, x1: float, y1: float) -> np.ndarray:
    """A rectangle: polygon of shape `(4, 2)`."""
    return np.array([(x0, y0), (x1, y0), (x1, y1), (x0, y1)], float)


def poly(*points: tuple[float, float]) -> np.ndarray:
    """A polygon of shape `(n, 2)`."""
    return np.array(points, float)


def ragged(rng: np.random.Generator, x: float, y: float, r: float) -> np.ndarray:
    """A round clump with an uneven rim: polygon of shape `(22, 2)`."""
    shape = blob(0, 0, r, 0.8 * r, points=22)
    return shape * (1 + rng.uniform(-0.2, 0.2, (22, 1))) + (x, y)


def conifer(
    c: Canvas,
    rng: np.random.Generator,
    x: float,
    y: float,
    h: float,
    depth: float,
    colour: str = "#2f5a3f",
    foot: float | None = None,
) -> None:
    """A fir of height `h` with its foot at (x, y)."""
    w, tiers = 0.19 * h, 7
    c.fill([stroke([(x, y), (x, y - 0.2 * h)], 0.06 * h, 0.05 * h)], rgb(WOOD), depth, across=0.3, foot=foot)
    green = rgb(colour) * rng.uniform(0.85, 1.12)
    skirts = []
    for tier in range(tiers):
        low, top = y - h * (0.1 + 0.122 * tier), y - h * min(0.36 + 0.125 * tier, 1)
        half = w * (1 - 0.125 * tier) * rng.uniform(0.9, 1.1)
        teeth = np.linspace(-half, half, 11) * (1 + rng.uniform(-0.06, 0.06, 11))
        hem = [(x + t, low + 0.022 * h * (i % 2) - 0.06 * h * (abs(t) / w) ** 1.5) for i, t in enumerate(teeth)]
        skirts.append(poly((x, top), *hem[::-1]))
    if h < 0.2:  # too small for its branches to be told apart
        c.fill(skirts, green * 0.95, depth, across=0.32, down=-0.1, rough=0.08, foot=foot)
        return
    for tier, skirt in enumerate(skirts):
        c.fill([skirt], green * (0.82 + 0.05 * tier), depth, across=0.32, down=-0.16, rough=0.08, foot=foot)


def broadleaf(
    c: Canvas,
    rng: np.random.Generator,
    x: float,
    y: float,
    h: float,
    depth: float,
    colour: str,
    foot: float | None = None,
) -> None:
    """A tree with a round crown, of height `h`."""
    lean = rng.normal(0, 0.02) * h
    trunk = [(x, y + 0.01 * h), (x + 0.3 * lean, y - 0.25 * h), (x + lean, y - 0.55 * h)]
    limbs = [stroke(trunk, 0.1 * h, 0.045 * h)]
    for side, up, reach in ((-1, 0.32, 0.24), (1, 0.38, 0.26), (-1, 0.48, 0.16), (1, 0.55, 0.14)):
        end = (x + lean + side * reach * h, y - (up + 0.25) * h)
        limbs.append(
            stroke(
                [(x + 0.5 * lean, y - up * h), (x + lean + side * 0.5 * reach * h, y - (up + 0.1) * h), end],
                0.04 * h,
                0.012 * h,
            )
        )
    c.fill(limbs, rgb(WOOD) * 0.85, depth, across=0.25, rough=0.15, foot=foot)
    base = rgb(colour)
    # Dark inside, then lighter clumps towards the light: a crown, not a ball. A far tree needs fewer.
    crown = ((16, 0.15, 0.66), (20, 0.115, 0.88), (18, 0.085, 1.08), (14, 0.055, 1.25))
    if h < 0.2:
        crown = ((7, 0.19, 0.7), (7, 0.15, 0.92), (5, 0.11, 1.15), (3, 0.08, 1.25))
    for layer, (count, size, light) in enumerate(crown):
        clumps = []
        for _ in range(count):
            angle, r = rng.uniform(0, 2 * np.pi), np.sqrt(rng.random())
            cx = x + lean + 0.36 * h * r * np.cos(angle) * (1 - 0.1 * layer) + 0.045 * h * layer * c.sun
            cy = y - 0.66 * h + 0.25 * h * r * np.sin(angle) * (1 - 0.12 * layer) - 0.035 * h * layer
            clumps.append(ragged(rng, cx, cy, size * h * rng.uniform(0.7, 1.15)))
        c.fill(clumps, base * light, depth, down=0.14, rough=0.09, foot=foot)


def palm(c: Canvas, rng: np.random.Generator, x: float, y: float, h: float, depth: float) -> None:
    """A palm of height `h`."""
    lean = rng.uniform(-0.12, 0.12) * h
    c.fill(
        [stroke([(x, y), (x + 0.25 * lean, y - 0.5 * h), (x + lean, y - h)], 0.05 * h, 0.03 * h)],
        rgb("#7d5b3a"),
        depth,
        across=0.3,
        rough=0.3,
    )
    for i, turn in enumerate(np.linspace(-0.35, np.pi + 0.35, 9)):
        reach = h * rng.uniform(0.36, 0.46)
        ex, ey = np.cos(turn), -np.sin(turn)
        mid = (x + lean + 0.6 * reach * ex, y - h + 0.55 * reach * ey - 0.06 * h)
        end = (x + lean + reach * ex, y - h + 0.75 * reach * ey + 0.14 * h)
        c.fill(
            [stroke([(x + lean, y - h), mid, end], 0.055 * h, 0.006 * h)], rgb(LEAVES[i % 3]) * 0.85, depth, rough=0.25
        )


def camel(c: Canvas, x: float, y: float, s: float, depth: float) -> None:
    """A camel of height `s`."""
    legs = [
        stroke([(x + dx * s, y), (x + dx * s, y - 0.5 * s)], 0.07 * s, 0.1 * s) for dx in (-0.33, -0.2, 0.22, 0.34)
    ]
    body = [blob(x, y - 0.62 * s, 0.42 * s, 0.17 * s), blob(x - 0.05 * s, y - 0.82 * s, 0.15 * s, 0.14 * s)]
    neck = stroke(
        [(x + 0.35 * s, y - 0.62 * s), (x + 0.55 * s, y - 0.68 * s), (x + 0.6 * s, y - 1.02 * s)], 0.15 * s, 0.1 * s
    )
    head = blob(x + 0.68 * s, y - 1.04 * s, 0.12 * s, 0.06 * s, 0.2)
    c.fill([*legs, *body, neck, head], rgb("#6b4728"), depth, rough=0.1)


def birds(c: Canvas, rng: np.random.Generator) -> None:
    """A few birds, far away."""
    shapes = []
    x0, y0 = c.aspect * rng.uniform(0.15, 0.8), c.horizon * rng.uniform(0.2, 0.5)
    for _ in range(int(rng.integers(3, 8))):
        x, y, s = x0 + rng.normal(0, 0.09), y0 + rng.normal(0, 0.04), rng.uniform(0.008, 0.017)
        shapes.append(stroke([(x - s, y - 0.5 * s), (x - 0.4 * s, y - 0.75 * s), (x, y)], 0.0015, 0.0035))
        shapes.append(stroke([(x, y), (x + 0.4 * s, y - 0.75 * s), (x + s, y - 0.5 * s)], 0.0035, 0.0015))
    c.fill(shapes, rgb("#2b2b33"), 0.3, rough=0)


def house(
    c: Canvas,
    x: float,
    y: float,
    s: float,
    depth: float,
    wall: str = "#f0e6d2",
    roof: str = "#9c4a36",
    foot: float | None = None,
) -> None:
    """A cottage seen at an angle: gable end and long side; `s` is its height to the ridge."""
    k = c.sun
    g, long_, eave = 0.55 * s, 0.95 * s, 0.52 * s  # half gable width, length, height of the eaves
    x0 = x - k * 0.3 * s
    front = poly(
        (x0 + g * 0.62 * k, y),
        (x0 + g * 0.62 * k, y - eave),
        (x0, y - s),
        (x0 - g * 0.62 * k, y - eave),
        (x0 - g * 0.62 * k, y),
    )
    flank = poly(
        (x0 + g * 0.62 * k, y),
        (x0 + g * 0.62 * k + long_ * k, y - 0.03 * s),
        (x0 + g * 0.62 * k + long_ * k, y - eave),
        (x0 + g * 0.62 * k, y - eave),
    )
    c.fill([flank], rgb(wall), depth, rough=0.03, foot=foot)
    c.fill([front], rgb(wall) * 0.8, depth, rough=0.03, foot=foot)
    tiles = poly(
        (x0 + g * 0.72 * k, y - eave + 0.05 * s),
        (x0 + (g * 0.72 + long_ * 1.02) * k, y - eave + 0.05 * s),
        (x0 + (long_ * 0.98) * k, y - s),
        (x0 - 0.03 * s * k, y - s * 1.01),
    )
    chimney = box(x0 + 0.62 * long_ * k - 0.05 * s, y - 1.22 * s, x0 + 0.62 * long_ * k + 0.06 * s, y - 0.86 * s)
    c.fill([chimney], rgb("#8c5a48"), depth, across=0.2, foot=foot)
    c.fill([tiles], rgb(roof), depth, rough=0.2, down=0.08, foot=foot)
    rows = [
        stroke(
            [
                (x0 + (0.1 + 0.6 * t) * g * k, y - s + t * (s - eave)),
                (x0 + (0.1 + 0.62 * t) * g * k + long_ * k, y - s + t * (s - eave)),
            ],
            0.008 * s,
            0.008 * s,
        )
        for t in (0.25, 0.5, 0.75)
    ]
    c.fill(rows, rgb(roof) * 0.75, depth)
    gable = [
        stroke(
            [(x0 + g * 0.76 * k, y - eave + 0.08 * s), (x0, y - s * 1.02), (x0 - g * 0.76 * k, y - eave + 0.08 * s)],
            0.06 * s,
            0.06 * s,
        )
    ]
    c.fill(gable, rgb(roof) * 0.7, depth, foot=foot)
    panes, frames = [], []
    for cx, cy, w, h in (
        (x0, y - 0.33 * s, 0.1, 0.2),
        (x0 + (g * 0.62 + 0.26 * long_) * k, y - 0.31 * s, 0.1, 0.2),
        (x0 + (g * 0.62 + 0.76 * long_) * k, y - 0.31 * s, 0.1, 0.2),
        (x0, y - 0.68 * s, 0.06, 0.11),
    ):
        frames.append(box(cx - (w + 0.02) * s, cy - (h / 2 + 0.02) * s, cx + (w + 0.02) * s, cy + (h / 2 + 0.03) * s))
        panes.append(box(cx - w * s, cy - h / 2 * s, cx - 0.012 * s, cy + h / 2 * s))
        panes.append(box(cx + 0.012 * s, cy - h / 2 * s, cx + w * s, cy + h / 2 * s))
    c.fill(frames, rgb("#fbf6ea"), depth)
    c.fill(panes, rgb("#56707e"), depth, glow=rgb(LAMP), foot=foot)
    dx = x0 + (g * 0.62 + 0.51 * long_) * k
    c.fill([box(dx - 0.075 * s, y - 0.38 * s, dx + 0.075 * s, y - 0.015 * s)], rgb("#7a3f2c"), depth, across=0.1)


def sail_boat(c: Canvas, x: float, y: float, s: float, depth: float, white: str, stripe: str) -> None:
    """A sloop whose mast is `s` high, mirrored in the water."""
    k, mast = -c.sun, x - 0.02 * s
    c.fill(
        [
            poly(
                (mast + 0.018 * s * k, y - 0.2 * s),
                (mast + 0.02 * s * k, y - 0.97 * s),
                (mast + 0.3 * s * k, y - 0.55 * s),
                (mast + 0.4 * s * k, y - 0.2 * s),
            )
        ],
        rgb(white),
        depth,
        across=0.14,
        rough=0.03,
        foot=y,
    )
    c.fill(
        [
            poly(
                (mast - 0.02 * s * k, y - 0.86 * s),
                (mast - 0.22 * s * k, y - 0.5 * s),
                (mast - 0.36 * s * k, y - 0.17 * s),
                (mast - 0.03 * s * k, y - 0.2 * s),
            )
        ],
        rgb(stripe),
        depth,
        across=0.14,
        rough=0.03,
        foot=y,
    )
    c.fill(
        [
            stroke([(mast, y - 0.05 * s), (mast, y - s)], 0.022 * s, 0.012 * s),
            stroke([(mast, y - 0.18 * s), (mast + 0.42 * s * k, y - 0.175 * s)], 0.014 * s, 0.01 * s),
        ],
        rgb(WOOD),
        depth,
        foot=y,
    )
    hull = poly(
        (x - 0.4 * s, y - 0.13 * s),
        (x - 0.29 * s, y + 0.01 * s),
        (x + 0.3 * s, y + 0.01 * s),
        (x + 0.45 * s, y - 0.15 * s),
        (x + 0.1 * s, y - 0.11 * s),
    )
    c.fill([hull], rgb("#7b3b2a"), depth, across=0.1, down=0.25, foot=y)
    c.fill(
        [
            poly(
                (x - 0.4 * s, y - 0.13 * s),
                (x + 0.1 * s, y - 0.11 * s),
                (x + 0.45 * s, y - 0.15 * s),
                (x + 0.42 * s, y - 0.115 * s),
                (x + 0.1 * s, y - 0.08 * s),
                (x - 0.38 * s, y - 0.1 * s),
            )
        ],
        rgb("#efe6d4"),
        depth,
        foot=y,
    )
    c.fill([blob(x + 0.36 * s * k, y - 0.17 * s, 0.018 * s, 0.018 * s)], rgb("#fff3c4"), depth, glow=rgb(LAMP), foot=y)


def tower(
    c: Canvas,
    rng: np.random.Generator,
    x: float,
    y: float,
    w: float,
    h: float,
    depth: float,
    tone: np.ndarray,
    quay: float,
) -> None:
    """A city block of `w` x `h` with windows."""
    c.fill([box(x - w / 2, y - h, x + w / 2, y)], tone, depth, across=0.12, rough=0.04, foot=quay)
    roof = rng.random()
    if roof < 0.3:
        c.fill([box(x - 0.3 * w, y - 1.07 * h, x + 0.3 * w, y - h)], tone * 0.9, depth, across=0.12, foot=quay)
    elif roof < 0.45:
        c.fill(
            [poly((x - w / 2, y - h), (x, y - h - 0.5 * w), (x + w / 2, y - h))],
            tone * 0.8,
            depth,
            across=0.2,
            foot=quay,
        )
    panes(c, rng, x, y, w, h, depth, quay)


def panes(
    c: Canvas, rng: np.random.Generator, x: float, y: float, w: float, h: float, depth: float, quay: float
) -> None:
    """Windows, some of them lit."""
    step = 0.0135 if depth > 0.3 else 0.017
    columns, rows = max(int(w / step), 2), max(int(h / (1.25 * step)), 2)
    px = x - w / 2 + w * (np.arange(columns) + 0.5) / columns
    py = y - h * (np.arange(rows) + 0.5) / rows
    middle = np.stack(np.meshgrid(px, py), 2).reshape(-1, 1, 2)
    all_panes = middle + box(-0.28 * w / columns, -0.3 * h / rows, 0.28 * w / columns, 0.3 * h / rows)
    on = rng.random(len(all_panes)) < 0.24
    lit, dark = list(all_panes[on]), list(all_panes[~on])
    if dark:
        c.fill(dark, rgb("#4f6274"), depth, alpha=0.55, rough=0)
    if lit:
        c.fill(
            lit,
            rgb("#5d7488"),
            depth,
            alpha=0.75,
            rough=0.1,
            glow=rgb("#ffc877") * 0.9,
            foot=quay if depth < 0.5 else None,
        )


def fruit(c: Canvas, x: float, y: float, r: float, colour: str) -> None:
    """A round fruit of radius `r`."""
    c.fill([blob(x, y, r, 0.95 * r, points=32)], rgb(colour) * 0.72, 0.045, across=0.2, rough=0.04)
    c.fill([blob(x + 0.13 * r * c.sun, y - 0.1 * r, 0.78 * r, 0.75 * r)], rgb(colour), 0.045, across=0.15, rough=0.05)
    c.fill(
        [blob(x + 0.36 * r * c.sun, y - 0.38 * r, 0.2 * r, 0.13 * r, 0.6 * c.sun)], rgb("#ffffff"), 0.045, alpha=0.6
    )
    c.fill([stroke([(x, y - 0.8 * r), (x + 0.1 * r, y - 1.15 * r)], 0.08 * r, 0.06 * r)], rgb("#4a3420"), 0.045)


def balloon(c: Canvas, x: float, y: float, r: float, depth: float, hues: tuple[str, str]) -> None:
    """A hot-air balloon whose envelope has radius `r`, in two colours."""
    t = np.linspace(0, np.pi, 30)
    half = np.where(t < np.pi / 2, np.sin(t), np.sin(t) ** 0.8 * (1 - 0.32 * (t / np.pi - 0.5)))
    half = np.maximum(half * r, np.where(t > 2.5, 0.16 * r, 0))
    height = -np.cos(t) * r + np.where(t > np.pi / 2, 0.34 * r * (t / np.pi - 0.5) * 2, 0)
    gores = 8
    for i in range(gores):
        a, b = -np.cos(np.pi * i / gores), -np.cos(np.pi * (i + 1) / gores)
        gore = np.concatenate([np.stack([x + a * half, y + height], 1), np.stack([x + b * half, y + height], 1)[::-1]])
        tone = 0.97 + 0.3 * c.sun * (0.5 * (a + b))
        c.fill([gore], rgb(hues[i % 2]) * tone, depth, rough=0.04, down=0.14, glow=rgb(hues[i % 2]) * 0.32)
    low = y + height[-1]
    c.fill(
        [stroke([(x + k * 0.13 * r, low), (x + k * 0.09 * r, low + 0.36 * r)], 0.014 * r, 0.014 * r) for k in (-1, 1)],
        rgb("#3d2f26"),
        depth,
    )
    c.fill(
        [box(x - 0.12 * r, low + 0.34 * r, x + 0.12 * r, low + 0.54 * r)],
        rgb("#8a5a34"),
        depth,
        across=0.25,
        rough=0.2,
    )
    c.fill([blob(x, low + 0.1 * r, 0.03 * r, 0.07 * r, points=10)], rgb("#ffd890"), depth, glow=rgb("#ffb45a") * 1.4)


def foliage_frame(c: Canvas, rng: np.random.Generator) -> None:
    """Dark leaves of a near tree around the picture, thickest in the upper corners."""
    corner = 1 if rng.random() < 0.5 else -1
    for tone in (0.55, 0.8, 1.0):
        leaves, twigs = [], []
        for _ in range(150):
            along, deep = rng.random(), abs(rng.normal(0, 0.075))
            place = rng.random()
            if place < 0.5:
                x, y = along * c.aspect, deep * (0.7 + 1.1 * abs(2 * along - 1) ** 2)
            else:
                side = place < (0.78 if corner > 0 else 0.72)
                y = along
                x = deep * (1.3 - 0.5 * along) if side else c.aspect - deep * (1.3 - 0.5 * along)
            size = rng.uniform(0.02, 0.045)
            leaves.append(blob(x, y, size, 0.36 * size, rng.uniform(0, np.pi), 12))
        for _ in range(5):
            x0 = 0.0 if rng.random() < 0.5 else c.aspect
            reach = rng.uniform(0.15, 0.4) * (1 if x0 == 0 else -1)
            y0 = rng.uniform(-0.02, 0.25)
            twigs.append(stroke([(x0, y0), (x0 + 0.5 * reach, y0 + 0.02), (x0 + reach, y0 + 0.08)], 0.018, 0.004))
        c.fill(twigs, rgb("#2e2218"), 0.0)
        c.fill(leaves, rgb("#24402a") * tone, 0.0, rough=0.3)
