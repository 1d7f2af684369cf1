"""Charts of the tables: systems beside each other, and figures over a grid."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from markupsafe import Markup

from pipeline.report.chart_style import (
    BRANCH_COLOURS,
    INK,
    MUTED,
    WARM,
    canvas,
    draw_cells,
    percent_axis,
    to_svg,
)
from pipeline.scores.intervals import Interval
from pipeline.scores.predictions import Floats
from pipeline.systems import SYSTEMS

FigureOf = Callable[[float], str]
"""Writes a value into its cell."""


def systems(
    name: str,
    scores: Mapping[str, Interval],
    published: Mapping[str, Interval],
    marks: Mapping[str, float],
) -> Markup:
    """Accuracy of each system with its interval, the paper's figure, and lines for references.

    Args:
        name: the chart's id on the page.
        scores: by system; the colour tells audio, visual and audio-visual.
        published: the paper's figure and its interval by system, where there is one.
        marks: accuracies to compare with by name, e.g. chance.
    """
    with canvas(3.9, 1.1 + 0.3 * len(scores)) as figure:
        axes = figure.add_subplot()
        for value in marks.values():
            axes.axvline(value, color=MUTED, linewidth=0.9, linestyle=(0, (4, 3)))
        for y, (system, score) in enumerate(scores.items()):
            colour = BRANCH_COLOURS[SYSTEMS[system].branch]
            axes.barh(y, score.value, height=0.6, color=colour, alpha=0.9)
            axes.plot([score.low, score.high], [y, y], color=INK, linewidth=1.3)
            if system in published:
                mark = published[system]
                axes.plot([mark.low, mark.high], [y + 0.36] * 2, color=WARM, linewidth=1)
                axes.plot(mark.value, y + 0.36, "D", color="white", markeredgecolor=WARM,
                          markersize=4)  # fmt: skip
            axes.text(1.03, y, f"{100 * score.value:.0f}", va="center")
        axes.plot([], [], "D", color="white", markeredgecolor=WARM, label="the paper, on SAVEE")
        label = ", ".join(f"{mark} {value:.1%}" for mark, value in marks.items())
        axes.plot([], [], color=MUTED, linewidth=0.9, linestyle=(0, (4, 3)), label=label)
        axes.set_yticks(range(len(scores)), list(scores))
        axes.set_ylim(len(scores) - 0.4, -0.6)
        axes.grid(axis="y", visible=False)
        percent_axis(axes, "x")
        axes.set_xlim(0, 1.12)
        figure.legend(loc="outside upper left", ncols=1, handlelength=1.4, columnspacing=1.4)
        shown = ", ".join(f"{system} {score.value:.1%}" for system, score in scores.items())
        return to_svg(figure, name, f"Accuracy by system: {shown}. {label}.")


def in_percent(share: float) -> str:
    """A share in [0, 1] in percent, without the sign."""
    return f"{100 * share:.0f}"


def heat_map(
    name: str,
    rows: Sequence[str],
    columns: Sequence[str],
    values: Floats,
    figure_of: FigureOf = in_percent,
) -> Markup:
    """Values [R, C] as a grid of shaded cells with their figures.

    The scale runs from the least to the greatest of them; NaN cells stay empty.

    Args:
        name: the chart's id on the page, and what the values are.
        rows: R labels.
        columns: C labels.
        values: shares in [0, 1], unless `figure_of` words others.
        figure_of: writes a value into its cell.
    """
    least, most = float(np.nanmin(values)), float(np.nanmax(values))
    scale = np.nan_to_num((values - least) / max(most - least, 1e-9))
    texts = [[figure_of(value) if np.isfinite(value) else "" for value in row] for row in values]
    width = max(3.5, 1.7 + 0.32 * len(columns))
    with canvas(width, 0.5 + 0.28 * len(rows)) as figure:
        axes = figure.add_subplot()
        draw_cells(axes, BRANCH_COLOURS["av"], scale, texts, (rows, columns))
        axes.xaxis.tick_top()
        alt = f"{name}: from {figure_of(least)} to {figure_of(most)}; a figure in each cell."
        return to_svg(figure, name.replace(" ", "-"), alt)
