"""Hand-crafted speech features: statistics over time of MFCCs and of log-MFCCs.

Source: the paper sets learnt audio features beside "MFCC" and "log MFCC" (Hussain et al., "Deep
Learning for Audio Visual Emotion Recognition", FUSION 2022); MFCC after Davis and Mermelstein,
1980. The tests hold the coefficients against librosa, whose import and compilation would cost
every worker seconds.
"""

import numpy as np
from numpy.typing import NDArray

from models.audio.front_end import AMIN, HOP, N_FFT, mel_filters

RANGE_DB = 80.0
"""Decibels below the loudest band of a clip at which its log-mel spectrogram is cut off."""
N_MFCC = 20
"""Coefficients a frame; the 0th is its energy."""
STATISTICS = ("mean", "std", "q10", "q90", "delta")
DIMENSION = N_MFCC * len(STATISTICS)
"""Numbers of `mfcc` and of `log_mfcc`: statistics outermost, coefficients innermost."""

_FILTERS = mel_filters()


def mfcc(waveform: NDArray[np.float32]) -> NDArray[np.float32]:
    """Statistics over time of mel-frequency cepstral coefficients.

    Frames and mel bands are those of the networks' front end, but beyond the ends of the clip lie
    zeros, where the front end mirrors it.

    Args:
        waveform: [T] at 32 kHz, full scale 1, T >= 1.

    Returns:
        [DIMENSION], finite, also for digital silence.
    """
    return statistics(trajectory(waveform))


def log_mfcc(waveform: NDArray[np.float32]) -> NDArray[np.float32]:
    """Statistics over time of the logarithm of the coefficients.

    A coefficient has a sign, so its logarithm needs a convention. Ours keeps the sign and is
    smooth at 0: sign(c) log(1 + |c|). It is taken frame by frame, before the statistics; it draws
    in the wide range of the first coefficients and spreads the small, late ones.

    Args:
        waveform: [T] at 32 kHz, full scale 1, T >= 1.

    Returns:
        [DIMENSION], finite, also for digital silence.
    """
    coefficients = trajectory(waveform)
    return statistics(np.sign(coefficients) * np.log1p(np.abs(coefficients)))


def trajectory(waveform: NDArray[np.float32], count: int = N_MFCC) -> NDArray[np.float64]:
    """The first `count` mel-frequency cepstral coefficients every 10 ms, [count, T // HOP + 1]."""
    from scipy.fft import dct  # takes a tenth of a second, and few systems use it

    padded = np.pad(waveform.astype(np.float64), N_FFT // 2)
    frames = np.lib.stride_tricks.sliding_window_view(padded, N_FFT)[::HOP]
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(N_FFT) / N_FFT)  # Hann
    power = np.abs(np.fft.rfft(frames * window)) ** 2  # [F, N_BINS]
    decibels = 10 * np.log10(np.maximum(power @ _FILTERS, AMIN))  # [F, N_MELS]
    decibels = np.maximum(decibels, decibels.max() - RANGE_DB)
    coefficients: NDArray[np.float64] = dct(decibels, norm="ortho")[:, :count].T
    return coefficients


def statistics(coefficients: NDArray[np.float64]) -> NDArray[np.float32]:
    """Mean, standard deviation, 10% and 90% quantile, mean absolute step from frame to frame.

    The mean of the signed steps would be last minus first frame only; their mean size tells how
    fast the voice changes.

    Args:
        coefficients: [N_MFCC, F], F >= 1.

    Returns:
        [DIMENSION].
    """
    low, high = np.quantile(coefficients, (0.1, 0.9), axis=1)
    steps = np.abs(np.diff(coefficients, axis=1))
    delta = steps.mean(axis=1) if steps.size else np.zeros(len(coefficients))
    rows = [coefficients.mean(axis=1), coefficients.std(axis=1), low, high, delta]
    return np.concatenate(rows).astype(np.float32)


HANDCRAFTED = {"mfcc": mfcc, "log_mfcc": log_mfcc}
"""The features by the name under which they are stored."""
