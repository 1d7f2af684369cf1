"""Frames to and from ffmpeg one at a time, so that a film of any length passes through."""

import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import ffmpeg
import numpy as np
from ffmpeg.nodes import OutputStream

from pipeline.errors import MediaError
from pipeline.files import atomic_write
from pipeline.media.ffmpeg import complaint, find_ffmpeg
from pipeline.media.images import Picture

RAW = {"format": "rawvideo", "pix_fmt": "rgb24"}


def read_frames(path: Path, fps: float, size_px: tuple[int, int]) -> Iterator[Picture]:
    """Decode a video at a constant rate, upright and scaled.

    Args:
        path: the video.
        fps: frames per second; frame k shows the time k / fps, before the picture begins its first
            frame.
        size_px: width and height.

    Yields:
        RGB [H, W, 3].

    Raises:
        MediaError: ffmpeg refuses the video.
    """
    width, height = size_px
    picture = ffmpeg.input(f"file:{path.resolve()}")["v:0"]
    scaled = picture.filter("fps", fps, start_time=0).filter(
        "scale", width, height, flags="bicubic"
    )
    product = ffmpeg.output(scaled, "pipe:1", **RAW)
    with _running(product, str(path), stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        size = width * height * 3
        while len(data := process.stdout.read(size)) == size:
            yield np.frombuffer(data, np.uint8).reshape(height, width, 3)


@contextmanager
def write_film(
    out: Path, fps: float, size_px: tuple[int, int], sound: Path | None
) -> Iterator[Callable[[Picture], None]]:
    """Encode frames as an MP4 (H.264, AAC) that appears whole, or not at all.

    Args:
        out: the film.
        fps: frames per second.
        size_px: width and height, both even.
        sound: recording whose sound the film gets.

    Yields:
        What takes the frames, RGB [H, W, 3] each, one after another.

    Raises:
        MediaError: ffmpeg could not encode it.
    """
    width, height = size_px
    streams = [ffmpeg.input("pipe:0", **RAW, s=f"{width}x{height}", r=fps)]
    if sound is not None:
        streams.append(ffmpeg.input(f"file:{sound.resolve()}")["a:0"])
    coding = {"c:v": "libx264", "crf": 18, "preset": "veryfast", "pix_fmt": "yuv420p", "c:a": "aac"}
    with atomic_write(out) as part:
        product = ffmpeg.output(
            *streams, f"file:{part.resolve()}", format="mp4", movflags="faststart", **coding
        )
        with _running(product, str(out), stdin=subprocess.PIPE) as process:
            assert process.stdin is not None
            stream: IO[bytes] = process.stdin
            yield lambda frame: _send(stream, frame)
            stream.close()


def _send(stream: IO[bytes], frame: Picture) -> None:
    stream.write(np.ascontiguousarray(frame).data)


@contextmanager
def _running(product: OutputStream, name: str, **pipes: int) -> Iterator["subprocess.Popen[bytes]"]:
    """An ffmpeg at work; a complaint of it is an error, and it does not outlive the block."""
    command = ffmpeg.compile(product, [find_ffmpeg().executable, "-v", "error", "-y"])
    # a file: nobody reads a pipe while frames flow, and a full one would stop ffmpeg
    with tempfile.TemporaryFile() as messages:
        process = subprocess.Popen(command, stderr=messages, **pipes)  # type: ignore[call-overload]
        broken = False
        try:
            try:
                yield process
            except BrokenPipeError:
                broken = True
            if process.wait() or broken:
                messages.seek(0)
                text = messages.read().decode(errors="replace")
                raise MediaError(f"{name}: ffmpeg gave up ({complaint(text)})")
        finally:
            process.kill()
            process.wait()
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    _close(pipe)


def _close(pipe: IO[bytes]) -> None:
    try:
        pipe.close()
    except BrokenPipeError:  # what was left in the buffer of an encoder that has ended
        pass
