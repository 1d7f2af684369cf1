"""The files of the tables: CSV to compute with, markdown to read, one page to look at."""

from collections.abc import Sequence
from pathlib import Path

from pipeline.files import atomic_write
from pipeline.report.comparison import ablations, cells
from pipeline.report.comparison import rows as tables
from pipeline.report.comparison.ablations import BOXES
from pipeline.report.comparison.cells import Table, by, study_table, study_titles
from pipeline.report.comparison.page import write_page
from pipeline.report.comparison.rows import RECALL, SPEAKER, Row, read_rows, write_rows
from pipeline.report.words import notices
from pipeline.systems import OURS


def write_systems(results: Path, rows: Sequence[Row]) -> None:
    """Write `tables.csv` and `tables.md` into `results`, and renew the page."""
    write_rows(results / "tables.csv", tables.COLUMNS, rows)
    write_text(results / "tables.md", tables_text(rows, notices_of(rows)))
    _renew_page(results)


def write_ablations(results: Path, rows: Sequence[Row]) -> None:
    """Write `ablations.csv` and `ablations.md` into `results`, and renew the page."""
    write_rows(results / "ablations.csv", ablations.COLUMNS, rows)
    write_text(results / "ablations.md", ablations_text(rows, notices_of(rows)))
    _renew_page(results)


def notices_of(rows: Sequence[Row]) -> list[str]:
    """What a reader must know of the corpus and the weights that rows were made from.

    A table may be older than `params.yaml`, so that each row states its own origin.
    """
    said: dict[str, None] = {}
    for row in rows:
        corpus, weights = str(row["corpus"]), str(row["audio_weights"])
        said |= dict.fromkeys(notices(OURS, corpus, weights))
    return list(said)


def _renew_page(results: Path) -> None:
    systems, studies = (read_rows(results / f"{name}.csv") for name in ("tables", "ablations"))
    page = results / "tables.html"
    write_page(page, systems, studies, notices_of([*systems, *studies]))


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
