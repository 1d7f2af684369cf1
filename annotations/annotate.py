"""Annotate the frames of one clip: faces, the speaker among them, and speech activity."""

import csv
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from annotations import voc
from annotations.box import Box
from annotations.faces import SOURCE, Detection, choose_speaker, detect_faces
from annotations.objects import Annotation, FaceObject
from annotations.speech import Activity, speech_activity
from pipeline.clips import write_table
from pipeline.errors import AnnotationError
from pipeline.params import Section

XML_FOLDER = "Annotations"
FRAMES_CSV = "frames.csv"
COLUMNS = ("frame", "faces", "x1", "y1", "x2", "y2", "mouth_motion", "speech")


class AnnotateParams(Section):
    """Section `annotate` of `params.yaml`."""

    upsample: int = Field(ge=0, le=2)
    min_score: float = Field(ge=-1, le=3)
    speech_smoothing_s: float = Field(gt=0, le=2)


@dataclass(frozen=True, slots=True)
class ClipFrames:
    """What `annotate_clip` needs: the stored frames of a clip in time order, `rate_hz` a second."""

    clip_id: str
    emotion: str
    frames: tuple[Path, ...]
    rate_hz: float
    params: AnnotateParams


@dataclass(frozen=True, slots=True)
class FrameSummary:
    """A row of a clip's `frames.csv`: how many faces, the speaker's box, motion and speech."""

    frame: int
    faces: int
    box: Box | None
    mouth_motion: float
    speech: float


def annotate_clip(clip: ClipFrames, folder: Path) -> None:
    """Write `Annotations/<frame>.xml` for every frame and `frames.csv` into `folder`.

    A frame without a face is an annotation without objects. All faces of a frame are written; the
    speaker's is flagged primary.

    Raises:
        AnnotationError: a frame cannot be read.
    """
    grays = [_read_gray(path) for path in clip.frames]
    found = [detect_faces(g, clip.params.upsample, clip.params.min_score) for g in grays]
    chosen = choose_speaker(found)
    boxes = [
        None if index is None else detections[index].box
        for detections, index in zip(found, chosen, strict=True)
    ]
    activity = speech_activity(grays, boxes, clip.rate_hz, clip.params.speech_smoothing_s)
    for path, gray, detections, index in zip(clip.frames, grays, found, chosen, strict=True):
        objects = _objects(detections, index, clip.emotion)
        annotation = Annotation(path.name, gray.shape[1], gray.shape[0], objects)
        voc.write(folder / XML_FOLDER / f"{path.stem}.xml", annotation)
    _write_summary(folder / FRAMES_CSV, [len(detections) for detections in found], boxes, activity)


def read_summary(folder: Path) -> list[FrameSummary]:
    """The `frames.csv` that `annotate_clip` wrote into `folder`."""
    with (folder / FRAMES_CSV).open(newline="", encoding="utf-8") as stream:
        return [
            FrameSummary(
                frame=int(row["frame"]),
                faces=int(row["faces"]),
                box=Box(*(float(row[side]) for side in COLUMNS[2:6])) if row["x1"] else None,
                mouth_motion=float(row["mouth_motion"]),
                speech=float(row["speech"]),
            )
            for row in csv.DictReader(stream)
        ]


def _read_gray(path: Path) -> NDArray[np.uint8]:
    content = np.frombuffer(path.read_bytes(), np.uint8)  # cv2.imread fails on some Unicode paths
    gray = cv2.imdecode(content, cv2.IMREAD_GRAYSCALE) if content.size else None
    if gray is None:
        raise AnnotationError(f"{path}: not a readable image; run `dvc repro -f extract`")
    return np.asarray(gray, np.uint8)


def _objects(
    detections: list[Detection], chosen: int | None, emotion: str
) -> tuple[FaceObject, ...]:
    return tuple(
        FaceObject(detection.box, emotion, detection.score, SOURCE, primary=index == chosen)
        for index, detection in enumerate(detections)
        if min(detection.box.width, detection.box.height) >= voc.MIN_SIDE_PX
    )


def _write_summary(
    path: Path, faces: list[int], boxes: list[Box | None], activity: Activity
) -> None:
    corners = [("", "", "", "") if b is None else (b.x1, b.y1, b.x2, b.y2) for b in boxes]
    rows = [
        dict(zip(COLUMNS, (frame, faces[frame], *corners[frame], motion, speech), strict=True))
        for frame, (motion, speech) in enumerate(
            zip(activity.motion.round(6).tolist(), activity.speech.round(4).tolist(), strict=True)
        )
    ]
    write_table(path, COLUMNS, rows)
