"""Small convolutional networks over log-mel spectrograms, for training from random weights.

Clips of a batch differ in length. Whatever lies beyond a clip's own frames is zero at the input of
each convolution and is left out of each statistic, so that a clip's answer does not depend on the
clips beside it.
"""

from functools import cache

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.audio.front_end import LogMel, Spectrogram
from models.audio.panns import padded_length
from models.losses import log_odds

HEARD_DB = 40.0
"""Frames at either end that lie further below the loudest one are silence."""

OWN_SHARE = 0.5
"""Weight of a clip's spectrogram relative to its own frames, beside that relative to all clips."""

OWN_FLOOR = 0.1
"""Added in squares to the deviation over a clip's own frames, standardized: where a band hardly
changes its noise must not be blown up."""

SHIFTS = (0, -1, 1)
"""In mel bands: each clip is answered as it is and as of a smaller and a larger voice, too."""


@torch.no_grad()
def heard_logmel(waveform: Tensor) -> Tensor:
    """Log-mel spectrogram of a clip without the silence at its ends.

    Half of a recording of acted speech is silence, which costs time and says nothing.

    Args:
        waveform: [T] at 32 kHz, full scale 1, T >= 0.1 s.

    Returns:
        [F, N_MELS] in dB, a frame each 10 ms.

    Raises:
        MediaError: the clip is too short.
    """
    padded_length(len(waveform))  # refuses what is too short
    spectrogram, logmel = _front_end()
    power = spectrogram(waveform[None])[0, 0]  # [F, N_BINS]
    level = 10 * torch.log10(power.sum(dim=1).clamp_min(1e-10))
    heard = (level > level.max() - HEARD_DB).nonzero()[:, 0]
    found: Tensor = logmel(power[heard[0] : heard[-1] + 1])
    return found


@cache
def _front_end() -> tuple[Spectrogram, LogMel]:
    return Spectrogram(), LogMel()


