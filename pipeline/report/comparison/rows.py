"""Rows of `results/tables.csv` and `results/ablations.csv`, typed, and their way to CSV and back.

One value is one column. A field of several values takes a column for each, `accuracy`,
`accuracy_low`, ...; a mapping one for each key, `speaker:KL`; phrases share a cell. An empty cell
is a value that a row does not have. Scores are in [0, 1], means over seeds.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

from pydantic import TypeAdapter, ValidationError

from pipeline.errors import CorpusError
from pipeline.files import read_table, write_table
from pipeline.scores.intervals import Interval

DECIMALS = 4
BETWEEN_PHRASES = "; "

LEADING = ("study", "variant", "protocol", "system", "corpus", "audio_weights", "absent")
"""Columns that name a row; they stand first, whatever fields a kind of row adds."""


@dataclass(frozen=True, slots=True)
class Mean:
    """A mean over seeds and their standard deviation, None of a single seed."""

    value: float
    sd: float | None


@dataclass(frozen=True, slots=True)
class Score:
    """A mean over seeds, the 95% interval of that mean, and the seeds' standard deviation."""

    value: float
    low: float
    high: float
    sd: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """What a table was made from; every row repeats it."""

    protocol: str
    corpus: str
    audio_weights: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Missing(Setting):
    """A system that could not be run, and why."""

    system: str
    absent: str

    @property
    def name(self) -> str:
        """By which a reader knows it."""
        return self.system


@dataclass(frozen=True, slots=True, kw_only=True)
class MissingVariant(Missing):
    """A variant of an ablation that could not be run, and why."""

    study: str
    variant: str

    @property
    def name(self) -> str:
        """By which a reader knows it."""
        return self.variant


@dataclass(frozen=True, slots=True, kw_only=True)
class Scored(Setting):
    """Scores of a system, and its gain over a reference on the same clips.

    Attributes:
        system: its name.
        seeds: of split, detectors and training.
        folds: of a seed.
        clips: tests of a seed, counted per fold.
        accuracy: WA.
        uar: UA.
        macro_f1: mean F1.
        nll: in nats.
        gain: in accuracy, row minus reference, a paired interval.
        mcnemar_p: exact test of the first seed against the reference.
        holm_p: the same, corrected for the number of rows tested.
        warnings: why its answers are not all that they seem, with the seeds.
    """

    system: str
    seeds: int
    folds: int
    clips: int
    accuracy: Score
    uar: Score
    macro_f1: Score
    nll: float
    gain: Interval | None = None
    mcnemar_p: float | None = None
    holm_p: float | None = None
    warnings: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """By which a reader knows it."""
        return self.system


