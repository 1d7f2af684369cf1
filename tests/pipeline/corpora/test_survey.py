import errno
import shutil
from pathlib import Path

import pytest
from tiny_media import cut, encode, make_sound, make_video

from pipeline.clips import EMOTIONS
from pipeline.corpora.folder import index_own
from pipeline.corpora.survey import describe, survey, write_draft
from pipeline.errors import CorpusError
from stages.cli import corpus


@pytest.fixture
def folder(tmp_path):
    """Nine recordings of one's own, with something the matter with most."""
    make_video(tmp_path / "anna/joy/1.mp4")
    make_video(tmp_path / "anna/joy/2.mp4", fps=10, sound=None)
    make_sound(tmp_path / "anna/joy/3.wav", rate_hz=16_000)
    make_sound(tmp_path / "anna/bored/1.wav", seconds=0.5)
    make_sound(tmp_path / "anna/bored/2.wav", seconds=0.7)
    (tmp_path / "ben/bored").mkdir(parents=True)
    shutil.copy(tmp_path / "anna/bored/2.wav", tmp_path / "ben/bored/twin.wav")
    cut(make_sound(tmp_path / "ben/bored/cut.wav", seconds=2), 0.5)
    make_sound(tmp_path / "lone.wav", seconds=0.3)
    return tmp_path


def test_a_survey_says_all_that_is_odd(folder):
    text = "\n".join(describe(survey(folder)))
    for words in (
        "folder, 7 clips",
        "emotions: 2: bored 4, joy 3",
        "speakers: 2: anna 5, ben 2",
        "set corpus.emotions to the names in your order: [bored, joy]",
        "without video: 5: anna_bored_1, anna_bored_2, anna_joy_3, and 2 more",
        "without sound: 2: anna_joy_2, ben_bored_cut",
        "speakers with fewer than 5 clips: 1: ben (2)",
        "same bytes under different ids: 1: anna_bored_2 = ben_bored_twin",
        f"44100 Hz (4), 16000 Hz (1); odd: {folder}/anna/joy/3.wav",
        "25.0 frames/s (1), 10.0 frames/s (1)",
        f"longest 0.70 s ({folder}/anna/bored/2.wav)",
        f"damaged: 1: {folder}/ben/bored/cut.wav: cut short",
        f"not used: 1: {folder}/lone.wav: lies in no folder",
    ):
        assert words in text


def test_a_file_without_picture_and_sound_is_damaged(tmp_path):
    make_sound(tmp_path / "anna/joy/1.wav", seconds=0.3)
    (tmp_path / "anna/joy/told.srt").write_text("1\n00:00:00,000 --> 00:00:01,000\nhello\n")
    encode(tmp_path / "anna/joy/subs.mkv", "-i", str(tmp_path / "anna/joy/told.srt"))
    text = "\n".join(describe(survey(tmp_path)))
    assert "damaged: 1: " in text and "anna/joy/subs.mkv: holds neither picture nor sound" in text
    assert "shortest 0.30 s" in text


def test_films_of_ravdess_that_carry_silence_are_without_sound(tmp_path):
    for name in ("01-01-05-01-01-01-01", "02-01-05-01-01-01-01", "02-01-06-01-01-01-01"):
        make_video(tmp_path / f"Actor_01/{name}.mp4")
    make_video(tmp_path / "Actor_02/02-01-06-01-01-01-02.mp4")
    make_sound(tmp_path / "Actor_02/03-01-06-01-01-01-02.wav")
    lines = describe(survey(tmp_path))
    assert "without sound: 1: 01-06-01-01-01-01" in lines
    assert "sound: 44100 Hz (2)" in lines


def test_the_draft_gives_the_clips_of_the_folders(folder):
    found = survey(folder)
    before = index_own(folder, EMOTIONS).clips
    draft = write_draft(found)
    assert write_draft(found) is None, "a draft is a person's once it is there"
    draft.rename(folder / "clips.csv")
    clips = index_own(folder, EMOTIONS).clips
    assert [clip for clip in clips if clip.emotion] == before
    assert [clip.clip_id for clip in clips if not clip.emotion] == ["unknown_lone"]
    assert write_draft(survey(folder)) is None


