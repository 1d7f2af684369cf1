"""Fusion that trains the detector too: gradients of Eq. (4) flow back through the RoI features.

Here L_v is the detector's own loss, L_cls + lambda L_bb of Eq. (2)-(3), on the frames from which
the features are taken; `models.systems.joint` draws them. Once trained, the detector looks anew,
and the fusion network answers from what it finds, as in staged training.
"""

from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from models.fusion.network import FusionNet
from models.training import weighted_sum

if TYPE_CHECKING:
    from models.faces.detector import Detector


class JointNet(nn.Module):
    """A fusion network and the detector behind its visual branch.

    Args:
        fusion: audio branch, visual branch over features, head.
        detector: a trained detector; it is trained on.
    """

    def __init__(self, fusion: FusionNet, detector: "Detector") -> None:
        super().__init__()
        self.fusion = fusion
        self.detector = detector

    def train(self, mode: bool = True) -> "JointNet":
        """Set the mode; the detector's batch normalisation keeps the statistics it has learned.

        So features in training are those of `Detector.detect`, whatever clips share a batch.
        """
        super().train(mode)
        for part in self.detector.modules():
            if isinstance(part, nn.BatchNorm2d):
                part.eval()
        return self

    def forward(self, batch: dict[str, Any]) -> dict[str, Tensor]:
        """Logits [B, K] of `av`, `audio` and `visual`.

        Args:
            batch: `audio`, and either `drawn`, through which gradients reach the detector, or
                `faces` and `weights`, as a detector has found them.
        """
        drawn = batch.get("drawn")
        if drawn is not None:
            batch = {**batch, "faces": self._features(drawn), "weights": drawn["weights"]}
        logits: dict[str, Tensor] = self.fusion(batch)
        return logits

    def detector_loss(self, drawn: dict[str, Tensor]) -> Tensor:
        """L_v, a scalar: the weighted sum of the detector's losses on the drawn frames.

        Frames of which it is open whether they show a face are left out, `true_labels` -1.
        """
        clear = drawn["true_labels"] >= 0  # [B, J]
        if not clear.any():
            return drawn["images"].new_zeros(())
        images = list(drawn["images"][clear])
        boxes, labels = drawn["true_boxes"][clear], drawn["true_labels"][clear]
        targets = [
            {"boxes": box[label > 0], "labels": label[label > 0]}
            for box, label in zip(boxes.unsqueeze(1), labels.unsqueeze(1), strict=True)
        ]
        return weighted_sum(self.detector.losses(images, targets), self.detector.loss_weights)

    def _features(self, drawn: dict[str, Tensor]) -> Tensor:
        """Features [B, J, D] of `boxes` in `images`; 0 in frames that do not count."""
        counts = drawn["weights"] > 0
        features = drawn["images"].new_zeros(*counts.shape, self.detector.embedding_dim)
        if counts.any():
            images, boxes = list(drawn["images"][counts]), drawn["boxes"][counts]
            features[counts] = self.detector.face_features(images, boxes)
        return features
