"""A recording with what a model says of it drawn in, and a timeline of its scores below.

Sizes are in em, the height of the text, which follows the size of the picture.
"""

import math
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import matplotlib
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from models.recognition.answers import HOP_S, FrameFace, Moment, Recognition, WindowAnswer, unbroken
from pipeline.errors import MediaError
from pipeline.media.images import Picture
from pipeline.media.stream import read_frames, write_film
from pipeline.report.chart_style import BRANCH_NAMES

SMALLEST_PX, LARGEST_PX = 480, 1920
"""Least shorter and most longer side of the picture: smaller ones are enlarged to be legible."""

BLANK_PX = (960, 270)
"""Ground in place of the picture of a sound file."""

BLANK_FPS = 25.0
FASTEST_FPS = 60.0

Colour = tuple[int, int, int]
INK, MUTED, GRID, SAND, PAPER = (
    (29, 39, 51), (102, 113, 125), (231, 228, 221), (247, 246, 242), (255, 255, 255),
)  # fmt: skip
FOUND, SIGMA, LEADING, OTHER = (18, 184, 168), (245, 158, 11), (13, 112, 104), (160, 171, 182)

SUBPIXEL = 4
"""Binary digits after the point in coordinates of OpenCV's antialiased shapes."""

TICKS_S = (0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200)


class _Layout(NamedTuple):
    """Sizes of the film, px: the picture, the em, and the plot below the picture."""

    width: int
    picture: int
    height: int
    em: int
    left: int
    right: int
    top: int
    row: int

    @classmethod
    def of(cls, answer: Recognition) -> "_Layout":
        width, height = _picture_size(answer)
        em = max(13, round(7 + 0.011 * width))
        top = height + round(3.5 * em)
        row = round(1.35 * em)
        bottom = top + row * len(answer.probabilities) + 2 * em
        left, right = round(6.6 * em), width - round(3.8 * em)
        return cls(width, height, bottom + bottom % 2, em, left, right, top, row)


def write_annotated_video(answer: Recognition, out: Path) -> None:
    """Encode a recording with box, two sigma of its corners, emotion, confidence and timeline.

    Frames pass through one at a time; the sound is kept.

    Args:
        answer: of `Recognizer.predict(path, over_time=True)`.
        out: an MP4, which appears whole or not at all.

    Raises:
        MediaError: `out` is the recording itself, or ffmpeg refuses to decode or encode it.
    """
    source = Path(answer.file)
    if out.exists() and out.samefile(source):
        raise MediaError(f"{out}: is the recording itself; give the annotated video another name")
    layout = _Layout.of(answer)
    fps = min(answer.fps, FASTEST_FPS) or BLANK_FPS
    sound = source if answer.has_sound else None
    with write_film(out, fps, (layout.width, layout.height), sound) as send:
        for frame in annotated_frames(answer, fps):
            send(frame)


def annotated_frames(answer: Recognition, fps: float) -> Iterator[Picture]:
    """The frames of the annotated video, RGB [H, W, 3], at `fps` per second."""
    layout = _Layout.of(answer)
    timeline = _timeline(answer, layout)
    times = [face.time_s for face in answer.faces]
    for index, picture in enumerate(_pictures(answer, fps, (layout.width, layout.picture))):
        time_s = index / fps
        frame = np.concatenate([picture, timeline])
        window = _at(answer, time_s)
        if answer.fps:
            face = answer.faces[_nearest(times, time_s)] if times else None
            _draw_face(frame[: layout.picture], answer, window, face, layout.em)
        else:
            _draw_words(frame[: layout.picture], answer, window, layout.em)
        _draw_cursor(frame, answer, time_s, layout)
        yield frame


def _picture_size(answer: Recognition) -> tuple[int, int]:
    if not answer.fps:
        return BLANK_PX
    sides = answer.width_px, answer.height_px
    scale = min(max(1.0, SMALLEST_PX / min(sides)), LARGEST_PX / max(sides))
    width, height = (max(2, 2 * round(side * scale / 2)) for side in sides)
    return width, height


def _pictures(answer: Recognition, fps: float, size_px: tuple[int, int]) -> Iterator[Picture]:
    if answer.fps:
        yield from read_frames(Path(answer.file), fps, size_px)
        return
    blank = np.full((size_px[1], size_px[0], 3), SAND, np.uint8)
    for _ in range(math.ceil(answer.duration_s * fps)):
        yield blank


def _at(answer: Recognition, time_s: float) -> WindowAnswer | None:
    """The answer for a moment; none in a window that could not be answered."""
    # the last frame may lie a little behind what was measured as the end
    moment = min(time_s, answer.duration_s - 1e-6)
    return next((w for w in answer.windows if w.start_s <= moment < w.end_s), None)


