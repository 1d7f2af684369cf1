"""The speech encoder that comes with the package, on made-up sound."""

import subprocess
import sys
from importlib import resources

import numpy as np
import pytest
import torch

from models.audio.params import Pooling
from models.audio.speech import FRAME, SPEECH_FILES, WIDTH, WINDOW_S, SpeechEncoder, spoken
from models.checkpoint import save_safetensors
from pipeline.errors import MediaError, WeightsError

PATH = SPEECH_FILES["whisper_tiny_en"]


@pytest.fixture(scope="module")
def encoder():
    return SpeechEncoder(PATH, Pooling((0, 1, 3), ("mean", "std", "max"), pause_db=30))


def sound(seconds, clips=1):
    """[clips, T]: a hum whose pitch glides, in noise."""
    rng = np.random.default_rng(0)
    time_s = np.arange(round(seconds * 32_000)) / 32_000
    pitch_hz = rng.uniform(80, 300, (clips, 1)) * (1 + 0.2 * np.sin(time_s))
    wave = 0.2 * np.sin(2 * np.pi * np.cumsum(pitch_hz, axis=1) / 32_000)
    return torch.from_numpy((wave + 0.01 * rng.standard_normal(wave.shape)).astype(np.float32))


def test_weights_and_licence_are_in_the_package():
    folder = resources.files("models.audio") / "whisper_tiny_en"
    assert "Copyright (c) 2022 OpenAI" in (folder / "LICENSE").read_text()
    assert (folder / "model.safetensors").is_file()


def test_statistics_are_those_of_the_hidden_states_of_each_clip_alone(encoder):
    waves = sound(0.5, clips=3)
    together = encoder.embed(waves)
    assert together.shape == (3, 3 * 3 * WIDTH)
    for wave, values in zip(waves, together, strict=True):
        torch.testing.assert_close(encoder.embed(wave[None])[0], values, atol=1e-4, rtol=1e-4)
    mean, spread, highest = together.view(3, 3, 3, WIDTH).unbind(dim=2)
    assert (spread >= 0).all() and (highest >= mean).all()
    assert not torch.allclose(mean[:, 0], mean[:, 1]) and not torch.allclose(mean[0], mean[1])


def test_frames_are_those_of_the_sound_and_none_is_of_padding(encoder, monkeypatch):
    lengths = []
    inner = encoder.encoder.forward
    monkeypatch.setattr(
        encoder.encoder,
        "forward",
        lambda mel, **kwargs: lengths.append(mel.shape[-1]) or inner(mel, **kwargs),
    )
    encoder.embed(sound(0.51))
    encoder.embed(sound(2 * WINDOW_S + 0.1))
    # spectra, two a frame of 20 ms: the last 10 ms of the first clip fill none
    assert lengths == [2 * 25, 670, 670, 670]


def test_pauses_are_the_frames_that_are_much_softer_than_the_loudest():
    gains = np.repeat([0, 1, 0.1, 0.02, 0, 1, 0.04], FRAME)  # 20 dB below is speech, 34 is not
    tone = (gains * np.sin(np.arange(len(gains)))).astype(np.float32)
    silence = np.zeros_like(tone)
    for gain in (1, 0.001):
        found = spoken(np.stack([gain * tone, silence]), pause_db=30)
        assert found[0].tolist() == [False, True, True, False, False, True, True]
        assert found[1].all()


def test_statistics_are_of_speech_alone(encoder, monkeypatch):
    wave, states = sound(0.5), torch.zeros(1, 3, 25, WIDTH)
    wave[:, 10 * 2 * FRAME : 15 * 2 * FRAME] = 0
    states[:, :, 11:14] = 7  # resampling smears the pause's edges
    monkeypatch.setattr(encoder, "_hidden_states", lambda window: states)
    assert (encoder.embed(wave) == 0).all()


def test_less_sound_than_a_tenth_of_a_second_is_refused(encoder):
    with pytest.raises(MediaError, match="expected at least 3200"):
        encoder.embed(sound(0.09))


def test_other_weights_are_refused(tmp_path):
    save_safetensors(tmp_path / "x.safetensors", {"conv1.weight": torch.zeros(1)})
    with pytest.raises(WeightsError, match=r"x\.safetensors: not the weights of WhisperEncoder"):
        SpeechEncoder(tmp_path / "x.safetensors", Pooling((1,), ("mean",), 30))


def test_transformers_is_imported_only_where_the_encoder_is_built():
    code = "import sys, models.recognizer, stages.embed; assert 'transformers' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
