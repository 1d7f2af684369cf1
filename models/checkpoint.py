"""Files of weights: our own as safetensors, foreign pickles without running their code.

Nothing here knows a network: see `models.audio.weights` for the published audio networks.
"""

import json
import pickle
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from pipeline.errors import WeightsError
from pipeline.files import atomic_write
from pipeline.foreign import is_lfs_pointer


def load_strictly(network: nn.Module, state: Mapping[str, Tensor], path: Path) -> None:
    """Load a state whose names and shapes are exactly the network's.

    Raises:
        WeightsError: a parameter is missing, unknown or of another shape; the first is named.
    """
    own = network.state_dict()
    where = f"{path}: not the weights of {type(network).__name__}"
    for kind, names in (("missing", own.keys() - state.keys()), ("unknown", state.keys() - own)):
        if names:
            raise WeightsError(f"{where}: {len(names)} parameters {kind}, first {min(names)}")
    for name, value in own.items():
        if state[name].shape != value.shape:
            raise WeightsError(
                f"{where}: {name} is {list(state[name].shape)}, expected {list(value.shape)}"
            )
    network.load_state_dict(dict(state), strict=True)


def read_state(path: Path) -> dict[str, Tensor]:
    """Parameters by name from `.safetensors`, or from a `.pth` dict, its key `model` if present.

    Raises:
        WeightsError: the file is missing or damaged, holds anything but tensors, or would have
            to run code to be read.
    """
    if path.suffix == ".safetensors":
        return load_safetensors(path)[0]
    _require_no_pointer(path)
    try:
        with torch.serialization.safe_globals(_numpy_names()):
            content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise WeightsError(
            f"{path}: refused, reading it would run code or it is damaged; fetch it again or "
            "convert it to safetensors where you trust it"
        ) from error
    except (OSError, EOFError, RuntimeError, ValueError) as error:
        raise WeightsError(f"{path}: cannot be read as a checkpoint ({error})") from error
    state = content.get("model", content) if isinstance(content, dict) else content
    if not isinstance(state, dict) or not all(isinstance(v, Tensor) for v in state.values()):
        raise WeightsError(f"{path}: expected a dict of tensors, or one under the key `model`")
    return dict(state)


def save_safetensors(
    path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None
) -> None:
    """Write tensors and a few facts about them, atomically; same input, same bytes.

    Args:
        path: file to write, its folder is made.
        tensors: any shapes and types; stored contiguously, on the CPU.
        metadata: facts to store beside them.
    """
    # one key holds all facts: safetensors writes several in an order that changes by run
    facts = {"avemo": json.dumps(dict(metadata), sort_keys=True)} if metadata else None
    stored = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
    with atomic_write(path) as part:
        part.write_bytes(save(stored, facts))  # save_file leaves files only their owner can read


def load_safetensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Read what `save_safetensors` wrote: tensors and facts.

    Raises:
        WeightsError: the file is missing or damaged.
    """
    _require_no_pointer(path)
    try:
        with safe_open(path, framework="pt") as stream:
            facts = (stream.metadata() or {}).get("avemo", "{}")
            return {name: stream.get_tensor(name) for name in stream.keys()}, json.loads(facts)
    except (SafetensorError, OSError) as error:
        raise WeightsError(f"{path}: cannot be read as safetensors ({error})") from error


def _require_no_pointer(path: Path) -> None:
    if path.is_file() and is_lfs_pointer(path):
        raise WeightsError(
            f"{path}: got a Git LFS pointer, expected the weights that it stands for; run "
            "`git lfs pull` there"
        )


def _numpy_names() -> list[Callable[..., object] | tuple[Callable[..., object], str]]:
    """What the published pickles need beside tensors: integer arrays of their training sampler.

    Rebuilding an array runs no code of the file. Old pickles name numpy's former module.
    """
    rebuild: Callable[..., object] = np.empty(0).__reduce__()[0]  # type: ignore[assignment]
    return [
        np.ndarray,
        np.dtype,
        type(np.dtype(np.int64)),
        (rebuild, "numpy.core.multiarray._reconstruct"),
        (rebuild, "numpy._core.multiarray._reconstruct"),
    ]
