import shutil

import pytest
from demo_clips import draw_demo
from tiny_media import make_sound

from models.recognition.recognizer import Recognizer
from models.saved_model import PRETRAINED
from stages.web import desk
from stages.web.desk import Desk
from stages.web.page import samples


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    return draw_demo(tmp_path_factory.mktemp("demo"))


@pytest.fixture
def uploads(tmp_path):
    folder = tmp_path / "uploads"
    (folder / "one").mkdir(parents=True)
    return folder


@pytest.fixture
def answering(uploads):
    return Desk(Recognizer.load(PRETRAINED), uploads)


def test_an_upload_is_answered_and_gone(answering, uploads, clip):
    sent = shutil.copy(clip, uploads / "one/clip.avi")
    words, film, chart = answering.answer(str(sent))
    assert not any(uploads.iterdir())
    for emotion in answering.recognizer.card.emotions:
        assert f"<b>{emotion}</b>" in words and f">{emotion}</text>" in chart.replace("\n", "")
    assert "found by dlib; the model itself looks at no face" in words
    assert "mouth speaks" in chart and film.startswith('<video class="film"')


def test_a_sample_stays(answering, clip, monkeypatch):
    monkeypatch.chdir(clip.parents[4])
    (name, path), *others = samples()
    assert name == "DC a01" and len(others) == 6
    assert 'class="big' in answering.answer(path)[0]
    assert clip.is_file()


def test_what_cannot_be_answered_is_said_and_gone(answering, uploads, monkeypatch):
    (uploads / "one/notes.mp4").write_text("no recording")
    words, film, chart = answering.answer(str(uploads / "one/notes.mp4"))
    assert 'class="refusal">notes.mp4: not a recording' in words and not film + chart
    assert not any(uploads.iterdir())
    monkeypatch.setattr(desk, "LONGEST_S", 0.3)
    long = make_sound(uploads / "two/long.wav", 0.6)
    assert "long.wav: lasts 1 s, expected at most 0 s" in answering.answer(str(long))[0]
    assert not any(uploads.iterdir())
    assert "no recording chosen" in answering.answer(None)[0]


def test_below_its_threshold_it_says_that_it_is_unsure(answering, clip):
    card = answering.recognizer.card
    predict = card.inputs.predict.model_copy(update={"abstain_below": 1.0})
    inputs = card.inputs.model_copy(update={"predict": predict})
    answering.recognizer.card = card.model_copy(update={"inputs": inputs})
    words = answering.answer(str(clip))[0]
    assert ">unsure</p>" in words and "less than the 100% from which the model answers" in words
