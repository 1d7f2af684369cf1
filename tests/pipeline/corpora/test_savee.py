import collections
import hashlib
import logging
from pathlib import Path

import pytest

from pipeline.corpora.demo import plan as demo_plan
from pipeline.corpora.savee import EMOTION_OF, index_savee, read_name, sentence_id
from pipeline.errors import CorpusError

SPEAKERS = ("DC", "JE", "JK", "KL")
NAMES = [
    f"AudioData/{speaker}/{code}{number:02d}.wav"
    for speaker in SPEAKERS
    for code in EMOTION_OF
    for number in range(1, 31 if code == "n" else 16)
]
"""The 480 paths of the distributed corpus."""


def make(root, names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"12")


def test_all_480_names_round_trip():
    labels = [read_name(Path(name)) for name in NAMES]
    assert len({label.clip_id for label in labels}) == 480
    for name, label in zip(NAMES, labels, strict=True):
        _, speaker, file = name.split("/")
        assert f"{label.clip_id}.wav" == f"{speaker}_{file}"
        assert label == read_name(Path(f"{label.clip_id}.wav"))  # the flat layout
    assert collections.Counter(label.emotion for label in labels) == {
        emotion: 120 if emotion == "neutral" else 60 for emotion in EMOTION_OF.values()
    }


@pytest.mark.parametrize(
    ("stem", "emotion"), [("s01", None), ("sa01", "sadness"), ("su1", "surprise"), ("a00", None)]
)
def test_s_is_neither_sa_nor_su(stem, emotion):
    path = Path("AudioData/DC") / f"{stem}.wav"
    if emotion is None:
        with pytest.raises(CorpusError, match="unknown file name"):
            read_name(path)
    else:
        assert read_name(path).emotion == emotion


def test_a_file_without_a_speaker_is_not_one():
    for path in ("a01.wav", "AudioData/a01.wav"):
        with pytest.raises(CorpusError, match="unknown file name"):
            read_name(Path(path))


def test_sentences_are_shared_as_in_savee():
    texts = {
        code: {sentence_id(code, n) for n in range(1, 31 if code == "n" else 16)}
        for code in EMOTION_OF
    }
    common = set.intersection(*texts.values())
    assert len(common) == 3 and len(texts["n"]) == 15
    for code in texts.keys() - {"n"}:
        assert len(texts[code]) == 15
        assert len(texts[code] & texts["n"] - common) == 2  # specific ones
        others = set.union(*(texts[other] for other in texts.keys() - {code}))
        assert len(texts[code] - others) == 10  # generic ones


def test_equal_texts_of_the_demo_corpus_have_equal_ids():
    texts = collections.defaultdict(set)
    for emotion, code in demo_plan.CODES.items():
        for take in range(1, 41):
            texts[demo_plan.sentence_id(emotion, take)].add(sentence_id(code, take))
    assert all(len(ids) == 1 for ids in texts.values())


def test_index_joins_picture_sound_and_truth(tmp_path):
    make(tmp_path, ["AudioVisualClip/DC/a1.avi", "AudioData/DC/a01.wav", "truth/DC_a01.csv"])
    (clip,) = index_savee(tmp_path).clips
    files = (clip.video, clip.audio, clip.truth)
    assert [file.name for file in files] == ["a1.avi", "a01.wav", "DC_a01.csv"]


def test_manifest_differences_are_warnings(tmp_path, caplog):
    make(tmp_path, ["AudioData/DC/a01.wav", "AudioData/DC/a03.wav"])
    same = hashlib.sha256((tmp_path / "AudioData/DC/a03.wav").read_bytes()).hexdigest()
    rows = ["path\tbytes\tsha256", "AudioData/DC/a01.wav\t3\tx", "AudioData/DC/a02.wav\t3\tx"]
    rows.append(f"AudioData/DC/a03.wav\t0\t{same}")
    (tmp_path / "manifest.tsv").write_text("\n".join(rows))
    with caplog.at_level(logging.WARNING):
        assert len(index_savee(tmp_path).clips) == 2
    assert "1 of 3 files missing, the first is AudioData/DC/a02.wav" in caplog.text
    assert "1 of 3 files of other content, the first is AudioData/DC/a01.wav" in caplog.text
    (tmp_path / "manifest.tsv").write_text("path\tbytes\n")
    with caplog.at_level(logging.WARNING):
        index_savee(tmp_path)  # an empty list compares nothing
    (tmp_path / "manifest.tsv").write_text("path\tbytes\nx\t3")
    with pytest.raises(CorpusError, match="column 'sha256' is missing"):
        index_savee(tmp_path)
