"""What a clip is: as indexed in a corpus, and as a row of `data/clips.csv`.

`data/frames.csv` beside it says when each stored frame is shown.
"""

import re
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from pipeline.errors import CorpusError
from pipeline.files import number, read_table, write_table

EMOTIONS = ("anger", "disgust", "fear", "happiness", "neutral", "sadness", "surprise", "calm")
"""Canonical names and order, to which corpora map their codes; one's own folder may have others."""

POLARITY = {
    "anger": -1,
    "disgust": -1,
    "fear": -1,
    "happiness": 1,
    "sadness": -1,
    "surprise": 1,
}
"""Of canonical emotions: positive 1, negative -1; the others have none, 0.

Source: Zhao et al., "An End-to-End Visual-Audio Attention Network for Emotion Recognition in
User-Generated Videos", AAAI 2020, whose loss reads it.
"""


CLOCK_TICK_S = 1e-6
"""Times are told apart from here on."""


@dataclass(frozen=True, slots=True)
class Clip:
    """A recording as the corpus index knows it, before any file is opened.

    `audio` is a separate sound file; where it is None the sound comes from `video`.
    `sentence` is equal for equal spoken text across speakers and emotions, "" if unknown. `rank` is
    the place of its emotion in the order that the corpus has, or that `corpus.emotions` gives.
    `twin` is equal for clips that hold the same recording, "" for one that is alone. `polarity` is
    that of its emotion, see `POLARITY`.
    """

    clip_id: str
    speaker: str
    emotion: str
    sentence: str
    video: Path | None
    audio: Path | None
    truth: Path | None = None
    rank: int = 0
    twin: str = ""
    polarity: int = 0


@dataclass(frozen=True, slots=True)
class ClipRecord:
    """A usable clip: a row of `data/clips.csv`.

    `frames` counts the stored frames (every `frame_step`-th of the source; 0 without video),
    `fps` is the source's frame rate in 1/s, the mean where it varies, `samples` counts samples per
    channel at the native `rate_hz` (0 without sound). Wherever emotions are in an order, it is that
    of `rank`. A clip whose `emotion` is "" trains and tests nothing, and is predicted.

    A clip has one clock, in seconds. It begins where picture or sound does, whichever is first:
    `picture_start_s` and `sound_start_s` say when each begins, `times_s` when each stored frame is
    shown (not in `data/clips.csv` but in `data/frames.csv`; at a constant rate where not given).
    """

    clip_id: str
    speaker: str
    emotion: str
    sentence: str
    frames: int
    fps: float
    frame_step: int
    width_px: int
    height_px: int
    samples: int
    rate_hz: int
    rank: int = 0
    twin: str = ""
    polarity: int = 0
    picture_start_s: float = 0.0
    sound_start_s: float = 0.0
    times_s: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if not self.times_s and self.frames:
            steady = steady_times(self.picture_start_s, self.fps, self.frame_step, self.frames)
            object.__setattr__(self, "times_s", steady)
        if len(self.times_s) != self.frames:
            raise ValueError(f"{len(self.times_s)} times for {self.frames} frames")

    @property
    def has_video(self) -> bool:
        """Whether frames of the clip are stored."""
        return self.frames > 0

    @property
    def has_audio(self) -> bool:
        """Whether sound of the clip is stored."""
        return self.samples > 0

    @property
    def picture_s(self) -> float:
        """Length of the picture, s."""
        return self.frames * self.frame_step / self.fps if self.has_video else 0.0

    @property
    def sound_s(self) -> float:
        """Length of the sound, s."""
        return self.samples / self.rate_hz if self.has_audio else 0.0

    @property
    def duration_s(self) -> float:
        """Length in seconds: of the sound, else of the picture."""
        return self.sound_s if self.has_audio else self.picture_s


@dataclass(frozen=True, slots=True)
class Reject:
    """A recording that is not used: a row of `data/quarantine.csv`."""

    clip_id: str
    file: str
    reason: str


@dataclass(frozen=True, slots=True)
class Index:
    """Clips sorted by id, and the files that are not usable as one."""

    clips: list[Clip]
    rejects: list[Reject]


def count_unusable(rejects: Iterable[Reject], usable: Iterable[str]) -> int:
    """How many clips have files that were refused, and none of the id is among the `usable`."""
    return len({reject.clip_id for reject in rejects}.difference(usable))


def frame_name(clip_id: str, index: int) -> str:
    """File stem of stored frame `index` (0-based; source frame = index * frame_step)."""
    return f"{clip_id}_{index:05d}"


def steady_times(start_s: float, fps: float, frame_step: int, frames: int) -> tuple[float, ...]:
    """When each of `frames` stored frames is shown at a constant rate of the source, s."""
    return tuple(start_s + index / (fps / frame_step) for index in range(frames))


