import pytest

from pipeline.corpora.folder import index_own
from pipeline.errors import CorpusError


def touch(root, *names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


def test_folders_name_speaker_and_emotion(tmp_path):
    touch(tmp_path, "anna/Happy/take 1.mp4", "anna/Happy/take 1.wav", "calm/é.wav")
    joined, alone = index_own(tmp_path).clips
    assert (joined.clip_id, joined.speaker) == ("anna_happiness_take-1", "anna")
    assert (joined.emotion, joined.video.suffix, joined.audio.suffix) == (
        "happiness", ".mp4", ".wav",
    )  # fmt: skip
    assert (alone.clip_id, alone.speaker, alone.emotion) == ("unknown_calm_e", "unknown", "calm")


def test_a_folder_that_is_no_emotion_is_rejected(tmp_path):
    touch(tmp_path, "anna/fear/a.wav", "anna/bored/b.wav")
    index = index_own(tmp_path)
    assert [clip.clip_id for clip in index.clips] == ["anna_fear_a"]
    assert "got the folder 'bored'" in index.rejects[0].reason


def test_table_gives_everything(tmp_path):
    touch(tmp_path, "x/1.mp4", "x/1 loud.wav", "2.wav", "3.wav", "4.wav")
    (tmp_path / "clips.csv").write_text(
        "video,audio,emotion,speaker,sentence,clip_id\n"
        "x/1.mp4,x/1 loud.wav,sad,Zoë,hello,\n"
        ",2.wav,fear,ben,,\n"
        ",nowhere.wav,fear,ben,,\n"
        ",3.wav,bored,ben,,\n"
        ",3.wav,fear,ben,,twice\n"
        ",4.wav,fear,ben,,twice\n"
    )
    index = index_own(tmp_path)
    assert [(c.clip_id, c.speaker, c.emotion, c.sentence) for c in index.clips] == [
        ("Zoe_1", "Zoe", "sadness", "hello"),
        ("ben_2", "ben", "fear", ""),
    ]
    reasons = {reject.clip_id: reject.reason for reject in index.rejects}
    assert "line 4" in reasons["ben_nowhere"] and "no such file" in reasons["ben_nowhere"]
    assert "got emotion 'bored'" in reasons["ben_3"]
    assert "3.wav and 4.wav" in reasons["twice"]


def test_a_table_of_excel_finds_files_in_other_spellings(tmp_path):
    touch(tmp_path, "x/Zoe\u0308.mp4", "y/1.wav")  # as macOS spells it
    rows = ["Video;Audio; Emotion;Speaker", "x\\Zo\u00eb.mp4;y\\1.wav;Happy;Zo\u00eb", ";;;", ""]
    (tmp_path / "clips.csv").write_bytes("\r\n".join(rows).encode("cp1252"))
    (clip,) = index_own(tmp_path).clips
    assert (clip.clip_id, clip.speaker, clip.emotion) == ("Zoe_Zoe", "Zoe", "happiness")
    assert (clip.video, clip.audio) == (tmp_path / "x/Zoe\u0308.mp4", tmp_path / "y/1.wav")


def test_table_without_its_columns_is_an_error(tmp_path):
    (tmp_path / "clips.csv").write_text("file,label\n1.wav,fear\n")
    with pytest.raises(CorpusError, match="got columns file, label, expected emotion"):
        index_own(tmp_path)
