from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from pipeline.clips import ClipRecord
from pipeline.errors import CorpusError
from pipeline.splits import Fold, InnerFoldParams, SplitParams, all_inner_folds, make_folds, only

EMOTIONS = ("anger", "fear", "neutral")


def record(speaker, emotion, take, sentence=None):
    sentence = f"s{take}" if sentence is None else sentence
    clip_id = f"{speaker}_{emotion[0]}{take:02d}"
    return ClipRecord(clip_id, speaker, emotion, sentence, 10, 25.0, 1, 32, 32, 4800, 48000)


def corpus(speakers=("DC", "JE", "JK", "KL"), takes=4):
    return [record(s, e, t) for s in speakers for e in EMOTIONS for t in range(takes)]


def params(**changes):
    values = {
        "protocol": "paper",
        "test_per_emotion": 3,
        "speaker_groups": 0,
        "text_groups": 2,
        "folds_csv": Path("folds.csv"),
        "seed": 0,
    }
    return SplitParams(**{**values, **changes})


def test_paper_takes_so_many_clips_of_each_emotion():
    records = corpus()
    (fold,) = make_folds(records, params())
    emotion = {r.clip_id: r.emotion for r in records}
    counts = [sum(emotion[i] == e for i in fold.test) for e in EMOTIONS]
    assert counts == [3, 3, 3]
    assert make_folds(records, params(seed=1)) != [fold]
    assert make_folds(records[::-1], params()) == [fold]


def test_folds_are_cut_down_to_the_clips_that_can_be_read():
    records = {r.clip_id: r for r in corpus(("DC", "JE"), takes=1)}
    fold = Fold("DC", ("DC_a00", "DC_f00"), ("JE_a00", "JE_f00", "JE_n00"))
    able = [records[i] for i in ("DC_a00", "JE_a00", "JE_f00")]
    assert only([fold], able) == [Fold("DC", ("DC_a00",), ("JE_a00",))]  # nothing shows fear
    assert only([fold], able[1:]) == []
    assert only([fold], records.values()) == [replace(fold, test=("JE_a00", "JE_f00"))]


@pytest.mark.parametrize("protocol", ["paper", "loso", "loso_text"])
def test_a_clip_without_an_emotion_is_only_asked_about(protocol):
    more = [replace(record("XX", "none", 0), emotion=""), *corpus()]
    split = params(protocol=protocol)
    plain, folds = make_folds(corpus(), split), make_folds(more, split)
    assert [replace(fold, asked=()) for fold in folds] == plain
    assert {fold.asked for fold in folds} == {("XX_n00",)}
    assert only(folds[:1], corpus()) == plain[:1]


@pytest.mark.parametrize("protocol", ["paper", "loso", "loso_text"])
@pytest.mark.parametrize("seed", range(3))
def test_no_twin_of_a_test_clip_is_trained_on(protocol, seed):
    records = corpus()
    twins = [r.clip_id for r in records if r.clip_id.endswith("_a01")]  # of all four speakers
    marked = [replace(r, twin="x" if r.clip_id in twins else "") for r in records]
    split = params(protocol=protocol, seed=seed)
    inner = InnerFoldParams(count=2, seed=0)
    plain, folds = make_folds(records, split), make_folds(marked, split)
    assert [fold.test for fold in folds] == [fold.test for fold in plain]
    for fold in (*folds, *all_inner_folds(marked, folds, inner)):
        assert not (set(twins) & set(fold.test) and set(twins) & set(fold.train))


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 99), st.integers(0, 47), st.integers(1, 8))
def test_one_clip_more_or_less_moves_one_test_clip_of_its_emotion_at_most(seed, index, size):
    more = corpus()
    one = more[index]
    fewer = [*more[:index], *more[index + 1 :]]
    sets = [
        set(make_folds(records, params(seed=seed, test_per_emotion=size))[0].test)
        for records in (more, fewer)
    ]
    assert len(sets[0] - sets[1]) == len(sets[1] - sets[0]) == (one.clip_id in sets[0])
    emotion = {r.clip_id: r.emotion for r in more}
    assert {emotion[i] for i in sets[0] ^ sets[1]} <= {one.emotion}
    assert sets[0] - sets[1] <= {one.clip_id}


