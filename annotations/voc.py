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
"""

import logging
import math
from dataclasses import dataclass, fields
from pathlib import Path

from lxml import etree

from annotations.box import Box
from pipeline.errors import AnnotationError
from pipeline.files import atomic_write

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
        primary: whether this is the speaker's face.
        flags: WIDER FACE's.
        truncated: 1 if the object leaves the image.
        difficult: 1 if evaluation should skip it.
        name: class; objects of other classes are kept but are no faces of ours.
        extra: further (name, value) attributes that other tools wrote, in their order.
    """

    box: Box
    emotion: str = ""
    score: float | None = None
    source: str = ""
    primary: bool = True
    flags: Flags = Flags()
    truncated: int = 0
    difficult: int = 0
    name: str = FACE
    extra: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Annotation:
    """The content of one XML file: an image and the objects in it."""

    filename: str
    width_px: int
    height_px: int
    objects: tuple[FaceObject, ...] = ()
    depth: int = 3
    folder: str = "JPEGImages"
    segmented: int = 0

    @property
    def speaker_face(self) -> FaceObject | None:
        """The largest face that is flagged primary, None if there is none."""
        faces = [item for item in self.objects if item.name == FACE and item.primary]
        return max(faces, key=lambda item: item.box.area, default=None)


__all__ = ["FACE", "Annotation", "Box", "FaceObject", "Flags", "read", "write"]

log = logging.getLogger(__name__)

MIN_SIDE_PX = 2
"""Narrower boxes are not written: gluon-cv refuses xmin = xmax."""

TYPED_ATTRIBUTES = ("emotion", "primary", "score", "source")


def write(path: Path, annotation: Annotation) -> None:
    """Write an annotation; equal annotations give equal bytes.

    Args:
        path: XML file to replace.
        annotation: its boxes have whole-pixel corners (`Box.rounded`) inside the image and are at
            least `MIN_SIDE_PX` wide and high.

    Raises:
        AnnotationError: a box or the folder's name is not as every reader needs it.
    """
    if not annotation.folder:
        raise AnnotationError(f"{path}: got an empty folder, expected a name, e.g. JPEGImages")
    root = etree.Element("annotation")
    _put(root, "folder", annotation.folder)
    _put(root, "filename", annotation.filename)
    size = etree.SubElement(root, "size")
    _put(size, "width", annotation.width_px)
    _put(size, "height", annotation.height_px)
    _put(size, "depth", annotation.depth)
    _put(root, "segmented", annotation.segmented)
    for item in annotation.objects:
        _check_writable(path, item.box, annotation)
        root.append(_object_element(item))
    with atomic_write(path) as part:
        part.write_bytes(etree.tostring(root, pretty_print=True, encoding="utf-8"))


def read(path: Path) -> Annotation:
    """Read an annotation, ours or a foreign tool's.

    Floats, 0 and W + 1 are accepted as coordinates: a box that leaves the image is clamped to it
    with a warning. DTDs and entities are refused; the network is never used.

    Raises:
        AnnotationError: no such file, not XML, a DTD, a missing element, something that is not a
            number, or corners that are not a box.
    """
    root = _parse(path)
    try:
        width, height = (_integer(root, f"size/{side}") for side in ("width", "height"))
        if width <= 0 or height <= 0:
            raise ValueError(f"size is {width}x{height}, expected more than 0 px")
        return Annotation(
            filename=_text(root, "filename"),
            width_px=width,
            height_px=height,
            objects=tuple(_read_object(path, e, width, height) for e in root.iterfind("object")),
            depth=_integer(root, "size/depth", 3),
            folder=root.findtext("folder") or "JPEGImages",
            segmented=_integer(root, "segmented", 0),
        )
    except ValueError as error:
        raise AnnotationError(f"{path}: {error}; correct or delete the file") from error


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
    stated = [("emotion", item.emotion), ("score", score), ("source", item.source)]
    return [(name, value) for name, value in stated if value] + [
        ("primary", str(int(item.primary)))
    ]


