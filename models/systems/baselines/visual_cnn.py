"""The paper's image baselines: a CNN on each frame, the mean over a clip's frames."""

from torch import Tensor, nn

from models.systems.baselines.augment import drawn


class FrameNet(nn.Module):
    """Pictures of a clip -> features and logits; a branch as `models.fusion.network` takes it.

    In training it sees one picture of each clip, drawn at random.

    Args:
        name: of the input in a batch, `frames` or `crops`.
        trunk: pictures [N, ...] -> features [N, C].
        layers: pooled features [B, C] -> [B, H].
        classify: [B, H] -> logits [B, K].

    Source: Hussain et al., Table I, "CNN" (whole frame) and "CNN_fd" (detected face). The paper
    names neither the network nor how a clip's frames are joined: a ResNet and the mean are ours.
    """

    def __init__(self, name: str, trunk: nn.Module, layers: nn.Module, classify: nn.Linear) -> None:
        super().__init__()
        self.name = name
        self.trunk = trunk
        self.layers = layers
        self.classify = classify
        self.feature_width = classify.in_features

    def forward(self, batch: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Features [B, H] and logits [B, K] of the pictures [B, F, ...]."""
        pictures = batch[self.name]
        if self.training:
            pictures = drawn(pictures)
        features = self.trunk(pictures.flatten(0, 1))  # [B F, C]
        features = self.layers(features.unflatten(0, pictures.shape[:2]).mean(dim=1))  # [B, H]
        return features, self.classify(features)
