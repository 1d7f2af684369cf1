"""What the paper's other systems read of a clip: pictures, raw sound, cepstra.

| input      | shape                        | from                                                |
|------------|------------------------------|-----------------------------------------------------|
| `frames`   | [B, F, 3, H, W] uint8        | whole stored frames, evenly spaced                  |
| `crops`    | [B, F, 3, H, W] uint8        | the annotated face of those frames                  |
| `windows`  | [B, W, 640]                  | 40 ms of sound at 16 kHz, evenly spaced             |
| `snippets` | [B, S, 16, 3, H, W] uint8    | whole frames, each snippet a stretch of the clip    |
| `cepstra`  | [B, S, frames, 32]           | MFCC, each segment a stretch of the clip            |

Nothing here takes a statistic over clips, so that nothing can leak from test clips.
"""

import logging
from collections.abc import Callable, Mapping
from pathlib import Path

import cv2
import numpy as np
import soundfile
import soxr
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from annotations import voc
from models.audio.front_end import RATE_HZ
from models.audio.handcrafted import trajectory
from models.systems.inputs import Reader, Store
from pipeline.clips import frame_name
from pipeline.errors import CorpusError, MediaError

log = logging.getLogger(__name__)

Picture = NDArray[np.uint8]
"""RGB [H, W, 3]."""

SNIPPET_FRAMES = 16
WINDOW_RATE_HZ = 16_000
WINDOW_SAMPLES = 640
"""40 ms: one step of the recurrent network, a frame of 25 fps video."""
N_CEPSTRA = 32

GREY = (124, 116, 104)
"""ImageNet's mean colour: stands for a face where no frame of the clip shows one."""


class Remembered:
    """A reader that computes each clip once and keeps the result in memory."""

    def __init__(self, read: Reader) -> None:
        self._read = read
        self._known: dict[str, Tensor] = {}

    def __call__(self, clip_id: str) -> Tensor:
        """What the reader gives of a clip."""
        if clip_id not in self._known:
            self._known[clip_id] = self._read(clip_id)
        return self._known[clip_id]


