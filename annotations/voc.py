"""PASCAL VOC annotations on disk: reader and writer.

One file satisfies torchvision, MMDetection (`XMLDataset`, `WIDERFaceDataset`), datumaro and so
CVAT, labelImg, gluon-cv and pylabel. Three of its habits need a word:

- The flags of an object (`Flags`) are WIDER FACE's, not Everingham's. Most readers of WIDER FACE
  want them as elements, datumaro keeps only `<attributes>`: they are written in both places.
- WIDER's flag `pose` (0 typical, 1 atypical) shares its name with VOC's element `<pose>` (the view,
  `Unspecified`), without which gluon-cv fails. The element keeps VOC's meaning, the flag stands in
  `<attributes>` only. A number in the element, as WIDER's converters and datumaro's exporter write
  it, is read as the flag where the attribute is missing.
- A frame without a face is an annotation without objects.

What is read may be anybody's: it is capped before it is parsed, and either it is an annotation or
an `AnnotationError` says where it is none. `read` gives back what `write` was given, and `write`
takes what `read` gives.
"""

import logging
import math
import re
import stat
from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path

from lxml import etree

from annotations.box import Box
from pipeline.errors import AnnotationError
from pipeline.files import atomic_write
from pipeline.media.images import read_size

FACE = "face"
"""Name of the one class; emotion, score and source are attributes."""


@dataclass(frozen=True, slots=True)
class Flags:
    """WIDER FACE's flags of an object; 0 unless a person changed them."""

    blur: int = 0
    expression: int = 0
    illumination: int = 0
    occlusion: int = 0
    pose: int = 0
    invalid: int = 0


FLAGS = tuple(field.name for field in fields(Flags))


@dataclass(frozen=True, slots=True)
class FaceObject:
    """An `<object>`.

    Attributes:
        box: where it is.
        emotion: of the clip, "" if not stated.
        score: of the detector, None if a person drew the box.
        source: what made the box, e.g. `dlib_hog`, "" if not stated.
        primary: whether this is the speaker's face; None, which counts as yes, if not stated.
        flags: WIDER FACE's.
        truncated: 1 if the object leaves the image.
        difficult: 1 if evaluation should skip it.
        name: class; objects of other classes are kept but are not understood.
        extra: further (name, value) attributes that other tools wrote, in their order.
    """

    box: Box
    emotion: str = ""
    score: float | None = None
    source: str = ""
    primary: bool | None = None
    flags: Flags = Flags()
    truncated: int = 0
    difficult: int = 0
    name: str = FACE
    extra: tuple[tuple[str, str], ...] = ()

    @property
    def is_face(self) -> bool:
        """Whether its class is ours, however it is capitalised."""
        return self.name.strip().casefold() == FACE


@dataclass(frozen=True, slots=True)
class Annotation:
    """The content of one XML file: an image and the objects in it.

    `source_frame` is the frame's number in the recording, None if not stated; `verified` is what
    labelImg notes of an image that a person has looked at.
    """

    filename: str
    width_px: int
    height_px: int
    objects: tuple[FaceObject, ...] = ()
    depth: int = 3
    folder: str = "JPEGImages"
    segmented: int = 0
    source_frame: int | None = None
    verified: bool = False

    @property
    def speaker_face(self) -> FaceObject | None:
        """The largest valid face that is flagged primary, None if there is none."""
        faces = [
            item
            for item in self.objects
            if item.is_face and item.primary is not False and not item.flags.invalid
        ]
        return max(faces, key=lambda item: item.box.area, default=None)

    @property
    def is_clear(self) -> bool:
        """Whether it shows the speaker's face, or says, without any object, that there is none.

        Others, invalid ones and what is not understood may be faces: such a frame is no background.
        """
        return not self.objects or self.speaker_face is not None


__all__ = ["FACE", "Annotation", "Box", "FaceObject", "Flags", "read", "read_frame", "write"]

log = logging.getLogger(__name__)

DATABASE = "avemo"
"""Where the picture is from, as VOC's own reader asks."""

MIN_SIDE_PX = 2
"""Narrower boxes are neither written nor read: gluon-cv refuses xmin = xmax."""

MAX_SIDE_PX = 65_535
"""JPEG's largest width and height."""

MAX_BYTES = 1_000_000
"""Largest file that is parsed; ours have 1 to 2 kB a face."""

MAX_OBJECTS = 1000
"""Most objects of a file that are read; a talking head has few faces beside it."""

TYPED_ATTRIBUTES = ("emotion", "primary", "score", "source")

