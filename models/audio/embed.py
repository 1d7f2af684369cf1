"""Embed the sound of clips: frozen networks and hand-crafted features, one job each.

A job holds one clip and one network or feature, so that a further network costs only itself; and
one clip is one forward pass in one thread, so that its embedding does not depend on the others.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.audio.handcrafted import HANDCRAFTED
from models.audio.panns import Panns, padded_length
from models.audio.params import EmbedParams
from models.audio.speech import SpeechEncoder
from models.audio.weights import Weights, load_network, resolve
from models.checkpoint import load_safetensors, save_safetensors
from models.threads import pinned_threads
from pipeline.clips import ClipRecord
from pipeline.errors import CorpusError
from pipeline.files import replace_folder
from pipeline.media.sound import read_waveform
from pipeline.work.cache import Job, Products

_PART = "embedding.safetensors"


@dataclass(frozen=True, slots=True)
class EmbedTask:
    """One clip and one network or feature; `weights` is None for a hand-crafted feature."""

    wav: Path
    name: str
    weights: Weights | None


def make_jobs(records: Sequence[ClipRecord], audio: Path, params: EmbedParams) -> list[Job]:
    """All work of the stage, network by network, so that a worker holds one at a time.

    Args:
        records: clips; those without sound are left out.
        audio: folder of `<clip id>.wav` at 32 kHz.
        params: section `embed`.

    Raises:
        WeightsError: weights cannot be had; nothing is asked for where no clip has sound.
    """
    sounding = [record for record in records if record.has_audio]
    if not sounding:
        return []
    weights = _resolve_all(params)
    return [
        _job(record, audio, name, weights.get(name)) for name in params.names for record in sounding
    ]


def embed_clip(payload: EmbedTask, folder: Path) -> None:
    """Work of one job: embed one clip with one network or feature.

    Args:
        payload: what to do.
        folder: where the result is written.

    Raises:
        MediaError: the sound is not 32 kHz mono, not finite or shorter than 0.1 s.
        WeightsError: the network's weights cannot be loaded.
    """
    waveform = read_waveform(payload.wav)
    values = embed_waveform(waveform, payload.name, payload.weights)
    save_safetensors(folder / _PART, {payload.name: values})


def embed_waveform(waveform: NDArray[np.float32], name: str, weights: Weights | None) -> Tensor:
    """Embed one clip with one network or feature.

    Args:
        waveform: [T] at 32 kHz, full scale 1.
        name: a network or hand-crafted feature.
        weights: of the network; None for a feature.

    Returns:
        [D]: 2048 for one of the PANNs, `models.audio.handcrafted.DIMENSION` for a feature; for
            a speech encoder see `models.audio.speech`.

    Raises:
        MediaError: the sound is shorter than 0.1 s.
    """
    padded_length(len(waveform))  # refuses what is too short
    if weights is None:
        return torch.from_numpy(HANDCRAFTED[name](waveform))
    with pinned_threads(1):
        return _network(weights).embed(torch.from_numpy(waveform)[None])[0]


def write_embeddings(products: Products, out: Path) -> int:
    """Join the parts of each clip into `out/<clip id>.safetensors`, replacing the whole folder.

    Returns:
        Number of clips.

    Raises:
        CorpusError: a clip could not be embedded.
    """
    tensors: dict[str, dict[str, Tensor]] = {}
    for job_id, folder in products.complete(CorpusError, "embedding").folders.items():
        clip_id = job_id.partition("/")[0]
        tensors.setdefault(clip_id, {}).update(load_safetensors(folder / _PART)[0])
    with replace_folder(out) as part:
        for clip_id, values in tensors.items():
            save_safetensors(part / f"{clip_id}.safetensors", values)
    return len(tensors)


def _resolve_all(params: EmbedParams) -> dict[str, Weights]:
    return {name: resolve(name, params) for name in params.networks}


def _job(record: ClipRecord, audio: Path, name: str, weights: Weights | None) -> Job:
    wav = audio / f"{record.clip_id}.wav"
    return Job(f"{record.clip_id}/{name}", EmbedTask(wav, name, weights))


_loaded: dict[Weights, Panns | SpeechEncoder] = {}


def _network(weights: Weights) -> Panns | SpeechEncoder:
    """The network, kept for the next clip; only one at a time, it takes 330 MB."""
    network = _loaded.get(weights)
    if network is None:
        _loaded.clear()  # before the next is built, so that two never lie side by side
        network = _loaded[weights] = load_network(weights)
    return network
