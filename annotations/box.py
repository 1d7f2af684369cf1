"""Axis-aligned boxes in pixels, and the one statement of our box convention."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, Self


class Rectangle(Protocol):
    """What `dlib.rectangle` offers: 0-based pixels, all four sides inclusive."""

    def left(self) -> int:
        """Leftmost column; may be negative."""

    def top(self) -> int:
        """Topmost row; may be negative."""

    def right(self) -> int:
        """Rightmost column, inside the rectangle; may lie outside the image."""

    def bottom(self) -> int:
        """Lowest row, inside the rectangle; may lie outside the image."""


@dataclass(frozen=True, slots=True)
class Box:
    """A box in pixels: 0-based, half-open, continuous corners, `x1 < x2` and `y1 < y2`.

    This is torchvision's convention: the image covers [0, W] x [0, H], column c covers [c, c + 1],
    and `width = x2 - x1`. It holds everywhere in this project; others meet it at two edges:

    - dlib (0-based, inclusive, may leave the image): x1 = max(left, 0), x2 = min(right, W - 1) + 1.
    - VOC files (1-based, inclusive): xmin = x1 + 1, xmax = x2.

    Raises:
        ValueError: the corners are not finite or not in order.
    """

    x1: float
    y1: float
    x2: float
    y2: float

    def __post_init__(self) -> None:
        corners = (self.x1, self.y1, self.x2, self.y2)
        if not all(map(math.isfinite, corners)) or self.x1 >= self.x2 or self.y1 >= self.y2:
            raise ValueError(f"{self} is not a box")

    def __str__(self) -> str:
        return f"box {self.x1:g},{self.y1:g} to {self.x2:g},{self.y2:g} px"

    @classmethod
    def from_dlib(cls, rectangle: Rectangle, width_px: int, height_px: int) -> Self:
        """The visible part of a dlib rectangle in an image of the given size."""
        return cls(
            float(max(rectangle.left(), 0)),
            float(max(rectangle.top(), 0)),
            float(min(rectangle.right(), width_px - 1) + 1),
            float(min(rectangle.bottom(), height_px - 1) + 1),
        )

    @classmethod
    def from_voc(cls, xmin: float, ymin: float, xmax: float, ymax: float) -> Self:
        """From 1-based inclusive pixels."""
        return cls(xmin - 1.0, ymin - 1.0, xmax, ymax)

    def to_voc(self) -> tuple[float, float, float, float]:
        """(xmin, ymin, xmax, ymax) in 1-based inclusive pixels."""
        return self.x1 + 1.0, self.y1 + 1.0, self.x2, self.y2

    @property
    def width(self) -> float:
        """In pixels."""
        return self.x2 - self.x1

    @property
    def height(self) -> float:
        """In pixels."""
        return self.y2 - self.y1

    @property
    def area(self) -> float:
        """In square pixels."""
        return self.width * self.height

    def clamped(self, width_px: int, height_px: int) -> Self:
        """The part inside the image.

        Raises:
            ValueError: the box lies outside.
        """
        return type(self)(
            max(self.x1, 0.0),
            max(self.y1, 0.0),
            min(self.x2, float(width_px)),
            min(self.y2, float(height_px)),
        )

    def rounded(self) -> Self:
        """The smallest box with whole-pixel corners that holds this one."""
        return type(self)(
            float(math.floor(self.x1)),
            float(math.floor(self.y1)),
            float(math.ceil(self.x2)),
            float(math.ceil(self.y2)),
        )

    def resized(self, across: float, down: float) -> Self:
        """The same box in an image whose width and height are so many times as large."""
        return type(self)(self.x1 * across, self.y1 * down, self.x2 * across, self.y2 * down)

    def iou(self, other: "Box") -> float:
        """Intersection over union, 0 to 1."""
        width = min(self.x2, other.x2) - max(self.x1, other.x1)
        height = min(self.y2, other.y2) - max(self.y1, other.y1)
        if width <= 0 or height <= 0:
            return 0.0
        intersection = width * height
        return intersection / (self.area + other.area - intersection)


def matched(first: Sequence[Box], second: Sequence[Box], min_iou: float) -> dict[int, int]:
    """Pair boxes that overlap by `min_iou`, best pairs first; index in `second` by that in `first`.

    Each box is in one pair at most.
    """
    pairs = sorted(
        (-one.iou(other), a, b) for a, one in enumerate(first) for b, other in enumerate(second)
    )
    found: dict[int, int] = {}
    for negative_iou, a, b in pairs:
        if -negative_iou >= min_iou and a not in found and b not in found.values():
            found[a] = b
    return found
