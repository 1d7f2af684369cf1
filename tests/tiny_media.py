"""Recordings of a second or less, made by ffmpeg for the tests; each has bytes of its own."""

import subprocess
import zlib
from pathlib import Path

import imageio_ffmpeg
import numpy as np
import soundfile

from pipeline.media.images import read_gray
from pipeline.media.params import ExtractParams

TONE_HZ = 440
PCM = ["-c:a", "pcm_s16le"]
"""Arguments by which ffmpeg stores sound without a codec's delay."""

EXTRACT = ExtractParams(
    frame_step=1,
    jpeg_quality=2,
    min_duration_s=0.1,
    silence_dbfs=-70,
    max_bad_fraction=0.1,
    max_duration_s=300,
    max_side_px=4096,
)
"""Section `extract` as most tests want it: every frame."""


def make_video(path: Path, seconds: float = 0.4, fps: int = 25, sound: str | None = "sine") -> Path:
    """A moving test picture of 64 x 48 px; `sound` is a lavfi source or None for no track."""
    path.parent.mkdir(parents=True, exist_ok=True)
    inputs = picture(seconds, fps)
    if sound:
        inputs += ["-f", "lavfi", "-i", f"{sound}=sample_rate=44100:duration={seconds}"]
    codecs = {".avi": ["-c:v", "mjpeg", "-c:a", "pcm_s16le"], ".mp4": ["-movflags", "faststart"]}
    title = ["-metadata", f"title={_place(path)}"]
    return encode(path, *inputs, *codecs.get(path.suffix, []), *title, "-ar", "44100")


def make_sound(path: Path, seconds: float = 0.4, rate_hz: int = 44_100, level: float = 0.5) -> Path:
    """A mono tone; `level` 0 is digital silence."""
    path.parent.mkdir(parents=True, exist_ok=True)
    times = np.arange(round(seconds * rate_hz)) / rate_hz
    begin = zlib.crc32(_place(path).encode("utf-8", "surrogateescape"))
    soundfile.write(path, level * np.sin(2 * np.pi * TONE_HZ * times + begin), rate_hz)
    return path


def _place(path: Path) -> str:
    return f"{path.parent.name}/{path.name}"


def cut(path: Path, share: float) -> Path:
    """Keep the first `share` of a file's bytes."""
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    return path


def picture(seconds: float = 2, fps: int = 25) -> list[str]:
    """Arguments by which ffmpeg reads a moving test picture of 64 x 48 px."""
    return ["-f", "lavfi", "-i", f"testsrc2=size=64x48:rate={fps}:duration={seconds}"]


def brightening(seconds: float = 2, fps: int = 25) -> list[str]:
    """Arguments by which ffmpeg reads a plain picture that tells its time; see `told_time_s`."""
    plain = f"color=s=64x48:rate={fps}:duration={seconds},format=yuv420p"
    return ["-f", "lavfi", "-i", f"{plain},geq=lum=30+80*T:cb=128:cr=128"]


def told_time_s(frame: Path) -> float:
    """The time that a stored frame of `brightening` tells, to about 10 ms."""
    full_range = float(read_gray(frame).mean())
    return (full_range * 219 / 255 + 16 - 30) / 80


def tone(seconds: float = 2) -> list[str]:
    """Arguments by which ffmpeg reads a mono tone."""
    return ["-f", "lavfi", "-i", f"sine=sample_rate=44100:duration={seconds}"]


def encode(path: Path, *arguments: str) -> Path:
    """What ffmpeg writes into a file."""
    run_quietly([*arguments, f"file:{path}"])
    return path


def stream(path: Path, *arguments: str) -> Path:
    """What ffmpeg writes into a pipe, where it cannot go back to mend the header."""
    path.write_bytes(run_quietly([*arguments, "pipe:1"]))
    return path


def run_quietly(arguments: list[str]) -> bytes:
    """What ffmpeg writes to its standard output."""
    # the packaged one: what is made is the same, and as new, on all machines
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-nostdin", "-v", "error", "-y", *arguments]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout
