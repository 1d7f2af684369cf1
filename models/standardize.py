"""Zero mean and unit variance by the statistics of training clips, stored with the network."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class Standardize(nn.Module):
    """Standardise [..., D] by stored statistics; fit it on training clips only.

    Inputs come in blocks (an embedding, MFCC statistics, ...). Each block is scaled to a mean
    square norm of 1, so that 2048 embedding values do not drown 40 cepstral ones.
    """

    mean: Tensor
    scale: Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = width
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("scale", torch.ones(width))

    @classmethod
    def fit(cls, values: Tensor, blocks: Sequence[int] | None = None) -> "Standardize":
        """Take the statistics of training clips.

        Args:
            values: [N, D].
            blocks: widths of the blocks, summing to D; None takes D as one block.
        """
        module = cls(values.shape[1])
        mean = values.mean(dim=0)
        spread = values.std(dim=0, correction=0)
        widths = torch.cat([torch.full((w,), float(w)) for w in blocks or [values.shape[1]]])
        alive = spread > 1e-6 * mean.abs().clamp_min(1e-6)  # a constant input says nothing
        module.mean.copy_(mean)
        module.scale.copy_(torch.where(alive, 1 / (spread * widths.sqrt()), 0.0))
        return module

    def forward(self, values: Tensor) -> Tensor:
        """[..., D] -> [..., D]."""
        return (values - self.mean) * self.scale
