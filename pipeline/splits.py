"""Evaluation protocols: which clips train, which test.

| protocol    | folds                        | test clips of a fold                            |
|-------------|------------------------------|-------------------------------------------------|
| `paper`     | one, `paper`                 | `test_per_emotion` random clips per emotion     |
| `loso`      | one per speaker              | all clips of the speaker left out               |
| `loso_text` | one per speaker, text group  | the speaker's clips of the group; neither the   |
|             |                              | speaker nor a sentence of the group is trained  |
| `folds`     | those of a CSV file          | the clips, or all clips of the speakers, that   |
|             |                              | the file puts in the fold                       |

Where `speaker_groups` is set, `loso` and `loso_text` leave out one group of speakers at a time in
place of one speaker: 91 folds would train 91 detectors and their inner ones.

Under every protocol, a clip without an emotion is only asked about: every fold predicts it. What
trains holds none of the recordings that are tested: a twin of a test clip
(`pipeline.corpora.twins`) is left out of training.

What is random is drawn by the hash of (seed, id), never by a generator that runs over all clips: a
clip that is added or quarantined leaves the others where they were, as far as equal parts allow.
"""

import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import Field, field_validator

from pipeline.clips import ClipRecord, emotions_of
from pipeline.errors import CorpusError
from pipeline.foreign import read_table
from pipeline.params import Count, CountOrNone, Section, Seed

FOLD_NAME = re.compile(r"[\w-]+")
"""Names become file names."""

SAVEE_ORDER = ("JE", "KL", "DC", "JK")
"""Order in which SAVEE's speakers are left out; other speakers follow by name."""


class SplitParams(Section):
    """Section `split` of `params.yaml`."""

    protocol: Literal["paper", "loso", "loso_text", "folds"]
    test_per_emotion: Count
    speaker_groups: CountOrNone
    text_groups: int = Field(ge=2, le=1000)
    folds_csv: Path
    seed: Seed

    @field_validator("speaker_groups")
    @classmethod
    def _one_group_trains_nothing(cls, count: int) -> int:
        if count == 1:
            raise ValueError("expected 0 (one speaker at a time), or 2 groups and more")
        return count


@dataclass(frozen=True, slots=True)
class Fold:
    """Clip ids that train, that test, and that are only predicted; disjoint, each sorted."""

    name: str
    train: tuple[str, ...]
    test: tuple[str, ...]
    asked: tuple[str, ...] = ()


def make_folds(records: Sequence[ClipRecord], params: SplitParams) -> list[Fold]:
    """Split clips by `split.protocol`.

    Raises:
        CorpusError: the protocol cannot be had from these clips (too few clips of an emotion,
            one speaker only, unknown sentences, a folds file that does not fit), or a fold
            would train without one of the emotions that it tests.
    """
    asked = tuple(sorted(record.clip_id for record in records if not record.emotion))
    records = [record for record in records if record.emotion]
    if params.protocol == "paper":
        folds = [_paper(records, params)]
    elif params.protocol == "loso":
        folds = [_without(records, name, who) for name, who in left_out(records, params).items()]
    elif params.protocol == "loso_text":
        folds = _loso_text(records, params)
    else:
        folds = _from_csv(records, params.folds_csv)
    folds = [
        Fold(one.name, _without_twins(one.train, one.test, records), one.test, asked)
        for one in folds
    ]
    for fold in folds:
        _check(fold, records)
    return folds


def only(folds: Iterable[Fold], records: Iterable[ClipRecord]) -> list[Fold]:
    """The folds with these clips alone.

    Folds are made of all clips and cut down to those that a system can read: what it reads moves
    no clip to the other side, where the fold's detector may have seen it. Clips to test whose
    emotion is left without a training clip are left out, and folds that have none to train on or to
    test.
    """
    emotion = {record.clip_id: record.emotion for record in records}
    cut = []
    for fold in folds:
        train = tuple(i for i in fold.train if i in emotion)
        known = {emotion[i] for i in train}
        test = tuple(i for i in fold.test if emotion.get(i) in known)
        if train and test:
            asked = tuple(i for i in fold.asked if i in emotion)
            cut.append(Fold(fold.name, train, test, asked))
    return cut


