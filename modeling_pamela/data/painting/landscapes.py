"""Subjects out of doors without buildings; each function paints one with its surroundings, back to front."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from .canvas import Canvas, blob, rgb, stroke
from .objects import (
    birds,
    broadleaf,
    camel,
    conifer,
    palm,
    poly,
)


__all__ = ["View", "flowers", "forest", "grass", "meadow", "mountain_lake", "pyramids", "tree"]

GRASS, GRASS_FAR = "#6f9443", "#9aae6a"


@dataclass(frozen=True)
class View:
    """
    Where things stand, from viewpoint and composition; lengths in picture heights.

    Attributes:
        x (`float`): Of the subject's middle.
        foot (`float`): y of the subject's foot.
        scale (`float`): Size of the subject; 1 is ordinary.
        spare (`bool`): Leave out everything that is not the subject.
        stream (callable): Gives the random generator of a purpose.
    """

    x: float
    foot: float
    scale: float
    spare: bool
    stream: Callable[[str], np.random.Generator]


def grass(c: Canvas, v: View, colours: Sequence[str], start: float = 0.82, count: int = 110) -> None:
    """Blades along the lower edge."""
    rng = v.stream("grass")
    if v.spare:
        return
    for colour in colours:
        blades = []
        for _ in range(count):
            x, y = rng.uniform(0, c.aspect), start + (1.06 - start) * np.sqrt(rng.random())
            h, lean = 0.075 * (y - start + 0.12) / 0.3, rng.normal(0, 0.012)
            blades.append(stroke([(x, y), (x + 0.4 * lean, y - 0.6 * h), (x + lean, y - h)], 0.0055, 0.001))
        c.fill(blades, rgb(colour) * rng.uniform(0.85, 1.1), 0.02, rough=0.2)


def meadow(c: Canvas, v: View, hills: int = 2, far: str = GRASS_FAR, near: str = GRASS) -> None:
    rng = v.stream("hills")
    if not v.spare:
        c.terrain(rng, c.horizon + 0.02, 0.2, rgb("#6f8a93"), 0.85, peaks=0.5, across=0.5, texture=0.15)
    for i in range(hills):
        tone = rgb("#7f9a5e") * (1 - 0.08 * i)
        c.terrain(rng, c.horizon + 0.03, 0.12 - 0.03 * i, tone, 0.6 - 0.12 * i, across=0.35 + 0.2 * i, texture=0.12)
    c.plane(v.stream("ground"), rgb(near), rgb(far), texture=0.06 if v.spare else 0.14)


def mountain_lake(c: Canvas, v: View) -> None:
    rng = v.stream("mountains")
    shore = c.horizon
    top = min(0.5 * min(v.scale, 1.5), shore - 0.02)
    if not v.spare:
        c.terrain(rng, shore, 0.62 * top, rgb("#7f90a8"), 0.9, peaks=1, across=0.8, snow=0.25)
    c.terrain(rng, shore, top, rgb("#6d6a72"), 0.5, peaks=1, summit=v.x, across=0.45, snow=0.5, texture=0.6)
    if not v.spare:
        c.terrain(rng, shore + 0.01, 0.16, rgb("#4d6a55"), 0.34, peaks=0.4, across=0.5, texture=0.3)
    c.sea(rgb("#1f4a58"), top=shore)
    if v.spare:
        return
    firs = v.stream("firs")
    for x in np.sort(firs.uniform(0, c.aspect, 44)):
        conifer(c, firs, float(x), shore + 0.006, firs.uniform(0.03, 0.065), 0.3, "#2c4a3a")
    side = 1 if v.x < c.aspect / 2 else -1
    edge = c.aspect if side > 0 else 0.0
    bank = [
        (edge - side * (0.62 - t * 0.62), 1.02 - 0.2 * t**1.6 + 0.012 * np.sin(11 * t)) for t in np.linspace(0, 1, 12)
    ]
    c.fill([poly(*bank, (edge, 1.02))], rgb("#5d7240"), 0.05, rough=0.12, down=0.15)
    for t in (0.5, 0.66, 0.8, 0.92):
        conifer(c, firs, edge - side * (0.62 - 0.62 * t), 1.0 - 0.13 * t, firs.uniform(0.24, 0.4), 0.06)


def forest(c: Canvas, v: View) -> None:
    rng = v.stream("forest")
    c.terrain(rng, c.horizon + 0.02, 0.25, rgb("#5d7a6a"), 0.8, across=0.6)
    c.plane(v.stream("ground"), rgb("#5c5a2c"), rgb("#7d8a4e"), texture=0.2)
    sway = rng.uniform(0.1, 0.25) * (1 if v.x < c.aspect / 2 else -1)
    path = [
        (v.x + sway * np.sin(3 * t) * t * (1 - t), c.horizon + 0.02 + (1.05 - c.horizon) * t**1.6)
        for t in np.linspace(0, 1, 12)
    ]
    c.fill([stroke(path, 0.012, 0.4)], rgb("#b09a74"), 0.2, rough=0.07)
    rows = ((0.72, 20), (0.5, 14), (0.3, 10), (0.12, 6)) if not v.spare else ((0.4, 5), (0.15, 2))
    for depth, count in rows:
        near = 1 - depth
        y = c.horizon + 0.015 + (v.foot + 0.1 - c.horizon) * near**2.2
        for slot in (np.arange(count) + rng.uniform(-0.3, 0.3, count)) / (count - 1):
            x = c.aspect * (1.1 * slot - 0.05)
            gap = 0.07 + 0.16 * near
            if abs(x - v.x) < gap:
                x = v.x + gap * (1 if x > v.x else -1) * rng.uniform(1, 1.3)
            h = (0.22 + 0.75 * near**1.5) * v.scale**0.7 * rng.uniform(0.85, 1.15)
            yy = y + rng.uniform(-0.01, 0.02)
            conifer(c, rng, float(x), yy, h, depth, ("#2f5a3f", "#3a6440", "#27503f")[int(rng.integers(3))])
    if not v.spare:
        ferns = []
        for _ in range(60):
            x, y = rng.uniform(0, c.aspect), rng.uniform(0.86, 1.03)
            if abs(x - path[-1][0]) > 0.22:
                for lean in (-0.035, -0.015, 0.01, 0.03):
                    ferns.append(stroke([(x, y), (x + 0.5 * lean, y - 0.035), (x + lean, y - 0.045)], 0.007, 0.001))
        if ferns:
            c.fill(ferns, rgb("#5d8a3f"), 0.03, rough=0.2)


def flowers(c: Canvas, v: View) -> None:
    rng = v.stream("flowers")
    meadow(c, v, near="#55783a")
    kinds = (("#d8342c", "#f05a3c"), ("#e86a9c", "#f4a6c0"), ("#f2b632", "#fbd766"), ("#7a5cc0", "#a88be0"))
    main, light = kinds[int(rng.integers(4))]
    others = ("#f6f0e4", "#f2c84a", main)
    if not v.spare:
        for depth, size, count in ((0.55, 0.006, 200), (0.4, 0.011, 140), (0.28, 0.019, 80)):
            y0 = c.horizon + (1 - c.horizon) * (1 - depth) ** 2 * 0.8
            for colour in (main, light, others[int(rng.integers(3))]):
                heads = [
                    blob(
                        rng.uniform(0, c.aspect),
                        y0 + rng.normal(0, 1.6) * size,
                        size * rng.uniform(0.7, 1.1),
                        0.75 * size,
                        points=10,
                    )
                    for _ in range(count // 3)
                ]
                c.fill(heads, rgb(colour), depth, rough=0.15)
        grass(c, v, ("#4c7334", "#6f9443"), 0.66, 150)
    count = 3 if v.spare else 11
    spots = [
        (
            v.x + rng.normal(0, 0.07 if v.spare else 0.42) * (1 if v.spare else c.aspect / 2),
            v.foot + rng.uniform(-0.02, 0.1),
        )
        for _ in range(count)
    ]
    spots.append((v.x, v.foot + 0.12))
    for x, y in sorted(spots, key=lambda spot: spot[1]):
        big = abs(x - v.x) < 1e-9
        s = (0.085 if big else 0.058 * rng.uniform(0.8, 1.15)) * v.scale
        h = s * rng.uniform(3.2, 4.6) if not big else 4.4 * s
        top, lean = y - h, rng.normal(0, 0.3) * s
        stem = [(x, 1.05), (x + 0.2 * lean, 0.5 * (y + top) + 0.02), (x + lean, top)]
        c.fill([stroke(stem, 0.13 * s, 0.09 * s)], rgb("#4f7a35"), 0.06, across=0.2)
        for side in (-1, 1):
            ly = top + (0.55 + 0.15 * side) * h
            leaf = poly(
                (x, ly),
                (x + side * 0.7 * s, ly - 0.75 * s),
                (x + side * 1.0 * s, ly - 1.2 * s),
                (x + side * 0.3 * s, ly - 0.8 * s),
            )
            c.fill([leaf], rgb("#5b8a3c"), 0.06, across=0.15)
        hue = rgb(main if rng.random() < 0.7 or big else light)
        petals = 11
        for ring, (reach, tone) in enumerate(((1.0, 0.78), (0.86, 0.95), (0.62, 1.1))):
            turns = 2 * np.pi * (np.arange(petals) + 0.5 * ring) / petals
            leaves = [
                blob(
                    x + lean + 0.55 * reach * s * np.cos(turn),
                    top + 0.48 * reach * s * np.sin(turn),
                    0.46 * reach * s,
                    0.21 * reach * s,
                    turn,
                    14,
                )
                for turn in turns
            ]
            for shade, some in ((0.94, leaves[::2]), (1.06, leaves[1::2])):
                c.fill(some, hue * tone * shade, 0.05, down=0.1)
        c.fill([blob(x + lean, top, 0.26 * s, 0.23 * s)], rgb("#5a3a1e"), 0.05, down=0.25)
        c.fill(
            [
                blob(x + lean + 0.12 * s * np.cos(a), top + 0.1 * s * np.sin(a), 0.03 * s, 0.03 * s, points=8)
                for a in np.arange(0, 6.2, 0.7)
            ],
            rgb("#e8b43c"),
            0.05,
        )


def pyramids(c: Canvas, v: View) -> None:
    rng = v.stream("desert")
    sand, shadow = rgb("#dcb77a"), 0.55
    if not v.spare:
        c.terrain(rng, c.horizon + 0.01, 0.07, rgb("#c9a982"), 0.85, across=0.4, texture=0.1)
    c.plane(v.stream("ground"), sand, rgb("#e3c592"), texture=0.04)
    s = 0.42 * v.scale
    foot = c.horizon + (v.foot - c.horizon) * 0.3 + 0.02
    group = ((0.0, 1.0, 0.25),) if v.spare else ((-1.25, 0.5, 0.55), (0.95, 0.68, 0.42), (0.0, 1.0, 0.25))
    for dx, size, depth in group:
        x, h, y = v.x + dx * s, s * size, foot - (1 - size) * 0.02
        lit = poly((x, y - h), (x + 0.95 * h * c.sun, y), (x - 0.3 * h * c.sun, y + 0.035 * h))
        dark = poly((x, y - h), (x - 0.3 * h * c.sun, y + 0.035 * h), (x - 0.8 * h * c.sun, y))
        c.fill(
            [
                poly(
                    (x - 0.3 * h * c.sun, y + 0.03 * h),
                    (x - 0.8 * h * c.sun, y - 0.003),
                    (x - 1.7 * h * c.sun, y + 0.12 * h),
                )
            ],
            sand * 0.62,
            depth,
            alpha=0.8,
        )
        c.fill([lit], rgb("#e3bd7c"), depth, rough=0.04, down=0.06)
        c.fill([dark], rgb("#e3bd7c") * shadow, depth, rough=0.04, down=0.06)
        courses = [
            stroke(
                [
                    (x - 0.8 * h * c.sun * t, y - h * (1 - t)),
                    (x - 0.3 * h * c.sun * t, y - h * (1 - t) + 0.035 * h * t),
                    (x + 0.95 * h * c.sun * t, y - h * (1 - t)),
                ],
                0.0022,
                0.0022,
            )
            for t in np.linspace(0.1, 0.96, 15)
        ]
        c.fill(courses, rgb("#8a6a3c"), depth, alpha=0.4)
    # Dunes: a sharp crest between a lit and a shaded flank.
    for i, (down, depth) in enumerate(((0.45, 0.2), (0.8, 0.06)) if not v.spare else ((0.75, 0.06),)):
        y0 = c.horizon + (1 - c.horizon) * down
        along = np.linspace(-0.1, c.aspect + 0.1, 40)
        phase, wave = rng.uniform(0, 6.28), rng.uniform(0.8, 1.3)
        amplitude = 0.06 * (1 - c.horizon) / 0.4
        crest = y0 + amplitude * np.sin(wave * 3 * along + phase) + 0.3 * amplitude * np.sin(7.3 * along + 2 * phase)
        foot_line = crest + 0.02 + amplitude * (1.1 + np.sin(wave * 3 * along + phase + 1.3 * c.sun))
        c.fill(
            [np.concatenate([np.stack([along, crest], 1), [(c.aspect + 0.1, 1.1), (-0.1, 1.1)]])],
            rgb("#e2bb79") * (1 - 0.05 * i),
            depth,
            rough=0.04,
            down=0.1,
        )
        c.fill(
            [np.concatenate([np.stack([along, crest], 1), np.stack([along, foot_line], 1)[::-1]])],
            rgb("#a8733f"),
            depth,
            rough=0.05,
            alpha=0.85,
        )
    if v.spare:
        return
    for i in range(5):
        camel(
            c,
            v.x + (0.1 + 0.085 * i) * (1 if v.x < c.aspect / 2 else -1),
            foot + 0.07 + 0.003 * i,
            0.045 * v.scale**0.5,
            0.16,
        )
    px = 0.12 if v.x > c.aspect / 2 else c.aspect - 0.14
    for dx, h in ((0.0, 0.5), (0.09, 0.38)):
        palm(c, rng, px + dx * (1 if px < 1 else -1), 1.02, h, 0.05)


def tree(c: Canvas, v: View) -> None:
    rng = v.stream("tree")
    meadow(c, v, hills=1 if v.spare else 2)
    if not v.spare:
        birds(c, v.stream("birds"))
    colour = ("#5c8a38", "#d08a2c", "#b8492c", "#e0a0b4")[int(rng.integers(4))]
    s, x, y = 0.68 * v.scale, v.x, v.foot + 0.03
    rise = [(x + 0.75 * t, y + 0.06 * t * t - 0.012) for t in np.linspace(-1.6, 1.6, 24)]
    c.fill([poly(*rise, (x + 1.2, 1.1), (x - 1.2, 1.1))], rgb("#719646"), 0.15, rough=0.07, down=0.16)
    c.fill([blob(x - 0.22 * s * c.sun, y + 0.012, 0.44 * s, 0.028 * s + 0.01)], rgb("#3f5a2c"), 0.14, alpha=0.6)
    fallen = [
        blob(x + rng.normal(0, 0.3) * s, y + abs(rng.normal(0, 0.03)) + 0.005, 0.007 * s, 0.004 * s, points=8)
        for _ in range(0 if v.spare else 60)
    ]
    broadleaf(c, rng, x, y, s, 0.12, colour)
    if fallen:
        c.fill(fallen, rgb(colour), 0.12, rough=0.2)
    grass(c, v, ("#557a38", "#8aa652"), 0.84)
