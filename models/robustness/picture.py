"""Damage to the picture: blur, darkness, a covered mouth or eyes, JPEG, frames that are lost.

Each takes the frames of a clip, RGB [H, W, 3] in time order, and gives as many of the same size.
What is measured in faces takes their boxes: of each frame that of its face, or None.
"""

from collections.abc import Sequence
from statistics import median

import cv2
import numpy as np

from annotations.box import Box
from pipeline.media.images import Picture

COVER = 128
"""Grey level of what covers a part of a face."""

FACELESS = 1 / 3
"""Side of a face that was not found, as a share of the frame's height."""

EYES, MOUTH = 0, 2
"""Thirds of a face's box, from the top; dlib's box begins at the brows and ends at the chin."""


def blurred(frames: Sequence[Picture], boxes: Sequence[Box | None], share: float) -> list[Picture]:
    """Gaussian blur, its standard deviation `share` of the height of the clip's faces."""
    heights = [box.height for box in boxes if box is not None]
    sigma_px = share * (median(heights) if heights else FACELESS * frames[0].shape[0])
    return [np.asarray(cv2.GaussianBlur(one, (0, 0), sigma_px), np.uint8) for one in frames]


def darkened(frames: Sequence[Picture], share: float) -> list[Picture]:
    """`share` of the grey levels, in whole ones: what is lost in the dark stays lost."""
    return [np.round(one * np.float32(share)).astype(np.uint8) for one in frames]


def covered(frames: Sequence[Picture], boxes: Sequence[Box | None], third: int) -> list[Picture]:
    """A grey bar over `third` of the face's box; a frame without one has that of the nearest frame.

    A clip without any face stays as it is.
    """
    known = [index for index, box in enumerate(boxes) if box is not None]
    if not known:
        return list(frames)
    nearest = [min(known, key=lambda one: abs(one - index)) for index in range(len(frames))]
    return [_bar(one, boxes[place], third) for one, place in zip(frames, nearest, strict=True)]


def _bar(frame: Picture, box: Box | None, third: int) -> Picture:
    assert box is not None
    top, bottom = (round(box.y1 + box.height * part / 3) for part in (third, third + 1))
    changed = frame.copy()
    changed[max(top, 0) : max(bottom, 0), max(round(box.x1), 0) : max(round(box.x2), 0)] = COVER
    return changed


def jpeg(frames: Sequence[Picture], quality: float) -> list[Picture]:
    """Frames after JPEG of a quality from 1 to 100, as libjpeg counts it."""
    options = [cv2.IMWRITE_JPEG_QUALITY, round(quality)]
    changed = []
    for frame in frames:
        _, content = cv2.imencode(".jpg", frame[:, :, ::-1], options)
        changed.append(np.asarray(cv2.imdecode(content, cv2.IMREAD_COLOR_RGB), np.uint8))
    return changed


def dropped(frames: Sequence[Picture], share: float, rng: np.random.Generator) -> list[Picture]:
    """A `share` of the frames is lost, never the first one: a player shows the one before again."""
    order = 1 + rng.permutation(len(frames) - 1)
    lost = set(order[: round(share * len(frames))].tolist())
    shown = list(frames)
    for index in sorted(lost):
        shown[index] = shown[index - 1]
    return shown
