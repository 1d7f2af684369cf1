"""Devices that a machine has are faked: what is chosen, and what is said where it cannot be."""

import pytest
import torch

from models import device
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


def test_cards_alike_are_one_fact(two_cards):
    assert device.device_facts() == {"device": "card 0"}
    two_cards.setenv("AVEMO_DEVICE", "cpu")
    assert device.device_facts() == {"device": "cpu"}


@pytest.mark.parametrize("asked", ["cuda:2", "mps", "gpu", "cpu:1", "CUDA"])
def test_what_is_not_there_is_refused_by_name(two_cards, asked):
    two_cards.setenv("AVEMO_DEVICE", asked)
    with pytest.raises(ParamsError, match=f"AVEMO_DEVICE: got '{asked}', this machine has cuda:0"):
        device.chosen_device()
