"""The report: one self-contained HTML page that needs no network."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from markupsafe import Markup, escape

from pipeline.files import atomic_write
from pipeline.report.run import Run
from pipeline.report.sections import SECTIONS, Absent, SectionSpec, headline
from pipeline.report.words import notices, subtitle
from pipeline.scores.intervals import Interval

if TYPE_CHECKING:
    from jinja2 import Environment

UNDEFINED = "n/a"
"""Shown where a ratio has no clips to be taken over."""


def write_report(run: Run, path: Path) -> None:
    """Write the page of a run; the same run gives the same bytes."""
    with atomic_write(path) as part:
        part.write_text(render(run), encoding="utf-8")


def render(run: Run, specs: Sequence[SectionSpec] = SECTIONS) -> str:
    """The page of a run as HTML: notices, headline, then a section each of `specs`."""
    page = templates().get_template("page.html")
    return page.render(
        notices=notices(run.facts.system, run.facts.corpus, run.facts.audio_weights),
        subtitle=subtitle(run),
        headline=headline(run),
        sections=[(spec, spec.build(run)) for spec in specs],
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
    environment.filters |= {"whole": _whole, "code": _code}
    environment.tests["absent"] = lambda content: isinstance(content, Absent)
    return environment


def _percent(value: float) -> str:
    return UNDEFINED if value != value else f"{value:.1%}"


def _whole(value: float) -> str:
    return UNDEFINED if value != value else f"{value:.0%}"


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
