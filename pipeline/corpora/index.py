"""From files to clips: what every corpus shares once it can read its own file names.

A corpus says what one file name means (`Naming.read`) and which kinds of file give picture and
sound (`Naming.video`, `Naming.audio`, best first). Walking the folder, pairing the files of a clip
and refusing what is ambiguous happens here. Only what may be a copy of another file is opened.
"""

import hashlib
import logging
import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping, Set
from dataclasses import dataclass
from pathlib import Path

from pipeline.clips import POLARITY, Clip, Index, Reject
from pipeline.corpora.twins import same_bytes
from pipeline.errors import CorpusError
from pipeline.files import is_file, refuse_address
from pipeline.work.progress import counted

SOUND_SUFFIXES = frozenset(
    ".aac .ac3 .aif .aifc .aiff .amr .ape .au .caf .dts .eac3 .ec3 .flac .g722 .gsm .m2a .m4a "
    ".m4b .mka .mlp .mp2 .mp3 .mpa .mpc .nist .oga .ogg .oma .opus .qoa .ra .sbc .sf .shn .snd "
    ".sph .spx .tak .thd .tta .voc .w64 .wav .weba .wma .wv".split()
)
VIDEO_SUFFIXES = frozenset(
    ".264 .265 .3g2 .3gp .asf .avc .avi .dav .divx .dv .f4v .flv .h261 .h264 .h265 .hevc .ivf "
    ".m1v .m2t .m2ts .m2v .m4v .mj2 .mjpeg .mjpg .mk3d .mkv .mod .mov .mp4 .mpeg .mpg .mts .mxf "
    ".nut .ogm .ogv .qt .rm .rmvb .tod .ts .vob .webm .wmv .wtv .y4m".split()
)
NOTE_SUFFIXES = frozenset(
    ".bib .bmp .csv .db .doc .docx .eaf .gif .htm .html .ini .ipynb .jpeg .jpg .json .lab .log .m "
    ".mat .md .npy .npz .odt .pdf .pkl .png .ppt .pptx .ps1 .py .r .rtf .sh .srt .svg .textgrid "
    ".tif .tiff .trs .tsv .txt .vtt .webp .xls .xlsx .xml .yaml .yml".split()
)
"""Never recordings: what people keep beside them."""
SKIPPED_FOLDERS = frozenset({"truth", "__MACOSX"})
"""Never recordings: ground truth beside a corpus, and what macOS leaves in archives."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Label:
    """What the name of a file says; `kind` is one of the corpus's own words for a sort of file."""

    clip_id: str
    speaker: str
    emotion: str
    sentence: str
    kind: str


@dataclass(frozen=True, slots=True)
class Naming:
    """How a corpus names its recordings.

    `read` takes a path relative to the corpus root and raises `CorpusError` with the reason where
    the name is not one of the corpus. `video` and `audio` are kinds of file that give picture and
    sound, best first; a clip without any `audio` kind takes its sound from the video.
    """

    read: Callable[[Path], Label]
    video: tuple[str, ...]
    audio: tuple[str, ...]


def index_folder(root: Path, naming: Naming) -> Index:
    """Index a corpus by its file names; what is refused has a name of its whole path."""
    labelled: list[tuple[Label, Path]] = []
    others: list[tuple[Label, Path]] = []
    refused: list[tuple[Path, str]] = []
    for path in recordings(root):
        media = path.suffix.lower() in SOUND_SUFFIXES | VIDEO_SUFFIXES
        name = path.relative_to(root)
        try:
            label = naming.read(name)
        except CorpusError as error:
            if media:  # a README or a licence is no recording, and nothing is wrong with it
                refused.append((name, str(error)))
            continue
        (labelled if media else others).append((label, path))
    nested = _nested_copies(root, [name for name, _ in refused], {path for _, path in labelled})
    index = assemble(labelled, naming, nested)
    known = {label.clip_id for label, _ in labelled}
    rejects = [
        Reject(clean_id("_".join(name.with_suffix("").parts)), str(path), f"{path}: {reason}")
        for name, reason in refused
        if (path := root / name) not in nested
    ]
    wrong = [_wrong_suffix(label, path) for label, path in others if label.clip_id not in known]
    return Index(index.clips, [*rejects, *wrong, *index.rejects])


def assemble(
    labelled: Iterable[tuple[Label, Path]], naming: Naming, nested: Mapping[Path, Path]
) -> Index:
    """Join the files of each clip; an ambiguous clip is refused whole, naming its files.

    Copies of one file, as in mirrors that hold a corpus and its archive unpacked, are used once.

    Args:
        labelled: files and what their names say.
        naming: of the corpus.
        nested: further files that are copies, and of what.
    """
    groups: dict[str, list[tuple[Label, Path]]] = {}
    for label, path in labelled:
        groups.setdefault(label.clip_id, []).append((label, path))
    clips: list[Clip] = []
    rejects: list[Reject] = []
    copies = list(nested.items())
    for clip_id, found in sorted(groups.items()):
        files, twice = _without_copies(found)
        copies += twice
        clash = _clash(files)
        if clash is None:
            clips.append(_clip(files, naming))
        else:
            first, second = clash
            reason = (
                f"{first} and {second}: two files for clip id {clip_id}; expected one; "
                "rename one or move it out of corpus.root"
            )
            rejects.append(Reject(clip_id, str(first), reason))
    if copies:
        logger.warning(
            "left out %s with the same bytes as another of its clip, the first is %s, a copy of %s",
            counted(len(copies), "file"), *copies[0],
        )  # fmt: skip
    return Index(clips, rejects)


