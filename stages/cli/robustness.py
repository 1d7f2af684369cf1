"""`avemo robustness`: what a saved model says of damaged and attacked clips.

It writes `robustness.json`, `robustness.csv` and the page `robustness.html` into `results`. Long
and optional, so no stage of `dvc.yaml`: answers are in the clip cache, and a second call goes on
from there.
"""

import sys
import time
from collections.abc import Sequence
from pathlib import Path

from models.robustness.evaluate import Subject, evaluate
from models.robustness.trial import Stored
from models.saved_model import read_card
from pipeline.clips import ClipRecord, frame_name, read_clips
from pipeline.corpora.survey import survey
from pipeline.errors import CorpusError
from pipeline.report.robustness.page import write_robustness
from pipeline.scores.predictions import headline, read_predictions
from pipeline.work.progress import counted, print_summary
from stages.cli.predict import model_folder

DATA, RESULTS, PREDICTIONS = Path("data"), Path("results"), Path("results/predictions.csv")
"""As in `dvc.yaml`."""


def main(root: Path | None, model: str, conditions: Sequence[str], quick: bool, seed: int) -> None:
    """Answer the clips under all conditions; write figures and page.

    Args:
        root: folder of labelled recordings, of a corpus or one's own; None takes the test clips of
            the model's fold, as the stages left them.
        model: as in `stages.cli.predict.load_model`.
        conditions: names; none means all.
        quick: see `models.robustness.evaluate`.
        seed: of all that is drawn.

    Raises:
        CorpusError: there are no such clips.
        ParamsError: an unknown condition.
        WeightsError: the model cannot be read.
    """
    started = time.monotonic()
    folder = model_folder(model)
    fold = read_card(folder).fold
    subjects = test_clips(fold) if root is None else recordings(root)
    source = f"the test clips of fold {fold}" if root is None else f"the recordings of {root.name}"
    found = evaluate(folder, subjects, source, conditions, quick, seed)
    for one in found.left_out:
        print(f"left out: {one.clip_id}: {one.reason}", file=sys.stderr)
    page = write_robustness(RESULTS, found).resolve().as_uri()
    clips, tried = counted(found.clips, "clip"), counted(len(found.conditions), "condition")
    left_out = f", {len(found.left_out)} left out" if found.left_out else ""
    print_summary("robustness", f"{clips}{left_out}, {tried}, {page}", started)


def test_clips(fold: str) -> list[Subject]:
    """The clips that a fold's model was tested on, from the products of the stages.

    Raises:
        CorpusError: the model learned from all clips, or the products are not those of its run.
    """
    if fold == "all":
        raise CorpusError(
            "pack.clips: all: the model has learned from every clip of its corpus; name a folder "
            "of recordings that it has not heard"
        )
    if not PREDICTIONS.is_file():
        raise CorpusError(
            f"{PREDICTIONS}: no such file; run `dvc repro`, or name a folder of recordings"
        )
    branches = read_predictions(PREDICTIONS)
    tested = branches[headline(branches)]
    ids = {clip_id for clip_id, own in zip(tested.clip_id, tested.fold, strict=True) if own == fold}
    if not ids:
        raise CorpusError(
            f"{PREDICTIONS}: no test clip of fold {fold}, whose model this is; run `dvc repro`, or "
            "name a folder of recordings"
        )
    records = [one for one in read_clips(DATA / "clips.csv") if one.clip_id in ids]
    return [Subject(one.clip_id, one.speaker, one.emotion, _stored(one)) for one in records]


def _stored(record: ClipRecord) -> Stored:
    images = DATA / "voc/JPEGImages"
    frames = (images / f"{frame_name(record.clip_id, i)}.jpg" for i in range(record.frames))
    sound = DATA / "audio32k" / f"{record.clip_id}.wav" if record.has_audio else None
    return Stored(tuple(frames), record.times_s, sound)


def recordings(root: Path) -> list[Subject]:
    """The labelled clips of a folder, of a known corpus or one's own.

    Raises:
        CorpusError: no such folder, or no labelled recording in it.
    """
    clips = survey(root).index.clips
    found = [Subject(one.clip_id, one.speaker, one.emotion, one) for one in clips if one.emotion]
    if not found:
        raise CorpusError(
            f"{root}: no recording whose emotion is known; see `avemo corpus {root}` for what the "
            "names tell"
        )
    return found
