"""The painter of the demo corpus: a shaded head before a blurred room, as a cheap camera sees it.

All that stays the same within a clip (room, body, light on the skin, sensor noise) is baked once;
a frame then costs a few dozen anti-aliased polygons.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.corpora.demo.cast import Color, Speaker, blend, shade
from pipeline.corpora.demo.curve import Points
from pipeline.corpora.demo.face import Head
from pipeline.corpora.demo.hair import Hair, hair_of
from pipeline.corpora.demo.set import LIGHT_HALF, NEUTRAL, bake_backdrop, bake_light, neck

Image = NDArray[np.uint8]  # [H, W, 3], BGR

_SUBPIXEL_BITS = 4
_NOISE_MARGIN_PX = 48


class Painter:
    """Draws one speaker in one clip.

    Args:
        speaker: who is drawn.
        size_px: width and height of the picture.
        head: the head at rest.
        rng: decides room, light and noise of the clip.
    """

    def __init__(
        self, speaker: Speaker, size_px: tuple[int, int], head: Head, rng: np.random.Generator
    ) -> None:
        self.speaker = speaker
        self._size_px = size_px
        self._rng = rng
        self._backdrop = bake_backdrop(speaker, size_px, head, rng)
        self._light = bake_light(speaker, head.unit_px, rng)
        self._rest = head
        self._hair: Hair = hair_of(speaker.hair_style)
        width, height = size_px
        shape = (height + _NOISE_MARGIN_PX, width + _NOISE_MARGIN_PX, 3)
        self._noise = rng.normal(0.0, 3.0, shape).astype(np.int16)

    def paint(self, head: Head, shapes: dict[str, Points], folds: float) -> Image:
        """Draw one frame.

        Args:
            head: pose.
            shapes: outlines in head coordinates from `face_shapes`.
            folds: depth of the folds beside nose and mouth, 0-1.

        Returns:
            [H, W, 3] uint8, BGR.
        """
        image = self._backdrop.copy()
        px = head.project_all({**shapes, **self._hair.shapes, **_FIXED}, _BULGES)
        self._behind(image, px, head)
        fill(image, px["outline"], self.speaker.skin)
        self._nose(image, px)
        self._mouth(image, px, folds)
        for side in ("l", "r"):
            self._eye(image, px, side, head)
        self._shade(image, head)
        for side in ("l", "r"):
            fill(image, px[f"brow_{side}"], shade(self.speaker.hair, 0.75))
        self._front(image, px)
        return self._expose(image)

    def _behind(self, image: Image, px: dict[str, Points], head: Head) -> None:
        """What the face hides: back hair, neck and ears."""
        if "back" in px:
            fill(image, px["back"], shade(self.speaker.hair, 0.62))
        fill(image, neck(head, self._rest), shade(self.speaker.skin, 0.70))
        for side in ("l", "r"):
            fill(image, px[f"ear_{side}"], shade(self.speaker.skin, 0.86))
            stroke(image, px[f"ear_{side}"][4:-4], self._dark(0.66), self._px(0.02))

    def _nose(self, image: Image, px: dict[str, Points]) -> None:
        stroke(image, px["bridge"], self._dark(0.90), self._px(0.05))
        for side in ("l", "r"):
            stroke(image, px[f"wing_{side}"], self._dark(0.72), self._px(0.035))
            fill(image, px[f"nostril_{side}"], self._dark(0.40))

    def _mouth(self, image: Image, px: dict[str, Points], folds: float) -> None:
        lip = blend(self.speaker.skin, (92, 84, 188), 0.62)
        for side in ("l", "r"):
            stroke(image, px[f"fold_{side}"], self._dark(0.93 - 0.25 * folds), self._px(0.035))
        stroke(image, px["under_lip"], self._dark(0.84), self._px(0.06))
        fill(image, px["lips"], lip)
        fill(image, px["lip_upper"], shade(lip, 0.80))
        fill(image, px["inner"], (34, 22, 58))
        fill(image, px["tongue"], (84, 74, 158))
        fill(image, px["teeth"], (214, 224, 228))
        stroke(image, px["inner"], shade(lip, 0.45), self._px(0.022), closed=True)

    def _eye(self, image: Image, px: dict[str, Points], side: str, head: Head) -> None:
        eye, (x, y) = px[f"eye_{side}"], px[f"sight_{side}"][0]
        x += self._px(0.07) * head.moment.gaze[0]
        y += self._px(0.05) * head.moment.gaze[1]
        fill(image, px[f"socket_{side}"], self._dark(0.88))
        stroke(image, px[f"bag_{side}"], self._dark(0.86), self._px(0.03))
        low, high = eye.min(0).astype(int) - 2, eye.max(0).astype(int) + 4
        window = image[low[1] : high[1], low[0] : high[0]]
        tile = np.full_like(window, (226, 230, 232))
        centre = (x - low[0], y - low[1])
        disc(tile, centre, self._px(0.118), shade(self.speaker.iris, 0.6))
        disc(tile, centre, self._px(0.098), self.speaker.iris)
        disc(tile, centre, self._px(0.052), (14, 12, 12))
        disc(tile, (centre[0] - self._px(0.03), centre[1] - self._px(0.04)), self._px(0.024), WHITE)
        stroke(tile, px[f"lid_{side}"] - low, (120, 124, 132), self._px(0.07))
        mask = np.zeros(window.shape[:2], np.uint8)
        fill(mask, eye - low, (255, 255, 255))
        weight = mask[..., None].astype(np.float32) / 255.0
        window[:] = (window + (tile.astype(np.float32) - window) * weight).astype(np.uint8)
        stroke(image, px[f"floor_{side}"], self._dark(0.58), self._px(0.02))
        stroke(image, px[f"lid_{side}"], self._dark(0.20), self._px(0.045))
        stroke(image, px[f"crease_{side}"], self._dark(0.62), self._px(0.022))

    def _shade(self, image: Image, head: Head) -> None:
        """Multiply by the light map, which follows roll and half of yaw and pitch."""
        half = LIGHT_HALF * self.unit_px
        turn = head.rotation
        drift = head.project(np.zeros((1, 2)))[0] - head.origin
        shift = head.origin + 0.4 * drift - turn @ np.array([half, half])
        matrix = np.column_stack((turn, shift))
        light = cv2.warpAffine(
            self._light, matrix, self._size_px, borderValue=(NEUTRAL, NEUTRAL, NEUTRAL)
        )
        cv2.multiply(image, light, dst=image, scale=1.0 / NEUTRAL)

    def _front(self, image: Image, px: dict[str, Points]) -> None:
        for name in self._hair.shapes:
            if name.startswith("front"):
                fill(image, px[name], self.speaker.hair)
        for name, tone in self._hair.tones.items():
            stroke(image, px[name], shade(self.speaker.hair, tone), self._px(0.022))
        if self.speaker.glasses:
            for name in _GLASSES:
                stroke(image, px[name], (52, 44, 40), self._px(0.03))

    def _expose(self, image: Image) -> Image:
        """Soften as a lens does and add sensor noise."""
        soft = cv2.GaussianBlur(image, (3, 3), 0.55)
        x, y = self._rng.integers(0, _NOISE_MARGIN_PX, 2)
        height, width = image.shape[:2]
        noise = self._noise[y : y + height, x : x + width]
        return np.asarray(cv2.add(soft, noise, dtype=cv2.CV_8U))

    @property
    def unit_px(self) -> float:
        """Half a face width in px."""
        return self._rest.unit_px

    def _px(self, length: float) -> float:
        return length * self.unit_px

    def _dark(self, tone: float) -> Color:
        return shade(self.speaker.skin, tone)


WHITE = (255, 255, 255)

_ANGLE = np.linspace(0.0, 2.0 * np.pi, 25)
_EAR = np.column_stack((1.0 + 0.11 * np.cos(_ANGLE), 0.05 + 0.24 * np.sin(_ANGLE)))
_RIM = np.column_stack((0.43 + 0.30 * np.cos(_ANGLE), -0.09 + 0.24 * np.sin(_ANGLE)))
_TEMPLE = np.array([(0.72, -0.13), (1.0, -0.10)])
_GLASSES = {
    "rim_l": _RIM * (-1.0, 1.0),
    "rim_r": _RIM,
    "temple_l": _TEMPLE * (-1.0, 1.0),
    "temple_r": _TEMPLE,
    "nosepiece": np.array([(-0.14, -0.13), (0.0, -0.17), (0.14, -0.13)]),
}
_FIXED = {"ear_l": _EAR * (-1.0, 1.0), "ear_r": _EAR, **_GLASSES}
_NOSE = ("bridge", "wing_l", "wing_r", "nostril_l", "nostril_r")
_BULGES = {**dict.fromkeys(_NOSE, 0.22), **dict.fromkeys(_GLASSES, 0.08)}
"""How far parts stand out of the face, head units."""


def fill(image: Image, points: Points, color: Color) -> None:
    """Fill a closed outline given in px."""
    cv2.fillPoly(image, [_fixed(points)], color, cv2.LINE_AA, _SUBPIXEL_BITS)


def stroke(
    image: Image, points: Points, color: Color, width_px: float, closed: bool = False
) -> None:
    """Draw a curve given in px; thinner than a pixel becomes a pixel."""
    cv2.polylines(
        image,
        [_fixed(points)],
        closed,
        color,
        max(1, round(width_px)),
        cv2.LINE_AA,
        _SUBPIXEL_BITS,
    )


def disc(image: Image, centre: tuple[float, float], radius_px: float, color: Color) -> None:
    """Fill a circle given in px."""
    x, y, radius = (round(value * 2**_SUBPIXEL_BITS) for value in (*centre, radius_px))
    cv2.circle(image, (x, y), radius, color, -1, cv2.LINE_AA, _SUBPIXEL_BITS)


def _fixed(points: Points) -> NDArray[np.int32]:
    return np.round(points * 2**_SUBPIXEL_BITS).astype(np.int32)
