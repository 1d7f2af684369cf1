"""What a run leaves behind: its history, and the digest that tells its test set."""

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pipeline.files import write_table
from pipeline.scores.predictions import Predictions

LOSSES = ("total", "l_av", "l_a", "l_v", "l2", "auxiliary")
HISTORY_COLUMNS = ("fold", "phase", "epoch", *LOSSES)

TEST_SET_DIGITS = 12


def headline_metrics(
    summary: Mapping[str, Any], detector: Mapping[str, Any], predictions: Predictions
) -> dict[str, float | str]:
    """What goes into `results/metrics.json`: few enough figures to read in `dvc exp show`.

    Figures that a run does not have are left out. `test_set` is text, so that DVC shows both
    values where two runs were scored on different clips, and no meaningless difference.

    Args:
        summary: see `pipeline.scores.metrics.summarise`.
        detector: content of `results/detector/metrics.json`.
        predictions: of the headline branch.

    Returns:
        `accuracy` with the ends of its 95% interval, `uar`, `macro_f1`, `ece`, `nll` of the
        headline; accuracy of the branches alone; `ap75`, `mean_iou` of the detector; `clips`
        that were tested, and their `test_set`.
    """
    interval = summary["accuracy_95"]
    branches = summary["branches"]
    figures = {
        "accuracy": summary["accuracy"],
        "accuracy_low": interval["low"],
        "accuracy_high": interval["high"],
        **{name: summary.get(name) for name in ("uar", "macro_f1", "ece", "nll")},
        **{
            f"{branch}_accuracy": branches[branch]["accuracy"]
            for branch in ("audio", "visual")
            if branch in branches
        },
        **{name: detector.get(name) for name in ("ap75", "mean_iou")},
        "clips": summary["clips"],
    }
    known = {k: v for k, v in figures.items() if v is not None and math.isfinite(v)}
    return {**known, "test_set": digest_of_test_set(predictions)}


def digest_of_test_set(predictions: Predictions) -> str:
    """What tells apart runs on other test clips: from a SHA-256 over folds and clip ids, sorted."""
    keys = json.dumps(sorted(predictions.keys))
    return hashlib.sha256(keys.encode()).hexdigest()[:TEST_SET_DIGITS]


def write_history(path: Path, rows: Sequence[Mapping[str, object]]) -> None:
    """Write `results/history.csv`: one row per epoch; a loss that a phase lacks stays empty."""
    write_table(path, HISTORY_COLUMNS, (_numbers(row) for row in rows))


def _numbers(row: Mapping[str, object]) -> dict[str, object]:
    return {k: f"{v:.5f}" if isinstance(v, float) else v for k, v in row.items()}
