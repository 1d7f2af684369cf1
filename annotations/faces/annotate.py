"""Annotate stored frames, of a clip and of a corpus: faces, the speaker, speech activity."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from annotations import voc
from annotations.box import Box
from annotations.corrections import applied, find_corrections
from annotations.faces.detection import SOURCE, Detection, detect_faces
from annotations.faces.speech import MIN_RATE_HZ, SPEAKING, Activity, speech_activity
from annotations.faces.tracks import FILLED, choose_speaker, fill_gaps
from annotations.params import AnnotateParams
from annotations.voc import Annotation, FaceObject
from pipeline.clips import ClipRecord, frame_name
from pipeline.errors import AnnotationError, CorpusError
from pipeline.files import number, read_table, write_table
from pipeline.media.images import Picture, read_gray
from pipeline.work.cache import ClipCache, Job, Products
from pipeline.work.progress import counted, listed

XML_FOLDER = "Annotations"
FRAMES_CSV = "frames.csv"
CORNERS = ("x1", "y1", "x2", "y2")
COLUMNS = ("frame", "faces", *CORNERS, "mouth_motion", "speech", "origin")
STILL = SPEAKING / 4
"""Mean mouth motion up to which faces are equally still."""
FOUND, CORRECTED = "found", "corrected"
"""Origins of a frame's annotation, beside `FILLED`."""


@dataclass(frozen=True, slots=True)
class ClipFrames:
    """What `annotate_clip` needs.

    Attributes:
        clip_id: of the clip.
        emotion: its label.
        frames: its stored frames in time order, every `frame_step`-th of the recording.
        times_s: when each is shown.
        frame_step: from one stored frame to the next, in frames of the recording.
        params: section `annotate`.
        corrections: annotations that a person has put right, by stored frame.
    """

    clip_id: str
    emotion: str
    frames: tuple[Path, ...]
    times_s: tuple[float, ...]
    frame_step: int
    params: AnnotateParams
    corrections: Mapping[int, Path]


@dataclass(frozen=True, slots=True)
class FrameSummary:
    """A row of a clip's `frames.csv`: how many faces, the speaker's box, motion and speech.

    `origin` says whether the speaker's face was looked for, filled in, or put right by a person.
    """

    frame: int
    faces: int
    box: Box | None
    mouth_motion: float
    speech: float
    origin: str


def annotate_clip(clip: ClipFrames, folder: Path) -> None:
    """Write `Annotations/<frame>.xml` for every frame and `frames.csv` into `folder`.

    A frame without a face is an annotation without objects. All faces of a frame are written; the
    speaker's is flagged primary. What a person has put right takes the place of what was found, in
    the frames that it is of.

    Raises:
        MediaError: a frame cannot be read.
        AnnotationError: a correction cannot be read.
    """
    grays = [read_gray(path) for path in clip.frames]
    corrections = {index: voc.read(path) for index, path in clip.corrections.items()}
    given = {index: _speaker_box(correction) for index, correction in corrections.items()}
    found = annotate_frames(grays, clip.times_s, clip.params, given)
    faces, origins = [], []
    for index, (path, gray) in enumerate(zip(clip.frames, grays, strict=True)):
        height, width = gray.shape
        objects = _objects(found, index, clip.emotion)
        frame = index * clip.frame_step
        annotation = Annotation(path.name, width, height, objects, source_frame=frame)
        origin = FILLED if any(item.source == FILLED for item in objects) else FOUND
        if index in corrections:
            annotation = applied(corrections[index], annotation, clip.emotion)
            origin = CORRECTED
        voc.write(folder / XML_FOLDER / f"{path.stem}.xml", annotation)
        faces.append(sum(item.is_face for item in annotation.objects))
        origins.append(origin)
    _write_summary(folder / FRAMES_CSV, faces, found, origins)


class FrameAnnotations(NamedTuple):
    """Faces of each frame, which of them is the speaker's, its box, and the speech activity.

    A frame of which a box but no face is chosen is filled in, or known beforehand.
    """

    found: list[list[Detection]]
    chosen: list[int | None]
    boxes: list[Box | None]
    activity: Activity


