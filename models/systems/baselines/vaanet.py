"""VAANet: attention over space, channels and time of snippets, and over time of sound.

Source: Zhao et al., "An End-to-End Visual-Audio Attention Network for Emotion Recognition in
User-Generated Videos", AAAI 2020, Sections 3.2 and 3.3; layer order of the authors' code.
Deviations:

- The 3-D ResNet-101 is torchvision's `r3d_18` or `mc3_18` (or a small `c3d` that trains on a CPU),
  see `models.systems.deviations`. Its maps are averaged over time.
- That network learns with the rest, unless `baselines.trunk` is `frozen`, as the authors' is.
- Snippets of 16 frames and segments of sound span the clip evenly; the authors' data are videos of
  minutes, ours last seconds. MFCC of 64 bands at 32 kHz, every 10 ms, instead of 128 at 44.1 kHz,
  every 11.6 ms.
- Attention over time passes a ReLU, as published; its bias starts at 1, so that no clip begins with
  all its snippets switched off, where no gradient would bring them back.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.losses import log_odds

VISUAL_WIDTH = 512
AUDIO_WIDTH = 256
SOUND_TRUNK_WIDTH = 512


class Attention(nn.Module):
    """Weights of P positions from C features at each: H = tanh(W1 F), A = W2 H.

    Args:
        features: C.
        positions: P.
    """

    def __init__(self, features: int, positions: int) -> None:
        super().__init__()
        self.score = nn.Sequential(
            nn.Conv1d(features, 1, 1, bias=False), nn.BatchNorm1d(1), nn.Tanh()
        )
        self.mix = nn.Linear(positions, positions)

    def forward(self, values: Tensor) -> Tensor:
        """[N, C, P] -> [N, P], summing to 1."""
        return self.mix(self.score(values)[:, 0]).softmax(dim=1)


class TemporalAttention(Attention):
    """The same over time, through a ReLU instead of a softmax."""

    def __init__(self, features: int, positions: int) -> None:
        super().__init__(features, positions)
        nn.init.ones_(self.mix.bias)

    def forward(self, values: Tensor) -> Tensor:
        """[N, C, P] -> [N, P], not negative."""
        return F.relu(self.mix(self.score(values)[:, 0]))


class Attended(NamedTuple):
    """Features [B, D] of a stream and the weights that made them, by what they range over."""

    features: Tensor
    weights: dict[str, Tensor]


class VisualStream(nn.Module):
    """Snippets -> features [B, 512].

    Args:
        trunk: snippets [N, ...] -> maps [N, C, h, w].
        channels: C.
        positions: h w.
        snippets: S.
    """

    def __init__(self, trunk: nn.Module, channels: int, positions: int, snippets: int) -> None:
        super().__init__()
        self.trunk = trunk
        self.reduce = nn.Sequential(
            nn.Conv1d(channels, VISUAL_WIDTH, 1, bias=False),
            nn.BatchNorm1d(VISUAL_WIDTH),
            nn.ReLU(),
        )
        self.spatial = Attention(VISUAL_WIDTH, positions)
        self.channel = Attention(positions, VISUAL_WIDTH)
        self.temporal = TemporalAttention(VISUAL_WIDTH, snippets)

    def forward(self, snippets: Tensor) -> Attended:
        """[B, S, ...] -> [B, 512] and weights."""
        maps = self.reduce(self.trunk(snippets.flatten(0, 1)).flatten(2))  # [B S, 512, P]
        space = self.spatial(maps)  # [B S, P]
        maps = maps * space[:, None] * space.shape[1]
        channel = self.channel(maps.transpose(1, 2))  # [B S, 512]
        pooled = (maps * channel[:, :, None] * channel.shape[1]).mean(dim=2)  # [B S, 512]
        series = pooled.unflatten(0, snippets.shape[:2]).transpose(1, 2)  # [B, 512, S]
        time = self.temporal(series)  # [B, S]
        weights = {"space": space, "channel": channel, "time": time}
        return Attended((series * time[:, None]).mean(dim=2), weights)


class AudioStream(nn.Module):
    """Cepstra -> features [B, 256].

    Args:
        trunk: cepstra [N, 1, frames, 32] -> [N, 512].
        segments: S.
    """

    def __init__(self, trunk: nn.Module, segments: int) -> None:
        super().__init__()
        self.trunk = trunk
        self.embed = nn.Sequential(
            nn.Linear(SOUND_TRUNK_WIDTH, AUDIO_WIDTH), nn.BatchNorm1d(AUDIO_WIDTH), nn.Tanh()
        )
        self.temporal = TemporalAttention(AUDIO_WIDTH, segments)

    def forward(self, cepstra: Tensor) -> Attended:
        """[B, S, frames, 32] -> [B, 256] and weights."""
        found = self.embed(self.trunk(cepstra.flatten(0, 1)[:, None]))  # [B S, 256]
        series = found.unflatten(0, cepstra.shape[:2]).transpose(1, 2)  # [B, 256, S]
        time = self.temporal(series)  # [B, S]
        return Attended((series * time[:, None]).mean(dim=2), {"time": time})


class VaaNet(nn.Module):
    """Both streams, joined by one linear layer -> logits of `av`.

    Args:
        visual: snippets -> [B, 512].
        audio: cepstra -> [B, 256].
        emotions: K.
    """

    def __init__(self, visual: VisualStream, audio: AudioStream, emotions: int) -> None:
        super().__init__()
        self.visual = visual
        self.audio = audio
        self.classify = nn.Linear(VISUAL_WIDTH + AUDIO_WIDTH, emotions)

    def forward(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Log odds [B, K] of `snippets` [B, S, ...] and `cepstra` [B, S', frames, 32]."""
        visual, audio = self.visual(batch["snippets"]), self.audio(batch["cepstra"])
        return {"av": log_odds(self.classify(torch.cat([visual.features, audio.features], dim=1)))}
