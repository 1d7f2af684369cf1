from types import SimpleNamespace

import numpy as np
import pytest
from tiny_media import EXTRACT, PCM, brightening, encode, told_time_s

from models.recognition.windows import decoded
from pipeline.media.params import ResampleParams
from pipeline.media.sound import SAMPLE_RATE_HZ

PARAMS = SimpleNamespace(
    extract=EXTRACT.model_copy(update={"frame_step": 2}),
    resample=ResampleParams(method="soxr", quality="high"),
    pack=SimpleNamespace(window_s=1.0),
)
RISING = ["-f", "lavfi", "-i", "aevalsrc=0.1+0.2*t:sample_rate=16000:duration=2"]


def sound_times_s(waveform):
    """The time that each sample of `RISING` tells."""
    return (waveform - 0.1) / 0.2


@pytest.mark.parametrize(
    ("picture", "sound", "picture_s", "sound_s"),
    [(0, 0, 0, 0), (0.72, 0, 0.72, 0), (0, 0.5, 0, 0.5)],
    ids=["together", "picture late", "sound late"],
)
def test_windows_hold_what_is_shown_and_heard_in_them(tmp_path, picture, sound, picture_s, sound_s):
    late = [["-itsoffset", str(start)] for start in (picture, sound)]
    thinned = ["-vf", "select='lt(mod(n,8),5)'", "-fps_mode", "vfr"]
    film = [*late[0], *brightening(2, 25), *late[1], *RISING, *thinned, *PCM]
    clip = encode(tmp_path / "a.mkv", *film)
    with decoded(clip, True, PARAMS) as recording:
        windows = list(recording.windows())
        assert recording.length_s == pytest.approx(2 + max(picture_s, sound_s), abs=0.1)
        assert len(windows) == recording.window_count
        for window in windows:
            told_s = [picture_s + told_time_s(frame) for frame in window.frames]
            assert window.times_s == pytest.approx(told_s, abs=0.025)
            assert all(window.start_s <= t < window.end_s for t in window.times_s)
            require_same_clock(window, sound_s)
            part, inside = window.around(window.end_s, 0.8)
            assert part.times_s == window.times_s[inside.start : inside.stop]
            assert all(t >= window.end_s - 0.4 for t in part.times_s)
            require_same_clock(part, sound_s)
    assert sum(len(window.frames) for window in windows) == recording.record.frames


def require_same_clock(window, sound_s):
    if window.waveform is None:
        return
    inner = slice(200, -200)  # away from where resampling begins and ends
    at_s = window.sound_start_s + np.arange(len(window.waveform))[inner] / SAMPLE_RATE_HZ
    told_s = sound_s + sound_times_s(window.waveform[inner])
    np.testing.assert_allclose(told_s, at_s, atol=0.005)
    assert window.start_s <= window.sound_start_s < window.end_s