def _check_writable(path: Path, box: Box, annotation: Annotation) -> None:
    if box != box.rounded():
        raise AnnotationError(f"{path}: {box} is not in whole pixels; write box.rounded()")
    if min(box.width, box.height) < MIN_SIDE_PX:
        raise AnnotationError(f"{path}: {box} is under {MIN_SIDE_PX} px wide or high; leave it out")
    width, height = annotation.width_px, annotation.height_px
    if box.x1 < 0 or box.y1 < 0 or box.x2 > width or box.y2 > height:
        raise AnnotationError(f"{path}: {box} leaves the {width}x{height} image; clamp it")


def _parse(path: Path) -> etree._Element:
    parser = etree.XMLParser(
        resolve_entities=False,
        load_dtd=False,
        no_network=True,
        huge_tree=False,
        remove_comments=True,
        remove_pis=True,
    )
    try:
        tree = etree.fromstring(path.read_bytes(), parser).getroottree()
    except FileNotFoundError as error:
        raise AnnotationError(f"{path}: no such file; run `dvc repro annotate`") from error
    except etree.XMLSyntaxError as error:
        raise AnnotationError(f"{path}: not XML ({error}); correct or delete the file") from error
    if tree.docinfo.doctype:
        raise AnnotationError(f"{path}: got a DTD, expected plain XML; remove the DOCTYPE")
    if tree.getroot().tag != "annotation":
        raise AnnotationError(f"{path}: got <{tree.getroot().tag}>, expected VOC's <annotation>")
    return tree.getroot()


def _read_object(path: Path, element: etree._Element, width: int, height: int) -> FaceObject:
    corners = [_number(_text(element, f"bndbox/{c}"), c) for c in ("xmin", "ymin", "xmax", "ymax")]
    box = Box.from_voc(corners[0], corners[1], corners[2], corners[3])
    clamped = box.clamped(width, height)
    if clamped != box:
        log.warning("%s: %s leaves the %dx%d image; clamped", path, box, width, height)
    pairs = [
        (_text(a, "name"), a.findtext("value") or "") for a in element.iterfind("attributes/*")
    ]
    known = dict(pairs)
    return FaceObject(
        box=clamped,
        emotion=known.get("emotion", ""),
        score=_number(known["score"], "score") if known.get("score") else None,
        source=known.get("source", ""),
        primary=bool(_flag(known.get("primary", "1"), "primary")),
        flags=Flags(**{name: _read_flag(element, known, name) for name in FLAGS}),
        truncated=_integer(element, "truncated", 0),
        difficult=_integer(element, "difficult", 0),
        name=_text(element, "name"),
        extra=tuple(pair for pair in pairs if pair[0] not in (*TYPED_ATTRIBUTES, *FLAGS)),
    )


def _read_flag(element: etree._Element, known: dict[str, str], name: str) -> int:
    """An attribute, as annotation tools edit it, counts before the element of the same name."""
    text = known.get(name) or element.findtext(name) or "0"
    if name == "pose" and not text.strip().isdigit():
        return 0  # VOC's view: Unspecified, Frontal, ...
    return _flag(text, name)


def _flag(text: str, what: str) -> int:
    words = {"true": 1, "false": 0}  # CVAT's checkboxes
    word = text.strip().lower()
    return words[word] if word in words else int(_number(text, what))


def _text(element: etree._Element, tag: str) -> str:
    text = element.findtext(tag)
    if not text:
        raise ValueError(f"<{tag}> is missing or empty")
    return str(text)


def _integer(element: etree._Element, tag: str, absent: int | None = None) -> int:
    text = element.findtext(tag)
    if not text and absent is not None:
        return absent
    return _flag(_text(element, tag), f"<{tag}>")


def _number(text: str, what: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise ValueError(f"{what}: got {text!r}, expected a number")
    return value
