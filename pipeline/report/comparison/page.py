"""`results/tables.html`: all systems and ablations on one self-contained page."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.files import atomic_write
from pipeline.report.comparison import cells, charts
from pipeline.report.comparison.ablations import BOXES, GRID, GRID_STUDY
from pipeline.report.comparison.cells import by, number, study_table, study_titles
from pipeline.report.comparison.rows import RECALL, SPEAKER, Row
from pipeline.report.page import templates
from pipeline.report.sections import Absent
from pipeline.scores.intervals import Interval
from pipeline.systems import OURS, SYSTEMS

Content = Mapping[str, Any]

MEANING = (
    "An interval says how far another draw of clips by the same speakers could move the mean over "
    "seeds. It does not cover other speakers, rooms or cameras. With few test clips most rows "
    "cannot be told apart: look at the interval of the difference, not at the order of the rows.",
    "The paper's figures are of another corpus unless this one is SAVEE, and its networks began "
    "from published weights: landmarks, not a comparison.",
)


WIDEST = 12
"""More speakers than this are told by their spread alone."""

GREEK = ("\N{GREEK SMALL LETTER ALPHA}", "\N{GREEK SMALL LETTER BETA}")


@dataclass(frozen=True, slots=True)
class Heading:
    """Anchor, template and title of a section."""

    key: str
    title: str


def write_page(
    path: Path, systems: Sequence[Row], studies: Sequence[Row], notices: Sequence[str]
) -> None:
    """Write the page; the same rows give the same bytes."""
    with atomic_write(path) as part:
        part.write_text(render(systems, studies, notices), encoding="utf-8")


def render(systems: Sequence[Row], studies: Sequence[Row], notices: Sequence[str]) -> str:
    """The page as HTML.

    Args:
        systems: rows of `results/tables.csv`, may be empty.
        studies: rows of `results/ablations.csv`, may be empty.
        notices: what a reader must know before any figure.
    """
    done = {name: _done(rows) for name, rows in by(systems, "protocol").items()}
    done = {name: rows for name, rows in done.items() if rows}
    no_systems = Absent("Run make tables.")
    sections = [
        (Heading("systems", "Every system"), _systems(systems) if systems else no_systems),
        (Heading("fusion", "Is fusion at least as good as its better branch?"), _fusion(done)),
        (Heading("shares", "By speaker and by emotion"), _shares(done) if done else no_systems),
        (Heading("costs", "What it costs"), _costs(done) if done else no_systems),
        (Heading("ablations", "Ablations"), _ablations(studies)),
        (
            Heading("meaning", "What the figures mean, and what they do not"),
            {"paragraphs": MEANING},
        ),
    ]
    return (
        templates()
        .get_template("tables.html")
        .render(
            notices=notices,
            subtitle=_subtitle([*systems, *studies]),
            headline=_headline(done),
            sections=sections,
        )
    )


def _headline(done: Mapping[str, Sequence[Row]]) -> Content:
    return {"heroes": [_hero(protocol, rows) for protocol, rows in done.items()]}


def _hero(protocol: str, rows: Sequence[Row]) -> Content:
    """Our system, or the last one run, beside all others of a protocol."""
    ours = next((row for row in rows if row["system"] == OURS), rows[-1])
    best = max(rows, key=lambda row: number(row, "accuracy"))
    tiles = [
        (f"Best: {best['system']}", f"{number(best, 'accuracy'):.1%}"),
        ("UA, mean recall", f"{number(ours, 'uar'):.1%}"),
    ]
    if ours.get("best_branch"):
        gain = f"{100 * number(ours, 'over_best'):+.1f} points"
        tiles.append((f"Over its {ours['best_branch']} branch", gain))
    if ours.get("speaker_sd") is not None:
        spread = f"{100 * number(ours, 'speaker_sd'):.1f} points"
        tiles.append(("SD between speakers", spread))
    return {
        "protocol": protocol,
        "words": cells.PROTOCOLS[protocol],
        "system": ours["system"],
        "colour": SYSTEMS[str(ours["system"])].branch,
        "seeds": ours["seeds"],
        "accuracy": _accuracy(ours),
        "tiles": tiles,
        "chart": _chart(protocol, rows),
    }


def _accuracy(row: Row) -> Interval:
    return Interval(*(number(row, f"accuracy{part}") for part in ("", "_low", "_high")))


def _chart(protocol: str, rows: Sequence[Row]) -> Any:
    scores = {str(row["system"]): _accuracy(row) for row in rows}
    published = {
        str(row["system"]): number(row, "paper_accuracy")
        for row in rows
        if row["paper_accuracy"] is not None
    }
    marks = {"chance": number(rows[0], "chance"), "majority": number(rows[0], "majority")}
    return charts.systems(f"systems-{protocol}", scores, published, marks)


def _systems(rows: Sequence[Row]) -> Content:
    groups = []
    for name, own in by(rows, "protocol").items():
        done = _done(own)
        groups.append(
            {
                "name": name,
                "about": cells.about(done[0]) if done else "",
                "table": cells.systems(done),
                "footnotes": cells.footnotes(done),
                "absent": cells.absent(own, "system"),
            }
        )
    return {"groups": groups, "notes": (cells.SCORE_NOTE, cells.SEED_NOTE)}


def _fusion(done: Mapping[str, Sequence[Row]]) -> Content | Absent:
    tables = {name: cells.fusion(rows) for name, rows in done.items()}
    tables = {name: table for name, table in tables.items() if table.body}
    if not tables:
        return Absent("No system with both branches was run.")
    fused = [row for rows in done.values() for row in rows if row.get("best_branch")]
    below = [
        f"{row['system']} ({row['protocol']})" for row in fused if number(row, "over_best") < 0
    ]
    return {"tables": tables, "below": below, "count": len(fused), "note": cells.FUSION_NOTE}


def _shares(done: Mapping[str, Sequence[Row]]) -> Content:
    maps = []
    for name, rows in done.items():
        systems = [str(row["system"]) for row in rows]
        for prefix, words in ((SPEAKER, "Accuracy by speaker"), (RECALL, "Recall by emotion")):
            columns = [key for key in rows[0] if key.startswith(prefix) and _known(rows, key)]
            if 1 < len(columns) <= WIDEST:
                shares = np.array([[_value(row, key) for key in columns] for row in rows])
                labels = [cells.short(key) for key in columns]
                chart = charts.heat_map(f"{words} {name}", systems, labels, shares)
                maps.append((f"{words}, {name}", chart))
    return {"maps": maps, "spreads": [(name, _spreads(rows)) for name, rows in done.items()]}


def _spreads(rows: Sequence[Row]) -> cells.Table:
    names = ("speaker_min", "speaker_max", "speaker_sd")
    body = [[str(row["system"]), *(cells.share(row, name) for name in names)] for row in rows]
    return cells.Table(["System", "Least", "Most", "SD"], body)


def _costs(done: Mapping[str, Sequence[Row]]) -> Content:
    tables = {name: cells.costs(rows) for name, rows in done.items()}
    return {"tables": tables, "note": cells.COST_NOTE}


def _ablations(rows: Sequence[Row]) -> Content | Absent:
    if not rows:
        return Absent("Run make ablations.")
    studies = []
    for key, own in by(rows, "study").items():
        done = _done(own)
        studies.append(
            {
                "title": study_titles()[key],
                "table": study_table(key, own),
                "charts": _grids(done) if key == GRID_STUDY and done else (),
                "note": cells.BOX_NOTE if key == BOXES else "",
                "absent": cells.absent(own, "variant"),
            }
        )
    return {"studies": studies, "about": f"Protocol {rows[0]['protocol']}. {cells.SCORE_NOTE}"}


def _grids(rows: Sequence[Row]) -> list[tuple[str, Any]]:
    alphas, betas = ([f"{letter} {value:g}" for value in GRID] for letter in GREEK)
    drawn = []
    for name, title, figure_of in (
        ("accuracy", "Accuracy", charts.in_percent),
        ("nll", "NLL in nats, less is better", "{:.3f}".format),
    ):
        found = {row["variant"]: _value(row, name) for row in rows}
        values = np.array([[found[f"alpha {a:g}, beta {b:g}"] for b in GRID] for a in GRID])
        label = f"{name} by alpha and beta"
        drawn.append((title, charts.heat_map(label, alphas, betas, values, figure_of)))
    return drawn


def _subtitle(rows: Sequence[Row]) -> str:
    origins = [(str(row["corpus"])) for row in rows]
    corpora = [cells.CORPORA.get(name, name) for name, _ in groupby(sorted(origins))]
    return f"Every system side by side, and what its parts are worth, on {' and '.join(corpora)}."


def _done(rows: Sequence[Row]) -> list[Row]:
    return [row for row in rows if not row.get("absent")]


def _known(rows: Sequence[Row], key: str) -> bool:
    return any(row.get(key) is not None for row in rows)


def _value(row: Row, key: str) -> float:
    return float("nan") if row.get(key) is None else number(row, key)
