"""Section `demo` of `params.yaml`."""

from typing import Annotated, Self

from pydantic import Field, model_validator

from pipeline.corpora.demo.cast import SPEAKERS
from pipeline.params import Section


class DemoParams(Section):
    """Section `demo` of `params.yaml`."""

    speakers: Annotated[int, Field(ge=1, le=len(SPEAKERS))]
    takes: Annotated[int, Field(ge=1)]
    fps: Annotated[int, Field(ge=5, le=60)]
    width_px: Annotated[int, Field(ge=160, le=1920, multiple_of=2)]
    height_px: Annotated[int, Field(ge=160, le=1080, multiple_of=2)]
    min_s: Annotated[float, Field(ge=0.5)]
    max_s: Annotated[float, Field(le=30.0)]
    rate_hz: Annotated[int, Field(ge=16000, le=96000)]
    ambiguity: Annotated[float, Field(ge=0.0, le=1.0)]
    seed: Annotated[int, Field(ge=0)]

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.min_s > self.max_s:
            raise ValueError(f"min_s {self.min_s} is above max_s {self.max_s}")
        return self
