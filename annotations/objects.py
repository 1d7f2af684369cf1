"""What an annotation says: an image and the objects in it."""

from dataclasses import dataclass, fields

from annotations.box import Box

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
