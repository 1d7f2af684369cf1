"""Section `corpus` of `params.yaml`."""

from pathlib import Path
from typing import Any, Literal

from pydantic import field_validator, model_validator

from pipeline.foreign import folded
from pipeline.params import Section


class CorpusParams(Section):
    """Section `corpus` of `params.yaml`."""

    name: Literal["savee", "ravdess", "cremad", "folder", "demo"]
    root: Path
    modalities: Literal["auto", "av", "audio", "video"]
    require: Literal["any", "both"]
    emotions: Literal["auto"] | tuple[str, ...]
    label_source: Literal["acted", "named", "crowd"]

    @field_validator("emotions", mode="before")
    @classmethod
    def _one_word_or_names(cls, value: Any) -> Any:
        if value == "auto":
            return value
        names = value if isinstance(value, list | tuple) else ()
        spelt = [name for name in names if isinstance(name, str) and name.strip().isprintable()]
        if len({folded(name) for name in spelt} - {""}) < max(2, len(names)):
            raise ValueError("expected auto, or a list of two names or more, each once")
        return tuple(name.strip() for name in spelt)

    @model_validator(mode="after")
    def _labels_come_from_where_they_can(self) -> "CorpusParams":
        if self.label_source == "crowd" and self.name != "cremad":
            raise ValueError(f"label_source: got crowd, but {self.name} has no raters; set acted")
        if self.label_source == "named" and self.name != "folder":
            raise ValueError(
                f"label_source: got named, but the emotions of {self.name} are acted; set acted"
            )
        return self
