"""Every fold of the protocol: train a detector, run it on all its clips, publish and score."""

import csv
import json
import logging
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from safetensors.torch import load_file
from torch import Tensor

from annotations import voc
from annotations.voc import Box
from models.faces.fold_task import (
    FEATURES,
    FOUND,
    HISTORY,
    HISTORY_COLUMNS,
    WEIGHTS,
    FoldTask,
    train_fold,
)
from models.faces.frames import Frame, sampled_frames
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
from models.training import device_name
from pipeline.clips import ClipRecord, emotions_of, frame_name
from pipeline.errors import TrainingError
from pipeline.files import publish, replace_folder, write_table
from pipeline.splits import Fold
from pipeline.work.cache import ClipCache, Job, Products
from pipeline.work.progress import timed

log = logging.getLogger(__name__)

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
    """Train a detector per fold, run it on all clips, and score it on the fold's test clips.

    Args:
        paths: inputs and outputs.
        records: all clips; those without video are left out.
        folds: of the protocol.
        inner: their inner folds, see `pipeline.splits`; their detectors are run on their own
            clips alone and are not scored.
        params: section `detector`.

    Returns:
        The content of `metrics.json`.

    Raises:
        AnnotationError: a frame has no annotation.
        TrainingError: a fold has no frame to learn from, or its loss is not finite.
        WeightsError: the weights to begin with cannot be had.
    """
    filmed = [record for record in records if record.has_video]
    if not filmed:
        return _publish_nothing(paths, len(records))
    tasks = make_tasks(paths.voc, filmed, (*folds, *inner), params)
    products = _run(tasks, params)
    products.publish(paths.face_features, FEATURES)
    with timed("scores"):
        return _publish_results(paths, filmed, tasks[: len(folds)], products.folders)


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
    inference = _frames(voc_folder, records, labels, params.frames_per_clip)
    return [
        FoldTask(
            fold,
            classes,
            tuple(frame for clip_id in fold.train for frame in train.get(clip_id, ())),
            tuple(
                frame for i in sorted({*fold.train, *fold.test}) for frame in inference.get(i, ())
            ),
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
            for index in sampled_frames(record.frames, count)
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


def _run(tasks: Sequence[FoldTask], params: DetectorParams) -> Products:
    start = Path(params.weights)
    cache = ClipCache(
        "detect",
        train_fold,
        facts={"device": device_name()},
        files=[start] if start.is_file() else [],
    )
    jobs = [Job(task.fold.name, task, steps=task.steps) for task in tasks]
    return cache.run(jobs, "detect", unit="fold", step="frame").complete(TrainingError, "fold")


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
        for position, frame in enumerate(task.inference):
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
