"""What stands still in a clip of the demo corpus: the room, the body and the light on the skin."""

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.corpora.demo.cast import Color, Speaker, shade
from pipeline.corpora.demo.curve import Points, spline
from pipeline.corpora.demo.face import Head

NEUTRAL = 160
"""Value of the light map that leaves a pixel as it is."""

LIGHT_HALF = 1.7
"""Half side of the light map in head units; the face's centre is the map's centre."""

_COLLAR = np.array([(-0.52, 1.72), (-0.34, 1.90), (0.0, 1.99), (0.34, 1.90), (0.52, 1.72)])
_SHOULDERS = np.array(
    [
        (-2.5, 3.2),
        (-2.3, 2.35),
        (-1.7, 1.98),
        (-0.52, 1.70),
        (-0.34, 1.90),
        (0.0, 1.99),
        (0.34, 1.90),
        (0.52, 1.70),
        (1.7, 1.98),
        (2.3, 2.35),
        (2.5, 3.2),
    ]
)


def neck(head: Head, rest: Head) -> Points:
    """The neck in px: its top follows the head, its foot stays in the collar."""
    top = np.array([(0.56, 0.75), (-0.56, 0.75)]) @ head.rotation.T * head.unit_px + head.origin
    foot = spline(_COLLAR) * rest.unit_px + np.array(rest.centre_px)
    return np.vstack((foot, top))


def bake_backdrop(
    speaker: Speaker, size_px: tuple[int, int], rest: Head, rng: np.random.Generator
) -> NDArray[np.uint8]:
    """Room and body [H, W, 3]: a wall, light from one side, something out of focus, shoulders."""
    width, height = size_px
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    x, y = x / width, y / height
    bright = rng.uniform(0.92, 1.08) * (1.12 - 0.35 * x - 0.18 * y)
    wall = bright[..., None] * np.array(speaker.wall, np.float32)
    room = np.clip(wall, 0, 255).astype(np.uint8)
    for box, color in _furniture(speaker, rng):
        low = (int(box[0] * width), int(box[1] * height))
        cv2.rectangle(room, low, (int(box[2] * width), int(box[3] * height)), color, -1)
    room = cv2.GaussianBlur(room, (0, 0), 0.018 * width)
    body = (spline(_SHOULDERS) * rest.unit_px + np.array(rest.centre_px)).round().astype(np.int32)
    mask = np.zeros((height, width), np.uint8)
    cv2.fillPoly(mask, [body], (255,), cv2.LINE_AA)
    folds = 0.10 * np.sin(9.0 * x + 7.0 * y + rng.uniform(0, 6)) * np.sin(5.0 * x - 3.0 * y)
    cloth = (1.30 - 0.55 * x + folds)[..., None] * np.array(speaker.shirt, np.float32)
    weight = mask[..., None].astype(np.float32) / 255.0
    edge = cv2.GaussianBlur(weight, (0, 0), 0.12 * rest.unit_px)[..., None]
    shirt = cloth * (0.55 + 0.45 * edge)
    return np.clip(room + (shirt - room) * weight, 0, 255).astype(np.uint8)


def _furniture(
    speaker: Speaker, rng: np.random.Generator
) -> list[tuple[tuple[float, float, float, float], Color]]:
    """Boxes of the room in shares of the picture, with colours; each speaker has a room."""
    dark, light = shade(speaker.wall, 0.62), shade(speaker.wall, 1.25)
    shift = float(rng.uniform(-0.04, 0.04))
    rooms = {
        "short": [((0.04, 0.10, 0.22, 0.42), dark), ((0.06, 0.13, 0.20, 0.39), light)],
        "long": [((0.76, 0.0, 0.98, 0.62), light), ((0.86, 0.0, 0.88, 0.62), dark)],
        "swept": [
            ((0.02, 0.28, 0.30, 0.31), dark),
            ((0.05, 0.10, 0.09, 0.28), (70, 70, 150)),
            ((0.10, 0.12, 0.14, 0.28), (140, 110, 60)),
            ((0.16, 0.08, 0.19, 0.28), (80, 130, 90)),
        ],
        "bald": [((0.80, 0.30, 0.94, 1.0), dark), ((0.74, 0.12, 1.0, 0.36), light)],
    }
    boxes = rooms[speaker.hair_style]
    return [((a + shift, b, c + shift, d), color) for (a, b, c, d), color in boxes]


def bake_light(speaker: Speaker, unit_px: float, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Factors for the skin [S, S, 3], `NEUTRAL` is 1: light, cheeks, eye sockets, beard."""
    side = int(2 * LIGHT_HALF * unit_px)
    y, x = (np.mgrid[0:side, 0:side].astype(np.float32) - side / 2) / unit_px
    lean = rng.uniform(0.10, 0.16)
    round_off = np.clip((x / 1.0) ** 2 + (np.clip(y, -1.4, 1.4) / 1.4) ** 2, 0.0, 1.3)
    tone = 1.10 - lean * x - 0.05 * y - 0.24 * round_off**2
    tone += _spot(x, y, (-0.25, -0.75), (0.45, 0.22), 0.10)  # forehead
    tone += _spot(x, y, (-0.02, 0.22), (0.06, 0.16), 0.10)  # nose
    tone += _spot(x, y, (0.0, 1.05), (0.20, 0.10), 0.06)  # chin
    tone += _spot(x, y, (0.0, 0.45), (0.22, 0.06), -0.12)  # under the nose
    for eye in (-0.42, 0.42):
        tone += _spot(x, y, (eye * 0.8, -0.20), (0.22, 0.14), -0.13)
        tone += _spot(x, y, (eye * 1.25, 0.22), (0.20, 0.14), 0.07)
    light = np.repeat(tone[..., None], 3, axis=2)
    for cheek in (-0.58, 0.58):
        light[..., :2] += _spot(x, y, (cheek, 0.38), (0.22, 0.20), -0.07)[..., None]
    beard = 0.55 * speaker.beard * _beard(x, y)
    light *= 1.0 - beard[..., None] * (1.0 + 0.08 * rng.standard_normal((side, side, 1)))
    inside = cv2.GaussianBlur((x**2 / 1.02 + y**2 / 1.7 < 1.0).astype(np.float32), (0, 0), 1.5)
    factors = 1.0 + (light - 1.0) * inside[..., None]
    return np.clip(factors * NEUTRAL, 0, 255).astype(np.uint8)


def _beard(x: NDArray[np.float32], y: NDArray[np.float32]) -> NDArray[np.float32]:
    jaw = 1.0 / (1.0 + np.exp(-(y - 0.55 + 0.5 * (np.abs(x) - 0.55).clip(0)) / 0.05))
    lips = np.exp(-((x / 0.34) ** 4) - ((y - 0.72) / 0.13) ** 4)
    sides = (np.abs(x) > 0.78) * (1.0 / (1.0 + np.exp(-(y + 0.05) / 0.05)))
    return np.asarray(np.maximum(jaw, 0.8 * sides) * (1.0 - 0.9 * lips), np.float32)


def _spot(
    x: NDArray[np.float32],
    y: NDArray[np.float32],
    centre: tuple[float, float],
    spread: tuple[float, float],
    height: float,
) -> NDArray[np.float32]:
    across, down = (x - centre[0]) / spread[0], (y - centre[1]) / spread[1]
    return np.asarray(height * np.exp(-(across**2) - down**2), np.float32)
