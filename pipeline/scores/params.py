"""Section `predict` of `params.yaml`."""

from pydantic import Field

from pipeline.params import Section


class PredictParams(Section):
    """Section `predict`."""

    abstain_below: float = Field(ge=0, le=1)
