"""Every fold of the protocol: train a detector, run it on all its clips, publish and score.

Folds that train on the same clips share a detector, so that leaving out one of S speakers at a time
takes 2 S detectors with two inner folds each, and not 3 S.
"""

import csv
import json
import logging
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from safetensors.torch import load_file

from models.device import accelerators, device_facts
from models.faces.detector_file import training_clips
from models.faces.frames import Frame, sampled_frames
from models.faces.params import DetectorParams
from models.faces.scores import (
    DETECTION_COLUMNS,
    ScoredFrame,
    detection_rows,
    failure,
    frame_by_frame,
    mean_iou,
    read_truth,
    references,
    rounded,
    score_frames,
)
from models.faces.task import (
    COST,
    FEATURES,
    FOUND,
    HISTORY,
    HISTORY_COLUMNS,
    WEIGHTS,
    DetectorCost,
    DetectorTask,
    train_and_detect,
)
from models.faces.train import train_detector
from models.threads import pinned_threads
from pipeline.clips import ClipRecord, emotions_of
from pipeline.errors import TrainingError, WeightsError
from pipeline.files import publish, replace_folder, write_table
from pipeline.splits import Fold
from pipeline.work.cache import ClipCache, Job
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


@dataclass(frozen=True, slots=True)
class Detected:
    """What `detect` found out.

    Attributes:
        metrics: the content of `metrics.json`.
        costs: of the detector that serves each fold, inner ones too, by the fold's name.
    """

    metrics: dict[str, object]
    costs: Mapping[str, DetectorCost]


def detect(
    paths: DetectPaths,
    records: Sequence[ClipRecord],
    folds: Sequence[Fold],
    inner: Sequence[Fold],
    params: DetectorParams,
) -> Detected:
    """Train a detector for each fold, run it on the fold's clips, and score it on its test clips.

    Args:
        paths: inputs and outputs.
        records: all clips; those without video are left out.
        folds: of the protocol.
        inner: their inner folds, see `pipeline.splits`; of their detectors it is only said if one
            failed.
        params: section `detector`.

    Raises:
        AnnotationError: a frame has no annotation, or that of another picture.
        TrainingError: a fold has no frame to learn from, or its loss is not finite.
        WeightsError: the weights to begin with cannot be had, or have seen a fold's test clips.
    """
    filmed = [record for record in records if record.has_video]
    if not filmed:
        return Detected(_publish_nothing(paths, len(records)), {})
    every = (*folds, *inner)
    _require_unseen(every, params)
    tasks = make_tasks(paths.voc, filmed, every, params)
    folders = _run(tasks, params)
    publish(
        paths.face_features,
        ((f"{fold.name}.safetensors", folders[fold.name] / FEATURES) for fold in every),
    )
    with timed("scores"):
        metrics = _publish_results(paths, filmed, folds, tasks, folders)
    costs = {
        name: DetectorCost(**json.loads((folder / COST).read_text(encoding="utf-8")))
        for name, folder in folders.items()
    }
    return Detected(metrics, costs)


def train_beside(
    paths: DetectPaths,
    records: Sequence[ClipRecord],
    folds: Sequence[Fold],
    inner: Sequence[Fold],
    params: DetectorParams,
) -> None:
    """Take part in the trainings of `detect` beside the first process of a group; write nothing.

    Its arguments are those of `detect` there.
    """
    filmed = [record for record in records if record.has_video]
    if not filmed:
        return
    cache, jobs = _jobs(make_tasks(paths.voc, filmed, (*folds, *inner), params), params)
    for job in cache.missing(jobs):
        with suppress(TrainingError), pinned_threads(params.threads):  # the first process says so
            train_detector(job.payload.train, job.payload.classes, params)


def make_tasks(
    voc_folder: Path, records: Sequence[ClipRecord], folds: Sequence[Fold], params: DetectorParams
) -> dict[str, DetectorTask]:
    """The detector of each fold, by the fold's name; equal where folds train on the same clips."""
    classes = emotions_of(records) if params.classes == "emotion" else FACE_CLASSES
    labels = {
        r.clip_id: 1 + (classes.index(r.emotion) if params.classes == "emotion" else 0)
        for r in records
        if r.emotion
    }
    train = _frames(voc_folder, records, labels, params.frames_per_clip_train)
    inference = _frames(voc_folder, records, labels, params.frames_per_clip)
    served: dict[tuple[str, ...], set[str]] = {}
    for fold in folds:
        served.setdefault(fold.train, set()).update(fold.train, fold.test, fold.asked)
    tasks = {
        clips: DetectorTask(
            classes,
            clips,
            tuple(f for clip_id in clips for f in train.get(clip_id, ()) if f.clear),
            tuple(frame for i in sorted(seen) for frame in inference.get(i, ())),
            params,
        )
        for clips, seen in served.items()
    }
    return {fold.name: tasks[fold.train] for fold in folds}


def _require_unseen(folds: Sequence[Fold], params: DetectorParams) -> None:
    """Refuse folds that share clips between training and test, or weights that saw the latter."""
    seen = training_clips(params)
    for fold in folds:
        if both := sorted(set(fold.train) & set(fold.test)):
            raise TrainingError(
                f"fold {fold.name}: {len(both)} clips train and test, the first is {both[0]}"
            )
        if leaked := sorted(seen & set(fold.test)):
            raise WeightsError(
                f"detector.weights: {params.weights} was trained on {len(leaked)} clips that fold "
                f"{fold.name} tests, the first is {leaked[0]}; begin with weights of other clips"
            )


