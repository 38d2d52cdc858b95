"""Subjects that people made; each function paints one with its surroundings, back to front."""

import numpy as np

from .canvas import Canvas, blob, rgb, stroke
from .landscapes import GRASS_FAR, View, grass, meadow
from .objects import (
    LAMP,
    LEAVES,
    balloon,
    birds,
    box,
    broadleaf,
    conifer,
    fruit,
    house,
    panes,
    poly,
    ragged,
    sail_boat,
    tower,
)


__all__ = ["balloons", "castle", "city", "cottage", "lighthouse", "sailing_boat", "still_life"]


def lighthouse(c: Canvas, v: View) -> None:
    rng = v.stream("coast")
    if not v.spare:
        c.terrain(rng, c.horizon + 0.004, 0.05, rgb("#75889a"), 0.9, across=0.5)
    c.sea(rgb("#1d4f66"))
    if not v.spare:
        birds(c, v.stream("birds"))
    s, x, y = 0.42 * v.scale, v.x, v.foot - 0.05
    side = 1 if x > c.aspect / 2 else -1
    water = v.foot + 0.05
    if v.spare:
        rock = [
            (x - 0.3 * s, water),
            (x - 0.24 * s, y + 0.02),
            (x - 0.1 * s, y),
            (x + 0.14 * s, y),
            (x + 0.26 * s, y + 0.03),
            (x + 0.36 * s, water),
        ]
    else:
        reach = np.linspace(0, 1, 9)
        rim = [
            (x - side * 0.5 * s + side * t * 3 * s, y - 0.01 + 0.02 * rng.normal() + (0.05 if t in (0, 1) else 0))
            for t in reach
        ]
        rock = [
            (x - side * 0.62 * s, water),
            *rim,
            (x + side * 2.7 * s, water + 0.05),
            (x + side * s, water + 0.035),
            (x, water + 0.012),
        ]
    c.fill([poly(*rock)], rgb("#7d7266"), 0.2, rough=0.16, down=0.25, foot=water)
    crown = [(px, py) for px, py in rock if py < y + 0.045]
    c.fill([poly(*crown, *[(px, py + 0.025) for px, py in crown[::-1]])], rgb("#6d8a4a"), 0.2, rough=0.25)
    boulders = [
        ragged(rng, x + rng.normal(0, 0.35) * s, water + rng.uniform(-0.004, 0.02), rng.uniform(0.012, 0.04) * v.scale)
        for _ in range(14)
    ]
    c.fill(boulders, rgb("#544c46"), 0.18, down=0.3, rough=0.25)
    if not v.spare:
        hx = x + side * 0.42 * s
        house(c, hx, y + 0.005, 0.2 * s, 0.2, wall="#efe8dc", roof="#a5493a")
    r0, r1, top = 0.095 * s, 0.062 * s, y - s
    bands = 7
    for i in range(bands):
        a, b = i / bands, (i + 1) / bands
        wa, wb = r0 + (r1 - r0) * a, r0 + (r1 - r0) * b
        ya, yb = y - s * 0.84 * a, y - s * 0.84 * b
        part = poly((x - wa, ya), (x + wa, ya), (x + wb, yb), (x - wb, yb))
        c.fill([part], rgb("#c23b32" if i % 2 else "#f4efe6"), 0.18, across=0.28, rough=0.03, foot=water)
    for i in (1, 3, 5):
        wy = y - s * 0.84 * (i + 0.5) / bands
        c.fill(
            [box(x - 0.013 * s, wy - 0.03 * s, x + 0.013 * s, wy + 0.01 * s)],
            rgb("#2d3138"),
            0.18,
            glow=rgb(LAMP) * 0.6,
        )
    gy = y - 0.84 * s
    c.fill([box(x - 0.095 * s, gy - 0.022 * s, x + 0.095 * s, gy)], rgb("#333a42"), 0.18, across=0.25, foot=water)
    c.fill(
        [box(x - 0.05 * s, gy - 0.1 * s, x + 0.05 * s, gy - 0.022 * s)],
        rgb("#fff3c4"),
        0.18,
        glow=rgb("#ffe9a8") * 1.3,
        foot=water,
    )
    posts = [
        stroke([(x + q * s, gy - 0.055 * s), (x + q * s, gy)], 0.008 * s, 0.008 * s)
        for q in (-0.09, -0.045, 0.045, 0.09)
    ]
    rail = stroke([(x - 0.095 * s, gy - 0.055 * s), (x + 0.095 * s, gy - 0.055 * s)], 0.007 * s, 0.007 * s)
    bar = box(x - 0.004 * s, gy - 0.1 * s, x + 0.004 * s, gy - 0.02 * s)
    c.fill([bar, rail, *posts], rgb("#333a42"), 0.18)
    c.fill(
        [poly((x - 0.065 * s, gy - 0.1 * s), (x, top - 0.02 * s), (x + 0.065 * s, gy - 0.1 * s))],
        rgb("#b0372f"),
        0.18,
        across=0.3,
        foot=water,
    )
    lamp = gy - 0.06 * s
    for length in (0.35, 0.7, 1.2):  # nested, so that the beam fades with the distance
        for way, rise in ((-side, -0.1), (side, -0.02)):
            end = x + way * length
            high, low = lamp + (rise - 0.07) * length, lamp + (rise + 0.07) * length
            c.shine([poly((x, lamp), (end, high), (end, low))], rgb("#fff0c0") * 0.13)


