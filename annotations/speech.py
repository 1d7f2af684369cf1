"""Visual speech activity: how likely the face in a frame is speaking, from its mouth's motion.

The motion of the mouth is the mean absolute difference of its pixels between neighbouring frames,
after the frames are aligned on the upper face, minus the difference that remains in the upper face
itself. So head motion, lighting, sensor noise and coding noise cancel. Nothing is learned and no
label is used; a clip's own motion sets the scale on which it is a probability.

Source: Everingham, Sivic, Zisserman, "Hello! My name is... Buffy", BMVC 2006, speaker detection:
the pixel difference in a mouth region between frames, minimal over a search region around it.
Deviations: sub-pixel alignment by phase correlation of the upper face instead of a search, and a
soft threshold instead of two hard ones.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d

from annotations.box import Box

Floats = NDArray[np.float64]
Crop = NDArray[np.float32]

SIDE = 96
"""Face crops are resampled to SIDE x SIDE px, so that motion is relative to the face's size."""

UPPER = (slice(8, 58), slice(10, 86))
"""Rows and columns of brows, eyes and nose in a crop of dlib's box."""

MOUTH = (slice(60, 94), slice(21, 75))
"""Rows and columns of the mouth and chin."""

MAX_SHIFT = 12.0
"""Largest believable correction of the alignment in crop pixels, an eighth of the face."""

SAME_SHOT_IOU = 0.3
"""Neighbouring boxes that overlap less belong to different shots: no motion is measured."""

MOTION_FLOOR = 0.005
"""Motion in units of the face's contrast that is never speech: under JPEG's noise."""

UNKNOWN = 0.5
"""Probability where nothing can be measured."""


@dataclass(frozen=True, slots=True)
class Activity:
    """Mouth motion [F] in units of the face's contrast, and speech probability [F] in [0, 1].

    `measured` is False where no two neighbouring frames show the face: motion is then 0 and the
    probability `UNKNOWN` throughout, which weights all frames alike.
    """

    motion: Floats
    speech: Floats
    measured: bool


def speech_activity(
    frames: Sequence[NDArray[np.uint8]],
    boxes: Sequence[Box | None],
    rate_hz: float,
    smoothing_s: float,
) -> Activity:
    """Measure mouth motion and turn it into a speech probability per frame.

    Args:
        frames: F gray images of shape [H, W].
        boxes: the speaker's face in each frame, None where it was not found; such frames take
            their motion from their neighbours in time.
        rate_hz: frames per second.
        smoothing_s: standard deviation of the Gaussian that smooths motion over time, in seconds.

    Returns:
        Motion and probability of each frame.
    """
    count = len(frames)
    pairs = [_pair_motion(frames[t : t + 2], boxes[t : t + 2]) for t in range(count - 1)]
    times = [t + 0.5 for t, pair in enumerate(pairs) if pair is not None]
    if not times:
        return Activity(np.zeros(count), np.full(count, UNKNOWN), measured=False)
    mouth, upper = np.array([pair for pair in pairs if pair is not None]).T
    excess = np.interp(np.arange(count - 1) + 0.5, times, np.maximum(mouth - upper, 0.0))
    per_frame = (np.append(excess[0], excess) + np.append(excess, excess[-1])) / 2  # [F]
    motion = gaussian_filter1d(per_frame, smoothing_s * rate_hz, mode="nearest")
    return Activity(motion, _probability(motion, float(np.median(upper))), measured=True)


def _probability(motion: Floats, background: float) -> Floats:
    """Soft threshold p = m^2 / (m^2 + t^2).

    The threshold t is half the clip's strong motion (90th percentile), but never below half of what
    remains in the upper face: a clip in which nobody speaks stays low.
    """
    threshold = max(float(np.percentile(motion, 90)) / 2, background / 2, MOTION_FLOOR)
    probability: Floats = motion**2 / (motion**2 + threshold**2)
    return probability


def _pair_motion(
    frames: Sequence[NDArray[np.uint8]], boxes: Sequence[Box | None]
) -> tuple[float, float] | None:
    """Difference between two frames in the mouth and in the upper face, both in units of contrast.

    None where a face is missing or the two boxes are of different shots.
    """
    first, second = boxes
    if first is None or second is None or first.iou(second) < SAME_SHOT_IOU:
        return None
    before = _crop(frames[0], first, 0.0, 0.0)
    scale = SIDE / _side(first)
    # dlib's boxes sit on a grid: start from no motion and from the boxes' motion, keep the better
    starts = {
        (0.0, 0.0),
        (
            (second.x1 + second.x2 - first.x1 - first.x2) / 2 * scale,
            (second.y1 + second.y2 - first.y1 - first.y2) / 2 * scale,
        ),
    }
    aligned = [_align(before, frames[1], first, start) for start in sorted(starts)]
    differences = [np.abs(before - after) for after in aligned]
    difference = min(differences, key=lambda d: float(d[UPPER].mean()))
    contrast = float(before.std()) + 1.0  # of 255: flat crops have no motion to speak of
    return float(difference[MOUTH].mean()) / contrast, float(difference[UPPER].mean()) / contrast


def _align(before: Crop, frame: NDArray[np.uint8], box: Box, start: tuple[float, float]) -> Crop:
    """Crop `frame` where its upper face lies on that of `before`; starts at a shift in crop px."""
    dx, dy = start
    for _ in range(2):
        after = _crop(frame, box, dx, dy)
        (step_x, step_y), _ = cv2.phaseCorrelate(before[UPPER], after[UPPER], _window())
        if not max(abs(step_x), abs(step_y)) < MAX_SHIFT:  # also refuses NaN, from flat crops
            break
        dx, dy = dx + step_x, dy + step_y
    return _crop(frame, box, dx, dy)


def _crop(frame: NDArray[np.uint8], box: Box, dx: float, dy: float) -> Crop:
    """The square around `box`, shifted by (dx, dy) crop px and resampled to [SIDE, SIDE]."""
    step = _side(box) / SIDE
    x = (box.x1 + box.x2) / 2 + (dx - SIDE / 2) * step
    y = (box.y1 + box.y2) / 2 + (dy - SIDE / 2) * step
    matrix = np.array([[step, 0, x], [0, step, y]])
    mode = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    warped = cv2.warpAffine(
        frame, matrix, (SIDE, SIDE), flags=mode, borderMode=cv2.BORDER_REPLICATE
    )
    return warped.astype(np.float32)


def _side(box: Box) -> float:
    return (box.width + box.height) / 2


@cache
def _window() -> Crop:
    rows, columns = UPPER
    size = (columns.stop - columns.start, rows.stop - rows.start)
    return np.asarray(cv2.createHanningWindow(size, cv2.CV_32F))