_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?", re.ASCII)


def write(path: Path, annotation: Annotation) -> None:
    """Write an annotation; equal annotations give equal bytes.

    Args:
        path: XML file to replace.
        annotation: its boxes have whole-pixel corners (`Box.rounded`) inside the image and are at
            least `MIN_SIDE_PX` wide and high; its texts have no blanks around.

    Raises:
        AnnotationError: a box or the folder's name is not as every reader needs it, or `read`
            would not give back the annotation.
    """
    if not annotation.folder:
        raise AnnotationError(f"{path}: got an empty folder, expected a name, e.g. JPEGImages")
    for item in annotation.objects:
        _check_writable(path, item.box, annotation)
    try:
        root = _annotation_element(annotation)
        content: bytes = etree.tostring(root, pretty_print=True, encoding="utf-8")
        again, _ = _parse(content)
    except ValueError as error:
        raise AnnotationError(f"{path}: cannot be written, {error}") from error
    if again != annotation:
        raise AnnotationError(
            f"{path}: would not be read as it is written; strip blanks around its texts, write "
            "plain numbers, and keep further attributes apart from ours"
        )
    with atomic_write(path) as part:
        part.write_bytes(content)


def read(path: Path) -> Annotation:
    """Read an annotation, ours or a foreign tool's.

    Floats, 0 and W + 1 are accepted as coordinates: a box is the smallest one in whole pixels that
    holds the stated one, clamped to the image with a warning. An object of another class is kept,
    with a warning. DTDs and entities are refused; the network is never used.

    Raises:
        AnnotationError: no such file or not one, over `MAX_BYTES` or `MAX_OBJECTS`, not XML, a
            DTD, an element that is missing, doubled or not plain text, something that is not a
            number, a file name with a path, or corners that are not a box.
    """
    content = _content(path)
    try:
        annotation, outside = _parse(content)
    except ValueError as error:
        raise AnnotationError(f"{path}: {error}; correct or delete the file") from error
    if outside:
        _warn_once(
            f"{path}: {len(outside)} of {len(annotation.objects)} boxes leave the image of "
            f"{annotation.width_px}x{annotation.height_px} px, the first is {outside[0]}; clamped"
        )
    strange = [item.name for item in annotation.objects if not item.is_face]
    if strange:
        _warn_once(
            f"{path}: {len(strange)} of {len(annotation.objects)} objects are not of class {FACE}, "
            f"the first is {_quoted(strange[0])}; they are not used, nor is a frame without "
            "another face learned from as background"
        )
    return annotation


def read_frame(folder: Path, name: str) -> Annotation:
    """Read the annotation of a stored frame, which must speak of that frame.

    Args:
        folder: `data/voc`, with `Annotations` and `JPEGImages`.
        name: of the frame, without suffix.

    Raises:
        AnnotationError: as for `read`, or file name or size are those of another picture.
        MediaError: the frame is missing or not an image.
    """
    path, image = folder / "Annotations" / f"{name}.xml", folder / "JPEGImages" / f"{name}.jpg"
    annotation = read(path)
    size = (annotation.width_px, annotation.height_px)
    for what, got, expected in (
        ("filename", _quoted(annotation.filename), repr(image.name)),
        ("size", "{}x{} px".format(*size), "{}x{} px".format(*read_size(image))),
    ):
        if got != expected:
            raise AnnotationError(
                f"{path}: {what} is {got}, the frame's is {expected}; annotate the stored frame, "
                "neither renamed nor resized"
            )
    return annotation


def _annotation_element(annotation: Annotation) -> etree._Element:
    root = etree.Element("annotation", {"verified": "yes"} if annotation.verified else {})
    _put(root, "folder", annotation.folder)
    _put(root, "filename", annotation.filename)
    source = etree.SubElement(root, "source")
    _put(source, "database", DATABASE)
    if annotation.source_frame is not None:
        _put(source, "frame", annotation.source_frame)
    size = etree.SubElement(root, "size")
    _put(size, "width", annotation.width_px)
    _put(size, "height", annotation.height_px)
    _put(size, "depth", annotation.depth)
    _put(root, "segmented", annotation.segmented)
    root.extend(_object_element(item) for item in annotation.objects)
    return root


def _put(parent: etree._Element, tag: str, value: object) -> None:
    etree.SubElement(parent, tag).text = str(value)


