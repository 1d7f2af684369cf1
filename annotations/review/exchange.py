"""Frames to annotation tools and back: what is to be looked at, and what was put right.

labelImg, CVAT, datumaro and Label Studio read and write VOC, and each loses something on the way:
attributes, frames without a box, whole pixels. So what comes back is compared with what `annotate`
says of the same frame; what a tool dropped is taken from there, and only a frame that then differs
is a correction.
"""

import re
import shutil
import tempfile
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from annotations import voc
from annotations.box import Box, matched
from annotations.corrections import PERSON, checksums_of, find_corrections, split_frame_name
from annotations.faces.annotate import XML_FOLDER, annotate_clips
from annotations.faces.tracks import SAME_FACE_IOU
from annotations.labels import cvat_labels, write_labelmap
from annotations.params import AnnotateParams
from annotations.voc import FACE, Annotation, FaceObject, Flags
from pipeline.clips import ClipRecord
from pipeline.errors import AnnotationError
from pipeline.files import atomic_write, file_digest, replace_folder

TOLERANCE_PX = 1.0
"""Corners that differ by less were not moved: tools round, and count pixels from 0 or from 1."""

MAX_FILES = 1_000_000
MAX_LIST_BYTES = 100_000_000
"""Most files, and longest list, of an archive that are unpacked."""

_UPLOAD = re.compile(r"[0-9a-f]{8}-")
"""What Label Studio puts before the name of an uploaded picture."""


@dataclass(frozen=True, slots=True)
class Import:
    """What came back.

    Attributes:
        changes: what was put right, in words, by frame.
        same: frames that came back as they went out.
        strays: files of frames that are not stored; they were left out.
    """

    changes: dict[str, str]
    same: int
    strays: list[str]


def export_frames(names: Sequence[str], store: Path, out: Path) -> None:
    """Write frames with their annotations as labelImg and CVAT open them.

    Args:
        names: of frames.
        store: `data/voc`.
        out: folder to make, or a `.zip`: `JPEGImages`, `Annotations`, `ImageSets/Main`,
            `labelmap.txt`, `classes.txt` (for labelImg) and `cvat_labels.json`.

    Raises:
        AnnotationError: no names, a frame that is not stored, or `out` is there already.
    """
    missing = [name for name in names if not (store / XML_FOLDER / f"{name}.xml").is_file()]
    if not names or missing:
        got = f"{len(missing)} of no stored frame, the first is {missing[0]}" if names else "none"
        raise AnnotationError(f"names of frames: {got}; expected some of {store / XML_FOLDER}")
    if out.exists():
        raise AnnotationError(f"{out}: is there already; name a new folder or .zip")
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "voc"
        for kind, suffix in ((XML_FOLDER, ".xml"), ("JPEGImages", ".jpg")):
            (folder / kind).mkdir(parents=True)
            for name in names:
                shutil.copyfile(store / kind / f"{name}{suffix}", folder / kind / f"{name}{suffix}")
        lists = folder / "ImageSets" / "Main"
        lists.mkdir(parents=True)
        (lists / "default.txt").write_text("".join(f"{name}\n" for name in names), "utf-8")
        (folder / "classes.txt").write_text(f"{FACE}\n", "utf-8")
        (folder / "cvat_labels.json").write_text(cvat_labels(), "utf-8")
        write_labelmap(folder / "labelmap.txt")
        if out.suffix == ".zip":
            with atomic_write(out) as part:
                shutil.move(shutil.make_archive(str(folder), "zip", folder), part)
        else:
            with replace_folder(out) as part:
                shutil.copytree(folder, part, dirs_exist_ok=True)


def import_corrections(
    source: Path,
    store: Path,
    corrections: Path,
    records: Sequence[ClipRecord],
    params: AnnotateParams,
) -> Import:
    """Keep what was put right in frames that come back; all of it or, after an error, nothing.

    A frame that is listed in `ImageSets` and has no XML shows no face: so datumaro, and CVAT by it,
    write it.

    Args:
        source: folder or `.zip` that a tool wrote; or `data/voc` itself, edited in place, which is
            then left for `annotate` to overwrite.
        store: `data/voc`.
        corrections: folder that the corrections go to.
        records: all clips.
        params: section `annotate`.

    Raises:
        AnnotationError: there is nothing to read, or an XML file is not usable.
    """
    in_place = source.resolve() in {store.resolve(), (store / XML_FOLDER).resolve()}
    stored = {r.clip_id: r for r in records if r.has_video}
    with _opened(store if in_place else source) as folder:
        written = checksums_of(store) if in_place else {}
        returned, strays = _read_returned(folder, source, stored, written)
    clip_ids = {split_frame_name(name)[0] for name in returned}
    images = store / "JPEGImages"
    known = find_corrections(corrections, records, images)
    ours = annotate_clips([stored[i] for i in sorted(clip_ids)], images, known, params).folders
    changed: dict[Path, Annotation] = {}
    changes: dict[str, str] = {}
    for name, theirs in returned.items():
        clip_id, index = split_frame_name(name)
        frame = voc.read(ours[clip_id] / XML_FOLDER / f"{name}.xml")
        right = merged(theirs or replace(frame, objects=()), frame, stored[clip_id].emotion)
        if right != frame:
            path = known.get(clip_id, {}).get(index)
            path = path or _new_file(corrections, name, stored[clip_id].frame_step)
            changed[path] = replace(right, filename=f"{path.stem}.jpg")
            changes[name] = _difference(right, frame)
    for path, annotation in changed.items():
        voc.write(path, annotation)
    if in_place:
        (store / "SHA256SUMS").unlink(missing_ok=True)
    return Import(changes, len(returned) - len(changes), strays)


