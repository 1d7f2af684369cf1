"""What is drawn into a frame, where, and when."""

from dataclasses import replace

import numpy as np
import pytest
from tiny_media import make_sound, make_video

from models.annotated_video import (
    FOUND,
    INK,
    PAPER,
    SIGMA,
    annotated_frames,
    write_annotated_video,
)
from models.recognition.answers import FrameFace, Moment, Recognition, WindowAnswer
from pipeline.errors import MediaError
from pipeline.media.stream import read_frames, write_film

P = {"anger": 0.7, "fear": 0.3}
FACE = FrameFace(0.0, (20, 12, 40, 36), (1, 1, 2, 1), 0.9, 0.5)


@pytest.fixture
def answer(tmp_path):
    """Of a video of 64 x 48 px with 10 frames; a face in the first half."""
    return Recognition(
        file=str(make_video(tmp_path / "clip.mp4")),
        duration_s=0.4, fps=25, width_px=64, height_px=48, has_sound=True,
        emotion="anger", confidence=0.7, runner_up="fear", abstains=False, branch="av",
        probabilities=P, face_share=0.5,
        windows=(WindowAnswer(0, 0.4, "av", P, ()),),
        timeline=(Moment(0, P), Moment(0.4, {"anger": 0.5, "fear": 0.5})),
        faces=(FACE, FrameFace(0.36, None, None, 0.0, 0.0)),
        face_finder="detector", face_opinion={}, notes=(),
    )  # fmt: skip


def near(pixel, colour, tolerance):
    return np.abs(pixel.astype(int) - colour).max() <= tolerance


def test_the_box_is_drawn_at_its_place_while_there_is_a_face(answer):
    first, *_, last = annotated_frames(answer, 25)
    scale = 10  # to 640 x 480 px
    for x, y in ((30, 12), (20, 24), (40, 24), (30, 36)):
        assert near(first[y * scale, x * scale], FOUND, 8), (x, y)
        assert not near(last[y * scale, x * scale], FOUND, 8)
    # two sigma, across the corner at 40, 36: 4 px to the right, and no further
    plain = replace(answer, faces=(replace(FACE, sigma=None), answer.faces[1]))
    without = next(annotated_frames(plain, 25))
    changed = np.abs(first.astype(int) - without).max(axis=2) > 0
    row = np.flatnonzero(changed[36 * scale + 8, 38 * scale : 50 * scale]) + 38 * scale
    assert row.max() == pytest.approx(44 * scale, abs=2)
    assert near(first[36 * scale + 8, 43 * scale], SIGMA, 110)


def test_the_cursor_runs_from_the_start_to_the_end(answer):
    places = []
    for frame in annotated_frames(answer, 25):
        line = frame[-40]
        places.append(np.flatnonzero((line == INK).all(axis=1)).mean())
    assert len(places) == 10 and np.allclose(np.diff(places), np.diff(places)[0], atol=1)
    assert places[1] > places[0]


def test_a_window_without_an_answer_gets_none_of_another(answer):
    halves = replace(answer, windows=(WindowAnswer(0, 0.2, "av", P, ()),), faces=())
    whole = replace(answer, faces=())
    for index, (half, full) in enumerate(
        zip(annotated_frames(halves, 25), annotated_frames(whole, 25), strict=True)
    ):
        assert np.array_equal(half, full) == (index < 5)


def test_a_sound_gets_a_plain_ground_and_a_film_of_its_length(answer, tmp_path):
    heard = replace(
        answer, file=str(make_sound(tmp_path / "a.wav")), fps=0, width_px=0, height_px=0, faces=()
    )
    write_annotated_video(heard, tmp_path / "out.mp4")
    frames = list(read_frames(tmp_path / "out.mp4", 25, (960, 400)))
    assert len(frames) == 10 and near(frames[0][-1, 0], PAPER, 6)


def test_nothing_is_left_of_a_film_that_failed(answer, tmp_path):
    with pytest.raises(MediaError, match="is the recording itself"):
        write_annotated_video(answer, tmp_path / "clip.mp4")
    (tmp_path / "bad.mp4").write_bytes(b"no video")
    with pytest.raises(MediaError, match=r"bad\.mp4: ffmpeg gave up \("):
        write_annotated_video(replace(answer, file=str(tmp_path / "bad.mp4")), tmp_path / "out.mp4")
    with pytest.raises(MediaError, match=r"out\.mp4: ffmpeg gave up"):
        with write_film(tmp_path / "out.mp4", 25, (63, 47), None) as send:
            for _ in range(50):
                send(np.zeros((47, 63, 3), np.uint8))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bad.mp4", "clip.mp4"]
