from dataclasses import replace
from itertools import count

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.clips import ClipRecord
from pipeline.splits import (
    Fold,
    InnerFoldParams,
    SplitParams,
    all_inner_folds,
    inner_folds,
    make_folds,
)

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
    return inner_folds(RECORDS, [fold], InnerFoldParams(count=folds, seed=0))[fold.name]


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
    for folds, sizes in ((2, [1, 1]), (1, [2]), (9, [1, 1, 1])):
        parts = inner(UNSEEN, folds)
        out = [{i[:2] for i in one.test} for one in parts]
        assert [len(speakers) for speakers in out] == sizes
        assert len(set.union(*out)) == sum(sizes)
        for one in parts:
            assert not {i[:2] for i in one.train} & {i[:2] for i in one.test}


def parts_of(records, fold, folds, seed):
    """Number of its part for each clip that is held out."""
    inner = inner_folds(records, [fold], InnerFoldParams(count=folds, seed=seed))[fold.name]
    return {i: number for number, one in enumerate(inner) for i in one.test}


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 99), st.integers(2, 4), st.integers(0, 31))
def test_an_added_clip_moves_few_others_and_only_of_its_emotion(seed, folds, index):
    one = RECORDS[index]
    new = replace(one, clip_id="XX_new")
    ids = tuple(i for i in IDS if i != IDS[0])
    before = parts_of(RECORDS, Fold("paper", ids, IDS[:1]), folds, seed)
    after = parts_of([*RECORDS, new], Fold("paper", (*ids, "XX_new"), IDS[:1]), folds, seed)
    emotion = {r.clip_id: r.emotion for r in RECORDS}
    moved = [i for i in before if before[i] != after[i]]
    assert len(moved) <= folds - 1 and {emotion[i] for i in moved} <= {one.emotion}
    for parts in (before, after):
        for kind in ("anger", "fear"):
            sizes = [
                sum(n == part and {**emotion, "XX_new": one.emotion}[i] == kind
                    for i, n in parts.items())
                for part in range(folds)
            ]  # fmt: skip
            assert max(sizes) - min(sizes) <= 1


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 99), st.integers(1, 3), st.integers(4, 9))
def test_an_added_clip_moves_no_speaker_and_a_speaker_few_others(seed, folds, speakers):
    names = [f"S{n}" for n in range(speakers)]
    number = count()
    records = [
        replace(RECORDS[0], clip_id=f"{s}_{next(number)}", speaker=s, emotion=e)
        for s in ("out", *names, "new")
        for e in ("anger", "fear")
    ]
    test = tuple(r.clip_id for r in records if r.speaker == "out")
    old = tuple(r.clip_id for r in records if r.speaker in names)
    every = tuple(r.clip_id for r in records if r.speaker != "out")
    before = parts_of(records, Fold("out", old, test), folds, seed)
    more = replace(records[2], clip_id="another")
    added = parts_of([*records, more], Fold("out", (*old, "another"), test), folds, seed)
    assert {i: n for i, n in added.items() if i != "another"} == before
    after = parts_of(records, Fold("out", every, test), folds, seed)
    moved = {i.split("_")[0] for i in old if before.get(i) != after.get(i)}
    assert len(moved) <= folds


def test_none_is_none_and_one_is_a_half():
    assert inner(SEEN, 0) == inner(UNSEEN, 0) == ()
    (one,) = inner(SEEN, 1)
    assert abs(len(one.train) - len(one.test)) <= 2


def test_what_nothing_else_teaches_is_not_held_out():
    lonely = replace(RECORDS[1], emotion="surprise")
    records = [lonely, *RECORDS[2:], RECORDS[0]]
    parts = inner_folds(records, [SEEN], InnerFoldParams(count=2, seed=0))[SEEN.name]
    assert all(lonely.clip_id not in one.test for one in parts)
    assert any(lonely.clip_id in one.train for one in parts)
    few = Fold("few", tuple(r.clip_id for r in records[:4]), ())
    many = inner_folds(records[:4], [few], InnerFoldParams(count=9, seed=0))["few"]
    assert all(one.test for one in many)


def split_of(protocol, tmp_path, **changes):
    table = tmp_path / "folds.csv"
    rows = [f"{r.clip_id},part{n % 3}" for n, r in enumerate(RECORDS)]
    table.write_text("clip_id,fold\n" + "\n".join(rows))
    return SplitParams(protocol=protocol, test_per_emotion=1, speaker_groups=0, text_groups=2,
                       folds_csv=table, seed=0)  # fmt: skip


@pytest.mark.parametrize(("protocol", "detectors"), [("loso", 4), ("loso_text", 8), ("folds", 3)])
def test_two_folds_share_what_leaves_out_both(tmp_path, protocol, detectors):
    folds = make_folds(RECORDS, split_of(protocol, tmp_path))
    inner = inner_folds(RECORDS, folds, InnerFoldParams(count=2, seed=0))
    shared = {}
    for fold in folds:
        assert len(inner[fold.name]) == 2
        for one in inner[fold.name]:
            assert sorted((*one.train, *one.test)) == list(fold.train)
            if protocol != "folds":
                speaker = {i[:2] for i in one.test}
                assert len(speaker) == 1 and not speaker & {i[:2] for i in (*one.train, *fold.test)}
            shared.setdefault(one.train, set()).add(fold.name)
    assert len(shared) == detectors
    assert all(len(names) == 2 for names in shared.values())


def test_of_many_folds_the_nearest_are_held_out_in_turn(tmp_path):
    folds = make_folds(RECORDS, split_of("loso", tmp_path))
    every = all_inner_folds(RECORDS, folds, InnerFoldParams(count=9, seed=0))
    assert [fold.name for fold in folds] == ["JE", "KL", "DC", "JK"]
    held_out = [one.test[0][:2] for one in every]
    assert held_out == ["KL", "JK", "DC", "DC", "JE", "JK", "JK", "KL", "JE", "JE", "DC", "KL"]
    assert len({one.train for one in every}) == 6
