"""Sections `audio`, `visual`, `fusion` and `loss` of `params.yaml`."""

from typing import Annotated, Literal

from pydantic import Field

from models.audio.params import EncoderNames, NetworkNames
from pipeline.params import (
    Count,
    CountOrNone,
    Dropout,
    LearningRate,
    LossWeight,
    Section,
    WeightDecay,
)


class AudioParams(Section):
    """Section `audio` of `params.yaml`."""

    embeddings: Annotated[NetworkNames, Field(min_length=1)]
    encoders: Annotated[EncoderNames, Field(min_length=1)]
    handcrafted: bool
    hidden: tuple[Count, Count]
    dropout: Dropout
    epochs: Count
    lr: LearningRate
    weight_decay: WeightDecay
    l2: float = Field(gt=0, le=10)
    train: Literal["head", "all"]
    tune_epochs: Count
    tune_lr: LearningRate
    tune_batch: Count


class VisualParams(Section):
    """Section `visual` of `params.yaml`."""

    speech_weighting: bool
    speech_floor: float = Field(ge=0, le=1)
    hidden: Count
    dropout: Dropout
    epochs: Count
    lr: LearningRate
    weight_decay: WeightDecay

    @property
    def silent_weight(self) -> float:
        """Weight of a silent frame, 1 without speech weighting."""
        return self.speech_floor if self.speech_weighting else 1.0


class FusionParams(Section):
    """Section `fusion` of `params.yaml`."""

    head: Literal["paper", "residual"]
    pool: bool
    joint: bool
    hidden: Count
    dropout: Dropout
    modality_dropout: Dropout
    warmup_epochs: CountOrNone
    epochs: CountOrNone
    lr: LearningRate
    weight_decay: WeightDecay
    joint_epochs: Count
    joint_frames: Count
    joint_lr: LearningRate


class LossParams(Section):
    """Section `loss` of `params.yaml`: L = l_av + alpha l_a + beta l_v, Eq. (4)."""

    alpha: LossWeight
    beta: LossWeight
