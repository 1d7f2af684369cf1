"""Section `training` of `params.yaml`, and all sections that decide how a system is trained."""

from dataclasses import dataclass

from pydantic import Field

from models.fusion.params import AudioParams, FusionParams, LossParams, VisualParams
from models.systems.baselines.params import BaselineParams
from pipeline.params import Count, Section, Seed
from pipeline.splits import InnerFoldParams


class TrainingParams(Section):
    """Section `training` of `params.yaml`: what rules every system.

    `threads` stands here and is not taken from the machine, because it changes the order of sums
    and so the result.
    """

    seed: Seed
    batch_size: Count
    threads: int = Field(ge=1, le=1024)


@dataclass(frozen=True, slots=True)
class Settings:
    """The sections of `params.yaml` that decide how a system is trained and calibrated."""

    training: TrainingParams
    audio: AudioParams
    visual: VisualParams
    fusion: FusionParams
    loss: LossParams
    baselines: BaselineParams
    inner_folds: InnerFoldParams
