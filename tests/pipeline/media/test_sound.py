"""Resampling as physics: tones, constants, lengths, and two libraries that agree."""

import numpy as np
import pytest
import soundfile

from pipeline.errors import MediaError
from pipeline.media.sound import SAMPLE_RATE_HZ, read_wav, resample, to_mono, write_wav

METHODS = [("soxr", "high"), ("soxr", "fast"), ("resampy", "high"), ("resampy", "fast")]
EDGE = 800
"""Samples at either end where a filter sees the silence outside the signal: 25 ms."""
AGREEMENT = 0.02
"""Largest rms difference of the two libraries, as a share of the signal's rms."""


def tone(rate_hz, frequency_hz, seconds=1.0):
    times = np.arange(round(rate_hz * seconds)) / rate_hz
    return np.sin(2 * np.pi * frequency_hz * times).astype(np.float32)


def rms(signal):
    return float(np.sqrt(np.mean(np.square(signal[EDGE:-EDGE]))))


@pytest.mark.parametrize(("method", "quality"), METHODS)
@pytest.mark.parametrize("rate_hz", [48_000, 44_100, 16_000])
def test_resample_keeps_a_1khz_tone(method, quality, rate_hz):
    out = resample(tone(rate_hz, 1_000), rate_hz, method, quality)
    assert rms(out - tone(SAMPLE_RATE_HZ, 1_000)) < 0.005


@pytest.mark.parametrize(("method", "quality"), METHODS)
def test_resample_removes_a_20khz_tone(method, quality):
    assert rms(resample(tone(48_000, 20_000), 48_000, method, quality)) < 1e-3


@pytest.mark.parametrize(("method", "quality"), METHODS)
def test_resample_keeps_a_constant(method, quality):
    out = resample(np.full(48_000, 0.25, np.float32), 48_000, method, quality)
    np.testing.assert_allclose(out[EDGE:-EDGE], 0.25, atol=1e-3)


@pytest.mark.parametrize(("method", "quality"), METHODS)
@pytest.mark.parametrize(
    ("samples", "rate_hz", "expected"),
    [(48_000, 48_000, 32_000), (48_001, 48_000, 32_001), (44_100, 44_100, 32_000),
     (4_411, 44_100, 3_201), (4_999, 22_050, 7_255), (1_103, 11_025, 3_201), (800, 8_000, 3_200)],
)  # fmt: skip
def test_resample_gives_the_exact_length(method, quality, samples, rate_hz, expected):
    out = resample(tone(rate_hz, 200, samples / rate_hz), rate_hz, method, quality)
    assert (out.shape, out.dtype) == ((expected,), np.float32)


@pytest.mark.parametrize("rate_hz", [48_000, 44_100])
def test_both_methods_agree(rate_hz):
    # noise with a falling spectrum, as speech: near the cut-off the filters may differ
    noise = np.cumsum(np.random.default_rng(0).standard_normal(rate_hz)).astype(np.float32)
    signal = np.diff(noise, prepend=0) * 0.1 + np.sin(noise / 50)
    ours = resample(signal, rate_hz, "soxr", "high")
    theirs = resample(signal, rate_hz, "resampy", "high")
    assert rms(ours - theirs) < AGREEMENT * rms(ours)


def test_a_signal_at_32khz_is_left_alone():
    signal = tone(SAMPLE_RATE_HZ, 15_900)
    np.testing.assert_array_equal(resample(signal, SAMPLE_RATE_HZ, "soxr", "high"), signal)


def test_mono_keeps_the_level_of_what_is_heard():
    left, other = tone(8_000, 100), tone(8_000, 230) / 100
    silent = np.zeros_like(left)
    for channels in (
        [left],
        [left, left],
        [left, silent],
        [left, -left],
        [silent, silent, left, silent, silent, silent],
    ):
        np.testing.assert_array_equal(to_mono(np.stack(channels)), left)
    six = np.stack([other, other, left, silent, other, other])
    assert 20 * np.log10(rms(to_mono(six)) / rms(left)) > -0.1
    loudest = to_mono(np.stack([left / 4, -left]))
    np.testing.assert_allclose(loudest, -left, atol=0.05)


def test_mono_of_nothing_and_of_silence_is_that():
    assert to_mono(np.zeros((2, 0), np.float32)).shape == (0,)
    np.testing.assert_array_equal(to_mono(np.full((2, 9), 0.5, np.float32)), np.full(9, 0.5))


def test_wav_round_trip_and_same_bytes(tmp_path):
    signal = tone(SAMPLE_RATE_HZ, 100) * 1.5  # float: nothing clips
    for name in ("a.wav", "b.wav"):
        write_wav(tmp_path / name, signal, SAMPLE_RATE_HZ)
    assert (tmp_path / "a.wav").read_bytes() == (tmp_path / "b.wav").read_bytes()
    assert b"PEAK" not in (tmp_path / "a.wav").read_bytes()  # libsndfile's holds the time of day
    got, rate_hz = read_wav(tmp_path / "a.wav")
    assert rate_hz == SAMPLE_RATE_HZ
    np.testing.assert_array_equal(got, signal[None])


def test_stereo_is_channels_first(tmp_path):
    stereo = np.stack([tone(8_000, 100), tone(8_000, 200)]) / 2
    soundfile.write(tmp_path / "s.wav", stereo.T, 8_000, subtype="FLOAT")
    np.testing.assert_array_equal(read_wav(tmp_path / "s.wav")[0], stereo)


def test_what_is_no_wav_is_named(tmp_path):
    (tmp_path / "x.wav").write_text("no")
    with pytest.raises(MediaError, match=r"x\.wav: not a sound file"):
        read_wav(tmp_path / "x.wav")
