"""A recording as windows: equal stretches of its stored frames and of its sound.

It is decoded to a temporary folder, as the stage `extract` does, and read window by window, so that
no more than a window's frames and sound lie in memory.
"""

import math
import tempfile
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from models.audio.panns import SHORTEST
from models.model_card import InputParams
from pipeline.clips import CLOCK_TICK_S, Clip, ClipRecord
from pipeline.errors import MediaError
from pipeline.media.decode import FRAMES, SOUND, ExtractJob, extract_clip, read_record
from pipeline.media.probe import probe
from pipeline.media.sound import SAMPLE_RATE_HZ, read_wav, resample, to_mono

_CLIP = "clip"


class Window(NamedTuple):
    """A stretch of a decoded recording, on the clock of `ClipRecord`.

    Stored frames and when they are shown; sound [T] at 32 kHz and when it begins, or None.
    """

    start_s: float
    end_s: float
    frames: tuple[Path, ...]
    times_s: tuple[float, ...]
    waveform: NDArray[np.float32] | None
    sound_start_s: float

    def around(self, time_s: float, length_s: float) -> tuple["Window", range]:
        """The `length_s` around a moment, as far as they lie in the window, and its frames."""
        start_s = max(self.start_s, time_s - length_s / 2)
        end_s = min(self.end_s, time_s + length_s / 2)
        first, last = (_first_from(self.times_s, time_s) for time_s in (start_s, end_s))
        waveform = self.waveform
        if waveform is not None:
            start, end = (
                max(0, round((t - self.sound_start_s) * SAMPLE_RATE_HZ)) for t in (start_s, end_s)
            )
            waveform = _long_enough(waveform[start:end])
        frames, times_s = self.frames[first:last], self.times_s[first:last]
        sound_start_s = max(start_s, self.sound_start_s)
        part = Window(start_s, end_s, frames, times_s, waveform, sound_start_s)
        return part, range(first, last)


@dataclass(frozen=True, slots=True)
class Recording:
    """What was decoded of a recording.

    Attributes:
        path: the recording.
        record: what it holds.
        folder: of frames and sound, as the stage `extract` stores them.
        params: how inputs are computed.
    """

    path: Path
    record: ClipRecord
    folder: Path
    params: InputParams

    @property
    def length_s(self) -> float:
        """To the end of picture or sound, whichever is later."""
        record = self.record
        return max(record.picture_start_s + record.picture_s, record.sound_start_s + record.sound_s)

    @property
    def window_count(self) -> int:
        """How many windows of at most `pack.window_s` it takes."""
        return max(1, math.ceil(self.length_s / self.params.pack.window_s))

    def windows(self) -> Iterator[Window]:
        """Equal stretches, read one after another.

        Raises:
            MediaError: what was decoded cannot be read.
        """
        record = self.record
        frames = tuple(sorted((self.folder / FRAMES).glob("*.jpg")))
        count = self.window_count
        times = [self.length_s * part / count for part in range(count + 1)]
        # a frame belongs to the stretch in which it appears; the last stretch takes what is left
        shown = [*(_first_from(record.times_s, time_s) for time_s in times[:-1]), len(frames)]
        heard = [*(self._sample_at(time_s) for time_s in times[:-1]), record.samples]
        for part, (start_s, end_s) in enumerate(pairwise(times)):
            inside = slice(*shown[part : part + 2])
            start, end = heard[part : part + 2]
            waveform = self._sound(start, end) if end > start else None
            sound_start_s = max(start_s, record.sound_start_s)
            yield Window(
                start_s, end_s, frames[inside], record.times_s[inside], waveform, sound_start_s
            )

    def _sample_at(self, time_s: float) -> int:
        """The sample that is heard at a time; the first or the last one before or after all."""
        sample = round((time_s - self.record.sound_start_s) * self.record.rate_hz)
        return min(max(0, sample), self.record.samples)

    def _sound(self, start: int, end: int) -> NDArray[np.float32] | None:
        params = self.params.resample
        signal, sound_hz = read_wav(self.folder / SOUND / f"{_CLIP}.wav", start, end)
        return _long_enough(resample(to_mono(signal), sound_hz, params.method, params.quality))


@contextmanager
def decoded(path: Path, look: bool, params: InputParams) -> Iterator[Recording]:
    """A recording, decoded as long as the block lasts.

    Args:
        path: video with or without sound, or a sound file.
        look: whether its frames are looked at.
        params: how inputs are computed.

    Raises:
        MediaError: it cannot be decoded.
    """
    if not path.is_file():
        raise MediaError(f"{path}: no such file; expected a recording")
    tracks = probe(path)
    filmed = tracks.picture is not None
    if not filmed and not tracks.sounds:
        raise MediaError(f"{path}: neither picture nor sound; expected a recording")
    clip = Clip(_CLIP, "", "", "", path if filmed else None, None if filmed else path)
    with decoded_clip(clip, look, params) as recording:
        yield recording


@contextmanager
def decoded_clip(clip: Clip, look: bool, params: InputParams) -> Iterator[Recording]:
    """The same of a clip as a corpus has it, whose sound may be a file of its own."""
    path = clip.video or clip.audio
    assert path is not None
    with tempfile.TemporaryDirectory(prefix="avemo-") as name:
        folder = Path(name)
        filmed = clip.video is not None and look
        extract_clip(ExtractJob(replace(clip, clip_id=_CLIP), filmed, True, params.extract), folder)
        yield Recording(path, read_record(folder), folder, params)


def _first_from(times_s: Sequence[float], time_s: float) -> int:
    """The first frame that is shown at a time or later; their number where none is."""
    return bisect_left(times_s, time_s - CLOCK_TICK_S)


def _long_enough(waveform: NDArray[np.float32]) -> NDArray[np.float32] | None:
    return waveform if len(waveform) >= SHORTEST else None
