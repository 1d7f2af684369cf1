"""Inner folds: parts of a fold's training clips held out in turn, to calibrate on.

The detector and every network are trained again without the held clips. So what calibration sees
of them is what it will see of test clips, and a branch that has learned its training clips by heart
is not believed for it.
"""

import random
from collections.abc import Sequence

from pydantic import Field

from pipeline.clips import ClipRecord
from pipeline.params import Section
from pipeline.splits import Fold


class CalibrateParams(Section):
    """Section `calibrate` of `params.yaml`."""

    folds: int = Field(ge=0)
    seed: int = Field(ge=0)


def inner_folds(
    records: Sequence[ClipRecord], fold: Fold, params: CalibrateParams
) -> tuple[Fold, ...]:
    """Folds within the training clips of `fold`, named `<fold>.inner0`, `<fold>.inner1`, ...

    They mirror the protocol: where the fold's test speakers do not train, whole speakers are held
    out, one of `calibrate.folds` + 1 groups at a time; otherwise clips are dealt evenly by emotion
    into `calibrate.folds` parts. Sentences are not parted, under `loso_text` neither: that would
    leave a third of the clips to train on, and what it calibrates would be another network.

    Returns:
        `calibrate.folds` of them at most; none where there are not two parts.
    """
    by_id = {record.clip_id: record for record in records}
    train = [by_id[i] for i in fold.train]
    unseen = {by_id[i].speaker for i in fold.test}.isdisjoint({r.speaker for r in train})
    parts = _by_speaker(train, params) if unseen else _by_emotion(train, params)
    if len(parts) < 2:
        return ()
    return tuple(
        Fold(
            f"{fold.name}.inner{number}",
            tuple(sorted(set(fold.train) - set(held))),
            tuple(sorted(held)),
        )
        for number, held in enumerate(parts[: params.folds])
    )


def all_inner_folds(
    records: Sequence[ClipRecord], folds: Sequence[Fold], params: CalibrateParams
) -> tuple[Fold, ...]:
    """The inner folds of all folds of a protocol."""
    return tuple(one for fold in folds for one in inner_folds(records, fold, params))


def _by_speaker(train: Sequence[ClipRecord], params: CalibrateParams) -> list[list[str]]:
    speakers = sorted({record.speaker for record in train})
    count = min(len(speakers), params.folds + 1)
    group = {speaker: number % count for number, speaker in enumerate(speakers)}
    return [[r.clip_id for r in train if group[r.speaker] == number] for number in range(count)]


def _by_emotion(train: Sequence[ClipRecord], params: CalibrateParams) -> list[list[str]]:
    generator = random.Random(params.seed)
    ordered = sorted(train, key=lambda r: (r.emotion, generator.random()))
    return [[r.clip_id for r in ordered[k :: params.folds]] for k in range(params.folds)]