def evenly_spaced(length: int, count: int) -> list[int]:
    """The middle of each of `count` equal parts of `length` items; repeats where items are few."""
    return [(2 * part + 1) * length // (2 * count) for part in range(count)]


def evenly_shown(times_s: Sequence[float], count: int) -> list[int]:
    """The frames that are shown in the middle of each of `count` equal parts of their time.

    Args:
        times_s: when each frame is shown, ascending; the last one stays as long as others on
            average.
        count: parts; frames repeat where they are few, or stay long.
    """
    if not times_s:
        return []
    first, last, frames = times_s[0], times_s[-1], len(times_s)
    length_s = (last - first) * frames / max(1, frames - 1)
    moments = (first + (2 * part + 1) * length_s / (2 * count) for part in range(count))
    return [bisect_right(times_s, moment_s + CLOCK_TICK_S) - 1 for moment_s in moments]


def emotions_of(records: Iterable[ClipRecord]) -> tuple[str, ...]:
    """The emotions that occur, in the order of the corpus."""
    present = {(record.rank, record.emotion) for record in records if record.emotion}
    return tuple(emotion for _, emotion in sorted(present))


def labelled(record: ClipRecord, clip: Clip) -> ClipRecord:
    """`record` with what the corpus says of the clip."""
    return replace(
        record,
        speaker=clip.speaker,
        emotion=clip.emotion,
        sentence=clip.sentence,
        rank=clip.rank,
        twin=clip.twin,
        polarity=clip.polarity,
    )


def require_unique(clip_ids: Sequence[str], where: str) -> None:
    """Refuse doubled clip ids.

    Raises:
        CorpusError: an id occurs twice.
    """
    seen: set[str] = set()
    for clip_id in clip_ids:
        if clip_id in seen:
            raise CorpusError(f"{where}: clip id {clip_id} occurs twice; ids must be unique")
        seen.add(clip_id)


CLIP_COLUMNS = tuple(field for field in fields(ClipRecord) if field.name != "times_s")
FILE_NAME = re.compile(r"[^/\\\0]+")
"""Clip ids and speakers become names of files, which lead into no other folder."""
COUNTS = ("frames", "fps", "frame_step", "width_px", "height_px", "samples", "rate_hz", "rank")
"""Columns that are 0 or more."""
FRAMES_CSV = "frames.csv"
FRAME_COLUMNS = ("clip_id", "frame", "time_s")


def read_clips(path: Path) -> list[ClipRecord]:
    """Read `data/clips.csv`, and `frames.csv` beside it, sorted by clip id.

    Raises:
        CorpusError: one of these files is missing, columns are missing, a value has the wrong type
            or is out of range, an id is doubled or no file name, or a clip has not as many
            ascending times as frames.
    """
    again = "run `dvc repro extract`"
    times = _read_times(path.with_name(FRAMES_CSV), again)
    records = read_table(path, lambda row: _record(row, times), again)
    require_unique([record.clip_id for record in records], str(path))
    return sorted(records, key=lambda record: record.clip_id)


def _read_times(path: Path, again: str) -> Mapping[str, tuple[float, ...]]:
    """Times of the stored frames by clip id."""
    times: dict[str, list[float]] = defaultdict(list)

    def take(row: dict[str, str]) -> None:
        shown = times[row["clip_id"]]
        if int(row["frame"]) != len(shown):
            raise ValueError(f"frame {row['frame']}, expected {len(shown)}")
        time_s = number(row["time_s"])
        if shown and time_s <= shown[-1]:
            raise ValueError(f"frame {row['frame']} at {time_s} s, expected after {shown[-1]} s")
        shown.append(time_s)

    read_table(path, take, again)
    return {clip_id: tuple(shown) for clip_id, shown in times.items()}


def _record(row: dict[str, str], times: Mapping[str, tuple[float, ...]]) -> ClipRecord:
    values: dict[str, Any] = {
        c.name: number(row[c.name]) if c.type is float else c.type(row[c.name])  # type: ignore[operator]
        for c in CLIP_COLUMNS
    }
    clip_id, speaker, polarity = values["clip_id"], values["speaker"], values["polarity"]
    if not (FILE_NAME.fullmatch(clip_id) and FILE_NAME.fullmatch(speaker)):
        raise ValueError(f"clip {clip_id!r} of {speaker!r}, expected names without folders")
    if negative := [n for n in COUNTS if values[n] < 0]:
        raise ValueError(f"{negative[0]} is {values[negative[0]]}, expected 0 or more")
    if values["frames"] and not (values["fps"] > 0 and values["frame_step"] > 0):
        raise ValueError("fps and frame_step are not above 0")
    if values["samples"] and not values["rate_hz"]:
        raise ValueError("rate_hz is not above 0")
    if polarity not in (-1, 0, 1):
        raise ValueError(f"polarity is {polarity}, expected -1, 0 or 1")
    shown = times.get(clip_id, ())
    if len(shown) != values["frames"]:
        raise ValueError(f"{len(shown)} times for {values['frames']} frames")
    return ClipRecord(**values, times_s=shown)


def write_clips(path: Path, records: Iterable[ClipRecord]) -> None:
    """Write `data/clips.csv`, and `frames.csv` beside it, sorted by clip id."""
    ordered = sorted(records, key=lambda record: record.clip_id)
    names = [column.name for column in CLIP_COLUMNS]
    write_table(path, names, ({name: getattr(r, name) for name in names} for r in ordered))
    shown = (
        dict(zip(FRAME_COLUMNS, (record.clip_id, frame, time_s), strict=True))
        for record in ordered
        for frame, time_s in enumerate(record.times_s)
    )
    write_table(path.with_name(FRAMES_CSV), FRAME_COLUMNS, shown)


def write_quarantine(path: Path, rejects: Iterable[Reject]) -> None:
    """Write `data/quarantine.csv`, sorted by clip id."""
    ordered = sorted(rejects, key=lambda reject: (reject.clip_id, reject.file))
    write_table(path, [f.name for f in fields(Reject)], (asdict(r) for r in ordered))
