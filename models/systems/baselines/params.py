"""Section `baselines` of `params.yaml`."""

import math
from typing import Annotated, Literal

from pydantic import Field, model_validator

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


Side = Annotated[int, Field(ge=33, le=4096)]
"""Of a picture, px: of 32 a ResNet's last layer is one number, which a step over one clip cannot
normalise."""

Several = Annotated[int, Field(ge=2, le=1_000_000)]
"""How many of a clip; of one a step over one clip could not be normalised."""


class BaselineParams(Section):
    """Section `baselines` of `params.yaml`: the paper's other systems."""

    weights: Literal["untrained", "published"]
    trunk: Literal["trained", "frozen"]
    image_net: ImageNet
    video_net: VideoNet
    # what of a clip is read
    frames: Count
    frame_px: Side
    face_px: Side
    windows: Count
    snippets: Several
    snippet_px: int = Field(ge=32, le=4096)
    segments: Several
    segment_frames: Count
    # networks and losses
    hidden: Count
    dropout: Dropout
    polarity_penalty: LossWeight
    # training
    pictures: Count
    joint_epochs: CountOrNone
    batch: Count
    lr: LearningRate
    weight_decay: WeightDecay

    @model_validator(mode="after")
    def _nothing_random_is_frozen(self) -> "BaselineParams":
        if self.weights == "untrained" and self.trunk == "frozen":
            raise ValueError("trunk must be trained where baselines.weights is untrained")
        return self

    def epochs(self, per_clip: int) -> int:
        """The fewest epochs that see at least `pictures` of a clip, `per_clip` in each."""
        return math.ceil(self.pictures / per_clip)

    def batch_clips(self, per_clip: int) -> int:
        """Clips in a step of about `batch` pictures, `per_clip` of each clip."""
        return max(1, self.batch // per_clip)

    def picture_px(self, name: str) -> int:
        """Side of the pictures that an image CNN reads: `frames` or `crops`."""
        return {"frames": self.frame_px, "crops": self.face_px}[name]