def sailing_boat(c: Canvas, v: View) -> None:
    rng = v.stream("coast")
    if not v.spare:
        c.terrain(rng, c.horizon + 0.004, 0.13, rgb("#6f8598"), 0.9, peaks=0.5, across=0.45)
        c.terrain(rng, c.horizon + 0.004, 0.06, rgb("#5f7a62"), 0.75, across=0.7)
    c.sea(rgb("#17566e"))
    if not v.spare:
        birds(c, v.stream("birds"))

    if not v.spare:
        for _ in range(3):
            x = c.aspect * rng.random()
            sail_boat(c, x, c.horizon + 0.02 + 0.02 * rng.random(), 0.07 * v.scale, 0.6, "#f1ece2", "#e7ddcc")
    stripe = ("#c8473a", "#e2a33b", "#3f78a8", "#f0e9dc")[int(rng.integers(4))]
    sail_boat(c, v.x, v.foot, 0.52 * v.scale, 0.15, "#f6f1e6", stripe)


def cottage(c: Canvas, v: View) -> None:
    rng = v.stream("cottage")
    meadow(c, v)
    s, x, y = 0.27 * v.scale, v.x, v.foot
    path = [
        (x + 0.3 * s * c.sun + 0.25 * (t**2) * (0.5 * c.aspect - x), y + (1.05 - y) * t) for t in np.linspace(0, 1, 8)
    ]
    c.fill([stroke(path, 0.12 * s, 0.5 * s)], rgb("#cdb88c"), 0.12, rough=0.06)
    if not v.spare:
        for _ in range(7):
            tx = c.aspect * rng.random()
            ty = c.horizon + 0.03 + 0.04 * rng.random()
            broadleaf(c, rng, tx, ty, 0.1, 0.5, LEAVES[int(rng.integers(3))])
        broadleaf(c, rng, x - 1.05 * s * c.sun, y - 0.02, 1.5 * s, 0.25, LEAVES[0])
    house(c, x, y, s, 0.2)
    puff = x - c.sun * 0.3 * s + 0.62 * 0.95 * s * c.sun
    for i in range(12):
        drift = 0.012 * i**1.5 * c.sun * v.scale
        smoke = ragged(rng, puff + drift, y - 1.26 * s - 0.035 * s * i, (0.04 + 0.018 * i) * s)
        c.fill([smoke], rgb("#e6e4e0"), 0.3, alpha=0.26 - 0.018 * i)
    if v.spare:
        return
    bushes = [
        ragged(rng, x + (t - 0.1) * s * c.sun, y + 0.005, 0.07 * s) for t in (-0.62, 0.05, 0.32, 0.6, 1.02, 1.15)
    ]
    c.fill(bushes, rgb("#557f3c"), 0.18, down=0.25, rough=0.25)
    dots = [
        blob(
            b[:, 0].mean() + rng.normal(0, 0.03) * s,
            b[:, 1].mean() + rng.normal(0, 0.025) * s,
            0.008 * s,
            0.008 * s,
            points=8,
        )
        for b in bushes
        for _ in range(7)
    ]
    c.fill(dots, rgb("#d9657d"), 0.18)
    fy = min(y + 0.09 * v.scale, 0.95)
    posts = [
        stroke([(px, fy + 0.005), (px, fy - 0.055 * v.scale)], 0.009, 0.008)
        for px in np.arange(-0.02, c.aspect + 0.1, 0.085)
    ]
    rails = [
        stroke([(-0.1, fy - q * v.scale), (c.aspect + 0.1, fy - q * v.scale)], 0.006, 0.006) for q in (0.018, 0.04)
    ]
    gate = path[2][0]
    c.fill([p for p in posts if abs(p[:, 0].mean() - gate) > 0.09], rgb("#8d765c"), 0.08, rough=0.2)
    c.fill(
        [np.clip(r, [[-0.1, 0]], [[gate - 0.08, 2]]) for r in rails]
        + [np.clip(r, [[gate + 0.08, 0]], [[c.aspect + 0.1, 2]]) for r in rails],
        rgb("#8d765c"),
        0.08,
        rough=0.2,
    )
    broadleaf(c, rng, (0.06 if x > c.aspect / 2 else c.aspect - 0.08), 0.99, 0.62, 0.06, LEAVES[1])
    grass(c, v, ("#55793a", "#83a450"), 0.9)


