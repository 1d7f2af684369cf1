"""Faces linked over time, and which of them is the speaker's."""

from collections.abc import Callable, Sequence
from dataclasses import astuple, dataclass
from itertools import pairwise

from annotations.box import Box, matched
from annotations.faces.detection import Detection

SAME_FACE_IOU = 0.3
"""Overlap from which boxes of different frames belong to one face. dlib places boxes on a grid of
about a twelfth of their width, and a talking head moves by less than half a face between frames."""

SAME_SIZE = 0.5
"""Smallest side ratio at which a face seen after a cut, or beside, may be the speaker's."""

FILLED = "filled"
"""Source of a box that stands where the face was missed between two frames that show it."""

TALKS_MORE = 2.0
"""Ratio of mouth motions from which a smaller face talks and the larger one beside it listens."""


@dataclass(slots=True)
class Track:
    """One face over time: (frame, index among the frame's detections), and its last box."""

    members: list[tuple[int, int]]
    last: Box
    area: float

    def add(self, frame: int, index: int, box: Box) -> None:
        """Append the face's box of a later frame."""
        self.members.append((frame, index))
        self.last = box
        self.area += box.area

    @property
    def mean_side(self) -> float:
        """Side of a square of the track's mean area, in pixels."""
        return float((self.area / len(self.members)) ** 0.5)

    def overlaps(self, other: "Track") -> bool:
        """Whether the spans of the two tracks share a frame."""
        first, last = self.members[0][0], self.members[-1][0]
        return first <= other.members[-1][0] and other.members[0][0] <= last

    def rivals(self, larger: "Track") -> bool:
        """Whether it is seen beside another face, of similar size and for half as long at least."""
        return (
            self is not larger
            and self.overlaps(larger)
            and self.mean_side >= SAME_SIZE * larger.mean_side
            and 2 * len(self.members) >= len(larger.members)
        )


def choose_speaker(
    frames: Sequence[Sequence[Detection]], mouth_motion: Callable[[Sequence[Box | None]], float]
) -> list[int | None]:
    """Choose the speaker's face in each frame by mouth motion, size and temporal continuity.

    Boxes are linked over time where they overlap, also across frames without a face. The face
    with the largest area summed over the clip is the speaker's, unless one of similar size beside
    it moves the mouth far more; after a cut or a jump further faces of similar size continue it
    where no chosen face is present.

    Args:
        frames: detections of each frame of one clip, in time order.
        mouth_motion: mean mouth motion, above 0, of the face that has these boxes in the frames,
            None where it is not seen; asked for where faces are seen beside each other.

    Returns:
        Index of the speaker's face among each frame's detections, None where it is not found.
    """
    tracks = sorted(_link(frames), key=lambda track: (-track.area, track.members))
    chosen: list[Track] = []

    def may_follow(track: Track) -> bool:
        alone = not any(track.overlaps(other) for other in chosen)
        return not chosen or (alone and track.mean_side >= SAME_SIZE * chosen[0].mean_side)

    def motion(track: Track) -> float:
        boxes: list[Box | None] = [None] * len(frames)
        for frame, index in track.members:
            boxes[frame] = frames[frame][index].box
        return mouth_motion(boxes)

    for track in tracks:
        if may_follow(track):
            rivals = [other for other in tracks if may_follow(other) and other.rivals(track)]
            talker = max(rivals, key=motion, default=track)
            talks = rivals and motion(talker) >= TALKS_MORE * motion(track)
            chosen.append(talker if talks else track)
    path: list[int | None] = [None] * len(frames)
    for track in chosen:
        for frame, index in track.members:
            path[frame] = index
    return path


def fill_gaps(boxes: Sequence[Box | None], longest: int) -> dict[int, Box]:
    """Boxes for frames in which a face was missed, on straight lines between its neighbours.

    Args:
        boxes: of one face in each frame, None where it was not found.
        longest: most frames of a gap that is filled, between boxes that overlap as one face's do.

    Returns:
        Whole-pixel boxes by frame, of the filled frames alone.
    """
    filled: dict[int, Box] = {}
    seen = [frame for frame, box in enumerate(boxes) if box is not None]
    for first, last in pairwise(seen):
        before, after = boxes[first], boxes[last]
        if before is None or after is None or before.iou(after) < SAME_FACE_IOU:
            continue
        for frame in range(first + 1, last) if last - first - 1 <= longest else ():
            share = (frame - first) / (last - first)
            corners = zip(astuple(before), astuple(after), strict=True)
            filled[frame] = Box(*(float(round(a + share * (b - a))) for a, b in corners))
    return filled


def _link(frames: Sequence[Sequence[Detection]]) -> list[Track]:
    """Tracks of all faces: each frame's best-overlapping pairs are joined first."""
    tracks: list[Track] = []
    for frame, detections in enumerate(frames):
        boxes = [detection.box for detection in detections]
        known = matched([track.last for track in tracks], boxes, SAME_FACE_IOU)
        for t, d in known.items():
            tracks[t].add(frame, d, boxes[d])
        for d in sorted(set(range(len(boxes))) - set(known.values())):
            tracks.append(Track([(frame, d)], boxes[d], boxes[d].area))
    return tracks
