"""Every fold of the protocol: train a detector, look at all its clips, publish and score."""

import csv
import json
import logging
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor

from annotations import voc
from annotations.voc import Box
from models.checkpoint import save_safetensors
from models.faces.detector import Detections, Detector
from models.faces.frames import Frame, evenly_spaced
from models.faces.params import DetectorParams
from models.faces.scores import (
    DETECTION_COLUMNS,
    ScoredFrame,
    box_tensor,
    detection_rows,
    failure,
    read_truth,
    score_frames,
)
from models.faces.train import LOSS_NAMES, detect_frames, train_detector
from models.faces.weights import save_detector, seen_by
from models.training import History
from pipeline.clips import ClipRecord, emotions_of, frame_name
from pipeline.errors import TrainingError, WeightsError
from pipeline.files import publish, replace_folder, write_table
from pipeline.splits import Fold
from pipeline.work.cache import ClipCache, Job

log = logging.getLogger(__name__)

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
        ask: frames to detect faces in, of the fold's clips, sorted by clip and frame.
        params: section `detector`.
    """

    fold: Fold
    classes: tuple[str, ...]
    train: tuple[Frame, ...]
    ask: tuple[Frame, ...]
    params: DetectorParams

    def __post_init__(self) -> None:
        seen = {frame.clip_id for frame in self.train}
        leaked = sorted(seen - set(self.fold.train)) + sorted(seen & set(self.fold.test))
        if leaked:
            raise TrainingError(
                f"fold {self.fold.name}: the detector would train on {len(leaked)} clips that are "
                f"not its training clips, the first is {leaked[0]}"
            )


def run_fold(task: FoldTask, folder: Path) -> None:
    """Write weights, history, face features and detections of one fold into `folder`.

    Raises:
        TrainingError: nothing to learn from, or the loss is not finite.
        WeightsError: the weights to begin with cannot be had, or have seen the fold's test clips.
    """
    leaked = sorted(seen_by(task.params) & set(task.fold.test))
    if leaked:
        raise WeightsError(
            f"detector.weights: {task.params.weights} was trained on {len(leaked)} clips that fold "
            f"{task.fold.name} tests, the first is {leaked[0]}; begin with weights of other clips"
        )
    torch.set_num_threads(task.params.threads)
    history = History()
    detector = train_detector(
        task.train, task.classes, task.params, history.record(fold=task.fold.name)
    )
    save_detector(folder / WEIGHTS, detector, task.params, task.fold.train)
    write_table(folder / HISTORY, HISTORY_COLUMNS, map(_rounded, history.rows))
    found = list(detect_frames(detector, task.ask, task.params.batch))
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
    by_clip: dict[str, list[tuple[int, list[Tensor]]]] = {}
    for frame, faces in found:
        by_clip.setdefault(frame.clip_id, []).append((frame.index, _best(faces, detector)))
    names = ("features", "probs", "boxes", "log_var", "scores")
    tensors = {}
    for clip_id, rows in by_clip.items():
        for name, values in zip(names, zip(*(best for _, best in rows), strict=True), strict=True):
            tensors[f"{clip_id}/{name}"] = torch.stack(values)
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


def _best(faces: Detections, detector: Detector) -> list[Tensor]:
    parts = [faces.features, faces.probs, faces.boxes, faces.log_var, faces.scores]
    if len(faces.scores) > 0:
        return [part[0] for part in parts]
    classes = len(detector.classes) + 1
    sizes: list[tuple[int, ...]] = [(detector.embedding_dim,), (classes,), (4,), (4,), ()]
    return [torch.zeros(size) for size in sizes]


def _rounded(row: dict[str, object]) -> dict[str, object]:
    return {k: round(v, 6) if isinstance(v, float) else v for k, v in row.items()}


FACE_CLASSES = ("face",)


@dataclass(frozen=True, slots=True)
class DetectPaths:
    """Where `detect` reads and writes; as on its command line."""

    voc: Path
    truth: Path
    results: Path
    face_features: Path


def detect(
    paths: DetectPaths,
    records: Sequence[ClipRecord],
    folds: Sequence[Fold],
    inner: Sequence[Fold],
    params: DetectorParams,
) -> dict[str, object]:
    """Train a detector a fold, look at all clips with it, and score it on the fold's test clips.

    Args:
        paths: inputs and outputs.
        records: all clips; those without video are left out.
        folds: of the protocol.
        inner: their inner folds, see `pipeline.splits`; their detectors look at their own
            clips alone and are not scored.
        params: section `detector`.

    Returns:
        The content of `metrics.json`.

    Raises:
        AnnotationError: a frame has no annotation.
        TrainingError: a fold has no frame to learn from, or its loss is not finite.
        WeightsError: the weights to begin with cannot be had.
    """
    seen = [record for record in records if record.has_video]
    if not seen:
        return _publish_nothing(paths, len(records))
    tasks = make_tasks(paths.voc, seen, (*folds, *inner), params)
    folders = _run(tasks, params)
    publish(
        paths.face_features,
        ((f"{name}.safetensors", folder / FEATURES) for name, folder in folders.items()),
    )
    return _publish_results(paths, seen, tasks[: len(folds)], folders)


def make_tasks(
    voc_folder: Path, records: Sequence[ClipRecord], folds: Sequence[Fold], params: DetectorParams
) -> list[FoldTask]:
    """The work of each fold: its clips that have video."""
    classes = emotions_of(records) if params.classes == "emotion" else FACE_CLASSES
    labels = {
        r.clip_id: 1 + (classes.index(r.emotion) if params.classes == "emotion" else 0)
        for r in records
    }
    train = _frames(voc_folder, records, labels, params.frames_per_clip_train)
    ask = _frames(voc_folder, records, labels, params.frames_per_clip)
    return [
        FoldTask(
            fold,
            classes,
            tuple(frame for clip_id in fold.train for frame in train.get(clip_id, ())),
            tuple(frame for i in sorted({*fold.train, *fold.test}) for frame in ask.get(i, ())),
            params,
        )
        for fold in folds
    ]


def _frames(
    folder: Path, records: Sequence[ClipRecord], labels: Mapping[str, int], count: int
) -> dict[str, list[Frame]]:
    return {
        record.clip_id: [
            _frame(folder, record.clip_id, index, labels[record.clip_id])
            for index in evenly_spaced(record.frames, count)
        ]
        for record in records
    }


def _frame(folder: Path, clip_id: str, index: int, label: int) -> Frame:
    name = frame_name(clip_id, index)
    face = voc.read(_annotation(folder, name)).speaker_face
    image = folder / "JPEGImages" / f"{name}.jpg"
    return Frame(clip_id, index, image, face.box if face else None, label)


def _annotation(folder: Path, name: str) -> Path:
    return folder / "Annotations" / f"{name}.xml"


def _run(tasks: Sequence[FoldTask], params: DetectorParams) -> dict[str, Path]:
    settings = params.model_dump(mode="json")
    start = Path(params.weights)
    cache = ClipCache("detect", settings, [start] if start.is_file() else [])
    products = cache.run([_job(task) for task in tasks], run_fold, desc="detect", unit="fold")
    if products.rejects:
        raise TrainingError(products.rejects[0].reason)
    return products.folders


def _job(task: FoldTask) -> Job:
    frames = sorted({frame.image for frame in (*task.train, *task.ask)})
    folder = frames[0].parents[1]
    sources = [path for image in frames for path in (image, _annotation(folder, image.stem))]
    facts = {
        "train": [(frame.image.stem, frame.label) for frame in task.train],
        "ask": [frame.image.stem for frame in task.ask],
        "classes": task.classes,
    }
    return Job(task.fold.name, tuple(sources), task, facts)


def _publish_results(
    paths: DetectPaths,
    records: Sequence[ClipRecord],
    tasks: Sequence[FoldTask],
    folders: Mapping[str, Path],
) -> dict[str, object]:
    truth = {r.clip_id: read_truth(paths.truth / f"{r.clip_id}.csv", r.frame_step) for r in records}
    rows: list[dict[str, object]] = []
    scored: list[ScoredFrame] = []
    for task in tasks:
        found = load_file(folders[task.fold.name] / FOUND)
        tested = set(task.fold.test)
        for position, frame in enumerate(task.ask):
            known = {"dlib": frame.box}
            if frame.index in truth[frame.clip_id]:
                known["truth"] = truth[frame.clip_id][frame.index]
            faces = {name: part[found["frame"] == position] for name, part in found.items()}
            rows += detection_rows(task.fold, task.classes, frame, faces, known)
            if frame.clip_id in tested:
                scored.append(_scored(frame, faces, known))
    params = tasks[0].params
    metrics = score_frames(scored, params.box_loss == "kl", params.classes == "emotion")
    history = list(_histories(tasks, folders))
    metrics["warning"] = failure(metrics, _totals(history))
    if metrics["warning"]:
        log.warning("detect: %s", metrics["warning"])
    with replace_folder(paths.results) as part:
        for name, folder in folders.items():
            shutil.copyfile(folder / WEIGHTS, part / f"{name}.safetensors")
        write_table(part / "detections.csv", DETECTION_COLUMNS, rows)
        write_table(part / "history.csv", HISTORY_COLUMNS, history)
        _write_metrics(part, metrics)
    return metrics


def _scored(
    frame: Frame, faces: Mapping[str, Tensor], known: Mapping[str, Box | None]
) -> ScoredFrame:
    return ScoredFrame(
        faces["boxes"],
        faces["scores"],
        faces["sigma"],
        frame.label,
        int(faces["label"][0]) if len(faces["label"]) else -1,
        {name: None if box is None else box_tensor(box) for name, box in known.items()},
    )


def _histories(
    tasks: Sequence[FoldTask], folders: Mapping[str, Path]
) -> Iterator[dict[str, object]]:
    for task in tasks:
        with (folders[task.fold.name] / HISTORY).open(newline="", encoding="utf-8") as stream:
            yield from csv.DictReader(stream)


def _totals(history: Iterable[Mapping[str, object]]) -> dict[str, list[float]]:
    totals: dict[str, list[float]] = {}
    for row in history:
        totals.setdefault(str(row["fold"]), []).append(float(str(row["total"])))
    return totals


def _publish_nothing(paths: DetectPaths, clips: int) -> dict[str, object]:
    metrics: dict[str, object] = {"frames": 0, "note": f"none of the {clips} clips has video"}
    publish(paths.face_features, [])
    with replace_folder(paths.results) as part:
        write_table(part / "detections.csv", DETECTION_COLUMNS, [])
        write_table(part / "history.csv", HISTORY_COLUMNS, [])
        _write_metrics(part, metrics)
    return metrics


def _write_metrics(folder: Path, metrics: Mapping[str, object]) -> None:
    rounded = json.loads(json.dumps(metrics), parse_float=lambda text: round(float(text), 6))
    (folder / "metrics.json").write_text(json.dumps(rounded, indent=2) + "\n", encoding="utf-8")
