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
from pipeline.report.frames import Picture, exemplary
from pipeline.report.results import Results
from pipeline.report.words import CORPORA, answer
from pipeline.scores.metrics import confusion

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import SubFigure

DPI = 160
FRAMES = 4
FOUND = "#12b8a8"
SIGMA = "#f59e0b"


def overview_figure(results: Results, path: Path) -> None:
    """Write frames with boxes, accuracies with intervals and the confusion matrix as a PNG.

    A run without frames or detector gets the other two parts.
    """
    run = results.run
    shown = [(one.clip_id, one.frame) for one in exemplary(results.detections, results.speakers)]
    known = {(one.shown.clip_id, one.shown.frame): one for one in results.pictures.values()}
    pictures = [known[key] for key in shown if key in known][:FRAMES]
    ratios = [0.9, 0.85, 1.0] if pictures else [0.85, 1.0]
    with canvas(11.6 if pictures else 8, 3.9) as figure:
        corpus = CORPORA[run.corpus.name]
        figure.supxlabel(
            f"{run.system}{', ' + answer(run) if run.scores.pooled else ''}, "
            f"protocol {run.protocol.split.protocol}, on {corpus}: "
            f"{len(results.main)} test clips",
            fontsize=9,
            color=MUTED,
        )
        grid = figure.add_gridspec(1, len(ratios), width_ratios=ratios)
        parts = [figure.add_subfigure(grid[0, column]) for column in range(len(ratios))]
        middle, right = parts[-2:]
        if pictures:
            _frames(parts[0], pictures)
        _accuracies(middle.add_subplot(), results)
        axes = right.add_subplot(title=f"What is taken for what ({BRANCH_NAMES[results.headline]})")
        draw_confusion(axes, results.headline, confusion(results.main), results.main.emotions)
        with atomic_write(path) as part:
            figure.savefig(part, format="png", dpi=DPI, metadata={"Software": None})


def _frames(figure: "SubFigure", pictures: list[Picture]) -> None:
    figure.suptitle(
        "Detected face and two sigma of its corners", x=0.02, ha="left", weight="bold", fontsize=9
    )
    grid = figure.subplots(2, 2, squeeze=False)
    for axes in grid.flat:
        axes.axis("off")
    for axes, picture in zip(grid.flat, pictures, strict=False):
        _frame(axes, picture)
        axes.set_title(picture.shown.emotion, weight="normal", pad=3)


def _frame(axes: "Axes", picture: Picture) -> None:
    from matplotlib.image import imread
    from matplotlib.patches import Ellipse, Rectangle

    axes.imshow(imread(picture.jpeg))
    axes.set(**_around_face(picture))
    if picture.shown.face:
        x1, y1, x2, y2 = picture.shown.face
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
    width, height = picture.shown.width_px, picture.shown.height_px
    side = min(2 * max(x2 - x1, y2 - y1), width, height)
    left = min(max((x1 + x2 - side) / 2, 0), width - side)
    top = min(max((y1 + y2 - side) / 2, 0), height - side)
    return {"xlim": (left, left + side), "ylim": (top + side, top)}


def _accuracies(axes: "Axes", results: Results) -> None:
    axes.set_title("Accuracy, 95% intervals")
    scores = results.run.scores
    rows = scores.branches
    for position, (branch, row) in enumerate(rows.items()):
        score = row.interval("accuracy")
        axes.bar(position, score.value, width=0.62, color=BRANCH_COLOURS[branch])
        axes.plot([position] * 2, [score.low, score.high], color=INK, linewidth=1.4)
        axes.text(position, 0.03, f"{score.value:.0%}", ha="center", color="white", weight="bold")
    axes.bar(len(rows), scores.majority, width=0.62, color="#c9cdd2")
    share = scores.majority
    axes.text(len(rows), share + 0.015, f"{share:.0%}", ha="center", color=MUTED)
    names = [BRANCH_NAMES[branch].replace(" ", "\n").replace("-", "-\n") for branch in rows]
    axes.set_xticks(range(len(rows) + 1), [*names, "majority\nclass"])
    axes.grid(axis="x", visible=False)
    percent_axis(axes, "y")
    axes.set_ylim(0, 1.04)
