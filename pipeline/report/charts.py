"""The report's charts: matplotlib to inline SVG, small enough to be read on a phone."""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from markupsafe import Markup

from pipeline.report.chart_style import (
    BRANCH_COLOURS,
    BRANCH_NAMES,
    INK,
    MUTED,
    WARM,
    canvas,
    draw_cells,
    percent_axis,
    to_svg,
)
from pipeline.report.figures import TOTAL, Losses
from pipeline.scores.calibration import ReliabilityBin, RiskCoverage
from pipeline.scores.intervals import Interval
from pipeline.scores.predictions import Floats

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.collections import QuadMesh
    from matplotlib.figure import Figure, SubFigure

WIDTH_IN = 3.5
ROW_IN = 0.3

LABELLED_ROWS = 40
"""More rows than this are drawn sorted and without names."""


def comparison(
    branches: Mapping[str, Interval], published: Mapping[str, Interval], marks: Mapping[str, float]
) -> Markup:
    """Accuracy of each branch with its interval, above what it is compared with.

    Args:
        branches: by branch.
        published: accuracies with their intervals by name; may be empty.
        marks: accuracies without, e.g. of chance, by name.
    """
    others = {**published, **{name: Interval(mark, mark, mark) for name, mark in marks.items()}}
    rows = len(branches) + len(others)
    with canvas(3.9, 0.5 + 0.32 * rows) as figure:
        axes = figure.add_subplot()
        for y, (branch, score) in enumerate(branches.items()):
            colour = BRANCH_COLOURS[branch]
            axes.barh(y, score.value, height=0.62, color=colour, alpha=0.9)
            axes.plot([score.low, score.high], [y, y], color=INK, linewidth=1.4)
            axes.text(score.high + 0.02, y, f"{score.value:.1%}", va="center")
        for y, other in enumerate(others.values(), start=len(branches)):
            axes.barh(y, other.value, height=0.34, color="#c9cdd2")
            if other.low < other.high:
                axes.plot([other.low, other.high], [y, y], color=MUTED, linewidth=1.1)
            axes.text(other.high + 0.02, y, f"{other.value:.1%}", va="center", color=MUTED)
        names = [BRANCH_NAMES[branch] for branch in branches]
        axes.set_yticks(range(rows), [*names, *others])
        axes.invert_yaxis()
        axes.grid(axis="y", visible=False)
        percent_axis(axes, "x")
        axes.set_xlim(0, 1.2)
        shown = [f"{BRANCH_NAMES[b]} {s.value:.1%}" for b, s in branches.items()]
        shown += [f"{name} {other.value:.1%}" for name, other in others.items()]
        return to_svg(figure, "comparison", f"Accuracy: {', '.join(shown)}.")


ROOMY = 10
"""Emotions that a confusion matrix of the usual size has room for."""

LONGEST_LABEL = 20
"""Characters of a name beside a chart."""


def shortened(name: str) -> str:
    """A name, its end left out where it is long."""
    return name if len(name) <= LONGEST_LABEL else f"{name[: LONGEST_LABEL - 1]}…"


def abbreviations(names: Sequence[str]) -> list[str]:
    """The first three letters of each name, or up to six to tell it from the others."""
    found = []
    for name in names:
        others = [other for other in names if other != name]
        lengths = (n for n in range(3, 7) if not any(o[:n] == name[:n] for o in others))
        found.append(name[: next(lengths, 6)])
    return found


def rows(name: str, labels: Sequence[str], scores: Mapping[str, Sequence[Interval]]) -> Markup:
    """A share per row (speaker, emotion): bars with intervals for the first branch, marks beside.

    Args:
        name: what the shares are, e.g. `recall`; also the chart's id on the page.
        labels: row names, M of them.
        scores: branch -> M intervals; the first branch gets the bars.
    """
    first, *others = scores
    named = len(labels) <= LABELLED_ROWS
    order = list(range(len(labels)))
    if not named:
        order.sort(key=lambda i: -scores[first][i].value)
    with canvas(WIDTH_IN, 0.75 + (ROW_IN if named else 0.06) * len(labels)) as figure:
        axes = figure.add_subplot()
        for y, i in enumerate(order):
            score = scores[first][i]
            axes.barh(y, score.value, height=0.6, color=BRANCH_COLOURS[first], alpha=0.85)
            if named:
                axes.plot([score.low, score.high], [y, y], color=INK, linewidth=1)
        axes.plot([], [], "s", color=BRANCH_COLOURS[first], label=BRANCH_NAMES[first])
        for branch, marker in zip(others, "oD", strict=False):
            values = [scores[branch][i].value for i in order]
            axes.plot(
                values, range(len(labels)), marker, color=BRANCH_COLOURS[branch],
                label=BRANCH_NAMES[branch], markeredgecolor="white", markersize=6 if named else 2,
                clip_on=False, zorder=3,
            )  # fmt: skip
        ticks = {y: shortened(label) for y, label in enumerate(labels)} if named else {}
        axes.set_yticks([*ticks], [*ticks.values()])
        axes.set_ylim(len(labels) - 0.4, -0.6)
        axes.grid(axis="y", visible=False)
        percent_axis(axes, "x")
        figure.legend(loc="outside upper left", ncols=3, handlelength=0.8, columnspacing=1)
        shown = ", ".join(f"{labels[i]} {_read_out(scores[first][i].value)}" for i in order)
        return to_svg(figure, name, f"{name} of the {BRANCH_NAMES[first]} branch: {shown}.")


