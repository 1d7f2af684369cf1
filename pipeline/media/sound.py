"""Sound at one rate: WAV in and out, mono, 32 kHz. Signals are float32 in about [-1, 1]."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import soundfile
import soxr

from pipeline.errors import MediaError
from pipeline.media.params import Method, Quality, ResampleParams

SAMPLE_RATE_HZ = 32_000
"""The rate that the published audio networks were trained at."""

Signal = npt.NDArray[np.float32]

_SOXR = {"high": "HQ", "fast": "MQ"}
_RESAMPY = {"high": "kaiser_best", "fast": "kaiser_fast"}


@dataclass(frozen=True, slots=True)
class ResampleJob:
    """Payload of `resample_clip`: a WAV file and how to resample it."""

    source: Path
    params: ResampleParams


def read_wav(path: Path, start: int = 0, stop: int | None = None) -> tuple[Signal, int]:
    """Read a sound file, or its samples `start` to `stop`.

    Returns:
        Signal [channels, T] float32 in [-1, 1], and its rate in Hz.

    Raises:
        MediaError: the file is missing or no sound file.
    """
    try:
        # [T, channels]
        signal, rate_hz = soundfile.read(
            path, start=start, stop=stop, dtype="float32", always_2d=True
        )
    except soundfile.LibsndfileError as error:
        raise MediaError(
            f"{path}: not a sound file ({error.error_string}); expected a WAV; run `dvc repro`"
        ) from error
    return np.ascontiguousarray(signal.T), int(rate_hz)


def read_waveform(path: Path) -> Signal:
    """Read a clip of `data/audio32k`: [T], full scale 1.

    Raises:
        MediaError: it is missing, damaged, not 32 kHz mono, or holds numbers that are not finite.
    """
    signal, rate_hz = read_wav(path)
    if rate_hz != SAMPLE_RATE_HZ or len(signal) != 1:
        raise MediaError(
            f"{path}: {rate_hz} Hz, {len(signal)} channels; expected {SAMPLE_RATE_HZ} Hz, "
            "1 channel; run `dvc repro -f resample`"
        )
    if not np.isfinite(signal).all():
        raise MediaError(f"{path}: holds samples that are not finite; record or convert it again")
    return signal[0]


def write_wav(path: Path, signal: Signal, rate_hz: int) -> None:
    """Write a mono signal [T] as 32-bit float WAV; the same signal gives the same bytes.

    libsndfile is not used: it puts the time of day into the PEAK chunk of a float WAV.
    """
    from scipy.io import wavfile  # a fifth of a second that those who only read need not wait

    wavfile.write(path, rate_hz, signal.astype(np.float32))


def to_mono(signal: Signal) -> Signal:
    """The channels as one, at the level of those that are heard: [channels, T] to [T].

    A mean by power, each channel turned to the phase of the strongest. Equal channels give
    themselves; speech on one side, in the centre of six channels, or in opposite phase on both
    sides keeps its level, where a plain mean would lower it by 6 dB, 15.6 dB, or to nothing.
    """
    if len(signal) == 1:
        return signal[0]
    covariance = np.cov(signal, bias=True) if signal.size else np.zeros((1, 1))
    power = covariance.diagonal()
    if not power.sum() > 0:
        return signal.mean(axis=0, dtype=np.float32)
    phases = np.where(covariance[power.argmax()] < 0, -1, 1)
    weights = (phases * power / power.sum()).astype(np.float32)
    return np.asarray(weights @ signal, np.float32)


def resampled_length(samples: int, rate_hz: int) -> int:
    """Length after resampling `samples` at `rate_hz` to `SAMPLE_RATE_HZ`."""
    return round(samples * SAMPLE_RATE_HZ / rate_hz)


def resample(signal: Signal, rate_hz: int, method: Method, quality: Quality) -> Signal:
    """Resample to `SAMPLE_RATE_HZ` with a linear-phase low-pass at the lower Nyquist rate.

    Args:
        signal: [T].
        rate_hz: its rate in Hz.
        method: library to use.
        quality: `high` is soxr's HQ or resampy's kaiser_best.

    Returns:
        [round(T * 32000 / rate_hz)] float32; the libraries round down or up, so the last sample
        is dropped or repeated where they differ from that.
    """
    if rate_hz == SAMPLE_RATE_HZ:
        return signal
    if method == "soxr":
        out = soxr.resample(signal, rate_hz, SAMPLE_RATE_HZ, quality=_SOXR[quality])
    else:
        import resampy  # compiles its filters on import: one second that soxr need not wait for

        out = resampy.resample(signal, rate_hz, SAMPLE_RATE_HZ, filter=_RESAMPY[quality])
    length = resampled_length(len(signal), rate_hz)
    out = np.pad(out, (0, max(0, length - len(out))), mode="edge")[:length]
    return np.asarray(out, dtype=np.float32)


def resample_clip(job: ResampleJob, folder: Path) -> None:
    """Write `<clip id>.wav`, 32 kHz mono float, into `folder`.

    Raises:
        MediaError: the source is missing or no sound file.
    """
    signal, rate_hz = read_wav(job.source)
    out = resample(to_mono(signal), rate_hz, job.params.method, job.params.quality)
    write_wav(folder / job.source.name, out, SAMPLE_RATE_HZ)
