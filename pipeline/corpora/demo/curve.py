"""Smooth curves through a few key points: all the outlines of the demo corpus."""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Points = NDArray[np.float64]  # [P, 2]


def spline(keys: Points, closed: bool = False) -> Points:
    """A smooth curve through key points [P, 2], six points per span (Catmull-Rom)."""
    return _spline_basis(len(keys), closed) @ keys


@lru_cache
def _spline_basis(count: int, closed: bool) -> NDArray[np.float64]:
    spans = count if closed else count - 1
    t = np.arange(6) / 6.0
    cubic = 0.5 * np.column_stack(
        (-t + 2 * t**2 - t**3, 2 - 5 * t**2 + 3 * t**3, t + 4 * t**2 - 3 * t**3, -(t**2) + t**3)
    )
    basis = np.zeros((6 * spans + (not closed), count))
    for span in range(spans):
        for offset in range(4):
            key = span + offset - 1
            key = key % count if closed else min(max(key, 0), count - 1)
            basis[6 * span : 6 * span + 6, key] += cubic[:, offset]
    if not closed:
        basis[-1, -1] = 1.0
    return basis
