"""Section `baselines` of `params.yaml`."""

from typing import Literal

from pydantic import Field

from pipeline.params import Section

ImageNet = Literal["resnet18", "resnet50"]


VideoNet = Literal["c3d", "mc3_18", "r3d_18"]


class BaselineParams(Section):
    """Section `baselines` of `params.yaml`: the paper's other systems."""

    weights: Literal["untrained", "published"]
    image_net: ImageNet
    video_net: VideoNet
    # what of a clip is read
    frames: int = Field(ge=1)
    frame_px: int = Field(ge=32)
    face_px: int = Field(ge=32)
    windows: int = Field(ge=1)
    snippets: int = Field(ge=1)
    snippet_px: int = Field(ge=32)
    segments: int = Field(ge=1)
    segment_frames: int = Field(ge=1)
    # networks and losses
    hidden: int = Field(ge=1)
    dropout: float = Field(ge=0, lt=1)
    polarity_penalty: float = Field(ge=0)
    # training
    epochs: int = Field(ge=1)
    joint_epochs: int = Field(ge=0)
    lr: float = Field(gt=0)
    weight_decay: float = Field(ge=0)

    def picture_px(self, name: str) -> int:
        """Side of the pictures that an image CNN reads: `frames` or `crops`."""
        return {"frames": self.frame_px, "crops": self.face_px}[name]
