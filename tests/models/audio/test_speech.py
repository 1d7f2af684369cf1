"""Speech encoders: the one that comes with the package, and tiny random ones of other kinds."""

import json
import os
from importlib import resources
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers

from models.audio.encoders import FACTS, PACKAGED
from models.audio.params import Pooling
from models.audio.speech import FRAME, WINDOW_S, SpeechEncoder, spoken
from models.checkpoint import load_safetensors, save_safetensors
from pipeline.errors import MediaError, WeightsError

FOLDER = PACKAGED["whisper_tiny_en"]
WIDTH = 384
POOLING = Pooling((0, 1, 3), ("mean", "std", "max"), pause_db=30)

SMALL = {
    "hidden_size": 16,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "conv_dim": (8,) * 7,
    "num_conv_pos_embeddings": 16,
    "num_conv_pos_embedding_groups": 2,
}
WHISPER = {
    "d_model": 16,
    "encoder_layers": 3,
    "encoder_attention_heads": 2,
    "encoder_ffn_dim": 24,
    "decoder_layers": 1,
    "decoder_attention_heads": 2,
    "decoder_ffn_dim": 24,
}
NORMED_FIRST = {"do_stable_layer_norm": True, "feat_extract_norm": "layer"}


def save_tiny(kind, folder, **changes):
    """A random encoder, and its files as they are published."""
    torch.manual_seed(0)
    whisper = kind == "whisper"
    config = transformers.AutoConfig.for_model(kind, **(WHISPER if whisper else SMALL), **changes)
    if whisper:
        network = transformers.WhisperForConditionalGeneration(config)
        transformers.WhisperFeatureExtractor().save_pretrained(folder)
    else:
        network = transformers.AutoModel.from_config(config)
        transformers.Wav2Vec2FeatureExtractor().save_pretrained(folder)
    network.save_pretrained(folder)
    return network.eval().get_encoder() if whisper else network.eval()


@pytest.fixture(scope="module")
def encoder():
    return SpeechEncoder(FOLDER, POOLING)


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


@pytest.mark.skipif("AVEMO_REALWEIGHTS" not in os.environ, reason="needs published weights")
def test_the_packaged_encoder_is_the_published_one(encoder):
    whole = SpeechEncoder(Path(os.environ["AVEMO_REALWEIGHTS"]) / "whisper_tiny_en", POOLING)
    torch.testing.assert_close(encoder.embed(sound(12)), whole.embed(sound(12)))


@pytest.mark.parametrize(
    ("kind", "changes"),
    [
        ("wav2vec2", {}),
        ("wav2vec2", NORMED_FIRST),
        ("hubert", {}),
        ("wavlm", {}),
        ("wavlm", NORMED_FIRST),
        ("data2vec-audio", {}),
        ("whisper", {}),
    ],
)
def test_any_encoder_gives_the_states_that_transformers_does(tmp_path, kind, changes):
    network = save_tiny(kind, tmp_path, **changes)
    mean = Pooling((0, 1, 2), ("mean",), pause_db=200)
    found = SpeechEncoder(tmp_path, mean).embed(sound(0.5, clips=2))

    extract = transformers.AutoFeatureExtractor.from_pretrained(tmp_path)
    heard = SpeechEncoder(FOLDER, mean)  # hears the same samples
    waves = []
    heard._hidden_states = lambda window: waves.append(window) or torch.zeros(2, 3, 25, 1)
    heard.embed(sound(0.5, clips=2))
    if kind == "whisper":  # it hears 30 s or nothing, unless it is told otherwise
        network.config.max_source_positions = 25
        positions = network.embed_positions.weight[:25]
        network.embed_positions = torch.nn.Embedding.from_pretrained(positions)
    inputs = extract(list(waves[0]), sampling_rate=16_000, padding="longest", return_tensors="pt")
    with torch.no_grad():
        states = network(**inputs, output_hidden_states=True).hidden_states[:3]
    if states[0].shape[1] == 24:
        states = [torch.cat([state, state[:, -1:]], dim=1) for state in states]
    expected = torch.cat([state.mean(dim=1) for state in states], dim=1)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)


def test_an_encoder_that_does_not_fit_is_refused(tmp_path):
    save_tiny("wav2vec2", tmp_path)
    with pytest.raises(WeightsError, match=r"embed\.layers: got 4, but .* has 3 layers"):
        SpeechEncoder(tmp_path, Pooling((1, 4), ("mean",), 30))
    transformers.Wav2Vec2FeatureExtractor(sampling_rate=8_000).save_pretrained(tmp_path)
    with pytest.raises(WeightsError, match="hears 8000 Hz, expected 16000"):
        SpeechEncoder(tmp_path, POOLING)


def test_an_encoder_of_another_rate_is_refused_without_a_warning(tmp_path, recwarn):
    save_tiny("whisper", tmp_path)
    path = tmp_path / FACTS[1]
    path.write_text(json.dumps(json.loads(path.read_text()) | {"sampling_rate": 8_000}))
    with pytest.raises(WeightsError, match="hears 8000 Hz, expected 16000"):
        SpeechEncoder(tmp_path, POOLING)
    assert not recwarn.list


def test_frames_are_those_of_the_sound_and_none_is_of_padding(encoder, monkeypatch):
    lengths = []
    inner = encoder._hidden_states
    monkeypatch.setattr(
        encoder, "_hidden_states", lambda wave: lengths.append(wave.shape[1]) or inner(wave)
    )
    encoder.embed(sound(0.51))
    encoder.embed(sound(2 * WINDOW_S + 0.1))
    # the last 10 ms of the first clip fill no frame
    assert lengths == [25 * FRAME, 335 * FRAME, 335 * FRAME, 335 * FRAME]


def test_pauses_are_the_frames_that_are_much_softer_than_the_loudest():
    gains = np.repeat([0, 1, 0.1, 0.02, 0, 1, 0.04], FRAME)  # 28 dB below is speech, 34 is not
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


def test_other_or_incomplete_weights_are_refused(tmp_path):
    save_tiny("whisper", tmp_path)
    weights = tmp_path / "model.safetensors"
    state = load_safetensors(weights)[0]
    save_safetensors(weights, {n: v for n, v in state.items() if "conv1" not in n})
    with pytest.raises(WeightsError, match="weights of 2 parameters are missing"):
        SpeechEncoder(tmp_path, POOLING)
    weights.write_bytes(b"damaged")
    with pytest.raises(WeightsError, match="not a speech encoder that transformers can read"):
        SpeechEncoder(tmp_path, POOLING)
