"""What `make tables` and `make ablations` write: CSV to compute with, markdown to read, one page.

Markdown and page are made from the rows as the CSV holds them. The page, `tables.html`, is of
both CSVs, so that either command renews its half.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from pipeline.files import atomic_write
from pipeline.report import words
from pipeline.report.comparison import charts, tables
from pipeline.report.comparison.rows import (
    BOXES,
    Row,
    SystemRow,
    VariantRow,
    by,
    read_rows,
    write_rows,
)
from pipeline.report.comparison.studies import GRID, LOSS_GRID, grid_name
from pipeline.report.page import templates
from pipeline.report.sections import Absent, Content
from pipeline.scores.intervals import Interval
from pipeline.scores.metrics import published
from pipeline.systems import OURS, SYSTEMS

PAGE = "tables.html"

WIDEST = 12
"""More speakers than this are told by their spread alone."""

LETTERS = 3
"""Of a speaker's or an emotion's name above a narrow column."""

GREEK = ("\N{GREEK SMALL LETTER ALPHA}", "\N{GREEK SMALL LETTER BETA}")


class Heading(NamedTuple):
    """Anchor, also the template's name, and title of a section."""

    key: str
    title: str


TEXTS = {"tables": tables.systems_text, "ablations": tables.ablations_text}
"""What writes the markdown of each CSV."""


def write_comparison(
    results: Path, name: Literal["tables", "ablations"], rows: Sequence[Row]
) -> Path:
    """Write the CSV and the markdown of `name` into `results`, renew the page, return its path."""
    write_rows(results / f"{name}.csv", rows)
    systems, studies = (read_rows(results / f"{one}.csv") for one in TEXTS)
    again = systems if name == "tables" else studies
    _write_text(results / f"{name}.md", TEXTS[name](again, notices(again)))
    _write_text(results / PAGE, [render(systems, studies)])
    return results / PAGE


def notices(rows: Sequence[Row]) -> list[str]:
    """What a reader must know of the corpora and weights that rows were made from.

    A table may be older than `params.yaml`, so that each row states its own.
    """
    found = [
        notice for row in rows for notice in words.notices(OURS, row.corpus, row.audio_weights)
    ]
    return list(dict.fromkeys(found))


def _write_text(path: Path, lines: Sequence[str]) -> None:
    with atomic_write(path) as part:
        part.write_text("\n".join(lines).rstrip() + "\n", encoding="utf-8")


def render(systems: Sequence[Row], studies: Sequence[Row]) -> str:
    """The page as HTML; the same rows give the same bytes.

    Args:
        systems: rows of `results/tables.csv`, may be empty.
        studies: rows of `results/ablations.csv`, may be empty.
    """
    every = [*systems, *studies]
    done = {name: tables.done(rows) for name, rows in by(systems, "protocol").items()}
    done = {name: rows for name, rows in done.items() if rows}
    none = Absent("Run make tables.")
    corpora = sorted({words.CORPORA.get(row.corpus, row.corpus) for row in every})
    page = templates().get_template(PAGE)
    return page.render(
        notices=notices(every),
        subtitle="Every system side by side, and what its parts are worth, on "
        f"{' and '.join(corpora)}.",
        headline={"heroes": [_hero(protocol, rows) for protocol, rows in done.items()]},
        sections=[
            (Heading("systems", "Every system"), _systems(systems) if systems else none),
            (Heading("fusion", "Is fusion at least as good as its better branch?"), _fusion(done)),
            (Heading("shares", "By speaker and by emotion"), _shares(done) if done else none),
            (Heading("costs", "What it costs"), _costs(done) if done else none),
            (Heading("ablations", "Ablations"), _ablations(studies)),
            (
                Heading("meaning", "What the figures mean, and what they do not"),
                {"paragraphs": tables.MEANING},
            ),
        ],
    )


def _hero(protocol: str, rows: Sequence[SystemRow]) -> Content:
    """Our system, or the last one run, beside all others of a protocol."""
    ours = next((row for row in rows if row.system == OURS), rows[-1])
    best = max(rows, key=lambda row: row.accuracy.value)
    tiles = [
        (f"Best: {best.system}", f"{best.accuracy.value:.1%}"),
        ("UA, mean recall", f"{ours.uar.value:.1%}"),
    ]
    if ours.over_best:
        gain = f"{100 * ours.over_best.value:+.1f} points"
        tiles.append((f"Over its {ours.best_branch} branch", gain))
    if ours.over_sum:
        gain = f"{100 * ours.over_sum.value:+.1f} points"
        tiles.append(("Over the sum of its branches", gain))
    if ours.speaker_sd is not None:
        tiles.append(("SD between speakers", f"{100 * ours.speaker_sd:.1f} points"))
    return {
        "protocol": protocol,
        "words": tables.PROTOCOLS[protocol],
        "system": ours.system,
        "colour": SYSTEMS[ours.system].branch,
        "seeds": ours.seeds,
        "accuracy": _accuracy(ours),
        "tiles": tiles,
        "chart": charts.systems(
            f"systems-{protocol}",
            {row.system: _accuracy(row) for row in rows},
            {row.system: published(row.paper_accuracy) for row in rows if row.paper_accuracy},
            {"chance": rows[0].chance, "majority": rows[0].majority},
        ),
    }


