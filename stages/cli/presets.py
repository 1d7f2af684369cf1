"""`avemo preset`: rewrite `params.yaml` from a preset; comments stay."""

from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedSeq

from pipeline.errors import ParamsError
from pipeline.files import atomic_write, refuse_address
from pipeline.params import PARAMS_FILE, read_params
from pipeline.presets import PRESETS, preset_layers
from stages.cli.check import require_valid

COMMENT_COLUMN = 29
"""Where comments behind values begin in `params.yaml`, 0-based."""


def apply_preset(
    name: str, root: Path | None, path: Path = PARAMS_FILE, presets: Path = PRESETS
) -> int:
    """Rewrite `params.yaml` from a preset; comments and order stay.

    The new file is validated as a whole before it takes the old one's place.

    Args:
        name: of the preset.
        root: folder of the corpus; None takes the preset's.
        path: the file to rewrite.
        presets: folder of the presets.

    Returns:
        How many values changed.

    Raises:
        ParamsError: an unknown preset, a preset without its corpus folder, a folder that is not
            there, or a value refused.
    """
    read_params(path)  # refuses what is no YAML
    layers = preset_layers(name, presets)
    yaml = YAML()
    yaml.preserve_quotes = True
    yaml.width = 200
    params = yaml.load(path.read_text(encoding="utf-8"))
    before = _leaves(params)
    for source, values in layers:
        _merge(params, values, str(source))
    params["corpus"]["root"] = _root(name, root, params["corpus"]["root"])
    _align_comments(params)
    with atomic_write(path) as part:
        with part.open("w", encoding="utf-8") as stream:
            yaml.dump(params, stream)
        require_valid(part, path)
    after = _leaves(params)
    return sum(before.get(key) != value for key, value in after.items())


def _root(name: str, chosen: Path | None, usual: str | None) -> str:
    """The corpus folder: one that is there, or the preset's own."""
    if chosen is None and usual is None:
        raise ParamsError(f"preset {name}: say where the corpus lies: --root DIR")
    if chosen is None:
        return str(usual)
    refuse_address(chosen, "folder", ParamsError)
    if not chosen.is_dir():
        raise ParamsError(
            f"preset {name}: --root {chosen}: no such folder; expected the one that holds the "
            "recordings"
        )
    return str(chosen)


def _merge(params: Any, changes: Any, where: str) -> None:
    """Set every leaf of `changes` in `params`."""
    for key, value in changes.items():
        if key not in params:
            raise ParamsError(f"{where}: {key}: not in params.yaml")
        if isinstance(value, dict) and isinstance(params[key], dict):
            _merge(params[key], value, where)
        elif params[key] != value:
            params[key] = _styled_as(params[key], value)


def _styled_as(old: Any, value: Any) -> Any:
    """A list in the style of the one that it replaces, since comments stand by that style.

    `dvc exp run -S` leaves lists in rows, ours are `[a, b]`. An empty one is `[]` in either.
    """
    if not isinstance(value, list):
        return value
    new = CommentedSeq(value)
    if not value or not old or not isinstance(old, CommentedSeq) or old.fa.flow_style():
        new.fa.set_flow_style()
    return new


def _leaves(params: Any) -> dict[tuple[str, str], Any]:
    """Values by section and key."""
    return {
        (name, key): value
        for name, section in params.items()
        for key, value in (section if isinstance(section, dict) else {"": section}).items()
    }


def _align_comments(node: Any) -> None:
    """Put every comment behind a value back in its column; a long value may have pushed it out."""
    for comments in node.ca.items.values():
        for comment in comments:
            if hasattr(comment, "column") and not comment.value.startswith("\n"):
                comment.column = COMMENT_COLUMN
    children = node.values() if hasattr(node, "values") else node
    for child in children:
        if hasattr(child, "ca"):
            _align_comments(child)
