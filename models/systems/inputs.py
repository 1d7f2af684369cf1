"""What a system is trained on: the products of the stages, joined by clip id.

A batch is a dict of tensors: `label` [B], `row` [B] (of the clips in the set), and per input named
by the system

| input         | shape        | from                                                         |
|---------------|--------------|--------------------------------------------------------------|
| `audio`       | [B, D]       | `data/embeddings`: embeddings of networks, MFCC, log-MFCC    |
| `handcrafted` | [B, D']      | its MFCC and log-MFCC alone                                  |
| `waveform`    | [B, T]       | `data/audio32k`                                              |
| `logmel`      | [B, F, 64]   | `data/audio32k`, see `models.audio.compact`                  |
| `faces`       | [B, F, D]    | `data/face_features` of the fold                             |
| `expressions` | [B, F, D]    | `data/face_embeddings` of the fold: of the same frames       |
| `weights`     | [B, F]       | weight of each of those frames, from `data/speech.csv`       |

Waveforms and log-mels differ in length. They are filled up with zeros to the longest of the batch,
and beside them stands how long each is without, `waveform_length` and `logmel_length` [B].
"""

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import DataLoader, Dataset, default_collate

from models.audio.noise import noisy
from models.fusion.branches import frame_weights
from pipeline.clips import ClipRecord, emotions_of
from pipeline.errors import CorpusError
from pipeline.files import number, read_table
from pipeline.media.sound import read_waveform
from pipeline.splits import Fold

T = TypeVar("T")

Reader = Callable[[str], Any]
"""Gives one input of a clip, by clip id: a tensor, or a dict of tensors that belong together."""

UNEQUAL = ("logmel", "waveform")
"""Inputs whose length differs from clip to clip."""

HANDCRAFTED = ("mfcc", "log_mfcc")
"""Keys of the hand-crafted statistics in `data/embeddings`."""


def audio_keys(networks: Sequence[str], handcrafted: bool) -> tuple[str, ...]:
    """Keys of the blocks of `audio`, as they lie side by side."""
    return (*networks, *(HANDCRAFTED if handcrafted else ()))


@dataclass(frozen=True, slots=True)
class Store:
    """Where the stages left what `fuse` reads."""

    records: tuple[ClipRecord, ...]
    data: Path
    detector: Path
    shared: dict[Hashable, Any] = field(default_factory=dict, init=False, compare=False, repr=False)

    def once(self, what: Hashable, make: Callable[[], T]) -> T:
        """What `make` returns, called once: all folds share what one has read.

        Args:
            what: tells it apart from all else that is shared.
            make: must not depend on a fold.
        """
        if what not in self.shared:
            self.shared[what] = make()
        found: T = self.shared[what]
        return found

    @property
    def voc(self) -> Path:
        """Frames and their annotations."""
        return self.data / "voc"

    @property
    def audio32k(self) -> Path:
        """Sound, 32 kHz mono."""
        return self.data / "audio32k"

    @property
    def embeddings(self) -> Path:
        """PANNs embeddings and hand-crafted statistics by clip."""
        return self.data / "embeddings"

    @property
    def faces(self) -> Path:
        """Face features by fold."""
        return self.data / "face_features"

    @property
    def face_embeddings(self) -> Path:
        """Frozen embeddings of the same faces by fold."""
        return self.faces.with_name("face_embeddings")

    @property
    def speech(self) -> Path:
        """Visual speech activity by frame."""
        return self.data / "speech.csv"

    def waveform(self, clip_id: str) -> NDArray[np.float32]:
        """The sound of a clip, [T] at 32 kHz, full scale 1.

        Raises:
            MediaError: there is none stored.
        """
        return read_waveform(self.audio32k / f"{clip_id}.wav")

    @property
    def emotions(self) -> tuple[str, ...]:
        """The K emotions of the corpus, in its order."""
        return emotions_of(self.records)

    @property
    def polarities(self) -> tuple[int, ...]:
        """Of each of the K emotions, see `pipeline.clips.POLARITY`."""
        polarity = {record.emotion: record.polarity for record in self.records}
        return tuple(polarity[emotion] for emotion in self.emotions)

    def labels(self) -> dict[str, int]:
        """Index of each clip's emotion, -1 for a clip without one."""
        index = {"": -1, **{emotion: number for number, emotion in enumerate(self.emotions)}}
        return {r.clip_id: index[r.emotion] for r in self.records}


@dataclass(frozen=True, slots=True)
class StoreOfFaces(Store):
    """A store whose face features are those of other detectors than the stage `detect` trained.

    `face_features` by fold.
    """

    face_features: Path

    @property
    def faces(self) -> Path:
        """Face features by fold."""
        return self.face_features


