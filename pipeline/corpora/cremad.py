"""CREMA-D: 91 actors, six emotions (no surprise), twelve sentences.

    VideoFlash/1001_DFA_ANG_XX.flv     picture with its sound
    AudioWAV/1001_DFA_ANG_XX.wav       sound; preferred to the mp3 and to the video's track
    AudioMP3/1001_DFA_ANG_XX.mp3
    actor _ sentence _ emotion _ intensity

The folders' names do not matter, nor which of the three kinds are there.

Source: Cao et al. (2014), IEEE Transactions on Affective Computing 5(4).
"""

import re
from pathlib import Path

from pipeline.clips import Index
from pipeline.corpora.index import Label, Naming, index_folder, kind_of
from pipeline.errors import CorpusError

EMOTION_OF = {
    "ANG": "anger",
    "DIS": "disgust",
    "FEA": "fear",
    "HAP": "happiness",
    "NEU": "neutral",
    "SAD": "sadness",
}

_NAME = re.compile(
    rf"(?P<actor>\d{{4}})_(?P<sentence>[A-Z]{{3}})_(?P<emotion>{'|'.join(EMOTION_OF)})_(LO|MD|HI|XX?)"
)


def index_cremad(root: Path) -> Index:
    """Index CREMA-D below `root`.

    Raises:
        CorpusError: `root` is not a folder.
    """
    return index_folder(root, Naming(read_name, video=("video",), audio=("audio", "mp3")))


def read_name(path: Path) -> Label:
    """What `1001_DFA_ANG_XX.flv` says; the clip id is the whole name.

    Raises:
        CorpusError: not a name of CREMA-D.
    """
    match = _NAME.fullmatch(path.stem)
    if match is None:
        raise CorpusError(
            "unknown file name; expected actor_sentence_emotion_intensity such as 1001_DFA_ANG_XX "
            f"with emotion one of {' '.join(EMOTION_OF)}; rename it or move it out of corpus.root"
        )
    return Label(
        clip_id=path.stem,
        speaker=match["actor"],
        emotion=EMOTION_OF[match["emotion"]],
        sentence=match["sentence"],
        kind="mp3" if path.suffix.lower() == ".mp3" else kind_of(path),
    )
