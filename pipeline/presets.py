"""Presets: `presets/<name>.yaml` holds the values of `params.yaml` for a corpus.

`demo.yaml` states every key, the others what differs from it, or from the preset that they begin
from (`begins_from: savee`). So a preset forgets whatever an earlier experiment has changed.
"""

from pathlib import Path
from typing import Any

from pipeline.errors import ParamsError
from pipeline.params import parse_yaml

PRESETS = Path("presets")

BASE = "demo"
"""The preset that every other begins from, where it names none."""

BEGINS_FROM = "begins_from"


def preset_layers(name: str, presets: Path = PRESETS) -> list[tuple[Path, dict[str, Any]]]:
    """The files that make a preset, the first to apply first, with their values.

    Raises:
        ParamsError: a preset that is not there, or that begins from itself.
    """
    layers: list[tuple[Path, dict[str, Any]]] = []
    while True:
        source = presets / f"{name}.yaml"
        if not source.is_file():
            known = ", ".join(sorted(p.stem for p in presets.glob("*.yaml")))
            raise ParamsError(f"preset {name}: no such preset; expected one of {known}")
        if any(source == path for path, _ in layers):
            raise ParamsError(f"{source}: {BEGINS_FROM}: the preset begins from itself")
        values = parse_yaml(source.read_text(encoding="utf-8"), source)
        following = values.pop(BEGINS_FROM, BASE)
        layers.insert(0, (source, values))
        if name == BASE:
            return layers
        name = following


def preset_values(name: str, presets: Path = PRESETS) -> dict[str, Any]:
    """Every value of a preset, by section, with those of the presets that it begins from.

    Raises:
        ParamsError: as `preset_layers`.
    """
    values: dict[str, Any] = {}
    for _, layer in preset_layers(name, presets):
        for section, own in layer.items():
            values[section] = {**values.get(section, {}), **own} if isinstance(own, dict) else own
    return values
