"""Visual speech activity: how likely the face in a frame is speaking, from its mouth's motion.

A mouth that speaks moves to and fro, several times a second; one that smiles, yawns or is pressed
together goes to another place. So the mouth is compared at three moments within a syllable: what
counts is the way from the first over the second to the third, less the way from the first to the
third. A way is the mean absolute difference of the mouth's pixels between two frames, after these
are aligned on the upper face, minus the difference that remains in the upper face itself (its
median, which blinks and brows do not reach): head motion, lighting, sensor noise and coding noise
cancel. It is measured in units of the mouth's own contrast, and one threshold, the same for all
recordings, makes a probability of it. No label is used.

Source: Everingham, Sivic, Zisserman, "Hello! My name is... Buffy", BMVC 2006, speaker detection:
the pixel difference in a mouth region between frames, minimal over a search region around it.
Deviations: the upper face is aligned to a part of a pixel instead of searching for the mouth, what
does not come back is taken off, and the threshold is soft.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d

from annotations.box import Box
from pipeline.clips import CLOCK_TICK_S

Floats = NDArray[np.float64]
Gray = NDArray[np.float32]

SIDE = 96
"""Face crops are resampled to SIDE x SIDE px, so that motion is relative to the face's size."""

UPPER = (slice(8, 58), slice(10, 86))
"""Rows and columns of brows, eyes and nose in a crop of dlib's box."""

MOUTH = (slice(60, 94), slice(21, 75))
"""Rows and columns of the mouth and chin."""

MAX_SHIFT = 12.0
"""Largest believable correction of the alignment in crop pixels, an eighth of the face."""

MAX_STEP = 2.0
"""Largest believable refinement in crop pixels; the linear model does not reach further."""

FLATNESS = 1.0
"""Keeps the alignment still where the upper face has no texture, in squared gray levels."""

SAME_SHOT_IOU = 0.3
"""Neighbouring boxes that overlap less belong to different shots: no motion is measured."""

STEP_S = 0.08
"""Least time between two of the moments at which a mouth is compared: about half a syllable."""

SPEAKING = 0.07
"""Motion at which it is as likely as not that the mouth speaks."""

MEAN_OF_MEDIAN = 1.183
"""Mean over median of the absolute value of Gaussian noise, sqrt(2 / pi) / 0.6745."""

MIN_RATE_HZ = 10.0
"""Mouths open about 5 times a second; at lower frame rates their motion is aliased."""

UNKNOWN = 0.5
"""Probability where nothing can be measured."""


@dataclass(frozen=True, slots=True)
class Activity:
    """Mouth motion [F] in units of the mouth's contrast, and speech probability [F] in [0, 1].

    Both are 0 in a frame without a face: nobody is seen to speak. `measured` is False where too few
    frames in a row show the face: motion is then 0 throughout and the probability `UNKNOWN` in the
    frames with a face, or in all frames of a clip without any, which weights them alike.
    """

    motion: Floats
    speech: Floats
    measured: bool


def speech_activity(
    frames: Sequence[NDArray[np.uint8]],
    boxes: Sequence[Box | None],
    times_s: Sequence[float],
    smoothing_s: float,
) -> Activity:
    """Measure mouth motion and turn it into a speech probability per frame.

    Args:
        frames: F gray images of shape [H, W].
        boxes: the speaker's face in each frame, None where it was not found.
        times_s: when each frame is shown, ascending.
        smoothing_s: standard deviation of the Gaussian that smooths motion over time, in seconds.

    Returns:
        Motion and probability of each frame.
    """
    count, shown_s = len(frames), np.asarray(times_s, np.float64)
    visible = np.array([box is not None for box in boxes])

    @cache
    def moved(first: int, last: int) -> float:
        return _motion((frames[first], frames[last]), (boxes[first], boxes[last]))

    triples = _triples(shown_s)
    to_and_fro = np.array([moved(a, b) + moved(b, c) - moved(a, c) for a, b, c in triples])
    known = np.isfinite(to_and_fro)
    if not known.any():
        speech = np.where(visible | ~visible.any(), UNKNOWN, 0.0)
        return Activity(np.zeros(count), speech, measured=False)
    middle_s = np.array([(shown_s[first] + shown_s[last]) / 2 for first, _, last in triples])
    per_frame = np.interp(shown_s, middle_s[known], np.maximum(to_and_fro[known], 0.0))
    motion = _smoothed(per_frame, shown_s, smoothing_s) * visible
    return Activity(motion, motion**2 / (motion**2 + SPEAKING**2), measured=True)


