"""What a folder of recordings holds, said before any work: `avemo corpus`.

Every file is read whole, by `pipeline.media.probe`, but none is decoded.
"""

import json
import re
from collections import Counter
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median

from pipeline.clips import EMOTIONS, Clip, Index
from pipeline.corpora.cremad import index_cremad
from pipeline.corpora.folder import TABLE, index_own, read_folders
from pipeline.corpora.index import SOUND_SUFFIXES, VIDEO_SUFFIXES, Label, kind_of
from pipeline.corpora.ravdess import index_ravdess, is_silent
from pipeline.corpora.savee import index_savee
from pipeline.corpora.twins import mark_twins
from pipeline.errors import CorpusError, MediaError
from pipeline.files import write_table
from pipeline.foreign import printable
from pipeline.media.probe import PictureTrack, SoundTrack, Tracks, probe
from pipeline.work.progress import SHOWN, counted, listed, track

DRAFT = "clips.draft.csv"
DRAFT_COLUMNS = ("video", "audio", "emotion", "speaker", "sentence", "clip_id")

_WORDS_OF_YAML = frozenset("true false null yes no on off y n".split())
"""Not text to some readers of YAML; names are in lower case."""

PUBLISHED = {
    "savee": (480, "SAVEE"),
    "ravdess": (2452, "RAVDESS, 1440 spoken and 1012 sung"),
    "cremad": (7442, "CREMA-D"),
}
"""Clips of each corpus as published."""

_NAMED = {"ravdess": index_ravdess, "cremad": index_cremad, "savee": index_savee}
"""Corpora that are told by the names of their files."""


@dataclass(frozen=True, slots=True)
class Survey:
    """What there is: the corpus by name, its clips and rejects, the tracks of files by path."""

    root: Path
    name: str
    index: Index
    tracks: Mapping[Path, Tracks]
    damaged: Mapping[Path, str]


def survey(root: Path, name: str | None = None) -> Survey:
    """Index a folder and read the headers and packets of all recordings of its clips.

    Args:
        root: the folder.
        name: as `corpus.name`; None takes the corpus whose names most files have.

    Raises:
        CorpusError: no such folder, or no recording in it.
    """
    name, index = _index(root, name)
    if not index.clips and not index.rejects:
        raise CorpusError(f"{root}: no recording found; expected files such as .wav, .mp4 or .avi")
    tracks: dict[Path, Tracks] = {}
    damaged: dict[Path, str] = {}
    files = {path for clip in index.clips for path in (clip.video, clip.audio) if path}
    for path in track(sorted(files), desc="corpus", unit="file"):
        try:
            tracks[path] = probe(path)
        except MediaError as error:
            damaged[path] = str(error)
        else:
            if not tracks[path].picture and not tracks[path].sounds:
                del tracks[path]
                damaged[path] = (
                    f"{path}: holds neither picture nor sound, expected one of them; copy it again "
                    "or move it out of corpus.root"
                )
    return Survey(root, name, mark_twins(index), tracks, damaged)


def _index(root: Path, name: str | None) -> tuple[str, Index]:
    if name is None:
        found = {one: indexer(root) for one, indexer in _NAMED.items()}
        name = max(found, key=lambda one: len(found[one].clips))
        if len(found[name].clips) > len(found[name].rejects):
            return name, found[name]
        name = "folder"
    if name == "folder":
        return name, index_own(root, EMOTIONS)
    if name not in _NAMED:
        known = ", ".join((*_NAMED, "folder"))
        raise CorpusError(f"--name: got {name!r}, expected one of {known}")
    return name, _NAMED[name](root)


def describe(found: Survey) -> list[str]:
    """The survey as lines: what there is, then what is missing, doubled, odd or damaged."""
    clips, rejects = found.index.clips, found.index.rejects
    lines = [
        f"{found.root}: {found.name}, {counted(len(clips), 'clip')}",
        f"emotions: {_counts(clip.emotion for clip in clips)}",
        f"speakers: {_counts(clip.speaker for clip in clips)}",
        *_remedy(found),
        *_missing(found),
        *_twins(clips),
        *_odd("sound", "Hz", {p: one.rate_hz for p, one in _sounding(found)}),
        *_odd("sound", "channels", {p: one.channels for p, one in _sounding(found)}),
        *_odd("video", "frames/s", {p: round(one.fps, 2) for p, one in _filmed(found)}),
        *_durations(found),
        *_files("damaged", list(found.damaged.values())),
        *_files("not used", [reject.reason for reject in rejects]),
    ]
    return [printable(line) for line in lines]


def takes_draft(found: Survey) -> bool:
    """Whether it is a folder of one's own that has no `clips.csv`."""
    return found.name == "folder" and not (found.root / TABLE).exists()


def write_draft(found: Survey) -> Path | None:
    """Write `clips.draft.csv` where `takes_draft`; renamed, it takes the place of the folders.

    It lists the clips as the folders tell them, then the files that are not used, with what the
    folders say of them: nothing where a file lies too high or too deep.

    Returns:
        Its path; None where none is needed or a draft lies there already.
    """
    path = found.root / DRAFT
    if not takes_draft(found) or path.exists():
        return None
    rows: list[dict[str, object]] = [
        {
            **_paths(found.root, {"video": clip.video, "audio": clip.audio}),
            "emotion": clip.emotion,
            "speaker": clip.speaker,
            "sentence": clip.sentence,
            "clip_id": clip.clip_id,
        }
        for clip in found.index.clips
    ]
    write_table(path, DRAFT_COLUMNS, [*rows, *_unused_rows(found)])
    return path


