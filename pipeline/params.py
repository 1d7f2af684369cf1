"""Read `params.yaml`: one pydantic model per section, defined beside its consumer.

Models hold no defaults: every number a user may turn stands in `params.yaml` once. The file is
read by the library that DVC reads it with, as YAML 1.2: with another reader, a stage could work
with another value than the one that DVC compares and records.
"""

import json
import os
import re
from collections.abc import Hashable, Iterable, Mapping
from copy import deepcopy
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode

from pipeline.errors import ParamsError
from pipeline.files import refuse_address

PARAMS_FILE = Path("params.yaml")

LONGEST_QUOTE = 60
"""Characters of a value that a message quotes."""

LONGEST_NAME = 255
"""Bytes of the name of a file or folder, on all usual file systems."""

Seed = Annotated[int, Field(ge=0, lt=2**63)]
"""Of a random generator; a seed and a small number added to it fit the 64 bits of torch."""

Count = Annotated[int, Field(ge=1, le=1_000_000)]
"""How many: epochs, clips, frames, units of a layer."""

CountOrNone = Annotated[int, Field(ge=0, le=1_000_000)]
"""How many, and 0 switches it off."""

Dropout = Annotated[float, Field(ge=0, lt=1)]
"""Probability that a unit is left out in training."""

LearningRate = Annotated[float, Field(gt=0, le=10)]
"""Peak of the one-cycle schedule."""

WeightDecay = Annotated[float, Field(ge=0, le=10)]
"""Of AdamW."""

LossWeight = Annotated[float, Field(ge=0, le=1000)]
"""Factor of a term of a loss."""

MOVED = {
    "calibrate": "section inner_folds",
    "fusion.seed": "training.seed",
    "fusion.batch_size": "training.batch_size",
    "baselines.epochs": "baselines.pictures, of each clip over a whole training",
}
"""What became of keys that an earlier version had."""

_LEADING_ZERO = re.compile(r"[-+]?0[0-9_]+")