class ClipSet(Dataset[dict[str, Any]]):
    """Clips of a fold as dicts of tensors; `label` and `row` are numbers.

    Args:
        ids: clip ids.
        labels: emotion index by clip id.
        readers: the inputs by name.
    """

    def __init__(
        self, ids: Sequence[str], labels: Mapping[str, int], readers: Mapping[str, Reader]
    ) -> None:
        self.ids = tuple(ids)
        self._labels = labels
        self._readers = readers

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, index: int) -> dict[str, Any]:
        clip_id = self.ids[index]
        inputs = {name: read(clip_id) for name, read in self._readers.items()}
        return {**inputs, "label": self._labels[clip_id], "row": index}

    @property
    def inputs(self) -> tuple[str, ...]:
        """Names of what is read."""
        return tuple(self._readers)

    def subset(self, ids: Sequence[str]) -> "ClipSet":
        """The same inputs for other clips."""
        return ClipSet(ids, self._labels, self._readers)

    def only(self, inputs: Sequence[str]) -> "ClipSet":
        """The same clips with the named inputs alone; empty keeps all."""
        kept = inputs or self.inputs
        return ClipSet(self.ids, self._labels, {name: self._readers[name] for name in kept})

    def reading(self, readers: Mapping[str, Reader]) -> "ClipSet":
        """The same clips with these inputs too, in place of those of the same name."""
        return ClipSet(self.ids, self._labels, {**self._readers, **readers})

    def each(self, name: str) -> list[Tensor]:
        """One input of each clip."""
        return [self._readers[name](clip_id) for clip_id in self.ids]

    def stack(self, name: str) -> Tensor:
        """One input of all clips, [N, ...]."""
        return torch.stack(self.each(name))

    def labels(self) -> Tensor:
        """Emotion indices [N]."""
        return torch.tensor([self._labels[clip_id] for clip_id in self.ids])

    def shuffled(self, batch_size: int, seed: int) -> DataLoader[dict[str, Any]]:
        """Batches for training, in an order that the seed fixes."""
        order = torch.Generator().manual_seed(seed)
        return DataLoader(self, batch_size, shuffle=True, generator=order, collate_fn=collate)

    def ordered(self, batch_size: int) -> DataLoader[dict[str, Any]]:
        """Batches for scoring, in the order of `ids`."""
        return DataLoader(self, batch_size, collate_fn=collate)


def without_face(clips: ClipSet) -> Tensor:
    """Which clips of a system that reads faces show none, [N]; none of another system.

    Face features of such a clip have no weight, and its face crops are of one colour.
    """
    if "weights" in clips.inputs:
        return torch.tensor([not weights.any() for weights in clips.each("weights")])
    if "crops" in clips.inputs:
        return torch.tensor([_is_plain(crops) for crops in clips.each("crops")])
    return torch.zeros(len(clips), dtype=torch.bool)


def _is_plain(pictures: Tensor) -> bool:
    """Whether [N, 3, H, W] have one colour; of what a frozen trunk has read, nobody can tell."""
    return pictures.ndim == 4 and torch.equal(
        pictures.amax(dim=(0, 2, 3)), pictures.amin(dim=(0, 2, 3))
    )


def collate(clips: Sequence[Mapping[str, Any]]) -> dict[str, Tensor]:
    """Clips as a batch; what is of unequal length becomes equal, see above."""
    batch: dict[str, Tensor] = {}
    for name in clips[0]:
        values = [clip[name] for clip in clips]
        if name in UNEQUAL:
            batch[name] = pad_sequence(values, batch_first=True)
            batch[f"{name}_length"] = torch.tensor([len(value) for value in values])
        else:
            batch[name] = default_collate(values)
    return batch


def audio_reader(
    store: Store, networks: Sequence[str], handcrafted: bool
) -> tuple[Reader, tuple[int, ...]]:
    """Reader of `audio` and the widths of its blocks.

    Args:
        store: where the embeddings lie.
        networks: whose embeddings stand side by side.
        handcrafted: whether MFCC and log-MFCC statistics join them.

    Raises:
        CorpusError: a clip with sound has no embedding file, or it lacks a key.
    """
    keys = audio_keys(networks, handcrafted)
    return store.once(("audio", *keys), lambda: _read_embeddings(store, keys))


def _read_embeddings(store: Store, keys: Sequence[str]) -> tuple[Reader, tuple[int, ...]]:
    table: dict[str, Tensor] = {}
    widths: tuple[int, ...] = ()
    for record in (record for record in store.records if record.has_audio):
        path = store.embeddings / f"{record.clip_id}.safetensors"
        if not path.is_file():
            raise CorpusError(f"{path}: no embedding of this clip; run `dvc repro embed`")
        tensors = load_file(path)
        missing = [key for key in keys if key not in tensors]
        if missing:
            raise CorpusError(
                f"{path}: lacks {', '.join(missing)}; add it to embed.networks or "
                "embed.handcrafted in params.yaml and run `dvc repro`"
            )
        table[record.clip_id] = torch.cat([_versions(tensors, key) for key in keys], dim=1)
        widths = tuple(len(tensors[key]) for key in keys)
    return SoundReader(table), widths


def _versions(tensors: Mapping[str, Tensor], key: str) -> Tensor:
    """Embedding of a clip, and those of its copies in noise where there are any, [1 + N, D]."""
    clip = tensors[key][None]
    return torch.cat([clip, tensors[noisy(key)]]) if noisy(key) in tensors else clip


