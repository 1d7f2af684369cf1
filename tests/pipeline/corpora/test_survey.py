import shutil

import pytest
from tiny_media import cut, make_sound, make_video

from pipeline.clips import EMOTIONS
from pipeline.corpora.folder import index_own
from pipeline.corpora.survey import describe, survey, write_draft
from pipeline.errors import CorpusError


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


def test_the_corpus_is_told_by_its_names(tmp_path):
    make_sound(tmp_path / "1001_DFA_ANG_XX.wav")
    assert survey(tmp_path).name == "cremad"
    make_sound(tmp_path / "other.wav")
    make_sound(tmp_path / "another.wav")
    assert survey(tmp_path).name == "folder"
    with pytest.raises(CorpusError, match="--name: got 'creamd', expected one of ravdess, cremad"):
        survey(tmp_path, "creamd")
    with pytest.raises(CorpusError, match="no such folder"):
        survey(tmp_path / "nowhere")