class Section(BaseModel):
    """A section of `params.yaml`: unknown keys are refused, numbers finite, values frozen."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @field_validator("*")
    @classmethod
    def _texts_can_be_names_of_files(cls, value: Any) -> Any:
        names = value if isinstance(value, tuple) else (value,)
        for name in (str(one) for one in names if isinstance(one, str | Path)):
            if name.startswith("~"):
                raise ValueError("~ is read by the shell alone; write the whole path")
            longest = max(len(os.fsencode(part)) for part in name.split("/"))
            if longest > LONGEST_NAME or "\0" in name:
                raise ValueError("no file has a name of so many bytes, or with a zero byte in it")
            refuse_address(name, "file or folder", ValueError)
        return value


SectionT = TypeVar("SectionT", bound=Section)
Name = TypeVar("Name", bound=Hashable)


def named_once(names: tuple[Name, ...]) -> tuple[Name, ...]:
    """The names as they are, where none stands twice; a validator of pydantic's.

    Raises:
        ValueError: one does.
    """
    if len(set(names)) != len(names):
        raise ValueError("each may stand once")
    return names


def read_params(path: Path = PARAMS_FILE) -> dict[str, Any]:
    """The whole file as a mapping.

    Raises:
        ParamsError: the file is missing, not UTF-8, not YAML, not a mapping, names a key twice,
            or holds a number that readers of YAML disagree about.
    """
    try:
        text = path.read_bytes().decode("utf-8")
    except FileNotFoundError as error:
        raise ParamsError(f"{path}: no such file; run from the project's folder") from error
    except UnicodeDecodeError as error:
        raise ParamsError(f"{path}: not UTF-8, which DVC expects; save it as UTF-8") from error
    except OSError as error:
        raise ParamsError(f"{path}: cannot be read ({error.strerror})") from error
    content = _parsed(text, path)
    if not isinstance(content, dict):
        raise ParamsError(f"{path}: got {type(content).__name__}, expected sections `name: ...`")
    return deepcopy(content)


@lru_cache(maxsize=1)
def _parsed(text: str, path: Path) -> Any:
    """As `parse_yaml`; a stage reads the same text once for each of its sections."""
    return parse_yaml(text, path)


def parse_yaml(text: str, path: Path) -> Any:
    """Content of a YAML document.

    Raises:
        ParamsError: not YAML, a key that stands twice, or a number with a leading zero.
    """
    reader = YAML(typ="safe", pure=True)  # its parser in C dies of deep nesting
    try:
        document = reader.compose(text)
        _refuse_leading_zeros(document, path)
        return reader.constructor.construct_document(document) if document else None
    except YAMLError as error:
        raise ParamsError(f"{path}{_where(error)}: not valid YAML ({_what(error)})") from None
    except RecursionError:
        raise ParamsError(f"{path}: nested too deeply; expected sections `name: ...`") from None
    except (ValueError, TypeError, AttributeError) as error:  # of a value that its tag belies
        raise ParamsError(f"{path}: not valid YAML ({error})") from None


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
    """Check `values`, as YAML gives them, against `model`; see `load_section`.

    Types are strict: `true` is no number, nor is "10"; a whole number may be written `10.0`.
    """
    try:
        return model.model_validate_json(_as_json(values), strict=True)
    except ValidationError as error:
        raise ParamsError("; ".join(_explanations(path, name, model, error))) from None


def refusals(name: str, values: Any, model: type[Section], path: Path) -> list[str]:
    """One line for each key or value of a section that `validate` would refuse."""
    try:
        model.model_validate_json(_as_json(values), strict=True)
    except ValidationError as error:
        return _explanations(path, name, model, error)
    return []


def _as_json(values: Any) -> str:
    """Strict validation takes lists for tuples and text for paths from JSON only."""
    return json.dumps(_whole(values), default=str)


def _whole(value: Any) -> Any:
    """Floats that are whole numbers as such: `-S detector.epochs=1e1` is 10."""
    if isinstance(value, dict):
        return {str(key): _whole(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_whole(item) for item in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _explanations(path: Path, name: str, model: type[Section], error: ValidationError) -> list[str]:
    return [_explain(path, name, model, part) for part in error.errors()]


def first_refusal(error: ValidationError) -> str:
    """Where pydantic refused something else than `params.yaml`, what it got, and why."""
    first = error.errors()[0]
    where = ".".join(map(str, first["loc"]))
    return f"{where}: got {_quote(first['input'])}; {first['msg']}" if where else str(first["msg"])


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


def unknown(key: str, known: Iterable[str]) -> str:
    """What to do about a section or key that nobody reads."""
    if key in MOVED:
        return f"is {MOVED[key]} now; move its value there"
    kind = "key" if "." in key else "section"
    return f"unknown {kind}; expected one of {', '.join(known)}"


def _explain(path: Path, name: str, model: type[Section], error: Any) -> str:
    key = ".".join([name, *(str(part) for part in error["loc"])])
    if error["type"] == "extra_forbidden":
        return f"{path}: {key}: {unknown(key, model.model_fields)}"
    if error["type"] == "missing":
        return f"{path}: {key}: missing; see presets/demo.yaml"
    if error["type"] == "literal_error":
        return f"{path}: {key}: got {_quote(error['input'])}, expected {error['ctx']['expected']}"
    got = f"got {_quote(error['input'])}; " if error["loc"] else ""  # not a whole section
    return f"{path}: {key}: {got}{error['msg'].removeprefix('Value error, ')}"


def _quote(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= LONGEST_QUOTE else f"{text[:LONGEST_QUOTE]}..."


def _refuse_leading_zeros(node: Node | None, path: Path) -> None:
    """`010` is 10 in YAML 1.2 and 8 in YAML 1.1."""
    if isinstance(node, ScalarNode):
        if not node.style and _LEADING_ZERO.fullmatch(node.value):
            bare = node.value.lstrip("+-0_") or "0"
            raise ParamsError(
                f"{path} line {node.start_mark.line + 1}: got {_quote(node.value)}, which is octal "
                f"to some readers of YAML and decimal to others; write {bare[:LONGEST_QUOTE]}"
            )
    elif isinstance(node, Node):
        for child in node.value:
            for part in child if isinstance(node, MappingNode) else (child,):
                _refuse_leading_zeros(part, path)


def _where(error: YAMLError) -> str:
    mark = getattr(error, "problem_mark", None)
    return f" line {mark.line + 1}" if mark else ""


def _what(error: YAMLError) -> str:
    return getattr(error, "problem", None) or str(error).splitlines()[0]
