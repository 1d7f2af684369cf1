"""The visual network: face features of a clip's frames, pooled by visual speech activity."""

import torch
from pydantic import Field
from torch import Tensor, nn

from models.standardize import Standardize
from pipeline.params import Section


class VisualParams(Section):
    """Section `visual` of `params.yaml`."""

    speech_weighting: bool
    speech_floor: float = Field(ge=0, le=1)
    hidden: int = Field(ge=1)
    dropout: float = Field(ge=0, lt=1)
    epochs: int = Field(ge=1)
    lr: float = Field(gt=0)
    weight_decay: float = Field(ge=0)


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
