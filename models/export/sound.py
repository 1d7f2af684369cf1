"""The blocks of the input `audio` as graphs: a waveform of any length in, one vector out.

A graph takes what the stage `embed` does: [T] at 32 kHz. Its steps are those of `models.audio`,
written so that T may differ from call to call.
"""

import numpy as np
import soxr
import torch
from scipy.fft import dct
from torch import Tensor, nn
from torch.nn import functional as F

from models.audio.encoders import SPEECH_HZ
from models.audio.front_end import AMIN, HOP, N_FFT, RATE_HZ, fourier_basis, mel_filters
from models.audio.handcrafted import N_MFCC, RANGE_DB
from models.audio.panns import GRID, SHORTEST_PADDED, Panns
from models.audio.speech import FRAME, WINDOW_S, SpeechEncoder
from pipeline.errors import ExportError

LONGEST_S = 600
"""Longest sound of PANNs and cepstra, s; of a speech encoder it is its window."""


def sound_graph(name: str, network: Panns | SpeechEncoder | None) -> "Tagger | Cepstra | Speech":
    """The graph of a block, [T] -> [D].

    Args:
        name: of the block, see `audio_blocks` of a `Recognizer`.
        network: of that name; None for a hand-crafted feature.
    """
    if isinstance(network, SpeechEncoder):
        return Speech(network)
    return Cepstra(logarithm=name == "log_mfcc") if network is None else Tagger(network)


