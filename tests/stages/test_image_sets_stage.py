import pytest

from pipeline.clips import ClipRecord, write_clips
from stages.image_sets import main

PARAMS = """
split: {protocol: PROTOCOL, test_per_emotion: 1, speaker_groups: 0, text_groups: 2,
  folds_csv: folds.csv, seed: 0}
"""


@pytest.fixture
def lists(tmp_path, monkeypatch):
    """The lists under a protocol, of clips that have two frames each."""

    def call(protocol, *clip_ids):
        records = [ClipRecord(c, c[:2], "anger", "", 2, 25.0, 1, 64, 48, 0, 0) for c in clip_ids]
        write_clips(tmp_path / "clips.csv", records)
        (tmp_path / "params.yaml").write_text(PARAMS.replace("PROTOCOL", protocol))
        monkeypatch.chdir(tmp_path)
        main(tmp_path / "clips.csv", tmp_path / "ImageSets")
        return {p.stem: p.read_text().split() for p in (tmp_path / "ImageSets/Main").iterdir()}

    return call


def test_each_frame_stands_once_in_the_lists_that_others_read(lists):
    found = lists("loso", "DC_a01", "JE_a01")
    assert found.keys() == {"train", "test", "JE_train", "JE_test", "DC_train", "DC_test"}
    plain = [frame for name, frames in found.items() if "_" not in name for frame in frames]
    assert sorted(plain) == ["DC_a01_00000", "DC_a01_00001", "JE_a01_00000", "JE_a01_00001"]


def test_clips_that_cannot_be_dealt_stand_in_one_list(lists, caplog):
    assert lists("loso", "DC_a01") == {"rest": ["DC_a01_00000", "DC_a01_00001"]}
    assert "until then ImageSets has all frames in one list" in caplog.text
