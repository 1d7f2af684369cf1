"""RAVDESS: 24 actors, eight emotions, two statements, spoken and sung.

    Actor_01/03-01-05-01-02-01-01.wav     (or .flac; .mp4 for modalities 01 and 02)
    modality - channel - emotion - intensity - statement - repetition - actor

Modalities 01 (picture and sound), 02 (picture only) and 03 (sound only) of one performance are one
clip: its picture comes from 01, else 02; its sound from 03, else 01. The silent track of an 02 file
is not sound: `pipeline.media.decode` drops a silent track of a video.

Source: Livingstone and Russo (2018), PLoS ONE 13(5), Table 2.
"""

import re
from pathlib import Path

from pipeline.clips import Index
from pipeline.corpora.index import Label, Naming, index_folder
from pipeline.errors import CorpusError

EMOTION_OF = {
    "01": "neutral",
    "02": "calm",
    "03": "happiness",
    "04": "sadness",
    "05": "anger",
    "06": "fear",
    "07": "disgust",
    "08": "surprise",
}
KIND_OF = {"01": "picture and sound", "02": "picture", "03": "sound"}

_NAME = re.compile(
    r"(?P<modality>0[123])-(?P<performance>0[12]-(?P<emotion>0[1-8])-0[12]-(?P<statement>0[12])-0[12]"
    r"-(?P<actor>\d\d))"
)


def index_ravdess(root: Path) -> Index:
    """Index RAVDESS below `root`.

    Raises:
        CorpusError: `root` is not a folder.
    """
    naming = Naming(read_name, video=(KIND_OF["01"], KIND_OF["02"]), audio=(KIND_OF["03"],))
    return index_folder(root, naming)


def read_name(path: Path) -> Label:
    """What `03-01-05-01-02-01-01.wav` says; the clip id is the name without its modality.

    Raises:
        CorpusError: not a name of RAVDESS.
    """
    match = _NAME.fullmatch(path.stem)
    if match is None:
        raise CorpusError(
            "unknown file name; expected seven two-digit codes such as 03-01-05-01-02-01-01; "
            "rename it or move it out of corpus.root"
        )
    return Label(
        clip_id=match["performance"],
        speaker=f"Actor_{match['actor']}",
        emotion=EMOTION_OF[match["emotion"]],
        sentence=f"statement{int(match['statement'])}",
        kind=KIND_OF[match["modality"]],
    )


def is_silent(path: Path) -> bool:
    """Whether a film of RAVDESS is one whose sound track holds digital silence."""
    return read_name(path).kind == KIND_OF["02"]
