"""Read `params.yaml`: one pydantic model per section, defined beside its consumer.

Models hold no defaults: every number a user may turn stands in `params.yaml` once.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from pipeline.errors import ParamsError

PARAMS_FILE = Path("params.yaml")


class Section(BaseModel):
    """A section of `params.yaml`: unknown keys are refused, values are frozen."""

    model_config = ConfigDict(extra="forbid", frozen=True)


SectionT = TypeVar("SectionT", bound=Section)


def read_params(path: Path = PARAMS_FILE) -> dict[str, Any]:
    """The whole file as a mapping.

    Raises:
        ParamsError: the file is missing, not YAML, or not a mapping.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ParamsError(f"{path}: no such file; run from the project's folder") from error
    except yaml.YAMLError as error:
        raise ParamsError(f"{path}: not valid YAML ({error})") from error
    if not isinstance(content, dict):
        raise ParamsError(f"{path}: got {type(content).__name__}, expected sections `name: ...`")
    return content


def load_section(name: str, model: type[SectionT], path: Path = PARAMS_FILE) -> SectionT:
    """Validate one section.

    Raises:
        ParamsError: the section is missing, or a key or value is refused; the message names
            the key as `section.key`, the value and what was expected.
    """
    content = read_params(path)
    if name not in content:
        raise ParamsError(f"{path}: section `{name}` is missing; see presets/demo.yaml")
    return validate(name, content[name], model, path)


def validate(name: str, values: Any, model: type[SectionT], path: Path) -> SectionT:
    """Check `values` against `model`; see `load_section`."""
    try:
        return model.model_validate(values)
    except ValidationError as error:
        raise ParamsError(
            "; ".join(_explain(path, name, model, e) for e in error.errors())
        ) from None


def differing(
    before: Mapping[str, Any], after: Mapping[str, Any], prefix: str = ""
) -> dict[str, tuple[str, str]]:
    """Values that differ, as `section.key` to (before, after) in JSON, among keys of both."""
    found: dict[str, tuple[str, str]] = {}
    for key, value in after.items():
        if key not in before:
            continue
        old = before[key]
        if isinstance(value, Mapping) and isinstance(old, Mapping):
            found |= differing(old, value, f"{prefix}{key}.")
        elif value != old:
            found[f"{prefix}{key}"] = (json.dumps(old), json.dumps(value))
    return found


def _explain(path: Path, name: str, model: type[Section], error: Any) -> str:
    key = ".".join([name, *(str(part) for part in error["loc"])])
    if error["type"] == "extra_forbidden":
        known = ", ".join(model.model_fields)
        return f"{path}: {key}: unknown key; expected one of {known}"
    if error["type"] == "missing":
        return f"{path}: {key}: missing; see presets/demo.yaml"
    got = f"got {error['input']!r}; " if error["loc"] else ""  # not a whole section
    return f"{path}: {key}: {got}{error['msg']}"
