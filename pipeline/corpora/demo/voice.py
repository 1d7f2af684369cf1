"""The voice of the demo corpus: a source-filter synthesiser.

Glottal pulses with jitter and shimmer, plus breath, pass the formants of the moment; fricatives
and bursts are filtered noise. All filtering is done at once, on overlapping 20 ms windows.

Source: Klatt and Klatt, JASA 87 (1990): the pulse (their KLGLOTT88) and cascaded resonators.
"""

import numpy as np
from numpy.typing import NDArray

from pipeline.corpora.demo.plan import Performance
from pipeline.corpora.demo.score import TICK_S, Score

Signal = NDArray[np.float64]  # [T]

OPEN_QUOTIENT = 0.62
"""Share of a glottal cycle in which the folds are open."""

BREATH_DB = -34.0
"""Aspiration below the pulses in neutral speech."""

LEVEL_DB = -27.0
"""Loudness of neutral speech below full scale (root mean square while speaking)."""

ROOM_DB = -66.0
"""Noise of the room and the microphone below full scale."""

BANDWIDTHS_HZ = (70.0, 95.0, 140.0)
"""Of the first three formants."""

HIGHER_FORMANTS_HZ = tuple(1000.0 * number - 500.0 for number in range(4, 21))
"""The same for all vowels; they keep the spectrum from falling away above 5 kHz."""

HIGHER_BANDWIDTH = 0.065
"""Of the higher formants, as a share of their frequency."""

HISS = {"s": (6200.0, 2600.0, 0.20), "f": (5000.0, 6000.0, 0.06), "stop": (2800.0, 3000.0, 0.25)}
"""Centre and bandwidth in Hz, and level, of the noise of each consonant."""

WINDOW_TICKS = 4


def synthesise(play: Performance, score: Score, rate_hz: int) -> NDArray[np.int16]:
    """The sound of a take.

    Args:
        play: the take.
        score: its curves.
        rate_hz: sampling rate.

    Returns:
        [T] int16, exactly as long as the score.
    """
    rng = play.rng("voice")
    samples = round(score.duration_s * rate_hz)
    at = np.arange(samples) / rate_hz / TICK_S
    ticks = np.arange(len(score.loudness))
    loudness = np.interp(at, ticks, score.loudness)
    voice = _filter(
        _source(play, np.interp(at, ticks, score.pitch_hz), rate_hz, rng) * loudness,
        _formant_response(play, score, rate_hz),
        rate_hz,
    )
    voice /= np.sqrt(np.mean(voice**2)) + 1e-12
    voice += _consonants(score, at, rate_hz, rng)
    level_db = LEVEL_DB + play.voice["energy"] + rng.uniform(-1.5, 1.5)
    sound = voice * 10.0 ** (level_db / 20.0)
    sound += 10.0 ** (ROOM_DB / 20.0) * rng.standard_normal(samples)
    return np.round(np.tanh(sound) * 32767.0).astype(np.int16)


def _source(play: Performance, pitch_hz: Signal, rate_hz: int, rng: np.random.Generator) -> Signal:
    """Glottal flow derivative plus aspiration [T]."""
    cycle = np.floor(np.cumsum(pitch_hz) / rate_hz).astype(int)
    scatter = rng.standard_normal((2, cycle[-1] + 2 if len(cycle) else 1))
    jitter = 0.01 * (0.5 + max(play.voice["jitter"], 0.0))
    phase = np.cumsum(pitch_hz * (1.0 + jitter * scatter[0][cycle])) / rate_hz
    shimmer = 0.01 * (2.0 + max(play.voice["shimmer"], 0.0))
    t = (phase % 1.0) / OPEN_QUOTIENT
    pulse = np.where(t < 1.0, 2.0 * t - 3.0 * t**2, 0.0) * (1.0 + shimmer * scatter[1][cycle])
    breath = 10.0 ** ((BREATH_DB + play.voice["breath"]) / 20.0)
    return pulse + breath * (0.4 + (t < 1.0)) * rng.standard_normal(len(pitch_hz))


def _consonants(score: Score, at: Signal, rate_hz: int, rng: np.random.Generator) -> Signal:
    """Noise of fricatives and bursts [T]; `at` is the time of each sample in ticks."""
    sound = np.zeros(len(at))
    bins = np.fft.rfftfreq(len(at), 1.0 / rate_hz).astype(np.float64)
    for name, (centre, width, level) in HISS.items():
        shape = np.interp(at, np.arange(len(score.hiss[name])), score.hiss[name])
        noise = np.fft.rfft(shape * rng.standard_normal(len(at)))
        sound += level * np.fft.irfft(np.multiply(noise, _resonance(bins, centre, width)), len(at))
    return sound


def _formant_response(play: Performance, score: Score, rate_hz: int) -> NDArray[np.complex128]:
    """The vocal tract and the source's tilt at each tick [N, K]."""
    bins = _bins(rate_hz)
    higher = play.speaker.tract * np.array(HIGHER_FORMANTS_HZ)[:, None]
    tail = np.prod(_resonance(bins, higher, HIGHER_BANDWIDTH * higher), axis=0)  # [K]
    response = np.tile(tail, (len(score.loudness), 1))  # [N, K]
    for column, width in zip(score.formants_hz.T, BANDWIDTHS_HZ, strict=True):
        response *= _resonance(bins, column[:, None], width)
    octaves = np.log2(np.maximum(bins, 250.0) / 250.0)
    return np.asarray(response * 10.0 ** ((play.voice["bright"] + 2.0) * octaves / 20.0))


def _resonance(
    bins_hz: Signal, centre_hz: Signal | float, width_hz: Signal | float
) -> NDArray[np.complex128]:
    return np.asarray(centre_hz**2 / (centre_hz**2 - bins_hz**2 + 1j * bins_hz * width_hz))


def _bins(rate_hz: int) -> Signal:
    """Frequencies in Hz of the analysis windows' bins [K]."""
    return np.fft.rfftfreq(_fft_length(rate_hz), 1.0 / rate_hz).astype(np.float64)


def _fft_length(rate_hz: int) -> int:
    """Twice the window and up to a power of two: room for the formants to ring."""
    return int(2 ** np.ceil(np.log2(2 * WINDOW_TICKS * TICK_S * rate_hz)))


def _filter(signal: Signal, response: NDArray[np.complex128], rate_hz: int) -> Signal:
    """Filter a signal [T] by a response per tick [N, K]: overlapped, windowed, added."""
    hop = round(TICK_S * rate_hz)
    window = np.hanning(WINDOW_TICKS * hop + 1)[:-1] * 2.0 / WINDOW_TICKS
    lead = len(window)  # so that the first sample, too, lies under all its windows
    padded = np.pad(signal, lead)
    pieces = np.lib.stride_tricks.sliding_window_view(padded, len(window))[::hop]
    centre = np.arange(len(pieces)) * hop - lead // 2
    tick = np.round(centre / (rate_hz * TICK_S)).astype(int)
    response = response[np.clip(tick, 0, len(response) - 1)]
    length = _fft_length(rate_hz)
    filtered = np.fft.irfft(np.fft.rfft(pieces * window, length) * response, length)
    out = np.zeros(len(padded) + length)
    for index, piece in enumerate(filtered):
        out[index * hop : index * hop + length] += piece
    return out[lead : lead + len(signal)]
