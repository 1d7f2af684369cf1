"""Section `annotate` of `params.yaml`."""

from pydantic import Field

from pipeline.params import Section


class AnnotateParams(Section):
    """Section `annotate` of `params.yaml`."""

    upsample: int = Field(ge=0, le=2)
    min_score: float = Field(ge=-1, le=3)
    fill_gaps: int = Field(ge=0, le=100)
    speech_smoothing_s: float = Field(gt=0, le=2)
