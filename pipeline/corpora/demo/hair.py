"""Hair styles of the demo corpus, in head coordinates."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from pipeline.corpora.demo.curve import Points, spline


@dataclass(frozen=True, slots=True)
class Hair:
    """Outlines by name (`back`, `front`, `strand` and a number) and the strands' tones."""

    shapes: dict[str, Points]
    tones: dict[str, float]


@lru_cache
def hair_of(style: str) -> Hair:
    """Outlines of one style: short, long, swept or bald."""
    outer, inner = _STYLES[style]
    above, below = spline(np.array(outer)), spline(np.array(inner))
    cap = np.vstack((above, below[::-1]))
    if style == "bald":
        return Hair({"front_l": cap * (-1.0, 1.0), "front_r": cap}, {})
    shapes, tones = _strands(above, below)
    if style == "long":
        shapes["back"] = spline(np.array(_LONG_BACK), closed=True)
    return Hair({"front": cap, **shapes}, tones)


def _strands(above: Points, below: Points) -> tuple[dict[str, Points], dict[str, float]]:
    """Strands from the crown to the hairline, lighter towards the light at the upper left."""
    rng = np.random.default_rng(len(above))
    shapes, tones = {}, {}
    for number, at in enumerate(np.linspace(0.06, 0.94, 22)):
        top = above[int(at * (len(above) - 1))]
        low = below[int((at + rng.uniform(-0.04, 0.04)) * (len(below) - 1)) % len(below)]
        reach = rng.uniform(0.05, 0.2), rng.uniform(0.7, 0.98)
        share = np.linspace(*reach, 6)[:, None]
        sway = 0.05 * np.sin(np.pi * share) * rng.uniform(-1, 1)
        tones[f"strand{number}"] = float(1.0 + rng.uniform(-0.25, 0.3) + 0.25 * (0.5 - at))
        shapes[f"strand{number}"] = top + (low - top) * share + sway
    return shapes, tones


_CROWN = [(-1.06, -0.05), (-1.10, -0.60), (-0.86, -1.18), (-0.36, -1.50), (0.10, -1.54)]
_CROWN += [(0.60, -1.42), (0.98, -1.02), (1.10, -0.50), (1.06, -0.05)]

_STYLES: dict[str, tuple[list[tuple[float, float]], list[tuple[float, float]]]] = {
    "short": (
        _CROWN,
        [
            (-0.97, -0.08),
            (-0.90, -0.48),
            (-0.70, -0.84),
            (-0.30, -0.96),
            (0.10, -0.92),
            (0.55, -0.92),
            (0.84, -0.62),
            (0.97, -0.08),
        ],
    ),
    "swept": (
        [
            (-1.05, -0.10),
            (-1.12, -0.70),
            (-0.84, -1.34),
            (-0.20, -1.66),
            (0.40, -1.62),
            (0.92, -1.26),
            (1.12, -0.66),
            (1.05, -0.12),
        ],
        [
            (-0.96, -0.12),
            (-0.88, -0.60),
            (-0.62, -0.98),
            (-0.10, -0.92),
            (0.36, -0.76),
            (0.74, -0.74),
            (0.92, -0.46),
            (0.97, -0.10),
        ],
    ),
    "long": (
        [
            (-1.02, 0.70),
            (-1.18, 0.05),
            (-1.12, -0.70),
            (-0.72, -1.36),
            (0.0, -1.56),
            (0.72, -1.36),
            (1.12, -0.70),
            (1.18, 0.05),
            (1.02, 0.70),
        ],
        [
            (-0.96, 0.70),
            (-0.93, 0.05),
            (-0.86, -0.52),
            (-0.50, -0.88),
            (-0.14, -1.16),
            (0.30, -0.96),
            (0.82, -0.56),
            (0.93, 0.05),
            (0.96, 0.70),
        ],
    ),
    "bald": (
        [(1.00, 0.16), (1.10, -0.12), (1.08, -0.50), (0.96, -0.76)],
        [(0.97, 0.10), (0.95, -0.15), (0.93, -0.42), (0.93, -0.74)],
    ),
}
_LONG_BACK = [
    (0.0, -1.50),
    (0.90, -1.20),
    (1.24, -0.30),
    (1.26, 0.80),
    (1.10, 1.75),
    (0.55, 1.85),
    (-0.55, 1.85),
    (-1.10, 1.75),
    (-1.26, 0.80),
    (-1.24, -0.30),
    (-0.90, -1.20),
]
