"""What the header of a recording says, before anything is decoded."""

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av

from pipeline.errors import MediaError

GUESSED_LENGTHS = frozenset({"mp3", "aac"})
"""Containers whose header states no length: theirs is a guess from the bit rate."""

PCM_CODECS = {"u8": "pcm_s16le", "s16": "pcm_s16le", "s32": "pcm_s32le"}
"""WAV codec by decoded sample format; what is not listed (float, lossy) becomes float."""


@dataclass(frozen=True, slots=True)
class Tracks:
    """What the header of a recording says.

    `fps` in 1/s, 0 without picture; `codec` of the WAV to write, "" without sound; `length_s` 0 if
    the header states none.
    """

    fps: float
    codec: str
    length_s: float


def probe(path: Path) -> Tracks:
    """Read a recording's header.

    Raises:
        MediaError: the file is empty or no recording.
    """
    if path.stat().st_size == 0:
        raise MediaError(f"{path}: got 0 bytes, expected a recording; copy it again")
    try:
        with av.open(str(path), metadata_errors="replace") as container:
            return _tracks(container, path)
    except (av.FFmpegError, UnicodeError) as error:
        raise MediaError(
            f"{path}: not a recording or cut short ({error.__class__.__name__}); expected video or "
            "sound as its extension says; copy it again or remove it"
        ) from error


def _tracks(container: av.container.InputContainer, path: Path) -> Tracks:
    video = container.streams.video[0] if container.streams.video else None
    audio = container.streams.audio[0] if container.streams.audio else None
    fps = (video.average_rate or video.guessed_rate or Fraction(0)) if video else Fraction(0)
    codec = ""
    if audio is not None and audio.codec_context is not None:
        codec = PCM_CODECS.get(audio.codec_context.format.name.removesuffix("p"), "pcm_f32le")
    return Tracks(float(fps), codec, _stated_s(container, path, fps))


def _stated_s(container: av.container.InputContainer, path: Path, fps: Fraction) -> float:
    """Seconds that the header states, 0 if it states none.

    For AVI and WAV libavformat corrects the length to what the file holds: there the count of
    frames and the size of the data chunk say what it should hold.
    """
    form = container.format.name
    if form in GUESSED_LENGTHS:
        return 0.0
    if form == "avi" and fps:
        return float(container.streams.video[0].frames / fps)
    if form == "wav":
        return _riff_length_s(path)
    return (container.duration or 0) / av.time_base


def _riff_length_s(path: Path) -> float:
    """Seconds that a WAV's header states, whatever the file holds; 0 if it states none."""
    with path.open("rb") as stream:
        stream.seek(12)
        bytes_per_s = 0
        while len(head := stream.read(8)) == 8:
            size = int.from_bytes(head[4:], "little")
            if head[:4] == b"fmt ":
                bytes_per_s = int.from_bytes(stream.read(size)[8:12], "little")
            elif head[:4] == b"data":
                stated = bytes_per_s > 0 and size < 2**32 - 1  # a streamed WAV states all ones
                return size / bytes_per_s if stated else 0.0
            else:
                stream.seek(size, 1)
            stream.seek(size % 2, 1)
    return 0.0
