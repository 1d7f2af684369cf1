"""Charts of robustness: what is left under each condition, and curves over severity."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from markupsafe import Markup

from pipeline.report.chart_style import (
    BRANCH_COLOURS,
    INK,
    MUTED,
    WARM,
    canvas,
    percent_axis,
    to_svg,
)
from pipeline.report.robustness.figures import Figures, Robustness, Tested

if TYPE_CHECKING:
    from matplotlib.axes import Axes

KIND_COLOURS = {
    "sound": BRANCH_COLOURS["audio"],
    "picture": BRANCH_COLOURS["visual"],
    "missing": MUTED,
    "attack": WARM,
}


def severest(found: Robustness) -> Markup:
    """Accuracy under the severest degree of each condition, with that of the clean clips."""
    with canvas(3.9, 0.9 + 0.27 * len(found.conditions)) as figure:
        axes = figure.add_subplot()
        for value, label in ((found.clean.accuracy, "clean"), (1 / len(found.emotions), "chance")):
            style = (0, (4, 3)) if label == "clean" else (0, (1, 2))
            text = f"{label} {value:.1%}"
            axes.axvline(value, color=MUTED, linewidth=0.9, linestyle=style, label=text)
        for y, one in enumerate(found.conditions):
            accuracy = one.severest.interval
            axes.barh(y, accuracy.value, height=0.6, color=KIND_COLOURS[one.kind], alpha=0.9)
            axes.plot([accuracy.low, accuracy.high], [y, y], color=INK, linewidth=1.2)
            axes.text(1.03, y, f"{100 * accuracy.value:.0f}", va="center")
        axes.set_yticks(range(len(found.conditions)), [one.title for one in found.conditions])
        axes.set_ylim(len(found.conditions) - 0.4, -0.6)
        axes.grid(axis="y", visible=False)
        percent_axis(axes, "x")
        axes.set_xlim(0, 1.12)
        figure.legend(loc="outside upper left", ncols=2, handlelength=1.4, columnspacing=1.4)
        shown = ", ".join(f"{one.title} {one.severest.accuracy:.0%}" for one in found.conditions)
        alt = f"Accuracy at the severest degree, {found.clean.accuracy:.0%} clean: {shown}."
        return to_svg(figure, "severest", alt)


def curves(clean: Figures, tested: Tested) -> Markup:
    """Accuracy with its interval and mean confidence over severity, and sigma where it moves."""
    steps = (clean, *tested.severities)
    with canvas(3.1, 2.9 if tested.sigma else 2.0) as figure:
        if tested.sigma:
            upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=[1.7, 1])
            _sigma(lower, steps)
        else:
            upper = lower = figure.subplots()
        places, colour = range(len(steps)), KIND_COLOURS[tested.kind]
        ends = [(one.accuracy_95.low, one.accuracy_95.high) for one in steps]
        upper.fill_between(places, *zip(*ends, strict=True), color=colour, alpha=0.15, linewidth=0)
        accuracy = [one.accuracy for one in steps]
        upper.plot(places, accuracy, "o-", color=colour, markersize=4, clip_on=False)
        confidence = [one.confidence for one in steps]
        upper.plot(places, confidence, color=INK, linewidth=1.2, linestyle=(0, (4, 2)))
        percent_axis(upper, "y")
        lower.set_xticks(places, _ticks(tested))
        lower.set_xlim(-0.2, len(steps) - 0.8)
        shown = "; ".join(
            f"{one.severity or 'clean'}: {one.accuracy:.0%} right, {one.confidence:.0%} confident"
            for one in steps
        )
        return to_svg(figure, f"curve-{tested.name}", f"{tested.title}: {shown}.")


def _ticks(tested: Tested) -> list[str]:
    """The severities, of which the last one alone names a unit that all of them share."""
    labels = [one.severity for one in tested.severities]
    _, _, unit = labels[-1].partition(" ")
    if unit and all(label.endswith(f" {unit}") for label in labels):
        labels[:-1] = [label.removesuffix(f" {unit}") for label in labels[:-1]]
    return ["clean", *(label.replace(", ", "\n").replace(" ", "\n", 1) for label in labels)]


def _sigma(axes: "Axes", steps: Sequence[Figures]) -> None:
    known = [(place, one.sigma_px) for place, one in enumerate(steps) if one.sigma_px is not None]
    axes.plot(*zip(*known, strict=True), "o-", color=MUTED, markersize=3.5)
    axes.set_ylim(0, 1.15 * max(value for _, value in known))
    axes.set_ylabel("sigma, px")
