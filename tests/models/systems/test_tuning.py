"""An audio network that learns with the layers over it; a tiny one stands for the PANNs."""

import numpy as np
import pytest
import soundfile
import torch
from project_copy import ROOT
from safetensors.torch import save_file
from torch import nn
from torch.nn.utils.rnn import pad_sequence

from models.audio.handcrafted import HANDCRAFTED
from models.audio.panns import pad
from models.fusion.branches import AudioNet
from models.recognition.recognizer import Recognizer
from models.saved_model import InputParams, ModelCard
from models.systems import tuning
from models.systems.evaluate import predict, train
from models.systems.inputs import ClipSet, Store
from models.systems.params import Settings
from models.systems.registry import build_network, inputs_of, recipe
from models.systems.tuning import TunedNet
from models.training import History
from pipeline.clips import ClipRecord
from pipeline.presets import preset_values
from pipeline.splits import Fold

WIDTH = 5


class TinyPanns(nn.Module):
    """Hears zeros, as the PANNs do: a mean over time of what batch norm makes of a waveform."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv1d(1, WIDTH, 9, stride=4)
        self.norm = nn.BatchNorm1d(WIDTH)

    def forward(self, waveform):
        return {"embedding": torch.relu(self.norm(self.conv(pad(waveform)[:, None]))).mean(dim=2)}


def tiny_panns(*_):
    with torch.random.fork_rng():
        torch.manual_seed(3)
        return TinyPanns().eval()


@pytest.fixture
def settings(monkeypatch):
    monkeypatch.setattr(tuning, "load_network", tiny_panns)
    monkeypatch.setattr(tuning, "build", tiny_panns)
    values = preset_values("demo", ROOT / "presets")
    audio = {"train": "all", "epochs": 3, "tune_epochs": 3, "tune_lr": 0.01, "tune_batch": 3}
    return Settings.load(values | {"audio": values["audio"] | audio})


@pytest.fixture
def store(tmp_path):
    """Six clips of unequal length and what the stage `embed` left of them."""
    draw, records = np.random.default_rng(0), []
    for name in ("audio32k", "embeddings"):
        (tmp_path / name).mkdir()
    for number in range(6):
        clip_id, samples = f"c{number}", 9000 + 1300 * number
        wave = (0.1 * (1 + number % 2) * draw.normal(size=samples)).astype(np.float32)
        soundfile.write(tmp_path / f"audio32k/{clip_id}.wav", wave, 32_000, subtype="FLOAT")
        found = tiny_panns()(torch.from_numpy(wave)[None])["embedding"][0].detach()
        handcrafted = {name: make(wave) for name, make in HANDCRAFTED.items()}
        tensors = {"Cnn14": found, **{k: torch.from_numpy(v) for k, v in handcrafted.items()}}
        save_file(tensors, tmp_path / f"embeddings/{clip_id}.safetensors")
        emotion, size = ("anger", "fear")[number % 2], (0, 0.0, 1, 0, 0, samples, 32_000)
        records.append(ClipRecord(clip_id, "S", emotion, "", *size))
    return Store(tuple(records), tmp_path, tmp_path)


@pytest.fixture
def trained(store, settings):
    """The network before and after training, its recipe, all clips, and the history."""
    ids = tuple(record.clip_id for record in store.records)
    built = recipe("audio_cnn", store, Fold("f", ids[:4], ids[4:]), settings)
    clips, history = ClipSet(ids, store.labels(), built.readers), History()
    network = train(clips.subset(ids[:4]), built, settings, history, "f")
    return built, clips, network, history


def test_network_and_layers_learn_but_for_the_statistics_of_batch_norm(trained):
    _, _, network, history = trained
    assert [row["phase"] for row in history.rows] == ["audio"] * 3 + ["tuning"] * 3
    begun, learned = tiny_panns().state_dict(), network.branch.panns.state_dict()
    moved = {name for name in begun if not torch.equal(begun[name], learned[name])}
    assert moved == {"conv.weight", "conv.bias", "norm.weight", "norm.bias"}


def test_it_begins_where_the_stored_embeddings_are(store, settings):
    built = recipe("audio_cnn", store, Fold("f", ("c0", "c1"), ("c2",)), settings)
    (batch,) = ClipSet(("c0", "c1", "c2"), store.labels(), built.readers).ordered(3)
    network = built.build().eval()
    _, logits = network.branch(batch)
    assert torch.allclose(logits, network.branch.branch(batch)[1], atol=1e-5)


def test_a_batch_of_unequal_lengths_equals_its_singles():
    torch.manual_seed(0)
    network = TunedNet(tiny_panns(), AudioNet([WIDTH], (4, 4), 3, 0.5)).eval()
    clips = [torch.randn(length) for length in (9000, 9001, 12_345, 33_000)]
    batch = {
        "waveform": pad_sequence(clips, batch_first=True),
        "waveform_length": torch.tensor([len(clip) for clip in clips]),
    }
    alone = [
        network({"waveform": clip[None], "waveform_length": torch.tensor([len(clip)])})[1]
        for clip in clips
    ]
    assert torch.allclose(network(batch)[1], torch.cat(alone), atol=1e-5)


def test_a_saved_one_answers_for_a_file_as_for_a_clip(trained, store, settings):
    built, clips, network, _ = trained
    assert inputs_of("audio_cnn", settings) == ("waveform", "handcrafted")
    assert settings.frozen_networks("audio_cnn") == ()
    assert settings.frozen_networks("audio_speech") == settings.audio.encoders
    rebuilt = build_network("audio_cnn", built.widths, settings)
    rebuilt.load_state_dict(network.state_dict())
    sections = InputParams.model_fields
    values = {k: v for k, v in preset_values("demo", ROOT / "presets").items() if k in sections}
    card = ModelCard.model_construct(
        system="audio_cnn", emotions=store.emotions, branches=("audio",), pools={},
        inputs=InputParams.model_validate(values | {"detector": None}), settings=settings.dump(),
    )  # fmt: skip
    recognizer = Recognizer(card, rebuilt, None, {})
    logits = predict(network, clips)["audio"]
    for row, clip_id in enumerate(clips.ids[:3]):
        answer = recognizer.predict(store.audio32k / f"{clip_id}.wav")
        expected = torch.sigmoid(logits[row]) / torch.sigmoid(logits[row]).sum()
        assert list(answer.probabilities.values()) == pytest.approx(expected.tolist(), abs=1e-4)
