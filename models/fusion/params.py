"""Sections `audio`, `visual`, `fusion` and `loss` of `params.yaml`."""

from pydantic import Field

from pipeline.params import Section


class AudioParams(Section):
    """Section `audio` of `params.yaml`."""

    handcrafted: bool
    hidden: tuple[int, int]
    dropout: float = Field(ge=0, lt=1)
    epochs: int = Field(ge=1)
    lr: float = Field(gt=0)
    weight_decay: float = Field(ge=0)


class VisualParams(Section):
    """Section `visual` of `params.yaml`."""

    speech_weighting: bool
    speech_floor: float = Field(ge=0, le=1)
    hidden: int = Field(ge=1)
    dropout: float = Field(ge=0, lt=1)
    epochs: int = Field(ge=1)
    lr: float = Field(gt=0)
    weight_decay: float = Field(ge=0)

    @property
    def silent_weight(self) -> float:
        """Weight of a silent frame, 1 without speech weighting."""
        return self.speech_floor if self.speech_weighting else 1.0


class FusionParams(Section):
    """Section `fusion` of `params.yaml`."""

    joint: bool
    hidden: int = Field(ge=1)
    dropout: float = Field(ge=0, lt=1)
    warmup_epochs: int = Field(ge=0)
    epochs: int = Field(ge=0)
    lr: float = Field(gt=0)
    weight_decay: float = Field(ge=0)
    joint_epochs: int = Field(ge=1)
    joint_frames: int = Field(ge=1)
    joint_lr: float = Field(gt=0)


class LossParams(Section):
    """Section `loss` of `params.yaml`: L = l_av + alpha l_a + beta l_v, Eq. (4)."""

    alpha: float = Field(ge=0)
    beta: float = Field(ge=0)
