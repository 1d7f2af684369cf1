from dataclasses import replace

import pytest

from pipeline.clips import ClipRecord, emotions_of, read_clips, write_clips
from pipeline.errors import CorpusError

FIRST = ClipRecord("DC_a01", "DC", "anger", "", 5, 25.0, 4, 320, 256, 48_000, 48_000)
SECOND = ClipRecord("DC_ü, 2", "DC", "fear", "a,b", 0, 0.0, 4, 0, 0, 1, 44_100, 1)
UNEVEN = replace(
    FIRST, clip_id="DC_b01", frames=3, picture_start_s=0.7, times_s=(0.7, 0.733333, 1.2)
)


def test_records_come_back_sorted(tmp_path):
    write_clips(tmp_path / "clips.csv", [SECOND, UNEVEN, FIRST])
    assert read_clips(tmp_path / "clips.csv") == [FIRST, UNEVEN, SECOND]
    assert (tmp_path / "frames.csv").read_text().splitlines()[5:8] == [
        "DC_a01,4,0.64",
        "DC_b01,0,0.7",
        "DC_b01,1,0.733333",
    ]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: text.replace("time_s", "time"), "frames.csv line .*no column time_s"),
        (lambda text: text.replace("0.16", "soon"), "frames.csv line .*could not convert"),
        (lambda text: text.replace("DC_a01,4,0.64\n", ""), "4 times for 5 frames"),
    ],
)
def test_times_that_are_no_table_of_all_frames_are_refused(tmp_path, change, message):
    write_clips(tmp_path / "clips.csv", [FIRST])
    path = tmp_path / "frames.csv"
    path.write_text(change(path.read_text()))
    with pytest.raises(CorpusError, match=message):
        read_clips(tmp_path / "clips.csv")


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