def recordings(root: Path) -> Iterator[Path]:
    """Files under `root` in sorted order, without hidden ones and `SKIPPED_FOLDERS`.

    Raises:
        CorpusError: `root` is not a folder.
    """
    refuse_address(root, "folder", CorpusError)
    if is_file(root):
        raise CorpusError(
            f"corpus.root: {root}: a file; expected the folder that holds the recordings"
        )
    if not root.is_dir():
        raise CorpusError(
            f"corpus.root: {root}: no such folder; expected the folder that holds the recordings; "
            "set corpus.root in params.yaml"
        )
    for path in sorted(_walked(root)):
        parts = path.relative_to(root).parts
        hidden = any(part.startswith(".") for part in parts)
        if not hidden and SKIPPED_FOLDERS.isdisjoint(parts[:-1]):
            yield path


def _walked(folder: Path, around: frozenset[Path] = frozenset()) -> Iterator[Path]:
    """All files below a folder, through links too, but no folder within itself.

    Args:
        folder: to walk.
        around: places that lie around it, on the way that led there.
    """
    place = folder.resolve()
    around |= {place, *place.parents}
    for path in folder.iterdir():
        if path.is_dir():
            if path.resolve() not in around:
                yield from _walked(path, around)
        elif path.is_file():
            yield path


def kind_of(path: Path) -> str:
    """`video` for a suffix of `VIDEO_SUFFIXES`, else `audio`."""
    return "video" if path.suffix.lower() in VIDEO_SUFFIXES else "audio"


def clean_id(name: str) -> str:
    """`name` in the alphabet of clip ids, `[A-Za-z0-9_-]`.

    Accents are dropped and anything else becomes `-`. Where letters of another script are lost,
    six digits of a hash keep different names apart.
    """
    composed = unicodedata.normalize("NFC", name)
    split = unicodedata.normalize("NFKD", composed)
    bare = "".join(char for char in split if not unicodedata.combining(char))
    clean = re.sub(r"[^A-Za-z0-9_-]+", "-", bare)
    if bare.isascii() and clean.strip("-"):
        return clean
    digest = hashlib.sha256(composed.encode("utf-8", "surrogateescape")).hexdigest()[:6]
    return f"{clean.strip('-')}-{digest}".lstrip("-")


def _nested_copies(root: Path, names: Iterable[Path], known: Set[Path]) -> dict[Path, Path]:
    """Files of a copy of the corpus further down, each beside the known file whose bytes it has.

    Args:
        root: of the corpus.
        names: of files that are none of it where they lie, relative to it.
        known: files that are.
    """
    copies: dict[Path, Path] = {}
    for name in names:
        for depth in range(1, len(name.parts)):
            original = root.joinpath(*name.parts[depth:])
            if original in known and same_bytes(root / name, original):
                copies[root / name] = original
    return copies


def _without_copies(
    files: list[tuple[Label, Path]],
) -> tuple[list[tuple[Label, Path]], list[tuple[Path, Path]]]:
    """Files of a clip, the first of each label and content; each other beside what it copies."""
    kept: list[tuple[Label, Path]] = []
    copies: list[tuple[Path, Path]] = []
    for label, path in files:
        alike = (other for own, other in kept if own == label and same_bytes(path, other))
        original = next(alike, None)
        if original is None:
            kept.append((label, path))
        else:
            copies.append((path, original))
    return kept, copies


def _clash(files: list[tuple[Label, Path]]) -> tuple[Path, Path] | None:
    """The first two files that cannot both belong to one clip."""
    first_label, first_path = files[0]
    by_kind: dict[str, Path] = {}
    for label, path in files:
        meaning = (label.speaker, label.emotion, label.sentence)
        if meaning != (first_label.speaker, first_label.emotion, first_label.sentence):
            return first_path, path
        if label.kind in by_kind:
            return by_kind[label.kind], path
        by_kind[label.kind] = path
    return None


def _clip(files: list[tuple[Label, Path]], naming: Naming) -> Clip:
    by_kind = {label.kind: path for label, path in files}
    label = files[0][0]
    video = next((by_kind[kind] for kind in naming.video if kind in by_kind), None)
    audio = next((by_kind[kind] for kind in naming.audio if kind in by_kind), None)
    polarity = POLARITY.get(label.emotion, 0)
    return Clip(
        label.clip_id,
        label.speaker,
        label.emotion,
        label.sentence,
        video,
        audio,
        polarity=polarity,
    )


def _wrong_suffix(label: Label, path: Path) -> Reject:
    reason = (
        f"{path}: got the extension {path.suffix or '(none)'}, expected one of a recording such as "
        ".wav, .flac, .mp4 or .avi; rename or convert it"
    )
    return Reject(label.clip_id, str(path), reason)
