"""Annotate a whole corpus of stored frames: jobs, products, and what came out."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

from annotations.annotate import (
    XML_FOLDER,
    AnnotateParams,
    ClipFrames,
    FrameSummary,
    annotate_clip,
    read_summary,
)
from annotations.speech import MIN_RATE_HZ
from pipeline.atomic import publish
from pipeline.cache import ClipCache, Job
from pipeline.clips import ClipRecord, frame_name, write_table
from pipeline.errors import AnnotationError, CorpusError

log = logging.getLogger(__name__)

Summaries = Mapping[str, Sequence[FrameSummary]]
"""Rows of `frames.csv` by clip id."""


def annotate_corpus(
    records: Sequence[ClipRecord], images: Path, annotations: Path, params: AnnotateParams
) -> tuple[dict[str, list[FrameSummary]], int]:
    """Annotate all clips that have frames and rebuild the folder of XML files.

    Args:
        records: all clips; those without frames are left out.
        images: folder of `<frame name>.jpg`.
        annotations: folder to rebuild.
        params: section `annotate`.

    Returns:
        Rows of each clip's frames, in order of clip ids, and how many clips came from the cache.

    Raises:
        CorpusError: a stored frame is missing.
        AnnotationError: a clip failed; the others are kept in the cache.
    """
    jobs = [_job(record, images, params) for record in records if record.has_video]
    _warn_of_low_rates(records)
    cache = ClipCache("annotate", params.model_dump())
    products = cache.run(jobs, annotate_clip, desc="annotate")
    if products.rejects:
        reject, count = products.rejects[0], len(products.rejects)
        raise AnnotationError(f"{count} of {len(jobs)} clips failed, first: {reject.reason}")
    folders = [products.folders[job.clip_id] for job in jobs]
    files = [path for folder in folders for path in sorted((folder / XML_FOLDER).iterdir())]
    publish(annotations, ((path.name, path) for path in files))
    summaries = {job.clip_id: read_summary(products.folders[job.clip_id]) for job in jobs}
    return summaries, products.cached


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
        `clips`, `frames`, `frames_without_face`, `frames_with_several_faces`,
        `clips_without_face`, and `found_rate`, the share of frames with a face (0 without frames).
    """
    frames = [row for rows in summaries.values() for row in rows]
    empty_clips = 0
    for clip_id, rows in summaries.items():
        several = sum(row.faces > 1 for row in rows)
        if several:
            log.warning(
                "%s: several faces in %d of %d frames; the largest steady one is taken for the "
                "speaker, the others are marked primary=0",
                clip_id,
                several,
                len(rows),
            )
        if not any(row.faces for row in rows):
            empty_clips += 1
            log.warning(
                "%s: no face in any of %d frames, all frames weigh alike; try annotate.upsample",
                clip_id,
                len(rows),
            )
    missing = sum(row.faces == 0 for row in frames)
    return {
        "clips": len(summaries),
        "frames": len(frames),
        "frames_without_face": missing,
        "frames_with_several_faces": sum(row.faces > 1 for row in frames),
        "clips_without_face": empty_clips,
        "found_rate": round(1 - missing / len(frames), 4) if frames else 0.0,
    }


def _warn_of_low_rates(records: Sequence[ClipRecord]) -> None:
    slow = [r for r in records if r.has_video and r.fps / r.frame_step < MIN_RATE_HZ]
    if slow:
        log.warning(
            "%d clips have under %g stored frames a second, the first is %s: speech activity is "
            "unreliable; lower extract.frame_step",
            len(slow),
            MIN_RATE_HZ,
            slow[0].clip_id,
        )


def _job(record: ClipRecord, images: Path, params: AnnotateParams) -> Job:
    frames = tuple(
        images / f"{frame_name(record.clip_id, index)}.jpg" for index in range(record.frames)
    )
    missing = next((path for path in frames if not path.is_file()), None)
    if missing is not None:
        raise CorpusError(f"{missing}: no such frame of {record.clip_id}; run `dvc repro extract`")
    rate_hz = record.fps / record.frame_step
    payload = ClipFrames(record.clip_id, record.emotion, frames, rate_hz, params)
    facts = {"emotion": record.emotion, "rate_hz": rate_hz}
    return Job(record.clip_id, frames, payload, facts)
