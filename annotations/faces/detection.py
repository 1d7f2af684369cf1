"""Faces in frames by dlib's HOG detector.

Source: the paper, section on annotation (dlib's frontal face detector gives the training boxes).
"""

from dataclasses import astuple, dataclass
from functools import cache
from typing import Any

import cv2
import dlib
import numpy as np

from annotations.box import Box
from annotations.params import AnnotateParams
from pipeline.media.images import Picture

SOURCE = "dlib_hog"
"""What made the box, as written into annotations."""


PYRAMID_STEP = 6 / 5
"""Ratio of neighbouring sizes at which dlib looks for faces."""

AROUND = 0.5
"""Share of a face's sides that its surroundings reach beyond it."""
SEARCHED_PX = 100
"""Side of the face when they are searched; dlib's smallest is 80 px."""
SEARCHES = 3
"""Each costs 4 ms; six instead of three bring little."""


@dataclass(frozen=True, slots=True)
class Detection:
    """A found face and the detector's score (margin to its decision plane, above `min_score`)."""

    box: Box
    score: float


def detect_faces(gray: Picture, params: AnnotateParams) -> list[Detection]:
    """Find frontal faces, best score first.

    An image whose longer side is above `max_side_px` is searched at that size, and the box of each
    face made more exact than one search gives it; with `refine`, of every image. With
    `second_look`, an image that shows no face is searched again at twice the size: for smaller
    faces, and at four times the cost.

    Args:
        gray: image of shape [H, W].
        params: section `annotate`.

    Returns:
        Boxes in whole pixels of `gray`, clamped to it, scores to four decimals.
    """
    scale = min(1.0, params.max_side_px / max(gray.shape))
    found = _search(gray, scale, params.upsample, params.min_score)
    if not found and params.second_look:
        scale *= 2
        found = _search(gray, scale, params.upsample, params.min_score)
    if scale == 1 and not params.refine:
        return found
    return [Detection(_exact(gray, one.box), one.score) for one in found]


def _exact(gray: Picture, box: Box) -> Box:
    """The mean of the boxes that searches of a face's surroundings give, whole pixels.

    dlib's boxes lie on a grid of a twelfth of their width and grow in steps of 6/5: surroundings
    are searched at sizes that divide such a step evenly.
    """
    height, width = gray.shape
    wide, high = AROUND * box.width, AROUND * box.height
    part = Box(box.x1 - wide, box.y1 - high, box.x2 + wide, box.y2 + high)
    part = part.clamped(width, height).rounded()
    left, top, right, bottom = (int(side) for side in astuple(part))
    around = np.ascontiguousarray(gray[top:bottom, left:right])
    found = []
    for search in range(SEARCHES):
        scale = SEARCHED_PX / max(box.width, box.height) * PYRAMID_STEP ** (search / SEARCHES)
        found += [one.box for one in _search(around, scale, 0, 0.0)[:1]]
    if not found:
        return box.rounded().clamped(width, height)
    x1, y1, x2, y2 = np.mean([astuple(one) for one in found], axis=0).round().tolist()
    return Box(left + x1, top + y1, left + x2, top + y2)


def _search(gray: Picture, scale: float, upsample: int, min_score: float) -> list[Detection]:
    """What one run of dlib's detector finds in an image resized by `scale`, in its own pixels."""
    height, width = gray.shape
    size = (max(1, round(scale * width)), max(1, round(scale * height)))
    if size != (width, height):
        mode = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
        gray = np.asarray(cv2.resize(gray, size, interpolation=mode), np.uint8)
    rectangles, scores, _ = _detector().run(gray, upsample, min_score)
    return [
        Detection(
            Box.from_dlib(rectangle, *size).resized(width / size[0], height / size[1]),
            round(score, 4),
        )
        for rectangle, score in zip(rectangles, scores, strict=True)
    ]


@cache
def _detector() -> Any:
    """Built once a process, on first use: 20 ms."""
    return dlib.get_frontal_face_detector()
