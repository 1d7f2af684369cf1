"""Tables and series that the sections of the report take from stored figures."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np

from pipeline.scores.predictions import Floats

PHASES = {
    "audio": "Audio branch, L_a",
    "visual": "Visual branch, L_v",
    "warmup": "Warm-up on L_av",
    "joint": "Eq. (4): L_av + alpha L_a + beta L_v",
    "end_to_end": "End to end, L_av",
    "compact": "End to end, L_a",
    "tuning": "Audio network and layers, L_a",
}
"""Phases of training in the paper's words."""

DETECTOR = "Face detector"
TOTAL = "total"
TERMS = {
    "l_av": "L_av",
    "l_a": "L_a",
    "l_v": "L_v",
    "l2": "half the squared weights",
    "auxiliary": "what else is known of a clip",
    "objectness": "RPN: face or not",
    "proposal": "RPN: box",
    "class": "class, L_cls",
    "box": "box, L_bb",
    "closer": "on face crops",
}
"""Terms of a loss, by column of the histories."""

LABELS = {
    "ap50": "AP50",
    "ap75": "AP75",
    "ap90": "AP90",
    "mean_iou": "Mean IoU",
    "sigma_nll": "Sigma: NLL, nat a coordinate",
    "coverage_68": "Sigma: holds 68% of errors",
    "coverage_95": "Sigma: holds 95% of errors",
    "found_rate": "Share of frames with a face",
    "truth": "Against the truth",
    "recall": "faces found",
    "speech_auc": "speech activity, AUC",
    "speech_auc_by_speaker": "speech activity, AUC",
}
"""Words for the keys of the stored figures; others are shown as they are."""

BOX_FIGURES = (
    "ap50",
    "ap75",
    "ap90",
    "mean_iou",
    "sigma_nll",
    "coverage_68",
    "coverage_95",
)


def figures_of(scores: Mapping[str, Any], prefix: str = "") -> list[tuple[str, float]]:
    """Nested numbers as (label, value), in the order of the file; nulls are left out."""
    figures = []
    for key, value in scores.items():
        label = LABELS.get(key, key.replace("_", " "))
        label = f"{prefix}{label}" if prefix else label[:1].upper() + label[1:]
        if isinstance(value, Mapping):
            figures += figures_of(value, f"{label}: ")
        elif isinstance(value, int | float):
            figures.append((label, value))
    return figures


def box_figures(detector: Mapping[str, Any]) -> list[tuple[str, float | None, float | None]]:
    """Box quality as (label, against dlib's boxes, against the true boxes); None is unknown."""
    truth = detector.get("truth") or {}
    rows = [(LABELS[key], detector.get(key), truth.get(key)) for key in BOX_FIGURES]
    return [row for row in rows if row[1:] != (None, None)]


def series_of(
    rows: Sequence[Mapping[str, str]], names: Sequence[str]
) -> dict[str, dict[int, list[float]]]:
    """Columns of a history by epoch, one value per fold; columns without a value are left out."""
    series: dict[str, dict[int, list[float]]] = {}
    for row in rows:
        for name in names:
            if row.get(name):
                points = series.setdefault(name, {})
                points.setdefault(int(row["epoch"]), []).append(float(row[name]))
    return series


@dataclass(frozen=True, slots=True)
class Losses:
    """Losses of one phase by epoch, one value per fold.

    Attributes:
        title: the phase.
        total: what is minimised.
        terms: by name; none where the total is the one term.
    """

    title: str
    total: Mapping[int, Sequence[float]]
    terms: Mapping[str, Mapping[int, Sequence[float]]]


def losses_of(
    history: Sequence[Mapping[str, str]], detector: Sequence[Mapping[str, str]]
) -> dict[str, Losses]:
    """Each phase of training by name, then the detector's where there is one."""
    phases = dict.fromkeys(row["phase"] for row in history)
    found = {
        phase: _losses(PHASES.get(phase, phase), [row for row in history if row["phase"] == phase])
        for phase in phases
    }
    return found | ({"detector": _losses(DETECTOR, detector)} if detector else {})


def _losses(title: str, rows: Sequence[Mapping[str, str]]) -> Losses:
    series = series_of(rows, (TOTAL, *TERMS))
    total = series.pop(TOTAL, {})
    terms = {TERMS[name]: points for name, points in series.items()}
    return Losses(title, total, terms if len(terms) > 1 or not total else {})


def coverage(errors: Floats) -> tuple[Floats, Floats]:
    """How often errors, in sigma, lie within the central interval of a normal law.

    Args:
        errors: absolute errors over their sigma, shape [E], E > 0.

    Returns:
        Probabilities that the intervals state and shares of errors within them, each [50].
    """
    nominal = np.linspace(0.01, 0.99, 50)
    widths = np.array([NormalDist().inv_cdf((1 + level) / 2) for level in nominal])
    return nominal, (errors[None, :] <= widths[:, None]).mean(axis=1)