class CompactNet(nn.Module):
    """Log-mel spectrograms -> features [B, 16 W N] and logits [B, K].

    N networks that differ by nothing but their random weights; their log p are averaged.

    Args:
        standardize: of [..., N_MELS], fitted on the frames of training clips.
        width: W of each member.
        members: N.
        emotions: K.
        dropout: share of features left out in training.

    Source: Lakshminarayanan et al., "Simple and Scalable Predictive Uncertainty Estimation using
    Deep Ensembles", NeurIPS 2017.
    """

    def __init__(
        self, standardize: nn.Module, width: int, members: int, emotions: int, dropout: float
    ) -> None:
        super().__init__()
        self.standardize = standardize
        self.member_width = 16 * width
        self.members = nn.ModuleList(
            CompactMember(width, emotions, dropout) for _ in range(members)
        )

    def forward(self, batch: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Features [B, 16 W N] of the clips, log odds [B, K] of the clips at each of `SHIFTS`."""
        found = [self.each({**batch, "logmel": shifted(batch["logmel"], n)}) for n in SHIFTS]
        log_p = torch.stack([z.log_softmax(dim=1) for answers in found for _, z in answers])
        features = torch.cat([features for features, _ in found[0]], dim=1)
        return features, log_odds(log_p.mean(dim=0))

    def each(self, batch: dict[str, Tensor]) -> list[tuple[Tensor, Tensor]]:
        """Features [B, 16 W] and logits of a softmax [B, K] by member.

        They are of `logmel` [B, F, N_MELS], of which the first `logmel_length` [B] frames count.
        """
        lengths = batch["logmel_length"]
        x = relaxed(self.standardize(batch["logmel"]), lengths)[:, None]  # [B, 1, F, N_MELS]
        return [member(x, lengths) for member in self.members]


def relaxed(logmel: Tensor, lengths: Tensor) -> Tensor:
    """Spectrograms half of which say how each band differs from its usual level in the clip.

    Voice and room shift and stretch the bands of all of a speaker's clips, which a network would
    learn by heart; how loud a clip is as a whole tells of the emotion, so the other half keeps it.

    Args:
        logmel: standardized over the training clips, [B, F, N_MELS].
        lengths: of the clips, [B], >= 1.

    Returns:
        [B, F, N_MELS], 0 beyond the length of a clip.

    Source: Kim et al., "Domain Generalization with Relaxed Instance Frequency-wise Normalization
    for Multi-device Acoustic Scene Classification", Interspeech 2022; with standardization over
    all clips in the place of layer norm.
    """
    within = inside(lengths, logmel.shape[1])[:, 0]
    mean, deviation = pool_statistics((logmel * within).transpose(1, 2), lengths).chunk(2, dim=1)
    own = (logmel - mean[:, None]) / (deviation.square() + OWN_FLOOR**2).sqrt()[:, None]
    return ((1 - OWN_SHARE) * logmel + OWN_SHARE * own) * within


def shifted(logmel: Tensor, bands: int) -> Tensor:
    """As of a voice of another size, [..., N_MELS]; the outermost band is repeated."""
    mels = logmel.shape[-1]
    return logmel[..., (torch.arange(mels, device=logmel.device) + bands).clamp(0, mels - 1)]


class CompactMember(nn.Module):
    """Standardized log-mel spectrograms -> features [B, 16 W] and logits of a softmax [B, K].

    Seven convolutions, every other one halves time and frequency and, but for the first, doubles
    the channels; then the mean over frequency, mean and standard deviation over time. It halves
    early, so that a CPU can train it.

    Args:
        width: W, channels of the first convolution; the last has 8 W.
        emotions: K.
        dropout: share of features left out in training.
    """

    def __init__(self, width: int, emotions: int, dropout: float) -> None:
        super().__init__()
        layers = [MaskedConv(1, width, kernel=5, stride=2)]
        for channels in (width, 2 * width, 4 * width):
            layers.append(MaskedConv(channels, 2 * channels, stride=2))
            layers.append(MaskedConv(2 * channels, 2 * channels))
        self.layers = nn.ModuleList(layers).to(memory_format=torch.channels_last)  # a fifth faster
        self.dropout = nn.Dropout(dropout)
        self.classify = nn.Linear(16 * width, emotions)

    def forward(self, x: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """[B, 1, F, N_MELS], 0 beyond `lengths` [B] -> features [B, 16 W], logits [B, K]."""
        for layer in self.layers:
            x, lengths = layer(x, lengths)
        features = self.dropout(pool_statistics(x.mean(dim=3), lengths))
        return features, self.classify(features)


class MaskedConv(nn.Module):
    """Convolution, batch norm and ReLU; 0 beyond the length of a clip."""

    def __init__(self, in_channels: int, channels: int, kernel: int = 3, stride: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, channels, kernel, stride, kernel // 2, bias=False)
        self.norm = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """[B, C, F, M] and lengths [B] -> [B, C', ceil(F / stride), ceil(M / stride)], lengths."""
        stride = self.conv.stride[0]
        x, lengths = F.relu_(self.norm(self.conv(x))), (lengths + stride - 1) // stride
        return x * inside(lengths, x.shape[2]), lengths


def inside(lengths: Tensor, frames: int) -> Tensor:
    """Whether each of `frames` belongs to its clip, [B] -> [B, 1, frames, 1]."""
    within = torch.arange(frames, device=lengths.device) < lengths[:, None]
    return within[:, None, :, None]


def pool_statistics(values: Tensor, lengths: Tensor) -> Tensor:
    """Mean and standard deviation over the frames of each clip.

    Args:
        values: [B, C, F], zero beyond each clip's length.
        lengths: [B], >= 1.

    Returns:
        [B, 2 C].

    Source: Snyder et al., "X-Vectors: Robust DNN Embeddings for Speaker Recognition", ICASSP 2018.
    """
    counts = lengths[:, None]
    mean = values.sum(dim=2) / counts
    apart = (values - mean[:, :, None]) * inside(lengths, values.shape[2])[..., 0]
    variance = apart.square().sum(dim=2) / counts
    return torch.cat([mean, (variance + 1e-6).sqrt()], dim=1)  # a slope at 0, too
