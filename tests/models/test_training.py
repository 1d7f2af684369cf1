import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from models.training import History, TrainSettings, fit, weighted_sum
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
    with pytest.raises(TrainingError, match="l_a is nan"):
        weighted_sum({"l_a": one * float("nan")}, {"l_a": 1.0})


def test_nothing_to_train_on_is_said():
    with pytest.raises(TrainingError, match="0 batches"):
        fit(nn.Linear(4, 2), DataLoader([]), step, {"l_ce": 1.0}, TrainSettings(1, 0.1, 0.0))
