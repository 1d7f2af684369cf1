"""The report: one self-contained HTML page that needs no network."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from markupsafe import Markup, escape

from pipeline.files import atomic_write
from pipeline.report.results import Results
from pipeline.report.sections import SECTIONS, Absent, SectionSpec, headline
from pipeline.report.words import (
    detector_warnings,
    notices,
    other_test_set,
    score_warnings,
    stamp,
    subtitle,
)
from pipeline.scores.intervals import Interval

if TYPE_CHECKING:
    from jinja2 import Environment

UNDEFINED = "n/a"
"""Shown where a ratio has no clips to be taken over."""


def write_report(results: Results, path: Path) -> None:
    """Write the page of a run; the same run gives the same bytes, apart from the occasion.

    What is not the run's own (date, machine, durations, the commit's test clips) stands between
    the comments `<!--occasion-->` and `<!--/occasion-->`.
    """
    with atomic_write(path) as part:
        part.write_text(render(results), encoding="utf-8")


def render(results: Results, specs: Sequence[SectionSpec] = SECTIONS) -> str:
    """The page of a run as HTML: notices, headline, then a section each of `specs`."""
    page = templates().get_template("page.html")
    run = results.run
    return page.render(
        notices=[
            *notices(run.system, run.corpus.name, run.method.audio_weights),
            *detector_warnings(run),
            *score_warnings(run),
        ],
        other_test_set=other_test_set(results),
        stamp=stamp(results.occasions),
        subtitle=subtitle(results),
        headline=headline(results),
        sections=[(spec, spec.build(results)) for spec in specs],
    )


def templates() -> "Environment":
    """The templates of all pages, with their filters."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("pipeline", "report/templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"percent": _percent, "interval": _interval, "figure": _figure}
    environment.filters |= {"whole": _whole, "code": _code, "duration": _duration}
    environment.tests["absent"] = lambda content: isinstance(content, Absent)
    return environment


def _percent(value: float) -> str:
    return UNDEFINED if value != value else f"{value:.1%}"


def _whole(value: float) -> str:
    return UNDEFINED if value != value else f"{value:.0%}"


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02d} min"
    return f"{minutes} min {rest:02d} s" if minutes else f"{seconds:.1f} s"


def _code(text: str) -> Markup:
    """Escape text and set what stands between backticks as code."""
    parts = [escape(part) for part in text.split("`")]
    odd = (
        Markup("<code>{}</code>").format(part) if i % 2 else part for i, part in enumerate(parts)
    )
    return Markup("").join(odd)


def _interval(score: Interval) -> str:
    return f"{100 * score.low:.1f} to {100 * score.high:.1f}"


def _figure(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:.3f}"
