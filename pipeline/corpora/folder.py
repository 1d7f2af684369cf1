"""One's own recordings, told apart by folders or by a table.

Folders, where no `clips.csv` lies in the corpus root:

    happiness/take1.mp4              emotion / file
    anna/happiness/take1.mp4         speaker / emotion / file
    anna/happiness/take1.wav         same stem: the sound of the same clip

The table `clips.csv`, which may name any file below the root, one clip a row:

    video,audio,emotion,speaker,sentence,clip_id
    a/take1.mp4,,happiness,anna,hello,

`emotion` and one of `video` and `audio` are needed; the other columns may be left out. A
spreadsheet may have written the table (`pipeline.foreign`). An empty `audio` means that the video's
own sound is used. `sentence` is an id of the spoken text, which `split.protocol: loso_text` needs.
`clip_id` defaults to speaker and file stem. Speakers and clip ids become file names later and are
written in `[A-Za-z0-9_-]`.
"""

from collections.abc import Mapping
from pathlib import Path

from pipeline.clips import EMOTIONS, Clip, Index, Reject
from pipeline.corpora.index import Label, Naming, clean_id, index_folder, kind_of, recordings
from pipeline.errors import CorpusError
from pipeline.foreign import Table, read_table, same_spelling

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
    path = root / TABLE
    table = read_table(path)
    if "emotion" not in table.columns or not {"video", "audio"}.intersection(table.columns):
        raise CorpusError(
            f"{path}: got columns {', '.join(table.columns) or '(none)'}, expected emotion and one "
            "of video and audio; see pipeline/corpora/folder.py"
        )
    files = _files(root, table)
    clips: dict[str, Clip] = {}
    rejects: dict[str, Reject] = {}
    for line, entry in table.rows.items():
        clip_id = _clip_id(entry)
        problem = _problem(root, entry, files) or (
            f"two rows for clip id {clip_id} ({_file(clips[clip_id])} and {_named(entry)}); give "
            "them different clip_id entries" if clip_id in clips else ""
        )  # fmt: skip
        if problem:
            rejects[clip_id] = Reject(
                clip_id, str(root / _named(entry)), f"{path} line {line}: {problem}"
            )
        else:
            clips[clip_id] = _clip(clip_id, entry, files)
    kept = [clip for clip_id, clip in sorted(clips.items()) if clip_id not in rejects]
    return Index(kept, list(rejects.values()))


def _files(root: Path, table: Table) -> dict[str, Path]:
    """The file of each name in a table that has one, in whichever spelling of Unicode.

    A path with the slashes of Windows is understood where no file has such a name.
    """
    names = {row[key] for row in table.rows.values() for key in ("video", "audio") if row.get(key)}
    found = {name: root / name for name in names if (root / name).is_file()}
    if len(found) < len(names):
        spelt = {same_spelling(p.relative_to(root).as_posix()): p for p in recordings(root)}
        wanted = {name: same_spelling(_slashed(name)) for name in names - found.keys()}
        found |= {name: spelt[key] for name, key in wanted.items() if key in spelt}
    return found


def _problem(root: Path, entry: Mapping[str, str], files: Mapping[str, Path]) -> str:
    """Why a row is not usable, "" if it is."""
    named = [entry[key] for key in ("video", "audio") if entry.get(key)]
    if not named:
        return "neither video nor audio is given; name at least one file"
    missing = [name for name in named if name not in files]
    if missing:
        return f"{root / missing[0]}: no such file; paths are relative to {root}"
    if entry["emotion"].lower() not in EMOTION_OF:
        return f"got emotion {entry['emotion']!r}, expected one of {', '.join(EMOTIONS)}"
    return ""


def _clip(clip_id: str, entry: Mapping[str, str], files: Mapping[str, Path]) -> Clip:
    return Clip(
        clip_id=clip_id,
        speaker=clean_id(entry.get("speaker") or UNKNOWN_SPEAKER),
        emotion=EMOTION_OF[entry["emotion"].lower()],
        sentence=entry.get("sentence", ""),
        video=files.get(entry.get("video", "")),
        audio=files.get(entry.get("audio", "")),
    )


def _named(entry: Mapping[str, str]) -> str:
    return entry.get("video") or entry.get("audio") or ""


def _file(clip: Clip) -> Path | None:
    return clip.video or clip.audio


def _clip_id(entry: Mapping[str, str]) -> str:
    speaker = entry.get("speaker") or UNKNOWN_SPEAKER
    stem = Path(_slashed(_named(entry))).stem
    return clean_id(entry.get("clip_id") or f"{speaker}_{stem}")


def _slashed(name: str) -> str:
    return name.replace("\\", "/")
