"""Section `corpus` of `params.yaml`."""

from pathlib import Path
from typing import Literal

from pydantic import field_validator

from pipeline.params import Section


class CorpusParams(Section):
    """Section `corpus` of `params.yaml`."""

    name: Literal["savee", "ravdess", "cremad", "folder", "demo"]
    root: Path
    modalities: Literal["auto", "av", "audio", "video"]

    @field_validator("root")
    @classmethod
    def _a_tilde_is_of_the_shell(cls, root: Path) -> Path:
        if str(root).startswith("~"):
            raise ValueError("DVC takes ~ for a folder of that name; write the whole path")
        return root
