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
    into `calibrate.folds` parts, two at least. Clips whose emotion is nowhere else in training are
    not held out, since nothing could learn it. Sentences are not parted, under `loso_text` neither:
    that would leave a third of the clips to train on, and calibrate another network.

    Returns:
        `calibrate.folds` of them at most; none where there are not two parts, as with a single
        training speaker.
    """
    if params.folds == 0:
        return ()
    by_id = {record.clip_id: record for record in records}
    train = [by_id[i] for i in fold.train]
    unseen = {by_id[i].speaker for i in fold.test}.isdisjoint({r.speaker for r in train})
    parts = _by_speaker(train, params) if unseen else _by_emotion(train, params)
    if len(parts) < 2:
        return ()
    splits = [_split(train, set(held)) for held in parts[: params.folds]]
    return tuple(
        Fold(f"{fold.name}.inner{number}", rest, held)
        for number, (rest, held) in enumerate(split for split in splits if split[1])
    )


def all_inner_folds(
    records: Sequence[ClipRecord], folds: Sequence[Fold], params: CalibrateParams
) -> tuple[Fold, ...]:
    """The inner folds of all folds of a protocol."""
    return tuple(one for fold in folds for one in inner_folds(records, fold, params))


def _split(train: Sequence[ClipRecord], held: set[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Ids to train on and to hold out, sorted."""
    rest = [r for r in train if r.clip_id not in held]
    known = {r.emotion for r in rest}
    test = [r.clip_id for r in train if r.clip_id in held and r.emotion in known]
    return tuple(sorted(r.clip_id for r in rest)), tuple(sorted(test))


def _by_speaker(train: Sequence[ClipRecord], params: CalibrateParams) -> list[list[str]]:
    speakers = sorted({record.speaker for record in train})
    count = min(len(speakers), params.folds + 1)
    group = {speaker: number % count for number, speaker in enumerate(speakers)}
    return [[r.clip_id for r in train if group[r.speaker] == number] for number in range(count)]


def _by_emotion(train: Sequence[ClipRecord], params: CalibrateParams) -> list[list[str]]:
    generator = random.Random(params.seed)
    ordered = sorted(train, key=lambda r: (r.emotion, generator.random()))
    count = max(2, params.folds)
    return [[r.clip_id for r in ordered[k::count]] for k in range(count)]
