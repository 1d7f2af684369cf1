"""Weights of the published audio networks: untrained, from a file, or fetched on first use.

Published checkpoints are pickles. They are read without running code, compared with the network's
names and shapes, and kept as safetensors from then on.
"""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from platformdirs import user_cache_path

from models.audio.download import Remote, download, verify
from models.audio.panns import NETWORKS, Panns, build
from models.checkpoint import load_strictly, read_state, save_safetensors
from pipeline.errors import WeightsError
from pipeline.files import atomic_write, file_digest

UNTRAINED, PUBLISHED = "untrained", "published"

_RECORD = "https://zenodo.org/records/3987831/files"


def _remote(name: str, md5: str, size: int | None = None, sha256: str | None = None) -> Remote:
    address = f"{_RECORD}/{name.replace('=', '%3D')}?download=1"
    return Remote(address, name, md5, size, sha256)


# MD5 and size are those of the Zenodo record, as several public projects quote them; the SHA-256
# of Cnn14 is what several report of their download. For the other two no SHA-256 is known: the
# first verified download notes it beside the file, and later uses are compared with that.
PANNS_FILES: Mapping[str, Remote] = {
    "Cnn14": _remote(
        "Cnn14_mAP=0.431.pth",
        "541141fa2ee191a88f24a3219fff024e",
        327_428_481,
        "0dc499e40e9761ef5ea061ffc77697697f277f6a960894903df3ada000e34b31",
    ),
    "Wavegram_Cnn14": _remote("Wavegram_Cnn14_mAP=0.389.pth", "1e3506ab640371e0b5a417b15fd66d21"),
    "Wavegram_Logmel_Cnn14": _remote(
        "Wavegram_Logmel_Cnn14_mAP=0.439.pth", "17fa9ab65af3c0eb5ffbc5f65552c4e1", 328_692_198
    ),
}
"""The published checkpoints (Kong et al., Zenodo record 3987831, CC BY 4.0)."""


@dataclass(frozen=True, slots=True)
class Weights:
    """Resolved weights of one network.

    `path` is None for untrained weights, which `seed` makes; `identity` tells two sets of weights
    apart and enters cache keys.
    """

    network: str
    path: Path | None
    seed: int
    identity: str


def weights_folder() -> Path:
    """Where published weights are kept: `AVEMO_WEIGHTS`, else the user's cache folder."""
    chosen = os.environ.get("AVEMO_WEIGHTS")
    return Path(chosen) if chosen else user_cache_path("avemo", appauthor=False)


def resolve(network: str, weights: str, seed: int) -> Weights:
    """Find the weights of a network, fetching published ones on first use.

    Args:
        network: one of `models.audio.panns.NETWORKS`.
        weights: `untrained`, `published`, a file, or a folder that holds
            `<network>.safetensors`, `<network>.pth` or the published file name.
        seed: of untrained weights.

    Raises:
        WeightsError: there are none, they cannot be fetched, or they do not fit the network.
    """
    if network not in NETWORKS:
        raise WeightsError(f"network {network!r}: expected one of {', '.join(NETWORKS)}")
    if weights == UNTRAINED:
        return Weights(network, None, seed, f"untrained, seed {seed}")
    if weights == PUBLISHED:
        path = published(network)
    else:
        path = _find(network, Path(weights))
        load_strictly(build(network), read_state(path), path)  # refused here, not clip by clip
    return Weights(network, path, seed, f"sha256 {file_digest(path)}")


def load_network(weights: Weights) -> Panns:
    """Build a network with its weights, in evaluation mode.

    Raises:
        WeightsError: the file is damaged or does not fit.
    """
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
