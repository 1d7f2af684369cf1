from pathlib import Path

import pytest

from pipeline.corpora.ravdess import index_ravdess, read_name
from pipeline.errors import CorpusError


def make(root, *names):
    for name in names:
        (root / "Actor_01" / name).parent.mkdir(exist_ok=True)
        (root / "Actor_01" / name).touch()


def files(root):
    return {
        clip.clip_id: tuple(path and path.name for path in (clip.video, clip.audio))
        for clip in index_ravdess(root).clips
    }


def test_name_says_what_the_publishers_say():
    label = read_name(Path("Actor_12/02-01-06-01-02-01-12.mp4"))  # the example on Zenodo
    assert (label.speaker, label.emotion, label.sentence) == ("Actor_12", "fear", "statement2")


@pytest.mark.parametrize("stem", ["04-01-06-01-02-01-12", "03-01-09-01-01-01-01", "03-01-05-01-02"])
def test_other_names_are_refused(stem):
    with pytest.raises(CorpusError, match="unknown file name"):
        read_name(Path(f"{stem}.wav"))


def test_modalities_of_a_performance_are_one_clip(tmp_path):
    make(tmp_path, *(f"{m}-01-05-01-01-01-01.mp4" for m in ("01", "02")))
    make(tmp_path, "03-01-05-01-01-01-01.wav")
    make(tmp_path, "02-01-03-01-01-01-01.mp4", "03-01-03-01-01-01-01.flac")
    make(tmp_path, "01-01-04-01-01-01-01.mp4", "03-01-02-01-01-01-01.flac")
    assert files(tmp_path) == {
        "01-02-01-01-01-01": (None, "03-01-02-01-01-01-01.flac"),
        "01-03-01-01-01-01": ("02-01-03-01-01-01-01.mp4", "03-01-03-01-01-01-01.flac"),
        "01-04-01-01-01-01": ("01-01-04-01-01-01-01.mp4", None),  # its own sound
        "01-05-01-01-01-01": ("01-01-05-01-01-01-01.mp4", "03-01-05-01-01-01-01.wav"),
    }


def test_wav_and_flac_of_one_recording_are_two_files_for_one_clip(tmp_path):
    make(tmp_path, "03-01-05-01-01-01-01.wav", "03-01-05-01-01-01-01.flac")
    index = index_ravdess(tmp_path)
    assert not index.clips and "two files for clip id" in index.rejects[0].reason