def annotate_frames(
    grays: Sequence[Picture],
    times_s: Sequence[float],
    params: AnnotateParams,
    given: Mapping[int, Box | None] = MappingProxyType({}),
) -> FrameAnnotations:
    """Faces, speaker and speech activity of the frames of one clip.

    Args:
        grays: F frames in gray levels [H, W], in time order.
        times_s: when each frame is shown, ascending.
        params: section `annotate`.
        given: the speaker's box in frames where it is known, None where it is known that there is
            none; it stands in place of the one that is chosen.
    """

    def activity_of(boxes: Sequence[Box | None]) -> Activity:
        return speech_activity(grays, boxes, times_s, params.speech_smoothing_s)

    def mouth_motion(boxes: Sequence[Box | None]) -> float:
        seen = [box is not None for box in boxes]
        return max(float(activity_of(boxes).motion[seen].mean()), STILL)

    found = [detect_faces(gray, params) for gray in grays]
    chosen = choose_speaker(found, mouth_motion)
    boxes = [
        None if index is None else detections[index].box
        for detections, index in zip(found, chosen, strict=True)
    ]
    for frame, box in given.items():
        boxes[frame] = box
    for frame, box in fill_gaps(boxes, params.fill_gaps).items():
        boxes[frame] = given.get(frame, box)
    return FrameAnnotations(found, chosen, boxes, activity_of(boxes))


def read_summary(folder: Path) -> list[FrameSummary]:
    """The `frames.csv` that `annotate_clip` wrote into `folder`.

    Raises:
        CorpusError: it is no such table.
    """
    return read_table(folder / FRAMES_CSV, _summary, "run `dvc repro annotate`")


def _summary(row: Mapping[str, str]) -> FrameSummary:
    return FrameSummary(
        frame=int(row["frame"]),
        faces=int(row["faces"]),
        box=Box(*(number(row[side]) for side in CORNERS)) if row["x1"] else None,
        mouth_motion=number(row["mouth_motion"]),
        speech=number(row["speech"]),
        origin=row["origin"],
    )


def _speaker_box(annotation: Annotation) -> Box | None:
    face = annotation.speaker_face
    return face.box if face else None


def _objects(found: FrameAnnotations, frame: int, emotion: str) -> tuple[FaceObject, ...]:
    chosen, box = found.chosen[frame], found.boxes[frame]
    objects = [
        FaceObject(detection.box, emotion, detection.score, SOURCE, primary=index == chosen)
        for index, detection in enumerate(found.found[frame])
        if min(detection.box.width, detection.box.height) >= voc.MIN_SIDE_PX
    ]
    if chosen is None and box is not None:
        objects.append(FaceObject(box, emotion, source=FILLED, primary=True))
    return tuple(objects)


def _write_summary(
    path: Path, faces: list[int], found: FrameAnnotations, origins: list[str]
) -> None:
    corners = [("", "", "", "") if b is None else (b.x1, b.y1, b.x2, b.y2) for b in found.boxes]
    motion, speech = found.activity.motion.round(6), found.activity.speech.round(4)
    rows = (
        (frame, count, *corners[frame], *measured, origins[frame])
        for frame, (count, *measured) in enumerate(
            zip(faces, motion.tolist(), speech.tolist(), strict=True)
        )
    )
    write_table(path, COLUMNS, (dict(zip(COLUMNS, row, strict=True)) for row in rows))


log = logging.getLogger(__name__)

Summaries = Mapping[str, Sequence[FrameSummary]]
"""Rows of `frames.csv` by clip id."""


def annotate_corpus(
    records: Sequence[ClipRecord],
    images: Path,
    corrections: Path,
    annotations: Path,
    params: AnnotateParams,
) -> tuple[dict[str, list[FrameSummary]], int]:
    """Annotate all clips that have frames and rebuild the folder of XML files.

    Args:
        records: all clips; those without frames are left out.
        images: folder of `<frame name>.jpg`.
        corrections: folder of annotations that a person has put right.
        annotations: folder to rebuild.
        params: section `annotate`.

    Returns:
        Rows of each clip's frames, in order of clip ids, and how many clips came from the cache.

    Raises:
        CorpusError: a stored frame is missing.
        AnnotationError: a correction is not usable, or a clip failed; the others are kept in the
            cache.
    """
    _warn_of_low_rates(records)
    corrected = find_corrections(corrections, records, images)
    products = annotate_clips(records, images, corrected, params)
    products.publish(annotations, XML_FOLDER)
    summaries = {clip_id: read_summary(folder) for clip_id, folder in products.folders.items()}
    return summaries, products.cached


