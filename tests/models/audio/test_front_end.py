import numpy as np
import pytest
import torch

from models.audio.front_end import (
    FMAX_HZ,
    FMIN_HZ,
    HOP,
    N_FFT,
    N_MELS,
    RATE_HZ,
    LogMel,
    Spectrogram,
)

REFERENCE_TOLERANCE_DB = 2e-3  # torchlibrosa computes the same in float32, by convolution


@pytest.fixture(scope="module")
def reference():
    stft = pytest.importorskip("torchlibrosa.stft")
    spectrogram = stft.Spectrogram(n_fft=N_FFT, hop_length=HOP, win_length=N_FFT)
    logmel = stft.LogmelFilterBank(
        sr=RATE_HZ, n_fft=N_FFT, n_mels=N_MELS, fmin=FMIN_HZ, fmax=FMAX_HZ, top_db=None
    )
    return spectrogram, logmel


@pytest.fixture
def noise():
    return torch.randn(2, 12_345, generator=torch.Generator().manual_seed(0)) * 0.1


def test_logmel_agrees_with_torchlibrosa(reference, noise):
    spectrogram, logmel = reference

    ours = LogMel()(Spectrogram()(noise))

    assert ours.shape == (2, 1, 12_345 // HOP + 1, N_MELS)
    difference = (ours - logmel(spectrogram(noise))).abs().max()
    assert difference < REFERENCE_TOLERANCE_DB


def test_front_end_has_the_names_and_values_of_torchlibrosa(reference):
    for ours, theirs in zip((Spectrogram(), LogMel()), reference, strict=True):
        state = theirs.state_dict()
        assert ours.state_dict().keys() == state.keys()
        for name, value in ours.state_dict().items():
            torch.testing.assert_close(value, state[name], rtol=0, atol=1e-6)


def test_front_end_is_frozen():
    parameters = [*Spectrogram().parameters(), *LogMel().parameters()]
    assert len(parameters) == 3
    assert not any(parameter.requires_grad for parameter in parameters)


def test_spectrogram_obeys_the_loaded_basis(noise):
    spectrogram = Spectrogram()
    before = spectrogram(noise)

    for parameter in spectrogram.parameters():
        parameter.data.mul_(2)

    torch.testing.assert_close(spectrogram(noise), 4 * before)


@pytest.mark.parametrize("hz", [200.0, 1000.0, 6000.0])
def test_tone_peaks_in_the_band_that_holds_it(hz):
    tone = torch.from_numpy(np.sin(2 * np.pi * hz * np.arange(RATE_HZ) / RATE_HZ)).float()

    power = Spectrogram()(tone[None])[0, 0, 50]
    band = LogMel()(power).argmax()

    assert power.argmax() == round(hz * N_FFT / RATE_HZ)
    assert band == LogMel().melW[power.argmax()].argmax()


def test_silence_lies_at_the_floor():
    decibels = LogMel()(Spectrogram()(torch.zeros(1, 6400)))
    torch.testing.assert_close(decibels, torch.full_like(decibels, -100.0))
