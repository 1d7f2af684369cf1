"""One's own recordings, told apart by folders or by a table.

Folders, where no `clips.csv` lies in the corpus root:

    happiness/take1.mp4              emotion / file
    anna/happiness/take1.mp4         speaker / emotion / file
    anna/happiness/take1.wav         same stem: the sound of the same clip

The table `clips.csv`, which may name any file below the root, one clip a row:

    video,audio,emotion,speaker,sentence,clip_id
    a/take1.mp4,,happiness,anna,hello,

`emotion` and one of `video` and `audio` are needed; the other columns may be left out. A clip
without an emotion, or in a folder `unlabelled`, trains and tests nothing and is predicted. A
spreadsheet may have written the table (`pipeline.foreign`). `polarity`, which VAANet's loss reads,
is positive, negative or neutral, and need be given once for each emotion. An empty `audio` means
that the video's own sound is used. `sentence` is an id of the spoken text, which
`split.protocol: loso_text` needs. `clip_id` defaults to speaker, the file's folder, which may be
what tells the emotion, and its stem.
Speakers and clip ids become file names later and are written in `[A-Za-z0-9_-]`.

Emotions are `pipeline.clips.EMOTIONS` or the words of `ALIASES`, or any names of one's own in the
order that `corpus.emotions` gives; case does not matter.
"""

import logging
import os
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path

from pipeline.clips import POLARITY, Clip, Index, Reject
from pipeline.corpora.index import (
    NOTE_SUFFIXES,
    SOUND_SUFFIXES,
    VIDEO_SUFFIXES,
    Label,
    Naming,
    clean_id,
    index_folder,
    kind_of,
    recordings,
)
from pipeline.errors import CorpusError
from pipeline.files import is_file
from pipeline.foreign import Table, folded, read_table, same_spelling

log = logging.getLogger(__name__)

TABLE = "clips.csv"
UNKNOWN_SPEAKER = "unknown"

ALIASES = {
    "angry": "anger",
    "disgusted": "disgust",
    "fearful": "fear",
    "happy": "happiness",
    "sad": "sadness",
    "surprised": "surprise",
}
"""Other words for canonical emotions, in lower case."""


SIGNS = {"positive": 1, "negative": -1, "neutral": 0}
"""What the column `polarity` may say."""

UNLABELLED = ("unlabelled", "unlabeled")
"""Folders of recordings whose emotion is not known."""


def index_own(root: Path, emotions: Sequence[str]) -> Index:
    """Index one's own recordings by `clips.csv`, or by folders.

    Args:
        root: of the corpus.
        emotions: names that are known. What has another keeps it, in lower case.

    Raises:
        CorpusError: `root` is not a folder, or the table lacks a column.
    """
    known = _known(emotions)
    if (root / TABLE).is_file():
        return _speakers_spelt_once(_index_table(root, known))
    read = partial(read_name, known)
    index = index_folder(root, Naming(read, video=("video",), audio=("audio",)))
    return _speakers_spelt_once(index)


def read_folders(root: Path, emotions: Sequence[str]) -> dict[Path, Label]:
    """What the folders say of each recording below the root that lies as it should.

    Args:
        root: of the corpus.
        emotions: names that are known.

    Raises:
        CorpusError: `root` is not a folder.
    """
    known = _known(emotions)
    labels: dict[Path, Label] = {}
    for path in recordings(root):
        if path.suffix.lower() in SOUND_SUFFIXES | VIDEO_SUFFIXES:
            with suppress(CorpusError):
                labels[path] = read_name(known, path.relative_to(root))
    return labels


def _known(emotions: Sequence[str]) -> dict[str, str]:
    """Name of the emotion by how it may be written, in lower case."""
    spelt = {alias: name for alias, name in ALIASES.items() if name in emotions}
    unknown = dict.fromkeys(UNLABELLED, "")
    return {**unknown, **spelt, **{folded(name): name for name in emotions}}


def _speakers_spelt_once(index: Index) -> Index:
    """Names of speakers that differ in case alone are one person's, who must not train and test."""
    spelt: dict[str, str] = {}
    for name in sorted({clip.speaker for clip in index.clips}):
        first = spelt.setdefault(folded(name), name)
        if first != name:
            log.warning("speaker %s is taken for %s: their names differ in case alone", name, first)
    clips = [replace(clip, speaker=spelt[folded(clip.speaker)]) for clip in index.clips]
    return Index(clips, index.rejects)


def read_name(known: Mapping[str, str], path: Path) -> Label:
    """What `anna/happiness/take1.mp4` says; the clip id joins all three.

    Args:
        known: name of the emotion by how it may be written, in lower case.
        path: relative to the corpus root.

    Raises:
        CorpusError: no recording, or one that lies in no folder or in more than two.
    """
    if path.suffix.lower() in NOTE_SUFFIXES:
        raise CorpusError("is no recording")
    if len(path.parts) == 1:
        raise CorpusError(
            f"lies in no folder, expected one named after its emotion, or {UNLABELLED[0]}; move it "
            f"there, or write {TABLE}"
        )
    if len(path.parts) > 3:
        raise CorpusError(
            f"lies in {len(path.parts) - 1} folders, expected emotion / file or speaker / emotion "
            f"/ file; move it, or write {TABLE}"
        )
    speaker = clean_id(path.parts[-3]) if len(path.parts) >= 3 else UNKNOWN_SPEAKER
    emotion = _emotion(path.parent.name, known)
    clip_id = clean_id(f"{speaker}_{emotion or UNLABELLED[0]}_{path.stem}")
    return Label(clip_id, speaker, emotion, "", kind_of(path))


