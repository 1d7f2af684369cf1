"""Mini-Xception: a small convolutional network that names the expression of a face.

`fer_mini_xception` beside this file holds it as trained on FER2013, photographs found on the web,
by the authors of the Python package `fer`.

Source: Arriaga, Valdenegro-Toro, Ploeger, "Real-time Convolutional Neural Networks for Emotion and
Gender Classification", 2017; layers, shapes and weights from `emotion_model.hdf5` of `fer` 25.10.3.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

SIDE_PX = 64
"""Side of the picture."""

EXPRESSIONS = ("anger", "disgust", "fear", "happiness", "sadness", "surprise", "neutral")
"""In the order of the network's answers."""

FEATURES = 128
"""Channels of the last block."""


class MiniXception(nn.Module):
    """Gray pictures [B, 1, 64, 64] in -1..1 -> features [B, 128] and logits [B, 7].

    The features are the mean over the last block's positions.
    """

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(1, 8, 3, bias=False), _norm(8), nn.ReLU(),
            nn.Conv2d(8, 8, 3, bias=False), _norm(8), nn.ReLU(),
        )  # fmt: skip
        self.blocks = nn.Sequential(_Block(8, 16), _Block(16, 32), _Block(32, 64), _Block(64, 128))
        self.classify = nn.Conv2d(FEATURES, len(EXPRESSIONS), 3, padding=1)

    def forward(self, pictures: Tensor) -> tuple[Tensor, Tensor]:
        """Features [B, 128] and logits [B, 7]."""
        found = self.blocks(self.stem(pictures))
        return found.mean(dim=(2, 3)), self.classify(found).mean(dim=(2, 3))


class _Block(nn.Module):
    """Two separable convolutions beside a strided one: [B, in, H, W] -> [B, out, H/2, W/2]."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.main = nn.Sequential(
            _separable(inputs, outputs), _norm(outputs), nn.ReLU(),
            _separable(outputs, outputs), _norm(outputs),
        )  # fmt: skip
        self.shortcut = nn.Sequential(
            nn.Conv2d(inputs, outputs, 1, stride=2, bias=False), _norm(outputs)
        )

    def forward(self, x: Tensor) -> Tensor:
        # Keras pads an even side at its end alone
        pooled = F.max_pool2d(self.main(x), 3, 2, padding=x.shape[-1] % 2, ceil_mode=True)
        return torch.add(pooled, self.shortcut(x))


def _separable(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, inputs, 3, padding=1, groups=inputs, bias=False),
        nn.Conv2d(inputs, outputs, 1, bias=False),
    )


def _norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, eps=1e-3)
