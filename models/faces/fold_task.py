"""The work of one fold: train a detector, and run it on all clips of the fold.

Its imports are all that a trained detector depends on: scores and the folds of a protocol are not
among them, so that a change of theirs trains nothing again.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from models.checkpoint import save_safetensors
from models.faces.detector import Detections, Detector
from models.faces.frames import Frame
from models.faces.params import DetectorParams
from models.faces.train import LOSS_NAMES, detect_frames, train_detector
from models.faces.weights import save_detector, training_clips
from models.threads import pinned_threads
from models.training import History
from pipeline.errors import TrainingError, WeightsError
from pipeline.files import write_table
from pipeline.work.progress import timed

if TYPE_CHECKING:
    from pipeline.splits import Fold

WEIGHTS, FEATURES, FOUND, HISTORY = (
    "weights.safetensors",
    "features.safetensors",
    "found.safetensors",
    "history.csv",
)
"""Files of a finished fold."""

HISTORY_COLUMNS = ("fold", "epoch", "total", *LOSS_NAMES)


@dataclass(frozen=True, slots=True)
class FoldTask:
    """What a worker needs for one fold.

    Attributes:
        fold: its training and test clips.
        classes: names of the classes, without the background.
        train: frames to train on, of training clips only.
        inference: frames to detect faces in, of the fold's clips, sorted by clip and frame.
        params: section `detector`.
    """

    fold: "Fold"
    classes: tuple[str, ...]
    train: tuple[Frame, ...]
    inference: tuple[Frame, ...]
    params: DetectorParams

    def __post_init__(self) -> None:
        used = {frame.clip_id for frame in self.train}
        leaked = sorted(used - set(self.fold.train)) + sorted(used & set(self.fold.test))
        if leaked:
            raise TrainingError(
                f"fold {self.fold.name}: the detector would train on {len(leaked)} clips that are "
                f"not its training clips, the first is {leaked[0]}"
            )

    @property
    def steps(self) -> int:
        """Frames that pass through the detector, in training and after it."""
        closer = self.params.closer_epochs if self.params.closer_px else 0
        return (self.params.epochs + closer) * len(self.train) + len(self.inference)


def train_fold(task: FoldTask, folder: Path) -> None:
    """Write weights, history, face features and detections of one fold into `folder`.

    Raises:
        TrainingError: nothing to learn from, or the loss is not finite.
        WeightsError: the weights to begin with cannot be had, or have seen the fold's test clips.
    """
    leaked = sorted(training_clips(task.params) & set(task.fold.test))
    if leaked:
        raise WeightsError(
            f"detector.weights: {task.params.weights} was trained on {len(leaked)} clips that fold "
            f"{task.fold.name} tests, the first is {leaked[0]}; begin with weights of other clips"
        )
    history = History()
    with pinned_threads(task.params.threads):
        with timed("training"):
            detector = train_detector(
                task.train, task.classes, task.params, history.record(fold=task.fold.name)
            )
        with timed("inference"):
            found = list(detect_frames(detector, task.inference, task.params.batch))
    save_detector(folder / WEIGHTS, detector, task.params, task.fold.train)
    write_table(folder / HISTORY, HISTORY_COLUMNS, map(_rounded, history.rows))
    save_safetensors(folder / FEATURES, face_features(found, detector))
    save_safetensors(folder / FOUND, all_detections([faces for _, faces in found]))


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