def loso_text_groups(records, seed, groups):
    """Group of each sentence, told from the folds' names."""
    sentence = {r.clip_id: r.sentence for r in records}
    folds = make_folds(records, params(protocol="loso_text", seed=seed, text_groups=groups))
    return {sentence[i]: fold.name.rpartition("text")[2] for fold in folds for i in fold.test}


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 99), st.integers(2, 4), st.integers(4, 9))
def test_a_clip_moves_no_sentence_and_a_sentence_moves_few_others(seed, groups, takes):
    records = corpus(takes=takes)
    before = loso_text_groups(records, seed, groups)
    sizes = [list(before.values()).count(group) for group in set(before.values())]
    assert len(sizes) == groups and max(sizes) - min(sizes) <= 1
    again = replace(records[0], clip_id="DC_again")
    assert loso_text_groups([*records, again], seed, groups) == before
    new = [replace(record("DC", e, 50), sentence="new") for e in EMOTIONS]
    after = loso_text_groups([*records, *new], seed, groups)
    assert sum(after[name] != before[name] for name in before) <= groups - 1


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 99), st.sampled_from(["paper", "loso", "loso_text"]), st.integers(2, 4))
def test_no_clip_trains_and_tests_in_one_fold(seed, protocol, groups):
    records = corpus()
    for fold in make_folds(records, params(seed=seed, protocol=protocol, text_groups=groups)):
        assert not set(fold.train) & set(fold.test)


@pytest.mark.parametrize("protocol", ["loso", "loso_text"])
def test_leave_one_speaker_out_shares_no_speaker_and_tests_each_clip_once(protocol):
    records = corpus()
    by_id = {r.clip_id: r for r in records}
    folds = make_folds(records, params(protocol=protocol))
    for fold in folds:
        assert not {by_id[i].speaker for i in fold.train} & {by_id[i].speaker for i in fold.test}
    assert sorted(i for fold in folds for i in fold.test) == sorted(by_id)


def test_loso_leaves_speakers_out_in_the_order_of_savee():
    assert [f.name for f in make_folds(corpus(), params(protocol="loso"))] == [
        "JE", "KL", "DC", "JK",
    ]  # fmt: skip


def grouped(names, groups, seed, protocol):
    """Folds and speakers by clip of a corpus whose speakers are left out in groups."""
    records = corpus(names)
    chosen = params(protocol=protocol, speaker_groups=groups, seed=seed)
    return make_folds(records, chosen), {r.clip_id: r.speaker for r in records}


@settings(max_examples=40, deadline=None)
@given(
    st.integers(2, 30),
    st.integers(2, 6),
    st.integers(0, 99),
    st.sampled_from(["loso", "loso_text"]),
)
def test_groups_of_speakers_share_none_and_test_each_clip_once(count, groups, seed, protocol):
    folds, speaker = grouped(
        [f"{1001 + n}" for n in range(count)], min(groups, count), seed, protocol
    )
    tested = [{speaker[i] for i in fold.test} for fold in folds]
    for fold, speakers in zip(folds, tested, strict=True):
        assert not speakers & {speaker[i] for i in fold.train}
    assert sorted(i for fold in folds for i in fold.test) == sorted(speaker)
    assert len({frozenset(speakers) for speakers in tested}) == min(groups, count)
    assert max(map(len, tested)) - min(map(len, tested)) <= 1


@settings(max_examples=25, deadline=None)
@given(st.integers(4, 40), st.integers(2, 4), st.integers(0, 99))
def test_a_new_speaker_moves_few_others(count, groups, seed):
    names = [f"{1001 + n}" for n in range(count)]

    def group_of(names):
        folds, speaker = grouped(names, groups, seed, "loso")
        return {speaker[i]: fold.name for fold in folds for i in fold.test}

    before, after = group_of(names), group_of([*names, "2000"])
    assert sum(after[name] != before[name] for name in names) <= groups - 1