def _read_out(share: float) -> str:
    return "without clips" if math.isnan(share) else f"{share:.0%}"


def confusion_matrix(branch: str, counts: Floats, emotions: Sequence[str]) -> Markup:
    """Counts [K, K], rows true, columns predicted, shaded by the share of the row."""
    side = WIDTH_IN * max(1.0, len(emotions) / ROOMY)
    with canvas(side, side * 0.9) as figure:
        axes = figure.add_subplot()
        draw_confusion(axes, branch, counts, emotions)
        hits, clips = int(np.trace(counts)), int(counts.sum())
        alt = f"Confusion matrix, {BRANCH_NAMES[branch]}: {hits} of {clips} clips on the diagonal."
        return to_svg(figure, f"confusion-{branch}", alt)


def draw_confusion(
    axes: "Axes", branch: str, counts: Floats, emotions: Sequence[str]
) -> "QuadMesh":
    """Draw the matrix of `confusion_matrix` into axes; the shades, for a colour bar."""
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    texts = [[str(int(count)) if count else "" for count in row] for row in counts]
    labels = ([shortened(emotion) for emotion in emotions], abbreviations(emotions))
    axes.set_xlabel("recognised as")
    axes.set_ylabel("actual")
    if len(emotions) > ROOMY:
        axes.tick_params(axis="x", rotation=90)
    return draw_cells(axes, BRANCH_COLOURS[branch], shares, texts, labels)


def loss_curves(name: str, losses: Losses) -> Markup:
    """Losses of a phase by epoch: the total, and below it its terms on an axis of their own.

    Args:
        name: the chart's id on the page.
        losses: of the phase.
    """
    with canvas(WIDTH_IN, 3.6 if losses.terms else 2.4) as figure:
        draw_losses(figure, losses)
        shown = ", ".join((TOTAL, *losses.terms))
        return to_svg(figure, name, f"{losses.title}: {shown} by epoch.")


def draw_losses(figure: "Figure | SubFigure", losses: Losses) -> None:
    """Draw the chart of `loss_curves` into a figure."""
    if not losses.terms:
        axes = figure.subplots()
        _curve(axes, losses.total, INK, "")
        _from_zero(axes)
        axes.set_xlabel("epoch")
        axes.set_ylabel("loss")
        return
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=[1, 1.3])
    _curve(upper, losses.total, INK, "")
    colours = (*BRANCH_COLOURS.values(), WARM, MUTED)
    for (label, points), colour in zip(losses.terms.items(), colours, strict=False):
        _curve(lower, points, colour, label)
    _from_zero(upper)
    _from_zero(lower)
    upper.set_ylabel("total")
    lower.set_ylabel("its terms")
    lower.set_xlabel("epoch")
    columns = 3 if len(losses.terms) == 3 else 2
    figure.legend(loc="outside lower left", ncols=columns, handlelength=1.2, columnspacing=1.2)


def _curve(axes: "Axes", points: Mapping[int, Sequence[float]], colour: str, label: str) -> None:
    """The mean over folds as a line, their range as a band."""
    from matplotlib.ticker import MaxNLocator

    epochs = sorted(points)
    means = [float(np.mean(points[epoch])) for epoch in epochs]
    lows, highs = ([end(points[epoch]) for epoch in epochs] for end in (min, max))
    marker = "o" if len(epochs) == 1 else ""  # a line would have no length
    axes.plot(epochs, means, color=colour, linewidth=1.6, label=label, marker=marker)
    axes.fill_between(epochs, lows, highs, color=colour, alpha=0.12, linewidth=0)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=6))


