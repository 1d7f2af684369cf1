"""Section `detector` of `params.yaml`."""

from typing import Literal

from pydantic import Field, model_validator

from pipeline.params import Section

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
    box_weight: float = Field(ge=0)
    closer_px: int = Field(ge=0, le=512)
    closer_epochs: int = Field(ge=0)
    kl_warmup_epochs: int = Field(ge=0)
    voting: bool
    voting_sigma_t: float = Field(gt=0)

    proposals: int = Field(ge=1)
    roi_batch: int = Field(ge=1)
    score_threshold: float = Field(ge=0, lt=1)
    nms_iou: float = Field(gt=0, lt=1)

    frames_per_clip_train: int = Field(ge=1)
    frames_per_clip: int = Field(ge=1)
    epochs: int = Field(ge=1)
    batch: int = Field(ge=1)
    lr: float = Field(gt=0)
    weight_decay: float = Field(ge=0)
    threads: int = Field(ge=1)
    seed: int = Field(ge=0)

    @model_validator(mode="after")
    def _nothing_random_is_frozen(self) -> "DetectorParams":
        if self.weights == "untrained" and self.frozen_stages > 0:
            raise ValueError("frozen_stages must be 0 where detector.weights is untrained")
        return self
