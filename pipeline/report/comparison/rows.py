"""Every system of the paper's tables as rows: scores, intervals, tests, costs. Light: NumPy only.

A row is a mapping from column to value; None is written as an empty cell. Scores are means over
seeds; their intervals come from a bootstrap by clip within speaker of that mean.
"""

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipeline.errors import CorpusError
from pipeline.files import write_table
from pipeline.report.comparison.trials import Pooled, spread
from pipeline.scores.calibration import brier, ece, nll
from pipeline.scores.comparisons import holm, mcnemar
from pipeline.scores.intervals import Resampled, resample
from pipeline.scores.metrics import SCORES, accuracy, chance, majority, per_emotion, per_speaker
from pipeline.scores.predictions import Predictions, require_aligned
from pipeline.systems import OURS, SYSTEMS

SPEAKER, RECALL = "speaker:", "recall:"
"""Prefixes of the columns of speakers and emotions."""

DECIMALS = 4

Row = dict[str, object]

COLUMNS = (
    *("protocol", "system", "corpus", "audio_weights", "absent", "seeds", "folds", "clips"),
    *(f"{name}{part}" for name in SCORES for part in ("", "_low", "_high", "_sd")),
    *("chance", "majority", "paper_accuracy"),
    *("gain", "gain_low", "gain_high", "mcnemar_p", "holm_p"),
    *("unpooled", "weights", "audio", "visual", "best_branch"),
    *("over_best", "over_best_low", "over_best_high", "over_best_worst_seed"),
    *("speaker_min", "speaker_max", "speaker_sd", "ece", "nll", "brier"),
    *("trained", "total", "train_s", "infer_ms", "stand_ins"),
)
"""Of `results/tables.csv`; columns of speakers and emotions follow."""


@dataclass(frozen=True, slots=True)
class Origin:
    """What a table was made from; every row repeats it."""

    corpus: str
    audio_weights: str


def system_rows(
    protocol: str, pooled: Mapping[str, Pooled], refused: Mapping[str, str], origin: Origin
) -> list[Row]:
    """Rows of one protocol, in the order of `pooled`, then the systems that could not be run.

    Args:
        protocol: its name.
        pooled: trials by system; all cover the same clips.
        refused: why a system is absent.
        origin: corpus and weights.

    Raises:
        CorpusError: the systems do not cover the same clips.
    """
    about = {"protocol": protocol, "corpus": origin.corpus, "audio_weights": origin.audio_weights}
    rows: list[Row] = []
    if pooled:
        mains = {system: one.main for system, one in pooled.items()}
        require_aligned(mains, f"protocol {protocol}")
        drawn = resample(mains)
        rows = [
            {**about, "system": system, **scores(one, drawn[system]), **_own(system, one)}
            for system, one in pooled.items()
        ]
        _compare(rows, pooled, drawn)
    rows += [{**about, "system": system, "absent": why} for system, why in refused.items()]
    return [rounded(row) for row in rows]


def scores(pooled: Pooled, drawn: Resampled) -> Row:
    """Scores of the pooled seeds with intervals and their spread over seeds."""
    row: Row = {
        "seeds": len(pooled.seeds),
        "clips": len(next(iter(pooled.first.values()))),
        "folds": len({*next(iter(pooled.first.values())).fold}),
    }
    for name, score in SCORES.items():
        interval = drawn.interval(score)
        each = pooled.by_seed(score)
        row |= {
            name: float(np.mean(each)),
            f"{name}_low": interval.low,
            f"{name}_high": interval.high,
            f"{name}_sd": spread(each),
        }
    return row


def calibration(pooled: Pooled) -> Row:
    """ECE, NLL and Brier score, means over seeds."""
    parts: list[Predictions] = [one[pooled.headline] for one in pooled.seeds.values()]
    return {f.__name__: float(np.mean([f(part) for part in parts])) for f in (ece, nll, brier)}


def versus(row: Pooled, other: Pooled, drawn: tuple[Resampled, Resampled]) -> Row:
    """A row against another on the same clips: gain in accuracy, McNemar of the first seed."""
    gain = drawn[0].minus(drawn[1], accuracy)
    ours, theirs = row.first[row.headline], other.first[other.headline]
    return {
        "gain": gain.value,
        "gain_low": gain.low,
        "gain_high": gain.high,
        "mcnemar_p": mcnemar(ours, theirs),
    }


