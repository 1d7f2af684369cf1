"""Fusion that trains the detector too: gradients of Eq. (4) flow back through the RoI features.

Here L_v is the detector's own loss, L_cls + lambda L_bb of Eq. (2)-(3), on the frames from which
the features are taken.

A batch holds, beside the inputs of `models.systems.inputs`:

| input       | shape           | content                                                     |
|-------------|-----------------|-------------------------------------------------------------|
| `images`    | [B, J, 3, H, W] | J stored frames of a clip, RGB in 0..1                      |
| `shown`     | [B, J, 4]       | boxes from which features are taken, px: the detector's own |
| `live`      | [B, J]          | weight of each of these frames                              |
| `truth`     | [B, J, 4]       | annotated boxes, px; training targets                       |
| `truth_ids` | [B, J]          | class of the annotated face, 0 where there is none          |
"""

from collections.abc import Callable, Mapping

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from annotations import voc
from models.faces.detector import Detector
from models.faces.frames import evenly_spaced, read_image
from models.fusion.network import FusionNet
from models.fusion.params import FusionParams, LossParams
from models.losses import emotion_bce
from models.systems.inputs import Reader, Store
from models.systems.recipe import Phase, whole
from models.training import TrainSettings, weighted_sum
from pipeline.clips import frame_name


class JointNet(nn.Module):
    """A fusion network and the detector behind its visual branch.

    Args:
        fusion: audio branch, visual branch over features, head.
        detector: a trained detector; it is trained on.
    """

    def __init__(self, fusion: FusionNet, detector: Detector) -> None:
        super().__init__()
        self.fusion = fusion
        self.detector = detector

    def forward(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Logits [B, K] of `av`, `audio` and `visual`; in training mode also the scalar `l_v`."""
        faces = self._features(batch)
        audio = self.fusion.audio(batch)
        visual = self.fusion.visual({"faces": faces, "weights": batch["live"]})
        logits = {"av": self.fusion.head(audio, visual), "audio": audio[1], "visual": visual[1]}
        if self.training:
            logits["l_v"] = self._detector_loss(batch)
        return logits

    def _features(self, batch: dict[str, Tensor]) -> Tensor:
        """RoI features [B, J, D] of the boxes `shown` in `images`."""
        clips, frames = batch["live"].shape
        images = list(batch["images"].flatten(0, 1))
        boxes = batch["shown"].flatten(0, 1)
        return self.detector.face_features(images, boxes).view(clips, frames, -1)

    def _detector_loss(self, batch: dict[str, Tensor]) -> Tensor:
        """L_v: the weighted sum of the detector's losses on the same frames."""
        images = list(batch["images"].flatten(0, 1))
        boxes, labels = batch["truth"].flatten(0, 1), batch["truth_ids"].flatten()
        targets = [
            {"boxes": box[label > 0], "labels": label[label > 0]}
            for box, label in zip(boxes.unsqueeze(1), labels.unsqueeze(1), strict=True)
        ]
        return weighted_sum(self.detector.losses(images, targets), self.detector.loss_weights)


def joint_phase(params: FusionParams, loss: LossParams) -> Phase:
    """L = l_av + alpha l_a + beta l_v, Eq. (4), with the detector's own loss as l_v."""
    weights = {"l_av": 1.0, "l_a": loss.alpha, "l_v": loss.beta}
    settings = TrainSettings(params.joint_epochs, params.joint_lr, params.weight_decay)
    return Phase("joint", whole, _step, weights, settings)


def _step(network: nn.Module, batch: dict[str, Tensor]) -> dict[str, Tensor]:
    out = network(batch)
    return {
        "l_av": emotion_bce(out["av"], batch["label"]),
        "l_a": emotion_bce(out["audio"], batch["label"]),
        "l_v": out["l_v"],
    }


def joint_readers(
    store: Store, fold: str, frames: int, classes: tuple[str, ...]
) -> dict[str, Reader]:
    """Readers of the inputs above, for J = `frames` of the frames that have face features.

    Args:
        store: where frames, annotations and face features lie.
        fold: name of the fold.
        frames: J; a clip with fewer shows its last one again, with weight 0.
        classes: the detector's classes, for `truth_ids`.
    """
    features = load_file(store.faces / f"{fold}.safetensors")
    emotion = {record.clip_id: record.emotion for record in store.records}

    def picks(clip_id: str) -> list[int]:
        spread = evenly_spaced(len(features[f"{clip_id}/frames"]), frames)
        return spread + [spread[-1]] * (frames - len(spread))

    def of_features(key: str) -> Reader:
        return lambda clip_id: features[f"{clip_id}/{key}"][picks(clip_id)]

    def names(clip_id: str) -> list[str]:
        indices = features[f"{clip_id}/frames"][picks(clip_id)].tolist()
        return [frame_name(clip_id, index) for index in indices]

    def images(clip_id: str) -> Tensor:
        folder = store.voc / "JPEGImages"
        return torch.stack([read_image(folder / f"{name}.jpg") for name in names(clip_id)])

    def live(clip_id: str) -> Tensor:
        count = len(evenly_spaced(len(features[f"{clip_id}/frames"]), frames))
        seen = of_features("scores")(clip_id) > 0
        return (seen & (torch.arange(frames) < count)).float()

    label = _labels(emotion, classes)
    return {
        "images": images,
        "shown": of_features("boxes"),
        "live": live,
        "truth": lambda clip_id: torch.stack([_face(store, n)[0] for n in names(clip_id)]),
        "truth_ids": lambda clip_id: torch.tensor(
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
