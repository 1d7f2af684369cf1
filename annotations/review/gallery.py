"""What to look at first: all frames with their boxes, those most likely to be wrong in front.

Frames that follow each other and are alike share a tile, so that a corpus of 110,000 frames is
looked through in pages of a few hundred pictures. The page asks nothing of the network and works
from a folder: its index is a script, since a browser reads no JSON from `file://`.
"""

import json
import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from annotations import voc
from annotations.box import Box
from annotations.faces.tracks import FILLED
from annotations.voc import Annotation
from pipeline.clips import ClipRecord, frame_name
from pipeline.errors import AnnotationError
from pipeline.files import number, read_table, replace_folder
from pipeline.report.page import templates

REASONS = {
    "no_face": "no face",
    "several": "several faces",
    "low_score": "low score",
    "jump": "jump",
    "unsure": "detector unsure",
    "disagrees": "detector disagrees",
    "filled": "filled in",
    "corrected": "corrected",
}
"""Why to look at a frame, most pressing first, and how it is called."""

LOW_SCORE = 0.25
"""dlib's score under which a face is near its threshold, 0; a plain frontal one has 1 to 3."""

JUMP = 0.25
"""Largest move of a corner between neighbouring frames that is no jump, in widths of the face: its
grid and scales move dlib's boxes by a twelfth to a fifth where nothing moves."""

UNSURE = 0.1
"""Standard deviation of the detector's corners from which it is unsure, in widths of the face."""

DISAGREES_IOU = 0.6
"""Overlap of the annotated box and the detector's below which they disagree."""

ALIKE_IOU = 0.5
"""Overlap with the first box of a run from which a frame is alike."""


@dataclass(frozen=True, slots=True)
class Detected:
    """The best box of our detector, and its mean standard deviation in px."""

    box: Box
    sigma: float


@dataclass(frozen=True, slots=True)
class Look:
    """A frame, and why to look at it.

    `reasons` says for each key of `REASONS` that applies how bad it is, more being worse.
    """

    frame: int
    box: Box | None
    detected: Detected | None
    reasons: dict[str, float]

    @property
    def order(self) -> tuple[float, ...]:
        """Sorts the worst first."""
        ranks = [rank for rank, key in enumerate(REASONS) if key in self.reasons]
        worst = ranks[0] if ranks else len(REASONS)
        return (worst, -max(self.reasons.values(), default=0.0), -len(ranks))


@dataclass(slots=True)
class Run:
    """Frames of a clip that follow each other and are alike; one of them stands for all."""

    clip: int
    looks: list[Look] = field(default_factory=list)

    @property
    def shown(self) -> Look:
        """The worst, of equals the one in the middle."""
        middle = (len(self.looks) - 1) / 2
        worst = min(self.looks, key=lambda look: look.order)
        equals = [at for at, look in enumerate(self.looks) if look.order == worst.order]
        return self.looks[min(equals, key=lambda at: abs(at - middle))]

    def takes(self, look: Look) -> bool:
        """Whether a frame that follows is alike."""
        first = self.looks[0]
        if first.reasons.keys() != look.reasons.keys():
            return False
        if first.box is None or look.box is None:
            return first.box is look.box
        return first.box.iou(look.box) >= ALIKE_IOU


PAGE_FILES = {"index.html", "frames.js"}
"""What the page consists of."""


def write_gallery(
    out: Path,
    records: Sequence[ClipRecord],
    store: Path,
    corrected: Mapping[str, Collection[int]],
    detections: Path,
    notice: str,
) -> int:
    """Write the page.

    Args:
        out: folder to replace; `index.html` in it is the page.
        records: all clips.
        store: `data/voc`, whose pictures the page shows where they lie.
        corrected: frames that a person has put right, by clip.
        detections: `results/detector/detections.csv`; may be missing.
        notice: what a reader must know of the corpus; "" for nothing.

    Returns:
        The number of tiles.

    Raises:
        AnnotationError: an annotation is missing or not usable, or `out` holds other files.
    """
    if out.is_dir() and (others := {path.name for path in out.iterdir()} - PAGE_FILES):
        raise AnnotationError(
            f"{out}: holds {min(others)}, which the page would replace; name a new folder, or one "
            "with a gallery"
        )
    detected = read_detections(detections) if detections.is_file() else {}
    filmed = [record for record in records if record.has_video]
    runs: list[Run] = []
    for clip, record in enumerate(filmed):
        looks = looks_of(record, store, corrected.get(record.clip_id, ()), detected)
        runs += runs_of(clip, looks)
    runs.sort(key=lambda run: (*run.shown.order, run.clip, run.shown.frame))
    index = {
        "images": f"{os.path.relpath(store / 'JPEGImages', out)}/".replace(os.sep, "/"),
        "reasons": list(REASONS.values()),
        "clips": [[r.clip_id, r.speaker, r.emotion, r.width_px, r.height_px] for r in filmed],
        "runs": [_row(run) for run in runs],
    }
    page = templates().get_template("gallery.html")
    with replace_folder(out) as part:
        text = json.dumps(index, separators=(",", ":"))
        (part / "frames.js").write_text(f"const GALLERY = {text};\n", encoding="utf-8")
        html = page.render(notice=notice, has_detector=bool(detected))
        (part / "index.html").write_text(html, encoding="utf-8")
    return len(runs)


