"""Damage to sound against its own definition: levels, spectra, times, lengths."""

import numpy as np
import pytest

from models.audio import noise
from models.robustness import sound

RATE_HZ = 32_000


def speech(seconds=1.0, hz=440):
    times_s = np.arange(round(seconds * RATE_HZ)) / RATE_HZ
    return (0.3 * np.sin(2 * np.pi * hz * times_s)).astype(np.float32)


def rms(signal):
    return np.sqrt(np.mean(np.square(signal, dtype=np.float64)))


def rng(seed=0):
    return np.random.default_rng(seed)


@pytest.mark.parametrize("snr_db", [20, 10, 5, 0])
def test_noise_lies_as_far_below_the_speech_as_is_said(snr_db):
    clean = speech()
    added = noise.with_noise(clean, noise.white_noise(RATE_HZ, rng()), snr_db) - clean
    assert 20 * np.log10(rms(clean) / rms(added)) == pytest.approx(snr_db, abs=1e-3)


def test_pink_noise_falls_by_three_decibels_an_octave():
    power = np.abs(np.fft.rfft(noise.pink_noise(4 * RATE_HZ, rng()))) ** 2
    octaves = [power[start : 2 * start].mean() for start in (500, 1000, 2000, 4000, 8000)]
    steps = np.diff(10 * np.log10(octaves))
    assert steps == pytest.approx([-3.01] * 4, abs=0.6)


def test_babble_has_every_voice_at_one_level():
    voices = [level * speech(0.5, hz) for level, hz in ((1, 300), (0.01, 700))]
    spectrum = np.abs(np.fft.rfft(sound.babble(RATE_HZ, voices, rng())))
    assert spectrum[300] == pytest.approx(spectrum[700], rel=0.05)


def test_reverberation_falls_by_60_decibels_in_its_time_and_keeps_the_level():
    click = np.zeros(RATE_HZ, np.float32)
    click[0] = 1
    heard = sound.reverberated(click, 0.5, rng()).astype(np.float64)
    assert np.square(heard[1:]).sum() == pytest.approx(heard[0] ** 2, rel=1e-3)
    early, late = (np.square(heard[s : s + 800]).mean() for s in (1, 8001))
    assert 10 * np.log10(early / late) == pytest.approx(30, abs=2)  # a quarter of a second
    clean = speech()
    assert rms(sound.reverberated(clean, 0.5, rng())) == pytest.approx(rms(clean), rel=1e-3)


def test_mp3_keeps_length_and_place_and_loses_more_at_fewer_bits():
    clean = speech(0.7) * np.hanning(round(0.7 * RATE_HZ)) + 0.01 * rng().normal(size=22400)
    clean = clean.astype(np.float32)
    lost = []
    for kbit_s in (96, 32):
        heard = sound.mp3(clean, kbit_s)
        assert heard.shape == clean.shape and heard.dtype == np.float32
        lost.append(rms(heard - clean))
    assert lost[0] < lost[1] < 0.2 * rms(clean)


def test_the_telephone_passes_its_band_alone():
    gains = {
        hz: rms(sound.band(speech(1, hz), 300, 3400)) / rms(speech()) for hz in (60, 1000, 9000)
    }
    assert gains[1000] == pytest.approx(1, abs=0.05)
    assert max(gains[60], gains[9000]) < 0.02


def test_clipping_cuts_the_share_that_is_said():
    clean = noise.white_noise(10_000, rng())
    cut = sound.clipped(clean, 0.1)
    assert np.mean(cut != clean) == pytest.approx(0.1, abs=1e-3)
    assert np.abs(cut).max() == pytest.approx(np.quantile(np.abs(clean), 0.9))


def test_silence_stays_silence():
    silence = np.zeros(4000, np.float32)
    noisy = noise.with_noise(silence, noise.white_noise(4000, rng()), 0)
    for one in (noisy, sound.reverberated(silence, 0.3, rng()), sound.clipped(silence, 0.1)):
        assert not one.any()