def _from_zero(axes: "Axes") -> None:
    """Let the axis of finished curves begin at zero, or a small change would look large."""
    if axes.dataLim.ymin >= 0:  # losses of a density may be negative
        axes.set_ylim(0, 1.08 * axes.dataLim.ymax)


def reliability_diagram(branch: str, table: Sequence[ReliabilityBin]) -> Markup:
    """Accuracy by confidence against the diagonal, with the number of clips per bin below."""
    with canvas(WIDTH_IN, 3.1) as figure:
        draw_reliability(figure, branch, table)
        shown = "; ".join(
            f"at {row.confidence:.0%} confidence {row.accuracy:.0%} right ({row.clips} clips)"
            for row in table
            if row.clips
        )
        return to_svg(figure, "reliability", f"Reliability diagram: {shown}.")


def draw_reliability(figure: "Figure", branch: str, table: Sequence[ReliabilityBin]) -> None:
    """Draw the chart of `reliability_diagram` into a figure."""
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=[4, 1])
    upper.plot([0, 1], [0, 1], color=INK, linewidth=0.9, linestyle=(0, (4, 3)), zorder=3)
    for row in (row for row in table if row.clips):
        middle, width = (row.low + row.high) / 2, (row.high - row.low) * 0.9
        upper.bar(middle, row.accuracy, width, color=BRANCH_COLOURS[branch], alpha=0.85)
        upper.plot(
            [middle - width / 2, middle + width / 2], [row.confidence] * 2, color=WARM,
            clip_on=False,
        )  # fmt: skip
        lower.bar(middle, row.clips, width, color="#c9cdd2")
        lower.text(middle, row.clips, str(row.clips), ha="center", va="bottom", fontsize=7.5)
    upper.plot([], [], color=WARM, label="mean confidence of the bin")
    figure.legend(loc="outside upper left", handlelength=1.2)
    upper.set_ylabel("share right")
    lower.set(xlabel="confidence", ylabel="clips", yticks=[])
    lower.margins(y=0.5)
    percent_axis(upper, "y")
    percent_axis(lower, "x")


def risk_curves(branches: Mapping[str, RiskCoverage]) -> Markup:
    """Error rate among the clips answered, the most confident first."""
    with canvas(WIDTH_IN, 3.1) as figure:
        axes = figure.add_subplot(xlabel="clips answered, most confident first")
        for branch, curve in branches.items():
            label = BRANCH_NAMES[branch]
            axes.plot(curve.coverage, curve.risk, color=BRANCH_COLOURS[branch], label=label)
        axes.set_ylabel("share of them wrong")
        percent_axis(axes, "x")
        percent_axis(axes, "y")
        axes.set_ylim(0, max(0.25, *(1.1 * curve.risk.max() for curve in branches.values())))
        figure.legend(loc="outside upper left", ncols=3, handlelength=1.2, columnspacing=1.2)
        shown = ", ".join(f"{BRANCH_NAMES[b]} {c.area:.3f}" for b, c in branches.items())
        return to_svg(figure, "risk", f"Risk against coverage; area under the curve: {shown}.")


def sigma_curves(coverages: Mapping[str, tuple[Floats, Floats]]) -> Markup:
    """How often a box edge lies within the stated sigma, against how often it should.

    Args:
        coverages: reference box -> stated probabilities, observed shares.
    """
    with canvas(WIDTH_IN, 3.1) as figure:
        axes = figure.add_subplot(xlabel="interval that sigma states", ylabel="holds the edge")
        axes.plot([0, 1], [0, 1], color=MUTED, linewidth=0.9, linestyle=(0, (4, 3)))
        colours = (BRANCH_COLOURS["visual"], WARM)
        shown = []
        for (name, (nominal, observed)), colour in zip(coverages.items(), colours, strict=False):
            axes.plot(nominal, observed, color=colour, linewidth=1.8, label=name)
            shares = np.interp((0.68, 0.95), nominal, observed)
            axes.plot((0.68, 0.95), shares, "o", color=colour, markersize=4, clip_on=False)
            shown.append(f"against {name} 68% hold {shares[0]:.0%}, 95% hold {shares[1]:.0%}")
        figure.legend(loc="outside upper left", ncols=2, handlelength=1.2, columnspacing=1.2)
        percent_axis(axes, "x")
        percent_axis(axes, "y")
        return to_svg(figure, "sigma", f"Coverage of box edges by sigma: {'; '.join(shown)}.")
