"""A trial: one system trained and scored under one protocol with one seed, for the tables.

Its folder holds `predictions.csv`, `history.csv` and `facts.json`, and `sum.csv` where it has both
branches. `runner` runs many.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

import torch
from safetensors.torch import load_file
from torch import nn

from models.faces.detector import Detector
from models.faces.task import DetectorCost
from models.systems.evaluate import (
    before_calibration,
    collapsed_pools,
    evaluate_fold,
    faceless_clips,
    gather,
    joint_failure,
    mean_weights,
    predict,
    sum_of_branches,
    usable_folds,
)
from models.systems.inputs import ClipSet, StoreOfFaces
from models.systems.params import Settings
from models.systems.registry import recipe
from models.training import Size, describe, measured_effort
from pipeline.clips import ClipRecord
from pipeline.files import read_json, write_json
from pipeline.report.comparison.seeds import FACTS, HISTORY, PREDICTIONS, SUM
from pipeline.scores.metrics import summarise_plainly, ties
from pipeline.scores.predictions import headline, write_predictions
from pipeline.scores.results import write_history
from pipeline.splits import Fold, all_inner_folds, inner_folds, only
from pipeline.systems import SYSTEMS


@dataclass(frozen=True, slots=True)
class Trial:
    """One system under one protocol with one seed.

    Attributes:
        system: its name.
        protocol: its name.
        seed: of split and inner folds, of the detectors and of the system's training.
        overrides: settings that differ from `params.yaml`, as (`section.key`, value).
    """

    system: str
    protocol: str
    seed: int
    overrides: tuple[tuple[str, object], ...] = ()


@dataclass(frozen=True, slots=True)
class ProtocolStore(StoreOfFaces):
    """A store whose face features are those of the folds of one protocol and seed.

    `costs` of the detectors by fold, of inner folds too; none where no trial reads faces.
    """

    costs: Mapping[str, DetectorCost]

    def product(self, name: str) -> Path:
        """Where a product of `SystemSpec.reads` lies."""
        own = {
            "face_features": self.face_features,
            "face_embeddings": self.face_embeddings,
            "detector": self.detector,
        }
        return own.get(name, self.data / name)


@dataclass(frozen=True, slots=True)
class TrialTask:
    """What a worker needs for one trial.

    Attributes:
        system: its name.
        store: its inputs.
        folds: of the protocol.
        clips: ids of those that it trains and is tested on: what is compared reads the same ones.
        settings: sections of `params.yaml`.
    """

    system: str
    store: ProtocolStore
    folds: tuple[Fold, ...]
    clips: tuple[str, ...]
    settings: Settings

    @property
    def records(self) -> list[ClipRecord]:
        """Those of `clips`."""
        clips = set(self.clips)
        return [record for record in self.store.records if record.clip_id in clips]

    def only(self, folds: Sequence[Fold]) -> list[Fold]:
        """The folds with these clips alone."""
        return only(folds, self.records)


def run_trial(task: TrialTask, folder: Path) -> None:
    """Train and score one trial; write its products into `folder`.

    Raises:
        CorpusError: no fold has clips to train on and some to test.
    """
    torch.set_num_threads(task.settings.training.threads)
    started = time.monotonic()
    inner = inner_folds(task.store.records, task.folds, task.settings.inner_folds)
    with measured_effort() as effort:
        outcomes = [
            evaluate_fold(task.system, task.store, fold, task.only(inner[fold.name]), task.settings)
            for fold in usable_folds(task.system, task.folds, task.records)
        ]
    train_s = time.monotonic() - started + effort.earlier_s
    branches = gather(outcomes, task.store)
    write_predictions(folder / PREDICTIONS, branches)
    if {"audio", "visual"} <= outcomes[0].as_trained.keys():
        write_predictions(folder / SUM, gather(sum_of_branches(outcomes), task.store))
    write_history(folder / HISTORY, [row for outcome in outcomes for row in outcome.history])
    network, folds, detectors = outcomes[-1].network, len(outcomes), _detectors(task)
    size = _with_detector(network, detectors)
    facts = {
        "trained": size.trained,
        "total": size.total,
        "steps": round((effort.steps + sum(one.steps for one in detectors)) / folds, 1),
        "train_s": round((train_s + sum(one.train_s for one in detectors)) / folds, 3),
        "infer_ms": round(_inference_ms(network, task) + _detection_ms(task), 4),
        "as_trained": summarise_plainly(gather(before_calibration(outcomes), task.store)),
        "weights": mean_weights(outcomes),
        "collapsed": collapsed_pools(outcomes),
        "ties": ties(branches[headline(branches)]),
        "faceless": faceless_clips(outcomes),
        "detector": "; ".join(filter(None, (_failure(task), joint_failure(outcomes)))) or None,
    }
    write_json(folder / FACTS, facts)


def _failure(task: TrialTask) -> str | None:
    """How the detectors failed whose face features a trial reads; None where they did not."""
    if "face_features" not in SYSTEMS[task.system].reads:
        return None
    metrics = read_json(task.store.detector / "metrics.json", "run the table again")
    said: str | None = metrics["warning"]
    return said


def _detectors(task: TrialTask) -> list[DetectorCost]:
    """Costs of the detectors whose face features a trial reads, of folds and inner folds.

    One that serves several folds is counted at each.
    """
    if "face_features" not in SYSTEMS[task.system].reads:
        return []
    inner = all_inner_folds(task.store.records, task.folds, task.settings.inner_folds)
    return [task.store.costs[fold.name] for fold in (*task.folds, *inner)]


def _with_detector(network: nn.Module, detectors: list[DetectorCost]) -> Size:
    """Parameters of a system with its detector, which a jointly trained network has inside."""
    size = describe(network)
    if not detectors or any(isinstance(part, Detector) for part in network.modules()):
        return size
    return Size(size.trained + detectors[0].parameters, size.total + detectors[0].total)


def _inference_ms(network: torch.nn.Module, task: TrialTask) -> float:
    """Milliseconds per test clip from inputs in memory to logits."""
    fold = task.only(task.folds)[-1]
    reading = recipe(task.system, task.store, fold, task.settings)
    clips = ClipSet(fold.test, task.store.labels(), reading.readers)
    started = time.monotonic()
    predict(network, clips)
    return 1000 * (time.monotonic() - started) / len(fold.test)


def _detection_ms(task: TrialTask) -> float:
    """Milliseconds per test clip from its frames to face features; 0 where none are read."""
    if "face_features" not in SYSTEMS[task.system].reads:
        return 0.0
    fold = task.only(task.folds)[-1]
    features, cost = load_file(task.store.faces / f"{fold.name}.safetensors"), task.store.costs
    frames = fmean(len(features[f"{clip_id}/frames"]) for clip_id in fold.test)
    return 1000 * cost[fold.name].infer_s / cost[fold.name].frames * frames
