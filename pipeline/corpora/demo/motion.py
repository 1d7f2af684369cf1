"""How a demo head moves while it speaks: sway, nods, blinks, gaze, brows and mouth."""

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d

from pipeline.corpora.demo.face import Moment
from pipeline.corpora.demo.plan import Performance
from pipeline.corpora.demo.score import TICK_S, Score

Curve = NDArray[np.float64]  # [F]

BLINK = (0.5, 1.0, 0.6)
"""How far the lids are shut in the frames of a blink."""


def moments(play: Performance, score: Score) -> list[Moment]:
    """Pose, mouth, blink and gaze of every frame.

    Args:
        play: the take.
        score: its curves; mouth, nods and brows follow the voice.
    """
    rng = play.rng("motion")
    lively = float(np.clip(1.0 + play.face["motion"], 0.3, 2.2))
    mouth = score.per_frame(score.opening)
    nod = score.per_frame(gaussian_filter1d(score.loudness, 0.10 / TICK_S))
    yaw = rng.uniform(-0.5, 0.5) + 0.30 * lively * _sway(score, rng)
    pitch = play.face["pitch"] + 0.22 * lively * (_sway(score, rng) + nod - 0.5)
    roll = play.face["roll"] + 0.18 * lively * _sway(score, rng)
    shift = 0.05 * lively * np.column_stack((_sway(score, rng), _sway(score, rng)))
    shift += rng.normal(0.0, 0.08, 2)
    strength = np.clip(0.90 + 0.10 * _sway(score, rng), 0.7, 1.0)
    blink, gaze = _blinks(score, rng), _gaze(score, rng)
    accent = 0.5 * lively * (nod - 0.4).clip(0.0)
    return [
        Moment(
            yaw=float(np.clip(yaw[f], -1.3, 1.3)),
            pitch=float(np.clip(pitch[f], -1.0, 1.0)),
            roll=float(np.clip(roll[f], -1.0, 1.0)),
            shift=(float(shift[f, 0]), float(shift[f, 1])),
            mouth=float(np.clip(mouth[f], 0.0, 1.0)),
            blink=float(blink[f]),
            gaze=(float(gaze[f, 0]), float(gaze[f, 1])),
            accent=float(accent[f]),
            strength=float(strength[f]),
        )
        for f in range(score.frames)
    ]


def _sway(score: Score, rng: np.random.Generator) -> Curve:
    """A slow aimless movement of about unit size [F]."""
    at = np.arange(score.frames) / score.fps
    waves = [
        np.sin(2 * np.pi * (rng.uniform(low, 2.2 * low) * at + rng.random()))
        for low in (0.25, 0.6, 1.2)
    ]
    return np.asarray(0.6 * waves[0] + 0.4 * waves[1] + 0.2 * waves[2])


def _blinks(score: Score, rng: np.random.Generator) -> Curve:
    shut = np.zeros(score.frames + len(BLINK))
    at = rng.uniform(0.2, 2.5)
    while at < score.duration_s:
        start = int(at * score.fps)
        shut[start : start + len(BLINK)] = BLINK
        at += rng.uniform(1.5, 4.0)
    return shut[: score.frames]


def _gaze(score: Score, rng: np.random.Generator) -> NDArray[np.float64]:
    """Saccades every half second or so [F, 2]."""
    fixations = rng.normal(0.0, 0.3, (int(score.duration_s / 0.5) + 2, 2))
    return np.asarray(fixations[(np.arange(score.frames) / score.fps / 0.5).astype(int)])
