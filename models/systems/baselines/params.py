"""Section `baselines` of `params.yaml`."""

from typing import Literal

from pydantic import Field

from pipeline.params import (
    Count,
    CountOrNone,
    Dropout,
    LearningRate,
    LossWeight,
    Section,
    WeightDecay,
)

ImageNet = Literal["resnet18", "resnet50"]


VideoNet = Literal["c3d", "mc3_18", "r3d_18"]


class BaselineParams(Section):
    """Section `baselines` of `params.yaml`: the paper's other systems."""

    weights: Literal["untrained", "published"]
    image_net: ImageNet
    video_net: VideoNet
    # what of a clip is read
    frames: Count
    frame_px: int = Field(ge=32, le=4096)
    face_px: int = Field(ge=32, le=4096)
    windows: Count
    snippets: Count
    snippet_px: int = Field(ge=32, le=4096)
    segments: Count
    segment_frames: Count
    # networks and losses
    hidden: Count
    dropout: Dropout
    polarity_penalty: LossWeight
    # training
    epochs: Count
    joint_epochs: CountOrNone
    lr: LearningRate
    weight_decay: WeightDecay

    def picture_px(self, name: str) -> int:
        """Side of the pictures that an image CNN reads: `frames` or `crops`."""
        return {"frames": self.frame_px, "crops": self.face_px}[name]
