"""What `make demo` prints: the figures of the last run, and where its report lies."""

from collections.abc import Mapping
from pathlib import Path

from pydantic import JsonValue

from pipeline.report.run import BranchScores, read_run
from pipeline.work.progress import figure

NAMES = {"av": "fused", "audio": "audio alone", "visual": "visual alone"}
EXPERTS = {"av": "network", "audio": "audio", "visual": "visual"}
POOL = "fused (pool)"
BOX_FIGURES = ("ap50", "ap75", "ap90", "mean_iou")


def summary(results: Path) -> str:
    """A few lines for a terminal.

    Raises:
        CorpusError: there are no results yet.
    """
    run = read_run(results / "run.json")
    scores = run.scores
    names = NAMES | ({"av": POOL} if scores.pooled else {})
    lines = [_branch(names[name], row) for name, row in scores.branches.items()]
    if scores.pooled:
        weights = ", ".join(f"{EXPERTS[name]} {w:.2f}" for name, w in scores.weights.items())
        alone = scores.as_trained["av"].accuracy
        lines.append(f"{'network':<14}accuracy {alone:.3f} before pooling; weights: {weights}")
    lines += [f"{'warning':<14}{warning}" for warning in scores.warnings]
    lines.append(f"{'chance':<14}{scores.chance:.3f}  majority class {scores.majority:.3f}")
    for name, detector in (("detector", run.detector), ("after joint", run.joint_detector or {})):
        if "ap50" in detector:
            lines.append(_boxes(name, detector, "dlib's boxes"))
        if isinstance(truth := detector.get("truth"), Mapping):
            lines.append(_boxes("", truth, "the true boxes"))
        if detector.get("warning"):
            lines.append(f"{'warning':<14}{detector['warning']}")
    lines.append(f"report: {(results / 'report.html').resolve().as_uri()}")
    return "\n".join(lines)


def _boxes(name: str, scores: Mapping[str, JsonValue], reference: str) -> str:
    figures = (f"{key} {figure(scores[key])}" for key in BOX_FIGURES if key in scores)
    return f"{name:<14}{'  '.join(figures)}  against {reference}"


def _branch(name: str, scores: BranchScores) -> str:
    accuracy = scores.interval("accuracy")
    return (
        f"{name:<14}accuracy {accuracy.value:.3f} [{accuracy.low:.3f}, {accuracy.high:.3f}]"
        f"  UAR {scores.uar:.3f}  macro F1 {scores.macro_f1:.3f}  ECE {scores.ece:.3f}"
    )