def correct(rows: Sequence[Row]) -> None:
    """Add `holm_p` to the rows that have a `mcnemar_p`."""
    tested = [row for row in rows if row.get("mcnemar_p") is not None]
    corrected = holm([float(str(row["mcnemar_p"])) for row in tested])
    for row, p in zip(tested, corrected, strict=True):
        row["holm_p"] = p


def rounded(row: Row) -> Row:
    """Floats to four decimals, undefined ones as None."""
    return {
        key: (round(value, DECIMALS) if np.isfinite(value) else None)
        if isinstance(value, float)
        else value
        for key, value in row.items()
    }


def write_rows(path: Path, columns: Sequence[str], rows: Sequence[Row]) -> None:
    """Write rows; columns that are not in `columns` follow, in the order of their appearance."""
    more = dict.fromkeys(key for row in rows for key in row if key not in columns)
    full = [*columns, *more]
    write_table(path, full, ({key: _cell(row.get(key)) for key in full} for row in rows))


def read_rows(path: Path) -> list[Row]:
    """Rows as `write_rows` wrote them; none where there is no such file.

    Raises:
        CorpusError: the file has no rows.
    """
    if not path.is_file():
        return []
    with path.open(newline="", encoding="utf-8") as stream:
        rows = [{key: _value(text) for key, text in row.items()} for row in csv.DictReader(stream)]
    if not rows:
        raise CorpusError(f"{path}: no rows; delete it and run `make tables` or `make ablations`")
    return rows


def _compare(
    rows: Sequence[Row], pooled: Mapping[str, Pooled], drawn: Mapping[str, Resampled]
) -> None:
    for row in rows:
        system = str(row["system"])
        if system != OURS and OURS in pooled:
            row |= versus(pooled[system], pooled[OURS], (drawn[system], drawn[OURS]))
    correct(rows)


def _own(system: str, pooled: Pooled) -> Row:
    """What a row has apart from its scores: references, branches, speakers, emotions, costs."""
    main = pooled.main
    speakers = {name: share.value for name, (_, share) in per_speaker(main).items()}
    return {
        "chance": chance(main),
        "majority": majority(main),
        "paper_accuracy": SYSTEMS[system].paper,
        **_branches(pooled),
        "speaker_min": min(speakers.values()),
        "speaker_max": max(speakers.values()),
        "speaker_sd": spread(list(speakers.values())),
        **calibration(pooled),
        "trained": pooled.trained,
        "total": pooled.total,
        "train_s": pooled.train_s,
        "infer_ms": pooled.infer_ms,
        "stand_ins": json.dumps(pooled.stand_ins) if pooled.stand_ins else None,
        **{f"{SPEAKER}{name}": value for name, value in speakers.items()},
        **{f"{RECALL}{row.emotion}": row.recall.value for row in per_emotion(main)},
    }


def _branches(pooled: Pooled) -> Row:
    """Whether the fused branch is at least as good as the better of the two it fuses."""
    branches = pooled.branches
    if "audio" not in branches or "visual" not in branches or "av" not in branches:
        return {}
    each = {name: pooled.by_seed(accuracy, name) for name in ("audio", "visual", "av")}
    best = max(("audio", "visual"), key=lambda name: sum(each[name]))
    drawn = resample(branches)
    gain = drawn["av"].minus(drawn[best], accuracy)
    by_seed = [av - other for av, other in zip(each["av"], each[best], strict=True)]
    return {
        "unpooled": pooled.unpooled,
        "weights": json.dumps({e: round(w, 2) for e, w in pooled.weights.items()}),
        "audio": float(np.mean(each["audio"])),
        "visual": float(np.mean(each["visual"])),
        "best_branch": best,
        "over_best": gain.value,
        "over_best_low": gain.low,
        "over_best_high": gain.high,
        "over_best_worst_seed": min(by_seed),
    }


def _cell(value: object) -> str:
    return "" if value is None else str(value)


def _value(text: str) -> object:
    if text == "":
        return None
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text
