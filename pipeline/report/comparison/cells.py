"""The tables as text, cell by cell: what the markdown and the page both show."""

import json
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from pipeline.report.comparison.ablations import (
    BOX_SCORES,
    BOXES,
    GRID,
    GRID_STUDY,
    REFERENCES,
    STUDIES,
)
from pipeline.report.comparison.rows import RECALL, SPEAKER, Row
from pipeline.report.figures import LABELS
from pipeline.report.words import CORPORA
from pipeline.systems import OURS, PAPER_TEST_CLIPS
from pipeline.work.progress import figure

UNKNOWN = "n/a"

LETTERS = 3
"""Of a speaker's or an emotion's name above a narrow column."""

SCORE_NOTE = (
    "Means over seeds in percent, 95% intervals of that mean (bootstrap by clip within speaker) "
    "and the standard deviation over seeds. Macro F1's interval is that of all seeds' predictions "
    "taken together. Gains are in points of WA, row minus reference, on the "
    "same clips. p: exact McNemar test of the first seed; Holm's correction counts the rows."
)
FUSION_NOTE = (
    "Accuracy in percent, means over seeds; gains in points on the same clips. The fused answer "
    "weighs the fused network, audio and visual branch (in this order) by what they are worth on "
    "training clips held out; `Network alone` is the fused network without that. A system that "
    "learns one network for sound and image has no branches to compare with."
)
COST_NOTE = (
    "Training: seconds a fold in one thread, with the trainings on its inner folds. "
    "Inference: milliseconds a clip from inputs in memory. PANNs embeddings and the face detector "
    "of the stages before are in none of the columns, nor is the time of a frozen published trunk, "
    "whose outputs are computed once."
)
SEED_NOTE = (
    "Seeds vary the training of the system. The split, the audio embeddings and each fold's face "
    "detector are the same for all seeds."
)
BOX_NOTE = (
    "In percent, means over seeds of the detector's training with their standard deviation. The "
    "gain is in mean IoU with the true box, in points, with a 95% interval over clips."
)

PROTOCOLS = {
    "paper": "random clips of each emotion held out; test speakers are also in training",
    "loso": "one speaker left out at a time",
    "loso_text": "one speaker left out at a time, and no sentence tested was trained",
    "folds": "the folds of a file",
}


class Table(NamedTuple):
    """Head and body; the first column names the row."""

    head: list[str]
    body: list[list[str]]


def systems(rows: Sequence[Row]) -> Table:
    """Scores of each system, the paper's beside them, and tests against ours."""
    named = enumerate(stand_ins(rows).values(), start=1)
    marks = {system: number for number, systems in named for system in systems}
    head = ["System", "WA", "UA", "Macro F1", "Paper", f"Gain over {OURS}", "p", "p (Holm)"]
    return Table(head, [_system(row, marks) for row in rows])


def fusion(rows: Sequence[Row]) -> Table:
    """Fused systems beside the branches that they fuse."""
    head = [
        *("System", "Fused", "Network alone", "Audio", "Visual", "Weights"),
        *("Gain over the better", "Worst seed"),
    ]
    body = [
        [
            str(row["system"]),
            *(share(row, name) for name in ("accuracy", "unpooled", "audio", "visual")),
            _weights(row),
            points(row, "over_best"),
            f"{100 * number(row, 'over_best_worst_seed'):+.1f}",
        ]
        for row in rows
        if row.get("best_branch")
    ]
    return Table(head, body)


def short(column: str) -> str:
    """An emotion's first letters, a speaker's last: numbered speakers differ there."""
    if column.startswith(SPEAKER):
        return column.removeprefix(SPEAKER)[-LETTERS:]
    return column.removeprefix(RECALL)[:LETTERS]


def shares(rows: Sequence[Row], prefix: str) -> Table:
    """Accuracy by speaker or recall by emotion, in percent; `prefix` is that of the columns."""
    columns = [key for key in rows[0] if key.startswith(prefix)]
    body = [[str(row["system"]), *(share(row, key) for key in columns)] for row in rows]
    return Table(["System", *(key.removeprefix(prefix) for key in columns)], body)


def costs(rows: Sequence[Row]) -> Table:
    """Parameters, training and inference time."""
    head = ["System", "Parameters trained", "of", "Training, s", "Inference, ms"]
    body = [
        [
            str(row["system"]),
            f"{row['trained']:,}",
            f"{row['total']:,}",
            f"{number(row, 'train_s'):.1f}",
            f"{number(row, 'infer_ms'):.2f}",
        ]
        for row in rows
    ]
    return Table(head, body)


def variants(rows: Sequence[Row]) -> Table:
    """Scores of each variant, and its gain over the one it is measured against."""
    head = ["Variant", "WA", "UA", "NLL", "Gain in WA", "Against", "p", "p (Holm)"]
    body = [
        [
            str(row["variant"]),
            *(percent(row, name) for name in ("accuracy", "uar")),
            figure(row.get("nll")),
            points(row, "gain"),
            str(row.get("against") or ""),
            *(probability(row, name) for name in ("mcnemar_p", "holm_p")),
        ]
        for row in rows
        if not row.get("absent")
    ]
    return Table(head, body)


