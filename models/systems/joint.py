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

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, cast

import torch
from accelerate.utils import extract_model_from_parallel
from safetensors.torch import load_file
from torch import Tensor, nn

from models.faces.detector import Detections
from models.faces.detector_file import detector_params
from models.faces.frames import Frame, image_tensor
from models.faces.scores import ScoredFrame, box_tensor, read_truth, references
from models.faces.task import all_detections, face_features
from models.faces.train import detect_frames
from models.faces.weights import load_detector
from models.fusion.joint import JointNet
from models.fusion.network import FusionNet
from models.fusion.params import FusionParams, LossParams
from models.losses import emotion_bce, fusion_loss_weights
from models.systems.inputs import Reader, Store, readers_of_faces
from models.systems.params import Settings
from models.systems.recipe import Looked, Phase, Recipe, entire
from models.training import TrainSettings
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
        look_again=partial(look_again, store, fold, silent),
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
    label = _labels(store, classes)

    def draw(clip_id: str) -> dict[str, Tensor]:
        indices = features[f"{clip_id}/frames"]
        places = draw_frames(len(indices), frames)
        shown = [
            Frame.read(store.voc, clip_id, index, label[clip_id])
            for index in indices[places].tolist()
        ]
        return {
            "images": torch.stack([image_tensor(read_image(frame.image)) for frame in shown]),
            "boxes": features[f"{clip_id}/boxes"][places],
            "weights": weights(clip_id)[places],
            "true_boxes": torch.stack(
                [box_tensor(frame.box) if frame.box else torch.zeros(4) for frame in shown]
            ),
            "true_labels": torch.tensor([_true_label(frame) for frame in shown]),
        }

    return draw


def look_again(store: Store, fold: Fold, speech_floor: float, network: nn.Module) -> Looked:
    """Readers of `faces` and `weights` for clips that did not train, and the boxes of test clips.

    The trained detector looks again at all frames of which the stage `detect` has features.

    Args:
        store: where frames, annotations, true boxes, face features and speech activity lie.
        fold: its test clips, and those that it is asked about, are looked at.
        speech_floor: weight of a silent frame, see `models.fusion.branches.frame_weights`.
        network: a trained `models.fusion.joint.JointNet`, in eval mode.
    """
    detector = cast(JointNet, network).detector
    before = load_file(store.faces / f"{fold.name}.safetensors")
    label, clips = _labels(store, detector.classes), (*fold.test, *fold.asked)
    frames = [
        Frame.read(store.voc, clip_id, index, label[clip_id])
        for clip_id in clips
        for index in before[f"{clip_id}/frames"].tolist()
    ]
    batch = detector_params(store.detector / f"{fold.name}.safetensors").batch
    found = list(detect_frames(detector, frames, batch))
    tensors = face_features(found, detector)
    tests = set(fold.test)
    boxes = tuple(_scored(store, [one for one in found if one[0].clip_id in tests]))
    return Looked(readers_of_faces(store, clips, tensors, speech_floor)[0], boxes)


def _scored(store: Store, found: Sequence[tuple[Frame, Detections]]) -> Iterator[ScoredFrame]:
    steps = {record.clip_id: record.frame_step for record in store.records}
    true = {
        clip_id: read_truth(store.data / "truth" / f"{clip_id}.csv", steps[clip_id])
        for clip_id in {frame.clip_id for frame, _ in found}
    }
    for frame, faces in found:
        known = references(frame, true[frame.clip_id])
        yield ScoredFrame.of(frame, all_detections([faces]), known)


def _labels(store: Store, classes: tuple[str, ...]) -> dict[str, int]:
    """By clip id the detector's class of its face; 0 where the clip has no emotion."""
    if len(classes) == 1:  # detector.classes: face
        return {record.clip_id: 1 for record in store.records}
    return {r.clip_id: 1 + classes.index(r.emotion) if r.emotion else 0 for r in store.records}


def _true_label(frame: Frame) -> int:
    if frame.box is not None:
        return frame.label
    return 0 if frame.clear else -1
