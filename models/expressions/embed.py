"""Embed the faces that the detectors found: one vector per frame and frozen expression encoder.

A job holds one encoder and the clips that one detector looked at, box by box. One clip is one
forward pass, in one thread on the processor, so that its embedding does not depend on the others.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from annotations.box import Box
from models.checkpoint import load_safetensors, save_safetensors
from models.device import CPU, accelerators, chosen_device, device_facts
from models.expressions.encoders import Encoder, FerEncoder, ImageClassifier, load_encoder, resolve
from models.expressions.params import FacesParams
from models.threads import pinned_threads
from pipeline.clips import frame_name
from pipeline.errors import WeightsError
from pipeline.files import replace_folder
from pipeline.media.images import Picture, read_image
from pipeline.work.ahead import ahead
from pipeline.work.cache import ClipCache, Job, Products

CLIPS_AHEAD = 4
"""Whose frames are read while an accelerator computes."""

_PART = "embeddings.safetensors"


@dataclass(frozen=True, slots=True)
class FacesTask:
    """One encoder and the faces of clips: of each frame the image and, in px, the box."""

    encoder: Encoder
    margin: float
    clips: Mapping[str, tuple[tuple[Path, Box | None], ...]]


def embed_all(face_features: Path, voc: Path, out: Path, params: FacesParams) -> Products:
    """Embed the faces of each detector's clips, and write them detector by detector.

    Args:
        face_features: what the detectors found, `<fold>.safetensors`; see
            `models.faces.task.face_features`.
        voc: frames, `data/voc`.
        out: folder to replace. `<fold>.safetensors` holds `<clip>/<encoder>` [F, D] of the frames
            of `<clip>/frames`; zeros where there is no face.
        params: section `faces`.

    Raises:
        WeightsError: an encoder's files are missing or damaged.
    """
    encoders = [resolve(name) for name in params.embeddings]
    found = sorted(face_features.glob("*.safetensors")) if encoders else []
    tasks = {path.stem: _clips(load_safetensors(path)[0], voc / "JPEGImages") for path in found}
    jobs = [
        Job(f"{fold}/{encoder.name}", FacesTask(encoder, params.margin, clips))
        for encoder in encoders
        for fold, clips in tasks.items()
    ]
    cache = ClipCache("embed_faces", embed_faces, facts=device_facts(), accelerators=accelerators())
    products = cache.run(jobs, "embed_faces", unit="embedding")
    products.complete(WeightsError, "embedding")
    with replace_folder(out) as part:
        for fold in tasks:
            values: dict[str, Tensor] = {}
            for encoder in encoders:
                values |= load_safetensors(products.folders[f"{fold}/{encoder.name}"] / _PART)[0]
            save_safetensors(part / f"{fold}.safetensors", values)
    return products


def embed_faces(task: FacesTask, folder: Path) -> None:
    """Work of one job: embed the faces of all its clips.

    Raises:
        MediaError: a frame cannot be read.
        WeightsError: the encoder cannot be loaded.
    """
    values, device, clips = {}, chosen_device(), task.clips.values()
    with pinned_threads(1):
        network = load_encoder(task.encoder).to(device)
        shown = map(_pictures, clips) if device == CPU else ahead(_pictures, clips, CLIPS_AHEAD)
        for clip_id, pictures in zip(task.clips, shown, strict=True):
            values[f"{clip_id}/{task.encoder.name}"] = embed_clip(network, pictures, task.margin)
    save_safetensors(folder / _PART, values)


def _pictures(
    frames: Sequence[tuple[Path, Box | None]],
) -> list[tuple[Picture, Box | None]]:
    return [(read_image(image), box) for image, box in frames]


@torch.no_grad()
def embed_clip(
    encoder: FerEncoder | ImageClassifier,
    frames: Sequence[tuple[Picture, Box | None]],
    margin: float,
) -> Tensor:
    """Features and log p of the faces of one clip.

    Args:
        encoder: frozen.
        frames: RGB [H, W, 3] each, and the box of its face in px; None where it shows none.
        margin: see `crop_face`.

    Returns:
        [F, D + K]; zeros where a frame shows no face.
    """
    # what has no face gives zeros of the same width whatever the encoder
    entire = [Box(0, 0, picture.shape[1], picture.shape[0]) for picture, _ in frames]
    visible = torch.tensor([box is not None for _, box in frames])
    crops = [
        crop_face(picture, box or whole, margin)
        for (picture, box), whole in zip(frames, entire, strict=True)
    ]
    features, logits = encoder(crops)
    values = torch.cat([features, logits.log_softmax(dim=1)], dim=1).cpu()
    return values * visible[:, None]


def crop_face(picture: Picture, box: Box, margin: float) -> Picture:
    """A square around a face, as wide as the longer side of its box and a margin at either end.

    So does the package `fer`, with 10 px around faces of about 100. Beyond the picture its edge is
    repeated.

    Args:
        picture: RGB [H, W, 3].
        box: in it, px.
        margin: share of the longer side.
    """
    side = max(1, round(max(box.width, box.height) * (1 + 2 * margin)))
    left, top = round((box.x1 + box.x2 - side) / 2), round((box.y1 + box.y2 - side) / 2)
    rows = np.arange(top, top + side).clip(0, picture.shape[0] - 1)
    columns = np.arange(left, left + side).clip(0, picture.shape[1] - 1)
    return picture[np.ix_(rows, columns)]


def _clips(
    found: Mapping[str, Tensor], images: Path
) -> dict[str, tuple[tuple[Path, Box | None], ...]]:
    """Frames and boxes of each clip that a detector looked at."""
    clips = {}
    for clip_id in sorted(key.removesuffix("/frames") for key in found if key.endswith("/frames")):
        rows = zip(
            *(found[f"{clip_id}/{part}"].tolist() for part in ("frames", "boxes", "scores")),
            strict=True,
        )
        clips[clip_id] = tuple(
            (images / f"{frame_name(clip_id, index)}.jpg", Box(*box) if score > 0 else None)
            for index, box, score in rows
        )
    return clips