def grid(rows: Sequence[Row]) -> Table:
    """Mean accuracy and NLL by alpha and beta."""
    cells = {row["variant"]: f"{share(row, 'accuracy')} / {figure(row.get('nll'))}" for row in rows}
    body = [
        [f"alpha {alpha:g}", *(cells[f"alpha {alpha:g}, beta {beta:g}"] for beta in GRID)]
        for alpha in GRID
    ]
    return Table(["WA / NLL", *(f"beta {beta:g}" for beta in GRID)], body)


def boxes(rows: Sequence[Row]) -> Table:
    """Box quality against both references."""
    words = {"truth": "true box", "dlib": "dlib"}
    heads = [f"{LABELS[name]}, {words[ref]}" for ref in REFERENCES for name in BOX_SCORES]
    names = [f"{reference}_{name}" for reference in REFERENCES for name in BOX_SCORES]
    body = [
        [str(row["variant"]), *(percent(row, name) for name in names), points(row, "gain", 2)]
        for row in rows
        if not row.get("absent")
    ]
    return Table(["Box loss", *heads, "Gain in IoU"], body)


def absent(rows: Sequence[Row], name: str) -> list[str]:
    """A sentence for each row that could not be run."""
    return [f"{row[name]} is absent: {row['absent']}" for row in rows if row.get("absent")]


def stand_ins(rows: Sequence[Row]) -> dict[str, list[str]]:
    """What stands in for published parts, and the systems that have it in their place."""
    found: dict[str, list[str]] = {}
    for row in rows:
        if row.get("stand_ins"):
            said = " ".join(json.loads(str(row["stand_ins"])))
            found.setdefault(said, []).append(str(row["system"]))
    return found


def footnotes(rows: Sequence[Row]) -> list[str]:
    """The stand-ins as sentences, in the order of their marks."""
    return [f"{', '.join(systems)}: {said}" for said, systems in stand_ins(rows).items()]


def about(row: Row) -> str:
    """Of what the rows of a protocol are."""
    corpus = CORPORA.get(str(row["corpus"]), str(row["corpus"]))
    return (
        f"{corpus[:1].upper()}{corpus[1:]}, {row['clips']} test clips, "
        f"{_counted(row['folds'], 'fold')}, {_counted(row['seeds'], 'seed')}. Chance "
        f"{share(row, 'chance')}, majority class {share(row, 'majority')}. The paper's figures are "
        f"from {PAPER_TEST_CLIPS} random clips of SAVEE."
    )


def study_titles() -> dict[str, str]:
    """Title of each study by key."""
    return {BOXES: "Box loss and variance voting", **{s.key: s.title for s in STUDIES}}


def study_table(key: str, rows: Sequence[Row]) -> Table:
    """The table of a study."""
    if key == BOXES:
        return boxes(rows)
    return grid(rows) if key == GRID_STUDY else variants(rows)


def by(rows: Sequence[Row], column: str) -> dict[str, list[Row]]:
    """Rows by a column's value, in the order of appearance."""
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(str(row[column]), []).append(row)
    return groups


def percent(row: Row, name: str) -> str:
    """A share in percent with its interval and spread, as far as they are known."""
    text = share(row, name)
    if row.get(f"{name}_low") is not None:
        text += f" [{share(row, f'{name}_low')}, {share(row, f'{name}_high')}]"
    if row.get(f"{name}_sd") is not None:
        text += f" ± {share(row, f'{name}_sd')}"
    return text


def share(row: Row, name: str) -> str:
    """A share in percent."""
    return UNKNOWN if row.get(name) is None else f"{100 * number(row, name):.1f}"


def points(row: Row, name: str, decimals: int = 1) -> str:
    """A difference in points with its interval; empty where there is none."""
    if row.get(name) is None:
        return ""
    value, low, high = (
        f"{100 * number(row, f'{name}{part}'):+.{decimals}f}" for part in ("", "_low", "_high")
    )
    return f"{value} [{low}, {high}]"


def probability(row: Row, name: str) -> str:
    """A p value; empty where nothing was tested."""
    if row.get(name) is None:
        return ""
    return "< 0.001" if number(row, name) < 0.001 else f"{number(row, name):.3f}"


def number(row: Row, name: str) -> float:
    """A cell as a number."""
    value = row[name]
    assert isinstance(value, int | float), f"{name}: {value!r}"
    return value


def _system(row: Row, marks: Mapping[str, int]) -> list[str]:
    system = str(row["system"])
    return [
        f"{system} ({marks[system]})" if system in marks else system,
        *(percent(row, name) for name in ("accuracy", "uar", "macro_f1")),
        share(row, "paper_accuracy"),
        points(row, "gain"),
        *(probability(row, name) for name in ("mcnemar_p", "holm_p")),
    ]


def _weights(row: Row) -> str:
    """Of the experts, as av / audio / visual."""
    weights = json.loads(str(row.get("weights") or "{}"))
    return " / ".join(f"{weight:.2f}" for weight in weights.values())


def _counted(count: object, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"
