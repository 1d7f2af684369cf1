"""The few frames that the report shows, with dlib's box, the detector's box and its sigma."""

import base64
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydantic import BaseModel, ConfigDict

from pipeline.clips import ClipRecord, frame_name
from pipeline.errors import CorpusError
from pipeline.files import number, read_table, replace_folder
from pipeline.scores.predictions import Floats, Predictions

Corners = tuple[float, float, float, float]
"""x1, y1, x2, y2 in px, half-open (the convention of `annotations.voc.Box`)."""

FaceOf = Callable[[str], Corners | None]
"""The annotated face of a stored frame, by frame name; None where there is none."""

SIDES = ("x1", "y1", "x2", "y2")
REFERENCES = ("dlib", "truth")

CLIPS_SHOWN = 4
"""Most confident right clips shown, and as many wrong ones."""


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


class ShownFrame(BaseModel):
    """A stored frame of the report: `results/frames/<name>.jpg`, `face` is dlib's box."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    clip_id: str
    frame: int
    speaker: str
    emotion: str
    width_px: int
    height_px: int
    face: Corners | None

    @property
    def name(self) -> str:
        """File stem."""
        return frame_name(self.clip_id, self.frame)


@dataclass(frozen=True, slots=True)
class Picture:
    """A frame ready for the page; `uri` holds the JPEG itself."""

    uri: str
    jpeg: Path
    shown: ShownFrame
    found: Detection | None
    alt: str


def read_detections(path: Path) -> list[Detection]:
    """The best detection of each test frame in `detections.csv`, by clip and frame.

    Raises:
        CorpusError: a column is missing or holds no number.
    """
    best: dict[tuple[str, int], Detection] = {}
    for found in read_table(path, _tested, "run `dvc repro detect`"):
        if found is None:
            continue
        known = best.get((found.clip_id, found.frame))
        if known is None or found.score > known.score:
            best[found.clip_id, found.frame] = found
    return [best[key] for key in sorted(best)]


def picture(shown: ShownFrame, folder: Path, found: Detection | None) -> Picture:
    """Embed a frame.

    Args:
        shown: the frame.
        folder: where its JPEG lies.
        found: the detector's best box of this frame, if there is one.

    Raises:
        CorpusError: the JPEG is missing.
    """
    jpeg = folder / f"{shown.name}.jpg"
    if not jpeg.is_file():
        raise CorpusError(f"{jpeg}: no such file; run `dvc repro fuse`")
    uri = "data:image/jpeg;base64," + base64.b64encode(jpeg.read_bytes()).decode("ascii")
    words = [f"Speaker {shown.speaker}, {shown.emotion}, frame {shown.frame}"]
    words += [f"annotated face {_words(shown.face)}"] if shown.face else []
    words += [f"the detector's box {_words(found.box)}"] if found else []
    return Picture(uri, jpeg, shown, found, "; ".join(words) + ".")


def publish_frames(
    out: Path,
    jpegs: Path,
    records: Sequence[ClipRecord],
    main: Predictions,
    detections: Sequence[Detection],
    face_of: FaceOf,
) -> tuple[ShownFrame, ...]:
    """Copy the frames that the report shows, so that it needs nothing but `results`.

    Args:
        out: folder to replace.
        jpegs: stored frames, `data/voc/JPEGImages`.
        records: all clips.
        main: predictions of the headline branch.
        detections: of test frames.
        face_of: dlib's box of a stored frame.
    """
    by_id = {record.clip_id: record for record in records}
    shown = {}
    for clip_id, frame in _wanted(by_id, main, detections):
        record, name = by_id[clip_id], frame_name(clip_id, frame)
        if (jpegs / f"{name}.jpg").is_file():
            shown[name] = ShownFrame(
                clip_id=clip_id,
                frame=frame,
                speaker=record.speaker,
                emotion=record.emotion,
                width_px=record.width_px,
                height_px=record.height_px,
                face=face_of(name),
            )
    with replace_folder(out) as part:
        for name in shown:
            shutil.copyfile(jpegs / f"{name}.jpg", part / f"{name}.jpg")
    return tuple(shown.values())


def _wanted(
    by_id: Mapping[str, ClipRecord], main: Predictions, detections: Sequence[Detection]
) -> list[tuple[str, int]]:
    """(clip id, frame) of the surest clips and of `exemplary` detections."""
    wanted = []
    for row in (*surest(main, right=True), *surest(main, right=False)):
        clip_id = main.clip_id[row]
        own = [found for found in detections if found.clip_id == clip_id]
        best = max(own, key=lambda found: found.score, default=None)
        if by_id[clip_id].has_video:
            wanted.append((clip_id, best.frame if best else by_id[clip_id].frames // 2))
    speakers = {clip_id: record.speaker for clip_id, record in by_id.items()}
    wanted += [(found.clip_id, found.frame) for found in exemplary(detections, speakers)]
    return wanted


def surest(predictions: Predictions, right: bool) -> list[int]:
    """Rows of the clips predicted with most confidence, among the right or the wrong ones."""
    order = np.argsort(-predictions.confidence, kind="stable")
    return [int(i) for i in order if predictions.correct[i] == right][:CLIPS_SHOWN]


def exemplary(detections: Sequence[Detection], speakers: Mapping[str, str]) -> list[Detection]:
    """A handful to look at: the middle one of up to six speakers, and the two least sure.

    Args:
        detections: of test frames, sorted.
        speakers: by clip id; detections of other clips are left out.
    """
    known = [found for found in detections if found.clip_id in speakers]
    groups: dict[str, list[Detection]] = {}
    for found in known:
        groups.setdefault(speakers[found.clip_id], []).append(found)
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


def _tested(row: dict[str, str]) -> Detection | None:
    return _detection(row) if row.get("split", "test") == "test" else None


def _detection(row: dict[str, str]) -> Detection:
    return Detection(
        row["clip_id"],
        int(row["frame"]),
        number(row["score"]),
        _corners(row, ""),
        _corners(row, "sigma_"),
        {name: _corners(row, f"{name}_") for name in REFERENCES if row.get(f"{name}_x1")},
    )


def _corners(row: dict[str, str], prefix: str) -> Corners:
    x1, y1, x2, y2 = (number(row[f"{prefix}{side}"]) for side in SIDES)
    return x1, y1, x2, y2


def _words(box: Corners) -> str:
    return " ".join(f"{side} {value:.0f}" for side, value in zip(SIDES, box, strict=True)) + " px"