def _triples(times_s: Floats) -> list[tuple[int, int, int]]:
    """Frames `STEP_S` apart or the next, one triple for each frame that has two such after it.

    Of three frames or more that all lie closer, the first, the middle and the last.
    """
    count = len(times_s)
    later = np.searchsorted(times_s, times_s + STEP_S - CLOCK_TICK_S)
    found = [(t, later[t], later[later[t]]) for t in range(count) if later[t] < count]
    found = [(a, int(b), int(c)) for a, b, c in found if c < count]
    return found if found or count < 3 else [(0, count // 2, count - 1)]


def _smoothed(values: Floats, times_s: Floats, deviation_s: float) -> Floats:
    """A Gaussian over values [F] at uneven times, on an even grid of their usual distance."""
    length_s = times_s[-1] - times_s[0]
    steps = max(1, round(length_s / float(np.median(np.diff(times_s)))))
    grid_s = np.linspace(times_s[0], times_s[-1], steps + 1)
    even = np.interp(grid_s, times_s, values)
    smooth = gaussian_filter1d(even, deviation_s * steps / length_s, mode="nearest")
    return np.interp(times_s, grid_s, smooth)


def _motion(
    frames: tuple[NDArray[np.uint8], NDArray[np.uint8]], boxes: tuple[Box | None, Box | None]
) -> float:
    """How much more the mouth differs between two frames than the upper face does.

    In units of the mouth's contrast; NaN where a face is missing or the boxes are of different
    shots.
    """
    first, second = boxes
    if first is None or second is None or first.iou(second) < SAME_SHOT_IOU:
        return np.nan
    # float: whole gray levels are too coarse for the median of a faint difference
    earlier, later = (frame.astype(np.float32) for frame in frames)
    before = _crop(earlier, first, 0.0, 0.0)
    scale = SIDE / _side(first)
    # dlib's boxes sit on a grid: start from no motion and from the boxes' motion, keep the better
    starts = {
        (0.0, 0.0),
        (
            (second.x1 + second.x2 - first.x1 - first.x2) / 2 * scale,
            (second.y1 + second.y2 - first.y1 - first.y2) / 2 * scale,
        ),
    }
    aligned = [_align(before, later, first, start) for start in sorted(starts)]
    upper, mouth = min(_differences(before, after) for after in aligned)
    contrast = float(before[MOUTH].std()) + 1.0  # of 255: flat crops have no motion to speak of
    return max(mouth - upper, 0.0) / contrast


def _differences(before: Gray, after: Gray) -> tuple[float, float]:
    """Gray levels by which aligned crops differ: (upper face, mouth), equal for equal noise."""
    difference = np.abs(before - after)
    upper = float(np.median(difference[UPPER])) * MEAN_OF_MEDIAN
    return upper, float(difference[MOUTH].mean())


def _align(before: Gray, frame: Gray, box: Box, start: tuple[float, float]) -> Gray:
    """Crop `frame` where its upper face lies on that of `before`; starts at a shift in crop px.

    Phase correlation finds the shift to half a pixel, two Gauss-Newton steps on the squared
    difference (Lucas and Kanade, 1981) to a fiftieth.
    """
    target, weights = before[UPPER], _window()
    shift = np.array(start)
    coarse, _ = cv2.phaseCorrelate(target, _crop(frame, box, *start)[UPPER], weights)
    if np.abs(coarse).max() < MAX_SHIFT:
        shift += coarse
    gradient_y, gradient_x = np.gradient(target)
    slopes = np.stack([gradient_x.ravel(), gradient_y.ravel()])  # [2, pixels]
    weighted = slopes * weights.ravel()
    normal = weighted @ slopes.T + FLATNESS * np.eye(2)
    for _ in range(2):
        error = target - _crop(frame, box, *shift)[UPPER]
        step = np.linalg.solve(normal, weighted @ error.ravel())
        if np.abs(step).max() > MAX_STEP:
            break
        shift += step
    return _crop(frame, box, *shift)


def _crop(frame: Gray, box: Box, dx: float, dy: float) -> Gray:
    """The square around `box`, shifted by (dx, dy) crop px and resampled to [SIDE, SIDE]."""
    step = _side(box) / SIDE
    x = (box.x1 + box.x2) / 2 + (dx - SIDE / 2) * step
    y = (box.y1 + box.y2) / 2 + (dy - SIDE / 2) * step
    matrix = np.array([[step, 0, x], [0, step, y]])
    mode = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    warped = cv2.warpAffine(
        frame, matrix, (SIDE, SIDE), flags=mode, borderMode=cv2.BORDER_REPLICATE
    )
    return np.asarray(warped, np.float32)


def _side(box: Box) -> float:
    return (box.width + box.height) / 2


@cache
def _window() -> Gray:
    rows, columns = UPPER
    size = (columns.stop - columns.start, rows.stop - rows.start)
    return np.asarray(cv2.createHanningWindow(size, cv2.CV_32F))
