"""Section `annotate` of `params.yaml`."""

from pydantic import Field

from pipeline.params import Section


class AnnotateParams(Section):
    """Section `annotate` of `params.yaml`."""

    upsample: int = Field(ge=0, le=2)
    max_side_px: int = Field(ge=80, le=10_000)
    min_score: float = Field(ge=-1, le=3)
    second_look: bool
    refine: bool
    fill_gaps: int = Field(ge=0, le=100)
    speech_smoothing_s: float = Field(gt=0, le=2)
