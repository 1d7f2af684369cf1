"""A recording as windows: equal stretches of its stored frames and of its sound.

It is decoded to a temporary folder, as the stage `extract` does, and read window by window, so that
no more than a window's frames and sound lie in memory.
"""

import math
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from models.audio.panns import SHORTEST
from models.model_card import InputParams
from pipeline.clips import Clip, ClipRecord
from pipeline.errors import MediaError
from pipeline.media.decode import FRAMES, SOUND, ExtractJob, extract_clip, read_record
from pipeline.media.probe import probe
from pipeline.media.sound import SAMPLE_RATE_HZ, read_wav, resample, to_mono

_CLIP = "clip"


class Window(NamedTuple):
    """A stretch of a decoded recording: stored frames, and sound [T] at 32 kHz or None."""

    start_s: float
    end_s: float
    frames: tuple[Path, ...]
    first_frame: int
    rate_hz: float
    waveform: NDArray[np.float32] | None

    def time_s(self, index: int) -> float:
        """When a frame of the window appears, from the start of the recording."""
        return (self.first_frame + index) / self.rate_hz

    def around(self, time_s: float, length_s: float) -> tuple["Window", range]:
        """The `length_s` around a moment, as far as they lie in the window, and its frames."""
        start_s = max(self.start_s, time_s - length_s / 2)
        end_s = min(self.end_s, time_s + length_s / 2)
        first, last = (
            min(len(self.frames), math.ceil((t - self.start_s) * self.rate_hz - 1e-6))
            for t in (start_s, end_s)
        )
        waveform = self.waveform
        if waveform is not None:
            start, end = (round((t - self.start_s) * SAMPLE_RATE_HZ) for t in (start_s, end_s))
            waveform = _long_enough(waveform[start:end])
        frames, first_frame = self.frames[first:last], self.first_frame + first
        part = Window(start_s, end_s, frames, first_frame, self.rate_hz, waveform)
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
        """Of picture or sound, the longer one."""
        record = self.record
        shown_s = record.frames * record.frame_step / record.fps if record.frames else 0.0
        heard_s = record.samples / record.rate_hz if record.samples else 0.0
        return max(shown_s, heard_s)

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
        frames = sorted((self.folder / FRAMES).glob("*.jpg"))
        frame_hz = record.fps / record.frame_step if frames else 0.0
        count = self.window_count
        times = [self.length_s * part / count for part in range(count + 1)]
        # a frame belongs to the stretch in which it appears; the last stretch takes what is left
        first = [math.ceil(time_s * frame_hz - 1e-6) for time_s in times[:-1]]
        heard = [round(time_s * record.rate_hz) for time_s in times[:-1]]
        for part, (start_s, end_s) in enumerate(pairwise(times)):
            shown = frames[first[part] : (*first, len(frames))[part + 1]]
            start, end = (min(n, record.samples) for n in (*heard, record.samples)[part : part + 2])
            waveform = self._sound(start, end) if end > start else None
            yield Window(start_s, end_s, tuple(shown), first[part], frame_hz, waveform)

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
    with tempfile.TemporaryDirectory(prefix="avemo-") as name:
        folder = Path(name)
        tracks = probe(path)
        filmed = tracks.picture is not None
        if not filmed and not tracks.sounds:
            raise MediaError(f"{path}: neither picture nor sound; expected a recording")
        clip = Clip(_CLIP, "", "", "", path if filmed else None, None if filmed else path)
        extract_clip(ExtractJob(clip, filmed and look, True, params.extract), folder)
        yield Recording(path, read_record(folder), folder, params)


def _long_enough(waveform: NDArray[np.float32]) -> NDArray[np.float32] | None:
    return waveform if len(waveform) >= SHORTEST else None
