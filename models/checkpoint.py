"""Files of weights: our own as safetensors, foreign pickles without running their code.

Nothing here knows a network: see `models.audio.weights` for the published audio networks.
"""

import json
import pickle
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from pipeline.errors import WeightsError
from pipeline.files import atomic_write
from pipeline.foreign import is_lfs_pointer

FILES_ALONE: Mapping[str, Any] = {"local_files_only": True, "trust_remote_code": False}
"""For `transformers`: nothing is fetched, and no code that lies beside the weights is run."""


def reason_of(error: Exception) -> str:
    """Kind and first line of what a library says."""
    return f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}"


def require_fit(network: nn.Module, state: Mapping[str, Tensor], path: Path) -> None:
    """Refuse a state whose names, shapes and kinds of numbers are not exactly the network's.

    The network may be on the device `meta`, where it takes no memory however large it claims to be.

    Raises:
        WeightsError: a parameter is missing, unknown, of another shape, or of whole numbers in
            place of floats or the other way round; the first is named.
    """
    own = network.state_dict()
    where = f"{path}: not the weights of {type(network).__name__}"
    for kind, names in (("missing", own.keys() - state.keys()), ("unknown", state.keys() - own)):
        if names:
            raise WeightsError(f"{where}: {len(names)} parameters {kind}, first {min(names)}")
    for name, value in own.items():
        given = state[name]
        if given.shape != value.shape:
            raise WeightsError(
                f"{where}: {name} is {list(given.shape)}, expected {list(value.shape)}"
            )
        if given.is_floating_point() != value.is_floating_point():
            raise WeightsError(f"{where}: {name} is {given.dtype}, expected {value.dtype}")


def require_finite(network: nn.Module, path: Path) -> None:
    """Refuse a network with which every answer would be NaN.

    Raises:
        WeightsError: a number among its parameters is not finite; the first is named.
    """
    for name, value in network.state_dict().items():
        if value.is_floating_point() and not value.isfinite().all():
            raise WeightsError(
                f"{path}: {name} holds numbers that are not finite; fetch or train it again"
            )


def load_strictly(network: nn.Module, state: Mapping[str, Tensor], path: Path) -> None:
    """Load a state that is exactly the network's, and finite in the network's own precision.

    Raises:
        WeightsError: see `require_fit` and `require_finite`.
    """
    require_fit(network, state, path)
    network.load_state_dict(dict(state), strict=True)
    require_finite(network, path)


def read_state(path: Path) -> dict[str, Tensor]:
    """Parameters by name from `.safetensors`, or from a `.pth` dict, its key `model` if present.

    Raises:
        WeightsError: the file is missing or damaged, holds anything but plain tensors, unpacks to
            more than its own size, or would have to run code to be read.
    """
    if path.suffix == ".safetensors":
        return load_safetensors(path)[0]
    _require_no_pointer(path)
    try:
        _require_unpacked(path)
        with torch.serialization.safe_globals(_numpy_names()):
            content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise WeightsError(
            f"{path}: refused, reading it would run code or it is damaged; fetch it again or "
            "convert it to safetensors where you trust it"
        ) from error
    except WeightsError:
        raise
    except Exception as error:  # whatever the steps of a damaged pickle lead to
        raise WeightsError(
            f"{path}: cannot be read as a checkpoint ({reason_of(error)})"
        ) from error
    state = content.get("model", content) if isinstance(content, dict) else content
    if not isinstance(state, dict) or not all(map(_is_plain, state.values())):
        raise WeightsError(f"{path}: expected a dict of tensors, or one under the key `model`")
    return {str(name): value for name, value in state.items()}


def _require_unpacked(path: Path) -> None:
    """Refuse an archive whose files are compressed, or overlap: torch writes neither."""
    if not zipfile.is_zipfile(path):
        return
    with zipfile.ZipFile(path) as archive:
        unpacked = sum(one.file_size for one in archive.infolist())
    if unpacked > path.stat().st_size:
        raise WeightsError(
            f"{path}: would unpack to {unpacked} bytes, expected no more than its own "
            f"{path.stat().st_size}; save it with torch.save"
        )


def _is_plain(value: object) -> bool:
    """Whether it is a tensor that holds its numbers one beside the other."""
    return (
        isinstance(value, Tensor)
        and value.layout is torch.strided
        and not (value.is_meta or value.is_quantized or value.is_nested)
    )


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
            facts = json.loads((stream.metadata() or {}).get("avemo", "{}"))
            if not isinstance(facts, dict) or not all(isinstance(f, str) for f in facts.values()):
                raise ValueError("its facts are not a mapping of texts")
            return {name: stream.get_tensor(name) for name in stream.keys()}, facts
    except (SafetensorError, OSError, ValueError, RecursionError) as error:
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
