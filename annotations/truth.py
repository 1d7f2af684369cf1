"""The ground truth that a corpus may state: face and speech of each frame."""

from dataclasses import dataclass
from pathlib import Path

from annotations.box import Box
from pipeline.files import number, read_table


@dataclass(frozen=True, slots=True)
class TrueFrame:
    """Ground truth of a source frame."""

    box: Box
    speaking: bool


def read_truth(path: Path) -> dict[int, TrueFrame]:
    """Read `frame,x1,y1,x2,y2,mouth_open,speech`: source frame numbers (0-based), px half-open.

    Raises:
        CorpusError: a column is missing or a value is not a number or not a box.
    """
    return dict(read_table(path, _true_frame, "expected frame,x1,y1,x2,y2,mouth_open,speech"))


def _true_frame(row: dict[str, str]) -> tuple[int, TrueFrame]:
    box = Box(*(number(row[side]) for side in ("x1", "y1", "x2", "y2")))
    return int(row["frame"]), TrueFrame(box, row["speech"].strip() == "1")
