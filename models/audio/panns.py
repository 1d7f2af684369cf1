"""Pretrained audio neural networks: `Cnn14`, `Wavegram_Cnn14`, `Wavegram_Logmel_Cnn14`.

Parameter names, shapes and outputs are those of the published networks, so that the published
checkpoints load strictly. Left out is what only their training needs: mixup and SpecAugment.

Clips of any length >= 0.1 s are padded with zeros at their end: see `padded_length`.

Source: Kong et al., "PANNs: Large-Scale Pretrained Audio Neural Networks for Audio Pattern
Recognition", TASLP 2020; code qiuqiangkong/audioset_tagging_cnn, `pytorch/models.py`.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.audio.front_end import HOP, N_MELS, RATE_HZ, LogMel, Spectrogram
from pipeline.errors import MediaError, WeightsError

SHORTEST = RATE_HZ // 10
"""Fewest samples of a clip: 0.1 s."""
GRID = 2 * HOP
"""Padded lengths are multiples of this, 20 ms.

Then both branches have T / GRID frames where they meet; otherwise half of all lengths would leave
the wavegram one frame short.
"""
STEP = SHORTEST_PADDED = 16 * GRID
"""Samples between two frames of the last block, after four more halvings of time: 0.32 s."""
CONTEXT = 4
"""Such frames at either side that reach into one: 126 frames of the front end, half a window."""
BLOCK = 50
"""Such frames that `Panns.embed` computes at a time: memory for 19 s, however long the clip."""


def padded_length(samples: int) -> int:
    """Length to which a clip is padded with zeros at its end, in samples.

    The next multiple of `GRID`, at least `SHORTEST_PADDED`. Zeros at the end are what the
    published networks were trained with for recordings shorter than 10 s.

    Args:
        samples: length of the clip at `RATE_HZ`.

    Raises:
        MediaError: the clip is shorter than `SHORTEST`.
    """
    if samples < SHORTEST:
        raise MediaError(
            f"sound of {samples} samples at {RATE_HZ} Hz: expected at least {SHORTEST} (0.1 s); "
            "leave the recording out or record it again"
        )
    return max(SHORTEST_PADDED, -(-samples // GRID) * GRID)


def pad(waveform: Tensor) -> Tensor:
    """Pad [..., T] to `padded_length(T)`."""
    return F.pad(waveform, (0, padded_length(waveform.shape[-1]) - waveform.shape[-1]))


EMBEDDING = 2048
"""D: numbers in an embedding."""
CLASSES = 527
"""AudioSet classes of the tagging head."""


class ConvBlock(nn.Module):
    """Two 3x3 convolutions with batch norm and ReLU, then average pooling."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, padding=1, bias=False)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(out_channels)
        self.bn2 = nn.BatchNorm2d(out_channels)

    def forward(self, x: Tensor, pool: tuple[int, int]) -> Tensor:
        """[B, C, F, M] -> [B, C', F // pool[0], M // pool[1]]."""
        x = F.relu_(self.bn1(self.conv1(x)))
        x = F.relu_(self.bn2(self.conv2(x)))
        return F.avg_pool2d(x, pool) if pool != (1, 1) else x


class WaveBlock(nn.Module):
    """Two convolutions over time, the second dilated, then max pooling by 4."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv1d(in_channels, out_channels, 3, padding=1, bias=False)
        self.conv2 = nn.Conv1d(out_channels, out_channels, 3, padding=2, dilation=2, bias=False)
        self.bn1 = nn.BatchNorm1d(out_channels)
        self.bn2 = nn.BatchNorm1d(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, T] -> [B, C', T // 4]."""
        x = F.relu_(self.bn1(self.conv1(x)))
        x = F.relu_(self.bn2(self.conv2(x)))
        return F.max_pool1d(x, 4)


