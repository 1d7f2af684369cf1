"""Two processes that `torchrun` starts, without a GPU: they train together, and one writes."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from drawn_faces import TINY, write_voc
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from models.checkpoint import load_safetensors, save_safetensors
from models.faces.folds import DetectPaths, detect, train_beside
from models.training import TrainSettings, fit
from pipeline.clips import read_clips
from pipeline.splits import Fold
from pipeline.work.ranks import rank, ranks

FOLDS = [Fold("f", ("S0_c00", "S0_c01", "S1_c02"), ("S1_c03",))]


class Gated(nn.Module):
    """Half of its parameters take no part in the first epoch."""

    def __init__(self):
        super().__init__()
        self.first, self.second, self.both = nn.Linear(4, 2), nn.Linear(4, 2), False

    def forward(self, x):
        return self.first(x) + (self.second(x) if self.both else 0)


def train_net():
    """A net without chance in it; its mean losses."""
    torch.manual_seed(0)
    model, told = Gated(), []
    x = torch.randn(32, 4, generator=torch.Generator().manual_seed(1))
    order = torch.Generator().manual_seed(2)
    batches = DataLoader(TensorDataset(x, (x[:, 0] > 0).long()), 8, shuffle=True, generator=order)

    def step(model, batch):
        return {"l_ce": nn.functional.cross_entropy(model(batch[0]), batch[1])}

    def on_epoch(epoch, means):
        model.both = True
        told.append(means["l_ce"])

    fit(model, batches, step, {"l_ce": 1.0}, TrainSettings(5, 0.05, 1e-3), on_epoch)
    return model, told


def share_net(root):
    """What each process does of a net."""
    model, told = train_net()
    if rank() == 0:
        save_safetensors(root / "net.safetensors", model.state_dict())
        (root / "told.json").write_text(json.dumps(told))


def share_detector(root):
    """What each process does of a detector, as the stage does."""
    paths = DetectPaths(root / "voc", root / "truth", root / "results", root / "faces")
    # the closer look and the warm-up leave some parameters without a part in the loss
    changes = {"closer_px": 32, "closer_epochs": 1, "epochs": 2, "kl_warmup_epochs": 1}
    params = TINY.model_copy(update=changes)
    arguments = (paths, read_clips(root / "clips.csv"), FOLDS, (), params)
    if rank() > 0:
        train_beside(*arguments)
        assert not (root / "results").exists()
    else:
        assert ranks() == 2
        detect(*arguments)


def share(work, folder):
    """Let two processes do `work`."""
    started = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    environment = {"PYTHONPATH": os.pathsep.join(sys.path), "AVEMO_CACHE": str(folder / "cache")}
    done = subprocess.run(
        [*started, __file__, work.__name__, str(folder)],
        env={**os.environ, **environment, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]


def test_two_processes_train_a_net_as_one_does(tmp_path):
    share(share_net, tmp_path)
    model, told = train_net()
    for name, value in load_safetensors(tmp_path / "net.safetensors")[0].items():
        torch.testing.assert_close(value, model.state_dict()[name], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(json.loads((tmp_path / "told.json").read_text()), told)


@pytest.mark.slow
def test_two_processes_train_a_detector_and_one_writes(tmp_path):
    write_voc(tmp_path)
    (tmp_path / "truth").mkdir()
    share(share_detector, tmp_path)
    assert (tmp_path / "results/f.safetensors").is_file()
    assert json.loads((tmp_path / "results/metrics.json").read_text())["frames"] == 2


if __name__ == "__main__":
    {work.__name__: work for work in (share_net, share_detector)}[sys.argv[1]](Path(sys.argv[2]))
