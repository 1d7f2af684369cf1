import numpy as np
import pytest

from models.audio.front_end import FMAX_HZ, FMIN_HZ, HOP, N_FFT, N_MELS, RATE_HZ
from models.audio.handcrafted import DIMENSION, N_MFCC, log_mfcc, mfcc, statistics, trajectory

MFCC_TOLERANCE = 1e-2  # of coefficients of size 100, in float32


def noise(samples):
    return (0.1 * np.random.default_rng(0).standard_normal(samples)).astype(np.float32)


@pytest.mark.parametrize("feature", [mfcc, log_mfcc])
@pytest.mark.parametrize(
    "waveform", [noise(3_200), noise(1), np.zeros(32_000, np.float32), np.ones(3_201, np.float32)]
)
def test_features_are_finite_and_of_fixed_size(feature, waveform):
    values = feature(waveform)
    assert values.shape == (DIMENSION,)
    assert values.dtype == np.float32
    assert np.isfinite(values).all()


def test_mfcc_agrees_with_librosa():
    librosa = pytest.importorskip("librosa")
    waveform = noise(RATE_HZ) * np.linspace(0, 1, RATE_HZ, dtype=np.float32)
    expected = librosa.feature.mfcc(
        y=waveform,
        sr=RATE_HZ,
        n_mfcc=N_MFCC,
        n_fft=N_FFT,
        hop_length=HOP,
        n_mels=N_MELS,
        fmin=FMIN_HZ,
        fmax=FMAX_HZ,
    )
    np.testing.assert_allclose(trajectory(waveform), expected, rtol=0, atol=MFCC_TOLERANCE)


def test_louder_speech_moves_the_energy_coefficient_only():
    quiet, loud = (mfcc(level * noise(RATE_HZ)).reshape(5, N_MFCC) for level in (1, 2))
    six_db = 20 * np.log10(2) * np.sqrt(N_MELS)
    expected = np.zeros_like(quiet)
    expected[[0, 2, 3], 0] = six_db  # mean and quantiles; not deviation and steps
    np.testing.assert_allclose(loud - quiet, expected, atol=MFCC_TOLERANCE)


def test_statistics_of_a_ramp():
    ramp = np.tile(np.arange(11, dtype=np.float32), (N_MFCC, 1))
    rows = statistics(ramp).reshape(5, N_MFCC)
    np.testing.assert_allclose(rows[:, 0], [5, np.sqrt(10), 1, 9, 1], rtol=1e-6)


def test_log_mfcc_keeps_signs():
    waveform = noise(RATE_HZ)
    coefficients = trajectory(waveform)
    constant_sign = np.abs(np.sign(coefficients).mean(axis=1)) == 1
    signs = np.sign(log_mfcc(waveform)[:N_MFCC])
    assert constant_sign.any()
    np.testing.assert_array_equal(
        signs[constant_sign], np.sign(coefficients.mean(axis=1))[constant_sign]
    )
