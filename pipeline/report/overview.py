"""One wide picture of a run, for the top of a README."""

from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.files import atomic_write
from pipeline.report.chart_style import (
    BRANCH_COLOURS,
    BRANCH_NAMES,
    INK,
    MUTED,
    canvas,
    percent_axis,
)
from pipeline.report.charts import draw_confusion
from pipeline.report.figures import interval_of
from pipeline.report.frames import Picture, exemplary
from pipeline.report.run import Run
from pipeline.report.words import CORPORA
from pipeline.scores.metrics import confusion

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import SubFigure

DPI = 160
FRAMES = 4
FOUND = "#12b8a8"
SIGMA = "#f59e0b"


def overview_figure(run: Run, path: Path) -> None:
    """Write frames with boxes, accuracies with intervals and the confusion matrix as a PNG.

    A run without frames or detector gets the other two parts.
    """
    shown = (run.picture(one.clip_id, one.frame) for one in exemplary(run.detections, run.records))
    pictures = [picture for picture in shown if picture][:FRAMES]
    ratios = [0.9, 0.85, 1.0] if pictures else [0.85, 1.0]
    with canvas(11.6 if pictures else 8, 3.9) as figure:
        corpus = CORPORA.get(run.facts.corpus, run.facts.corpus)
        figure.supxlabel(
            f"{run.facts.system}, protocol {run.facts.split.protocol}, on {corpus}: "
            f"{len(run.main)} test clips",
            fontsize=9,
            color=MUTED,
        )
        grid = figure.add_gridspec(1, len(ratios), width_ratios=ratios)
        parts = [figure.add_subfigure(grid[0, column]) for column in range(len(ratios))]
        middle, right = parts[-2:]
        if pictures:
            _frames(parts[0], run, pictures)
        _accuracies(middle.add_subplot(), run)
        axes = right.add_subplot(title=f"What is taken for what ({BRANCH_NAMES[run.headline]})")
        draw_confusion(axes, run.headline, confusion(run.main), run.main.emotions)
        with atomic_write(path) as part:
            figure.savefig(part, format="png", dpi=DPI, metadata={"Software": None})


def _frames(figure: "SubFigure", run: Run, pictures: list[Picture]) -> None:
    figure.suptitle(
        "Detected face and two sigma of its corners", x=0.02, ha="left", weight="bold", fontsize=9
    )
    grid = figure.subplots(2, 2, squeeze=False)
    for axes in grid.flat:
        axes.axis("off")
    for axes, picture in zip(grid.flat, pictures, strict=False):
        _frame(axes, picture)
        if picture.found:
            axes.set_title(run.record(picture.found.clip_id).emotion, weight="normal", pad=3)


def _frame(axes: "Axes", picture: Picture) -> None:
    from matplotlib.image import imread
    from matplotlib.patches import Ellipse, Rectangle

    axes.imshow(imread(picture.jpeg))
    axes.set(**_around_face(picture))
    if picture.annotated:
        x1, y1, x2, y2 = picture.annotated
        face = Rectangle((x1, y1), x2 - x1, y2 - y1, fill=False, edgecolor="white", linestyle="--")
        axes.add_patch(face)
    if picture.found:
        x1, y1, x2, y2 = picture.found.box
        s1, s2, s3, s4 = picture.found.sigma
        box = Rectangle((x1, y1), x2 - x1, y2 - y1, fill=False, edgecolor=FOUND, linewidth=1.8)
        axes.add_patch(box)
        # Radius of two sigma: a diameter of four.
        for corner, wide, high in (((x1, y1), 4 * s1, 4 * s2), ((x2, y2), 4 * s3, 4 * s4)):
            axes.add_patch(Ellipse(corner, wide, high, color=SIGMA, alpha=0.6, zorder=3))


def _around_face(picture: Picture) -> dict[str, tuple[float, float]]:
    """Limits of a square of twice the face's size, within the frame."""
    x1, y1, x2, y2 = picture.found.box if picture.found else (0, 0, 1e4, 1e4)
    width, height = picture.width_px, picture.height_px
    side = min(2 * max(x2 - x1, y2 - y1), width, height)
    left = min(max((x1 + x2 - side) / 2, 0), width - side)
    top = min(max((y1 + y2 - side) / 2, 0), height - side)
    return {"xlim": (left, left + side), "ylim": (top + side, top)}


def _accuracies(axes: "Axes", run: Run) -> None:
    axes.set_title("Accuracy, 95% intervals")
    rows = run.metrics["branches"]
    for position, (branch, row) in enumerate(rows.items()):
        score = interval_of(row, "accuracy")
        axes.bar(position, score.value, width=0.62, color=BRANCH_COLOURS[branch])
        axes.plot([position] * 2, [score.low, score.high], color=INK, linewidth=1.4)
        axes.text(position, 0.03, f"{score.value:.0%}", ha="center", color="white", weight="bold")
    axes.bar(len(rows), run.metrics["majority"], width=0.62, color="#c9cdd2")
    share = run.metrics["majority"]
    axes.text(len(rows), share + 0.015, f"{share:.0%}", ha="center", color=MUTED)
    names = [BRANCH_NAMES[branch].replace(" ", "\n").replace("-", "-\n") for branch in rows]
    axes.set_xticks(range(len(rows) + 1), [*names, "majority\nclass"])
    axes.grid(axis="x", visible=False)
    percent_axis(axes, "y")
    axes.set_ylim(0, 1.04)