def _accuracy(row: SystemRow) -> Interval:
    return Interval(row.accuracy.value, row.accuracy.low, row.accuracy.high)


def _systems(rows: Sequence[Row]) -> Content:
    groups = []
    for name, own in by(rows, "protocol").items():
        done = tables.done(own)
        group = {
            "name": name,
            "about": tables.about(done[0]) if done else "",
            "table": tables.systems(done),
            "deviations": tables.deviations(done),
            "remarks": tables.remarks(own),
        }
        groups.append(group)
    return {
        "groups": groups,
        "deviation_note": tables.DEVIATION_NOTE,
        "notes": (tables.SCORE_NOTE, tables.SEED_NOTE),
    }


def _fusion(done: Mapping[str, Sequence[SystemRow]]) -> Content | Absent:
    found = {name: tables.fusion(rows) for name, rows in done.items()}
    found = {name: table for name, table in found.items() if table.body}
    if not found:
        return Absent("No system with both branches was run.")
    gains = {
        f"{row.system} ({name})": row.over_best.value
        for name, rows in done.items()
        for row in rows
        if row.over_best
    }
    below = [name for name, gain in gains.items() if gain < 0]
    return {"tables": found, "below": below, "count": len(gains), "note": tables.FUSION_NOTE}


def _shares(done: Mapping[str, Sequence[SystemRow]]) -> Content:
    maps = []
    for name, rows in done.items():
        # Numbered speakers differ at the end of their names.
        kinds = (
            ("Accuracy by speaker", [row.speaker for row in rows], slice(-LETTERS, None)),
            ("Recall by emotion", [row.recall for row in rows], slice(LETTERS)),
        )
        for title, shares, short in kinds:
            columns = list(dict.fromkeys(key for one in shares for key in one))
            if 1 < len(columns) <= WIDEST:
                values = np.array([[one.get(key, np.nan) for key in columns] for one in shares])
                labels = [key[short] for key in columns]
                names = [row.system for row in rows]
                chart = charts.heat_map(f"{title} {name}", names, labels, values)
                maps.append((f"{title}, {name}", chart))
    return {"maps": maps, "spreads": [(name, tables.spreads(rows)) for name, rows in done.items()]}


def _costs(done: Mapping[str, Sequence[SystemRow]]) -> Content:
    found = {name: tables.costs(rows) for name, rows in done.items()}
    return {"tables": found, "note": tables.COST_NOTE}


def _ablations(rows: Sequence[Row]) -> Content | Absent:
    if not rows:
        return Absent("Run make ablations.")
    studies = [
        {
            "title": tables.STUDY_TITLES[key],
            "table": tables.study(key, own),
            "charts": _grids(own) if key == LOSS_GRID else (),
            "note": tables.BOX_NOTE if key == BOXES else "",
            "remarks": tables.remarks(own),
        }
        for key, own in by(rows, "study").items()
    ]
    return {
        "studies": studies,
        "about": f"Protocol {rows[0].protocol}. {tables.SCORE_NOTE}",
    }


def _grids(rows: Sequence[Row]) -> list[tuple[str, Any]]:
    done = {row.variant: row for row in rows if isinstance(row, VariantRow)}
    if not done:
        return []
    alphas, betas = ([f"{letter} {value:g}" for value in GRID] for letter in GREEK)

    def drawn(name: str, values: Mapping[str, float], figure_of: charts.FigureOf) -> Any:
        grid = np.array([[values.get(grid_name(a, b), np.nan) for b in GRID] for a in GRID])
        return charts.heat_map(f"{name} by alpha and beta", alphas, betas, grid, figure_of)

    accuracy = {name: row.accuracy.value for name, row in done.items()}
    nll = {name: row.nll for name, row in done.items()}
    return [
        ("Accuracy", drawn("accuracy", accuracy, charts.in_percent)),
        ("NLL in nats, less is better", drawn("nll", nll, "{:.3f}".format)),
    ]
