"""The branches: a clip's audio embedding or face features to features and logits.

Each standardises its input by the statistics of training clips, which are stored with it.
"""

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


class AudioNet(nn.Module):
    """Embedding [B, D] -> features [B, hidden[1]] and logits [B, K].

    Args:
        standardize: statistics of the training clips over D inputs.
        hidden: widths of the first two layers.
        emotions: K.
        dropout: share dropped before the first and after each of the first two layers.

    Source: Hussain et al., the audio stream: PANNs embedding and MFCC, three FC layers.
    """

    def __init__(
        self, standardize: Standardize, hidden: tuple[int, int], emotions: int, dropout: float
    ) -> None:
        super().__init__()
        self.standardize = standardize
        self.layers = nn.Sequential(
            nn.Dropout(dropout),
            nn.Linear(standardize.width, hidden[0]),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(hidden[0], hidden[1]),
            nn.ReLU(),
        )
        self.classify = nn.Sequential(nn.Dropout(dropout), nn.Linear(hidden[1], emotions))
        self.feature_width = hidden[1]

    def forward(self, batch: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Features [B, hidden[1]] and logits [B, K] of the embeddings `audio` [B, D]."""
        features = self.layers(self.standardize(batch["audio"]))
        return features, self.classify(features)


class VisualNet(nn.Module):
    """Face features [B, F, D] with frame weights [B, F] -> features [B, hidden], logits [B, K].

    Args:
        standardize: statistics of the training clips' pooled features over D inputs.
        hidden: width of the hidden layer.
        emotions: K.
        dropout: share dropped before each layer.
    """

    def __init__(
        self, standardize: Standardize, hidden: int, emotions: int, dropout: float
    ) -> None:
        super().__init__()
        self.standardize = standardize
        self.layers = nn.Sequential(
            nn.Dropout(dropout), nn.Linear(standardize.width, hidden), nn.ReLU()
        )
        self.classify = nn.Sequential(nn.Dropout(dropout), nn.Linear(hidden, emotions))
        self.feature_width = hidden

    def forward(self, batch: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Features [B, hidden] and logits [B, K] of `faces` [B, F, D] and `weights` [B, F]."""
        features = self.layers(self.standardize(pool_frames(batch["faces"], batch["weights"])))
        return features, self.classify(features)


def pool_frames(values: Tensor, weights: Tensor) -> Tensor:
    """Weighted mean over frames.

    Args:
        values: [B, F, D].
        weights: [B, F], not negative; they need not sum to 1.

    Returns:
        [B, D]; zeros for a clip whose weights are all 0.
    """
    total = weights.sum(dim=1, keepdim=True).clamp_min(torch.finfo(weights.dtype).tiny)
    return torch.einsum("bf,bfd->bd", weights / total, values)


def frame_weights(speech: Tensor, seen: Tensor, floor: float) -> Tensor:
    """Weight of each frame from its visual speech activity.

    Args:
        speech: probability that the mouth speaks, [..., F] in [0, 1].
        seen: whether the frame shows a face, [..., F] bool.
        floor: weight of a silent frame in [0, 1]; 1 turns the weighting off.

    Returns:
        [..., F]; 0 where no face is seen.
    """
    return (floor + (1 - floor) * speech) * seen
