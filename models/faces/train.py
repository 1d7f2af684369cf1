"""Train the detector on frames, and run it on frames."""

from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

import torch
from torch import Tensor, nn

from models.device import CPU, chosen_device, device_of
from models.faces.detector import Detections, Detector
from models.faces.frames import Batch, Frame, image_tensor, training_batches
from models.faces.params import DetectorParams
from models.faces.weights import build_detector
from models.resumption import Checkpoint
from models.training import OnEpoch, TrainSettings, fit
from pipeline.errors import TrainingError
from pipeline.media.images import Picture, read_image
from pipeline.work.ahead import ahead
from pipeline.work.progress import advance

LOSS_NAMES = ("objectness", "proposal", "class", "box", "closer")

FRAMES_AT_ONCE = 32
"""In a pass of inference on an accelerator."""

CROPS_PER_FRAME = 2
"""Crops in a batch of the first epochs for each frame in a batch of the others."""


def train_detector(
    frames: Sequence[Frame],
    classes: Sequence[str],
    params: DetectorParams,
    on_epoch: OnEpoch = lambda epoch, means: None,
    scratch: Path | None = None,
) -> Detector:
    """Train on the given frames for a fixed number of epochs, on the chosen device.

    L_v = L_cls + lambda L_bb with lambda = `box_weight`, and the same for the proposals, whose
    box loss has weight 1. During the first `kl_warmup_epochs` the variances are held at 1.

    Args:
        frames: training frames; those without a face teach the background.
        classes: names of the classes, without the background.
        params: section `detector`.
        on_epoch: receives the epoch and the means of the named losses.
        scratch: folder for the state of this training, from which it goes on where it was killed.

    Returns:
        The detector in eval mode. The same seed gives the same weights, on one processor and
        number of threads (kernels of other devices sum in any order); the global generator is
        left as it was.

    Raises:
        TrainingError: no frame shows a face, or the loss is not finite.
    """
    if all(frame.box is None for frame in frames):
        raise TrainingError(
            f"detector: none of the {len(frames)} training frames shows a face; check the "
            "annotations in data/voc/Annotations"
        )
    device = chosen_device()
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.manual_seed(params.seed)
        detector = build_detector(params, classes).to(device)
        detector.learn_variances(_learns_variances(params, 0))
        _learn_faces(detector, frames, params, scratch)

        def after_epoch(epoch: int, means: dict[str, float]) -> None:
            advance(len(frames), f"epoch {epoch}/{params.epochs}")
            detector.learn_variances(_learns_variances(params, epoch))
            on_epoch(epoch, means)

        fit(
            detector,
            training_batches(frames, params.batch, params, device),
            _losses,
            detector.loss_weights,
            TrainSettings(params.epochs, params.lr, params.weight_decay),
            after_epoch,
            Checkpoint(scratch / "frames") if scratch else None,
        )
    return detector.eval()


class _CloserLoss(nn.Module):
    """The closer look alone, as a module that training wrappers can call."""

    def __init__(self, detector: Detector) -> None:
        super().__init__()
        self.detector = detector

    def forward(self, images: list[Tensor], targets: list[dict[str, Tensor]]) -> Tensor:
        return self.detector.closer_loss(images, targets)


def _learn_faces(
    detector: Detector, frames: Sequence[Frame], params: DetectorParams, scratch: Path | None
) -> None:
    """First epochs on crops of faces alone: what tells emotions apart is learned there."""
    if params.closer_px == 0 or params.closer_epochs == 0:
        return
    fit(
        _CloserLoss(detector),
        training_batches(frames, CROPS_PER_FRAME * params.batch, params, device_of(detector)),
        lambda model, batch: {"closer": model(*batch)},
        {"closer": 1.0},
        TrainSettings(params.closer_epochs, params.lr, params.weight_decay),
        lambda epoch, _: advance(len(frames), f"closer look, epoch {epoch}/{params.closer_epochs}"),
        Checkpoint(scratch / "faces") if scratch else None,
    )


def detect_frames(
    detector: Detector, frames: Sequence[Frame], batch: int
) -> Iterator[tuple[Frame, Detections]]:
    """Faces of each frame, in order, `batch` frames at a time; more on an accelerator."""
    device = device_of(detector)
    batch = batch if device == CPU else max(batch, FRAMES_AT_ONCE)
    pictures: Iterator[Picture] = (
        map(_picture, frames) if device == CPU else ahead(_picture, frames, 2 * batch)
    )
    for start in range(0, len(frames), batch):
        part = frames[start : start + batch]
        images = [image_tensor(picture, device) for picture in islice(pictures, len(part))]
        yield from zip(part, detector.detect(images), strict=True)
        advance(len(part), "inference")


def _picture(frame: Frame) -> Picture:
    return read_image(frame.image)


def _losses(model: nn.Module, batch: Batch) -> dict[str, Tensor]:
    losses: dict[str, Tensor] = model(*batch)
    return losses


def _learns_variances(params: DetectorParams, epochs_done: int) -> bool:
    """Whether the box loss is KL by now: it is smooth L1 during the warm-up."""
    return params.box_loss == "kl" and epochs_done >= params.kl_warmup_epochs
