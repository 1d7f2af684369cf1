"""Predictions of the test clips: `results/predictions.csv`, one row a branch, fold and clip.

Columns: `branch` (av, audio or visual), `fold`, `clip_id`, `speaker`, `sentence`, `emotion` (true),
`predicted`, `confidence` (calibrated, of the predicted emotion), then `p_<emotion>` in the order of
the corpus. Branches cover the same clips; joins are by fold and clip id and are asserted.
"""

import csv
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt

from pipeline.errors import CorpusError
from pipeline.files import entry, number, write_table

BRANCHES = ("av", "audio", "visual")
"""Canonical order; the first one present is the run's headline."""

ID_COLUMNS = ("branch", "fold", "clip_id", "speaker", "sentence", "emotion", "predicted")

PROBABILITY = "p_"
"""What the columns of probabilities begin with."""

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

PROBABILITY_TOLERANCE = 1e-3
"""How far a row of probabilities may sum from 1: five decimals in the CSV, K of them."""


@dataclass(frozen=True, slots=True)
class Predictions:
    """One branch's predictions for N test clips over K emotions.

    `fold`, `clip_id`, `speaker`, `sentence` are N strings each; `emotion` and `predicted` are
    indices into `emotions`, shape [N]; `confidence` in [0, 1], shape [N]; `probabilities` [N, K].
    A clip may recur in another fold, never in the same one. `emotion` is -1 for a clip without one.
    """

    emotions: tuple[str, ...]
    fold: tuple[str, ...]
    clip_id: tuple[str, ...]
    speaker: tuple[str, ...]
    sentence: tuple[str, ...]
    emotion: Integers
    predicted: Integers
    confidence: Floats
    probabilities: Floats

    def __len__(self) -> int:
        return len(self.clip_id)

    @property
    def correct(self) -> npt.NDArray[np.bool_]:
        """Which clips are right, shape [N]."""
        return self.emotion == self.predicted

    @property
    def keys(self) -> tuple[tuple[str, str], ...]:
        """What a row is joined by: fold and clip id."""
        return tuple(zip(self.fold, self.clip_id, strict=True))


def headline(branches: Mapping[str, Predictions]) -> str:
    """The branch of the headline figures: the fused one, else the only one there is."""
    return next(branch for branch in BRANCHES if branch in branches)


def read_predictions(path: Path) -> dict[str, Predictions]:
    """Read the branches of `results/predictions.csv`, in canonical order, rows by fold and id.

    Raises:
        CorpusError: no such file, no rows, a missing or doubled column, an unknown branch or
            emotion, a value that is no probability, probabilities that do not sum to 1, a doubled
            clip id within a fold, or branches that do not cover the same clips with the same
            labels.
    """
    try:
        with path.open(newline="", encoding="utf-8") as stream:
            return parse_predictions(stream, str(path))
    except FileNotFoundError as error:
        raise CorpusError(f"{path}: no such file; run `dvc repro fuse`") from error


def parse_predictions(lines: Iterable[str], where: str) -> dict[str, Predictions]:
    """As `read_predictions`, of lines that need not come from a file.

    Args:
        lines: of the CSV.
        where: they come from, for messages.

    Raises:
        CorpusError: as `read_predictions`.
    """
    reader = csv.DictReader(lines, strict=True)
    try:
        columns = tuple(reader.fieldnames or ())
        rows = list(reader)
    except (csv.Error, UnicodeDecodeError) as error:
        raise CorpusError(
            f"{where}: not a table of predictions ({error}); run `dvc repro fuse`"
        ) from error
    emotions = tuple(c.removeprefix(PROBABILITY) for c in columns if c.startswith(PROBABILITY))
    twice = [name for name in columns if columns.count(name) > 1]
    missing = [name for name in (*ID_COLUMNS, "confidence") if name not in columns]
    if twice or missing or not emotions or not rows:
        got = f"no column {missing[0]}" if missing else f"{len(rows)} rows, {len(emotions)} p_*"
        got = f"column {twice[0]} twice" if twice else got
        raise CorpusError(f"{where}: not a table of predictions ({got}); run `dvc repro fuse`")
    by_branch: dict[str, list[dict[str, str]]] = {}
    for row in rows:
        if None in row or None in row.values():
            raise CorpusError(
                f"{where}: a row has another number of entries than the heading; "
                "run `dvc repro fuse`"
            )
        texts = {name: entry(text) for name, text in row.items()}
        by_branch.setdefault(texts["branch"], []).append(texts)
    if unknown := sorted(set(by_branch) - set(BRANCHES)):
        raise CorpusError(f"{where}: branch {unknown[0]!r}, expected one of {', '.join(BRANCHES)}")
    branches = {
        branch: _columns(by_branch[branch], emotions, f"{where}: {branch}")
        for branch in BRANCHES
        if branch in by_branch
    }
    require_aligned(branches, where)
    return branches


