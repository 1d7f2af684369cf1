"""Section `corpus` of `params.yaml`."""

from pathlib import Path
from typing import Literal

from pipeline.params import Section


class CorpusParams(Section):
    """Section `corpus` of `params.yaml`."""

    name: Literal["savee", "ravdess", "cremad", "folder", "demo"]
    root: Path
    modalities: Literal["auto", "av", "audio", "video"]
