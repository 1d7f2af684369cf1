"""What a run leaves behind: its history, and the digest that tells its test set."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from pipeline.files import write_table
from pipeline.scores.predictions import Predictions

LOSSES = ("total", "l_av", "l_a", "l_v")
HISTORY_COLUMNS = ("fold", "phase", "epoch", *LOSSES)

TEST_SET_DIGITS = 12


def digest_of_test_set(predictions: Predictions) -> str:
    """What tells apart runs on other test clips: from a SHA-256 over folds and clip ids, sorted."""
    keys = json.dumps(sorted(predictions.keys))
    return hashlib.sha256(keys.encode()).hexdigest()[:TEST_SET_DIGITS]


def write_history(path: Path, rows: Sequence[Mapping[str, object]]) -> None:
    """Write `results/history.csv`: one row an epoch; a loss that a phase lacks stays empty."""
    write_table(path, HISTORY_COLUMNS, (_numbers(row) for row in rows))


def _numbers(row: Mapping[str, object]) -> dict[str, object]:
    return {k: f"{v:.5f}" if isinstance(v, float) else v for k, v in row.items()}
