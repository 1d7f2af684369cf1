"""Damage to frames: what changes, by how much, and what stays."""

import numpy as np
import pytest

from annotations.box import Box
from models.robustness import picture

BOX = Box(20.0, 10.0, 50.0, 40.0)


def noise(frames=4, seed=0):
    rng = np.random.default_rng(seed)
    return [rng.integers(0, 256, (48, 64, 3), np.uint8) for _ in range(frames)]


def test_blur_is_measured_in_faces():
    frames = noise(1)
    near = picture.blurred(frames, [BOX], 0.1)[0]  # 3 px of a face of 30
    edge = np.zeros((48, 64, 3), np.uint8)
    edge[:, 32:] = 200
    step = picture.blurred([edge], [BOX], 0.1)[0][24, :, 0].astype(float)
    slope = np.diff(step) / 200
    places = np.arange(63)
    mean = (slope * places).sum()
    assert np.sqrt((slope * (places - mean) ** 2).sum()) == pytest.approx(3, abs=0.15)
    assert near.std() < frames[0].std() / 4


def test_darkness_scales_grey_levels_and_rounds_them():
    frame = np.full((4, 4, 3), 201, np.uint8)
    assert (picture.darkened([frame], 0.25)[0] == 50).all()


@pytest.mark.parametrize(("third", "rows"), [(picture.EYES, (10, 20)), (picture.MOUTH, (30, 40))])
def test_a_bar_covers_its_third_of_the_nearest_face_alone(third, rows):
    frames = noise(3)
    for before, after in zip(
        frames, picture.covered(frames, [None, BOX, None], third), strict=True
    ):
        bar = np.zeros((48, 64), bool)
        bar[rows[0] : rows[1], 20:50] = True
        assert (after[bar] == picture.COVER).all()
        assert (after[~bar] == before[~bar]).all()


def test_without_any_face_nothing_is_covered():
    frames = noise(2)
    assert np.array_equal(picture.covered(frames, [None, None], picture.MOUTH), frames)


def test_jpeg_loses_more_at_lower_quality():
    frames = noise(1)
    lost = [np.abs(picture.jpeg(frames, q)[0].astype(int) - frames[0]).mean() for q in (95, 5)]
    assert 0 < lost[0] < lost[1]


def test_lost_frames_show_the_one_before_and_more_loss_adds_to_less():
    frames = noise(10)
    lost = {}
    for share in (0.3, 0.6):
        shown = picture.dropped(frames, share, np.random.default_rng(1))
        again = [i for i in range(10) if not np.array_equal(shown[i], frames[i])]
        assert len(again) == 10 * share and 0 not in again
        assert all(np.array_equal(shown[i], shown[i - 1]) for i in again)
        lost[share] = set(again)
    assert lost[0.3] < lost[0.6]
    assert len(picture.dropped(frames[:1], 0.9, np.random.default_rng(1))) == 1