@dataclass(frozen=True, slots=True)
class SoundReader:
    """Reader of `audio`, the embedding [D] of a clip as it is.

    Attributes:
        versions: by clip id, of the clip and of its copies in noise, [1 + N, D].
    """

    versions: Mapping[str, Tensor]

    def __call__(self, clip_id: str) -> Tensor:
        """The clip as it is, [D]."""
        return self.versions[clip_id][0]

    def drawn(self, clip_id: str) -> Tensor:
        """One of the versions, [D], drawn from torch's global generator."""
        versions = self.versions[clip_id]
        return versions[int(torch.randint(len(versions), ()))]


def face_readers(store: Store, fold: Fold, speech_floor: float) -> tuple[dict[str, Reader], int]:
    """Readers of `faces` and `weights` for the clips of one fold, and the width D of `faces`.

    Args:
        store: where face features and speech activity lie.
        fold: its detector was not trained on its test clips.
        speech_floor: weight of a silent frame, see `models.fusion.branches.frame_weights`.

    Raises:
        CorpusError: a clip has no face features, or a frame no speech activity.
    """
    tensors = load_file(store.faces / f"{fold.name}.safetensors")
    clips = (*fold.train, *fold.test, *fold.asked)
    for clip in clips:
        if f"{clip}/features" not in tensors:
            raise CorpusError(
                f"{store.faces}/{fold.name}: no face features of {clip}; run `dvc repro`"
            )
    return readers_of_faces(store, clips, tensors, speech_floor)


def readers_of_faces(
    store: Store, clips: Sequence[str], tensors: Mapping[str, Tensor], speech_floor: float
) -> tuple[dict[str, Reader], int]:
    """As `face_readers`, from what `models.faces.task.face_features` gives of the clips.

    Raises:
        CorpusError: a frame has no speech activity.
    """
    speech = store.once("speech", lambda: read_speech(store.speech))
    longest = max((len(tensors[f"{clip}/frames"]) for clip in clips), default=0)
    faces: dict[str, Tensor] = {}
    weights: dict[str, Tensor] = {}
    for clip in clips:
        spoken = [_speech_of(speech, clip, int(i)) for i in tensors[f"{clip}/frames"]]
        visible = tensors[f"{clip}/scores"] > 0
        faces[clip] = _pad(tensors[f"{clip}/features"], longest)
        weights[clip] = _pad(frame_weights(torch.tensor(spoken), visible, speech_floor), longest)
    width = next((values.shape[1] for values in faces.values()), 0)
    return {"faces": faces.__getitem__, "weights": weights.__getitem__}, width


def expression_reader(
    store: Store, fold: Fold, encoders: Sequence[str]
) -> tuple[Reader, tuple[int, ...]]:
    """Reader of `expressions` for the clips of one fold, and the widths of its blocks.

    Args:
        store: where the embeddings lie.
        fold: its detector was not trained on its test clips.
        encoders: whose embeddings stand side by side, `faces.embeddings`.

    Raises:
        CorpusError: there is no encoder, or no embedding of a clip.
    """
    path = store.face_embeddings / f"{fold.name}.safetensors"
    if not encoders or not path.is_file():
        raise CorpusError(
            f"{path}: no embeddings of faces; name an encoder in faces.embeddings and run "
            "`dvc repro`"
        )
    tensors = load_file(path)
    clips = (*fold.train, *fold.test, *fold.asked)
    for key in (f"{clip}/{name}" for clip in clips for name in encoders):
        if key not in tensors:
            raise CorpusError(f"{path}: lacks {key}; run `dvc repro embed_faces`")
    table = {c: torch.cat([tensors[f"{c}/{name}"] for name in encoders], dim=1) for c in clips}
    longest = max(len(values) for values in table.values())
    padded = {clip: _pad(values, longest) for clip, values in table.items()}
    return padded.__getitem__, tuple(tensors[f"{clips[0]}/{n}"].shape[1] for n in encoders)


def read_speech(path: Path) -> dict[tuple[str, int], float]:
    """Visual speech activity in [0, 1] by clip id and stored-frame index, of `data/speech.csv`.

    Raises:
        CorpusError: it is not the table that `annotate` writes.
    """
    return dict(read_table(path, _speech, "run `dvc repro annotate`"))


def _speech(row: dict[str, str]) -> tuple[tuple[str, int], float]:
    speech = number(row["speech"])
    if not 0 <= speech <= 1:
        raise ValueError(f"speech is {speech}, expected 0 to 1")
    return (row["clip_id"], int(row["frame"])), speech


def _speech_of(speech: Mapping[tuple[str, int], float], clip_id: str, frame: int) -> float:
    try:
        return speech[clip_id, frame]
    except KeyError:
        raise CorpusError(
            f"data/speech.csv: no row for frame {frame} of {clip_id}; run `dvc repro annotate`"
        ) from None


def _pad(values: Tensor, length: int) -> Tensor:
    """Zeros after the last frame: [F, ...] -> [length, ...]."""
    return torch.cat([values, values.new_zeros(length - len(values), *values.shape[1:])])