def _new_file(corrections: Path, name: str, frame_step: int) -> Path:
    """Where a first correction goes; the name may be taken, of a frame at another `frame_step`."""
    path = corrections / f"{name}.xml"
    return corrections / f"frame_step_{frame_step}" / path.name if path.exists() else path


def merged(theirs: Annotation, ours: Annotation, emotion: str) -> Annotation:
    """What a frame's annotation is after a tool: theirs, and of ours what the tool dropped.

    Args:
        theirs: as it came back.
        ours: as it went out.
        emotion: of the clip, for a new face.

    Returns:
        `ours` where nothing was changed. Boxes follow in the order of ours, new ones after them.

    Raises:
        AnnotationError: they are of pictures of different sizes.
    """
    if (theirs.width_px, theirs.height_px) != (ours.width_px, ours.height_px):
        raise AnnotationError(
            f"{theirs.filename}: came back at {theirs.width_px}x{theirs.height_px} px, went out at "
            f"{ours.width_px}x{ours.height_px}; correct frames as they are stored, not resized"
        )
    pairs = matched(_boxes(theirs), _boxes(ours), SAME_FACE_IOU)
    known = {pairs[i]: _known(theirs.objects[i], ours.objects[pairs[i]]) for i in sorted(pairs)}
    new = [
        replace(item, emotion=item.emotion or emotion, score=None, source=item.source or PERSON)
        for i, item in enumerate(theirs.objects)
        if i not in pairs
    ]
    if _lost(known, ours):  # then whose face another one is stands open, unless the tool says so
        unsaid = {
            pairs[i] for i, item in enumerate(theirs.objects) if i in pairs and item.primary is None
        }
        known = {i: replace(one, primary=None) if i in unsaid else one for i, one in known.items()}
        new = [item if item.primary else replace(item, primary=None) for item in new]
    objects = _with_speaker([*(known[i] for i in sorted(known)), *new])
    return replace(ours, objects=objects, verified=theirs.verified or ours.verified)


def _known(theirs: FaceObject, ours: FaceObject) -> FaceObject:
    """A face that went out and came back; a box that was moved has neither score nor source."""
    corners = zip(theirs.box.to_voc(), ours.box.to_voc(), strict=True)
    stayed = all(abs(a - b) <= TOLERANCE_PX for a, b in corners)
    dropped = not theirs.source and theirs.flags == Flags()
    return FaceObject(
        box=ours.box if stayed else theirs.box,
        emotion=theirs.emotion or ours.emotion,
        score=ours.score if stayed else None,
        source=ours.source if stayed else PERSON,
        primary=ours.primary if theirs.primary is None else theirs.primary,
        flags=ours.flags if dropped else theirs.flags,
        # labelImg works it out from the borders of the picture
        truncated=ours.truncated if dropped and stayed else theirs.truncated,
        difficult=theirs.difficult,
        name=ours.name if theirs.is_face else theirs.name,
        extra=ours.extra if dropped else _without_tools(theirs.extra),
    )


def _without_tools(extra: tuple[tuple[str, str], ...]) -> tuple[tuple[str, str], ...]:
    """Attributes less those that CVAT and datumaro add to every box."""
    tools = ("occluded", "rotation", "track_id", "keyframe", "outside", "truncated", "difficult")
    return tuple((name, value) for name, value in extra if name not in tools)


def _lost(known: Mapping[int, FaceObject], ours: Annotation) -> bool:
    """Whether the speaker's face went out, and came back removed or marked as none."""
    return any(
        _is_valid(face) and face.primary and not (i in known and _is_valid(known[i]))
        for i, face in enumerate(ours.objects)
    )


def _is_valid(item: FaceObject) -> bool:
    return item.is_face and not item.flags.invalid


def _with_speaker(objects: Sequence[FaceObject]) -> tuple[FaceObject, ...]:
    """Say of each face whose it is: the speaker's, if no valid one is, the largest left open."""
    left_open = [item for item in objects if _is_valid(item) and item.primary is None]
    speaker = max(left_open, key=lambda item: item.box.area, default=None)
    if any(_is_valid(item) and item.primary for item in objects):
        speaker = None
    return tuple(
        replace(item, primary=item is speaker)
        if item.primary is None or (speaker is not None and item is not speaker)
        else item
        for item in objects
    )


