"""Sections `extract` and `resample` of `params.yaml`."""

from typing import Literal

from pydantic import Field

from pipeline.params import Count, Section


class ExtractParams(Section):
    """Section `extract` of `params.yaml`."""

    frame_step: Count
    jpeg_quality: int = Field(ge=1, le=31)
    min_duration_s: float = Field(ge=0.1, le=3600)
    max_duration_s: float = Field(ge=0.1, le=36_000)
    max_side_px: int = Field(ge=64, le=16_384)
    silence_dbfs: float = Field(ge=-200, lt=0)
    max_bad_fraction: float = Field(ge=0, le=1)


Method = Literal["soxr", "resampy"]


Quality = Literal["high", "fast"]


class ResampleParams(Section):
    """Section `resample` of `params.yaml`."""

    method: Method
    quality: Quality
