"""What a network answers, as a graph."""

from collections.abc import Mapping

from torch import Tensor, nn

from models.fusion.pool import pooled
from models.losses import log_scores


class Answer(nn.Module):
    """Calibrated probabilities of one branch.

    Args:
        network: of a system, in eval mode.
        branch: `av`, `audio` or `visual`.
        alone: whether the branch is asked without the inputs of the other one.
        pool: weight of each expert, see `models.fusion.pool`.
    """

    def __init__(
        self, network: nn.Module, branch: str, alone: bool, pool: Mapping[str, float]
    ) -> None:
        super().__init__()
        self.network, self.branch, self.alone, self.pool = network, branch, alone, dict(pool)

    def forward(
        self,
        audio: Tensor | None = None,
        faces: Tensor | None = None,
        weights: Tensor | None = None,
    ) -> Tensor:
        """Probabilities [K] of one clip; those of its inputs are given that the branch reads.

        Args:
            audio: [D].
            faces: [F, D].
            weights: of the faces, [F].
        """
        given = {"audio": audio, "faces": faces, "weights": weights}
        batch = {name: value[None] for name, value in given.items() if value is not None}
        if self.alone:
            logits = self.network.branch(self.branch, batch)  # type: ignore[operator]
        else:
            logits = self.network(batch)
        scores = {name: log_scores(one) for name, one in logits.items()}
        return pooled(scores, self.pool)[0].float()
