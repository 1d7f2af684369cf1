"""Faces of a window, by the system's own detector or by dlib."""

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from annotations.box import Box
from models.device import device_of
from models.expressions.embed import embed_clip
from models.expressions.encoders import FerEncoder, ImageClassifier, load_encoder, resolve
from models.expressions.mini_xception import EXPRESSIONS
from models.expressions.params import ENCODERS
from models.faces.frames import image_tensor, sampled_frames
from models.model_card import InputParams
from models.recognition.answers import FrameFace
from models.recognition.windows import Window
from pipeline.media.images import read_gray, read_image

if TYPE_CHECKING:
    from models.faces.detector import Detections, Detector

OPINION_FRAMES = 8
"""Frames of a window whose faces are asked for their expression."""


class Looked(NamedTuple):
    """What a window shows; all empty where no face is looked for.

    `boxes` of dlib and `speech` activity of all frames; by index the `detections` and `faces` of
    the frames looked at, among them those `chosen` to answer from.
    """

    boxes: list[Box | None]
    speech: list[float]
    chosen: list[int]
    detections: "dict[int, Detections]"
    faces: dict[int, FrameFace]

    def within(self, inside: range, params: InputParams) -> "Looked":
        """The same of a part of the frames, of which every one was looked at."""
        if not self.faces:
            return self
        first = inside.start
        faces = {index - first: self.faces[index] for index in inside}
        found = {i - first: self.detections[i] for i in inside if i in self.detections}
        chosen = list(faces)
        if found and params.detector is not None:
            times_s = [face.time_s for face in faces.values()]
            chosen = sampled_frames(times_s, params.detector.frames_per_clip)
        frames = slice(inside.start, inside.stop)
        return Looked(self.boxes[frames], self.speech[frames], chosen, found, faces)


NOTHING = Looked([], [], [], {}, {})


def look(
    window: Window, detector: "Detector | None", params: InputParams, every_frame: bool
) -> Looked:
    """Faces of a window.

    Args:
        window: of a recording.
        detector: whose boxes they are; None takes those of dlib.
        params: how inputs are computed.
        every_frame: look at all stored frames, not only at those to answer from.
    """
    frames = window.frames
    if not frames:
        return NOTHING
    # imported here: a sound alone need not wait for dlib and scipy
    from annotations.faces.annotate import annotate_frames

    grays = [read_gray(path) for path in frames]
    _, _, boxes, activity = annotate_frames(grays, window.times_s, params.annotate)
    speech = activity.speech.round(4).tolist()  # as many decimals as the stage stores
    if detector is None or params.detector is None:
        dlib = {i: _face_of_box(window.times_s[i], boxes[i], speech[i]) for i in range(len(boxes))}
        return Looked(boxes, speech, list(dlib), {}, dlib)
    chosen = sampled_frames(window.times_s, params.detector.frames_per_clip)
    detections = _detect(detector, frames, chosen, params.detector.batch)
    if every_frame:
        others = [i for i in range(len(frames)) if i not in detections]
        detections |= _detect(detector, frames, others, params.detector.batch)
    faces = {i: _face(window.times_s[i], one, speech[i]) for i, one in detections.items()}
    return Looked(boxes, speech, chosen, detections, faces)


def _detect(
    detector: "Detector", frames: Sequence[Path], places: Sequence[int], batch: int
) -> "dict[int, Detections]":
    found: dict[int, Detections] = {}
    for start in range(0, len(places), batch):
        some = places[start : start + batch]
        images = [image_tensor(read_image(frames[place]), device_of(detector)) for place in some]
        found |= zip(some, detector.detect(images), strict=True)
    return found


def _face_of_box(time_s: float, box: Box | None, speech: float) -> FrameFace:
    if box is None:
        return FrameFace(time_s, None, None, 0.0, speech)
    return FrameFace(time_s, (box.x1, box.y1, box.x2, box.y2), None, 1.0, speech)


def _face(time_s: float, found: "Detections", speech: float) -> FrameFace:
    if len(found.scores) == 0:
        return FrameFace(time_s, None, None, 0.0, speech)
    box, sigma = found.boxes[0].tolist(), torch.exp(found.log_var[0] / 2).tolist()
    return FrameFace(time_s, tuple(box), tuple(sigma), float(found.scores[0]), speech)


def expressions(window: Window, looked: Looked, margin: float) -> Tensor:
    """What the packaged expression encoder, untrained for this corpus, says of the faces.

    Args:
        window: of a recording.
        looked: what it shows.
        margin: around a face, see `models.expressions.embed.crop_face`.

    Returns:
        p [F, len(EXPRESSIONS)] of at most `OPINION_FRAMES` frames that show a face.
    """
    shown = [(i, face.box) for i, face in sorted(looked.faces.items()) if face.box]
    if not shown:
        return torch.zeros(0, len(EXPRESSIONS))
    places = sampled_frames([window.times_s[i] for i, _ in shown], OPINION_FRAMES)
    frames = [
        (read_image(window.frames[i]), Box(*box)) for i, box in map(shown.__getitem__, places)
    ]
    return embed_clip(_encoder(), frames, margin)[:, -len(EXPRESSIONS) :].exp()


@cache
def _encoder() -> FerEncoder | ImageClassifier:
    return load_encoder(resolve(ENCODERS[0]))
