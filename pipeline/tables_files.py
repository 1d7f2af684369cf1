"""The files of the tables: CSV to compute with, markdown to read, one page to look at."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from pipeline import ablations, tables
from pipeline.report_data import Facts
from pipeline.report_words import notices
from pipeline.tables import Row, read_rows, write_rows
from pipeline.tables_page import write_page
from pipeline.tables_text import ablations_text, tables_text, write_text


def write_systems(results: Path, rows: Sequence[Row], facts: Facts) -> None:
    """Write `tables.csv` and `tables.md` into `results`, and renew the page."""
    write_rows(results / "tables.csv", tables.COLUMNS, rows)
    write_text(results / "tables.md", tables_text(rows, notices_of(rows, facts)))
    _renew_page(results, facts)


def write_ablations(results: Path, rows: Sequence[Row], facts: Facts) -> None:
    """Write `ablations.csv` and `ablations.md` into `results`, and renew the page."""
    write_rows(results / "ablations.csv", ablations.COLUMNS, rows)
    write_text(results / "ablations.md", ablations_text(rows, notices_of(rows, facts)))
    _renew_page(results, facts)


def notices_of(rows: Sequence[Row], facts: Facts) -> list[str]:
    """What a reader must know of the corpus and the weights that rows were made from.

    A table may be older than `params.yaml`, so that each row states its own origin.
    """
    said: dict[str, None] = {}
    for row in rows:
        corpus, weights = str(row["corpus"]), str(row["audio_weights"])
        own = replace(facts, system=tables.OURS, corpus=corpus, audio_weights=weights)
        said |= dict.fromkeys(notices(own))
    return list(said)


def _renew_page(results: Path, facts: Facts) -> None:
    systems, studies = (read_rows(results / f"{name}.csv") for name in ("tables", "ablations"))
    page = results / "tables.html"
    write_page(page, systems, studies, notices_of([*systems, *studies], facts))
