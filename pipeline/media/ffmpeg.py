"""The ffmpeg that decodes every recording: the system's, else the packaged one."""

import errno
import logging
import os
import re
import shutil
import signal
import subprocess
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import ffmpeg
import imageio_ffmpeg
from ffmpeg.nodes import OutputStream

from pipeline.errors import MediaError

log = logging.getLogger(__name__)

OLDEST = (5, 1)
"""First version that knows `-fps_mode`; an older system ffmpeg is passed over."""


CRASHES = (signal.SIGSEGV, signal.SIGABRT, signal.SIGFPE, signal.SIGILL)
"""Signals by which a damaged recording, not a person, ends ffmpeg."""


@dataclass(frozen=True, slots=True)
class Ffmpeg:
    """An executable and its version, e.g. `7.1.1` or `n9.0.2-17-g2a571b6068`."""

    executable: str
    version: str


@lru_cache
def find_ffmpeg() -> Ffmpeg:
    """The system's ffmpeg from version 5.1 on, else the one that `imageio-ffmpeg` ships.

    Raises:
        MediaError: neither can be run.
    """
    system = shutil.which("ffmpeg")
    if system and (version := _system_version(system)):
        number = re.match(r"n?(\d+)\.(\d+)", version)
        # builds from Git carry no number; they are newer than 5.1
        if number is None or (int(number[1]), int(number[2])) >= OLDEST:
            return Ffmpeg(system, version)
    packaged = imageio_ffmpeg.get_ffmpeg_exe()
    return Ffmpeg(packaged, _version(packaged))


def run_ffmpeg(products: OutputStream, folder: Path, source: str) -> str:
    """Run ffmpeg in `folder`; it goes on after what does not decode.

    Args:
        products: outputs to write, from `ffmpeg.output` or `ffmpeg.merge_outputs`.
        folder: working folder, so that output names are relative and hold no user's characters.
        source: the recordings, to name them if it fails.

    Returns:
        Its warnings and errors, one a line.

    Raises:
        MediaError: ffmpeg refuses the recording; the message holds its first complaint.
        OSError: the disk is full, files may not grow so large, or somebody ended ffmpeg.
    """
    command = [find_ffmpeg().executable, "-nostdin", "-v", "repeat+level+warning", "-y"]
    # not `ffmpeg.run`: it knows no working folder and drops the exit status
    done = subprocess.run(
        ffmpeg.compile(products, command), cwd=folder, capture_output=True, check=False, text=True,
        encoding="utf-8", errors="replace",
    )  # fmt: skip
    crashed = -done.returncode in CRASHES
    if -done.returncode == signal.SIGXFSZ:
        raise OSError(errno.EFBIG, os.strerror(errno.EFBIG), str(folder))
    if "No space left" in done.stderr:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(folder))
    if done.returncode < 0 and not crashed:
        raise OSError(f"{source}: ffmpeg ended with {done.returncode}: {done.stderr.strip()}")
    if done.returncode != 0:
        raise MediaError(
            f"{source}: damaged or cut short ({complaint(done.stderr)}); expected a recording that "
            "decodes to its end; copy it again from its source"
        )
    return done.stderr


def _system_version(executable: str) -> str:
    """Its version; "" where it cannot be run, as one that lacks its libraries."""
    try:
        return _version(executable)
    except MediaError as error:
        log.warning("%s; the one of imageio-ffmpeg is taken in its place", error)
        return ""


def _version(executable: str) -> str:
    """First the number, e.g. `ffmpeg version 7.1.1 Copyright ...`."""
    try:
        done = subprocess.run([executable, "-version"], capture_output=True, check=True, text=True)
        return done.stdout.split()[2]
    except (OSError, subprocess.CalledProcessError, IndexError) as error:
        raise MediaError(
            f"{executable}: `ffmpeg -version` fails ({error}); expected version 5.1 or newer; "
            "install it again"
        ) from error


_HARMLESS = "deprecated pixel format used"


def complaint(stderr: str) -> str:
    """The first line that ffmpeg wrote, an error before a warning, without who wrote it."""
    lines = [one for one in stderr.splitlines() if one.strip() and _HARMLESS not in one]
    errors = [line for line in lines if "[warning] " not in line]
    first = next(iter(errors or lines), "no message of ffmpeg")
    return re.sub(r"^(\[[^\]]*\] )+", "", first)