def _emotion(name: str, known: Mapping[str, str]) -> str:
    return known.get(folded(name), folded(name))


def _index_table(root: Path, known: Mapping[str, str]) -> Index:
    path = root / TABLE
    table = read_table(path)
    if "emotion" not in table.columns or not {"video", "audio"}.intersection(table.columns):
        raise CorpusError(
            f"{path}: got columns {', '.join(table.columns) or '(none)'}, expected emotion and one "
            "of video and audio; see pipeline/corpora/folder.py"
        )
    files = _files(root, table)
    polarity = _polarity(path, table, known)
    clips: dict[str, list[Clip]] = {}
    rejects: list[Reject] = []
    for line, entry in table.rows.items():
        if problem := _problem(root, entry, files):
            named = _named(entry)
            name = clean_id(entry.get("clip_id") or re.sub(r"\.\w+$", "", _slashed(named)))
            rejects.append(Reject(name, str(root / named), f"{path} line {line}: {problem}"))
        else:
            clip = _clip(root, entry, files, known)
            clip = replace(clip, polarity=polarity.get(clip.emotion, 0))
            clips.setdefault(clip.clip_id, []).append(clip)
    for clip_id, doubled in clips.items():
        if len(doubled) > 1:
            rejects += _rows_for_one_id(path, clip_id, doubled)
    return Index([one[0] for _, one in sorted(clips.items()) if len(one) == 1], rejects)


def _polarity(path: Path, table: Table, known: Mapping[str, str]) -> dict[str, int]:
    """The polarity of each emotion: as the table says, else as that of canonical ones is.

    Raises:
        CorpusError: another word, or two for one emotion.
    """
    stated: dict[str, int] = {}
    for line, entry in table.rows.items():
        word, emotion = entry.get("polarity", "").lower(), _emotion(entry["emotion"], known)
        if not word:
            continue
        sign = SIGNS.get(word)
        if sign is None or stated.setdefault(emotion, sign) != sign:
            raise CorpusError(
                f"{path} line {line}: polarity of {emotion}: got {word!r}, expected one of "
                f"{', '.join(SIGNS)}, the same wherever it is given; correct it"
            )
    return {**POLARITY, **stated}


def _rows_for_one_id(path: Path, clip_id: str, clips: Sequence[Clip]) -> list[Reject]:
    """Each of them refused under a name of its own, so that they are counted."""
    files = [str(clip.video or clip.audio) for clip in clips]
    reason = (
        f"{path}: {len(clips)} rows for clip id {clip_id} ({' and '.join(files)}); give them "
        "different clip_id entries"
    )
    return [Reject(f"{clip_id}-{n}", file, reason) for n, file in enumerate(files, 1)]


def _files(root: Path, table: Table) -> dict[str, Path]:
    """The file of each name in a table that has one, in whichever spelling of Unicode.

    A path with the slashes of Windows is understood where no file has such a name.
    """
    names = {row[key] for row in table.rows.values() for key in ("video", "audio") if row.get(key)}
    found = {name: _in_root(root, name) for name in names if is_file(root / name)}
    if len(found) < len(names):
        spelt = {same_spelling(p.relative_to(root).as_posix()): p for p in recordings(root)}
        wanted = {name: same_spelling(_slashed(name)) for name in names - found.keys()}
        found |= {name: spelt[key] for name, key in wanted.items() if key in spelt}
    return found


def _in_root(root: Path, name: str) -> Path:
    """A named file as one below the root, where an absolute path leads there."""
    path = Path(name)
    return root / os.path.relpath(path, root.absolute()) if path.is_absolute() else root / path


def _problem(root: Path, entry: Mapping[str, str], files: Mapping[str, Path]) -> str:
    """Why a row is not usable, "" if it is."""
    named = [entry[key] for key in ("video", "audio") if entry.get(key)]
    if not named:
        return "neither video nor audio is given; name at least one file"
    missing = [name for name in named if name not in files]
    if missing:
        return f"{root / missing[0]}: no such file; paths are relative to {root}"
    if outside := [name for name in named if not _is_below(files[name], root)]:
        return (
            f"{files[outside[0]]}: lies outside {root}, where DVC would not see it change; move or "
            "link it there"
        )
    return ""


def _is_below(path: Path, root: Path) -> bool:
    """Whether a path leads into a folder; links are taken for what they stand in place of."""
    whole, within = (Path(os.path.normpath(one.absolute())) for one in (path, root))
    return whole.is_relative_to(within)


def _clip(
    root: Path, entry: Mapping[str, str], files: Mapping[str, Path], known: Mapping[str, str]
) -> Clip:
    video, audio = (files.get(entry.get(key, "")) for key in ("video", "audio"))
    speaker = entry.get("speaker") or UNKNOWN_SPEAKER
    file = video or audio
    assert file is not None
    folder = file.relative_to(root).parent.name
    usual = "_".join(filter(None, (speaker, "" if folder == speaker else folder, file.stem)))
    return Clip(
        clip_id=clean_id(entry.get("clip_id") or usual),
        speaker=clean_id(speaker),
        emotion=_emotion(entry["emotion"], known),
        sentence=entry.get("sentence", ""),
        video=video,
        audio=audio,
    )


def _named(entry: Mapping[str, str]) -> str:
    return entry.get("video") or entry.get("audio") or ""


def _slashed(name: str) -> str:
    return name.replace("\\", "/")