def city(c: Canvas, v: View) -> None:
    rng = v.stream("city")
    quay = max(c.horizon + 0.03, min(v.foot - 0.04, c.horizon + 0.42))
    c.plane(v.stream("ground"), rgb("#6d6a66"), rgb("#8f8f8f"), texture=0.05)
    c.sea(rgb("#1b3f52"), top=quay)
    s = v.scale
    rows = (
        ((0.75, 26, 0.2, "#8796a8"), (0.45, 20, 0.27, "#77808f"), (0.2, 13, 0.22, "#6a6670"))
        if not v.spare
        else ((0.3, 9, 0.16, "#77808f"),)
    )
    for depth, count, tall, colour in rows:
        foot = c.horizon + (quay - c.horizon) * (1 - depth) / 0.8
        tone = rgb(colour)
        for slot in range(count):
            spread = 1.0 if not v.spare else 0.45
            x = v.x * (1 - spread) + spread * c.aspect * (slot + rng.uniform(-0.3, 0.3)) / (count - 1)
            w = rng.uniform(0.6, 1.25) * c.aspect * spread / count
            peak = 0.55 + 0.75 * np.exp(-(((x - v.x) / 0.38) ** 2))
            h = tall * peak * rng.uniform(0.55, 1.15) * s
            tower(c, rng, x, foot, w, h, depth, tone * rng.uniform(0.8, 1.2), quay)
    h = 0.56 * s
    w = 0.1 * s
    y = quay - 0.002
    glass = rgb("#5b7f97")
    for width, low, high in ((1.0, 0, 0.55), (0.76, 0.55, 0.78), (0.5, 0.78, 0.9)):
        half = width * w / 2
        c.fill(
            [box(v.x - half, y - high * h, v.x + half, y - low * h)], glass, 0.16, across=0.3, rough=0.03, foot=quay
        )
        panes(c, rng, v.x, y - low * h, width * w, (high - low) * h, 0.16, quay)
    c.fill([stroke([(v.x, y - 0.9 * h), (v.x, y - 1.12 * h)], 0.09 * w, 0.02 * w)], glass * 0.8, 0.16, foot=quay)
    c.fill([blob(v.x, y - 1.12 * h, 0.004, 0.004)], rgb("#ff6a5a"), 0.16, glow=rgb("#ff5a4a"))
    c.fill([box(-0.5, quay - 0.008, c.aspect + 0.5, quay + 0.004)], rgb("#57534f"), 0.15, foot=quay + 0.004)
    if not v.spare:
        lamps = [blob(x, quay - 0.022, 0.0035, 0.0035, points=8) for x in np.arange(0.03, c.aspect, 0.075)]
        c.fill(lamps, rgb("#fff0c8"), 0.14, glow=rgb(LAMP) * 1.2, foot=quay)


