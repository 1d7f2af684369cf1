"""Section `demo` of `params.yaml`."""

from typing import Self

from pydantic import Field, model_validator

from pipeline.corpora.demo.cast import SPEAKERS
from pipeline.params import Section, Seed


class DemoParams(Section):
    """Section `demo` of `params.yaml`."""

    speakers: int = Field(ge=1, le=len(SPEAKERS))
    takes: int = Field(ge=1, le=10_000)
    fps: int = Field(ge=5, le=60)
    width_px: int = Field(ge=160, le=1920, multiple_of=2)
    height_px: int = Field(ge=160, le=1080, multiple_of=2)
    min_s: float = Field(ge=0.5, le=30.0)
    max_s: float = Field(ge=0.5, le=30.0)
    rate_hz: int = Field(ge=16000, le=96000)
    ambiguity: float = Field(ge=0.0, le=1.0)
    seed: Seed

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.min_s > self.max_s:
            raise ValueError(f"min_s {self.min_s} is above max_s {self.max_s}")
        return self
