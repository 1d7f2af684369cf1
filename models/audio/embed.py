"""Embed the sound of clips: frozen networks and hand-crafted features, one job each.

A job holds one clip and one network or feature, so that a further network costs only itself; and
one clip is one forward pass in one thread, so that its embedding does not depend on the others. An
accelerator takes clips of one length in one pass: there an embedding may differ in its last digits
(1e-4) with the clips beside it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import groupby, islice
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.audio.handcrafted import HANDCRAFTED
from models.audio.noise import Waveform, noisy, noisy_copies
from models.audio.panns import Panns, padded_length
from models.audio.params import EmbedParams
from models.audio.speech import SpeechEncoder
from models.audio.weights import Weights, load_network, resolve
from models.checkpoint import load_safetensors, save_safetensors
from models.device import accelerators, chosen_device, device_facts
from models.threads import pinned_threads
from pipeline.clips import ClipRecord
from pipeline.errors import AvemoError, CorpusError
from pipeline.files import replace_folder
from pipeline.media.sound import read_waveform
from pipeline.work.ahead import ahead
from pipeline.work.cache import ClipCache, Job, Products

BATCH = 64
"""The most clips in one pass on an accelerator."""
AT_ONCE = 4 * BATCH
"""Jobs that its worker is given at once: while one pass computes, the next is read."""

_PART = "embedding.safetensors"


@dataclass(frozen=True, slots=True)
class EmbedTask:
    """One clip and one network or feature; `weights` is None for a hand-crafted feature.

    `copies` of the clip in noise are embedded, too.
    """

    wav: Path
    name: str
    weights: Weights | None
    copies: int = 0

    def versions(self) -> list[Waveform]:
        """The clip, and its copies in noise.

        Raises:
            MediaError: the sound is not 32 kHz mono, or not finite.
        """
        waveform = read_waveform(self.wav)
        return [waveform, *noisy_copies(waveform, self.copies, self.wav.stem)]


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
    sounding.sort(key=lambda record: record.duration_s, reverse=True)  # one length lies together
    weights = _resolve_all(params)
    return [
        _job(record, audio, name, weights.get(name), params.noisy_copies)
        for name in params.names
        for record in sounding
    ]


def embed_all(jobs: Sequence[Job]) -> Products:
    """The products of all jobs: networks on the chosen devices, features on the processor."""
    cards = accelerators(embed_together, AT_ONCE)
    if cards is None:
        return ClipCache("embed", embed_clip).run(jobs, "embed", unit="embedding")
    networks = [job for job in jobs if job.payload.weights is not None]
    features = [job for job in jobs if job.payload.weights is None]
    cache = ClipCache("embed", embed_clip, accelerators=cards)
    found = cache.run(networks, "embed", unit="embedding")
    more = ClipCache("embed", embed_clip).run(features, "embed", unit="embedding")
    return Products(
        found.folders | more.folders, found.rejects + more.rejects, found.cached + more.cached
    )


def embed_clip(payload: EmbedTask, folder: Path) -> None:
    """Work of one job: embed one clip with one network or feature.

    Args:
        payload: what to do.
        folder: where the result is written.

    Raises:
        MediaError: the sound is not 32 kHz mono, not finite or shorter than 0.1 s.
        WeightsError: the network's weights cannot be loaded.
    """
    found = [embed_waveform(one, payload.name, payload.weights) for one in payload.versions()]
    _save(folder, payload.name, found)


def _save(folder: Path, name: str, versions: Sequence[Tensor]) -> None:
    """The embedding of a clip, and those of its copies."""
    clip, *copies = versions
    more = {noisy(name): torch.stack(copies)} if copies else {}
    save_safetensors(folder / _PART, {name: clip, **more})


def embed_together(jobs: Sequence[tuple[EmbedTask, Path]]) -> list[AvemoError | None]:
    """Work of many jobs of networks, on the device: one pass for neighbours alike.

    Args:
        jobs: what to do, and where the result is written.

    Returns:
        Of each the error that it failed with, see `embed_clip`.
    """
    errors: list[AvemoError | None] = [None] * len(jobs)
    for weights, some in groupby(range(len(jobs)), lambda n: jobs[n][0].weights):
        assert weights is not None
        network, numbers = _network(weights), list(some)
        tasks = [jobs[n][0] for n in numbers]
        clips = zip(numbers, ahead(partial(_heard, network), tasks, 2 * BATCH), strict=True)
        sounds = ((n, sound) for n, versions in clips for sound in versions)
        embedded: dict[int, list[Tensor]] = {n: [] for n in numbers}
        for _, alike in groupby(sounds, lambda one: _length(one[1])):
            while part := list(islice(alike, BATCH)):
                for (n, _), found in zip(part, _embed([s for _, s in part], network), strict=True):
                    if isinstance(found, AvemoError):
                        errors[n] = found
                    else:
                        embedded[n].append(found)
                        if len(embedded[n]) == 1 + jobs[n][0].copies:
                            _save(jobs[n][1], weights.network, embedded.pop(n))
    return errors


def _heard(network: Panns | SpeechEncoder, task: EmbedTask) -> list[Tensor] | list[AvemoError]:
    """The versions of a clip as the network takes them, or why it cannot."""
    try:
        return [network.heard(torch.from_numpy(one)) for one in task.versions()]
    except AvemoError as error:
        return [error]


def _length(sound: Tensor | AvemoError) -> int:
    return len(sound) if isinstance(sound, Tensor) else 0


def _embed(
    sounds: Sequence[Tensor | AvemoError], network: Panns | SpeechEncoder
) -> Sequence[Tensor | AvemoError]:
    """Embeddings of clips of one length; of those that cannot be heard the errors."""
    heard = [sound for sound in sounds if isinstance(sound, Tensor)]
    if len(heard) < len(sounds):
        return [sound for sound in sounds if not isinstance(sound, Tensor)]
    try:
        return list(network.embed_heard(torch.stack(heard).to(chosen_device())).cpu())
    except AvemoError as error:
        return [error] * len(sounds)


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
        network = _network(weights)
        heard = network.heard(torch.from_numpy(waveform))[None]
        return network.embed_heard(heard.to(chosen_device()))[0].cpu()


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


def _job(record: ClipRecord, audio: Path, name: str, weights: Weights | None, copies: int) -> Job:
    wav = audio / f"{record.clip_id}.wav"
    facts = {} if weights is None else device_facts()
    return Job(f"{record.clip_id}/{name}", EmbedTask(wav, name, weights, copies), facts)


_loaded: dict[Weights, Panns | SpeechEncoder] = {}


def _network(weights: Weights) -> Panns | SpeechEncoder:
    """The network, kept for the next clip; only one at a time, it takes 330 MB."""
    network = _loaded.get(weights)
    if network is None:
        _loaded.clear()  # before the next is built, so that two never lie side by side
        network = _loaded[weights] = load_network(weights).to(chosen_device())
    return network
