from pathlib import Path

import pytest

from pipeline.corpora.cremad import index_cremad, read_name
from pipeline.errors import CorpusError


def test_name_says_actor_sentence_and_emotion():
    label = read_name(Path("VideoFlash/1001_DFA_HAP_XX.flv"))
    assert (label.clip_id, label.speaker) == ("1001_DFA_HAP_XX", "1001")
    assert (label.emotion, label.sentence) == ("happiness", "DFA")


@pytest.mark.parametrize("stem", ["1001_DFA_SUR_XX", "101_DFA_ANG_XX", "1001_DFA_ANG_XX_2"])
def test_other_names_are_refused(stem):
    with pytest.raises(CorpusError, match="unknown file name"):
        read_name(Path(f"{stem}.wav"))


def test_wav_is_preferred_to_mp3_and_both_to_the_track_of_the_video(tmp_path):
    for name in ("V/1001_DFA_ANG_XX.flv", "M/1001_DFA_ANG_XX.mp3", "W/1001_DFA_ANG_XX.wav"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).touch()
    (tmp_path / "V/1001_DFA_SAD_XX.flv").touch()
    (tmp_path / "M/1001_IEO_SAD_LO.mp3").touch()
    clips = index_cremad(tmp_path).clips
    assert [clip.audio and clip.audio.suffix for clip in clips] == [".wav", None, ".mp3"]
    assert [clip.video and clip.video.suffix for clip in clips] == [".flv", ".flv", None]


def test_raters_may_say_what_a_clip_shows(tmp_path, caplog):
    for name in ("1001_DFA_ANG_XX", "1001_DFA_DIS_XX", "1001_DFA_FEA_XX", "1001_DFA_SAD_XX"):
        (tmp_path / f"{name}.wav").touch()
    with pytest.raises(CorpusError, match=r"but .*summaryTable\.csv is not there; copy it from"):
        index_cremad(tmp_path, crowd=True)
    table = tmp_path / "processedResults/summaryTable.csv"
    table.parent.mkdir()
    table.write_text(
        '"","FileName","VoiceVote","VoiceLevel","FaceVote","FaceLevel","MultiModalVote",'
        '"MultiModalLevel"\n"1","1001_DFA_ANG_XX","A","60","A","70","A","68"\n'
        '"2","1001_DFA_DIS_XX","N","50","D","60","D:N","60"\n'
        '"3","1001_DFA_FEA_XX","F","50","N","60","N","60"\n'
    )
    clips = index_cremad(tmp_path, crowd=True).clips
    assert [clip.emotion for clip in clips] == ["anger", "", "neutral", ""]
    assert "agree on no emotion of 2 of 4 clips, the first is 1001_DFA_DIS_XX" in caplog.text
    acted = [clip.emotion for clip in index_cremad(tmp_path).clips]
    assert acted == ["anger", "disgust", "fear", "sadness"]
    table.write_text("FileName,Vote\n")
    with pytest.raises(CorpusError, match="got columns filename, vote, expected FileName and Mult"):
        index_cremad(tmp_path, crowd=True)
