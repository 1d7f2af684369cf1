"""Sections `training`, `compact`, `pack`; all that decides how a system is trained and how wide."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal, get_type_hints

from pydantic import Field

from models.audio.params import EmbedParams
from models.expressions.params import FacesParams
from models.fusion.params import AudioParams, FusionParams, LossParams, VisualParams
from models.systems.baselines.params import BaselineParams
from pipeline.params import (
    Count,
    Dropout,
    LearningRate,
    LossWeight,
    Section,
    Seed,
    WeightDecay,
    load_section,
)
from pipeline.splits import InnerFoldParams
from pipeline.systems import SYSTEMS


class TrainingParams(Section):
    """Section `training` of `params.yaml`: what rules every system.

    `threads` stands here and is not taken from the machine, because it changes the order of sums
    and so the result.
    """

    seed: Seed
    batch_size: Count
    threads: int = Field(ge=1, le=1024)


class PackParams(Section):
    """Section `pack` of `params.yaml`: which networks `avemo predict` uses, and how.

    `clips`: those of the first fold, which were scored on clips they never saw, or others that
    learn from all clips.
    """

    clips: Literal["fold", "all"]
    window_s: float = Field(ge=1, le=60)


class CompactParams(Section):
    """Section `compact` of `params.yaml`: the system `audio_compact`."""

    width: int = Field(ge=1, le=256)
    members: int = Field(ge=1, le=100)
    dropout: Dropout
    excerpt_s: float = Field(ge=0.1, le=60)
    mixup: float = Field(ge=0, le=1)
    smoothing: float = Field(ge=0, lt=1)
    auxiliary: tuple[Literal["sentence", "speaker"], ...]
    auxiliary_weight: LossWeight
    batch: Count
    epochs: Count
    lr: LearningRate
    weight_decay: WeightDecay


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
    faces: FacesParams
    compact: CompactParams
    embed: EmbedParams

    @classmethod
    def read(cls) -> "Settings":
        """The sections of `params.yaml`.

        Raises:
            ParamsError: a section is missing or a value is refused.
        """
        return cls(
            **{name: load_section(name, model) for name, model in get_type_hints(cls).items()}
        )

    def tunes(self, system: str) -> bool:
        """Whether the audio network of a system learns too."""
        return self.audio.train == "all" and SYSTEMS[system].can_be_tuned

    def frozen_networks(self, system: str) -> tuple[str, ...]:
        """Audio networks whose embeddings a trained system reads, as they came."""
        if self.tunes(system):
            return ()
        return SYSTEMS[system].audio_networks(self.audio.embeddings, self.audio.encoders)

    def dump(self) -> dict[str, Any]:
        """The sections as plain values, by name."""
        return {f.name: getattr(self, f.name).model_dump(mode="json") for f in fields(self)}

    @classmethod
    def load(cls, sections: Mapping[str, Any]) -> "Settings":
        """What `dump` gave; other sections are passed over.

        Raises:
            ValueError: a section is missing or does not hold (pydantic's errors are such).
        """
        models = get_type_hints(cls)
        missing = models.keys() - sections.keys()
        if missing:
            raise ValueError(f"section {min(missing)} is missing")
        return cls(**{name: model.model_validate(sections[name]) for name, model in models.items()})


@dataclass(frozen=True, slots=True)
class Widths:
    """Sizes of a system's inputs and answers: with the params, all that shapes its network.

    Attributes:
        emotions: K.
        audio: of the blocks of `audio`, as they lie side by side; none where it is not read.
        faces: of face features; 0 where they are not read.
        expressions: of the blocks of `expressions`; none where it is not read.
    """

    emotions: int
    audio: tuple[int, ...] = ()
    faces: int = 0
    expressions: tuple[int, ...] = ()