def evenly(count: int, length: int) -> list[int]:
    """The middle of each of `count` equal parts of `length` items; repeats where items are few."""
    return [(2 * part + 1) * length // (2 * count) for part in range(count)]


def frame_reader(store: Store, count: int, size_px: int) -> Reader:
    """Reader of `frames`: `count` of a clip, resized to `size_px` x `size_px`."""
    return _pictures(store, count, size_px, lambda clip, index: read_frame(store.voc, clip, index))


def crop_reader(store: Store, count: int, size_px: int) -> Reader:
    """Reader of `crops`: the speaker's face in `count` frames of a clip.

    A frame without a face gives the face of the nearest frame that has one.
    """
    length = {record.clip_id: record.frames for record in store.records}
    faces = FaceCrops(store.voc, length)
    return _pictures(store, count, size_px, faces)


def snippet_reader(store: Store, count: int, size_px: int) -> Reader:
    """Reader of `snippets`: `count` stretches of 16 frames that together span the clip."""
    frames = frame_reader(store, count * SNIPPET_FRAMES, size_px)
    return lambda clip_id: frames(clip_id).unflatten(0, (count, SNIPPET_FRAMES))


def window_reader(store: Store, count: int) -> Reader:
    """Reader of `windows`: `count` of a clip, its sound at zero mean and unit variance.

    Raises:
        CorpusError: a clip has no sound stored.
    """

    def read(clip_id: str) -> Tensor:
        wave = soxr.resample(_sound(store, clip_id), RATE_HZ, WINDOW_RATE_HZ)
        wave = np.pad(wave, (0, max(0, WINDOW_SAMPLES - len(wave))))
        wave = (wave - wave.mean()) / max(float(wave.std()), 1e-6)
        starts = evenly(count, len(wave) - WINDOW_SAMPLES + 1)
        return torch.from_numpy(np.stack([wave[s : s + WINDOW_SAMPLES] for s in starts]))

    return Remembered(read)


def cepstrum_reader(store: Store, count: int, frames: int) -> Reader:
    """Reader of `cepstra`: `count` segments of `frames` MFCC frames.

    A clip shorter than all segments together is repeated; segments of a longer one are evenly
    spaced.
    """

    def read(clip_id: str) -> Tensor:
        mfcc = trajectory(_sound(store, clip_id), N_CEPSTRA).T.astype(np.float32)  # [frames, 32]
        tiled = np.tile(mfcc, (-(-count * frames // len(mfcc)), 1))
        span = max(count * frames, len(mfcc))
        starts = [part * (span - frames) // max(1, count - 1) for part in range(count)]
        return torch.from_numpy(np.stack([tiled[s : s + frames] for s in starts]))

    return Remembered(read)


def frozen_features(backbone: nn.Module, read: Reader) -> Reader:
    """Reader of a frozen backbone's outputs, so that no epoch computes them again.

    Args:
        backbone: in eval mode, maps what `read` gives to [N, ...].
        read: its input, N items a clip.
    """

    @torch.no_grad()
    def features(clip_id: str) -> Tensor:
        device = next(backbone.parameters()).device
        return torch.cat([backbone(part.to(device)).cpu() for part in read(clip_id).split(16)])

    return Remembered(features)


def read_frame(folder: Path, clip_id: str, index: int) -> Picture:
    """A stored frame.

    Raises:
        MediaError: it is missing or not an image.
    """
    path = folder / "JPEGImages" / f"{frame_name(clip_id, index)}.jpg"
    content = np.frombuffer(path.read_bytes() if path.is_file() else b"", np.uint8)
    picture = cv2.imdecode(content, cv2.IMREAD_COLOR_RGB) if content.size else None
    if picture is None:
        raise MediaError(f"{path}: not a readable image; run `dvc repro extract`")
    return np.asarray(picture, np.uint8)


class FaceCrops:
    """The speaker's face at a stored frame, cut out by its annotation.

    Args:
        folder: `data/voc`.
        length: number of stored frames by clip id.
    """

    def __init__(self, folder: Path, length: Mapping[str, int]) -> None:
        self._folder = folder
        self._length = length

    def __call__(self, clip_id: str, index: int) -> Picture:
        """The face at frame `index`, or at the nearest frame that shows one."""
        by_distance = sorted(range(self._length[clip_id]), key=lambda i: (abs(i - index), i))
        for near in by_distance:
            box = self._box(clip_id, near)
            if box is not None:
                frame = read_frame(self._folder, clip_id, near)
                corners = box.clamped(frame.shape[1], frame.shape[0]).rounded()
                x1, y1, x2, y2 = (int(c) for c in (corners.x1, corners.y1, corners.x2, corners.y2))
                return frame[y1:y2, x1:x2]
        log.warning("%s: no frame shows a face; its face crops are grey", clip_id)
        return np.full((1, 1, 3), GREY, np.uint8)

    def _box(self, clip_id: str, index: int) -> voc.Box | None:
        path = self._folder / "Annotations" / f"{frame_name(clip_id, index)}.xml"
        face = voc.read(path).speaker_face
        return face.box if face else None


def _pictures(
    store: Store, count: int, size_px: int, picture: Callable[[str, int], Picture]
) -> Reader:
    length = {record.clip_id: record.frames for record in store.records}

    def decode(clip_id: str) -> Tensor:
        """Each frame once, [distinct, 3, size_px, size_px]."""
        distinct = sorted(set(evenly(count, length[clip_id])))
        resized = [
            cv2.resize(picture(clip_id, i), (size_px, size_px), interpolation=cv2.INTER_AREA)
            for i in distinct
        ]
        return torch.from_numpy(np.stack(resized)).permute(0, 3, 1, 2).contiguous()

    decoded = Remembered(decode)

    def read(clip_id: str) -> Tensor:
        wanted = evenly(count, length[clip_id])
        places = {index: place for place, index in enumerate(sorted(set(wanted)))}
        return decoded(clip_id)[[places[index] for index in wanted]]

    return read


def _sound(store: Store, clip_id: str) -> NDArray[np.float32]:
    path = store.audio32k / f"{clip_id}.wav"
    try:
        wave, rate = soundfile.read(path, dtype="float32")
    except (OSError, soundfile.LibsndfileError) as error:
        raise CorpusError(f"{path}: no sound of this clip ({error}); run `dvc repro`") from error
    if wave.ndim != 1 or rate != RATE_HZ:
        raise CorpusError(f"{path}: {rate} Hz, shape {wave.shape}; expected mono at {RATE_HZ} Hz")
    return np.asarray(wave, np.float32)