def _nearest(times: Sequence[float], time_s: float) -> int:
    after = bisect_left(times, time_s)
    around = [place for place in (after - 1, after) if 0 <= place < len(times)]
    return min(around, key=lambda place: abs(times[place] - time_s))


def _verdict(probabilities: dict[str, float], unsure: bool) -> str:
    emotion = max(probabilities, key=lambda name: probabilities[name])
    return f"{'unsure: ' if unsure else ''}{emotion} {_percent(probabilities[emotion])}"


def _percent(p: float) -> str:
    """No certainty that the model does not state."""
    if 0 < p < 0.005:
        return "<1%"
    return ">99%" if 0.995 <= p < 1 else f"{p:.0%}"


def _words(answer: Recognition, window: WindowAnswer | None) -> str:
    """The answer; in a long recording that of the window, with its times."""
    if window is None:
        return "no answer here"
    if len(answer.windows) == 1:
        return _verdict(answer.probabilities, answer.abstains)
    stretch = f"{_clock(round(window.start_s))} \N{EN DASH} {_clock(round(window.end_s))}"
    return f"{_verdict(window.probabilities, False)}, {stretch}"


# ------------------------------------------------------------------ picture


def _draw_face(
    picture: Picture,
    answer: Recognition,
    window: WindowAnswer | None,
    face: FrameFace | None,
    em: int,
) -> None:
    """Box, two sigma of its corners, and what is said; no face is said, too."""
    words = _words(answer, window)
    if face is None or face.box is None:
        high = _chip(picture, (em // 2, em // 2), words, em, LEADING)[1]
        if face is not None:
            _chip(picture, (em // 2, em // 2 + high + em // 4), "no face in this frame", em, MUTED)
        return
    scale = picture.shape[1] / answer.width_px, picture.shape[0] / answer.height_px
    x1, y1, x2, y2 = (edge * scale[axis % 2] for axis, edge in enumerate(face.box))
    line = max(2, round(em / 7))
    cv2.rectangle(picture, _fixed(x1, y1), _fixed(x2, y2), FOUND, line, cv2.LINE_AA, SUBPIXEL)
    facts = "face, found by dlib" if answer.face_finder == "dlib" else f"face {face.score:.2f}"
    if face.sigma is not None:
        s1, s2, s3, s4 = (value * scale[axis % 2] for axis, value in enumerate(face.sigma))
        _ellipse(picture, (x1, y1), (2 * s1, 2 * s2))
        _ellipse(picture, (x2, y2), (2 * s3, 2 * s4))
        facts = f"{facts}, \N{GREEK SMALL LETTER SIGMA} {sum(face.sigma) / 4:.1f} px"
    small = round(0.8 * em)
    wide, high = _chip_size(words, em)
    gap = line + max(0, round(em / 4))
    above = y1 - high - gap
    # at the corners without an ellipse; where there is no room above the box, inside it
    _chip(picture, (x2 - wide, above if above >= 0 else y1 + gap), words, em, LEADING)
    high = _chip_size(facts, small)[1]
    below = y2 + gap
    fits = below + high <= picture.shape[0]
    _chip(picture, (x1, below if fits else y2 - gap - high), facts, small, MUTED)


def _draw_words(ground: Picture, answer: Recognition, window: WindowAnswer | None, em: int) -> None:
    """What is said of a sound, in place of a picture."""
    height, width = ground.shape[:2]
    words = _text(_words(answer, window), round(2.4 * em), True)
    _ink(ground, words, (width - words.shape[1]) / 2, height / 2 - 2.6 * em, INK)
    words = _text("sound without a picture", em, False)
    _ink(ground, words, (width - words.shape[1]) / 2, height / 2 + 1.2 * em, MUTED)


def _ellipse(picture: Picture, centre: tuple[float, float], radii: tuple[float, float]) -> None:
    """A translucent ellipse; radii of less than a px would not be seen."""
    (x, y), (wide, high) = centre, (max(1.0, radius) for radius in radii)
    height, width = picture.shape[:2]
    left, right = max(0, int(x - wide) - 2), min(width, int(x + wide) + 3)
    top, bottom = max(0, int(y - high) - 2), min(height, int(y + high) + 3)
    part = picture[top:bottom, left:right]
    if part.size == 0:
        return
    shape = np.zeros(part.shape[:2], np.uint8)
    cv2.ellipse(
        shape, _fixed(x - left, y - top), _fixed(wide, high), 0, 0, 360, 255, cv2.FILLED,
        cv2.LINE_AA, SUBPIXEL,
    )  # fmt: skip
    _blend(part, shape * 0.65, SIGMA)


def _chip_size(text: str, size: int) -> tuple[int, int]:
    return _text(text, size, True).shape[1] + size, round(1.6 * size)


def _chip(
    picture: Picture, corner: tuple[float, float], text: str, size: int, ground: Colour
) -> tuple[int, int]:
    """White words on a rounded ground, moved into the picture; its width and height."""
    wide, high = _chip_size(text, size)
    height, width = picture.shape[:2]
    x, y = (
        round(min(max(0.0, at), max(0, room - side)))
        for at, room, side in zip(corner, (width, height), (wide, high), strict=True)
    )
    part = picture[y : y + high, x : x + wide]
    _blend(part, _rounded(wide, high, size // 3)[: part.shape[0], : part.shape[1]] * 0.92, ground)
    words = _text(text, size, True)
    _ink(picture, words, x + size / 2, y + (high - words.shape[0]) / 2, PAPER)
    return wide, high


@lru_cache(maxsize=64)
def _rounded(wide: int, high: int, radius: int) -> NDArray[np.uint8]:
    shape = Image.new("L", (4 * wide, 4 * high))
    ImageDraw.Draw(shape).rounded_rectangle((0, 0, 4 * wide - 1, 4 * high - 1), 4 * radius, 255)
    return np.asarray(shape.resize((wide, high), Image.Resampling.BOX))


# ----------------------------------------------------------------- timeline


def _timeline(answer: Recognition, layout: _Layout) -> Picture:
    """All below the picture that does not move, [H, W, 3]."""
    em, panel = (
        layout.em,
        np.full((layout.height - layout.picture, layout.width, 3), PAPER, np.uint8),
    )
    panel[: max(1, em // 8)] = GRID
    _headline(panel, answer, layout)
    top = layout.top - layout.picture
    for place, emotion in enumerate(answer.probabilities):
        y = top + place * layout.row
        panel[y + 1 : y + layout.row - 1, layout.left : layout.right] = SAND
        colour = LEADING if emotion == answer.emotion else OTHER
        for moments in unbroken(answer.timeline, 2 * HOP_S):
            _area(panel, y + layout.row - 1, moments, emotion, colour, answer, layout)
    _time_axis(panel, top + layout.row * len(answer.probabilities), answer, layout)
    for place, emotion in enumerate(answer.probabilities):
        words = _text(emotion, em, emotion == answer.emotion)
        x = layout.left - round(0.6 * em) - words.shape[1]
        y = top + place * layout.row + (layout.row - words.shape[0]) / 2
        _ink(panel, words, x, y, INK if emotion == answer.emotion else MUTED)
    return panel


def _headline(panel: Picture, answer: Recognition, layout: _Layout) -> None:
    em, margin = layout.em, round(0.8 * layout.em)
    words = _text(_verdict(answer.probabilities, answer.abstains), round(1.25 * em), True)
    _ink(panel, words, margin, 0.45 * em, INK)
    second = f"then {answer.runner_up} {_percent(answer.probabilities[answer.runner_up])}"
    caption = ["scores of the two seconds around each moment"] if answer.timeline else []
    x, small = margin + words.shape[1] + em, round(0.85 * em)
    lines = ((second, BRANCH_NAMES[answer.branch]), (*answer.notes, *caption))
    for parts, left, y in zip(lines, (x, margin), (0.8 * em, 2.15 * em), strict=True):
        text = " \N{MIDDLE DOT} ".join(parts)
        _ink(panel, _fitting(text, small, layout.width - left - margin), left, y, MUTED)


def _area(
    panel: Picture,
    base: int,
    moments: Sequence[Moment],
    emotion: str,
    colour: Colour,
    answer: Recognition,
    layout: _Layout,
) -> None:
    """The score of an emotion over time as an area above `base`."""
    high = layout.row - 3
    curve = [
        _fixed(_x(moment.time_s, answer, layout), base - high * moment.probabilities[emotion])
        for moment in moments
    ]
    floor = _fixed(0, base)[1]
    points = np.array([(curve[0][0], floor), *curve, (curve[-1][0], floor)], np.int32)
    cv2.fillPoly(panel, [points], colour, cv2.LINE_AA, SUBPIXEL)


def _time_axis(panel: Picture, y: int, answer: Recognition, layout: _Layout) -> None:
    wanted = answer.duration_s * 5 * layout.em / (layout.right - layout.left)
    step = next((tick for tick in TICKS_S if tick >= wanted), TICKS_S[-1])
    small = round(0.8 * layout.em)
    top = layout.top - layout.picture
    for tick in range(int(answer.duration_s / step + 1e-6) + 1):
        time_s = tick * step
        x = _x(time_s, answer, layout)
        place = min(max(layout.left, round(x)), layout.right - 1)
        for row in range(len(answer.probabilities)):
            start = top + row * layout.row
            _blend(panel[start + 1 : start + layout.row - 1, place : place + 1], 90.0, OTHER)
        words = _text(_clock(time_s), small, False)
        _ink(panel, words, x - words.shape[1] / 2, y + 0.35 * layout.em, MUTED)


def _clock(time_s: float) -> str:
    minutes, seconds = divmod(time_s, 60)
    if minutes < 1:
        return f"{seconds:g} s"
    hours, minutes = divmod(int(minutes), 60)
    return f"{hours}:{minutes:02}:{seconds:02.0f}" if hours else f"{minutes}:{seconds:02.0f}"


def _x(time_s: float, answer: Recognition, layout: _Layout) -> float:
    share = min(1.0, time_s / answer.duration_s)
    return layout.left + share * (layout.right - layout.left)


def _draw_cursor(frame: Picture, answer: Recognition, time_s: float, layout: _Layout) -> None:
    """The moment as a line over all rows, and the scores there at the right."""
    em, bottom = layout.em, layout.top + layout.row * len(answer.probabilities)
    wide = max(2, round(em / 8))
    x = round(_x(time_s, answer, layout) - wide / 2)
    frame[layout.top - em // 5 : bottom + em // 5, x : x + wide] = INK
    scores = _scores_at(answer.timeline, time_s)
    leader = max(scores, key=lambda name: scores[name]) if scores else None
    for place, emotion in enumerate(answer.probabilities if scores else ()):
        words = _text(f"{scores[emotion]:.2f}", em, emotion == leader)
        y = layout.top + place * layout.row + (layout.row - words.shape[0]) / 2
        _ink(frame, words, layout.right + 0.6 * em, y, INK if emotion == leader else MUTED)


def _scores_at(timeline: Sequence[Moment], time_s: float) -> dict[str, float]:
    """Scores between two moments, on the line that is drawn; none in a gap."""
    after = bisect_left(timeline, time_s, key=lambda moment: moment.time_s)
    around = timeline[max(0, after - 1) : after + 1]
    if not around or max(abs(moment.time_s - time_s) for moment in around) > 2 * HOP_S:
        return {}
    first, last = around[0], around[-1]
    share = (time_s - first.time_s) / max(last.time_s - first.time_s, 1e-9)
    share = min(max(share, 0.0), 1.0)
    return {
        emotion: (1 - share) * p + share * last.probabilities[emotion]
        for emotion, p in first.probabilities.items()
    }


# ------------------------------------------------------------------ drawing


@lru_cache(maxsize=4)
def _font(size: int, bold: bool) -> ImageFont.FreeTypeFont:
    """DejaVu Sans, which matplotlib brings along."""
    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    return ImageFont.truetype(str(Path(matplotlib.get_data_path()) / "fonts/ttf" / name), size)


@lru_cache(maxsize=512)
def _text(text: str, size: int, bold: bool) -> NDArray[np.uint8]:
    """Coverage of each px by a line of text, [H, W]; H is the same for all texts of a size."""
    font = _font(size, bold)
    ascent, descent = font.getmetrics()
    shape = Image.new("L", (math.ceil(font.getlength(text)) + 1, ascent + descent))
    ImageDraw.Draw(shape).text((0, 0), text, 255, font)
    return np.asarray(shape)


def _fitting(text: str, size: int, width: float) -> NDArray[np.uint8]:
    """A line of text, cut to a width in px."""
    if _text(text, size, False).shape[1] <= width:
        return _text(text, size, False)
    while text and _text(f"{text}\N{HORIZONTAL ELLIPSIS}", size, False).shape[1] > width:
        text = text[:-1].rstrip()
    return _text(f"{text}\N{HORIZONTAL ELLIPSIS}", size, False)


def _ink(picture: Picture, text: NDArray[np.uint8], x: float, y: float, colour: Colour) -> None:
    """Print a line of text with its upper left corner at x, y; what is outside is cut."""
    left, top = max(0, round(x)), max(0, round(y))
    part = picture[top : top + text.shape[0], left : left + text.shape[1]]
    _blend(part, text[: part.shape[0], : part.shape[1]], colour)


def _blend(part: Picture, coverage: NDArray[Any] | float, colour: Colour) -> None:
    """Mix a colour into a part of a picture, by coverage in 0-255, [H, W] or one for all."""
    share = np.asarray(coverage, np.float32) / 255
    share = share[..., None] if share.ndim else share
    part[:] = np.rint(part + share * (np.array(colour, np.float32) - part)).astype(np.uint8)


def _fixed(x: float, y: float) -> tuple[int, int]:
    return round(x * 2**SUBPIXEL), round(y * 2**SUBPIXEL)
