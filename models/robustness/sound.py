"""Damage to sound: babble, reverberation, a codec, a narrow band, clipping.

Noise is in `models.audio.noise`.

Each takes a waveform [T] at 32 kHz, full scale 1, and gives one of the same length. Nothing holds
the result to full scale but `clipped`: the networks take floats.
"""

import io
from collections.abc import Sequence
from fractions import Fraction

import av
import numpy as np
from scipy.signal import butter, fftconvolve, sosfilt

from models.audio.noise import Waveform, rms
from pipeline.media.sound import SAMPLE_RATE_HZ

TALKERS = 5
"""Voices of the babble."""


def babble(samples: int, voices: Sequence[Waveform], rng: np.random.Generator) -> Waveform:
    """Other people who talk at once, [T]: each equally loud, from a random moment on, repeated.

    Args:
        samples: T.
        voices: clips of others, one or more.
        rng: draws where each begins.
    """
    mixed = np.zeros(samples, np.float32)
    for voice in voices:
        start = int(rng.integers(len(voice)))
        mixed += np.resize(np.roll(voice, -start), samples) / max(rms(voice), 1e-9)
    return mixed


def reverberated(speech: Waveform, rt60_s: float, rng: np.random.Generator) -> Waveform:
    """Speech in a room, at its own level: the direct sound, and as much energy of reverberation.

    Args:
        speech: [T].
        rt60_s: time in which the reverberation falls by 60 dB, s.
        rng: draws the room's response.

    Source: Polack (1988), La transmission de l'énergie sonore dans les salles: white noise under an
    exponential decay.
    """
    times_s = np.arange(1, round(rt60_s * SAMPLE_RATE_HZ)) / SAMPLE_RATE_HZ
    tail = rng.standard_normal(len(times_s)) * 10 ** (-3 * times_s / rt60_s)
    response = np.concatenate([[1.0], tail / np.linalg.norm(tail)])
    heard = fftconvolve(speech, response)[: len(speech)]
    return (heard * (rms(speech) / max(rms(heard), 1e-9))).astype(np.float32)


def mp3(speech: Waveform, kbit_s: float) -> Waveform:
    """Speech after MP3 at a constant bit rate; 32 kbit/s is the least that MP3 has at 32 kHz."""
    file = io.BytesIO()
    with av.open(file, "w", format="mp3") as container:
        stream = container.add_stream("libmp3lame", rate=SAMPLE_RATE_HZ, layout="mono")
        stream.bit_rate = round(1000 * kbit_s)
        sound = av.AudioFrame.from_ndarray(speech[None], format="fltp", layout="mono")
        sound.sample_rate, sound.pts = SAMPLE_RATE_HZ, 0
        sound.time_base = Fraction(1, SAMPLE_RATE_HZ)
        for frame in (sound, None):
            container.mux(stream.encode(frame))
    file.seek(0)
    with av.open(file, "r") as container:
        parts = [frame.to_ndarray()[0] for frame in container.decode(audio=0)]
    heard = np.concatenate(parts)[: len(speech)]
    return np.pad(heard, (0, len(speech) - len(heard))).astype(np.float32)


def band(speech: Waveform, low_hz: float, high_hz: float) -> Waveform:
    """What a line passes from `low_hz` to `high_hz`: Butterworth, 24 dB an octave at either end."""
    filters = butter(4, (low_hz, high_hz), "bandpass", fs=SAMPLE_RATE_HZ, output="sos")
    return np.asarray(sosfilt(filters, speech), np.float32)


def clipped(speech: Waveform, share: float) -> Waveform:
    """Speech of which the loudest `share` of the samples is cut to one level."""
    level = np.quantile(np.abs(speech), 1 - share)
    return np.clip(speech, -level, level).astype(np.float32)
