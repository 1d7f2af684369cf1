"""The branches: a clip's audio embedding or face features to features and logits.

A branch is built from widths alone. It standardises its input by statistics of training clips,
which are fitted apart and saved with its parameters.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from models.losses import log_odds


class Standardize(nn.Module):
    """Standardise [..., D] by stored statistics; fit it on training clips only.

    Inputs come in blocks (an embedding, MFCC statistics, ...). Each block is scaled to a mean
    square norm of 1, so that 2048 embedding values do not drown 40 cepstral ones.

    Args:
        blocks: widths of the blocks, summing to D.
    """

    mean: Tensor
    scale: Tensor

    def __init__(self, blocks: Sequence[int]) -> None:
        super().__init__()
        self.blocks = tuple(blocks)
        self.width = sum(blocks)
        self.register_buffer("mean", torch.zeros(self.width))
        self.register_buffer("scale", torch.ones(self.width))

    def fit(self, values: Tensor) -> None:
        """Take the statistics of training clips, [N, D]."""
        mean = values.mean(dim=0)
        spread = values.std(dim=0, correction=0)
        widths = torch.cat([torch.full((w,), float(w)) for w in self.blocks])
        alive = spread > 1e-6 * mean.abs().clamp_min(1e-6)  # a constant input says nothing
        self.mean.copy_(mean)
        self.scale.copy_(torch.where(alive, 1 / (spread * widths.sqrt()), 0.0))

    def forward(self, values: Tensor) -> Tensor:
        """[..., D] -> [..., D]."""
        return (values - self.mean) * self.scale


class AudioNet(nn.Module):
    """Embedding [B, D] -> features [B, hidden[1]] and logits [B, K].

    Args:
        blocks: widths of the input's blocks, summing to D.
        hidden: widths of the first two layers.
        emotions: K.
        dropout: share dropped before the first and after each of the first two layers.

    Source: Hussain et al., the audio stream: PANNs embedding and MFCC, three FC layers.
    """

    def __init__(
        self, blocks: Sequence[int], hidden: tuple[int, int], emotions: int, dropout: float
    ) -> None:
        super().__init__()
        self.standardize = Standardize(blocks)
        self.layers = nn.Sequential(
            nn.Dropout(dropout),
            nn.Linear(self.standardize.width, hidden[0]),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(hidden[0], hidden[1]),
            nn.ReLU(),
        )
        self.classify = nn.Sequential(nn.Dropout(dropout), nn.Linear(hidden[1], emotions))
        self.feature_width = hidden[1]

    def fit_statistics(self, audio: Tensor) -> None:
        """Standardise by the embeddings of training clips, [N, D]."""
        self.standardize.fit(audio)

    def forward(self, batch: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Features [B, hidden[1]] and logits [B, K] of the embeddings `audio` [B, D]."""
        features = self.layers(self.standardize(batch["audio"]))
        return features, self.classify(features)


class LinearAudioNet(nn.Module):
    """Embedding [B, D] -> features [B, K] and logits [B, K]: multinomial logistic regression.

    For embeddings that tell emotions without further layers; with an L2 penalty it carries over to
    other speakers where a deeper branch learns its training clips by heart.

    Args:
        blocks: widths of the input's blocks, summing to D.
        emotions: K.
    """

    def __init__(self, blocks: Sequence[int], emotions: int) -> None:
        super().__init__()
        self.standardize = Standardize(blocks)
        self.classify = nn.Linear(self.standardize.width, emotions)
        nn.init.zeros_(self.classify.weight)
        nn.init.zeros_(self.classify.bias)
        self.feature_width = emotions

    def fit_statistics(self, audio: Tensor) -> None:
        """Standardise by the embeddings of training clips, [N, D]."""
        self.standardize.fit(audio)

    def forward(self, batch: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Scores z [B, K] of the embeddings `audio` [B, D], and logits [B, K].

        p = softmax(z), so that the logits are its log odds.
        """
        scores = self.classify(self.standardize(batch["audio"]))
        return scores, log_odds(scores)

    def penalty(self) -> Tensor:
        """Half the sum of squared weights, biases left out: a scalar."""
        return self.classify.weight.square().sum() / 2


class VisualNet(nn.Module):
    """Vectors of faces [B, F, D] with frame weights [B, F] -> features [B, hidden], logits [B, K].

    Args:
        blocks: by input that it reads, `faces` or `expressions` or both, the widths of its blocks;
            they sum to D.
        hidden: width of the hidden layer.
        emotions: K.
        dropout: share dropped before each layer.
    """

    def __init__(
        self, blocks: Mapping[str, Sequence[int]], hidden: int, emotions: int, dropout: float
    ) -> None:
        super().__init__()
        self.inputs = tuple(blocks)
        self.standardize = Standardize([width for part in blocks.values() for width in part])
        self.layers = nn.Sequential(
            nn.Dropout(dropout), nn.Linear(self.standardize.width, hidden), nn.ReLU()
        )
        self.classify = nn.Sequential(nn.Dropout(dropout), nn.Linear(hidden, emotions))
        self.feature_width = hidden

    def fit_statistics(self, batch: dict[str, Tensor]) -> None:
        """Standardise by the pooled vectors of training clips, inputs as of `forward`."""
        self.standardize.fit(self._pooled(batch))

    def forward(self, batch: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Features [B, hidden] and logits [B, K] of its inputs [B, F, D_i] and `weights` [B, F]."""
        features = self.layers(self.standardize(self._pooled(batch)))
        return features, self.classify(features)

    def _pooled(self, batch: dict[str, Tensor]) -> Tensor:
        values = torch.cat([batch[name] for name in self.inputs], dim=-1)
        return pool_frames(values, batch["weights"])


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


def frame_weights(speech: Tensor, visible: Tensor, floor: float) -> Tensor:
    """Weight of each frame from its visual speech activity.

    Args:
        speech: probability that the mouth speaks, [..., F] in [0, 1].
        visible: whether the frame shows a face, [..., F] bool.
        floor: weight of a silent frame in [0, 1]; 1 turns the weighting off.

    Returns:
        [..., F]; 0 where no face is visible.
    """
    return (floor + (1 - floor) * speech) * visible
