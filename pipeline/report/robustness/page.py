"""What `avemo robustness` writes: figures to compute with, and one page to look at."""

from collections.abc import Sequence
from pathlib import Path

from pipeline.files import atomic_write
from pipeline.report import words as report_words
from pipeline.report.comparison.page import Heading
from pipeline.report.comparison.tables import Table
from pipeline.report.page import templates
from pipeline.report.robustness import charts, words
from pipeline.report.robustness.figures import (
    Figures,
    Kind,
    Robustness,
    Tested,
    Trend,
    write_figures,
)
from pipeline.report.run import Ends
from pipeline.report.sections import Content

PAGE = "robustness.html"

KINDS: dict[Kind, str] = {
    "sound": "Sound",
    "picture": "Picture",
    "missing": "A missing part",
    "attack": "Attacks by gradient",
}


def write_robustness(results: Path, found: Robustness) -> Path:
    """Write JSON, CSV and page into `results`; the page's path."""
    write_figures(results, found)
    with atomic_write(results / PAGE) as part:
        part.write_text(render(found), encoding="utf-8")
    return results / PAGE


def render(found: Robustness) -> str:
    """The page as HTML; the same figures give the same bytes."""
    return (
        templates()
        .get_template(PAGE)
        .render(
            notices=[
                *report_words.notices(found.system, found.corpus, found.audio_weights),
                *words.warnings(found),
            ],
            subtitle=words.subtitle(found),
            headline=_hero(found),
            sections=[
                (Heading("trends", "Do confidence and sigma tell of the damage?"), _trends(found)),
                (Heading("damages", "By kind and severity"), _damages(found)),
                (Heading("untried", "What was not tried"), _untried(found)),
                (
                    Heading("meaning", "What the figures mean, and what they do not"),
                    {"paragraphs": words.MEANING},
                ),
            ],
        )
    )


def _hero(found: Robustness) -> Content:
    """Clean accuracy beside the worst of each kind."""
    tiles = []
    for kind, title in KINDS.items():
        own = [one for one in found.conditions if one.kind == kind]
        if own:
            worst = min(own, key=lambda one: one.severest.accuracy)
            tiles.append((f"{title}: {worst.title}", f"{worst.severest.accuracy:.1%}"))
    return {
        "colour": found.branch,
        "accuracy": found.clean.interval,
        "clips": found.clips,
        "tiles": tiles,
        "chart": charts.severest(found),
    }


def _trends(found: Robustness) -> Content:
    head = ["Condition", "Accuracy", "Change", "Confidence", "Confidence moves", "Sigma moves"]
    body = [
        [
            one.title,
            _percent(one.severest.accuracy),
            _points(one.severest),
            _percent(one.severest.confidence),
            _direction(one.confidence),
            _direction(one.sigma),
        ]
        for one in found.conditions
    ]
    return {"findings": words.findings(found), "table": Table(head, body)}


def _damages(found: Robustness) -> Content:
    groups = []
    for kind, title in KINDS.items():
        own = [one for one in found.conditions if one.kind == kind]
        if own:
            group = {
                "title": title,
                "charts": [(one.title, charts.curves(found.clean, one)) for one in own],
                "colour": charts.KIND_COLOURS[kind],
                "sigma": any(one.sigma for one in own),
                "table": _table(found.clean, own),
            }
            groups.append(group)
    return {"groups": groups}


def _table(clean: Figures, conditions: Sequence[Tested]) -> Table:
    seen = any(one.face_share is not None for c in conditions for one in c.severities)
    head = [
        "Condition", "Severity", "Accuracy", "Change", "NLL", "ECE", "Confidence", "Abstained",
        *(["Faces", "Sigma, px"] if seen else []),
    ]  # fmt: skip
    rows = [["clean", *_cells(clean, seen)]]
    for one in conditions:
        rows += [[one.title, *_cells(severity, seen)] for severity in one.severities]
    return Table(head, rows)


def _cells(figures: Figures, seen: bool) -> list[str]:
    cells = [
        figures.severity,
        f"{_percent(figures.accuracy)} {_range(figures.accuracy_95)}",
        _points(figures) if figures.severity else "",
        f"{figures.nll:.2f}",
        f"{figures.ece:.2f}",
        _percent(figures.confidence),
        _percent(figures.abstained),
    ]
    if seen:
        cells.append("" if figures.face_share is None else f"{figures.face_share:.0%}")
        cells.append("" if figures.sigma_px is None else f"{figures.sigma_px:.1f}")
    return cells


def _untried(found: Robustness) -> Content:
    reasons: dict[str, list[str]] = {}
    for title, reason in found.absent.items():
        reasons.setdefault(reason, []).append(title)
    return {
        "absent": [(", ".join(titles), reason) for reason, titles in reasons.items()],
        "left_out": [(one.clip_id, one.reason) for one in found.left_out],
    }


def _direction(trend: Trend | None) -> str:
    if trend is None:
        return ""
    ends = f"[{trend.tau_95.low:+.2f}, {trend.tau_95.high:+.2f}]"
    return f"{trend.direction or 'uncertain'} {trend.tau:+.2f} {ends}"


def _points(figures: Figures) -> str:
    """Change of the accuracy in points of per cent, with its interval."""
    low, high = 100 * figures.change_95.low, 100 * figures.change_95.high
    return f"{100 * figures.change:+.1f} [{low:+.0f}, {high:+.0f}]"


def _range(ends: Ends) -> str:
    return f"[{100 * ends.low:.0f}, {100 * ends.high:.0f}]"


def _percent(share: float) -> str:
    return f"{share:.1%}"
