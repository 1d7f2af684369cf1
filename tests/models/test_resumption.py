"""A training that was killed and resumed equals one that was not, bit for bit."""

import math
import random

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from models.resumption import Checkpoint
from models.training import TrainSettings, fit, measured_effort
from pipeline.errors import TrainingError

EPOCHS = 4


class KilledError(Exception):
    """Stands for SIGKILL: nothing after it runs."""


def step(model, batch):
    # every generator that there is has a part in the loss
    chance = random.random() + np.random.rand() + torch.rand(())
    return {"l_ce": chance * nn.functional.cross_entropy(model(batch[0]), batch[1])}


def train(path=None, kill_after=0, width=8, told=None):
    """State and mean losses of a training that is killed after an epoch, or not."""
    torch.manual_seed(0)
    np.random.seed(0)
    random.seed(0)
    x = torch.randn(37, 4)
    order = torch.Generator().manual_seed(1)
    batches = DataLoader(TensorDataset(x, (x[:, 0] > 0).long()), 8, shuffle=True, generator=order)
    hidden = nn.Linear(4, width)
    model = nn.Sequential(hidden, nn.BatchNorm1d(width), nn.Dropout(0.3), nn.Linear(width, 2))
    told = [] if told is None else told

    def on_epoch(epoch, means):
        told.append((epoch, means))
        if epoch == kill_after:
            raise KilledError

    with measured_effort() as effort:
        fit(
            model,
            batches,
            step,
            {"l_ce": 1.0},
            TrainSettings(EPOCHS, 0.01, 1e-3),
            on_epoch,
            Checkpoint(path) if path else None,
        )
    assert effort.steps == EPOCHS * 5
    chance = (random.random(), np.random.rand(), torch.rand(()).item())
    return model.state_dict(), told, chance


def assert_same(found, expected):
    assert found[0].keys() == expected[0].keys()
    for name, value in expected[0].items():
        assert torch.equal(found[0][name], value), name
    assert found[1:] == expected[1:]


def test_it_goes_on_after_any_epoch_as_if_nothing_had_been(tmp_path):
    whole = train()
    for epoch in range(1, EPOCHS + 1):
        path = tmp_path / str(epoch) / "state"
        with pytest.raises(KilledError):
            train(path, kill_after=epoch)
        assert_same(train(path), whole)
    path = tmp_path / "often"
    for epoch in range(1, EPOCHS + 1):
        with pytest.raises(KilledError):
            train(path, kill_after=epoch)
    assert_same(train(path), whole)


def damages(path, content):
    """Every kind of damage, as (what, bytes)."""
    for position in np.linspace(0, len(content) - 1, 40).astype(int):
        flipped = bytearray(content)
        flipped[position] ^= 1
        yield f"byte {position}", bytes(flipped)
    for length in (0, 10, 65, len(content) // 2, len(content) - 1):
        yield f"cut at {length}", content[:length]


def test_a_damaged_or_foreign_file_is_put_aside_with_a_word(tmp_path, caplog):
    whole, path = train(), tmp_path / "state"
    with pytest.raises(KilledError):
        train(path, kill_after=2)
    good = path.read_bytes()
    with pytest.raises(KilledError):
        train(tmp_path / "wider", kill_after=2, width=9)
    foreign = [("of another network", (tmp_path / "wider").read_bytes())]
    for what, content in [*damages(path, good), *foreign]:
        path.write_bytes(content)
        caplog.clear()
        with pytest.raises(KilledError):
            train(path, kill_after=1)
        assert "damaged or of another training; it begins anew" in caplog.text, what
    assert_same(train(path), whole)


def test_a_file_is_written_only_where_enough_was_computed(tmp_path):
    path = tmp_path / "state"
    for every_s, written in ((1000.0, False), (0.0, True)):
        model = nn.Linear(4, 2)
        batches = DataLoader(TensorDataset(torch.ones(8, 4), torch.ones(8).long()), 8)
        settings, state = TrainSettings(1, 0.01, 0.0), Checkpoint(path, every_s)
        fit(model, batches, step, {"l_ce": 1.0}, settings, checkpoint=state)
        assert path.exists() == written


def test_a_training_that_diverges_leaves_the_last_good_epoch(tmp_path):
    path, weights = tmp_path / "state", []
    for fails in (True, True, False):
        torch.manual_seed(0)
        model, told = nn.Linear(4, 2), []
        batches = DataLoader(TensorDataset(torch.ones(8, 4), torch.ones(8).long()), 8)

        def on_epoch(epoch, means, model=model, told=told):
            told.append(epoch)
            weights.append(model.weight.detach().clone())

        def sick(model, batch, told=told, fails=fails):
            loss = nn.functional.cross_entropy(model(batch[0]), batch[1])
            return {"l_ce": loss * math.nan if fails and len(told) == 2 else loss}

        arguments = (model, batches, sick, {"l_ce": 1.0}, TrainSettings(4, 0.1, 0.0), on_epoch)
        if fails:
            with pytest.raises(TrainingError, match=r"^epoch 3 of 4, batch 1: loss l_ce"):
                fit(*arguments, Checkpoint(path))
            assert told == [1, 2] and path.exists()
    fit(*arguments, Checkpoint(path))
    assert told == [1, 2, 3, 4]
    assert torch.equal(weights[1], weights[3]) and torch.equal(weights[1], weights[5])
