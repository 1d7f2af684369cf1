"""The work of one detector: train it, and run it on the clips of all folds that it serves.

A detector is what its training frames make of it. Folds that train on the same clips share it: left
out the speakers of two folds, it serves each of them as the inner fold that holds out the other's
speakers.

Its imports are all that a trained detector depends on: scores and the folds of a protocol are not
among them, so that a change of theirs trains nothing again.
"""

import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor

from models.checkpoint import save_safetensors
from models.faces.detector import Detections, Detector
from models.faces.detector_file import save_detector
from models.faces.frames import Frame
from models.faces.params import DetectorParams
from models.faces.train import LOSS_NAMES, detect_frames, train_detector
from models.threads import pinned_threads
from models.training import History, describe, measured_effort
from pipeline.files import write_json, write_table
from pipeline.work.progress import timed
from pipeline.work.scratch import scratch

WEIGHTS, FEATURES, FOUND, HISTORY, COST = (
    "weights.safetensors",
    "features.safetensors",
    "found.safetensors",
    "history.csv",
    "cost.json",
)
"""Files of a finished detector."""

HISTORY_COLUMNS = ("epoch", "total", *LOSS_NAMES)


@dataclass(frozen=True, slots=True)
class DetectorTask:
    """What a worker needs for one detector.

    Attributes:
        classes: names of the classes, without the background.
        clip_ids: of the clips to train on; all of them, those without frames too.
        train: frames to train on, of these clips only.
        inference: frames to detect faces in, sorted by clip and frame.
        params: section `detector`.
    """

    classes: tuple[str, ...]
    clip_ids: tuple[str, ...]
    train: tuple[Frame, ...]
    inference: tuple[Frame, ...]
    params: DetectorParams

    @property
    def passes(self) -> int:
        """Frames that pass through the detector, in training and after it."""
        closer = self.params.closer_epochs if self.params.closer_px else 0
        return (self.params.epochs + closer) * len(self.train) + len(self.inference)


@dataclass(frozen=True, slots=True)
class DetectorCost:
    """What a detector costs.

    Attributes:
        parameters: that training changes.
        total: all parameters.
        steps: of the optimiser.
        train_s: seconds of training.
        infer_s: seconds of detection in `frames` frames.
        frames: in which faces were looked for.
    """

    parameters: int
    total: int
    steps: int
    train_s: float
    infer_s: float
    frames: int


def train_and_detect(task: DetectorTask, folder: Path) -> None:
    """Write weights, history, face features, detections and costs of one detector into `folder`.

    Raises:
        TrainingError: nothing to learn from, or the loss is not finite.
        WeightsError: the weights to begin with cannot be had.
    """
    history = History()
    started = time.monotonic()
    with pinned_threads(task.params.threads):
        with timed("training"), measured_effort() as effort:
            detector = train_detector(
                task.train, task.classes, task.params, history.record(), scratch()
            )
        trained = time.monotonic()
        with timed("inference"):
            found = list(detect_frames(detector, task.inference, task.params.batch))
        ended = time.monotonic()
    size = describe(detector)
    cost = DetectorCost(
        parameters=size.trained,
        total=size.total,
        steps=effort.steps,
        train_s=round(trained - started + effort.earlier_s, 3),
        infer_s=round(ended - trained, 3),
        frames=len(task.inference),
    )
    save_detector(folder / WEIGHTS, detector, task.params, task.clip_ids)
    write_table(folder / HISTORY, HISTORY_COLUMNS, map(_rounded, history.rows))
    save_safetensors(folder / FEATURES, face_features(found, detector))
    save_safetensors(folder / FOUND, all_detections([faces for _, faces in found]))
    write_json(folder / COST, asdict(cost))


def face_features(
    found: Iterable[tuple[Frame, Detections]], detector: Detector
) -> dict[str, Tensor]:
    """The best face of each frame, by clip.

    Args:
        found: frames and their faces.
        detector: gives the sizes D and K.

    Returns:
        `<clip>/features` [F, D], `/probs` [F, K+1] (background first), `/boxes` [F, 4] px,
        `/log_var` [F, 4] log px^2, `/scores` [F] and `/frames` [F] int64, the stored-frame index.
        A frame without detection has score 0, and zeros everywhere else too.
    """
    by_clip: dict[str, list[tuple[int, Detections]]] = {}
    for frame, faces in found:
        by_clip.setdefault(frame.clip_id, []).append((frame.index, detector.best_face(faces)))
    tensors = {}
    for clip_id, rows in by_clip.items():
        for name in ("features", "probs", "boxes", "log_var", "scores"):
            tensors[f"{clip_id}/{name}"] = torch.cat([getattr(best, name) for _, best in rows])
        tensors[f"{clip_id}/frames"] = torch.tensor([index for index, _ in rows])
    return tensors


def all_detections(found: Sequence[Detections]) -> dict[str, Tensor]:
    """All faces of all frames, M rows: `frame` [M] says which of `found` a row belongs to.

    `boxes` [M, 4] px, `sigma` [M, 4] px, `scores` [M], `label` [M] the class index, 1..K.
    """
    counts = torch.tensor([len(faces.scores) for faces in found])
    return {
        "frame": torch.repeat_interleave(torch.arange(len(found)), counts),
        "boxes": torch.cat([faces.boxes for faces in found]),
        "sigma": torch.cat([torch.exp(faces.log_var / 2) for faces in found]),
        "scores": torch.cat([faces.scores for faces in found]),
        "label": torch.cat([faces.probs[:, 1:].argmax(dim=1) + 1 for faces in found]),
    }


def _rounded(row: dict[str, object]) -> dict[str, object]:
    return {k: round(v, 6) if isinstance(v, float) else v for k, v in row.items()}