class Tagger(nn.Module):
    """The embedding of one of the PANNs."""

    longest_s = LONGEST_S

    def __init__(self, network: Panns) -> None:
        super().__init__()
        self.network = network

    def forward(self, waveform: Tensor) -> Tensor:
        """[T] -> [EMBEDDING]."""
        # `pad` rounds up by a negative division, which ONNX rounds the other way
        samples = waveform.shape[0]
        length: int = torch.sym_max(SHORTEST_PADDED, (samples + GRID - 1) // GRID * GRID)  # type: ignore[assignment]
        embedding: Tensor = self.network(F.pad(waveform, (0, length - samples))[None])["embedding"]
        return embedding[0]


class Cepstra(nn.Module):
    """Statistics of MFCCs or log-MFCCs, as `models.audio.handcrafted`, in 64 bits.

    Args:
        logarithm: whether the statistics are of sign(c) log(1 + |c|).
    """

    longest_s = LONGEST_S
    basis: Tensor
    filters: Tensor
    cosines: Tensor

    def __init__(self, *, logarithm: bool) -> None:
        super().__init__()
        self.logarithm = logarithm
        self.register_buffer("basis", torch.from_numpy(np.stack(fourier_basis())))
        self.register_buffer("filters", torch.from_numpy(mel_filters()))
        cosines = dct(np.eye(self.filters.shape[1]), norm="ortho")[:, :N_MFCC]
        self.register_buffer("cosines", torch.from_numpy(cosines))

    def forward(self, waveform: Tensor) -> Tensor:
        """[T] -> [DIMENSION]."""
        padded = F.pad(waveform.double(), (N_FFT // 2, N_FFT // 2))
        power = _power(padded, self.basis, HOP)
        decibels = 10 * torch.log10((power @ self.filters).clamp(min=AMIN))  # [F, N_MELS]
        decibels = torch.maximum(decibels, decibels.max() - RANGE_DB)
        values = (decibels @ self.cosines).T  # [N_MFCC, F]
        if self.logarithm:
            values = values.sign() * torch.log1p(values.abs())
        rows = [
            values.mean(dim=1),
            values.std(dim=1, correction=0),
            *_quantiles(values, (0.1, 0.9)),
            (values[:, 1:] - values[:, :-1]).abs().mean(dim=1),
        ]
        return torch.cat(rows).float()


class Speech(nn.Module):
    """Statistics of the hidden states of Whisper's encoder, for sound of at most one window.

    Args:
        network: a speech encoder.

    Raises:
        ExportError: it is another one than Whisper's.
    """

    longest_s = WINDOW_S
    halving: Tensor
    basis: Tensor
    filters: Tensor

    def __init__(self, network: SpeechEncoder) -> None:
        super().__init__()
        if network.positions is None:
            raise ExportError(f"{network.folder}: no graph is known of it; expected a Whisper")
        self.positions, self.pooling = network.positions, network.pooling
        self.encoder = network.network.encoder
        self.register_buffer("halving", torch.from_numpy(halving_filter()))
        mel = network.extract
        self.hop = mel.hop_length
        angles = 2 * np.pi / mel.n_fft * np.outer(np.arange(mel.n_fft // 2 + 1), range(mel.n_fft))
        window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(mel.n_fft) / mel.n_fft)
        basis = np.stack([np.cos(angles), -np.sin(angles)]) * window
        self.register_buffer("basis", torch.from_numpy(basis))
        self.register_buffer("filters", torch.from_numpy(mel.mel_filters))

    def forward(self, waveform: Tensor) -> Tensor:
        """[T] -> [layers * statistics * W], T at most `WINDOW_S`."""
        reach = len(self.halving) // 2
        sound = F.conv1d(waveform[None, None], self.halving[None, None], stride=2, padding=reach)
        frames = (waveform.shape[0] + 1) // 2 // FRAME
        sound = sound[0, 0, : frames * FRAME]
        spoken = self._spoken(sound)[:, None]  # [F, 1]
        states = self._states(self._log_mel(sound), frames)  # [layers, F, W]
        count = spoken.sum()
        mean = states.where(spoken, 0.0).sum(dim=1, keepdim=True) / count
        spread = (states - mean).square().where(spoken, 0.0).sum(dim=1) / count
        found = {
            "mean": mean[:, 0],
            "std": spread.sqrt(),
            "max": states.where(spoken, -torch.inf).amax(dim=1),
        }
        return torch.stack([found[name] for name in self.pooling.statistics], dim=1).flatten()

    def _spoken(self, sound: Tensor) -> Tensor:
        """Which frames are no pause, [F * FRAME] -> [F]; see `models.audio.speech`."""
        power = sound.double().unflatten(0, (-1, FRAME)).square().mean(dim=1)
        level_db = 10 * torch.log10(power + np.finfo(np.float32).tiny)
        return level_db > level_db.max() - self.pooling.pause_db

    def _log_mel(self, sound: Tensor) -> Tensor:
        """[F * FRAME] at 16 kHz -> [1, mels, 2 F]."""
        half = self.basis.shape[2] // 2
        padded = F.pad(sound[None], (half, half), mode="reflect")[0]
        power = _power(padded.double(), self.basis, self.hop)[:-1]
        decades = torch.log10((power @ self.filters).clamp(min=1e-10))
        decades = torch.maximum(decades, decades.max() - 8)
        return ((decades + 4) / 4).T[None].float()

    def _states(self, mel: Tensor, frames: int) -> Tensor:
        """[1, mels, 2 F] -> [layers, F, W]."""
        encoder = self.encoder
        heard = F.gelu(encoder.conv2(F.gelu(encoder.conv1(mel))))
        states = [heard.transpose(1, 2) + self.positions[:frames]]
        for layer in encoder.layers:
            states.append(layer(states[-1], None))
        return torch.cat([states[layer] for layer in self.pooling.layers])


def halving_filter() -> np.ndarray:
    """The low-pass by which soxr halves the rate, as its answers to impulses tell it, [taps]."""
    length = 8192
    impulses = np.zeros((length, 2), np.float32)
    impulses[[length // 2, length // 2 + 1], [0, 1]] = 1
    even, odd = soxr.resample(impulses, RATE_HZ, SPEECH_HZ, quality="HQ").T
    taps = np.stack([even[:-1], odd[1:]], axis=1).ravel()  # h[-length / 2], ... h[length / 2 - 1]
    reach = np.flatnonzero(np.abs(taps) > 1e-9)
    width = max(length // 2 - reach[0], reach[-1] - length // 2)
    return taps[length // 2 - width : length // 2 + width + 1]


def _power(padded: Tensor, basis: Tensor, hop: int) -> Tensor:
    """Power spectrogram [F, bins] of [T] by a Fourier basis [2, bins, N]."""
    frames = padded.unfold(0, basis.shape[2], hop)  # [F, N]
    return (frames @ basis[0].T).square() + (frames @ basis[1].T).square()


def _quantiles(values: Tensor, shares: tuple[float, ...]) -> list[Tensor]:
    """Quantiles [N] over the columns of [N, F], between neighbours linearly."""
    ordered = values.sort(dim=1).values
    last = torch.ones_like(ordered[0]).sum() - 1
    found = []
    for share in shares:
        place = share * last
        below = place.floor()
        low = ordered.index_select(1, below.long()[None])
        high = ordered.index_select(1, place.ceil().long()[None])
        found.append((low + (place - below) * (high - low))[:, 0])
    return found
