"""One's own recordings, told apart by folders or by a table.

Folders, where no `clips.csv` lies in the corpus root:

    happiness/take1.mp4              emotion / file
    anna/happiness/take1.mp4         speaker / emotion / file
    anna/happiness/take1.wav         same stem: the sound of the same clip

The table `clips.csv`, which may name any file below the root, one clip a row:

    video,audio,emotion,speaker,sentence,clip_id
    a/take1.mp4,,happiness,anna,hello,

`emotion` and one of `video` and `audio` are needed; the other columns may be left out. An empty
`audio` means that the video's own sound is used. `sentence` is an id of the spoken text, which
`split.protocol: loso_text` needs. `clip_id` defaults to speaker and file stem. Speakers and clip
ids become file names later and are written in `[A-Za-z0-9_-]`.
"""

import csv
from pathlib import Path

from pipeline.clips import EMOTIONS, Clip, Index, Reject
from pipeline.corpora.index import Label, Naming, clean_id, index_folder, kind_of
from pipeline.errors import CorpusError

TABLE = "clips.csv"
UNKNOWN_SPEAKER = "unknown"

EMOTION_OF = {
    **{emotion: emotion for emotion in EMOTIONS},
    "angry": "anger",
    "disgusted": "disgust",
    "fearful": "fear",
    "happy": "happiness",
    "sad": "sadness",
    "surprised": "surprise",
}
"""Folder names and table entries that are understood, in lower case."""


def index_own(root: Path) -> Index:
    """Index one's own recordings by `clips.csv`, or by folders.

    Raises:
        CorpusError: `root` is not a folder, or the table lacks a column.
    """
    if (root / TABLE).is_file():
        return _index_table(root)
    return index_folder(root, Naming(read_name, video=("video",), audio=("audio",)))


def read_name(path: Path) -> Label:
    """What `anna/happiness/take1.mp4` says; the clip id joins all three.

    Raises:
        CorpusError: the file does not lie in a folder named after an emotion.
    """
    speaker = clean_id(path.parts[-3]) if len(path.parts) >= 3 else UNKNOWN_SPEAKER
    emotion = EMOTION_OF.get(path.parent.name.lower())
    if emotion is None:
        raise CorpusError(
            f"got the folder {path.parent.name or '(none)'!r}, expected one named after an emotion "
            f"({', '.join(EMOTIONS)}); move the file, or write {TABLE}"
        )
    clip_id = clean_id(f"{speaker}_{emotion}_{path.stem}")
    return Label(clip_id, speaker, emotion, "", kind_of(path))


def _index_table(root: Path) -> Index:
    table = root / TABLE
    with table.open(newline="", encoding="utf-8-sig") as stream:
        reader = csv.DictReader(stream)
        columns = reader.fieldnames or []
        rows = list(reader)
    if "emotion" not in columns or not {"video", "audio"}.intersection(columns):
        raise CorpusError(
            f"{table}: got columns {', '.join(columns) or '(none)'}, expected emotion and one of "
            "video and audio; see pipeline/corpora/folder.py"
        )
    clips: dict[str, Clip] = {}
    rejects: dict[str, Reject] = {}
    for line, row in enumerate(rows, start=2):
        entry = {key: (value or "").strip() for key, value in row.items() if key}
        clip_id = _clip_id(entry)
        problem = _problem(root, entry) or (
            f"two rows for clip id {clip_id} ({_file(clips[clip_id])} and {_named(entry)}); give "
            "them different clip_id entries" if clip_id in clips else ""
        )  # fmt: skip
        if problem:
            rejects[clip_id] = Reject(
                clip_id, str(root / _named(entry)), f"{table} line {line}: {problem}"
            )
        else:
            clips[clip_id] = _clip(root, clip_id, entry)
    kept = [clip for clip_id, clip in sorted(clips.items()) if clip_id not in rejects]
    return Index(kept, list(rejects.values()))


def _problem(root: Path, entry: dict[str, str]) -> str:
    """Why a row is not usable, "" if it is."""
    files = [entry[key] for key in ("video", "audio") if entry.get(key)]
    if not files:
        return "neither video nor audio is given; name at least one file"
    missing = [name for name in files if not (root / name).is_file()]
    if missing:
        return f"{root / missing[0]}: no such file; paths are relative to {root}"
    if entry["emotion"].lower() not in EMOTION_OF:
        return f"got emotion {entry['emotion']!r}, expected one of {', '.join(EMOTIONS)}"
    return ""


def _clip(root: Path, clip_id: str, entry: dict[str, str]) -> Clip:
    return Clip(
        clip_id=clip_id,
        speaker=clean_id(entry.get("speaker") or UNKNOWN_SPEAKER),
        emotion=EMOTION_OF[entry["emotion"].lower()],
        sentence=entry.get("sentence", ""),
        video=root / entry["video"] if entry.get("video") else None,
        audio=root / entry["audio"] if entry.get("audio") else None,
    )


def _named(entry: dict[str, str]) -> str:
    return entry.get("video") or entry.get("audio") or ""


def _file(clip: Clip) -> Path | None:
    return clip.video or clip.audio


def _clip_id(entry: dict[str, str]) -> str:
    speaker = entry.get("speaker") or UNKNOWN_SPEAKER
    return clean_id(entry.get("clip_id") or f"{speaker}_{Path(_named(entry)).stem}")
