"""What a clip is: as indexed in a corpus, and as a row of `data/clips.csv`."""

from collections.abc import Iterable, Sequence
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
    `fps` is the source's frame rate in 1/s, `samples` counts samples per channel at the native
    `rate_hz` (0 without sound). Wherever emotions are in an order, it is that of `rank`. A clip
    whose `emotion` is "" trains and tests nothing, and is predicted.
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

    @property
    def has_video(self) -> bool:
        """Whether frames of the clip are stored."""
        return self.frames > 0

    @property
    def has_audio(self) -> bool:
        """Whether sound of the clip is stored."""
        return self.samples > 0

    @property
    def duration_s(self) -> float:
        """Length in seconds: of the sound, else of the frames."""
        if self.has_audio:
            return self.samples / self.rate_hz
        return self.frames * self.frame_step / self.fps


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


def frame_name(clip_id: str, index: int) -> str:
    """File stem of stored frame `index` (0-based; source frame = index * frame_step)."""
    return f"{clip_id}_{index:05d}"


def evenly_spaced(length: int, count: int) -> list[int]:
    """The middle of each of `count` equal parts of `length` items; repeats where items are few."""
    return [(2 * part + 1) * length // (2 * count) for part in range(count)]


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


def read_clips(path: Path) -> list[ClipRecord]:
    """Read `data/clips.csv`, sorted by clip id.

    Raises:
        CorpusError: there is no such file, columns are missing, a value has the wrong type or an id
            is doubled.
    """
    records = read_table(path, _record, "run `dvc repro extract`")
    require_unique([record.clip_id for record in records], str(path))
    return sorted(records, key=lambda record: record.clip_id)


def _record(row: dict[str, str]) -> ClipRecord:
    values: dict[str, Any] = {
        f.name: number(row[f.name]) if f.type is float else f.type(row[f.name])  # type: ignore[operator]
        for f in fields(ClipRecord)
    }
    return ClipRecord(**values)


def write_clips(path: Path, records: Iterable[ClipRecord]) -> None:
    """Write `data/clips.csv`, sorted by clip id."""
    ordered = sorted(records, key=lambda record: record.clip_id)
    write_table(path, [f.name for f in fields(ClipRecord)], (asdict(r) for r in ordered))


def write_quarantine(path: Path, rejects: Iterable[Reject]) -> None:
    """Write `data/quarantine.csv`, sorted by clip id."""
    ordered = sorted(rejects, key=lambda reject: (reject.clip_id, reject.file))
    write_table(path, [f.name for f in fields(Reject)], (asdict(r) for r in ordered))