def still_life(c: Canvas, v: View) -> None:
    """A table at a window; the horizon lies outside."""
    rng = v.stream("fruit")
    if not v.spare:
        c.terrain(rng, c.horizon + 0.03, 0.16, rgb("#7d93a0"), 0.85, peaks=0.6)
    c.plane(v.stream("ground"), rgb("#7d9a52"), rgb(GRASS_FAR), texture=0.1)
    table = min(max(v.foot - 0.1 * v.scale, 0.6), 0.82)
    k = 1 if v.x < c.aspect / 2 else -1
    left, right = (0.36, c.aspect + 0.2) if k > 0 else (-0.2, c.aspect - 0.36)
    wall = rgb("#c9a98a") if not v.spare else rgb("#d8cfc2")
    top, sill = -0.3, table - 0.05
    c.fill(
        [
            box(-0.4, -0.4, left, table + 0.05),
            box(right, -0.4, c.aspect + 0.4, table + 0.05),
            box(left, sill, right, table + 0.05),
        ],
        wall,
        0.12,
        rough=0.02,
        across=0.1,
    )
    bars = [
        box(left - 0.025, top, left + 0.012, sill),
        box(right - 0.012, top, right + 0.025, sill),
        box(left - 0.03, sill - 0.012, right + 0.03, sill + 0.02),
    ]
    middle = (left + right) / 2
    bars += [box(middle - 0.009, top, middle + 0.009, sill), box(left, 0.2, right, 0.214)]
    c.fill(bars, rgb("#efe8da"), 0.1, rough=0.04)
    if not v.spare:
        side = left if k > 0 else right
        for i in range(5):
            x = side - k * 0.2 + k * 0.055 * i
            c.fill(
                [
                    poly(
                        (x - 0.035, -0.3),
                        (x + 0.035, -0.3),
                        (x + 0.035 - 0.012 * i * k, table + 0.02),
                        (x - 0.035 - 0.012 * i * k, table + 0.02),
                    )
                ],
                rgb("#8d3f3c") * (1.15 if i % 2 else 0.85),
                0.1,
                across=0.25,
            )
    c.fill([box(-0.4, table, c.aspect + 0.4, 1.1)], rgb("#8a5a3a"), 0.08, rough=0.03, down=-0.18)
    for _ in range(26):  # the grain of the wood
        gy = table + (1.04 - table) * rng.random() ** 0.8
        gx, reach = c.aspect * rng.random(), rng.uniform(0.2, 0.7)
        c.fill(
            [stroke([(gx - reach, gy), (gx, gy + 0.004), (gx + reach, gy - 0.002)], 0.001, 0.004)],
            rgb("#6b4228"),
            0.08,
            alpha=0.4,
        )
    c.fill([box(-0.4, table - 0.003, c.aspect + 0.4, table + 0.008)], rgb("#b8825a"), 0.08)
    s, x, y = 0.3 * v.scale, v.x, min(v.foot + 0.04, 0.96)
    shadow = [blob(x - c.sun * 0.25 * s, y + 0.01, 0.9 * s, 0.11 * s)]
    c.fill(shadow, rgb("#3f2617"), 0.07, alpha=0.5)
    # Vase with flowers.
    vx, vy = x - 0.62 * s * k, y - 0.09 * s
    t = np.linspace(0, 1, 14)
    profile = (0.14 + 0.17 * np.sin(np.pi * t**0.8) ** 1.5 - 0.05 * t) * s
    vase = np.concatenate(
        [np.stack([vx - profile, vy - 1.0 * s * t], 1), np.stack([vx + profile, vy - 1.0 * s * t], 1)[::-1]]
    )
    for i in range(5 if v.spare else 15):
        a = np.pi * (0.08 + 0.84 * (i + rng.uniform(-0.3, 0.3)) / (5 if v.spare else 15))
        r = s * rng.uniform(0.45, 0.85)
        fx, fy = vx + r * np.cos(a), vy - s - r * np.sin(a) * 0.9
        c.fill(
            [stroke([(vx, vy - 0.95 * s), (0.5 * (vx + fx), fy + 0.25 * s), (fx, fy)], 0.018 * s, 0.012 * s)],
            rgb("#587a3a"),
            0.06,
        )
        c.fill(
            [blob(fx + 0.1 * s * d, fy + 0.13 * s, 0.11 * s, 0.035 * s, 0.6 * d, 10) for d in (-1, 1)],
            rgb("#5f8a44"),
            0.06,
        )
        colour = rgb(("#e9e2d2", "#e08aa0", "#d2553f", "#f0c25a")[int(rng.integers(4))])
        for j in range(7):
            q = 2 * np.pi * j / 7
            c.fill(
                [blob(fx + 0.065 * s * np.cos(q), fy + 0.065 * s * np.sin(q), 0.062 * s, 0.05 * s, q, 10)],
                colour * (0.86 + 0.05 * j),
                0.05,
            )
        c.fill([blob(fx, fy, 0.035 * s, 0.035 * s, points=10)], rgb("#c98f2c"), 0.05)
    c.fill([vase], rgb("#4f86a0"), 0.05, across=0.45, rough=0.03)
    c.fill([blob(vx + c.sun * 0.12 * s, vy - 0.55 * s, 0.025 * s, 0.13 * s)], rgb("#ffffff"), 0.05, alpha=0.55)
    # Bowl of fruit.
    bx, by = x + 0.28 * s * k, y
    fruits = (
        ("#c8352e", -0.33, 0.5),
        ("#e68a2a", 0.02, 0.53),
        ("#8fae3c", 0.34, 0.5),
        ("#d9b13a", -0.16, 0.72),
        ("#b8322f", 0.17, 0.72),
    )
    for skin, dx, dy in fruits:
        fruit(c, bx + dx * s, by - dy * s, 0.19 * s, skin)
    bowl = [(bx + 0.62 * s * np.cos(a), by - 0.42 * s + 0.42 * s * np.sin(a)) for a in np.linspace(0, np.pi, 20)]
    c.fill([poly(*bowl)], rgb("#e6ddca"), 0.04, across=0.32, down=0.12, rough=0.03)
    c.fill(
        [
            stroke(
                [(bx + 0.62 * s * np.cos(a), by - 0.42 * s + 0.03 * s * np.sin(a)) for a in np.linspace(0, np.pi, 12)],
                0.03 * s,
                0.03 * s,
            )
        ],
        rgb("#fbf5e6"),
        0.04,
    )
    c.fill(
        [
            stroke(
                [(bx - 0.55 * s, by - 0.24 * s), (bx, by - 0.17 * s), (bx + 0.55 * s, by - 0.24 * s)],
                0.035 * s,
                0.035 * s,
            )
        ],
        rgb("#4a6f9c"),
        0.04,
        across=0.3,
    )
    if not v.spare:
        fruit(c, bx + 0.86 * s * k, by + 0.06 * s, 0.17 * s, "#d2452f")
        fruit(c, bx - 0.95 * s * k * 0.35, by + 0.14 * s, 0.13 * s, "#e6a52c")
    # A candle, for the dark.
    cx = x + 1.25 * s * k if v.spare else x - 1.2 * s * k
    c.fill([box(cx - 0.05 * s, y - 0.5 * s, cx + 0.05 * s, y)], rgb("#f3ead6"), 0.05, across=0.25)
    c.fill([blob(cx, y, 0.15 * s, 0.04 * s)], rgb("#b58a3c"), 0.05, across=0.3)
    c.fill([blob(cx, y - 0.6 * s, 0.03 * s, 0.085 * s)], rgb("#ffe9a8"), 0.05, glow=rgb("#ffcf7a") * 1.6)


