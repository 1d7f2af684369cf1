"""What the paper's other systems read of a clip: pictures, raw sound, cepstra.

First as pure functions of frames and sound in memory, then as readers of what the stages stored.

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
from collections.abc import Callable, Sequence
from functools import partial

import cv2
import numpy as np
import soxr
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from annotations import voc
from annotations.box import Box
from models.audio.front_end import RATE_HZ
from models.audio.handcrafted import trajectory
from models.device import device_of
from models.systems.inputs import Reader, Store
from pipeline.clips import evenly_shown, evenly_spaced, frame_name
from pipeline.media.images import Picture, read_image

log = logging.getLogger(__name__)

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


def resized(
    picture: Callable[[int], Picture], times_s: Sequence[float], count: int, size_px: int
) -> Tensor:
    """`count` pictures of a clip, evenly spaced in time, [count, 3, size_px, size_px] uint8.

    Args:
        picture: RGB [H, W, 3] at a stored frame, e.g. the whole frame or its face.
        times_s: when each stored frame is shown; where they are fewer than `count`, they repeat.
        count: pictures.
        size_px: side to which they are resized.
    """
    chosen = evenly_shown(times_s, count)
    distinct = {
        i: cv2.resize(picture(i), (size_px, size_px), interpolation=cv2.INTER_AREA)
        for i in sorted(set(chosen))
    }
    stacked = np.stack([distinct[i] for i in chosen])
    return torch.from_numpy(stacked).permute(0, 3, 1, 2).contiguous()


def face_crop(
    picture: Callable[[int], Picture],
    box: Callable[[int], Box | None],
    length: int,
    index: int,
) -> Picture | None:
    """The face at stored frame `index`, or at the nearest frame that shows one; None without any.

    Args:
        picture: RGB [H, W, 3] of a stored frame.
        box: the speaker's face in a stored frame.
        length: number of stored frames.
        index: of the frame.
    """
    for near in sorted(range(length), key=lambda i: (abs(i - index), i)):
        face = box(near)
        if face is not None:
            frame = picture(near)
            corners = face.clamped(frame.shape[1], frame.shape[0]).rounded()
            x1, y1, x2, y2 = (int(c) for c in (corners.x1, corners.y1, corners.x2, corners.y2))
            return frame[y1:y2, x1:x2]
    return None


def grey_face() -> Picture:
    """Stands for the face of a clip that shows none."""
    return np.full((1, 1, 3), GREY, np.uint8)


def sound_windows(waveform: NDArray[np.float32], count: int) -> Tensor:
    """`windows` of a clip [count, 640]: its sound at zero mean and unit variance.

    Args:
        waveform: [T] at 32 kHz.
        count: of windows, evenly spaced.
    """
    wave = soxr.resample(waveform, RATE_HZ, WINDOW_RATE_HZ)
    wave = np.pad(wave, (0, max(0, WINDOW_SAMPLES - len(wave))))
    wave = (wave - wave.mean()) / max(float(wave.std()), 1e-6)
    starts = evenly_spaced(len(wave) - WINDOW_SAMPLES + 1, count)
    return torch.from_numpy(np.stack([wave[s : s + WINDOW_SAMPLES] for s in starts]))


def cepstra(waveform: NDArray[np.float32], count: int, frames: int) -> Tensor:
    """`cepstra` of a clip, [count, frames, 32].

    A clip shorter than all segments together is repeated; segments of a longer one are evenly
    spaced.

    Args:
        waveform: [T] at 32 kHz.
        count: of segments.
        frames: MFCC frames of a segment.
    """
    mfcc = trajectory(waveform, N_CEPSTRA).T.astype(np.float32)  # [frames, 32]
    tiled = np.tile(mfcc, (-(-count * frames // len(mfcc)), 1))
    span = max(count * frames, len(mfcc))
    starts = [part * (span - frames) // max(1, count - 1) for part in range(count)]
    return torch.from_numpy(np.stack([tiled[s : s + frames] for s in starts]))


def frame_reader(store: Store, count: int, size_px: int) -> Reader:
    """Reader of `frames`: `count` of a clip, resized to `size_px` x `size_px`."""
    times_s = {record.clip_id: record.times_s for record in store.records}

    def read(clip_id: str) -> Tensor:
        return resized(partial(_frame, store, clip_id), times_s[clip_id], count, size_px)

    return Remembered(read)


def crop_reader(store: Store, count: int, size_px: int) -> Reader:
    """Reader of `crops`: the speaker's face in `count` frames of a clip.

    A frame without a face gives the face of the nearest frame that has one.
    """
    times_s = {record.clip_id: record.times_s for record in store.records}
    faceless: set[str] = set()

    def read(clip_id: str) -> Tensor:
        def crop(index: int) -> Picture:
            frame, box = partial(_frame, store, clip_id), partial(_box, store, clip_id)
            face = face_crop(frame, box, len(times_s[clip_id]), index)
            if face is None:
                if not faceless:  # stage `annotate` has counted them
                    log.warning(
                        "%s: no frame shows a face; its face crops are grey, as those of all such "
                        "clips",
                        clip_id,
                    )
                faceless.add(clip_id)
                return grey_face()
            return face

        return resized(crop, times_s[clip_id], count, size_px)

    return Remembered(read)


def snippet_reader(store: Store, count: int, size_px: int) -> Reader:
    """Reader of `snippets`: `count` stretches of 16 frames that together span the clip."""
    frames = frame_reader(store, count * SNIPPET_FRAMES, size_px)
    return lambda clip_id: as_snippets(frames(clip_id), count)


def as_snippets(frames: Tensor, count: int) -> Tensor:
    """Evenly spaced frames [count * 16, ...] as `snippets` [count, 16, ...]."""
    return frames.unflatten(0, (count, SNIPPET_FRAMES))


def window_reader(store: Store, count: int) -> Reader:
    """Reader of `windows`.

    Raises:
        MediaError: a clip has no sound stored.
    """
    return Remembered(lambda clip_id: sound_windows(store.waveform(clip_id), count))


def cepstrum_reader(store: Store, count: int, frames: int) -> Reader:
    """Reader of `cepstra`.

    Raises:
        MediaError: a clip has no sound stored.
    """
    return Remembered(lambda clip_id: cepstra(store.waveform(clip_id), count, frames))


class Precomputed(nn.Module):
    """A frozen backbone whose outputs the reader has already computed.

    It hands them on unchanged; it holds the backbone so that its parameters are counted and saved
    with the network they belong to.
    """

    def __init__(self, backbone: nn.Module) -> None:
        super().__init__()
        self.backbone = backbone.requires_grad_(False).eval()

    def train(self, mode: bool = True) -> "Precomputed":
        """The backbone stays in eval mode."""
        super().train(mode)
        self.backbone.eval()
        return self

    def forward(self, features: Tensor) -> Tensor:
        """[N, ...] -> the same."""
        return features


def frozen_features(backbone: nn.Module, read: Reader) -> Reader:
    """Reader of a frozen backbone's outputs, so that no epoch computes them again.

    Args:
        backbone: in eval mode, maps what `read` gives to [N, ...].
        read: its input, N items a clip.
    """
    return Remembered(lambda clip_id: trunk_features(backbone, read(clip_id)))


@torch.no_grad()
def trunk_features(backbone: nn.Module, pictures: Tensor) -> Tensor:
    """A frozen backbone's outputs [N, ...] of N pictures or snippets."""
    device = device_of(backbone)
    return torch.cat([backbone(part.to(device)).cpu() for part in pictures.split(16)])


def _frame(store: Store, clip_id: str, index: int) -> Picture:
    return read_image(store.voc / "JPEGImages" / f"{frame_name(clip_id, index)}.jpg")


def _box(store: Store, clip_id: str, index: int) -> Box | None:
    face = voc.read_frame(store.voc, frame_name(clip_id, index)).speaker_face
    return face.box if face else None
