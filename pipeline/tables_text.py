"""`results/tables.md` and `results/ablations.md`: the tables to read without a browser."""

from collections.abc import Sequence
from pathlib import Path

from pipeline import tables_cells as cells
from pipeline.ablations import BOXES, GRID_STUDY, STUDIES
from pipeline.atomic import atomic_write
from pipeline.tables import RECALL, SPEAKER, Row
from pipeline.tables_cells import Table


def write_text(path: Path, lines: Sequence[str]) -> None:
    """Write lines as a file, atomically."""
    with atomic_write(path) as part:
        part.write_text("\n".join(lines).rstrip() + "\n", encoding="utf-8")


def tables_text(rows: Sequence[Row], notices: Sequence[str]) -> list[str]:
    """All protocols as markdown, the notices first."""
    lines = [*_bold(notices), "# Systems", ""]
    for protocol, own in by(rows, "protocol").items():
        lines += [f"## Protocol {protocol}", "", *_protocol(own)]
        lines += _listed(cells.absent(own, "system"))
    return lines


def ablations_text(rows: Sequence[Row], notices: Sequence[str]) -> list[str]:
    """All studies as markdown, the notices first."""
    lines = [*_bold(notices), "# Ablations", ""]
    for key, own in by(rows, "study").items():
        note = cells.BOX_NOTE if key == BOXES else cells.SCORE_NOTE
        lines += [f"## {study_titles()[key]}", "", *markdown(study_table(key, own)), note, ""]
        lines += _listed(cells.absent(own, "variant"))
    return lines


def study_titles() -> dict[str, str]:
    """Title of each study by key."""
    return {BOXES: "Box loss and variance voting", **{s.key: s.title for s in STUDIES}}


def study_table(key: str, rows: Sequence[Row]) -> Table:
    """The table of a study."""
    if key == BOXES:
        return cells.boxes(rows)
    return cells.grid(rows) if key == GRID_STUDY else cells.variants(rows)


def by(rows: Sequence[Row], column: str) -> dict[str, list[Row]]:
    """Rows by a column's value, in the order of appearance."""
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(str(row[column]), []).append(row)
    return groups


def markdown(table: Table) -> list[str]:
    """A table and an empty line; nothing without rows."""
    if not table.body:
        return []
    rule = ["---", *("---:" for _ in table.head[1:])]
    return [*(f"| {' | '.join(line)} |" for line in (table.head, rule, *table.body)), ""]


def _protocol(rows: Sequence[Row]) -> list[str]:
    done = [row for row in rows if not row.get("absent")]
    if not done:
        return []
    lines = [cells.about(done[0]), "", *markdown(cells.systems(done))]
    lines += [cells.SCORE_NOTE, cells.SEED_NOTE, "", *_footnotes(cells.footnotes(done))]
    fused = cells.fusion(done)
    if fused.body:
        lines += ["### Fused against the better branch", "", *markdown(fused)]
        lines += [cells.FUSION_NOTE, ""]
    for prefix, title in ((SPEAKER, "Accuracy by speaker"), (RECALL, "Recall by emotion")):
        lines += [f"### {title}", "", *markdown(cells.shares(done, prefix))]
    return [*lines, "### Cost", "", *markdown(cells.costs(done)), cells.COST_NOTE, ""]


def _footnotes(said: Sequence[str]) -> list[str]:
    notes = [f"{number}. {sentence}" for number, sentence in enumerate(said, start=1)]
    return [*notes, ""] if notes else []


def _bold(notices: Sequence[str]) -> list[str]:
    return [line for notice in notices for line in (f"**{notice}**", "")]


def _listed(sentences: Sequence[str]) -> list[str]:
    return [*(f"- {sentence}" for sentence in sentences), ""] if sentences else []
