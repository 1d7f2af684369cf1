"""The audio network: a frozen embedding in, three fully connected layers to the emotions."""

from pydantic import Field
from torch import Tensor, nn

from models.standardize import Standardize
from pipeline.params import Section


class AudioParams(Section):
    """Section `audio` of `params.yaml`."""

    handcrafted: bool
    hidden: tuple[int, int]
    dropout: float = Field(ge=0, lt=1)
    epochs: int = Field(ge=1)
    lr: float = Field(gt=0)
    weight_decay: float = Field(ge=0)


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