class Panns(nn.Module):
    """A published network: one or two front ends, six convolution blocks, a tagging head.

    Args:
        logmel: whether the log-mel spectrogram is a front end.
        wavegram: whether the learnt time-frequency picture of the waveform is one.
    """

    def __init__(self, *, logmel: bool, wavegram: bool) -> None:
        super().__init__()
        self.has_logmel, self.has_wavegram = logmel, wavegram
        if logmel:
            self.spectrogram_extractor = Spectrogram()
            self.logmel_extractor = LogMel()
        if wavegram:
            self.pre_conv0 = nn.Conv1d(1, 64, 11, stride=5, padding=5, bias=False)
            self.pre_bn0 = nn.BatchNorm1d(64)
            self.pre_block1 = WaveBlock(64, 64)
            self.pre_block2 = WaveBlock(64, 128)
            self.pre_block3 = WaveBlock(128, 128)
            self.pre_block4 = ConvBlock(4, 64)
        # the published Wavegram_Cnn14 holds bn0 and conv_block1 too, and never calls them
        self.bn0 = nn.BatchNorm2d(N_MELS)
        self.conv_block1 = ConvBlock(1, 64)
        self.conv_block2 = ConvBlock(64 * (logmel + wavegram), 128)
        self.conv_block3 = ConvBlock(128, 256)
        self.conv_block4 = ConvBlock(256, 512)
        self.conv_block5 = ConvBlock(512, 1024)
        self.conv_block6 = ConvBlock(1024, 2048)
        self.fc1 = nn.Linear(2048, EMBEDDING)
        self.fc_audioset = nn.Linear(EMBEDDING, CLASSES)

    def forward(self, waveform: Tensor) -> dict[str, Tensor]:
        """Tag a batch of clips of one length.

        Args:
            waveform: [B, T] at 32 kHz, full scale 1, T >= `SHORTEST`; padded here.

        Returns:
            `clipwise_output` [B, CLASSES] in [0, 1] and `embedding` [B, EMBEDDING].

        Raises:
            MediaError: the clips are too short.
        """
        return self._tagged(self._convolved(pad(waveform)))

    def _convolved(self, waveform: Tensor) -> Tensor:
        """[B, T] -> [B, 2048, T // STEP], the mean over frequency."""
        x = F.dropout(self._front(waveform), 0.2, self.training)
        for block in (self.conv_block2, self.conv_block3, self.conv_block4, self.conv_block5):
            x = F.dropout(block(x, (2, 2)), 0.2, self.training)
        x = F.dropout(self.conv_block6(x, (1, 1)), 0.2, self.training)
        return x.mean(dim=3)

    def _tagged(self, x: Tensor) -> dict[str, Tensor]:
        """[B, 2048, F] -> what `forward` returns."""
        x = x.amax(dim=2) + x.mean(dim=2)  # [B, 2048]
        x = F.relu_(self.fc1(F.dropout(x, 0.5, self.training)))
        return {
            "clipwise_output": torch.sigmoid(self.fc_audioset(x)),
            "embedding": F.dropout(x, 0.5, self.training),
        }

    @torch.no_grad()
    def embed(self, waveform: Tensor) -> Tensor:
        """Embedding of each clip, in evaluation mode whatever the mode of the network.

        A long clip is convolved block by block: the same numbers, in memory that does not grow
        with its length.

        Args:
            waveform: [B, T] at 32 kHz, full scale 1, T >= `SHORTEST`.

        Returns:
            [B, EMBEDDING], >= 0, without gradient.

        Raises:
            MediaError: the clips are too short.
        """
        waveform = pad(waveform)
        frames = waveform.shape[1] // STEP
        with _evaluating(self):
            parts = [
                self._block(waveform, start, min(start + BLOCK, frames))
                for start in range(0, frames, BLOCK)
            ]
            return self._tagged(torch.cat(parts, dim=2))["embedding"]

    def _block(self, waveform: Tensor, start: int, end: int) -> Tensor:
        """Frames `start` to `end` of `_convolved`, from these and their context alone."""
        first, beyond = max(0, start - CONTEXT), end + CONTEXT + 1
        # what makes up no frame at the end of a clip counts, too
        stop = beyond * STEP if beyond * STEP <= waveform.shape[1] else None
        found = self._convolved(waveform[:, first * STEP : stop])
        return found[:, :, start - first : end - first]

    def heard(self, waveform: Tensor) -> Tensor:
        """What `embed_heard` takes of a clip: [T] -> [padded_length(T)].

        Raises:
            MediaError: the clip is too short.
        """
        return pad(waveform)

    def embed_heard(self, sound: Tensor) -> Tensor:
        """Embeddings [B, EMBEDDING] of clips that are equal in length as heard, [B, T]."""
        return self.embed(sound)

    def _front(self, waveform: Tensor) -> Tensor:
        """[B, T] -> [B, 64 or 128, T // GRID, 32]; log-mel first, as published."""
        branches = []
        if self.has_logmel:
            branches.append(self._logmel(waveform))
        if self.has_wavegram:
            branches.append(self._wavegram(waveform))
        return torch.cat(branches, dim=1)

    def _logmel(self, waveform: Tensor) -> Tensor:
        x = self.logmel_extractor(self.spectrogram_extractor(waveform))  # [B, 1, F, N_MELS]
        x = self.bn0(x.transpose(1, 3)).transpose(1, 3)
        features: Tensor = self.conv_block1(x, (2, 2))
        return features

    def _wavegram(self, waveform: Tensor) -> Tensor:
        x = F.relu_(self.pre_bn0(self.pre_conv0(waveform[:, None])))
        x = self.pre_block3(self.pre_block2(self.pre_block1(x)))  # [B, 128, T // HOP]
        x = x.unflatten(1, (4, 32)).transpose(2, 3)  # [B, 4, T // HOP, 32]
        features: Tensor = self.pre_block4(x, (2, 1))
        return features


