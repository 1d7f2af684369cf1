"""Section `faces` of `params.yaml`."""

from typing import Annotated

from pydantic import AfterValidator, Field

from pipeline.params import Section, named_once

ENCODERS = ("fer_mini_xception",)
"""Encoders that come with the package."""

WEIGHTS_FILE, DESCRIPTIONS = "model.safetensors", ("config.json", "preprocessor_config.json")
"""What the folder of any other holds: an image classifier as Hugging Face's libraries save it."""


class FacesParams(Section):
    """Section `faces`."""

    embeddings: Annotated[
        tuple[Annotated[str, Field(min_length=1)], ...], AfterValidator(named_once)
    ]
    margin: float = Field(ge=0, le=1)