def test_loso_text_shares_no_sentence():
    records = corpus()
    sentence = {r.clip_id: r.sentence for r in records}
    for fold in make_folds(records, params(protocol="loso_text")):
        assert not {sentence[i] for i in fold.train} & {sentence[i] for i in fold.test}


def test_folds_file_is_followed_and_checked(tmp_path):
    records = corpus(speakers=("DC", "JE"))
    path = tmp_path / "folds.csv"
    rows = [f"{r.clip_id},{r.speaker}" for r in records]
    path.write_text("\n".join(["clip_id,fold", *rows]))
    folds = make_folds(records, params(protocol="folds", folds_csv=path))
    assert [f.name for f in folds] == ["DC", "JE"]
    path.write_text("\n".join(["clip_id,fold", "XX_a01,1", *rows[1:]]))
    with pytest.raises(CorpusError, match=r"1 unknown clip ids \['XX_a01'\], 1 clips without"):
        make_folds(records, params(protocol="folds", folds_csv=path))


def test_a_folds_file_by_speaker_serves_a_part_of_the_corpus(tmp_path):
    path = tmp_path / "folds.csv"
    path.write_text("speaker,fold\nDC,b\nJE,a\nJK,a\nKL,c\n")
    records = corpus(speakers=("DC", "JE", "JK"))
    speaker = {r.clip_id: r.speaker for r in records}
    folds = make_folds(records, params(protocol="folds", folds_csv=path))
    assert {f.name: {speaker[i] for i in f.test} for f in folds} == {"a": {"JE", "JK"}, "b": {"DC"}}
    assert sorted(i for fold in folds for i in fold.test) == sorted(speaker)


def test_what_cannot_be_split_is_refused():
    with pytest.raises(ValidationError, match="2 groups and more"):
        params(speaker_groups=1)
    with pytest.raises(CorpusError, match=r"speaker_groups: got 5, but there are 4 speakers"):
        make_folds(corpus(), params(protocol="loso", speaker_groups=5))
    with pytest.raises(CorpusError, match="lower it"):
        make_folds(corpus(speakers=("DC",), takes=3), params(test_per_emotion=3))
    with pytest.raises(CorpusError, match="needs 2 speakers"):
        make_folds(corpus(speakers=("DC",)), params(protocol="loso"))
    with pytest.raises(CorpusError, match="no sentence id"):
        make_folds([record("DC", "fear", 0, ""), *corpus()[1:]], params(protocol="loso_text"))
    only_dc_fears = [r for r in corpus() if r.speaker == "DC" or r.emotion != "fear"]
    with pytest.raises(CorpusError, match="fear occurs in its test clips only"):
        make_folds(only_dc_fears, params(protocol="loso"))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"clip_id,fold\nDC_a01\n", r"line 2: fold of DC_a01: got ''"),
        (b"clip_id,fold\nDC_a01,x/y\n", r"got 'x/y', expected a name of letters"),
        (b"clip_id,fold\nDC_a01,\x81\n", "neither UTF-8, UTF-16 with a mark nor cp1252"),
        (b"clip_id,fold\nDC_a01,1\nDC_a01,2\n", "clip_id DC_a01 occurs twice"),
        (b"speaker,fold\nDC,1\nJE,2\n", r"2 speakers without a fold \['JK', 'KL'\]"),
        (
            b"\xef\xbb\xbfclip_id,part\nDC_a01,1\n",
            "got columns clip_id, part, expected clip_id,fold or speaker,fold",
        ),
    ],
)
def test_a_damaged_fold_file_is_named(tmp_path, content, said):
    path = tmp_path / "folds.csv"
    path.write_bytes(content)
    with pytest.raises(CorpusError, match=said):
        make_folds(corpus(), params(protocol="folds", folds_csv=path))