@dataclass(frozen=True, slots=True, kw_only=True)
class SystemRow(Scored):
    """A system beside all others under one protocol.

    Attributes:
        chance: accuracy of a uniform guess.
        majority: accuracy of the commonest emotion.
        paper_accuracy: the published figure.
        ece: expected calibration error.
        brier: Brier score.
        network: accuracy of the fused network alone.
        weight: of the experts in the answer: 1 / T of the network, or several of a pool.
        audio: accuracy of the audio branch.
        visual: accuracy of the visual branch.
        best_branch: the better of these two.
        over_best: gain of the fused answer over it.
        over_best_worst_seed: the least gain of a seed.
        branch_sum: accuracy of the plain sum of both branches' log p, as trained.
        over_sum: gain of the fused answer over it.
        speaker_min: least accuracy of a speaker.
        speaker_max: greatest accuracy of a speaker.
        speaker_sd: standard deviation between speakers.
        trained: parameters that training changes.
        total: all parameters of the network and its detector.
        steps: of the optimiser per fold, with its inner folds.
        train_s: seconds per fold, with its inner folds.
        infer_ms: milliseconds per clip from inputs in memory, and to detect faces in its frames.
        deviations: from what was published, in phrases.
        speaker: accuracy by speaker.
        recall: recall by emotion.
    """

    chance: float
    majority: float
    paper_accuracy: float | None
    ece: float
    brier: float
    network: float | None = None
    weight: dict[str, float] = field(default_factory=dict)
    audio: float | None = None
    visual: float | None = None
    best_branch: str = ""
    over_best: Interval | None = None
    over_best_worst_seed: float | None = None
    branch_sum: float | None = None
    over_sum: Interval | None = None
    speaker_min: float
    speaker_max: float
    speaker_sd: float | None
    trained: int
    total: int
    steps: float
    train_s: float
    infer_ms: float
    deviations: tuple[str, ...] = ()
    speaker: dict[str, float]
    recall: dict[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class VariantRow(Scored):
    """A variant of an ablation; `overrides` as `dvc exp run -S` would take them."""

    study: str
    variant: str
    overrides: str
    against: str = ""

    @property
    def name(self) -> str:
        """By which a reader knows it."""
        return self.variant


@dataclass(frozen=True, slots=True, kw_only=True)
class BoxRow(Setting):
    """Boxes of a detector's variant against the true box and dlib's; the gain is in mean IoU."""

    system: str
    study: str
    variant: str
    overrides: str
    seeds: int
    truth_ap50: Mean | None
    truth_ap75: Mean | None
    truth_ap90: Mean | None
    truth_mean_iou: Mean | None
    dlib_ap50: Mean | None
    dlib_ap75: Mean | None
    dlib_ap90: Mean | None
    dlib_mean_iou: Mean | None
    against: str = ""
    gain: Interval | None = None


Row = SystemRow | VariantRow | BoxRow | Missing

BOXES = "boxes"
"""Key of the study whose rows are boxes."""


def write_rows(path: Path, rows: Sequence[Row]) -> None:
    """Write rows with the columns of their kinds; floats to four decimals."""
    cells = [_cells(row) for row in rows]
    found = dict.fromkeys(column for row in cells for column in row)
    columns = sorted(found, key=lambda c: LEADING.index(c) if c in LEADING else len(LEADING))
    write_table(path, columns, ({c: row.get(c, "") for c in columns} for row in cells))


def read_rows(path: Path) -> list[Row]:
    """Rows as `write_rows` wrote them; none where there is no such file.

    Raises:
        CorpusError: the file has no rows, or a row does not fit.
    """
    if not path.is_file():
        return []
    again = "delete it and run `make tables` or `make ablations`"
    rows = read_table(path, _checked_row, again)
    if not rows:
        raise CorpusError(f"{path}: no rows; {again}")
    return rows


def _checked_row(cells: Mapping[str, str]) -> Row:
    try:
        return _row(cells)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise ValueError(f"{where}: got {first['input']!r}: {first['msg']}") from error


def _kind(cells: Mapping[str, str]) -> type[Row]:
    study = cells.get("study")
    if "absent" in cells:
        return MissingVariant if study else Missing
    return BoxRow if study == BOXES else VariantRow if study else SystemRow


def _column(name: str, part: str) -> str:
    return name if part == "value" else f"{name}_{part}"


def _parts(hint: Any) -> list[str]:
    """Names of the values of a field that takes several columns."""
    kinds = (kind for kind in (hint, *get_args(hint)) if is_dataclass(kind))
    return [part.name for kind in kinds for part in fields(kind)]


def _cells(row: Row) -> dict[str, object]:
    found: dict[str, object] = {}
    for name, hint in get_type_hints(type(row)).items():
        value = getattr(row, name)
        if parts := _parts(hint):
            found |= {_column(name, part): getattr(value, part, None) for part in parts}
        elif isinstance(value, Mapping):
            found |= {f"{name}:{key}": one for key, one in value.items()}
        elif isinstance(value, tuple):
            found[name] = BETWEEN_PHRASES.join(value)
        else:
            found[name] = value
    return {
        column: ""
        if value is None
        else round(value, DECIMALS)
        if isinstance(value, float)
        else value
        for column, value in found.items()
    }


def _row(cells: Mapping[str, str]) -> Row:
    full = {column: text for column, text in cells.items() if text}
    kind = _kind(full)
    values: dict[str, object] = {}
    for name, hint in get_type_hints(kind).items():
        if parts := _parts(hint):
            several = {part: full.get(_column(name, part)) for part in parts}
            values[name] = several if any(several.values()) else None
        elif get_origin(hint) is dict:
            keys = (column for column in full if column.startswith(f"{name}:"))
            values[name] = {key.removeprefix(f"{name}:"): full[key] for key in keys}
        elif get_origin(hint) is tuple:
            values[name] = full[name].split(BETWEEN_PHRASES) if name in full else ()
        else:
            values[name] = full.get(name, "" if hint is str else None)
    return TypeAdapter[Row](kind).validate_python(values)


def by(rows: Iterable[Row], column: str) -> dict[str, list[Row]]:
    """Rows by a column's value, in the order of appearance."""
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(getattr(row, column), []).append(row)
    return groups
