"""Fusion: both branches and a network over F = [A, V], trained by Eq. (4)."""

import torch
from torch import Tensor, nn

from models.losses import log_odds, log_scores


class FusionHead(nn.Module):
    """Logits of the fused system from the branches' features and logits.

    z_av = FC(FC([A, V])), as in the paper; or, as a residual,
    log p_av = log p_a + log p_v + FC(FC([A, V])) up to a constant. The sum of log p is the product
    of the two experts; the layers over F = [A, V] start at 0 and learn what the product misses. So
    the fused system starts from what both branches know rather than from noise, which keeps it from
    falling below the better one when clips are few. Log p are added and not the logits, whose
    sigmoids are one against all others.

    Args:
        width: of F = [A, V].
        hidden: width of the hidden layer.
        emotions: K.
        dropout: share dropped before each layer.
        residual: whether the layers are added to the branches' log p.
        modality_dropout: share of clips of which training withholds sound or picture, either as
            often: zeros in F, and no opinion of that branch.

    Source: Neverova et al., "ModDrop: Adaptive Multi-Modal Gesture Recognition", TPAMI 2016.
    """

    def __init__(
        self,
        width: int,
        hidden: int,
        emotions: int,
        dropout: float,
        residual: bool,
        modality_dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.residual = residual
        self.modality_dropout = modality_dropout
        self.layers = nn.Sequential(
            nn.Dropout(dropout),
            nn.Linear(width, hidden),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(hidden, emotions),
        )
        if residual:
            last = self.layers[-1]
            assert isinstance(last, nn.Linear)
            nn.init.zeros_(last.weight)
            nn.init.zeros_(last.bias)

    def forward(self, audio: tuple[Tensor, Tensor], visual: tuple[Tensor, Tensor]) -> Tensor:
        """Logits [B, K] from (features, logits) of each branch."""
        heard, seen = self._known(audio[0])
        features = torch.cat([audio[0] * heard, visual[0] * seen], dim=1)  # F = [A, V]
        logits: Tensor = self.layers(features)
        if not self.residual:
            return logits
        return log_odds(log_scores(audio[1]) * heard + log_scores(visual[1]) * seen + logits)

    def _known(self, like: Tensor) -> tuple[Tensor, Tensor] | tuple[float, float]:
        """Whether each clip has sound and picture, each [B, 1]: in training it may lack one."""
        if not self.training or self.modality_dropout == 0:
            return 1.0, 1.0
        draw = torch.rand(len(like), 1).to(like.device)
        share = self.modality_dropout / 2
        return (draw >= share).to(like), (draw < 1 - share).to(like)


class FusionNet(nn.Module):
    """Audio branch, visual branch and head.

    A branch maps a batch of `models.systems.inputs` to (features [B, H], logits [B, K]).

    Args:
        audio: the audio branch.
        visual: the visual branch.
        head: (features, logits) of both -> logits.
    """

    def __init__(self, audio: nn.Module, visual: nn.Module, head: FusionHead) -> None:
        super().__init__()
        self.audio = audio
        self.visual = visual
        self.head = head

    def forward(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Logits [B, K] of `av`, `audio` and `visual`."""
        audio, visual = self.audio(batch), self.visual(batch)
        return {"av": self.head(audio, visual), "audio": audio[1], "visual": visual[1]}

    def branch(self, name: str, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Logits [B, K] of one branch alone, where the other one's inputs are missing."""
        return {name: {"audio": self.audio, "visual": self.visual}[name](batch)[1]}


class SingleNet(nn.Module):
    """A system of one branch only.

    Args:
        name: `audio` or `visual`.
        branch: batch -> (features, logits).
    """

    def __init__(self, name: str, branch: nn.Module) -> None:
        super().__init__()
        self.name = name
        self.branch = branch

    def forward(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Logits [B, K] under the branch's name."""
        return {self.name: self.branch(batch)[1]}
