from dataclasses import replace

import pytest

from pipeline.clips import ClipRecord, emotions_of, read_clips, write_clips
from pipeline.errors import CorpusError

FIRST = ClipRecord("DC_a01", "DC", "anger", "", 5, 25.0, 4, 320, 256, 48_000, 48_000)
SECOND = ClipRecord("DC_ü, 2", "DC", "fear", "a,b", 0, 0.0, 4, 0, 0, 1, 44_100, 1)


def test_records_come_back_sorted(tmp_path):
    write_clips(tmp_path / "clips.csv", [SECOND, FIRST])
    assert read_clips(tmp_path / "clips.csv") == [FIRST, SECOND]


def test_emotions_are_in_the_order_of_their_ranks():
    records = [replace(FIRST, emotion=name, rank=2 - k) for k, name in enumerate(("a", "b", "c"))]
    assert emotions_of([*records, *records]) == ("c", "b", "a")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: "", "empty, expected a heading"),
        (lambda text: text.replace("rate_hz", "rate"), "no column rate_hz"),
        (lambda text: text.replace("25.0", "many"), "could not convert string to float: 'many'"),
        (lambda text: text + text.splitlines()[1], "clip id DC_a01 occurs twice"),
        (lambda text: text + "DC_a02,DC", "line 3: another number of entries"),
    ],
)
def test_what_is_no_table_of_clips_is_refused(tmp_path, change, message):
    path = tmp_path / "clips.csv"
    write_clips(path, [FIRST])
    path.write_text(change(path.read_text()))
    with pytest.raises(CorpusError, match=message):
        read_clips(path)


def test_a_missing_table_names_the_stage(tmp_path):
    with pytest.raises(CorpusError, match="run `dvc repro extract`"):
        read_clips(tmp_path / "clips.csv")