def _object_element(item: FaceObject) -> etree._Element:
    element = etree.Element("object")
    _put(element, "name", item.name)
    _put(element, "pose", "Unspecified")
    _put(element, "truncated", item.truncated)
    _put(element, "difficult", item.difficult)
    bndbox = etree.SubElement(element, "bndbox")
    for tag, value in zip(("xmin", "ymin", "xmax", "ymax"), item.box.to_voc(), strict=True):
        _put(bndbox, tag, int(value))
    flags = {name: str(getattr(item.flags, name)) for name in FLAGS}
    for name, text in flags.items():
        if name != "pose":
            _put(element, name, text)
    attributes = etree.SubElement(element, "attributes")
    for name, text in (*_typed_attributes(item), *flags.items(), *item.extra):
        attribute = etree.SubElement(attributes, "attribute")
        _put(attribute, "name", name)
        _put(attribute, "value", text)
    return element


def _typed_attributes(item: FaceObject) -> list[tuple[str, str]]:
    score = "" if item.score is None else repr(item.score)
    primary = "" if item.primary is None else str(int(item.primary))
    stated = [
        ("emotion", item.emotion),
        ("score", score),
        ("source", item.source),
        ("primary", primary),
    ]
    return [(name, value) for name, value in stated if value]


def _check_writable(path: Path, box: Box, annotation: Annotation) -> None:
    if box != box.rounded():
        raise AnnotationError(f"{path}: {box} is not in whole pixels; write box.rounded()")
    if min(box.width, box.height) < MIN_SIDE_PX:
        raise AnnotationError(f"{path}: {box} is under {MIN_SIDE_PX} px wide or high; leave it out")
    width, height = annotation.width_px, annotation.height_px
    if box.x1 < 0 or box.y1 < 0 or box.x2 > width or box.y2 > height:
        raise AnnotationError(f"{path}: {box} leaves the {width}x{height} image; clamp it")


