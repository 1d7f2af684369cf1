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
