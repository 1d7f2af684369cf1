"""The pictures that `dvc plots` shows, `results/plots/*.svg`: readable without a network."""

from collections.abc import Iterator
from contextlib import contextmanager
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.files import replace_folder
from pipeline.report.chart_style import BRANCH_NAMES, canvas
from pipeline.report.charts import draw_confusion, draw_losses, draw_reliability
from pipeline.report.figures import losses_of
from pipeline.report.results import Results
from pipeline.scores.calibration import reliability
from pipeline.scores.metrics import confusion

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PHASE_IN = 3.3
"""Width of a phase of training."""

COLUMNS = 3
"""Phases side by side."""


def write_plots(results: Results, out: Path) -> None:
    """Write `confusion.svg` and `reliability.svg` of the headline branch, and `loss.svg`.

    The same run gives the same bytes.
    """
    branch, main = results.headline, results.main
    with replace_folder(out) as part:
        with _picture(part / "confusion.svg", 5.2, 4.4) as figure:
            axes = figure.add_subplot(title=f"Test clips, {BRANCH_NAMES[branch]}")
            shades = draw_confusion(axes, branch, confusion(main), main.emotions)
            figure.colorbar(shades, ax=axes, label="share of the row", shrink=0.8)
        with _picture(part / "reliability.svg", 4.4, 4.0) as figure:
            draw_reliability(figure, branch, reliability(main))
        phases = losses_of(results.history, results.detector_history)
        columns, rows = min(COLUMNS, len(phases)) or 1, ceil(len(phases) / COLUMNS) or 1
        with _picture(part / "loss.svg", PHASE_IN * columns, 3.6 * rows) as figure:
            places = figure.subfigures(rows, columns, squeeze=False).flat
            for place, losses in zip(places, phases.values(), strict=False):
                place.suptitle(losses.title, x=0.02, ha="left", weight="bold", fontsize=9)
                draw_losses(place, losses)


@contextmanager
def _picture(path: Path, width_in: float, height_in: float) -> Iterator["Figure"]:
    """A figure that is written as SVG when the block ends; letters are paths, not fonts."""
    import matplotlib

    with canvas(width_in, height_in) as figure:
        yield figure
        with matplotlib.rc_context({"svg.hashsalt": path.stem, "svg.fonttype": "path"}):
            figure.savefig(path, metadata={"Date": None, "Creator": None})