def _content(path: Path) -> bytes:
    """The file's first bytes, one more than is allowed where it is too long."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):  # to open a FIFO would wait for ever
            raise AnnotationError(f"{path}: not a regular file, expected a VOC annotation")
        with path.open("rb") as stream:
            return stream.read(MAX_BYTES + 1)
    except FileNotFoundError as error:
        raise AnnotationError(f"{path}: no such file; run `dvc repro annotate`") from error
    except (OSError, ValueError) as error:  # ValueError: NUL in the name
        reason = getattr(error, "strerror", None) or error
        raise AnnotationError(f"{path}: cannot be read ({reason}); correct the name") from error


def _parse(content: bytes) -> tuple[Annotation, list[Box]]:
    """The annotation, its boxes clamped, and those of them that left the image, as stated.

    Raises:
        ValueError: it is none; where, what was got and what was expected.
    """
    root = _root(content)
    width, height = (_whole(_need(root, f"size/{side}")) for side in ("width", "height"))
    if not (0 < width <= MAX_SIDE_PX and 0 < height <= MAX_SIDE_PX):
        line = _need(root, "size/width").sourceline
        raise ValueError(f"line {line}: size is {width}x{height}, expected 1 to {MAX_SIDE_PX} px")
    elements = root.findall("object")
    if len(elements) > MAX_OBJECTS:
        raise ValueError(f"got {len(elements)} objects, expected at most {MAX_OBJECTS}")
    source_frame = _find(root, "source/frame")
    outside: list[Box] = []
    annotation = Annotation(
        filename=_filename(_need(root, "filename")),
        width_px=width,
        height_px=height,
        objects=tuple(_read_object(element, width, height, outside) for element in elements),
        depth=_whole_or(root, "size/depth", 3),
        folder=_text(_find(root, "folder")) or "JPEGImages",
        segmented=_whole_or(root, "segmented", 0),
        source_frame=None if source_frame is None else _whole(source_frame),
        verified=root.get("verified", "").strip().lower() in ("yes", "true", "1"),
    )
    return annotation, outside


def _root(content: bytes) -> etree._Element:
    if len(content) > MAX_BYTES:
        raise ValueError(f"got more than {MAX_BYTES} bytes, expected one picture's objects")
    parser = etree.XMLParser(
        resolve_entities=False,
        load_dtd=False,
        no_network=True,
        huge_tree=False,
        remove_comments=True,
        remove_pis=True,
    )
    try:
        root = etree.fromstring(content, parser)
    except etree.XMLSyntaxError as error:
        raise ValueError(f"line {error.lineno}: not XML ({_shortened(str(error.msg))})") from error
    if root.getroottree().docinfo.internalDTD is not None:
        raise ValueError("got a DTD, expected plain XML without a DOCTYPE")
    if root.tag != "annotation":
        raise _wrong(root, f"got <{_shortened(root.tag)}>, expected VOC's <annotation>")
    return root


def _read_object(
    element: etree._Element, width: int, height: int, outside: list[Box]
) -> FaceObject:
    """An object, its box clamped to the image; one that leaves it is added to `outside`."""
    pairs = [
        (_text(_need(one, "name")), _find(one, "value")) for one in element.iterfind("attributes/*")
    ]
    known = dict(pairs)
    score, primary = known.get("score"), known.get("primary")
    return FaceObject(
        box=_read_box(element, width, height, outside),
        emotion=_text(known.get("emotion")),
        score=None if score is None else _number(score),
        source=_text(known.get("source")),
        primary=None if primary is None else bool(_whole(primary)),
        flags=Flags(**{name: _read_flag(element, known, name) for name in FLAGS}),
        truncated=_whole_or(element, "truncated", 0),
        difficult=_whole_or(element, "difficult", 0),
        name=_text(_need(element, "name")),
        extra=tuple(
            (name, _text(value)) for name, value in pairs if name not in (*TYPED_ATTRIBUTES, *FLAGS)
        ),
    )


def _read_box(element: etree._Element, width: int, height: int, outside: list[Box]) -> Box:
    x1, y1, x2, y2 = (
        _number(_need(element, f"bndbox/{c}")) for c in ("xmin", "ymin", "xmax", "ymax")
    )
    try:
        box = Box.from_voc(x1, y1, x2, y2)
        clamped = box.clamped(width, height)
    except ValueError as error:
        raise _wrong(element, str(error)) from error
    if clamped != box:
        outside.append(box)
    whole = clamped.rounded()
    if min(whole.width, whole.height) < MIN_SIDE_PX:
        raise _wrong(element, f"{box} is under {MIN_SIDE_PX} px wide or high in the image")
    return whole


def _read_flag(element: etree._Element, known: dict[str, etree._Element | None], name: str) -> int:
    """An attribute, as annotation tools edit it, counts before the element of the same name."""
    stated = known.get(name)
    if stated is None:
        stated = _find(element, name)
    if stated is None or (name == "pose" and not _text(stated).isdigit()):
        return 0  # the element pose is VOC's view: Unspecified, Frontal, ...
    return _whole(stated)


def _filename(element: etree._Element) -> str:
    name = _text(element)
    if name in (".", "..") or "/" in name or "\\" in name:
        raise _wrong(element, f"filename: got {_quoted(name)}, expected a name without folders")
    return name


def _whole_or(parent: etree._Element, path: str, absent: int) -> int:
    found = _find(parent, path)
    return absent if found is None else _whole(found)


def _whole(element: etree._Element) -> int:
    """A whole number, however it is written, or one of CVAT's checkboxes."""
    words = {"true": 1, "false": 0}
    word = _text(element).lower()
    if word in words:
        return words[word]
    value = _number(element)
    if not value.is_integer():
        raise _wrong(element, f"{element.tag}: got {_quoted(word)}, expected a whole number")
    return int(value)


def _number(element: etree._Element) -> float:
    text = _text(element)
    value = float(text) if _NUMBER.fullmatch(text) else math.nan
    if not math.isfinite(value):
        raise _wrong(element, f"{element.tag}: got {_quoted(text)}, expected a number")
    return value


def _need(parent: etree._Element, path: str) -> etree._Element:
    found = _find(parent, path)
    if found is None:
        raise _wrong(parent, f"<{path}> is missing or empty")
    return found


def _find(parent: etree._Element, path: str) -> etree._Element | None:
    """The one element at `path`, None where it is missing or empty."""
    found = parent.findall(path)
    if len(found) > 1:
        raise _wrong(found[1], f"a second <{path}>, expected one")
    return found[0] if found and _text(found[0]) else None


def _text(element: etree._Element | None) -> str:
    """The text of an element without blanks around, "" for None."""
    if element is None:
        return ""
    if len(element):
        inner = _shortened(str(element[0].tag))
        raise _wrong(element, f"<{element.tag}> holds <{inner}>, expected plain text")
    return (element.text or "").strip()


def _wrong(element: etree._Element, message: str) -> ValueError:
    return ValueError(f"line {element.sourceline}: {message}")


def _quoted(text: str) -> str:
    return repr(_shortened(text))


def _shortened(text: str) -> str:
    return text if len(text) <= 60 else f"{text[:57]}..."


@cache
def _warn_once(message: str) -> None:
    """Log a warning, once a process: training reads files again and again."""
    log.warning("%s", message)
