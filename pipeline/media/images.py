"""Stored pictures as arrays."""

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.errors import MediaError

Picture = NDArray[np.uint8]
"""RGB [H, W, 3], or gray [H, W]."""


def read_image(path: Path) -> Picture:
    """A stored picture as RGB [H, W, 3].

    Raises:
        MediaError: the file is missing or not an image.
    """
    return _decode(path, cv2.IMREAD_COLOR_RGB)


def read_gray(path: Path) -> Picture:
    """A stored picture in gray levels [H, W].

    Raises:
        MediaError: the file is missing or not an image.
    """
    return _decode(path, cv2.IMREAD_GRAYSCALE)


def _decode(path: Path, mode: int) -> Picture:
    content = path.read_bytes() if path.is_file() else b""  # cv2.imread fails on some Unicode paths
    pixels = cv2.imdecode(np.frombuffer(content, np.uint8), mode) if content else None
    if pixels is None:
        raise MediaError(f"{path}: not a readable image; run `dvc repro -f extract`")
    return np.asarray(pixels, np.uint8)