def balloons(c: Canvas, v: View) -> None:
    rng = v.stream("balloons")
    meadow(c, v, hills=3)
    if not v.spare:
        for _ in range(26):
            ty = c.horizon + 0.03 + (0.97 - c.horizon) * rng.random() ** 2
            broadleaf(
                c, rng, c.aspect * rng.random(), ty, 0.05 + 0.12 * (ty - c.horizon), 0.5, LEAVES[int(rng.integers(3))]
            )
        bends = [
            (0.5 * c.aspect + 0.25 * np.sin(5 * t + v.x) * (0.2 + t), c.horizon + 0.03 + (1 - c.horizon) * t**1.5)
            for t in np.linspace(0, 1, 24)
        ]
        c.fill([stroke(bends, 0.004, 0.14)], rgb("#9cc0d0"), 0.3, rough=0.05)
    hues = (
        ("#d8433a", "#f3e6c8"),
        ("#2f7fa8", "#f6c84a"),
        ("#e58a2c", "#8a3f6a"),
        ("#5f8f4a", "#f3e9d0"),
        ("#7a4f9c", "#f0a6b4"),
    )
    places = [(v.x, 0.33 + 0.1 * (v.foot - 0.6), 0.24 * v.scale, 0.12)]
    if not v.spare:
        for _ in range(6):
            size = rng.uniform(0.03, 0.1)
            places.append(
                (c.aspect * rng.uniform(0.04, 0.96), rng.uniform(0.08, 0.52), size * v.scale**0.5, 0.75 - 3.5 * size)
            )
    pick = int(rng.integers(5))
    for i, (x, y, r, depth) in sorted(enumerate(places), key=lambda item: -item[1][3]):
        if i and abs(x - v.x) < places[0][2] + r:
            x = v.x + np.sign(x - v.x + 1e-9) * (places[0][2] * 1.15 + r)
        balloon(c, x, y, r, depth, hues[(pick + i) % 5])


