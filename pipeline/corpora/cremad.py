"""CREMA-D: 91 actors, six emotions (no surprise), twelve sentences.

    VideoFlash/1001_DFA_ANG_XX.flv     picture with its sound
    AudioWAV/1001_DFA_ANG_XX.wav       sound; preferred to the mp3 and to the video's track
    AudioMP3/1001_DFA_ANG_XX.mp3
    actor _ sentence _ emotion _ intensity

The folders' names do not matter, nor which of the three kinds are there. What raters heard and saw
stands in `processedResults/summaryTable.csv`, a row per clip: `FileName` and `MultiModalVote`, the
first letter of the emotion with most votes, or of several with a colon between that tie.

Source: Cao et al. (2014), IEEE Transactions on Affective Computing 5(4).
"""

import logging
import re
from dataclasses import replace
from pathlib import Path

from pipeline.clips import POLARITY, Clip, Index
from pipeline.corpora.index import Label, Naming, index_folder, kind_of
from pipeline.errors import CorpusError
from pipeline.foreign import read_table

EMOTION_OF = {
    "ANG": "anger",
    "DIS": "disgust",
    "FEA": "fear",
    "HAP": "happiness",
    "NEU": "neutral",
    "SAD": "sadness",
}

VOTES = Path("processedResults/summaryTable.csv")
NAME_COLUMN, VOTE_COLUMN = "filename", "multimodalvote"

logger = logging.getLogger(__name__)

_NAME = re.compile(
    rf"(?P<actor>\d{{4}})_(?P<sentence>[A-Z]{{3}})_(?P<emotion>{'|'.join(EMOTION_OF)})_(LO|MD|HI|XX?)"
)


def index_cremad(root: Path, crowd: bool = False) -> Index:
    """Index CREMA-D below `root`.

    Args:
        root: the folder.
        crowd: whether the raters' choice is a clip's label, and not the emotion that was acted. A
            clip on which their votes tie, or without any, has no label.

    Raises:
        CorpusError: `root` is not a folder, or the raters' table is missing or no such table.
    """
    index = index_folder(root, Naming(read_name, video=("video",), audio=("audio", "mp3")))
    if not crowd:
        return index
    voted = read_votes(root)
    clips = [_labelled(clip, voted.get(clip.clip_id, "")) for clip in index.clips]
    if tied := [clip.clip_id for clip in clips if not clip.emotion]:
        logger.warning(
            "corpus.label_source: raters agree on no emotion of %d of %d clips, the first is %s; "
            "they train and test nothing and are predicted", len(tied), len(clips), tied[0],
        )  # fmt: skip
    return Index(clips, index.rejects)


def _labelled(clip: Clip, emotion: str) -> Clip:
    return replace(clip, emotion=emotion, polarity=POLARITY.get(emotion, 0))


def read_votes(root: Path) -> dict[str, str]:
    """The emotion that most raters chose, by clip id; none where they tie.

    The table lies in `root`, so that DVC sees where it changes.

    Raises:
        CorpusError: it is not there, or lacks a column.
    """
    places = [root / VOTES, root / VOTES.name]
    path = next((place for place in places if place.is_file()), None)
    if path is None:
        raise CorpusError(
            f"corpus.label_source: got crowd, but {places[0]} is not there; copy it from "
            "CREMA-D's repository, or set corpus.label_source: acted"
        )
    table = read_table(path)
    if not {NAME_COLUMN, VOTE_COLUMN} <= set(table.columns):
        raise CorpusError(
            f"{path}: got columns {', '.join(table.columns) or '(none)'}, expected FileName and "
            "MultiModalVote; copy it from CREMA-D's repository"
        )
    letters = {code[0]: emotion for code, emotion in EMOTION_OF.items()}
    votes = {row[NAME_COLUMN]: row[VOTE_COLUMN] for row in table.rows.values()}
    return {name: letters[vote] for name, vote in votes.items() if vote in letters}


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
