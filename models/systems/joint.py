"""Training with the detector in the loop: the last phase and what it reads of a clip.

| input           | shape           | content                                                     |
|-----------------|-----------------|-------------------------------------------------------------|
| `images`        | [B, J, 3, H, W] | J stored frames of a clip, RGB in 0..1                      |
| `boxes`         | [B, J, 4]       | boxes from which features are taken, px: the detector's own |
| `frame_weights` | [B, J]          | weight of each of these frames                              |
| `true_boxes`    | [B, J, 4]       | annotated boxes, px; training targets                       |
| `true_labels`   | [B, J]          | class of the annotated face, 0 where there is none          |
"""

from collections.abc import Callable, Mapping

import torch
from accelerate.utils import extract_model_from_parallel
from safetensors.torch import load_file
from torch import Tensor, nn

from annotations import voc
from models.faces.frames import image_tensor, sampled_frames
from models.fusion.params import FusionParams, LossParams
from models.losses import emotion_bce, fusion_loss_weights
from models.systems.inputs import Reader, Store
from models.systems.recipe import Phase, entire
from models.training import TrainSettings
from pipeline.clips import frame_name
from pipeline.media.images import read_image


def joint_phase(params: FusionParams, loss: LossParams) -> Phase:
    """Eq. (4) with the detector's own loss as L_v."""
    weights = fusion_loss_weights(loss.alpha, loss.beta)
    settings = TrainSettings(params.joint_epochs, params.joint_lr, params.weight_decay)
    return Phase("joint", entire, joint_step, weights, settings)


def joint_step(network: nn.Module, batch: dict[str, Tensor]) -> dict[str, Tensor]:
    """Losses of a `models.fusion.joint.JointNet` in training mode."""
    logits = network(batch)
    joint = extract_model_from_parallel(network)
    return {
        "l_av": emotion_bce(logits["av"], batch["label"]),
        "l_a": emotion_bce(logits["audio"], batch["label"]),
        "l_v": joint.detector_loss(batch),
    }


def joint_frames(available: int, frames: int) -> tuple[list[int], Tensor]:
    """Which J = `frames` of the frames with face features are read, and which of them count.

    Args:
        available: how many frames of the clip have face features.
        frames: J.

    Returns:
        Positions among the available frames, J of them: a clip with fewer repeats its last one;
        and whether each counts [J], False for repeats.
    """
    chosen = sampled_frames(available, frames)
    repeats = frames - len(chosen)
    return chosen + [chosen[-1]] * repeats, torch.arange(frames) < len(chosen)


def joint_readers(
    store: Store, fold: str, frames: int, classes: tuple[str, ...]
) -> dict[str, Reader]:
    """Readers of the inputs above.

    Args:
        store: where frames, annotations and face features lie.
        fold: name of the fold.
        frames: J.
        classes: the detector's classes, for `true_labels`.
    """
    features = load_file(store.faces / f"{fold}.safetensors")
    emotion = {record.clip_id: record.emotion for record in store.records}

    def chosen(clip_id: str) -> tuple[list[int], Tensor]:
        return joint_frames(len(features[f"{clip_id}/frames"]), frames)

    def names(clip_id: str) -> list[str]:
        indices = features[f"{clip_id}/frames"][chosen(clip_id)[0]].tolist()
        return [frame_name(clip_id, index) for index in indices]

    def images(clip_id: str) -> Tensor:
        folder = store.voc / "JPEGImages"
        pictures = [read_image(folder / f"{name}.jpg") for name in names(clip_id)]
        return torch.stack([image_tensor(picture) for picture in pictures])

    def boxes(clip_id: str) -> Tensor:
        return features[f"{clip_id}/boxes"][chosen(clip_id)[0]]

    def frame_weights(clip_id: str) -> Tensor:
        places, counts = chosen(clip_id)
        return ((features[f"{clip_id}/scores"][places] > 0) & counts).float()

    label = _labels(emotion, classes)
    return {
        "images": images,
        "boxes": boxes,
        "frame_weights": frame_weights,
        "true_boxes": lambda clip_id: torch.stack([_face(store, n)[0] for n in names(clip_id)]),
        "true_labels": lambda clip_id: torch.tensor(
            [label(clip_id) if _face(store, n)[1] else 0 for n in names(clip_id)]
        ),
    }


def _labels(emotion: Mapping[str, str], classes: tuple[str, ...]) -> Callable[[str], int]:
    if len(classes) == 1:  # detector.classes: face
        return lambda clip_id: 1
    return lambda clip_id: 1 + classes.index(emotion[clip_id])


def _face(store: Store, name: str) -> tuple[Tensor, bool]:
    face = voc.read(store.voc / "Annotations" / f"{name}.xml").speaker_face
    if face is None:
        return torch.zeros(4), False
    return torch.tensor([face.box.x1, face.box.y1, face.box.x2, face.box.y2]), True