def castle(c: Canvas, v: View) -> None:
    rng = v.stream("castle")
    if not v.spare:
        c.terrain(rng, c.horizon + 0.02, 0.34, rgb("#74829a"), 0.85, peaks=1, across=0.6, snow=0.2)
    meadow(c, v, hills=1 if v.spare else 2, near="#5d8240")
    if not v.spare:
        birds(c, v.stream("birds"))
    s, x = 0.34 * v.scale, v.x
    y = v.foot - 0.12
    hill = [(x + 2.4 * s * t, y + 0.62 * s * (1 - np.exp(-(t**2) * 1.6)) - 0.02 * s) for t in np.linspace(-2, 2, 40)]
    c.fill([poly(*hill, (hill[-1][0], 1.1), (hill[0][0], 1.1))], rgb("#688a42"), 0.22, rough=0.1, down=0.1)
    stone = rgb("#b3a690")

    def tower(dx: float, w: float, h: float, roof: str | None, shade: float = 1.0) -> None:
        tx, ty = x + dx * s, y + 0.1 * s
        c.fill([box(tx - w * s, ty - h * s, tx + w * s, ty)], stone * shade, 0.24, across=0.26, rough=0.06)
        c.fill(
            [box(tx - 1.18 * w * s, ty - h * s - 0.05 * s, tx + 1.18 * w * s, ty - h * s + 0.03 * s)],
            stone * 0.9 * shade,
            0.24,
            across=0.26,
        )
        teeth = [
            box(tx + (q - 0.16) * w * s, ty - (h + 0.1) * s, tx + (q + 0.16) * w * s, ty - (h + 0.04) * s)
            for q in (-1, -0.33, 0.33, 1)
        ]
        c.fill(teeth, stone * 0.95 * shade, 0.24)
        if roof:
            lit = poly(
                (tx, ty - (h + 5.2 * w) * s),
                (tx + 1.25 * w * s * c.sun, ty - (h + 0.05) * s),
                (tx - 1.25 * w * s * c.sun, ty - (h + 0.05) * s),
            )
            c.fill([lit], rgb(roof), 0.24, across=0.35, rough=0.1)
            c.fill(
                [stroke([(tx, ty - (h + 5.1 * w) * s), (tx, ty - (h + 5.9 * w) * s)], 0.006, 0.004)],
                rgb("#4a4038"),
                0.24,
            )
            flag = poly(
                (tx, ty - (h + 5.9 * w) * s), (tx + 0.12 * s, ty - (h + 5.55 * w) * s), (tx, ty - (h + 5.3 * w) * s)
            )
            c.fill([flag], rgb("#c8372f"), 0.24)
        slits = [
            box(tx - 0.02 * s, ty - q * h * s - 0.05 * s, tx + 0.02 * s, ty - q * h * s + 0.04 * s)
            for q in (0.45, 0.78)
        ]
        c.fill(slits, rgb("#3a352f"), 0.24, glow=rgb(LAMP))

    roof = ("#3f5a7a", "#8a3f38", "#4a6a58")[int(rng.integers(3))]
    tower(0.05, 0.17, 1.15, roof, 0.92)
    tower(-0.32, 0.12, 0.86, roof, 0.96)
    tower(0.42, 0.11, 0.78, None, 0.96)
    wall = box(x - 0.72 * s, y - 0.42 * s, x + 0.72 * s, y + 0.13 * s)
    c.fill([wall], stone, 0.23, across=0.1, rough=0.06)
    c.fill(
        [
            box(x + q * s - 0.04 * s, y - 0.49 * s, x + q * s + 0.04 * s, y - 0.41 * s)
            for q in np.arange(-0.66, 0.7, 0.132)
        ],
        stone,
        0.23,
    )
    gate = [
        (x - 0.13 * s, y + 0.13 * s),
        *[(x - 0.13 * s * np.cos(a), y - 0.12 * s - 0.14 * s * np.sin(a)) for a in np.linspace(0, np.pi, 9)],
        (x + 0.13 * s, y + 0.13 * s),
    ]
    c.fill([poly(*gate)], rgb("#3a2c22"), 0.23, glow=rgb("#ff9f50") * 0.35)
    tower(-0.74, 0.14, 0.72, roof)
    tower(0.74, 0.14, 0.66, roof)
    road = [(x + 0.35 * s * np.sin(3.2 * t) * t, y + 0.13 * s + (1.05 - y) * t**1.3) for t in np.linspace(0, 1, 16)]
    c.fill([stroke(road, 0.16 * s, 0.62 * s)], rgb("#c4ac84"), 0.15, rough=0.06)
    if v.spare:
        return
    for _ in range(16):
        t = rng.uniform(0.15, 1.0)
        tx = x + rng.choice([-1, 1]) * (0.75 + rng.random() * 1.5) * s
        conifer(c, rng, tx, y + 0.55 * s * t + 0.06, rng.uniform(0.22, 0.36) * s, 0.2)
    grass(c, v, ("#4c7334", "#7d9c4a"), 0.88)
