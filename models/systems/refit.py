"""A system trained once more, on every clip of a run: the network for recordings of one's own.

Nothing is left that it could be tested on, so its scores are those of the run's folds. Nor is
anything left to calibrate it on: it takes the mean of the weights that the folds found on their
inner folds, see `models.fusion.pool`.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from models.checkpoint import load_safetensors
from models.expressions.embed import embed_all
from models.expressions.params import FacesParams
from models.faces.detector_file import detector_params
from models.faces.folds import DetectPaths, detect
from models.systems.evaluate import Outcome, save_networks, train
from models.systems.inputs import ClipSet, Store, StoreOfFaces
from models.systems.params import Settings
from models.systems.registry import recipe
from models.threads import pinned_threads
from models.training import History
from pipeline.clips import ClipRecord, read_clips
from pipeline.report.run import Run, saved_networks
from pipeline.scores.predictions import Predictions
from pipeline.splits import Fold
from pipeline.systems import SYSTEMS

EVERY_CLIP = "all"
"""Name of the fold that trains on all clips."""


def refit(run: Run, tested: Predictions, data: Path, results: Path, out: Path) -> str:
    """Train the system of a run on its training and test clips together, as each fold did.

    Args:
        run: a finished one.
        tested: its predictions; their clips are those that the folds tested.
        data: products of the stages before.
        results: those of the run.
        out: folder to write into, laid out as `results`.

    Returns:
        The name of the fold, as for `saved_networks`.

    Raises:
        CorpusError: clips or their products are missing.
        TrainingError: the detector's loss is not finite.
        WeightsError: networks are missing, damaged, or were saved by an older version.
    """
    facts = [
        load_safetensors(saved_networks(run, results, fold.name)[0])[1]
        for fold in run.protocol.folds
    ]
    settings = Settings.load(json.loads(facts[0]["settings"]))
    used = {clip for one in facts for clip in json.loads(one["training_clips"])}
    used.update(tested.clip_id)
    records = tuple(read_clips(data / "clips.csv"))  # all, whose emotions are those of the run
    fold = Fold(EVERY_CLIP, tuple(sorted({r.clip_id for r in records} & used)), ())
    store = _with_faces(run, records, fold, settings.faces, data, results, out)
    built = recipe(run.system, store, fold, settings)
    clips = ClipSet(fold.train, store.labels(), built.readers)
    with pinned_threads(settings.training.threads):
        network = train(clips, built, settings, History(), fold.name)
    unanswered = np.empty((0, len(store.emotions)))
    answers = {branch: unanswered for branch in json.loads(facts[0]["branches"])}
    pools = mean_pools([json.loads(one["pools"]) for one in facts])
    outcome = Outcome(fold, network, built.widths, pools, False, (), answers, answers, [])
    save_networks(out / "fusion", run.system, store, [outcome], settings)
    return fold.name


def mean_pools(pools: Sequence[Mapping[str, Mapping[str, float]]]) -> dict[str, dict[str, float]]:
    """By branch the mean weight of each expert; an expert that a fold lacks has none there."""
    calibrated = [one for one in pools if one]
    branches = dict.fromkeys(branch for one in calibrated for branch in one)
    return {branch: _mean([one[branch] for one in calibrated]) for branch in branches}


def _mean(weights: Sequence[Mapping[str, float]]) -> dict[str, float]:
    experts = dict.fromkeys(expert for one in weights for expert in one)
    return {e: sum(one.get(e, 0.0) for one in weights) / len(weights) for e in experts}


def _with_faces(
    run: Run,
    records: tuple[ClipRecord, ...],
    fold: Fold,
    faces: FacesParams,
    data: Path,
    results: Path,
    out: Path,
) -> Store:
    """The run's products, but with faces of a detector that learned from all clips."""
    store, system = Store(records, data, results / "detector"), SYSTEMS[run.system]
    if not system.reads_faces:
        return store
    params = detector_params(store.detector / f"{run.protocol.folds[0].name}.safetensors")
    paths = DetectPaths(store.voc, data / "truth", out / "detector", out / "face_features")
    detect(paths, records, [fold], (), params)
    found = StoreOfFaces(records, data, paths.results, paths.face_features)
    if "face_embeddings" in system.reads:
        embed_all(found.faces, found.voc, found.face_embeddings, faces)
    return found
