"""Presets: `presets/<name>.yaml` holds the values in which `params.yaml` differs by corpus."""

from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from annotations.params import AnnotateParams
from models.audio.params import EmbedParams
from models.faces.params import DetectorParams
from models.fusion.params import AudioParams, FusionParams, LossParams, VisualParams
from models.systems.baselines.params import BaselineParams
from models.systems.params import PackParams, TrainingParams
from pipeline.corpora.corpus import CorpusParams
from pipeline.corpora.demo.params import DemoParams
from pipeline.errors import ParamsError
from pipeline.files import atomic_write
from pipeline.media.params import ExtractParams, ResampleParams
from pipeline.params import PARAMS_FILE, Section, load_section, read_params
from pipeline.scores.calibration import PredictParams
from pipeline.splits import InnerFoldParams, SplitParams
from pipeline.systems import load_system

PRESETS = Path("presets")

COMMENT_COLUMN = 29
"""Where comments behind values begin in `params.yaml`, 0-based."""

SECTIONS: dict[str, type[Section]] = {
    "corpus": CorpusParams,
    "demo": DemoParams,
    "extract": ExtractParams,
    "resample": ResampleParams,
    "annotate": AnnotateParams,
    "embed": EmbedParams,
    "split": SplitParams,
    "detector": DetectorParams,
    "training": TrainingParams,
    "audio": AudioParams,
    "visual": VisualParams,
    "fusion": FusionParams,
    "loss": LossParams,
    "inner_folds": InnerFoldParams,
    "predict": PredictParams,
    "pack": PackParams,
    "baselines": BaselineParams,
}
"""Every section of `params.yaml` and its model; `system` stands beside them."""


def check_params(path: Path = PARAMS_FILE) -> None:
    """Validate the whole file.

    Raises:
        ParamsError: an unknown section, or anything a section refuses.
    """
    unknown = sorted(read_params(path).keys() - SECTIONS.keys() - {"system"})
    if unknown:
        raise ParamsError(
            f"{path}: {unknown[0]}: unknown section; expected one of {', '.join(SECTIONS)}"
        )
    load_system(path)
    for name, model in SECTIONS.items():
        load_section(name, model, path)


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
        ParamsError: an unknown preset, a preset without its corpus folder, or a value refused.
    """
    source = presets / f"{name}.yaml"
    if not source.is_file():
        known = ", ".join(sorted(p.stem for p in presets.glob("*.yaml")))
        raise ParamsError(f"preset {name}: no such preset; expected one of {known}")
    yaml = YAML()
    yaml.preserve_quotes = True
    yaml.width = 200
    changes = yaml.load(source.read_text(encoding="utf-8"))
    if root is not None:
        changes["corpus"]["root"] = str(root)
    elif changes["corpus"]["root"] is None:
        raise ParamsError(f"preset {name}: say where the corpus lies: --root DIR")
    read_params(path)  # refuses what is no YAML
    params = yaml.load(path.read_text(encoding="utf-8"))
    changed = _merge(params, changes, str(source))
    _align_comments(params)
    with atomic_write(path) as part:
        with part.open("w", encoding="utf-8") as stream:
            yaml.dump(params, stream)
        check_params(part)
    return changed


def _merge(params: Any, changes: Any, where: str) -> int:
    """Set every leaf of `changes` in `params`; count those that differed."""
    changed = 0
    for key, value in changes.items():
        if key not in params:
            raise ParamsError(f"{where}: {key}: not in params.yaml")
        if isinstance(value, dict):
            changed += _merge(params[key], value, where)
        elif params[key] != value:
            params[key] = value
            changed += 1
    return changed


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
