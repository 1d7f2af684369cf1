"""The log-mel front end of the PANNs: short-time Fourier transform, mel filter bank, decibels.

Transform and filter bank are frozen parameters under their published names, so that a published
checkpoint brings its own; what is computed here only fills them in.

Source: Kong et al., "PANNs: Large-Scale Pretrained Audio Neural Networks for Audio Pattern
Recognition", TASLP 2020, Section III-A; parameter names of the package torchlibrosa, which the
tests take as reference.
"""

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

RATE_HZ = 32_000
N_FFT = 1024
HOP = 320
"""Samples from one frame to the next: 10 ms."""
N_BINS = N_FFT // 2 + 1
N_MELS = 64
FMIN_HZ, FMAX_HZ = 50.0, 14_000.0
AMIN = 1e-10
"""Power below which the log-mel spectrogram is flat: -100 dB."""


class Spectrogram(nn.Module):
    """Power spectrogram of centred, reflected, Hann-windowed frames."""

    def __init__(self) -> None:
        super().__init__()
        self.stft = Stft()

    def forward(self, waveform: Tensor) -> Tensor:
        """Power per frame and frequency.

        Args:
            waveform: [B, T] at `RATE_HZ`, T > N_FFT / 2.

        Returns:
            [B, 1, T // HOP + 1, N_BINS].
        """
        real, imag = self.stft(waveform)
        return (real.square() + imag.square())[:, None]


class Stft(nn.Module):
    """Windowed Fourier transform as two frozen matrices, named as the convolutions they were."""

    def __init__(self) -> None:
        super().__init__()
        real, imag = fourier_basis()
        self.conv_real = Basis(real[:, None, :])
        self.conv_imag = Basis(imag[:, None, :])

    def forward(self, waveform: Tensor) -> tuple[Tensor, Tensor]:
        """Real and imaginary part, each [B, frames, N_BINS]."""
        padded = F.pad(waveform[:, None], (N_FFT // 2, N_FFT // 2), mode="reflect")[:, 0]
        frames = padded.unfold(-1, N_FFT, HOP)  # [B, frames, N_FFT]
        # a matrix product of frames is the published strided convolution, without its copies
        return frames @ self.conv_real.weight[:, 0].T, frames @ self.conv_imag.weight[:, 0].T


class Basis(nn.Module):
    """A frozen `weight`."""

    def __init__(self, weight: NDArray[np.float64]) -> None:
        super().__init__()
        self.weight = _frozen(weight)


class LogMel(nn.Module):
    """Mel filter bank and decibels: ref 1.0, floor `AMIN`, no ceiling."""

    def __init__(self) -> None:
        super().__init__()
        self.melW = _frozen(mel_filters())

    def forward(self, power: Tensor) -> Tensor:
        """Log-mel spectrogram in dB.

        Args:
            power: [..., N_BINS].

        Returns:
            [..., N_MELS].
        """
        return 10.0 * torch.log10((power @ self.melW).clamp(min=AMIN))


def fourier_basis() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Cosine and negative sine times a periodic Hann window, each [N_BINS, N_FFT]."""
    n = np.arange(N_FFT)
    window = 0.5 - 0.5 * np.cos(2 * math.pi * n / N_FFT)
    # k n modulo N_FFT keeps the argument small, and so the basis exact
    phase = 2 * math.pi / N_FFT * (np.outer(np.arange(N_BINS), n) % N_FFT)
    return np.cos(phase) * window, -np.sin(phase) * window


def mel_filters() -> NDArray[np.float64]:
    """Triangular filters of equal area on Slaney's mel scale, [N_BINS, N_MELS].

    Source: M. Slaney, Auditory Toolbox, 1998; the default of librosa.
    """
    mels = np.linspace(_mel(FMIN_HZ), _mel(FMAX_HZ), N_MELS + 2)
    edges_hz = np.array([_hz(mel) for mel in mels])
    bins_hz = np.linspace(0, RATE_HZ / 2, N_BINS)
    ramps = edges_hz[:, None] - bins_hz  # [N_MELS + 2, N_BINS]
    widths = np.diff(edges_hz)[:, None]
    rising, falling = -ramps[:-2] / widths[:-1], ramps[2:] / widths[1:]
    triangles = np.maximum(0, np.minimum(rising, falling))
    return (triangles * (2 / (edges_hz[2:] - edges_hz[:-2]))[:, None]).T


# Slaney's scale: 3 mel per 200 Hz up to 1 kHz, then 27 mel per factor 6.4
_KNEE_HZ, _KNEE_MEL, _LOG_STEP = 1000.0, 15.0, math.log(6.4) / 27


def _mel(hz: float) -> float:
    if hz < _KNEE_HZ:
        return 3 * hz / 200
    return _KNEE_MEL + math.log(hz / _KNEE_HZ) / _LOG_STEP


def _hz(mel: float) -> float:
    if mel < _KNEE_MEL:
        return 200 * mel / 3
    return _KNEE_HZ * math.exp(_LOG_STEP * (mel - _KNEE_MEL))


def _frozen(values: NDArray[np.float64]) -> nn.Parameter:
    return nn.Parameter(torch.from_numpy(values).float(), requires_grad=False)
