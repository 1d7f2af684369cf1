"""Devices that a machine has are faked: what is chosen, and what is said where it cannot be."""

import pytest
import torch
from accelerate.utils import send_to_device
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from models import device
from models.audio.panns import build
from models.expressions.mini_xception import MiniXception
from models.fusion.branches import AudioNet, VisualNet
from models.fusion.network import FusionHead, FusionNet
from models.losses import emotion_bce
from models.training import TrainSettings, fit
from pipeline.errors import ParamsError


@pytest.fixture
def two_cards(monkeypatch):
    monkeypatch.delenv("AVEMO_DEVICE", raising=False)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda card: f"card {card.index // 2}")
    return monkeypatch


@pytest.mark.parametrize(
    ("asked", "chosen"),
    [
        ("", ("cuda:0", "cuda:1")),
        ("cuda", ("cuda:0", "cuda:1")),
        ("cuda:1", ("cuda:1",)),
        ("cpu", ("cpu",)),
    ],
)
def test_a_kind_is_all_of_it_and_a_number_one(two_cards, asked, chosen):
    two_cards.setenv("AVEMO_DEVICE", asked)
    assert tuple(map(str, device.chosen_devices())) == chosen
    assert device.chosen_device() == torch.device(chosen[0])


def test_processes_of_a_group_take_the_next_card_each(two_cards):
    two_cards.setenv("WORLD_SIZE", "2")
    for rank in (0, 1):
        two_cards.setenv("LOCAL_RANK", str(rank))
        assert str(device.chosen_device()) == f"cuda:{rank}"
        assert device.accelerators().names == (f"cuda:{rank}",)
    two_cards.setenv("AVEMO_DEVICE", "cpu")
    assert device.accelerators().names == ("cpu",)  # one worker, that trains with the others


def test_cards_alike_are_one_fact(two_cards):
    assert device.device_facts() == {"device": "card 0"}
    two_cards.setenv("AVEMO_DEVICE", "cpu")
    assert device.device_facts() == {"device": "cpu"}


@pytest.mark.parametrize("asked", ["cuda:2", "mps", "gpu", "cpu:1", "CUDA"])
def test_what_is_not_there_is_refused_by_name(two_cards, asked):
    two_cards.setenv("AVEMO_DEVICE", asked)
    with pytest.raises(ParamsError, match=f"AVEMO_DEVICE: got '{asked}', this machine has cuda:0"):
        device.chosen_device()


def fusion_net():
    audio, visual = AudioNet((5, 3), (8, 4), 2, 0.1), VisualNet({"faces": (6,)}, 4, 2, 0.1)
    return FusionNet(audio, visual, FusionHead(8, 6, 2, 0.1, residual=True))


NETWORKS = {
    "sound": (lambda: build("Wavegram_Logmel_Cnn14"), lambda: torch.zeros(2, 16_000)),
    "faces": (MiniXception, lambda: torch.zeros(2, 1, 64, 64)),
    "fusion": (
        fusion_net,
        lambda: {
            "audio": torch.zeros(2, 8),
            "faces": torch.zeros(2, 3, 6),
            "weights": torch.ones(2, 3),
        },
    ),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_computes_where_it_lies_and_nowhere_else(name):
    make, inputs = NETWORKS[name]
    found = make().to("meta")(send_to_device(inputs(), "meta"))  # two devices would not mix
    found = found.values() if isinstance(found, dict) else found
    assert all(one.device.type == "meta" for one in found)


def test_a_network_is_trained_where_it_lies(monkeypatch):
    network = nn.Linear(4, 2).to("meta")
    seen = []

    def step(model, batch):
        seen.extend(one.device.type for one in batch)
        return {"l_av": emotion_bce(model(batch[0]), batch[1])}

    monkeypatch.setattr("models.training.weighted_sum", lambda losses, weights: losses["l_av"])
    batches = DataLoader(TensorDataset(torch.zeros(4, 4), torch.zeros(4, dtype=torch.int64)), 2)
    with pytest.raises(RuntimeError, match="meta"):  # no optimiser there
        fit(network, batches, step, {"l_av": 1.0}, TrainSettings(1, 0.1, 0.0))
    assert set(seen) == {"meta"} and network.weight.device.type == "meta"
