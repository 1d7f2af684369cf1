import numpy as np
import pytest

from pipeline.corpora.demo.cast import SPEAKERS
from pipeline.corpora.demo.face import Head, Moment, face_box, face_shapes
from pipeline.corpora.demo.plan import Variation, perform
from pipeline.corpora.demo.score import TICK_S, compose, sentence
from pipeline.corpora.demo.voice import _filter, synthesise

PLAIN = Variation(seed=3, ambiguity=0.0)


def scored(emotion, take=1, speaker=SPEAKERS[0]):
    play = perform(speaker, emotion, take, PLAIN)
    return play, compose(play, (1.5, 2.5), 25.0)


@pytest.mark.parametrize("rate_hz", [16000, 44100, 48000])
def test_filtering_with_ones_changes_nothing(rate_hz):
    signal = np.random.default_rng(0).standard_normal(rate_hz // 2)
    out = _filter(signal, np.ones((100, 1), complex), rate_hz)
    assert np.allclose(out, signal, atol=1e-9)


def period_s(piece, rate_hz):
    """Lag of the highest autocorrelation peak between 60 and 500 Hz."""
    lags = np.arange(rate_hz // 500, rate_hz // 60)
    return (
        lags[np.argmax([piece[lag:] @ piece[:-lag] / (len(piece) - lag) for lag in lags])] / rate_hz
    )


def test_the_voice_has_the_pitch_of_its_score():
    play, score = scored("happiness")
    sound = synthesise(play, score, 16000) / 32768.0
    errors = []
    for tick in np.flatnonzero(score.loudness > 0.6)[::8]:
        start = round(tick * TICK_S * 16000) - 400
        wanted = score.pitch_hz[tick]
        errors.append(12 * np.log2(1.0 / period_s(sound[start : start + 800], 16000) / wanted))
    assert len(errors) > 10
    assert np.median(np.abs(errors)) < 0.7  # semitones


def test_anger_is_louder_and_brighter_than_sadness():
    sounds = [synthesise(*scored(e), 48000) / 32768.0 for e in ("anger", "sadness")]
    level = [np.sqrt(np.mean(sound**2)) for sound in sounds]
    spectra = [np.abs(np.fft.rfft(sound, 2**18)) ** 2 for sound in sounds]
    bins = np.fft.rfftfreq(2**18, 1 / 48000)
    centroid = [spectrum @ bins / spectrum.sum() for spectrum in spectra]
    assert level[0] > 2.0 * level[1]
    assert centroid[0] > 1.2 * centroid[1]


def test_a_sentence_is_the_same_for_all_speakers_and_emotions():
    one, _ = scored("anger", take=2)
    two, _ = scored("fear", take=2, speaker=SPEAKERS[3])
    own, _ = scored("fear", take=6)
    said = [sentence(play.seed, play.sentence, 2.0) for play in (one, two, own)]
    assert said[0] == said[1]
    assert said[0] != said[2]


def test_the_truth_box_follows_the_head_and_not_the_mouth():
    still, nod = Moment(), Moment(shift=(0.1, 0.0))
    boxes = [
        face_box(Head((160.0, 118.0), 60.0, moment), 320, 256)
        for moment in (still, nod, Moment(mouth=1.0))
    ]
    assert np.allclose(np.subtract(boxes[1], boxes[0]), (6.0, 0.0, 6.0, 0.0))
    assert boxes[2] == boxes[0]


def test_a_louder_voice_opens_the_mouth_and_a_blink_shuts_the_eyes():
    play, _ = scored("neutral")

    def height(name, moment):
        return np.ptp(face_shapes(play.face, moment, 1.0)[name][:, 1])

    assert height("inner", Moment(mouth=0.8)) > 4.0 * height("inner", Moment())
    assert height("eye_l", Moment(blink=1.0)) < 0.5 * height("eye_l", Moment())
