"""Frames as the report shows them: the picture, dlib's box, the detector's box and its sigma."""

import base64
import csv
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipeline.clips import ClipRecord
from pipeline.errors import CorpusError
from pipeline.scores.predictions import Floats

Corners = tuple[float, float, float, float]
"""x1, y1, x2, y2 in px, half-open (the convention of `annotations.voc.Box`)."""

FaceOf = Callable[[str], Corners | None]
"""The annotated face of a stored frame, by frame name; None where there is none."""

SIDES = ("x1", "y1", "x2", "y2")
REFERENCES = ("dlib", "truth")


@dataclass(frozen=True, slots=True)
class Detection:
    """The best detection of a test frame: box and sigma in px, score in [0, 1].

    `references` holds the boxes it is measured against, by name (`dlib`, `truth`), where known.
    """

    clip_id: str
    frame: int
    score: float
    box: Corners
    sigma: Corners
    references: Mapping[str, Corners]


@dataclass(frozen=True, slots=True)
class Picture:
    """A frame ready for the page; `uri` holds the JPEG itself."""

    uri: str
    jpeg: Path
    width_px: int
    height_px: int
    annotated: Corners | None
    found: Detection | None
    alt: str


def read_detections(path: Path) -> list[Detection]:
    """The best detection of each test frame in `detections.csv`, by clip and frame.

    Raises:
        CorpusError: a column is missing or holds no number.
    """
    best: dict[tuple[str, int], Detection] = {}
    with path.open(newline="", encoding="utf-8") as stream:
        rows = (row for row in csv.DictReader(stream) if row.get("split", "test") == "test")
        try:
            for row in rows:
                found = _detection(row)
                known = best.get((found.clip_id, found.frame))
                if known is None or found.score > known.score:
                    best[found.clip_id, found.frame] = found
        except (KeyError, TypeError, ValueError) as error:
            raise CorpusError(
                f"{path}: not a table of detections ({error}); run `dvc repro detect`"
            ) from error
    return [best[key] for key in sorted(best)]


def picture(
    record: ClipRecord, frame: int, jpeg: Path, face: Corners | None, found: Detection | None
) -> Picture:
    """Embed a stored frame.

    Args:
        record: the clip; gives the size in px.
        frame: stored-frame index.
        jpeg: the stored frame.
        face: the annotated face, if there is one.
        found: the detector's best box of this frame, if there is one.
    """
    uri = "data:image/jpeg;base64," + base64.b64encode(jpeg.read_bytes()).decode("ascii")
    said = [f"Speaker {record.speaker}, {record.emotion}, frame {frame}"]
    said += [f"annotated face {_words(face)}"] if face else []
    said += [f"the detector's box {_words(found.box)}"] if found else []
    alt = "; ".join(said) + "."
    return Picture(uri, jpeg, record.width_px, record.height_px, face, found, alt)


def exemplary(detections: Sequence[Detection], records: Sequence[ClipRecord]) -> list[Detection]:
    """A handful to look at: the middle one of up to six speakers and emotions, the two least sure.

    Args:
        detections: of test frames, sorted.
        records: all clips.
    """
    by_id = {record.clip_id: record for record in records}
    known = [found for found in detections if found.clip_id in by_id]
    groups: dict[str, list[Detection]] = {}
    for found in known:
        groups.setdefault(by_id[found.clip_id].speaker, []).append(found)
    chosen = [
        group[(2 * position + 1) * len(group) // (2 * len(groups))]
        for position, group in enumerate(groups.values())
    ][:6]
    unsure = sorted(known, key=lambda found: -float(np.mean(found.sigma)))
    chosen += [found for found in unsure[:4] if found not in chosen][:2]
    return chosen


def sigma_errors(detections: Iterable[Detection], reference: str) -> Floats:
    """Edge errors over their sigma, |found - reference| / sigma, shape [4 x frames that know it].

    Args:
        detections: of test frames.
        reference: `dlib` or `truth`.
    """
    errors = [
        np.abs(np.subtract(found.box, found.references[reference])) / np.maximum(found.sigma, 1e-6)
        for found in detections
        if reference in found.references
    ]
    return np.concatenate(errors) if errors else np.zeros(0)


def _detection(row: dict[str, str]) -> Detection:
    return Detection(
        row["clip_id"],
        int(row["frame"]),
        float(row["score"]),
        _corners(row, ""),
        _corners(row, "sigma_"),
        {name: _corners(row, f"{name}_") for name in REFERENCES if row.get(f"{name}_x1")},
    )


def _corners(row: dict[str, str], prefix: str) -> Corners:
    x1, y1, x2, y2 = (float(row[f"{prefix}{side}"]) for side in SIDES)
    return x1, y1, x2, y2


def _words(box: Corners) -> str:
    return " ".join(f"{side} {value:.0f}" for side, value in zip(SIDES, box, strict=True)) + " px"
