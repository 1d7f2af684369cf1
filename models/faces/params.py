"""Section `detector` of `params.yaml`."""

from typing import Literal

from pydantic import Field, model_validator

from pipeline.params import (
    Count,
    CountOrNone,
    LearningRate,
    LossWeight,
    Section,
    Seed,
    WeightDecay,
)

BackboneName = Literal["resnet50", "mobilenet_v3", "resnet18_light"]


class DetectorParams(Section):
    """Section `detector` of `params.yaml`."""

    classes: Literal["emotion", "face"]
    backbone: BackboneName
    weights: str = Field(min_length=1)
    frozen_stages: int = Field(ge=0, le=5)
    min_size_px: int = Field(ge=64, le=1600)
    max_size_px: int = Field(ge=64, le=2666)

    box_loss: Literal["kl", "smooth_l1"]
    box_weight: LossWeight
    closer_px: int = Field(ge=0, le=512)
    closer_epochs: CountOrNone
    kl_warmup_epochs: CountOrNone
    voting: bool
    voting_sigma_t: float = Field(gt=0, le=1)

    proposals: Count
    roi_batch: Count
    score_threshold: float = Field(ge=0, lt=1)
    nms_iou: float = Field(gt=0, lt=1)

    corrupt: float = Field(ge=0, lt=1)
    frames_per_clip_train: Count
    frames_per_clip: Count
    epochs: Count
    batch: Count
    lr: LearningRate
    weight_decay: WeightDecay
    threads: int = Field(ge=1, le=1024)
    seed: Seed

    @model_validator(mode="after")
    def _nothing_random_is_frozen(self) -> "DetectorParams":
        if self.weights == "untrained" and self.frozen_stages > 0:
            raise ValueError("frozen_stages must be 0 where detector.weights is untrained")
        return self
