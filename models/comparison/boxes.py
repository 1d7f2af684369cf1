"""The ablation of the box loss and of variance voting: the same frames, four detectors.

Voting acts on the boxes of a trained detector, so that each box loss is trained once per seed, on
the folds of that seed.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from torchvision.ops import box_iou

from models.comparison.runner import Setup, detector_paths, folds_of, require_products
from models.device import accelerators, chosen_device, device_facts
from models.faces.folds import detect, make_tasks
from models.faces.params import DetectorParams
from models.faces.scores import ScoredFrame, read_truth, references, score_frames
from models.faces.task import DetectorTask, all_detections
from models.faces.train import detect_frames
from models.faces.weights import load_detector
from models.threads import pinned_threads
from pipeline.clips import ClipRecord
from pipeline.errors import TrainingError
from pipeline.files import file_digest, read_json, write_json
from pipeline.report.comparison.scoring import BoxScores
from pipeline.work.cache import ClipCache, Job

LOSSES = {"smooth_l1": "smooth L1", "kl": "KL"}
FOUND = "boxes.json"


@dataclass(frozen=True, slots=True)
class BoxTask:
    """What a worker needs to score one trained detector per fold, with or without voting."""

    weights: tuple[Path, ...]
    folds: tuple[DetectorTask, ...]
    tested: tuple[tuple[str, ...], ...]
    frame_step: Mapping[str, int]
    truth: Path
    voting: bool


def box_study(setup: Setup, protocol: str, seeds: Sequence[int]) -> list[BoxScores]:
    """Train what is not trained yet, and score each box loss with and without voting.

    Raises:
        CorpusError: the corpus has no frames or does not allow the protocol.
        TrainingError: a detector cannot be trained.
    """
    require_products(setup.store.data, ("voc",))
    records = [record for record in setup.store.records if record.has_video]
    jobs = [
        _job(setup, (protocol, records), setup.detector.model_copy(update=update), voting)
        for loss in LOSSES
        for seed in seeds
        for update in ({"box_loss": loss, "seed": seed},)
        for voting in (False, True)
    ]
    # true boxes are in the facts of each job, of the clips that it looks at
    cache = ClipCache(
        "boxes",
        score_boxes,
        facts=device_facts(),
        ignore=("truth",),
        accelerators=accelerators(),
    )
    products = cache.run(jobs, "boxes", "detector").complete(TrainingError, "detector")
    return [
        _scores(loss, voting, {s: products.folders[_name(loss, s, voting)] for s in seeds})
        for loss in LOSSES
        for voting in (False, True)
    ]


def score_boxes(task: BoxTask, folder: Path) -> None:
    """Look at the test frames and write their scores and IoU by clip into `folder`."""
    frames: list[ScoredFrame] = []
    iou: dict[str, list[float]] = {}
    with pinned_threads(1):
        for weights, fold, clips in zip(task.weights, task.folds, task.tested, strict=True):
            detector = load_detector(weights).to(chosen_device())
            detector.vote(fold.params.voting_sigma_t if task.voting else None)
            tested = [frame for frame in fold.inference if frame.clip_id in set(clips)]
            for frame, faces in detect_frames(detector, tested, fold.params.batch):
                path = task.truth / f"{frame.clip_id}.csv"
                known = references(frame, read_truth(path, task.frame_step[frame.clip_id]))
                scored = ScoredFrame.of(frame, all_detections([faces]), known)
                frames.append(scored)
                if (true := scored.references.get("truth")) is not None:
                    found = box_iou(scored.boxes[:1], true[None]).sum().item()
                    iou.setdefault(frame.clip_id, []).append(found)
    params = task.folds[0].params
    metrics = score_frames(frames, params.box_loss == "kl", params.classes == "emotion")
    means = {clip_id: sum(values) / len(values) for clip_id, values in iou.items()}
    write_json(folder / FOUND, {"metrics": metrics, "iou": means})


def _job(
    setup: Setup, where: tuple[str, list[ClipRecord]], params: DetectorParams, voting: bool
) -> Job:
    protocol, records = where
    paths = detector_paths(setup, protocol, params.seed, f"boxes-{params.box_loss}")
    folds = folds_of(setup, protocol, params.seed)
    # what the cache of `detect` has is not trained again
    detect(paths, records, folds, (), params)
    tasks = make_tasks(paths.voc, records, folds, params)
    weights = tuple(paths.results / f"{fold.name}.safetensors" for fold in folds)
    steps = {record.clip_id: record.frame_step for record in records}
    tested = tuple(fold.test for fold in folds)
    task = BoxTask(weights, tuple(tasks.values()), tested, steps, paths.truth, voting)
    truth = [paths.truth / f"{clip_id}.csv" for clip_id in steps]
    facts = {"truth": {path.name: file_digest(path) for path in truth if path.is_file()}}
    return Job(_name(params.box_loss, params.seed, voting), task, facts)


def _name(loss: str, seed: int, voting: bool) -> str:
    return f"{loss}-{seed}-{'voting' if voting else 'nms'}"


def _scores(loss: str, voting: bool, folders: Mapping[int, Path]) -> BoxScores:
    found = {
        s: read_json(f / FOUND, "delete it and run `make ablations`") for s, f in folders.items()
    }
    return BoxScores(
        f"{LOSSES[loss]}, {'variance voting' if voting else 'NMS alone'}",
        (("detector.box_loss", loss), ("detector.voting", voting)),
        {seed: one["metrics"] for seed, one in found.items()},
        {seed: one["iou"] for seed, one in found.items()},
    )
