"""`results/detector/detections.csv`: each detection beside dlib's box and the true one."""

import csv
from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
from torch import Tensor

from annotations.voc import Box
from models.detect_fold import FoldTask
from models.detection_data import Frame
from pipeline.errors import CorpusError

SIDES = ("x1", "y1", "x2", "y2")
REFERENCES = ("dlib", "truth")
DETECTION_COLUMNS = (
    *("fold", "split", "clip_id", "frame", "rank", "score", "label"),
    *SIDES,
    *(f"sigma_{side}" for side in SIDES),
    *(f"{reference}_{side}" for reference in REFERENCES for side in SIDES),
)
"""One row a detection; `rank` 0 is the frame's best; px; a reference that is unknown is empty."""


def detection_rows(
    task: FoldTask, frame: Frame, faces: Mapping[str, Tensor], known: Mapping[str, Box | None]
) -> Iterator[dict[str, object]]:
    """Rows of one frame.

    Args:
        task: names the fold, its split and the classes.
        frame: the frame.
        faces: its rows of `models.detect_fold.all_detections`, best first.
        known: reference boxes of the frame by name.
    """
    references = {
        f"{name}_{side}": _text(getattr(box, side))
        for name, box in known.items()
        if box is not None
        for side in SIDES
    }
    for rank, score in enumerate(faces["scores"].tolist()):
        box = dict(zip(SIDES, map(_text, faces["boxes"][rank].tolist()), strict=True))
        sigma = {
            f"sigma_{side}": _text(value)
            for side, value in zip(SIDES, faces["sigma"][rank].tolist(), strict=True)
        }
        yield {
            "fold": task.fold.name,
            "split": "test" if frame.clip_id in task.fold.test else "train",
            "clip_id": frame.clip_id,
            "frame": frame.index,
            "rank": rank,
            "score": f"{score:.4f}",
            "label": task.classes[int(faces["label"][rank]) - 1],
            **box,
            **sigma,
            **references,
        }


def read_truth(path: Path, frame_step: int) -> dict[int, Box]:
    """True face boxes by stored-frame index; empty where the corpus states none.

    Args:
        path: `data/truth/<clip id>.csv`, numbered by source frame.
        frame_step: source frames per stored frame.

    Raises:
        CorpusError: the file is not a table of boxes.
    """
    if not path.is_file():
        return {}
    with path.open(newline="", encoding="utf-8") as stream:
        try:
            return {
                int(row["frame"]) // frame_step: Box(*(float(row[side]) for side in SIDES))
                for row in csv.DictReader(stream)
                if int(row["frame"]) % frame_step == 0
            }
        except (KeyError, ValueError) as error:
            raise CorpusError(
                f"{path}: not a truth table ({error!r}); expected columns frame,x1,y1,x2,y2"
            ) from error


def box_tensor(box: Box) -> Tensor:
    """Corners as float32 [4], px."""
    return torch.tensor([box.x1, box.y1, box.x2, box.y2])


def _text(value: float) -> str:
    return f"{value:.2f}"
