"""One look for every chart: colours by branch, small type, light ground, inline SVG."""

import io
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
from markupsafe import Markup

from pipeline.scores.predictions import Floats

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.collections import QuadMesh
    from matplotlib.figure import Figure

INK = "#1d2733"
MUTED = "#66717d"
GRID = "#e7e4dd"
PAPER = "#ffffff"
WARM = "#c2410c"
SAND = "#f7f6f2"

DARK = 0.7
"""Place on the scale from which a cell is dark enough for white figures."""

WIDEST = 1.25
"""How far a chart grows beyond its natural size in a wide column."""

BRANCH_COLOURS = {"av": "#0d7068", "audio": "#c47a1c", "visual": "#5a5fb5"}
BRANCH_NAMES = {"av": "audio-visual", "audio": "audio only", "visual": "visual only"}

STYLE: dict[Any, Any] = {
    "font.size": 9,
    "text.parse_math": False,  # a name may hold $
    "font.family": "DejaVu Sans",
    "text.color": INK,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": MUTED,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.titlesize": 9,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "grid.color": GRID,
    "grid.linewidth": 0.7,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "legend.frameon": False,
    "legend.fontsize": 8.5,
    "figure.facecolor": PAPER,
    "axes.facecolor": PAPER,
    "svg.fonttype": "none",
}
"""Text stays text in the SVG: it takes the page's typeface and can be searched and read out."""


@contextmanager
def canvas(width_in: float, height_in: float) -> Iterator["Figure"]:
    """A figure in the common style, without pyplot's global state."""
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context(STYLE):
        yield Figure(figsize=(width_in, height_in), layout="constrained")


def percent_axis(axes: "Axes", which: str) -> None:
    """Label the x or y axis, which runs over [0, 1], in per cent."""
    from matplotlib.ticker import PercentFormatter

    axis = axes.xaxis if which == "x" else axes.yaxis
    axis.set_major_formatter(PercentFormatter(1, decimals=0))
    axis.set_ticks([0, 0.25, 0.5, 0.75, 1])
    limits = axes.set_xlim if which == "x" else axes.set_ylim
    limits(0, 1)


def to_svg(figure: "Figure", name: str, alt: str) -> Markup:
    """Render as an `<svg>` for a page, the same bytes each time.

    Args:
        figure: the finished figure.
        name: unique on the page; prefixes every id, so that two charts do not share one.
        alt: what the chart shows, for those who do not see it.
    """
    import matplotlib

    stream = io.StringIO()
    with matplotlib.rc_context({**STYLE, "svg.hashsalt": name}):
        figure.savefig(stream, format="svg", metadata={"Date": None, "Creator": None})
    text = stream.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r'\bid="', f'id="{name}-', text)
    text = re.sub(r'(href="#|url\(#)', rf"\g<1>{name}-", text)
    width_px = figure.get_figwidth() * 96 * WIDEST
    head = f'<svg role="img" aria-label="{Markup.escape(alt)}" style="max-width:{width_px:.0f}px"'
    view_box = re.search(r'viewBox="[^"]+"', text)
    assert view_box is not None
    body = text[text.index(">") + 1 :]
    namespaces = 'xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"'
    # SVG that matplotlib wrote: it escapes text
    return Markup(f"{head} {view_box[0]} {namespaces}>{body}")  # noqa: S704


def draw_cells(
    axes: "Axes",
    colour: str,
    scale: Floats,
    texts: Sequence[Sequence[str]],
    labels: tuple[Sequence[str], Sequence[str]],
) -> "QuadMesh":
    """Draw a grid of shaded cells with a text in each, the first row on top.

    Args:
        axes: to draw into.
        colour: of a cell at 1; one at 0 is sand.
        scale: in [0, 1], shape [R, C].
        texts: R rows of C texts, "" for none.
        labels: R of the rows and C of the columns.

    Returns:
        The shades, for a colour bar.
    """
    from matplotlib.colors import LinearSegmentedColormap

    shades = LinearSegmentedColormap.from_list(colour, [SAND, colour])
    # Rectangles, not an image: the page then needs no bitmap and prints crisply.
    mesh = axes.pcolormesh(scale, cmap=shades, vmin=0, vmax=1, edgecolors="white", linewidth=1.5)
    for (row, column), shade in np.ndenumerate(scale):
        if text := texts[row][column]:
            ink = "white" if shade > DARK else INK
            axes.text(column + 0.5, row + 0.5, text, ha="center", va="center", color=ink)
    rows, columns = labels
    axes.set_yticks(np.arange(len(rows)) + 0.5, rows)
    axes.set_xticks(np.arange(len(columns)) + 0.5, columns)
    axes.invert_yaxis()
    axes.grid(visible=False)
    axes.spines[["left", "bottom"]].set_visible(False)
    return mesh
