"""What `make demo` prints: the figures of the last run, and where its report lies."""

import json
from pathlib import Path
from typing import Any

from pipeline.errors import CorpusError
from pipeline.work.progress import figure

NAMES = {"av": "fused", "audio": "audio alone", "visual": "visual alone"}
EXPERTS = {"av": "network", "audio": "audio", "visual": "visual"}


def summary(results: Path) -> str:
    """A few lines for a terminal.

    Raises:
        CorpusError: there are no results yet.
    """
    path = results / "run.json"
    if not path.is_file():
        raise CorpusError(f"{path}: no results yet; run `dvc repro`")
    metrics = json.loads(path.read_text(encoding="utf-8"))["scores"]
    lines = [_branch(name, metrics["branches"][name]) for name in metrics["branches"]]
    if len(metrics["pool"]) > 1:
        weights = ", ".join(f"{EXPERTS[name]} {w:.2f}" for name, w in metrics["pool"].items())
        alone = metrics["before_pooling"]["av"]["accuracy"]
        lines.append(f"{'network':<14}accuracy {alone:.3f} before pooling; weights: {weights}")
    lines.append(f"{'chance':<14}{metrics['chance']:.3f}  majority class {metrics['majority']:.3f}")
    detector = metrics["detector"]
    if "ap50" in detector:
        names = ("ap50", "ap75", "ap90", "mean_iou")
        figures = (f"{name} {figure(detector[name])}" for name in names)
        lines.append(f"{'detector':<14}{'  '.join(figures)}")
    lines.append(f"report: {(results / 'report.html').resolve().as_uri()}")
    return "\n".join(lines)


def _branch(name: str, scores: dict[str, Any]) -> str:
    interval = scores["accuracy_95"]
    return (
        f"{NAMES[name]:<14}accuracy {scores['accuracy']:.3f} "
        f"[{interval['low']:.3f}, {interval['high']:.3f}]  UAR {scores['uar']:.3f}  "
        f"macro F1 {scores['macro_f1']:.3f}  ECE {scores['ece']:.3f}"
    )