def _unused_rows(found: Survey) -> Iterator[dict[str, object]]:
    """All files of each reject; those of one clip share a row where it has a place for each."""
    rejects, clips = found.index.rejects, found.index.clips
    used = {path for clip in clips for path in (clip.video, clip.audio)}
    refused = {reject.clip_id for reject in rejects}
    told: dict[Label, list[Path]] = {}
    labels = read_folders(found.root, EMOTIONS)
    for path, label in labels.items():
        if label.clip_id in refused and path not in used:
            told.setdefault(replace(label, kind=""), []).append(path)
    for file in dict.fromkeys(Path(reject.file) for reject in rejects):
        if file.suffix.lower() in SOUND_SUFFIXES | VIDEO_SUFFIXES and file not in labels:
            yield _paths(found.root, {kind_of(file): file})
    for label, files in told.items():
        kinds = {kind_of(file): file for file in files}
        together = [kinds] if len(kinds) == len(files) else [{kind_of(one): one} for one in files]
        for row in together:
            said = {"emotion": label.emotion, "speaker": label.speaker}
            yield {**_paths(found.root, row), **said}


def _paths(root: Path, files: Mapping[str, Path | None]) -> dict[str, object]:
    return {kind: file.relative_to(root).as_posix() if file else "" for kind, file in files.items()}


def _remedy(found: Survey) -> list[str]:
    """The list that `corpus.emotions` needs, where names are not the canonical ones."""
    names = dict.fromkeys(clip.emotion for clip in found.index.clips if clip.emotion)
    if set(names) <= set(EMOTIONS):
        return []
    order = ", ".join(map(_as_yaml, names))
    return [f"set corpus.emotions to the names in your order: [{order}]"]


def _as_yaml(name: str) -> str:
    """A name as YAML takes it for text: bare, or quoted where it would be a number or two items."""
    bare = re.fullmatch(r"[^\W\d][\w -]*", name) and name not in _WORDS_OF_YAML
    return name if bare else json.dumps(name, ensure_ascii=False)


def _missing(found: Survey) -> list[str]:
    clips = found.index.clips
    seen, heard = dict(_filmed(found)), dict(_sounding(found))
    blind = [clip.clip_id for clip in clips if clip.video not in seen]
    deaf = [clip.clip_id for clip in clips if (clip.audio or clip.video) not in heard]
    takes = Counter(clip.speaker for clip in clips)
    fewer = [f"{name} ({n})" for name, n in sorted(takes.items()) if n < max(takes.values())]
    lines = []
    whole, corpus = PUBLISHED.get(found.name, (0, ""))
    if len(clips) < whole:
        lines.append(f"not here: {whole - len(clips)} of the {whole} clips of {corpus}")
    if blind and len(blind) < len(clips):
        lines += _files("without video", blind)
    if deaf and (len(deaf) < len(clips) or found.name == "ravdess"):
        lines += _files("without sound", deaf)
    if fewer and len(takes) > 1:
        lines += _files(f"speakers with fewer than {max(takes.values())} clips", fewer)
    return lines


def _twins(clips: Sequence[Clip]) -> list[str]:
    groups: dict[str, list[str]] = {}
    for clip in clips:
        if clip.twin:
            groups.setdefault(clip.twin, []).append(clip.clip_id)
    return _files("same bytes under different ids", [" = ".join(g) for g in groups.values()])


def _odd(what: str, unit: str, values: Mapping[Path, Hashable]) -> list[str]:
    """How many files have each value, and the first that have another than most."""
    counts = Counter(values.values()).most_common()
    if not counts:
        return []
    parts = [f"{value} {unit} ({number})" for value, number in counts[:SHOWN]]
    more = [f"{len(counts) - SHOWN} other values"] if len(counts) > SHOWN else []
    odd = [str(path) for path, value in values.items() if value != counts[0][0]]
    return [f"{what}: {', '.join([*parts, *more])}{'; odd: ' + listed(odd) if odd else ''}"]


def _durations(found: Survey) -> list[str]:
    lengths = {
        path: max([one.length_s for one in (tracks.picture, *tracks.sounds) if one], default=0.0)
        for path, tracks in found.tracks.items()
    }
    if not lengths:
        return []
    shortest, longest = min(lengths, key=lengths.__getitem__), max(lengths, key=lengths.__getitem__)
    return [
        f"length: median {median(lengths.values()):.2f} s, shortest {lengths[shortest]:.2f} s "
        f"({shortest}), longest {lengths[longest]:.2f} s ({longest})"
    ]


def _filmed(found: Survey) -> list[tuple[Path, PictureTrack]]:
    return [(path, one.picture) for path, one in found.tracks.items() if one.picture]


def _sounding(found: Survey) -> list[tuple[Path, SoundTrack]]:
    return [
        (path, one.sounds[0])
        for path, one in found.tracks.items()
        if one.sounds and not (found.name == "ravdess" and is_silent(path))
    ]


def _counts(names: Iterable[str]) -> str:
    counts = sorted(Counter(names).items())
    return f"{len(counts)}: " + ", ".join(f"{name or '(none)'} {n}" for name, n in counts)


def _files(what: str, names: Sequence[str]) -> list[str]:
    return [f"{what}: {len(names)}: {listed(names)}"] if names else []
