from pathlib import Path

import pytest

from pipeline.clips import EMOTIONS
from pipeline.corpora.folder import index_own
from pipeline.errors import CorpusError


def touch(root, *names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


def test_folders_name_speaker_and_emotion(tmp_path):
    touch(tmp_path, "anna/Happy/take 1.mp4", "anna/Happy/take 1.wav", "calm/é.wav")
    joined, alone = index_own(tmp_path, EMOTIONS).clips
    assert (joined.clip_id, joined.speaker) == ("anna_happiness_take-1", "anna")
    assert (joined.emotion, joined.video.suffix, joined.audio.suffix) == (
        "happiness", ".mp4", ".wav",
    )  # fmt: skip
    assert (alone.clip_id, alone.speaker, alone.emotion) == ("unknown_calm_e", "unknown", "calm")


def test_a_recording_without_a_label_is_a_clip(tmp_path):
    touch(tmp_path, "anna/unlabelled/1.wav", "Unlabeled/1.wav", "joy/1.wav", "2.wav")
    index = index_own(tmp_path, ["joy"])
    assert {clip.clip_id: clip.emotion for clip in index.clips} == {
        "anna_unlabelled_1": "", "unknown_unlabelled_1": "", "unknown_joy_1": "joy",
    }  # fmt: skip
    assert "lies in no folder" in index.rejects[0].reason


def test_names_of_ones_own_come_before_other_words_for_them(tmp_path):
    touch(tmp_path, "Joy/1.wav", "happy/1.wav", "ANGRY/1.wav", "bored/1.wav")
    clips = index_own(tmp_path, ["joy", "happy", "anger"]).clips
    assert {clip.emotion: clip.clip_id for clip in clips} == {
        "anger": "unknown_anger_1",
        "bored": "unknown_bored_1",
        "happy": "unknown_happy_1",
        "joy": "unknown_joy_1",
    }


def test_table_gives_everything(tmp_path):
    touch(tmp_path, "x/1.mp4", "x/1 loud.wav", "2.wav", "3.wav", "4.wav")
    (tmp_path / "clips.csv").write_text(
        "video,audio,emotion,speaker,sentence,clip_id\n"
        "x/1.mp4,x/1 loud.wav,sad,Zoë,hello,\n"
        ",2.wav,fear,ben,,\n"
        ",nowhere.wav,fear,ben,,\n"
        ",3.wav,,ben,,\n"
        ",3.wav,fear,ben,,twice\n"
        ",4.wav,fear,ben,,twice\n"
    )
    index = index_own(tmp_path, EMOTIONS)
    assert [(c.clip_id, c.speaker, c.emotion, c.sentence) for c in index.clips] == [
        ("Zoe_x_1", "Zoe", "sadness", "hello"),
        ("ben_2", "ben", "fear", ""),
        ("ben_3", "ben", "", ""),
    ]
    reasons = {reject.clip_id: reject.reason for reject in index.rejects}
    assert "line 4" in reasons["nowhere"] and "no such file" in reasons["nowhere"]
    assert "2 rows for clip id twice" in reasons["twice-1"] == reasons["twice-2"]
    assert "3.wav and" in reasons["twice-1"] and "4.wav" in reasons["twice-1"]


def test_ids_of_a_table_keep_the_folder_that_tells_the_emotion(tmp_path):
    touch(tmp_path, "joy/1.wav", "bored/1.wav", "anna/1.wav")
    rows = ["audio,emotion,speaker", "joy/1.wav,joy,", "bored/1.wav,bored,", "anna/1.wav,joy,anna"]
    (tmp_path / "clips.csv").write_text("\n".join(rows))
    index = index_own(tmp_path, ["joy", "bored"])
    assert not index.rejects
    assert [c.clip_id for c in index.clips] == ["anna_1", "unknown_bored_1", "unknown_joy_1"]


def test_polarity_is_of_the_emotion(tmp_path):
    touch(tmp_path, "1.wav", "2.wav", "3.wav", "4.wav")
    rows = [
        "audio,emotion,polarity",
        "1.wav,joy,Positive",
        "2.wav,joy,",
        "3.wav,bored,",
        "4.wav,sad,",
    ]
    (tmp_path / "clips.csv").write_text("\n".join(rows))
    clips = index_own(tmp_path, ["joy", "bored", "sadness"]).clips
    assert [clip.polarity for clip in clips] == [1, 1, 0, -1]
    for wrong in ("negative", "good"):
        (tmp_path / "clips.csv").write_text("\n".join([*rows, f"1.wav,joy,{wrong}"]))
        with pytest.raises(CorpusError, match=f"line 6: polarity of joy: got '{wrong}', expected"):
            index_own(tmp_path, ["joy", "bored"])


def test_a_table_of_excel_finds_files_in_other_spellings(tmp_path):
    touch(tmp_path, "x/Zoe\u0308.mp4", "y/1.wav")  # as macOS spells it
    rows = ["Video;Audio; Emotion;Speaker", "x\\Zo\u00eb.mp4;y\\1.wav;Happy;Zo\u00eb", ";;;", ""]
    (tmp_path / "clips.csv").write_bytes("\r\n".join(rows).encode("cp1252"))
    (clip,) = index_own(tmp_path, EMOTIONS).clips
    assert (clip.clip_id, clip.speaker, clip.emotion) == ("Zoe_x_Zoe", "Zoe", "happiness")
    assert (clip.video, clip.audio) == (tmp_path / "x/Zoe\u0308.mp4", tmp_path / "y/1.wav")


def test_a_file_outside_the_corpus_is_refused_unless_it_is_linked_there(tmp_path):
    root = tmp_path / "corpus"
    touch(tmp_path, "else/1.wav", "else/2.wav", "else/3.wav", "corpus/4.wav")
    (root / "linked").symlink_to(tmp_path / "else")
    names = ["../else/1.wav", str(tmp_path / "else/2.wav"), "linked/3.wav", "x/../4.wav"]
    (root / "x").mkdir()
    rows = [f"{name},fear,{number}" for number, name in enumerate(names)]
    (root / "clips.csv").write_text("\n".join(["audio,emotion,clip_id", *rows]))
    index = index_own(root, EMOTIONS)
    assert [clip.clip_id for clip in index.clips] == ["2", "3"]
    assert [reject.clip_id for reject in index.rejects] == ["0", "1"]
    for line, reject in enumerate(index.rejects, 2):
        assert f"line {line}: " in reject.reason and "lies outside" in reject.reason
        assert "move or link it there" in reject.reason


def test_table_without_its_columns_is_an_error(tmp_path):
    (tmp_path / "clips.csv").write_text("file,label\n1.wav,fear\n")
    with pytest.raises(CorpusError, match="got columns file, label, expected emotion"):
        index_own(tmp_path, EMOTIONS)


def test_links_to_folders_are_followed_and_absolute_paths_understood(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    away = tmp_path / "away/ben/joy"
    away.mkdir(parents=True)
    (away / "1.wav").touch()
    (tmp_path / "own").mkdir()
    (tmp_path / "own/ben").symlink_to(away.parent)
    (away / "loop").symlink_to(tmp_path / "own")
    for one, other in (("c", "d"), ("d", "c")):
        (tmp_path / "own" / one).mkdir()
        (tmp_path / "own" / one / other).symlink_to(tmp_path / "own" / other)
    found = index_own(Path("own"), EMOTIONS)
    assert [clip.clip_id for clip in found.clips] == ["ben_joy_1"]
    (tmp_path / "own/a.wav").touch()
    (tmp_path / "own/clips.csv").write_text(f"audio,emotion\n{tmp_path}/own/a.wav,joy\n")
    (clip,) = index_own(Path("own"), EMOTIONS).clips
    assert clip.audio == Path("own/a.wav")


def test_one_person_in_two_spellings_is_one_speaker(tmp_path, caplog):
    for name in ("Anna/joy/1.wav", "anna/joy/2.wav", "Ben/joy/1.wav"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    found = index_own(tmp_path, EMOTIONS)
    assert [clip.speaker for clip in found.clips] == ["Anna", "Ben", "Anna"]
    assert "anna is taken for Anna" in caplog.text
