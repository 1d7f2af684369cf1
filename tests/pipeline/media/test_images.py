import cv2
import numpy as np
import pytest

from pipeline.errors import MediaError
from pipeline.media.images import read_gray, read_image


def test_pictures_are_rgb_or_gray(tmp_path):
    path = tmp_path / "ü.png"
    picture = np.zeros((2, 3, 3), np.uint8)
    picture[..., 2] = 200  # OpenCV's order: red
    path.write_bytes(cv2.imencode(".png", picture)[1].tobytes())
    assert read_image(path)[0, 0].tolist() == [200, 0, 0]
    assert read_gray(path).tolist() == [[59] * 3] * 2


@pytest.mark.parametrize("read", [read_image, read_gray])
def test_a_broken_or_missing_picture_is_named(tmp_path, read):
    (tmp_path / "a.jpg").write_bytes(b"no image")
    for name in ("a.jpg", "b.jpg"):
        with pytest.raises(MediaError, match=rf"{name}: not a readable image"):
            read(tmp_path / name)