def read_detections(path: Path) -> dict[str, Detected]:
    """The best box of our detector by frame name; if a fold tests the clip, that fold's.

    Raises:
        CorpusError: it is not the table that `detect` writes.
    """
    found: dict[str, Detected] = {}
    tested: set[str] = set()
    for name, rank, split, one in read_table(path, _detected, "run `dvc repro detect`"):
        if rank == "0" and name not in tested:
            found[name] = one
            if split == "test":
                tested.add(name)
    return found


def _detected(row: dict[str, str]) -> tuple[str, str, str, Detected]:
    sides = ("x1", "y1", "x2", "y2")
    sigma = sum(number(row[f"sigma_{side}"]) for side in sides) / len(sides)
    box = Box(*(number(row[side]) for side in sides))
    name = frame_name(row["clip_id"], int(row["frame"]))
    return name, row["rank"], row["split"], Detected(box, sigma)


def looks_of(
    record: ClipRecord, store: Path, corrected: Collection[int], detected: Mapping[str, Detected]
) -> Iterator[Look]:
    """All frames of a clip, in order."""
    before: Box | None = None
    for frame in range(record.frames):
        name = frame_name(record.clip_id, frame)
        annotation = voc.read(store / "Annotations" / f"{name}.xml")
        face = annotation.speaker_face
        box = face.box if face else None
        reasons = reasons_of(annotation, before, detected.get(name))
        if frame in corrected:  # a person has looked at it
            reasons = {"corrected": 1.0}
        yield Look(frame, box, detected.get(name), reasons)
        before = box


def reasons_of(
    annotation: Annotation, before: Box | None, detected: Detected | None
) -> dict[str, float]:
    """Why to look at a frame, and how bad it is.

    Args:
        annotation: of the frame.
        before: the speaker's box in the frame before it.
        detected: what our detector says of it.
    """
    face = annotation.speaker_face
    count = sum(item.is_face for item in annotation.objects)
    reasons = {"several": float(count)} if count > 1 else {}
    if face is None:
        return {"no_face": 1.0, **reasons}
    width = face.box.width
    if face.source == FILLED:
        reasons["filled"] = 1.0
    if face.score is not None and face.score < LOW_SCORE:
        reasons["low_score"] = LOW_SCORE - face.score
    if before is not None and (move := _move(before, face.box) / width) > JUMP:
        reasons["jump"] = move
    if detected and detected.sigma > UNSURE * width:
        reasons["unsure"] = detected.sigma / width
    if detected and (iou := detected.box.iou(face.box)) < DISAGREES_IOU:
        reasons["disagrees"] = 1 - iou
    return reasons


def runs_of(clip: int, looks: Iterator[Look]) -> list[Run]:
    """Join frames that follow each other and are alike."""
    runs: list[Run] = []
    for look in looks:
        if not runs or not runs[-1].takes(look):
            runs.append(Run(clip))
        runs[-1].looks.append(look)
    return runs


def _move(before: Box, after: Box) -> float:
    """The largest move of a side, in px."""
    return max(abs(a - b) for a, b in zip(before.to_voc(), after.to_voc(), strict=True))


def _row(run: Run) -> list[object]:
    """Clip, first, last and shown frame, reasons as bits, annotated and detected corners."""
    shown = run.shown
    bits = sum(1 << rank for rank, key in enumerate(REASONS) if key in shown.reasons)
    return [
        run.clip,
        run.looks[0].frame,
        run.looks[-1].frame,
        shown.frame,
        bits,
        _corners(shown.box),
        _corners(shown.detected.box if shown.detected else None),
    ]


def _corners(box: Box | None) -> list[int] | int:
    return [round(side) for side in (box.x1, box.y1, box.x2, box.y2)] if box else 0
