"""Weights of the frozen audio networks: untrained, from a file, or fetched on first use.

Published checkpoints are pickles. They are read without running code, compared with the network's
names and shapes, and kept as safetensors from then on. Those of speech encoders stay as
`transformers` keeps them, see `models.audio.encoders`.
"""

import json
from dataclasses import dataclass
from pathlib import Path

from models.audio.download import download, verify
from models.audio.encoders import PACKAGED, find_encoder
from models.audio.panns import NETWORKS, Panns, build
from models.audio.params import EmbedParams, Pooling
from models.audio.published import PANNS_FILES, weights_folder
from models.audio.speech import SpeechEncoder
from models.checkpoint import load_strictly, read_state, save_safetensors
from pipeline.errors import WeightsError
from pipeline.files import atomic_write, file_digest

UNTRAINED, PUBLISHED = "untrained", "published"


@dataclass(frozen=True, slots=True)
class Weights:
    """Resolved weights of one network.

    `path` is None for untrained weights, which `seed` makes; `identity` tells two sets of weights
    apart and enters cache keys. `pooling` is that of a speech encoder.
    """

    network: str
    path: Path | None
    seed: int
    identity: str
    pooling: Pooling | None = None


def resolve(network: str, params: EmbedParams, identity: str = "") -> Weights:
    """Find the weights of a network, fetching published ones on first use.

    Args:
        network: one of `models.audio.panns.NETWORKS`, or a speech encoder, see `find_encoder`.
        params: section `embed`; its `weights` are of PANNs: `untrained`, `published`, a file, or a
            folder that holds `<network>.safetensors`, `<network>.pth` or the published file name.
        identity: that a speech encoder had before: of the hub, the same revision is fetched.

    Raises:
        WeightsError: there are none, they cannot be fetched, or they do not fit the network.
    """
    weights, seed = params.weights, params.seed
    if network not in NETWORKS:
        files = find_encoder(network, identity)
        if network not in PACKAGED:
            SpeechEncoder(files.weights.parent, params.pooling)  # refused here, not clip by clip
        return Weights(network, files.weights, 0, files.identity, params.pooling)
    if weights == UNTRAINED:
        return Weights(network, None, seed, f"untrained, seed {seed}")
    if weights == PUBLISHED:
        path = published(network)
    else:
        path = _find(network, Path(weights))
        load_strictly(build(network), read_state(path), path)  # refused here, not clip by clip
    return Weights(network, path, seed, f"sha256 {file_digest(path)}")


def load_network(weights: Weights) -> Panns | SpeechEncoder:
    """Build a network with its weights, in evaluation mode.

    Raises:
        WeightsError: the file is damaged or does not fit.
    """
    if weights.path is not None and weights.pooling is not None:
        return SpeechEncoder(weights.path.parent, weights.pooling)
    network = build(weights.network, weights.seed)
    if weights.path is not None:
        load_strictly(network, read_state(weights.path), weights.path)
    return network


def published(network: str) -> Path:
    """The published weights of a network as safetensors, fetched and converted on first use.

    Raises:
        WeightsError: offline, damaged, or not the network's.
    """
    remote, folder = PANNS_FILES[network], weights_folder()
    kept = folder / f"{Path(remote.name).stem}.safetensors"
    note = kept.with_suffix(".json")
    if kept.exists() and note.exists():
        _compare_with_note(kept, note)
        return kept
    source = download(remote, folder)
    verify(source, remote)
    state = read_state(source)
    load_strictly(build(network), state, source)
    save_safetensors(kept, state, {"source": remote.url})
    facts = {"source": remote.url, "pth_sha256": file_digest(source), "sha256": file_digest(kept)}
    with atomic_write(note) as part:
        part.write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")
    return kept


def _find(network: str, path: Path) -> Path:
    names = [f"{network}.safetensors", f"{network}.pth", PANNS_FILES[network].name]
    candidates = [path / name for name in names] if path.is_dir() else [path]
    for candidate in candidates:
        if candidate.is_file():
            return candidate
    raise WeightsError(
        f"{path}: no weights of {network}; expected a file, a folder with {' or '.join(names)}, "
        "`untrained` or `published`"
    )


def _compare_with_note(kept: Path, note: Path) -> None:
    expected = json.loads(note.read_text(encoding="utf-8"))["sha256"]
    if file_digest(kept) != expected:
        raise WeightsError(
            f"{kept}: sha256 differs from {note.name}, noted on first use; delete both to convert "
            "the published file again"
        )
