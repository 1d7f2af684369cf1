"""The network of the package `fer` against its own runtime, Keras, on pictures made of squares."""

import json
from importlib import resources
from pathlib import Path

import numpy as np
import pytest
import torch

from models.checkpoint import save_safetensors
from models.expressions.encoders import FerEncoder, resolve
from pipeline.errors import WeightsError

KERAS = json.loads((Path(__file__).parent / "keras_outputs.json").read_text(encoding="utf-8"))
"""What Keras 3 gives of `pictures()` with `emotion_model.hdf5`."""


def pictures():
    """Three gray pictures as RGB, [64, 64, 3]."""
    y, x = np.mgrid[:64, :64]
    levels = [(x * x * (n + 1) + 3 * y * y + (5 - n) * x * y) // 64 % 256 for n in range(3)]
    return [np.repeat(one[..., None], 3, axis=2).astype(np.uint8) for one in levels]


def test_features_and_logits_are_those_of_keras():
    with torch.no_grad():
        features, logits = FerEncoder(*resolve("fer_mini_xception").files)(pictures())
    torch.testing.assert_close(features, torch.tensor(KERAS["features"]), atol=1e-4, rtol=0)
    torch.testing.assert_close(logits, torch.tensor(KERAS["logits"]), atol=1e-4, rtol=0)


def test_weights_and_licence_are_in_the_package():
    folder = resources.files("models.expressions") / "fer_mini_xception"
    assert "Copyright (c) 2018 Justin Shenk" in (folder / "LICENSE").read_text()
    assert (folder / "model.safetensors").is_file()


def test_other_weights_are_refused(tmp_path):
    save_safetensors(tmp_path / "x.safetensors", {"stem.0.weight": torch.zeros(1)})
    with pytest.raises(WeightsError, match=r"x\.safetensors: not the weights of MiniXception"):
        FerEncoder(tmp_path / "x.safetensors")