def left_out(records: Sequence[ClipRecord], params: SplitParams) -> dict[str, set[str]]:
    """Speakers that `loso` and `loso_text` leave out together, by the name of their fold.

    One speaker at a time, named as the speaker: SAVEE's in their usual order, then by name. Or
    `speaker_groups` groups, equal to within one speaker, dealt by hash: a speaker who is added or
    removed moves as many others as there are groups, less one, at most.

    Raises:
        CorpusError: fewer than two speakers, or fewer than groups.
    """
    speakers = {record.speaker for record in records}
    if len(speakers) < 2:
        raise CorpusError(
            f"split.protocol: leave-one-speaker-out needs 2 speakers, got {sorted(speakers)}; "
            "use `paper` or `folds`"
        )
    count = params.speaker_groups
    if count > len(speakers):
        raise CorpusError(
            f"split.speaker_groups: got {count}, but there are {len(speakers)} speakers; lower it, "
            "or set it to 0 for one speaker at a time"
        )
    if count == 0:
        known = [speaker for speaker in SAVEE_ORDER if speaker in speakers]
        order = known + sorted(speakers.difference(SAVEE_ORDER))
        return {speaker: {speaker} for speaker in order}
    group = _dealt(speakers, count, params.seed)
    return {f"speakers{n}": {s for s in speakers if group[s] == n} for n in range(count)}


def _paper(records: Sequence[ClipRecord], params: SplitParams) -> Fold:
    """The clips of the `test_per_emotion` least digests of each emotion test.

    An added clip tests or not by its own digest; it takes the place of one clip of its emotion at
    most, a removed one gives it back, and all other emotions stay as they were.
    """
    test: set[str] = set()
    for emotion in emotions_of(records):
        ids = [r.clip_id for r in records if r.emotion == emotion]
        if len(ids) <= params.test_per_emotion:
            raise CorpusError(
                f"split.test_per_emotion: got {params.test_per_emotion}, but {emotion} has "
                f"{len(ids)} clips and must keep one to train on; lower it"
            )
        test.update(_ranked(ids, params.seed)[: params.test_per_emotion])
    return _fold("paper", records, test)


def _ranked(names: Iterable[str], seed: int) -> list[str]:
    """Names in the order of their digests: random, and independent of which others there are."""
    return sorted(names, key=lambda name: hashlib.sha256(f"{seed}/{name}".encode()).digest())