def write_predictions(path: Path, branches: Mapping[str, Predictions]) -> None:
    """Write `results/predictions.csv`; the inverse of `read_predictions` to five decimals."""
    emotions = next(iter(branches.values())).emotions
    columns = [*ID_COLUMNS, "confidence", *(PROBABILITY + name for name in emotions)]
    rows = (
        row for branch in BRANCHES if branch in branches for row in _rows(branch, branches[branch])
    )
    write_table(path, columns, rows)


def require_aligned(branches: Mapping[str, Predictions], where: str) -> None:
    """Refuse branches that cannot be compared clip by clip.

    Raises:
        CorpusError: a clip is missing from a branch or its label differs between branches.
    """
    first_name, *others = branches
    first = branches[first_name]
    for name in others:
        other = branches[name]
        if lone := sorted(set(first.keys) ^ set(other.keys)):
            raise CorpusError(
                f"{where}: fold {lone[0][0]}, clip {lone[0][1]} is only in one of the branches "
                f"{first_name} and {name}; run `dvc repro fuse`"
            )
        if first.keys != other.keys or not np.array_equal(first.emotion, other.emotion):
            raise CorpusError(
                f"{where}: branches {first_name} and {name} give clips in another order or with "
                "other labels; run `dvc repro fuse`"
            )


def _columns(rows: Sequence[dict[str, str]], emotions: tuple[str, ...], where: str) -> Predictions:
    rows = sorted(rows, key=lambda row: (row["fold"], row["clip_id"]))
    _require_unique(rows, where)
    index = {name: position for position, name in enumerate(emotions)}
    try:
        predictions = Predictions(
            emotions=emotions,
            fold=tuple(row["fold"] for row in rows),
            clip_id=tuple(row["clip_id"] for row in rows),
            speaker=tuple(row["speaker"] for row in rows),
            sentence=tuple(row["sentence"] for row in rows),
            emotion=np.array([index[row["emotion"]] for row in rows]),
            predicted=np.array([index[row["predicted"]] for row in rows]),
            confidence=np.array([_probability(row["confidence"]) for row in rows]),
            probabilities=np.array(
                [[_probability(row[PROBABILITY + e]) for e in emotions] for row in rows]
            ),
        )
    except KeyError as error:
        raise CorpusError(f"{where}: emotion {error} has no p_ column") from error
    except (TypeError, ValueError) as error:
        raise CorpusError(f"{where}: {error}; run `dvc repro fuse`") from error
    _require_probabilities(predictions, where)
    return predictions


def _probability(text: str) -> float:
    value = number(text)
    if not 0 <= value <= 1:
        raise ValueError(f"got {text}, expected a probability, 0 to 1")
    return value


def _require_unique(rows: Sequence[dict[str, str]], where: str) -> None:
    for previous, row in pairwise(rows):
        if (previous["fold"], previous["clip_id"]) == (row["fold"], row["clip_id"]):
            raise CorpusError(
                f"{where}: clip {row['clip_id']} occurs twice in fold {row['fold']}; "
                "run `dvc repro fuse`"
            )


def _require_probabilities(predictions: Predictions, where: str) -> None:
    sums = predictions.probabilities.sum(axis=1)
    # Written so that NaN is caught too.
    bad = np.flatnonzero(~(np.abs(sums - 1) <= PROBABILITY_TOLERANCE))
    if len(bad):
        raise CorpusError(
            f"{where}: probabilities of clip {predictions.clip_id[bad[0]]} sum to "
            f"{sums[bad[0]]:.3f}, expected 1; run `dvc repro fuse`"
        )


def _rows(branch: str, predictions: Predictions) -> list[dict[str, object]]:
    names = predictions.emotions
    return [
        {
            "branch": branch,
            "fold": predictions.fold[i],
            "clip_id": predictions.clip_id[i],
            "speaker": predictions.speaker[i],
            "sentence": predictions.sentence[i],
            "emotion": names[predictions.emotion[i]] if predictions.emotion[i] >= 0 else "",
            "predicted": names[predictions.predicted[i]],
            "confidence": f"{predictions.confidence[i]:.5f}",
            **{
                PROBABILITY + n: f"{p:.5f}"
                for n, p in zip(names, predictions.probabilities[i], strict=True)
            },
        }
        for i in range(len(predictions))
    ]
