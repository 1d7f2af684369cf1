"""Stored pictures as arrays."""

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

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


def read_size(path: Path) -> tuple[int, int]:
    """Width and height in px as the head of a stored picture states them.

    Raises:
        MediaError: the file is missing or not an image.
    """
    try:
        with Image.open(path) as picture:
            return picture.size
    except (OSError, Image.DecompressionBombError) as error:
        raise _unreadable(path) from error


def _decode(path: Path, mode: int) -> Picture:
    content = path.read_bytes() if path.is_file() else b""  # cv2.imread fails on some Unicode paths
    pixels = cv2.imdecode(np.frombuffer(content, np.uint8), mode) if content else None
    if pixels is None:
        raise _unreadable(path)
    return np.asarray(pixels, np.uint8)


def _unreadable(path: Path) -> MediaError:
    return MediaError(f"{path}: not a readable image; run `dvc repro -f extract`")
