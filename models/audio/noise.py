"""Noise, and copies of a clip under noise that training hears beside the clip itself."""

from zlib import crc32

import numpy as np
from numpy.typing import NDArray

Waveform = NDArray[np.float32]
"""[T] at 32 kHz, full scale 1."""

SNR_DB = (0.0, 20.0)
"""Between which a copy's clip lies above its noise."""


def noisy_copies(speech: Waveform, count: int, clip_id: str) -> list[Waveform]:
    """Copies of a clip in white or pink noise of other levels, the same whenever they are made."""
    rng = np.random.default_rng(crc32(clip_id.encode()))
    copies = []
    for _ in range(count):
        make = (white_noise, pink_noise)[rng.integers(2)]
        copies.append(with_noise(speech, make(len(speech), rng), rng.uniform(*SNR_DB)))
    return copies


def noisy(name: str) -> str:
    """Key of the embeddings [N, D] of a clip's copies in noise, beside those of the clip."""
    return f"{name} in noise"


def white_noise(samples: int, rng: np.random.Generator) -> Waveform:
    """Noise of equal power at all frequencies, [T]."""
    return rng.standard_normal(samples, np.float32)


def pink_noise(samples: int, rng: np.random.Generator) -> Waveform:
    """Noise whose power falls by 3 dB an octave, [T]: amplitude 1 / sqrt(f), without the mean."""
    spectrum = np.fft.rfft(rng.standard_normal(samples))
    steps = np.arange(len(spectrum))
    spectrum *= np.divide(1.0, np.sqrt(steps), out=np.zeros(len(steps)), where=steps > 0)
    return np.fft.irfft(spectrum, samples).astype(np.float32)


def with_noise(speech: Waveform, noise: Waveform, snr_db: float) -> Waveform:
    """Speech and noise, whose powers over the whole clip are `snr_db` apart."""
    wanted = rms(speech) / 10 ** (snr_db / 20)
    return speech + noise * np.float32(wanted / max(rms(noise), 1e-9))


def rms(signal: NDArray[np.floating]) -> float:
    """Root of the mean square."""
    return float(np.sqrt(np.square(signal, dtype=np.float64).mean()))
