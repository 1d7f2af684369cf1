import os
import subprocess
import sys

import pooch
import pytest
import torch
from project_copy import ROOT
from torch import nn

from models.audio import weights as pretrained
from models.audio.download import Remote
from models.audio.params import EmbedParams, Pooling
from models.audio.weights import PANNS_FILES, load_network, resolve, weights_folder
from pipeline.errors import WeightsError
from pipeline.presets import preset_values


def params(weights, seed=0):
    embed = preset_values("demo", ROOT / "presets")["embed"]
    return EmbedParams.model_validate(embed | {"weights": weights, "seed": seed})


class TinyNetwork(nn.Module):
    """Stands in for a network of 80 million parameters."""

    def __init__(self):
        super().__init__()
        self.fc1 = nn.Linear(2, 3)


def build_tiny(name, seed=0):
    torch.manual_seed(seed)
    return TinyNetwork()


@pytest.fixture
def tiny(monkeypatch, tmp_path):
    """A published checkpoint of a tiny network that lies where a download would put it."""
    folder = tmp_path / "weights"
    folder.mkdir()
    path = folder / "Cnn14_mAP=0.431.pth"
    torch.save({"iteration": 1, "model": build_tiny("", seed=9).state_dict()}, path)
    remote = Remote("http://127.0.0.1:9/" + path.name, path.name, pooch.file_hash(path, "md5"))
    monkeypatch.setenv("AVEMO_WEIGHTS", str(folder))
    monkeypatch.setattr(pretrained, "PANNS_FILES", {"Cnn14": remote})
    monkeypatch.setattr(pretrained, "build", build_tiny)
    return path


def test_published_files_have_pinned_content():
    assert PANNS_FILES.keys() == pretrained.NETWORKS.keys()
    for remote in PANNS_FILES.values():
        assert remote.url.startswith("https://zenodo.org/records/3987831/files/")
        assert len(remote.md5) == 32


def test_published_weights_are_converted_once_and_kept(tiny):
    first = resolve("Cnn14", params("published"))
    assert first.path.name == "Cnn14_mAP=0.431.safetensors"
    tiny.unlink()
    assert resolve("Cnn14", params("published", seed=1)).identity == first.identity
    assert torch.equal(load_network(first).fc1.weight, build_tiny("", seed=9).fc1.weight)


def test_kept_weights_that_changed_are_refused(tiny):
    kept = resolve("Cnn14", params("published")).path
    kept.write_bytes(kept.read_bytes()[:-1] + b"x")
    with pytest.raises(WeightsError, match="sha256 differs"):
        resolve("Cnn14", params("published"))


def test_file_put_in_place_by_hand_is_verified(tiny):
    tiny.write_bytes(tiny.read_bytes() + b"x")
    with pytest.raises(WeightsError, match=r"md5 .*, expected"):
        resolve("Cnn14", params("published"))


def test_weights_from_a_folder_or_a_file(tiny):
    in_folder = resolve("Cnn14", params(str(tiny.parent)))
    assert in_folder == resolve("Cnn14", params(str(tiny)))
    assert in_folder.path == tiny


def test_weights_of_another_network_are_refused_at_once(tiny):
    torch.save({"model": nn.Linear(2, 3).state_dict()}, tiny)
    with pytest.raises(WeightsError, match=r"not the weights of TinyNetwork: 2 .*first fc1\.bias"):
        resolve("Cnn14", params(str(tiny)))


def test_absent_weights_say_what_was_looked_for(tmp_path):
    with pytest.raises(WeightsError, match=r"no weights of Cnn14; expected .*Cnn14\.safetensors"):
        resolve("Cnn14", params(str(tmp_path)))


def test_untrained_weights_are_told_apart_by_seed():
    one, two = (resolve("Cnn14", params("untrained", seed=seed)) for seed in (1, 2))
    assert one.path is None
    assert one.identity != two.identity


def test_speech_encoder_comes_with_the_package_whatever_the_weights_of_the_others(tmp_path):
    found = resolve("whisper_tiny_en", params(str(tmp_path / "absent"), seed=3))
    assert found == resolve("whisper_tiny_en", params("published"))
    assert found.pooling == Pooling((1, 2, 3), ("mean", "std", "max"), pause_db=30)


def test_a_name_that_is_neither_a_network_nor_a_place_is_refused():
    embed = preset_values("demo", ROOT / "presets")["embed"]
    for name in ("./encoder", "microsoft/wavlm-base-plus", "owner/name@0123abc"):
        EmbedParams.model_validate(embed | {"networks": [name]})
    with pytest.raises(ValueError, match=r"expected Cnn14, .*whisper_tiny_en, or a speech encoder"):
        EmbedParams.model_validate(embed | {"networks": ["Cnn10"]})


def test_weights_folder_follows_the_environment(monkeypatch, tmp_path):
    monkeypatch.delenv("AVEMO_WEIGHTS", raising=False)
    if sys.platform.startswith("linux"):
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
        assert weights_folder() == tmp_path / "xdg" / "avemo"
    monkeypatch.setenv("AVEMO_WEIGHTS", str(tmp_path / "own"))
    assert weights_folder() == tmp_path / "own"


def test_import_neither_writes_nor_fetches_nor_takes_foreign_packages(tmp_path):
    code = (
        "import socket, sys\n"
        "def refuse(*args, **kwargs): raise AssertionError('network at import')\n"
        "socket.socket.connect = refuse\n"
        "import models.audio.embed\n"
        "assert not {'panns_inference', 'torchlibrosa'} & set(sys.modules)\n"
    )
    home = tmp_path / "home"
    home.mkdir()
    environment = os.environ | {"HOME": str(home), "XDG_CACHE_HOME": str(home), "PYTHONPATH": "."}
    subprocess.run([sys.executable, "-c", code], check=True, env=environment)
    assert list(home.iterdir()) == []