def test_the_draft_keeps_what_folders_say_of_files_that_are_not_used(tmp_path):
    make_sound(tmp_path / "anna/fear/t1.wav", seconds=0.3)
    make_sound(tmp_path / "ben/joy/t2.flac", seconds=0.3)
    make_sound(tmp_path / "ben/joy/t2.wav", seconds=0.3)
    make_video(tmp_path / "ben/joy/t3.mp4")
    shutil.copy(tmp_path / "anna/fear/t1.wav", tmp_path / "ben/joy/t3.wav")
    assert "rename it to clips.csv" in corpus.main(tmp_path, None)[-1]
    _, *lines = (tmp_path / "clips.draft.csv").read_text().splitlines()
    assert lines == [
        ",anna/fear/t1.wav,fear,anna,,",
        ",ben/joy/t2.flac,joy,ben,,",
        ",ben/joy/t2.wav,joy,ben,,",
        "ben/joy/t3.mp4,ben/joy/t3.wav,joy,ben,,",
    ]
    assert "clips.draft.csv lies there already and was kept" in corpus.main(tmp_path, None)[-1]


def test_the_corpus_is_told_by_its_names(tmp_path):
    make_sound(tmp_path / "1001_DFA_ANG_XX.wav")
    assert survey(tmp_path).name == "cremad"
    assert "not here: 7441 of the 7442 clips of CREMA-D" in describe(survey(tmp_path))
    make_sound(tmp_path / "other.wav")
    make_sound(tmp_path / "another.wav")
    assert survey(tmp_path).name == "folder"
    with pytest.raises(CorpusError, match="--name: got 'creamd', expected one of ravdess, cremad"):
        survey(tmp_path, "creamd")
    with pytest.raises(CorpusError, match="no such folder"):
        survey(tmp_path / "nowhere")


def test_notes_are_no_recordings_and_files_too_deep_are_named(tmp_path):
    make_sound(tmp_path / "anna/1/t1.wav", seconds=0.3)
    make_sound(tmp_path / "anna/day1/no/t1.wav", seconds=0.3)
    make_sound(tmp_path / "ben/day1/no/t1.wav", seconds=0.3)
    for name in ("anna/1/transcript.txt", "Thumbs.db", "anna/1/t2.TextGrid"):
        (tmp_path / name).touch()
    (tmp_path / "anna/1/t3.xyz").touch()
    found = survey(tmp_path)
    assert [(clip.clip_id, clip.speaker) for clip in found.index.clips] == [("anna_1_t1", "anna")]
    text = "\n".join(describe(found))
    assert 'in your order: ["1"]' in text
    assert "not used: 3" in text and "lies in 3 folders, expected emotion / file or" in text
    lines = write_draft(found).read_text().splitlines()
    assert len(lines) == 1 + 3 and not any("t3" in line or "Thumbs" in line for line in lines)


def test_a_folder_that_cannot_be_written_is_described_all_the_same(folder, monkeypatch):
    def refuse(*_):
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr("pipeline.corpora.survey.write_table", refuse)
    *lines, last = corpus.main(folder, None)
    assert "folder, 7 clips" in lines[0]
    assert last == f"draft: none can be written into {folder}: Read-only file system"


@pytest.mark.parametrize("name", ["https://example.org/x", "S3://bucket/x"])
def test_what_is_no_folder_is_told_from_one_that_is_not_there(tmp_path, name):
    with pytest.raises(CorpusError, match=f"^{name}: got an address, expected a folder"):
        survey(Path(name))
    (tmp_path / "a.wav").touch()
    with pytest.raises(CorpusError, match=r"a\.wav: a file; expected the folder"):
        survey(tmp_path / "a.wav")
    with pytest.raises(CorpusError, match="no such folder"):
        survey(tmp_path / "b")