def _frames(
    folder: Path, records: Sequence[ClipRecord], labels: Mapping[str, int], count: int
) -> dict[str, list[Frame]]:
    return {
        record.clip_id: [
            Frame.read(folder, record.clip_id, index, labels.get(record.clip_id, 0))
            for index in sampled_frames(record.times_s, count)
        ]
        for record in records
    }


def _run(tasks: Mapping[str, DetectorTask], params: DetectorParams) -> dict[str, Path]:
    """Train what is not in the cache yet; the folder of each fold's detector."""
    cache, jobs = _jobs(tasks, params)
    products = cache.run(jobs, "detect", unit="detector", step="frame")
    folders = products.complete(TrainingError, "detector").folders
    by_clips = {job.payload.clip_ids: folders[job.clip_id] for job in jobs}
    return {name: by_clips[task.clip_ids] for name, task in tasks.items()}


def _jobs(tasks: Mapping[str, DetectorTask], params: DetectorParams) -> tuple[ClipCache, list[Job]]:
    """One job for each detector, named after the first fold that it serves."""
    start = Path(params.weights)
    cache = ClipCache(
        "detect",
        train_and_detect,
        facts=device_facts(),
        files=[start] if start.is_file() else [],
        accelerators=accelerators(),
    )
    return cache, [Job(name, tasks[name], steps=tasks[name].passes) for name in _names(tasks)]


def _names(tasks: Mapping[str, DetectorTask]) -> list[str]:
    """Of the detectors: each is called by the first fold that it serves."""
    first: dict[tuple[str, ...], str] = {}
    for name, task in tasks.items():
        first.setdefault(task.clip_ids, name)
    return list(first.values())


def _publish_results(
    paths: DetectPaths,
    records: Sequence[ClipRecord],
    folds: Sequence[Fold],
    tasks: Mapping[str, DetectorTask],
    folders: Mapping[str, Path],
) -> dict[str, object]:
    truth = {r.clip_id: read_truth(paths.truth / f"{r.clip_id}.csv", r.frame_step) for r in records}
    scored: list[ScoredFrame] = []

    def rows() -> Iterator[dict[str, object]]:
        """Of `detections.csv`, fold by fold, which are too many to hold; notes what is scored."""
        for fold in folds:
            task, tested = tasks[fold.name], set(fold.test)
            found = frame_by_frame(load_file(folders[fold.name] / FOUND), len(task.inference))
            for frame, faces in zip(task.inference, found, strict=True):
                known = references(frame, truth[frame.clip_id])
                yield from detection_rows(fold, task.classes, frame, faces, known)
                if frame.clip_id in tested:
                    scored.append(ScoredFrame.of(frame, faces, known))

    params = tasks[folds[0].name].params
    history = [row for fold in folds for row in _history(fold.name, folders[fold.name])]
    with replace_folder(paths.results) as part:
        for name, folder in folders.items():
            shutil.copyfile(folder / WEIGHTS, part / f"{name}.safetensors")
        write_table(part / "detections.csv", DETECTION_COLUMNS, rows())
        write_table(part / "history.csv", ("fold", *HISTORY_COLUMNS), history)
        metrics = score_frames(scored, params.box_loss == "kl", params.classes == "emotion")
        metrics["warning"] = _failure(tasks, folders)
        _write_metrics(part, metrics)
    if metrics["warning"]:
        log.warning("detect: %s", metrics["warning"])
    return metrics


def _failure(tasks: Mapping[str, DetectorTask], folders: Mapping[str, Path]) -> str | None:
    """Which detectors failed, of folds or inner folds."""
    names = _names(tasks)
    history = [row for name in names for row in _history(name, folders[name])]
    overlaps = {name: _held_out_iou(tasks[name], folders[name]) for name in names}
    return failure(overlaps, _totals(history))


def _held_out_iou(task: DetectorTask, folder: Path) -> float | None:
    """Mean IoU with dlib's boxes in the clips that a detector was not trained on."""
    found = frame_by_frame(load_file(folder / FOUND), len(task.inference))
    seen = set(task.clip_ids)
    scored = (
        ScoredFrame.of(frame, faces, references(frame, {}))
        for frame, faces in zip(task.inference, found, strict=True)
        if frame.clip_id not in seen
    )
    return mean_iou(scored, "dlib")


def _history(fold: str, folder: Path) -> Iterator[dict[str, object]]:
    with (folder / HISTORY).open(newline="", encoding="utf-8") as stream:
        yield from ({"fold": fold, **row} for row in csv.DictReader(stream))


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
        write_table(part / "history.csv", ("fold", *HISTORY_COLUMNS), [])
        _write_metrics(part, metrics)
    return metrics


def _write_metrics(folder: Path, metrics: Mapping[str, object]) -> None:
    text = json.dumps(rounded(metrics), indent=2) + "\n"
    (folder / "metrics.json").write_text(text, encoding="utf-8")
