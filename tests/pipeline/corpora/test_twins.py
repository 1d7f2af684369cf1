import pytest

from pipeline.corpora.corpus import index_corpus
from pipeline.corpora.params import CorpusParams


def write(root, **files):
    for name, content in files.items():
        path = root / name.replace("__", "/").replace("_wav", ".wav").replace("_mp4", ".mp4")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)


def index(root, name="folder", emotions="auto"):
    fixed = {"modalities": "auto", "require": "any", "label_source": "acted"}
    return index_corpus(CorpusParams(name=name, root=root, emotions=emotions, **fixed))


def test_a_nested_copy_of_a_corpus_is_used_once(tmp_path, caplog):
    for nested in ("", "audio_speech_actors_01-24/"):
        folder = tmp_path / f"{nested}Actor_01"
        folder.mkdir(parents=True)
        (folder / "03-01-05-01-02-01-01.wav").write_text("x")
        (folder / "03-01-06-01-02-01-01.wav").write_text(f"differs {bool(nested)}")
    found = index(tmp_path, "ravdess")
    (clip,) = found.clips
    assert clip.audio == tmp_path / "Actor_01/03-01-05-01-02-01-01.wav"
    assert "left out 1 file with the same bytes as another" in caplog.text
    (reject,) = found.rejects
    assert "two files for clip id 01-06-01-02-01-01" in reject.reason


def test_a_nested_copy_of_a_folder_is_used_once(tmp_path, caplog):
    for nested in ("", "a/", "old/2020/"):
        for name in ("anna/joy/1.wav", "ben/fear/1.wav"):
            path = tmp_path / nested / name
            path.parent.mkdir(parents=True)
            path.write_text(name)
    (tmp_path / "a/anna/joy/2.wav").write_text("anna/joy/1.wav")
    (tmp_path / "old/2020/ben/fear/1.wav").write_text("another")
    found = index(tmp_path, emotions=["joy", "fear"])
    assert [clip.audio for clip in found.clips] == [
        tmp_path / "anna/joy/1.wav", tmp_path / "ben/fear/1.wav",
    ]  # fmt: skip
    assert "left out 3 files with the same bytes as another" in caplog.text
    assert {reject.clip_id for reject in found.rejects} == {
        "a_anna_joy_2", "old_2020_ben_fear_1",
    }, "only what is the same file in the same place is a copy"  # fmt: skip


def test_clips_with_a_recording_in_common_are_twins(tmp_path, caplog):
    write(
        tmp_path,
        anna__joy__1_wav="same", ben__joy__2_wav="same", ben__joy__2_mp4="film",
        carl__joy__3_mp4="film", carl__fear__4_wav="else",
        carl__fear__5_wav="", carl__fear__6_wav="",
    )  # fmt: skip
    found = index(tmp_path, emotions=["joy", "fear"])
    assert not found.rejects
    twins = {clip.clip_id: clip.twin for clip in found.clips if clip.twin}
    assert twins == dict.fromkeys(["anna_joy_1", "ben_joy_2", "carl_joy_3"], "anna_joy_1")
    assert (
        "3 clips in 1 group hold the same recording under different ids, 1 of them" in caplog.text
    )


@pytest.mark.parametrize("bytes_", ["same", "same but longer"])
def test_twins_of_different_emotions_are_both_refused(tmp_path, bytes_):
    write(tmp_path, anna__joy__1_wav=bytes_, anna__fear__1_wav=bytes_, anna__fear__2_wav="else")
    found = index(tmp_path, emotions=["joy", "fear"])
    assert [clip.clip_id for clip in found.clips] == ["anna_fear_2"]
    assert {reject.clip_id for reject in found.rejects} == {"anna_joy_1", "anna_fear_1"}
    assert all("expected one emotion for it" in reject.reason for reject in found.rejects)
