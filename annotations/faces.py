"""Faces in frames by dlib's HOG detector.

Source: the paper, section on annotation (dlib's frontal face detector gives the training boxes).
"""

from dataclasses import dataclass
from functools import cache
from typing import Any

import dlib
import numpy as np
from numpy.typing import NDArray

from annotations.box import Box

SOURCE = "dlib_hog"
"""What made the box, as written into annotations."""


@dataclass(frozen=True, slots=True)
class Detection:
    """A found face and the detector's score (margin to its decision plane, above `min_score`)."""

    box: Box
    score: float


def detect_faces(gray: NDArray[np.uint8], upsample: int, min_score: float) -> list[Detection]:
    """Find frontal faces, best score first.

    Args:
        gray: image of shape [H, W].
        upsample: times the image is doubled before the search; smallest face 80 px at 0, 40 at 1.
        min_score: smallest score to keep; 0 is the detector's own threshold.

    Returns:
        Boxes in pixels of `gray`, clamped to it, scores to four decimals.
    """
    height, width = gray.shape
    rectangles, scores, _ = _detector().run(gray, upsample, min_score)
    return [
        Detection(Box.from_dlib(rectangle, width, height), round(score, 4))
        for rectangle, score in zip(rectangles, scores, strict=True)
    ]


@cache
def _detector() -> Any:
    """Built once a process, on first use: 20 ms."""
    return dlib.get_frontal_face_detector()
