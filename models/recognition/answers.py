"""What a model says of a recording."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, TypeVar

AROUND_S = 2.0
"""Length of the stretch around each moment of a timeline, s."""

HOP_S = 0.5
"""Time between two moments of a timeline, s."""


@dataclass(frozen=True, slots=True)
class FrameFace:
    """The best face of a frame.

    Attributes:
        time_s: when the frame is shown, on the clock of `pipeline.clips.ClipRecord`.
        box: x1, y1, x2, y2 in px of the frame, half-open; None without a face.
        sigma: standard deviation of each corner coordinate, px; None where none is predicted.
        score: of the detector in [0, 1]; 1 for a box of dlib, 0 without a face.
        speech: how likely the mouth speaks, in [0, 1]: visual speech activity of dlib's face.
    """

    time_s: float
    box: tuple[float, float, float, float] | None
    sigma: tuple[float, float, float, float] | None
    score: float
    speech: float


@dataclass(frozen=True, slots=True)
class WindowAnswer:
    """What the model says of a stretch of the recording: branch, p by emotion, notes."""

    start_s: float
    end_s: float
    branch: str
    probabilities: dict[str, float]
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Moment:
    """What the model says of the `AROUND_S` around a moment, within its window: p by emotion."""

    time_s: float
    probabilities: dict[str, float]


@dataclass(frozen=True, slots=True)
class Recognition:
    """What the model says of a recording.

    Attributes:
        file: the recording.
        duration_s: to the end of picture or sound, whichever is later.
        fps: frames per second of the source, their mean; 0 where no picture is looked at.
        width_px: of its frames; 0 where no picture is looked at.
        height_px: of its frames.
        has_sound: whether there is sound that is more than silence.
        emotion: the likeliest one.
        confidence: its calibrated probability, the mean over windows.
        runner_up: the second likeliest emotion.
        abstains: whether the confidence is below `predict.abstain_below`.
        branch: that answered: `av`, `audio` or `visual`, in most windows.
        probabilities: by emotion.
        face_share: share of the frames looked at that show a face; None where none is looked at.
        windows: equal parts in time order; one for a clip of at most `pack.window_s`.
        timeline: answers around moments `HOP_S` apart; empty unless asked for.
        faces: of the frames looked at, in time order.
        face_finder: whose boxes these are: `detector` or `dlib`; "" where no face is looked for.
        face_opinion: p by expression, a second opinion on which the answer does not rest: of a
            network that learned from photographs, not calibrated, mean over the faces that dlib
            found. Empty where the system itself looks at the picture, or no face was found.
        notes: what was missing, in words.
    """

    file: str
    duration_s: float
    fps: float
    width_px: int
    height_px: int
    has_sound: bool
    emotion: str
    confidence: float
    runner_up: str
    abstains: bool
    branch: str
    probabilities: dict[str, float]
    face_share: float | None
    windows: tuple[WindowAnswer, ...]
    timeline: tuple[Moment, ...]
    faces: tuple[FrameFace, ...]
    face_finder: Literal["detector", "dlib", ""]
    face_opinion: dict[str, float]
    notes: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """As plain values."""
        return asdict(self)


Timed = TypeVar("Timed", Moment, FrameFace)


def unbroken(points: Sequence[Timed], gap_s: float) -> Iterator[list[Timed]]:
    """Runs of moments or frames of which none is further than `gap_s` from the one before."""
    run: list[Timed] = []
    for point in points:
        if run and point.time_s - run[-1].time_s > gap_s:
            yield run
            run = []
        run.append(point)
    if run:
        yield run