def annotate_clips(
    records: Sequence[ClipRecord],
    images: Path,
    corrections: Mapping[str, Mapping[int, Path]],
    params: AnnotateParams,
) -> Products:
    """What `annotate_clip` writes of each clip that has frames; see `annotate_corpus`."""
    jobs = [
        _job(record, images, corrections.get(record.clip_id, {}), params)
        for record in records
        if record.has_video
    ]
    return ClipCache("annotate", annotate_clip).run(jobs, "annotate").complete(AnnotationError)


def write_speech(path: Path, summaries: Summaries) -> None:
    """Write `data/speech.csv`: `clip_id,frame,mouth_motion,speech`, one row a stored frame."""
    rows = (
        {
            "clip_id": clip_id,
            "frame": row.frame,
            "mouth_motion": row.mouth_motion,
            "speech": row.speech,
        }
        for clip_id, frames in summaries.items()
        for row in frames
    )
    write_table(path, ("clip_id", "frame", "mouth_motion", "speech"), rows)


def count_faces(summaries: Summaries) -> dict[str, float]:
    """Count what was found, and log clips without a face or with several.

    Returns:
        `clips`, `frames`, `frames_without_face`, `frames_with_several_faces`, `frames_filled`,
        `frames_corrected`, `clips_without_face`, and `found_rate`, the share of frames with a face
        (0 without frames).
    """
    frames = [row for rows in summaries.values() for row in rows]
    crowded = {
        clip_id: sum(row.faces > 1 for row in rows)
        for clip_id, rows in summaries.items()
        if any(row.faces > 1 for row in rows)
    }
    if crowded:
        log.warning(
            "several faces in frames of %s: %s; the one that moves the mouth, or else the largest "
            "steady one, is taken for the speaker, the others are marked primary=0",
            counted(len(crowded), "clip"),
            listed([f"{i} ({n} of {len(summaries[i])})" for i, n in crowded.items()]),
        )
    empty = [clip_id for clip_id, rows in summaries.items() if not any(row.faces for row in rows)]
    if empty:
        log.warning(
            "no face in any frame of %s: %s; all its frames weigh alike; try annotate.upsample",
            counted(len(empty), "clip"),
            listed(empty),
        )
    missing = sum(row.faces == 0 for row in frames)
    return {
        "clips": len(summaries),
        "frames": len(frames),
        "frames_without_face": missing,
        "frames_with_several_faces": sum(row.faces > 1 for row in frames),
        "frames_filled": sum(row.origin == FILLED for row in frames),
        "frames_corrected": sum(row.origin == CORRECTED for row in frames),
        "clips_without_face": len(empty),
        "found_rate": round(1 - missing / len(frames), 4) if frames else 0.0,
    }


def _warn_of_low_rates(records: Sequence[ClipRecord]) -> None:
    slow = [r for r in records if r.has_video and r.fps / r.frame_step < MIN_RATE_HZ]
    if slow:
        log.warning(
            "under %g stored frames a second of %s: %s; speech activity is unreliable; lower "
            "extract.frame_step",
            MIN_RATE_HZ,
            counted(len(slow), "clip"),
            listed([record.clip_id for record in slow]),
        )


def _job(
    record: ClipRecord, images: Path, corrections: Mapping[int, Path], params: AnnotateParams
) -> Job:
    frames = tuple(
        images / f"{frame_name(record.clip_id, index)}.jpg" for index in range(record.frames)
    )
    missing = next((path for path in frames if not path.is_file()), None)
    if missing is not None:
        raise CorpusError(f"{missing}: no such frame of {record.clip_id}; run `dvc repro extract`")
    clip = ClipFrames(
        record.clip_id,
        record.emotion,
        frames,
        record.times_s,
        record.frame_step,
        params,
        corrections,
    )
    return Job(record.clip_id, clip)