def _dealt(names: Iterable[str], count: int, seed: int, first: int = 0) -> dict[str, int]:
    """Number of its part for each name: `count` runs of the ranking, equal to within one.

    A name that is added or removed shifts each of the `count` - 1 ends of runs by one place at
    most, so that no more than `count` - 1 other names change their part. Fewer is not to be had
    together with equal parts; dealing the ranks in turn would move half of all names.

    Args:
        names: distinct.
        count: number of parts.
        seed: of the ranking.
        first: part of the first run. Lists of several kinds that each leave a remainder should
            not all leave it in the same part.
    """
    ranked = _ranked(names, seed)
    return {name: (rank * count // len(ranked) + first) % count for rank, name in enumerate(ranked)}


def _without(records: Sequence[ClipRecord], name: str, speakers: set[str]) -> Fold:
    return _fold(name, records, {r.clip_id for r in records if r.speaker in speakers})


def _loso_text(records: Sequence[ClipRecord], params: SplitParams) -> list[Fold]:
    """Leave out a speaker, or a group of them, and a group of sentences at once.

    Every sentence belongs to one of `text_groups` groups, dealt so that each emotion's sentences
    spread over the groups. A fold tests the speaker's clips of one group and trains on the other
    speakers' clips of the other groups, so that every clip is tested exactly once.
    """
    missing = [record.clip_id for record in records if not record.sentence]
    if missing:
        raise CorpusError(
            f"split.protocol loso_text: {len(missing)} clips have no sentence id, the first is "
            f"{missing[0]}; use `loso`"
        )
    groups = _text_groups(records, params)
    folds = []
    for name, speakers in left_out(records, params).items():
        for group in range(params.text_groups):
            test = {
                r.clip_id for r in records if r.speaker in speakers and groups[r.sentence] == group
            }
            train = {
                r.clip_id
                for r in records
                if r.speaker not in speakers and groups[r.sentence] != group
            }
            if test:
                folds.append(Fold(f"{name}-text{group}", tuple(sorted(train)), tuple(sorted(test))))
    return folds


def _text_groups(records: Sequence[ClipRecord], params: SplitParams) -> dict[str, int]:
    """Group of each sentence, dealt among the sentences that are spoken in the same emotions.

    A clip of a sentence and emotion that occur together already moves nothing. One that brings a
    new sentence moves `text_groups` - 1 others of its kind at most; one that brings an emotion to
    a known sentence moves that sentence to another kind, and as many in each of the two.
    """
    place = {emotion: number for number, emotion in enumerate(emotions_of(records))}
    spoken_in: dict[str, set[int]] = {}
    for record in records:
        spoken_in.setdefault(record.sentence, set()).add(place[record.emotion])
    kinds: dict[tuple[int, ...], list[str]] = {}
    for sentence, found in spoken_in.items():
        kinds.setdefault(tuple(sorted(found)), []).append(sentence)
    groups: dict[str, int] = {}
    for kind, sentences in kinds.items():
        groups |= _dealt(sentences, params.text_groups, params.seed, first=kind[0])
    return groups


def _from_csv(records: Sequence[ClipRecord], path: Path) -> list[Fold]:
    """Folds of a table `clip_id,fold`, or `speaker,fold`, which puts all clips of a speaker in one.

    A table by clip names every clip and no other. One by speaker may name speakers who are not
    there, so that one file serves any part of a corpus; a fold without clips is left out.
    """
    column, fold_of = _read_folds(path)
    present = {record.clip_id if column == "clip_id" else record.speaker for record in records}
    missing = sorted(present - fold_of.keys())
    if column == "speaker" and missing:
        raise CorpusError(
            f"{path}: {len(missing)} speakers without a fold {missing[:3]}; every speaker of the "
            "corpus must stand there once"
        )
    unknown = sorted(fold_of.keys() - present)
    if column == "clip_id" and (unknown or missing):
        raise CorpusError(
            f"{path}: {len(unknown)} unknown clip ids {unknown[:3]}, {len(missing)} clips without "
            f"a fold {missing[:3]}; every id of data/clips.csv must stand there once, and no other "
            "(none are those quarantined, and those without an emotion)"
        )
    fold_of_clip = {
        r.clip_id: fold_of[r.clip_id if column == "clip_id" else r.speaker] for r in records
    }
    names = sorted(set(fold_of_clip.values()))
    return [
        _fold(name, records, {i for i, fold in fold_of_clip.items() if fold == name})
        for name in names
    ]


def _read_folds(path: Path) -> tuple[Literal["clip_id", "speaker"], dict[str, str]]:
    """What the rows of a table of folds are named by, and the fold of each."""
    if not path.is_file():
        raise CorpusError(
            f"split.folds_csv: {path}: no such file; write one with columns clip_id,fold or "
            "speaker,fold"
        )
    table = read_table(path)
    rows = list(table.rows.values())
    column: Literal["clip_id", "speaker"] = "clip_id" if "clip_id" in table.columns else "speaker"
    if not {column, "fold"} <= set(table.columns):
        raise CorpusError(
            f"{path}: got columns {', '.join(table.columns) or '(none)'}, expected clip_id,fold or "
            "speaker,fold"
        )
    for line, row in table.rows.items():
        if not FOLD_NAME.fullmatch(row["fold"]):
            raise CorpusError(
                f"{path} line {line}: fold of {row[column]}: got {row['fold']!r}, expected a name "
                "of letters, digits, - and _"
            )
    names = [row[column] for row in rows]
    doubled = sorted({name for name in names if names.count(name) > 1})
    if doubled:
        raise CorpusError(f"{path}: {column} {doubled[0]} occurs twice; each must stand there once")
    return column, {row[column]: row["fold"] for row in rows}


def _fold(name: str, records: Sequence[ClipRecord], test: set[str]) -> Fold:
    train = sorted(r.clip_id for r in records if r.clip_id not in test)
    return Fold(name, tuple(train), tuple(sorted(test)))


def _without_twins(
    train: Sequence[str], test: Iterable[str], records: Sequence[ClipRecord]
) -> tuple[str, ...]:
    """Ids to train on but for those of clips that hold the same recording as one to test."""
    twin = {record.clip_id: record.twin for record in records if record.twin}
    tested = {twin[clip_id] for clip_id in test if clip_id in twin}
    return tuple(clip_id for clip_id in train if twin.get(clip_id) not in tested)


def _check(fold: Fold, records: Sequence[ClipRecord]) -> None:
    emotion = {record.clip_id: record.emotion for record in records}
    if not fold.train or not fold.test:
        raise CorpusError(
            f"fold {fold.name}: {len(fold.train)} clips to train on and {len(fold.test)} to test; "
            "both must be at least 1; choose another split.protocol"
        )
    untrained = {emotion[i] for i in fold.test} - {emotion[i] for i in fold.train}
    if untrained:
        raise CorpusError(
            f"fold {fold.name}: {', '.join(sorted(untrained))} occurs in its test clips only; "
            "no system can learn it; choose another split.protocol or add clips"
        )


# ---------------------------------------------------------------- inner folds


class InnerFoldParams(Section):
    """Section `inner_folds` of `params.yaml`: parts of the training clips to calibrate on."""

    count: CountOrNone
    seed: Seed


def inner_folds(
    records: Sequence[ClipRecord], folds: Sequence[Fold], params: InnerFoldParams
) -> dict[str, tuple[Fold, ...]]:
    """Folds within the training clips of each fold, named `<fold>.inner0`, `<fold>.inner1`, ...

    They mirror the protocol. Where it has folds enough, an inner fold holds out what another fold
    leaves out: it trains on the clips that train in both. Others are taken in a circle, the next
    fold, the one before, and so on, so that each such set of training clips, and one detector with
    it, serves two folds. Where the fold's test speakers do not train, those of its inner folds do
    not either.

    Else, as with the single fold of `paper`, training clips are parted by themselves: whole
    speakers, one of `inner_folds.count` + 1 groups at a time, where the test speakers do not train;
    otherwise clips are dealt evenly by emotion into `inner_folds.count` parts, two at least.

    Clips whose emotion is nowhere else in training are not held out, since nothing could learn it.
    Sentences are not parted, under `loso_text` neither: that would leave a third of the clips to
    train on, and calibrate another network.

    Returns:
        By the fold's name `inner_folds.count` of them at most; none where there are not two parts,
        as with a single training speaker.
    """
    if params.count == 0:
        return {fold.name: () for fold in folds}
    return {fold.name: _inner(records, folds, fold, params) for fold in folds}


def all_inner_folds(
    records: Sequence[ClipRecord], folds: Sequence[Fold], params: InnerFoldParams
) -> tuple[Fold, ...]:
    """The inner folds of all folds of a protocol, one after the other."""
    return tuple(one for inner in inner_folds(records, folds, params).values() for one in inner)


def _inner(
    records: Sequence[ClipRecord], folds: Sequence[Fold], fold: Fold, params: InnerFoldParams
) -> tuple[Fold, ...]:
    by_id = {record.clip_id: record for record in records}
    train = [by_id[i] for i in fold.train]
    unseen = {by_id[i].speaker for i in fold.test}.isdisjoint({r.speaker for r in train})
    parts = _by_other_folds(train, folds, fold, unseen, max(2, params.count))
    if len(parts) < 2:
        parts = _by_speaker(train, params) if unseen else _by_emotion(train, params)
    if len(parts) < 2:
        return ()
    splits = [_split(train, set(part)) for part in parts[: params.count]]
    return tuple(
        Fold(f"{fold.name}.inner{number}", rest, test)
        for number, (rest, test) in enumerate(split for split in splits if split[1])
    )


def _by_other_folds(
    train: Sequence[ClipRecord], folds: Sequence[Fold], fold: Fold, unseen: bool, count: int
) -> list[list[str]]:
    """What each other fold leaves out of this one's training clips, the nearest in a circle first.

    Args:
        train: training clips of the fold.
        folds: of the protocol.
        fold: one of them.
        unseen: whether speakers must be left out whole.
        count: of parts that are enough.
    """
    own = folds.index(fold)
    steps = (sign * step for step in range(1, len(folds)) for sign in (1, -1))
    others = dict.fromkeys((own + step) % len(folds) for step in steps)
    parts: list[list[str]] = []
    for number in others:
        kept = set(folds[number].train)
        part = [r.clip_id for r in train if r.clip_id not in kept]
        out = {r.speaker for r in train if r.clip_id not in kept}
        rest = {r.speaker for r in train if r.clip_id in kept}
        if part and rest and not (unseen and out & rest):
            parts.append(part)
        if len(parts) == count:
            break
    return parts


def _split(train: Sequence[ClipRecord], part: set[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Ids to train on and to hold out, sorted."""
    kept = set(_without_twins([r.clip_id for r in train if r.clip_id not in part], part, train))
    rest = [r for r in train if r.clip_id in kept]
    known = {r.emotion for r in rest}
    test = [r.clip_id for r in train if r.clip_id in part and r.emotion in known]
    return tuple(sorted(r.clip_id for r in rest)), tuple(sorted(test))


def _by_speaker(train: Sequence[ClipRecord], params: InnerFoldParams) -> list[list[str]]:
    """Parts of whole speakers, equal to within one speaker.

    Another clip of a known speaker moves nothing; a new speaker moves as many others as there are
    parts, less one, at most, once there are more speakers than parts.
    """
    speakers = {record.speaker for record in train}
    count = min(len(speakers), params.count + 1)
    part = _dealt(speakers, count, params.seed)
    return [[r.clip_id for r in train if part[r.speaker] == number] for number in range(count)]


def _by_emotion(train: Sequence[ClipRecord], params: InnerFoldParams) -> list[list[str]]:
    """Parts that are equal to within one clip of each emotion.

    A clip more or less moves as many others of its emotion as there are parts, less one, at most:
    a single one with two parts.
    """
    count = max(2, params.count)
    part: dict[str, int] = {}
    for number, emotion in enumerate(emotions_of(train)):
        ids = [record.clip_id for record in train if record.emotion == emotion]
        part |= _dealt(ids, count, params.seed, first=number)
    return [[r.clip_id for r in train if part[r.clip_id] == number] for number in range(count)]
