"""Fusion that trains the detector too: gradients of Eq. (4) flow back through the RoI features.

Here L_v is the detector's own loss, L_cls + lambda L_bb of Eq. (2)-(3), on the frames from which
the features are taken; `models.systems.joint` gives its inputs.
"""

from torch import Tensor, nn

from models.faces.detector import Detector
from models.fusion.network import FusionNet
from models.training import weighted_sum


class JointNet(nn.Module):
    """A fusion network and the detector behind its visual branch.

    Args:
        fusion: audio branch, visual branch over features, head.
        detector: a trained detector; it is trained on.
    """

    def __init__(self, fusion: FusionNet, detector: Detector) -> None:
        super().__init__()
        self.fusion = fusion
        self.detector = detector

    def forward(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Logits [B, K] of `av`, `audio` and `visual`."""
        logits: dict[str, Tensor] = self.fusion(self._with_features(batch))
        return logits

    def branch(self, name: str, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Logits [B, K] of one branch alone, where the other one's inputs are missing."""
        return self.fusion.branch(name, self._with_features(batch) if name == "visual" else batch)

    def detector_loss(self, batch: dict[str, Tensor]) -> Tensor:
        """L_v, a scalar: the weighted sum of the detector's losses on the batch's frames."""
        images = list(batch["images"].flatten(0, 1))
        boxes, labels = batch["true_boxes"].flatten(0, 1), batch["true_labels"].flatten()
        targets = [
            {"boxes": box[label > 0], "labels": label[label > 0]}
            for box, label in zip(boxes.unsqueeze(1), labels.unsqueeze(1), strict=True)
        ]
        return weighted_sum(self.detector.losses(images, targets), self.detector.loss_weights)

    def _with_features(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """The batch with the RoI features [B, J, D] of `boxes` in `images` as `faces`."""
        clips, frames = batch["frame_weights"].shape
        images, boxes = list(batch["images"].flatten(0, 1)), batch["boxes"].flatten(0, 1)
        features = self.detector.face_features(images, boxes).view(clips, frames, -1)
        return {**batch, "faces": features, "weights": batch["frame_weights"]}
