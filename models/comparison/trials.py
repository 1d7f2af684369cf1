"""A trial: one system trained and scored under one protocol with one seed, for the tables.

Its folder holds `predictions.csv`, `history.csv` and `facts.json`. `runner` runs
many.
"""

import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple, cast

import torch
from torch import nn

from models.systems.baselines.stand_ins import stand_ins
from models.systems.evaluate import (
    before_calibration,
    evaluate_fold,
    gather,
    mean_weights,
    predict,
)
from models.systems.inputs import ClipSet, Store
from models.systems.makers import recipe
from models.systems.params import Settings
from pipeline.files import write_json
from pipeline.params import PARAMS_FILE, Section, validate
from pipeline.report.comparison.seeds import FACTS, HISTORY, PREDICTIONS
from pipeline.scores.metrics import summarise_plainly
from pipeline.scores.predictions import write_predictions
from pipeline.scores.results import write_history
from pipeline.splits import Fold, inner_folds


class Size(NamedTuple):
    """Numbers of parameters: those that training changes, and all."""

    trained: int
    total: int


def describe(network: nn.Module) -> Size:
    """Count the parameters of a system's network.

    Features that an earlier stage cached (audio embeddings, face features) come from networks that
    are not part of it.
    """
    counts = [(p.numel(), p.requires_grad) for p in network.parameters()]
    return Size(sum(n for n, trains in counts if trains), sum(n for n, _ in counts))


@dataclass(frozen=True, slots=True)
class Trial:
    """One system under one protocol with one seed.

    `overrides` are settings that differ from `params.yaml`, as (`section.key`, value).
    """

    system: str
    protocol: str
    seed: int
    overrides: tuple[tuple[str, object], ...] = ()


@dataclass(frozen=True, slots=True)
class ProtocolStore(Store):
    """A store whose face features are those of one protocol's folds."""

    face_features: Path

    @property
    def faces(self) -> Path:
        """Face features by fold."""
        return self.face_features

    def product(self, name: str) -> Path:
        """Where a product of `SystemSpec.reads` lies."""
        own = {"face_features": self.face_features, "detector": self.detector}
        return own.get(name, self.data / name)


@dataclass(frozen=True, slots=True)
class TrialTask:
    """What a worker needs for one trial."""

    system: str
    store: ProtocolStore
    folds: tuple[Fold, ...]
    settings: Settings


def resolve(settings: Settings, trial: Trial) -> Settings:
    """The settings of a trial: those of `params.yaml`, its overrides, its seed.

    Raises:
        ParamsError: an unknown key, or a value out of range.
    """
    for key, value in (*trial.overrides, ("training.seed", trial.seed)):
        name, _, field = key.partition(".")
        before = cast(Section, getattr(settings, name))
        section = validate(name, {**before.model_dump(), field: value}, type(before), PARAMS_FILE)
        settings = replace(settings, **cast(Any, {name: section}))
    return settings


def run_trial(task: TrialTask, folder: Path) -> None:
    """Train and score one trial in one thread; write its products into `folder`."""
    torch.set_num_threads(task.settings.training.threads)
    started = time.monotonic()
    inner = inner_folds(task.store.records, task.folds, task.settings.inner_folds)
    outcomes = [
        evaluate_fold(task.system, task.store, fold, inner[fold.name], task.settings)
        for fold in task.folds
    ]
    train_s = time.monotonic() - started
    write_predictions(folder / PREDICTIONS, gather(outcomes, task.store))
    write_history(folder / HISTORY, [row for outcome in outcomes for row in outcome.history])
    size = describe(outcomes[-1].network)
    facts = {
        "trained": size.trained,
        "total": size.total,
        "train_s": round(train_s / len(task.folds), 3),
        "infer_ms": round(_inference_ms(outcomes[-1].network, task), 4),
        "as_trained": summarise_plainly(gather(before_calibration(outcomes), task.store)),
        "weights": mean_weights(outcomes),
        "stand_ins": stand_ins(task.system, task.settings.baselines),
    }
    write_json(folder / FACTS, facts)


def _inference_ms(network: torch.nn.Module, task: TrialTask) -> float:
    """Milliseconds per test clip from inputs in memory to logits."""
    fold = task.folds[-1]
    reading = recipe(task.system, task.store, fold, task.settings)
    clips = ClipSet(fold.test, task.store.labels(), reading.readers)
    started = time.monotonic()
    predict(network, clips)
    return 1000 * (time.monotonic() - started) / len(fold.test)
