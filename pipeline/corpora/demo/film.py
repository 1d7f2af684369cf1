"""From a take to its video and to the truth about every frame."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import ffmpeg
import imageio_ffmpeg

from pipeline.corpora.demo.face import Head, Moment, face_box, face_shapes, mouth_opening
from pipeline.corpora.demo.motion import moments
from pipeline.corpora.demo.paint import Image, Painter
from pipeline.corpora.demo.plan import Performance
from pipeline.corpora.demo.score import Score
from pipeline.errors import MediaError

HEAD_CENTRE = (0.5, 0.46)
"""Where the head rests, in shares of width and height."""

HEAD_UNIT = 0.235
"""Half a face width in shares of the height, for a speaker of size 1."""

JPEG_SCALE = 3
"""ffmpeg's quantiser scale of the video, 2 (best) to 31."""

TRUTH_COLUMNS = ("frame", "x1", "y1", "x2", "y2", "mouth_open", "speech")


def pose(play: Performance, score: Score, size_px: tuple[int, int]) -> list[Head]:
    """The head in every frame of a take."""
    centre = (HEAD_CENTRE[0] * size_px[0], HEAD_CENTRE[1] * size_px[1])
    unit = HEAD_UNIT * size_px[1] * play.speaker.size
    return [Head(centre, unit, moment) for moment in moments(play, score)]


def film(play: Performance, heads: Sequence[Head], size_px: tuple[int, int]) -> Iterator[Image]:
    """Draw the frames of a take, [H, W, 3] uint8 BGR each."""
    still = Head(heads[0].centre_px, heads[0].unit_px, Moment())
    painter = Painter(play.speaker, size_px, still, play.rng("set"))
    for head in heads:
        face = head.moment.expression(play.face)
        folds = max(face["wrinkle"], 0.7 * face["corner"], 0.0)
        yield painter.paint(head, face_shapes(face, head.moment, play.speaker.jaw), min(folds, 1.0))


def truth_rows(
    play: Performance, score: Score, heads: Sequence[Head], size_px: tuple[int, int]
) -> Iterator[dict[str, object]]:
    """Face box in px (0-based, half-open), mouth opening 0-1 and speech 0|1 of every frame."""
    speech = score.per_frame(score.speech) >= 0.5
    for index, head in enumerate(heads):
        opening = mouth_opening(head.moment.expression(play.face), head.moment)
        box = (f"{edge:.2f}" for edge in face_box(head, *size_px))
        values = (index, *box, f"{opening:.4f}", int(speech[index]))
        yield dict(zip(TRUTH_COLUMNS, values, strict=True))


def encode(
    video: Path, sound: Path, frames: Iterable[Image], size_px: tuple[int, int], fps: int
) -> None:
    """Write motion JPEG with the sound beside it, the same bytes every time.

    The ffmpeg of `imageio-ffmpeg` and no other: a system's own would give other bytes.

    Raises:
        MediaError: ffmpeg failed.
    """
    picture = ffmpeg.input(
        "pipe:", format="rawvideo", pix_fmt="bgr24", s=f"{size_px[0]}x{size_px[1]}", r=fps
    )
    exact = {"threads": 1, "fflags": "+bitexact", "flags:v": "+bitexact", "flags:a": "+bitexact"}
    coding = {"c:v": "mjpeg", "q:v": JPEG_SCALE, "pix_fmt": "yuvj420p", "c:a": "pcm_s16le"}
    product = ffmpeg.output(
        picture, ffmpeg.input(f"file:{sound}"), f"file:{video}", **coding, **exact
    )
    try:
        ffmpeg.run(
            product,
            cmd=[imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-y"],
            input=b"".join(frame.tobytes() for frame in frames),
            quiet=True,
        )
    except ffmpeg.Error as error:
        reason = error.stderr.decode(errors="replace").strip() or "no message of ffmpeg"
        raise MediaError(
            f"{video.name}: ffmpeg could not encode it ({reason}); is the disk full?"
        ) from error
