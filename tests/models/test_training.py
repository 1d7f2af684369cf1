import math

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from models import training
from models.training import (
    ConvexSettings,
    History,
    TrainSettings,
    fit,
    minimize,
    weighted_sum,
)
from pipeline.errors import TrainingError


def loader(n=32):
    x = torch.randn(n, 4, generator=torch.Generator().manual_seed(0))
    order = torch.Generator().manual_seed(1)
    return DataLoader(TensorDataset(x, (x[:, 0] > 0).long()), 8, shuffle=True, generator=order)


def step(model, batch):
    return {"l_ce": nn.functional.cross_entropy(model(batch[0]), batch[1])}


def train():
    torch.manual_seed(0)
    model, history = nn.Linear(4, 2), History()
    fit(model, loader(), step, {"l_ce": 2.0}, TrainSettings(15, 0.1, 0.0), history.record(fold="a"))
    return model, history.rows


def test_fit_learns_logs_each_epoch_and_is_deterministic():
    model, rows = train()
    assert [row["epoch"] for row in rows] == list(range(1, 16))
    assert rows[-1]["l_ce"] < 0.3 * rows[0]["l_ce"]
    assert rows[-1]["total"] == pytest.approx(2 * rows[-1]["l_ce"])
    assert not model.training
    assert torch.equal(model.weight, train()[0].weight)


def test_weighted_sum_names_what_is_wrong():
    one = torch.tensor(1.0)
    with pytest.raises(TrainingError, match="expected the same names"):
        weighted_sum({"l_a": one}, {"l_b": 1.0})


def test_nothing_to_train_on_is_said():
    with pytest.raises(TrainingError, match="0 batches"):
        fit(nn.Linear(4, 2), DataLoader([]), step, {"l_ce": 1.0}, TrainSettings(1, 0.1, 0.0))


def faulty(values, look_every, monkeypatch):
    """Train on losses that a list states, one a batch, four batches an epoch."""
    monkeypatch.setattr(training, "LOOK_EVERY", look_every)
    if look_every > 1:
        monkeypatch.setattr(training, "CPU", torch.device("meta"))  # so that this one is another
    given, model = iter(values), nn.Linear(4, 2)

    def stated(model, batch):
        return {"l_ce": step(model, batch)["l_ce"] * 0 + next(given)}

    epochs = []
    fit(
        model,
        loader(),
        stated,
        {"l_ce": 1.0},
        TrainSettings(2, 0.1, 0.0),
        lambda *a: epochs.append(a),
    )
    return epochs


@pytest.mark.parametrize("look_every", [1, 3, 50])
def test_losses_are_watched_and_the_batch_named(monkeypatch, look_every):
    assert faulty(range(8), look_every, monkeypatch) == [
        (1, {"l_ce": 1.5, "total": 1.5}),
        (2, {"l_ce": 5.5, "total": 5.5}),
    ]
    for value, message in (
        (math.nan, "loss l_ce is nan; lower the learning rate"),
        (math.inf, "loss l_ce is inf; lower the learning rate"),
        (3e4, "the loss diverged to 3e\\+04, 10000 times what it was at first; lower"),
    ):
        with pytest.raises(TrainingError, match=f"^epoch 2 of 2, batch 2: {message}"):
            faulty([2, 1, 1, 1, 1, value, 1, 1], look_every, monkeypatch)


def test_a_model_that_the_last_update_broke_is_refused():
    model = nn.Linear(4, 2)

    def steep(model, batch):
        loss = model(batch[0]).square().mean()
        loss.register_hook(lambda slope: slope * math.nan)
        return {"l_ce": loss}

    with pytest.raises(TrainingError, match="epoch 1 of 1: weight is not finite after the last up"):
        one = DataLoader(TensorDataset(torch.ones(8, 4)), 8)
        fit(model, one, steep, {"l_ce": 1.0}, TrainSettings(1, 0.1, 0.0))


def test_numbers_whose_squares_are_too_large_are_no_fault():
    model = nn.Linear(4, 2)
    model.register_buffer("far", torch.full((2,), 1e30))
    fit(model, loader(), step, {"l_ce": 1.0}, TrainSettings(1, 0.1, 0.0))
    assert model.far[0] == 1e30


def test_a_convex_loss_that_is_not_finite_is_refused():
    with pytest.raises(TrainingError, match="loss l_ce is nan; check the inputs"):
        minimize(
            nn.Linear(4, 2),
            {"x": torch.full((3, 4), torch.nan)},
            lambda model, batch: {"l_ce": model(batch["x"]).square().mean()},
            {"l_ce": 1.0},
            ConvexSettings(),
        )
