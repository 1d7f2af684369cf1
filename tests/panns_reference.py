"""Two references for the PANNs: the published package behind a guard, its layers in plain calls.

The package holds `Cnn14` alone; the layer table serves all three networks.
"""

import importlib
import os
import warnings
from pathlib import Path
from types import ModuleType
from unittest import mock

import torch
from torch import Tensor
from torch.nn import functional as F

CLASSES = 527


def panns_inference(home: Path) -> ModuleType:
    """Import the package `panns_inference`, which fetches its labels with wget if left alone.

    Args:
        home: a folder that it takes for the user's; labels are put where it looks for them.
    """
    labels = home / "panns_data" / "class_labels_indices.csv"
    labels.parent.mkdir(parents=True, exist_ok=True)
    rows = [f"{index},/m/{index},class {index}" for index in range(CLASSES)]
    labels.write_text("\n".join(["index,mid,display_name", *rows]), encoding="utf-8")
    with (
        mock.patch.dict(os.environ, HOME=str(home), MPLCONFIGDIR=str(home)),
        mock.patch("os.system", side_effect=AssertionError("panns_inference runs a command")),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")
        return importlib.import_module("panns_inference")


def layers(state: dict[str, Tensor], waveform: Tensor) -> tuple[Tensor, Tensor]:
    """Embedding [B, 2048] and tags [B, 527] of clips [B, T], T a multiple of 640.

    Args:
        state: of one of the networks; the front ends that it holds are used.
        waveform: at 32 kHz.

    Source: Kong et al. (2020), Tables II and IV; `pytorch/models.py` of their code.
    """
    fronts = []
    if "logmel_extractor.melW" in state:
        window = torch.hann_window(1024)
        spectrum = torch.stft(waveform, 1024, 320, window=window, return_complex=True)  # reflected
        power = spectrum.abs().square().transpose(1, 2)  # [B, F, 513]
        decibels = 10 * (power @ state["logmel_extractor.melW"]).clamp(min=1e-10).log10()
        x = _norm(state, "bn0", decibels.transpose(1, 2)).transpose(1, 2)  # over mel bands
        fronts.append(_block(state, "conv_block1", x[:, None], (2, 2)))
    if "pre_conv0.weight" in state:
        x = F.conv1d(waveform[:, None], state["pre_conv0.weight"], stride=5, padding=5)
        x = _norm(state, "pre_bn0", x).relu()
        for name in ("pre_block1", "pre_block2", "pre_block3"):
            x = F.conv1d(x, state[f"{name}.conv1.weight"], padding=1)
            x = _norm(state, f"{name}.bn1", x).relu()
            x = F.conv1d(x, state[f"{name}.conv2.weight"], padding=2, dilation=2)
            x = F.max_pool1d(_norm(state, f"{name}.bn2", x).relu(), 4)
        x = x.reshape(len(x), 4, 32, -1).transpose(2, 3)  # [B, 4, F, 32]
        fronts.append(_block(state, "pre_block4", x, (2, 1)))
    x = torch.cat(fronts, dim=1)
    for number in (2, 3, 4, 5):
        x = _block(state, f"conv_block{number}", x, (2, 2))
    x = _block(state, "conv_block6", x, (1, 1)).mean(dim=3)
    x = x.max(dim=2).values + x.mean(dim=2)
    embedding = F.linear(x, state["fc1.weight"], state["fc1.bias"]).relu()
    tags = F.linear(embedding, state["fc_audioset.weight"], state["fc_audioset.bias"])
    return embedding, tags.sigmoid()


def _block(state: dict[str, Tensor], name: str, x: Tensor, pool: tuple[int, int]) -> Tensor:
    for number in (1, 2):
        x = F.conv2d(x, state[f"{name}.conv{number}.weight"], padding=1)
        x = _norm(state, f"{name}.bn{number}", x).relu()
    return F.avg_pool2d(x, pool)


def _norm(state: dict[str, Tensor], name: str, x: Tensor) -> Tensor:
    keys = ("running_mean", "running_var", "weight", "bias")
    mean, variance, weight, bias = (state[f"{name}.{key}"] for key in keys)
    return F.batch_norm(x, mean, variance, weight, bias, eps=1e-5)