class Cnn14(Panns):
    """Log-mel only; published mAP on AudioSet 0.431."""

    def __init__(self) -> None:
        super().__init__(logmel=True, wavegram=False)


class Wavegram_Cnn14(Panns):  # noqa: N801 - the published name
    """Wavegram only; published mAP on AudioSet 0.389."""

    def __init__(self) -> None:
        super().__init__(logmel=False, wavegram=True)


class Wavegram_Logmel_Cnn14(Panns):  # noqa: N801 - the published name
    """Both; published mAP on AudioSet 0.439."""

    def __init__(self) -> None:
        super().__init__(logmel=True, wavegram=True)


NETWORKS: dict[str, type[Cnn14 | Wavegram_Cnn14 | Wavegram_Logmel_Cnn14]] = {
    "Cnn14": Cnn14,
    "Wavegram_Cnn14": Wavegram_Cnn14,
    "Wavegram_Logmel_Cnn14": Wavegram_Logmel_Cnn14,
}
"""The networks by published name."""


def build(name: str, seed: int = 0) -> Panns:
    """An untrained network in evaluation mode.

    Args:
        name: one of `NETWORKS`.
        seed: of the random weights; the global generator is left as it was.

    Raises:
        WeightsError: an unknown name.
    """
    if name not in NETWORKS:
        raise WeightsError(f"network {name!r}: expected one of {', '.join(NETWORKS)}")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = NETWORKS[name]()
        _initialise(network)
    return network.eval()


def _initialise(network: Panns) -> None:
    """The published Xavier weights times ReLU's gain (He): else 21 layers shrink to 1e-6."""
    for module in network.modules():
        if isinstance(module, nn.Conv1d | nn.Conv2d | nn.Linear):
            nn.init.kaiming_uniform_(module.weight, nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)


@contextmanager
def _evaluating(network: nn.Module) -> Iterator[None]:
    training = network.training
    network.eval()
    try:
        yield
    finally:
        network.train(training)
