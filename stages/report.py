"""Stage `report`: write one self-contained page, DVC's plots and a picture for the README.

Reads `results` alone: what `fuse` and `detect` left there, and the notes on when and where the
stages ran. Writes `report.html`, `plots/*.svg` and `overview.png` beside them.
"""

import json
import time
from pathlib import Path

from pipeline.report.overview import overview_figure
from pipeline.report.page import write_report
from pipeline.report.plots import write_plots
from pipeline.report.results import read_results
from pipeline.work.occasion import git
from pipeline.work.progress import counted, print_summary
from stages.boundary import run


def main(results: Path) -> None:
    """Write the report, the plots and the overview picture of a finished run."""
    started = time.monotonic()
    finished = read_results(results, committed_test_set(results / "metrics.json"))
    page = results / "report.html"
    write_report(finished, page)
    write_plots(finished, results / "plots")
    overview_figure(finished, results / "overview.png")
    print_summary("report", f"{counted(len(finished.main), 'test clip')}, {page}", started)


def committed_test_set(metrics: Path) -> str:
    """The digest of the test clips in the committed metrics, "" where there is none."""
    text = git("show", f"HEAD:./{metrics}")
    return str(json.loads(text).get("test_set", "")) if text else ""


if __name__ == "__main__":
    run(main)
