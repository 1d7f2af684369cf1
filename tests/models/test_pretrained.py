"""The model that comes with the package, as `avemo predict` uses it."""

import json
import shutil

import numpy as np
import pytest
import soundfile
from demo_clips import draw_demo
from tiny_media import encode, make_video
from typer.testing import CliRunner

from models.expressions.mini_xception import EXPRESSIONS
from models.model_card import describe
from models.recognition.recognizer import Recognizer
from models.saved_model import PRETRAINED, WORDS
from pipeline.errors import WeightsError
from stages.cli.app import app

LARGEST_BYTES = 2_000_000

SAID = {
    "anger": 0.3508, "disgust": 0.4241, "fear": 0.0157, "happiness": 0.0005, "neutral": 0.0004,
    "sadness": 0.0001, "surprise": 0.2078, "calm": 0.0006,
}  # fmt: skip
"""Of the sound below, when it was packed."""


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    return draw_demo(tmp_path_factory.mktemp("demo"))


def predict(*arguments):
    return CliRunner().invoke(app, ["predict", *map(str, arguments)])


def test_it_is_small_states_its_licence_and_its_card_is_of_today():
    files = [path for path in PRETRAINED.parent.rglob("*") if path.suffix not in (".py", ".pyc")]
    assert sum(path.stat().st_size for path in files) < LARGEST_BYTES
    card = Recognizer.load(PRETRAINED).card
    assert (card.system, card.corpus, card.inputs.pack.clips) == ("audio_speech", "ravdess", "all")
    assert (PRETRAINED / WORDS).read_text(encoding="utf-8") == describe(card)
    assert "CC BY-NC-SA 4.0" in describe(card)
    assert "CC BY-NC-SA 4.0" in (PRETRAINED / "LICENSE").read_text(encoding="utf-8")


def test_its_scores_are_those_of_folds_without_the_tested_actors():
    card = Recognizer.load(PRETRAINED).card
    scores = card.metrics
    counts = np.array(scores.confusion)
    assert counts.sum() == scores.clips == len(card.training_clips)
    wa = scores.branches["audio"].accuracy
    assert wa == pytest.approx(np.trace(counts) / counts.sum(), abs=1e-4)
    assert min(scores.folds.values()) <= wa <= max(scores.folds.values())
    low, high = scores.branches["audio"].accuracy_95.low, scores.branches["audio"].accuracy_95.high
    assert scores.chance < low < wa < high


def test_it_answers_a_sound_as_when_it_was_packed(tmp_path):
    """Its card may be renewed without training anew; what it says must stay."""
    time_s = np.arange(32_000) / 16_000
    pitch_hz = 180 + 60 * np.sin(2 * np.pi * 3 * time_s)
    voice = sum(np.sin(n * 2 * np.pi * np.cumsum(pitch_hz) / 16_000) / n for n in range(1, 12))
    envelope = np.clip(np.sin(2 * np.pi * 2 * time_s), 0, None)
    soundfile.write(tmp_path / "voice.wav", 0.2 * voice * envelope, 16_000)
    answer = Recognizer.load(PRETRAINED).predict(tmp_path / "voice.wav")
    assert answer.branch == "audio" and answer.face_finder == "" and answer.face_opinion == {}
    assert answer.probabilities == pytest.approx(SAID, abs=2e-3)


def test_without_a_model_of_ones_own_it_answers_and_says_so(clip, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = predict(clip)
    assert done.exit_code == 0
    (note,) = done.stderr.splitlines()
    assert note.startswith("note: results/model: no model of your own, so the one that comes")
    assert str(clip) in done.stdout
    named = predict(clip, "--model", "pretrained", "--json")
    assert named.stderr.startswith("note: the one that comes with avemo answers")
    (answer,) = json.loads(named.stdout)
    assert answer["branch"] == "audio" and answer["face_finder"] == "dlib"
    assert answer["face_share"] > 0.5 and answer["width_px"] == 320
    assert all(face["sigma"] is None for face in answer["faces"])
    opinion = answer["face_opinion"]
    assert tuple(opinion) == EXPRESSIONS and sum(opinion.values()) == pytest.approx(1)
    shutil.copytree(PRETRAINED, tmp_path / "results/model")
    assert predict(clip).stderr == ""


def test_it_needs_sound(tmp_path):
    mute = make_video(tmp_path / "mute.mp4", sound=None)
    (tmp_path / "words.srt").write_text("1\n00:00:00,000 --> 00:00:01,000\nhello\n")
    words = encode(tmp_path / "words.mkv", "-i", str(tmp_path / "words.srt"))
    done = predict(mute, words, "--model", "pretrained")
    assert done.exit_code == 1 and done.stdout == ""
    assert "mute.mp4: no sound, and audio_speech cannot answer without" in done.stderr
    assert "words.mkv: neither picture nor sound; expected a recording" in done.stderr


def test_an_address_is_no_model():
    done = predict("clip.mp4", "--model", "https://example.org/model")
    assert isinstance(done.exception, WeightsError)
    assert str(done.exception).startswith(
        "https://example.org/model: got an address, expected a folder"
    )