def _difference(new: Annotation, old: Annotation) -> str:
    """How an annotation was changed, in words."""
    if old.objects and not new.objects:
        return "no face"
    pairs = matched(_boxes(new), _boxes(old), SAME_FACE_IOU)
    both = [(new.objects[a], old.objects[b]) for a, b in pairs.items()]
    counts = {
        "moved": sum(a.box != b.box for a, b in both),
        "with other attributes": sum(a.box == b.box and a != b for a, b in both),
        "added": len(new.objects) - len(pairs),
        "removed": len(old.objects) - len(pairs),
    }
    words = [f"{count} {what}" for what, count in counts.items() if count]
    return ", ".join([*words, "verified"] if new.verified and not old.verified else words)


def _boxes(annotation: Annotation) -> list[Box]:
    return [item.box for item in annotation.objects]


@contextmanager
def _opened(source: Path) -> Iterator[Path]:
    """A folder, or one that holds what an archive does of annotations and lists."""
    if source.is_dir():
        yield source
        return
    with tempfile.TemporaryDirectory() as folder:
        _unpack(source, Path(folder))
        yield Path(folder)


def _unpack(source: Path, folder: Path) -> None:
    caps = {".xml": voc.MAX_BYTES, ".txt": MAX_LIST_BYTES}
    try:
        with zipfile.ZipFile(source) as archive:
            chosen = [one for one in archive.infolist() if Path(one.filename).suffix in caps]
            large = [one for one in chosen if one.file_size > caps[Path(one.filename).suffix]]
            if large or len(chosen) > MAX_FILES:
                first = large[0].filename if large else f"{len(chosen)} files"
                raise AnnotationError(f"{source}: {first}: too large; expected VOC annotations")
            archive.extractall(folder, chosen)  # which keeps every name inside the folder
    # the last two: encrypted, and packed in a way that zipfile does not know
    except (OSError, zipfile.BadZipFile, RuntimeError, NotImplementedError) as error:
        raise AnnotationError(
            f"{source}: neither a folder nor a readable .zip ({error}); expected what a tool wrote"
        ) from error


def _read_returned(
    folder: Path, source: Path, stored: Mapping[str, ClipRecord], written: Mapping[str, str]
) -> tuple[dict[str, Annotation | None], list[str]]:
    """Annotations by frame, None for one without, and files of no stored frame.

    `written` has the digests that `annotate` noted of the files that were edited in place: those
    that are as it wrote them say nothing, and one that is gone shows no face. Else a frame that
    is listed only shows none.
    """
    returned: dict[str, Annotation | None] = {}
    strays: list[str] = []
    for path in sorted(folder.rglob("[!.]*.xml")):  # macOS adds ._* to archives
        if written and written.get(path.name) == file_digest(path):
            continue
        shown = f"{source}/{path.relative_to(folder)}"
        try:
            annotation = voc.read(path)
        except AnnotationError as error:
            raise AnnotationError(str(error).replace(str(path), shown)) from error
        stems = (path.stem, Path(annotation.filename).stem)
        names = [name for stem in stems for name in (stem, _UPLOAD.sub("", stem, count=1))]
        name = next((name for name in names if _is_stored(name, stored)), None)
        if name is None:
            strays.append(shown)
        elif name in returned:
            raise AnnotationError(f"{shown}: a second annotation of {name}; delete one of them")
        else:
            _require_same_frame(shown, name, annotation, stored)
            returned[name] = annotation
    gone = [Path(one).stem for one in written if not (folder / XML_FOLDER / one).is_file()]
    returned |= {name: None for name in gone if _is_stored(name, stored)}
    for path in [] if written else sorted(folder.rglob("ImageSets/Main/*.txt")):
        for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
            name = _listed(line)
            if name not in returned and _is_stored(name, stored):
                returned[name] = None
    if not returned and not written:
        raise AnnotationError(
            f"{source}: no annotation of a stored frame ({len(strays)} of others); expected VOC's "
            "Annotations/*.xml, named after the frames"
        )
    return returned, strays


def _require_same_frame(
    shown: str, name: str, annotation: Annotation, stored: Mapping[str, ClipRecord]
) -> None:
    """Refuse an annotation of another frame of the recording than the one that has its name now."""
    clip_id, index = split_frame_name(name)
    now = index * stored[clip_id].frame_step
    if annotation.source_frame not in (None, now):
        raise AnnotationError(
            f"{shown}: of frame {annotation.source_frame} of the recording, while {name} is now "
            f"frame {now}: extract.frame_step was another; import it at that frame_step"
        )


def _listed(line: str) -> str:
    """The frame of a line of a list; datumaro quotes a name with blanks."""
    quoted = re.match(r'\s*"([^"]+)"', line)
    return quoted[1] if quoted else re.sub(r"\s+-?[01]\s*$", "", line).strip()


def _is_stored(name: str, stored: Mapping[str, ClipRecord]) -> bool:
    clip_id, index = split_frame_name(name)
    return clip_id in stored and 0 <= index < stored[clip_id].frames
