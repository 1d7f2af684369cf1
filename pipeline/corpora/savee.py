"""SAVEE: 480 clips of four speakers, seven emotions, video and sound in separate files.

    AudioData/DC/a01.wav          sound
    AudioVisualClip/DC/a1.avi     video; a01.avi too
    DC_a01.wav                    the flat copy that also goes round
    truth/DC_a01.csv              ground truth per frame, of the demo corpus only
    manifest.tsv                  optional: path, bytes, sha256; differences are warned of

Source: Haq and Jackson (2009), AVSP, section 2, for the sentence lists.
"""

import logging
import re
from dataclasses import replace
from pathlib import Path

from pipeline.clips import Index
from pipeline.corpora.index import Label, Naming, index_folder, kind_of
from pipeline.errors import CorpusError
from pipeline.files import file_digest, is_file
from pipeline.foreign import read_table
from pipeline.work.progress import counted

EMOTION_OF = {
    "a": "anger",
    "d": "disgust",
    "f": "fear",
    "h": "happiness",
    "n": "neutral",
    "sa": "sadness",
    "su": "surprise",
}
"""SAVEE's file codes."""

MANIFEST = "manifest.tsv"
LAYOUT_FOLDERS = frozenset({"AudioData", "AudioVisualClip"})

COMMON = 3
"""Sentences 1-3 are the same for every emotion."""
SPECIFIC = 2
"""Sentences 4-5 of an emotion are its own, and spoken as neutral too."""
NEUTRAL_READINGS = 2
"""The 15 neutral texts fill 30 files."""

_NAME = re.compile(r"(?:(?P<speaker>[A-Za-z0-9]+)_)?(?P<code>a|d|f|h|n|sa|su)(?P<number>\d{1,5})")
_SPECIFIC_TEXTS = tuple(
    f"{code}{COMMON + i:02d}" for code in EMOTION_OF if code != "n" for i in range(1, SPECIFIC + 1)
)

logger = logging.getLogger(__name__)


def index_savee(root: Path) -> Index:
    """Index SAVEE, or a corpus in its layout, below `root`.

    Raises:
        CorpusError: `root` is not a folder.
    """
    index = index_folder(root, Naming(read_name, video=("video",), audio=("audio",)))
    truths = {path.stem: path for path in (root / "truth").glob("*.csv")}
    clips = [replace(clip, truth=truths.get(clip.clip_id)) for clip in index.clips]
    compare_with_manifest(root)
    return Index(clips, index.rejects)


def read_name(path: Path) -> Label:
    """What `AudioData/DC/a01.wav` or `DC_a01.wav` says; `a1` and `a01` are the same sentence.

    Raises:
        CorpusError: not a name of SAVEE, e.g. `s01`, or no speaker in name or folder.
    """
    match = _NAME.fullmatch(path.stem)
    folder = path.parent.name
    speaker = (match["speaker"] if match else None) or folder
    known = bool(re.fullmatch(r"[A-Za-z0-9]+", speaker)) and speaker not in LAYOUT_FOLDERS
    if match is None or not known or int(match["number"]) == 0:
        raise CorpusError(
            "unknown file name; expected speaker, emotion and number such as DC/a01 or DC_a01 with "
            f"emotion one of {' '.join(EMOTION_OF)}; rename it or move it out of corpus.root"
        )
    code, number = match["code"], int(match["number"])
    return Label(
        clip_id=f"{speaker}_{code}{number:02d}",
        speaker=speaker,
        emotion=EMOTION_OF[code],
        sentence=sentence_id(code, number),
        kind=kind_of(path),
    )


def sentence_id(code: str, number: int) -> str:
    """An id that is equal where the spoken text is.

    Sentences 1-3 are common to all emotions, 4-5 specific to one and also spoken as neutral, the
    rest generic. Which neutral file holds which specific sentence is not published: we assume the
    3 common ones, then the specific ones in the order of the codes, then all 15 again.

    Args:
        code: emotion code, a key of `EMOTION_OF`.
        number: sentence number, from 1.
    """
    if code == "n" and number <= NEUTRAL_READINGS * (COMMON + len(_SPECIFIC_TEXTS)):
        number = (number - 1) % (COMMON + len(_SPECIFIC_TEXTS)) + 1
        if number > COMMON:
            return _SPECIFIC_TEXTS[number - COMMON - 1]
    return f"common{number}" if number <= COMMON else f"{code}{number:02d}"


def compare_with_manifest(root: Path) -> None:
    """Warn where files are not those of `manifest.tsv`, if the corpus holds one.

    Raises:
        CorpusError: the manifest lacks a column.
    """
    manifest = root / MANIFEST
    if not manifest.is_file():
        return
    rows = read_table(manifest).rows.values()
    try:
        expected = {row["path"]: row["sha256"] for row in rows}
    except KeyError as error:
        raise CorpusError(
            f"{manifest}: column {error} is missing; expected path, sha256; mend or remove it"
        ) from error
    missing = [name for name in expected if not is_file(root / name)]
    changed = [
        name
        for name, digest in expected.items()
        if name not in missing and file_digest(root / name) != digest
    ]
    for text, names in (("missing", missing), ("of other content", changed)):
        if names:
            logger.warning(
                "%s: %d of %s %s, the first is %s; compare your copy with its source",
                manifest, len(names), counted(len(expected), "file"), text, names[0],
            )  # fmt: skip
