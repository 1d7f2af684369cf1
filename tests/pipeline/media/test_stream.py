import pytest
from tiny_media import brightening, encode, tone

from pipeline.media.stream import read_frames


def test_a_picture_that_begins_late_is_read_on_the_clock_of_its_sound(tmp_path):
    film = encode(tmp_path / "a.mkv", "-itsoffset", "0.72", *brightening(), *tone(3))
    levels = [float(frame.mean()) for frame in read_frames(film, 25, (64, 48))]
    told_s = [0.72 + (level * 219 / 255 + 16 - 30) / 80 for level in levels]
    assert told_s == pytest.approx([max(0.72, k / 25) for k in range(68)], abs=0.03)
