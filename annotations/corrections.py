"""Annotations that a person has put right: read, checked, and guarded against being lost.

A correction is the VOC annotation of one frame, in the folder `annotations/corrections`, which lies
in Git. It says all there is to say of that frame, other faces included; the other frames of its
clip stay as found. It belongs to a frame of the recording (`<source><frame>`), so that it holds
whichever frames `extract.frame_step` stores; one that does not say which belongs to the stored
frame that it is named after.
"""

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from annotations import voc
from annotations.voc import Annotation
from pipeline.clips import ClipRecord, frame_name
from pipeline.errors import AnnotationError
from pipeline.files import file_digest
from pipeline.media.images import read_size
from pipeline.work.progress import counted, listed

PERSON = "person"
"""Source of a box that a person drew or moved."""

log = logging.getLogger(__name__)


def find_corrections(
    folder: Path, records: Sequence[ClipRecord], images: Path
) -> dict[str, dict[int, Path]]:
    """The corrections of each clip, by stored frame; one that is of no stored frame is logged.

    Args:
        folder: of the corrections; may have sub-folders.
        records: all clips.
        images: folder of `<frame name>.jpg`.

    Raises:
        AnnotationError: one is no annotation, is of another picture, or two are of one frame.
    """
    by_id = {record.clip_id: record for record in records if record.has_video}
    found: dict[str, dict[int, Path]] = {}
    strays: list[Path] = []
    paths = sorted(folder.rglob("[!.]*.xml"))  # macOS adds ._* beside them
    for path in paths:
        annotation = voc.read(path)
        clip_id, number = split_frame_name(path.stem)
        record = by_id.get(clip_id)
        index = None if record is None else _stored_frame(record, number, annotation)
        if index is None:
            strays.append(path)
            continue
        _require_same_picture(path, annotation, images / f"{frame_name(clip_id, index)}.jpg")
        twin = found.setdefault(clip_id, {}).setdefault(index, path)
        if twin != path:
            raise AnnotationError(
                f"{path}: corrects frame {index} of {clip_id}, as {twin} does; delete one of them"
            )
    if strays:
        log.warning(
            "no frame is stored of %d of %s: %s; delete it, or set corpus and extract.frame_step "
            "back",
            len(strays),
            counted(len(paths), "correction"),
            listed([str(path) for path in strays]),
        )
    return found


def split_frame_name(name: str) -> tuple[str, int]:
    """Clip id and stored frame of a frame's name; -1 where it is not the name of a frame."""
    clip_id, _, digits = name.rpartition("_")
    if digits.isascii() and digits.isdigit() and frame_name(clip_id, int(digits)) == name:
        return clip_id, int(digits)
    return name, -1


def applied(correction: Annotation, frame: Annotation, emotion: str) -> Annotation:
    """A frame's annotation as a person put it right.

    Args:
        correction: what was put right.
        frame: the frame's own; its objects give way.
        emotion: of the clip, which is the speaker's today, and that of boxes that state none.
    """
    objects = [
        replace(
            item,
            emotion=emotion if item.primary else item.emotion or emotion,
            source=item.source or PERSON,
        )
        for item in correction.objects
    ]
    return replace(frame, objects=tuple(objects), verified=correction.verified)


def require_unedited(annotations: Path, checksums: Path) -> None:
    """Refuse edits in the product itself, which `annotate` would overwrite.

    Args:
        annotations: folder of the XML files.
        checksums: the list that was written with them; without it there is nothing to compare.

    Raises:
        AnnotationError: a file is not as it was written, or is gone.
    """
    if not checksums.is_file() or not annotations.is_dir():
        return
    written = checksums.stat().st_ctime_ns
    digests = _digests(checksums, annotations.name)
    there = {path.name: path for path in annotations.glob("*.xml")}
    edited = sorted(digests.keys() - there.keys())
    for name, path in sorted(there.items()):
        # ctime, the time of the last change of content or place, cannot be set back by a tool
        if path.stat().st_ctime_ns >= written and digests.get(name) != file_digest(path):
            edited.append(name)
    if edited:
        raise AnnotationError(
            f"{annotations}: {counted(len(edited), 'file')} edited by hand, the first is "
            f"{edited[0]}, and would be overwritten; keep what you did by "
            f"`avemo corrections import {annotations.parent}`, or drop it by deleting {checksums}"
        )


def checksums_of(store: Path) -> dict[str, str]:
    """Digests of the XML files as `annotate` wrote them into `data/voc`; empty if unknown."""
    checksums = store / "SHA256SUMS"
    return _digests(checksums, "Annotations") if checksums.is_file() else {}


def _digests(checksums: Path, folder: str) -> dict[str, str]:
    """Digests of the XML files of one folder, by name; an empty one has a note of another kind."""
    lines = checksums.read_text(encoding="utf-8").splitlines()
    listed = (line.split(f"  {folder}/", 1) for line in lines if line.endswith(".xml"))
    return {name: digest for digest, *names in listed for name in names}


def _stored_frame(record: ClipRecord, number: int, annotation: Annotation) -> int | None:
    """The stored frame that a correction is of, None where it is not stored."""
    if annotation.source_frame is not None:
        number, rest = divmod(annotation.source_frame, record.frame_step)
        number = -1 if rest else number
    return number if 0 <= number < record.frames else None


def _require_same_picture(path: Path, annotation: Annotation, image: Path) -> None:
    if Path(annotation.filename).stem != path.stem:
        raise AnnotationError(
            f"{path}: speaks of {annotation.filename}; name file and <filename> after the frame"
        )
    width, height = read_size(image)
    if (annotation.width_px, annotation.height_px) != (width, height):
        raise AnnotationError(
            f"{path}: size is {annotation.width_px}x{annotation.height_px} px, the frame's is "
            f"{width}x{height}; correct the frame as it is stored, not resized"
        )
