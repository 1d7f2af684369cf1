from dataclasses import replace

from pipeline.clips import ClipRecord
from pipeline.splits import Fold, InnerFoldParams, inner_folds

SPEAKERS = ("DC", "JE", "JK", "KL")
RECORDS = [
    ClipRecord(f"{s}_{e[0]}{t}", s, e, f"s{t}", 1, 25.0, 1, 8, 8, 480, 48000)
    for s in SPEAKERS
    for e in ("anger", "fear")
    for t in range(4)
]
IDS = [record.clip_id for record in RECORDS]
SEEN = Fold("paper", tuple(IDS[1:]), tuple(IDS[:1]))
UNSEEN = Fold("DC", tuple(IDS[8:]), tuple(IDS[:8]))


def inner(fold, folds):
    return inner_folds(RECORDS, fold, InnerFoldParams(count=folds, seed=0))


def test_they_part_the_training_clips_and_leave_test_clips_alone():
    for fold in (SEEN, UNSEEN):
        for number, one in enumerate(inner(fold, 2)):
            assert one.name == f"{fold.name}.inner{number}"
            assert not set(one.train) & set(one.test)
            assert set(one.train) | set(one.test) == set(fold.train)


def test_clips_of_known_speakers_are_dealt_evenly_by_emotion():
    parts = inner(SEEN, 3)
    assert sorted(i for one in parts for i in one.test) == sorted(SEEN.train)
    for one in parts:
        assert 4 <= sum("_a" in i for i in one.test) <= 6


def test_unseen_speakers_are_held_out_whole_in_groups():
    for folds, groups in ((2, [{"JE"}, {"JK"}]), (1, [{"JE", "KL"}])):
        parts = inner(UNSEEN, folds)
        assert [{i[:2] for i in one.test} for one in parts] == groups
        for one in parts:
            assert not {i[:2] for i in one.train} & {i[:2] for i in one.test}


def test_none_is_none_and_one_is_a_half():
    assert inner(SEEN, 0) == inner(UNSEEN, 0) == ()
    (one,) = inner(SEEN, 1)
    assert abs(len(one.train) - len(one.test)) <= 2


def test_what_nothing_else_teaches_is_not_held_out():
    lonely = replace(RECORDS[1], emotion="surprise")
    records = [lonely, *RECORDS[2:], RECORDS[0]]
    parts = inner_folds(records, SEEN, InnerFoldParams(count=2, seed=0))
    assert all(lonely.clip_id not in one.test for one in parts)
    assert any(lonely.clip_id in one.train for one in parts)
    many = inner_folds(
        records[:4],
        Fold("few", tuple(r.clip_id for r in records[:4]), ()),
        InnerFoldParams(count=9, seed=0),
    )
    assert all(one.test for one in many)
