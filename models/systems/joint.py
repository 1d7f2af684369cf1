"""Training with the detector in the loop: the last phase, what it reads, and what comes after.

The phase reads `drawn`, J frames of each clip, drawn anew whenever the clip is read:

| of `drawn`    | shape           | content                                                       |
|---------------|-----------------|---------------------------------------------------------------|
| `images`      | [B, J, 3, H, W] | stored frames, RGB in 0..1                                    |
| `boxes`       | [B, J, 4]       | boxes from which features are taken, px: those of `detect`    |
| `weights`     | [B, J]          | weight of each of these frames, as in staged training         |
| `true_boxes`  | [B, J, 4]       | annotated boxes, px; training targets                         |
| `true_labels` | [B, J]          | class of the annotated face, 0 where there is none, -1 where  |
|               |                 | the annotation leaves it open                                 |
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, cast

import torch
from accelerate.utils import extract_model_from_parallel
from safetensors.torch import load_file
from torch import Tensor, nn

from annotations import voc
from models.faces.detector_file import detector_params
from models.faces.frames import Frame, image_tensor
from models.faces.task import face_features
from models.faces.train import detect_frames
from models.faces.weights import load_detector
from models.fusion.joint import JointNet
from models.fusion.network import FusionNet
from models.fusion.params import FusionParams, LossParams
from models.losses import emotion_bce, fusion_loss_weights
from models.systems.inputs import Reader, Store, readers_of_faces
from models.systems.params import Settings
from models.systems.recipe import Phase, Recipe, entire
from models.training import TrainSettings
from pipeline.clips import frame_name
from pipeline.media.images import read_image
from pipeline.splits import Fold


def joint(staged: Recipe, store: Store, fold: Fold, settings: Settings) -> Recipe:
    """The staged recipe, but its last phase trains the detector too, which then looks again."""
    weights = store.detector / f"{fold.name}.safetensors"
    fusion, silent = settings.fusion, settings.visual.silent_weight
    classes = load_detector(weights).classes
    drawn = drawn_reader(store, fold, fusion.joint_frames, classes, staged.readers["weights"])
    before = (_of_fusion(phase) for phase in staged.phases if phase.name != "joint")
    return replace(
        staged,
        build=partial(_with_detector, staged.build, weights),
        phases=(*before, joint_phase(fusion, settings.loss, drawn)),
        after_training=partial(face_readers_after, store, fold, silent),
    )


def _of_fusion(phase: Phase) -> Phase:
    """A phase of the fusion network as one of the `JointNet` that holds it."""
    return replace(phase, part=lambda net: phase.part(net.fusion))  # type: ignore[arg-type]


def _with_detector(build: Callable[[], nn.Module], weights: Path) -> JointNet:
    fusion = cast(FusionNet, build())
    with torch.random.fork_rng():  # the phases before draw the same numbers as in staged training
        return JointNet(fusion, load_detector(weights))


def joint_phase(params: FusionParams, loss: LossParams, drawn: Reader) -> Phase:
    """Eq. (4) with the detector's own loss as L_v."""
    weights = fusion_loss_weights(loss.alpha, loss.beta)
    settings = TrainSettings(params.joint_epochs, params.joint_lr, params.weight_decay)
    return Phase(
        "joint", entire, joint_step, weights, settings, ("audio",), readers={"drawn": drawn}
    )


def joint_step(network: nn.Module, batch: dict[str, Any]) -> dict[str, Tensor]:
    """Losses of a `models.fusion.joint.JointNet` in training mode."""
    logits = network(batch)
    whole = extract_model_from_parallel(network)
    return {
        "l_av": emotion_bce(logits["av"], batch["label"]),
        "l_a": emotion_bce(logits["audio"], batch["label"]),
        "l_v": whole.detector_loss(batch["drawn"]),
    }


def draw_frames(available: int, count: int) -> list[int]:
    """J = `count` of the frames with face features, evenly spaced from a random start.

    Every frame is as likely as any other. Draws from torch's global generator.

    Args:
        available: how many frames of the clip have face features.
        count: J; where it is `available` all are drawn, where it is more some are drawn again.

    Returns:
        Positions among the available frames, ascending.
    """
    start = torch.rand(()).item()
    return [int((place + start) * available / count) for place in range(count)]


def drawn_reader(
    store: Store, fold: Fold, frames: int, classes: tuple[str, ...], weights: Reader
) -> Reader:
    """Reader of `drawn`, see above.

    Args:
        store: where frames, annotations and face features lie.
        fold: whose features and boxes are read.
        frames: J.
        classes: the detector's classes, for `true_labels`.
        weights: of all frames of a clip that have face features.
    """
    features = load_file(store.faces / f"{fold.name}.safetensors")
    emotion = {record.clip_id: record.emotion for record in store.records}
    label = _labels(emotion, classes)

    def draw(clip_id: str) -> dict[str, Tensor]:
        indices = features[f"{clip_id}/frames"]
        places = draw_frames(len(indices), frames)
        shown = [(clip_id, index) for index in indices[places].tolist()]
        faces = [_face(store, *one) for one in shown]
        return {
            "images": torch.stack([image_tensor(read_image(_image(store, *o))) for o in shown]),
            "boxes": features[f"{clip_id}/boxes"][places],
            "weights": weights(clip_id)[places],
            "true_boxes": torch.stack([box for box, _ in faces]),
            "true_labels": torch.tensor([label(clip_id) if one == 1 else one for _, one in faces]),
        }

    return draw


def face_readers_after(
    store: Store, fold: Fold, speech_floor: float, network: nn.Module
) -> Mapping[str, Reader]:
    """Readers of `faces` and `weights` for clips that did not train, by the trained detector.

    It looks again at all frames of which the stage `detect` has features.

    Args:
        store: where frames, face features and speech activity lie.
        fold: its test clips, and those that it is asked about, are looked at.
        speech_floor: weight of a silent frame, see `models.fusion.branches.frame_weights`.
        network: a trained `models.fusion.joint.JointNet`, in eval mode.
    """
    detector = cast(JointNet, network).detector
    before = load_file(store.faces / f"{fold.name}.safetensors")
    clips = (*fold.test, *fold.asked)
    frames = [
        Frame(clip_id, index, _image(store, clip_id, index), None, 0)
        for clip_id in clips
        for index in before[f"{clip_id}/frames"].tolist()
    ]
    batch = detector_params(store.detector / f"{fold.name}.safetensors").batch
    tensors = face_features(detect_frames(detector, frames, batch), detector)
    return readers_of_faces(store, clips, tensors, speech_floor)[0]


def _labels(emotion: Mapping[str, str], classes: tuple[str, ...]) -> Callable[[str], int]:
    if len(classes) == 1:  # detector.classes: face
        return lambda clip_id: 1
    return lambda clip_id: 1 + classes.index(emotion[clip_id])


def _image(store: Store, clip_id: str, index: int) -> Path:
    return store.voc / "JPEGImages" / f"{frame_name(clip_id, index)}.jpg"


def _face(store: Store, clip_id: str, index: int) -> tuple[Tensor, int]:
    """The annotated face [4] px and 1; zeros and 0 where there is none, -1 where that is open."""
    annotation = voc.read_frame(store.voc, frame_name(clip_id, index))
    face = annotation.speaker_face
    if face is None:
        return torch.zeros(4), 0 if annotation.is_clear else -1
    return torch.tensor([face.box.x1, face.box.y1, face.box.x2, face.box.y2]), 1
