import os
import pickle

import numpy as np
import pytest
import torch
from torch import nn

from models.checkpoint import load_safetensors, load_strictly, read_state, save_safetensors
from pipeline.errors import WeightsError

TENSORS = {"b/x": torch.arange(6.0).reshape(2, 3).T, "a": torch.tensor(7), "empty": torch.empty(0)}
FACTS = {name: name for name in "fedcba"}


def test_safetensors_round_trip(tmp_path):
    path = tmp_path / "new" / "some file.safetensors"
    save_safetensors(path, TENSORS, FACTS)
    tensors, facts = load_safetensors(path)
    assert facts == FACTS
    assert tensors.keys() == TENSORS.keys()
    assert all(torch.equal(tensors[name], value) for name, value in TENSORS.items())
    assert [p.name for p in path.parent.iterdir()] == [path.name]
    (tmp_path / "plain").touch()
    assert path.stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_same_tensors_and_facts_give_the_same_bytes(tmp_path):
    written = []
    for order in (1, -1):
        path = tmp_path / "x.safetensors"
        tensors = dict(list(TENSORS.items())[::order])
        save_safetensors(path, tensors, dict(list(FACTS.items())[::order]))
        written.append(path.read_bytes())
    assert written[0] == written[1]


def test_facts_are_optional(tmp_path):
    save_safetensors(tmp_path / "x.safetensors", TENSORS)
    assert load_safetensors(tmp_path / "x.safetensors")[1] == {}


@pytest.mark.parametrize("content", [b"", b"not safetensors at all", None])
def test_damaged_safetensors_is_one_line(tmp_path, content):
    path = tmp_path / "x.safetensors"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(WeightsError, match=r"x\.safetensors: cannot be read"):
        load_safetensors(path)


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("wrapped", [True, False])
def test_pth_gives_the_state_dict(tmp_path, zipped, wrapped):
    state = nn.Linear(2, 3).state_dict()
    content = {"iteration": 600_000, "model": state} if wrapped else state
    torch.save(content, tmp_path / "x.pth", _use_new_zipfile_serialization=zipped)
    assert read_state(tmp_path / "x.pth").keys() == state.keys()


@pytest.mark.parametrize("module", [b"numpy._core.multiarray", b"numpy.core.multiarray"])
def test_pth_may_hold_the_integer_arrays_of_the_published_pickles(tmp_path, module):
    path = tmp_path / "x.pth"
    sampler = {"pointers_of_classes": [0, 1], "queue": np.arange(5), "seed": np.array(3)}
    content = {"model": nn.Linear(2, 3).state_dict(), "sampler": sampler}
    torch.save(content, path, _use_new_zipfile_serialization=False)
    path.write_bytes(path.read_bytes().replace(b"numpy._core.multiarray", module))
    assert module in path.read_bytes()
    assert read_state(path).keys() == {"weight", "bias"}


class Malicious:
    def __init__(self, command):
        self.command = command

    def __reduce__(self):
        return os.system, (self.command,)


@pytest.mark.parametrize("zipped", [True, False])
def test_malicious_pickle_is_refused_and_does_not_run(tmp_path, zipped):
    path, trace = tmp_path / "x.pth", tmp_path / "trace"
    content = {"model": {"weight": Malicious(f"touch '{trace}'")}}
    torch.save(content, path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(WeightsError, match="would run code"):
        read_state(path)
    path.write_bytes(pickle.dumps(content, protocol=2))
    with pytest.raises(WeightsError, match="would run code"):
        read_state(path)
    assert not trace.exists()


@pytest.mark.parametrize("keep", [0, 10, 0.5])
def test_truncated_pth_is_one_line(tmp_path, keep):
    path = tmp_path / "x.pth"
    torch.save({"model": nn.Linear(50, 50).state_dict()}, path)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(keep * len(whole)) if keep < 1 else keep])
    with pytest.raises(WeightsError, match=r"x\.pth: ") as caught:
        read_state(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [[1, 2], {"model": {"weight": 3}}, 5])
def test_pth_without_a_state_dict_is_refused(tmp_path, content):
    torch.save(content, tmp_path / "x.pth")
    with pytest.raises(WeightsError, match="expected a dict of tensors"):
        read_state(tmp_path / "x.pth")


def test_missing_pth_is_named(tmp_path):
    with pytest.raises(WeightsError, match=r"absent\.pth"):
        read_state(tmp_path / "absent.pth")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda state: state.pop("bias"), "1 parameters missing, first bias"),
        (lambda state: state.update(extra=torch.ones(1)), "1 parameters unknown, first extra"),
        (lambda state: state.update(bias=torch.ones(4)), r"bias is \[4\], expected \[3\]"),
    ],
)
def test_state_that_does_not_fit_is_refused_by_name(tmp_path, change, message):
    state = nn.Linear(2, 3).state_dict()
    change(state)
    with pytest.raises(WeightsError, match=f"not the weights of Linear: {message}"):
        load_strictly(nn.Linear(2, 3), state, tmp_path / "x.pth")


@pytest.mark.parametrize("name", ["a.pth", "a.safetensors"])
def test_a_pointer_of_git_lfs_is_no_damage(tmp_path, name):
    path = tmp_path / name
    path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n")
    with pytest.raises(WeightsError, match=rf"{name}: got a Git LFS pointer, .*`git lfs pull`"):
        read_state(path)
