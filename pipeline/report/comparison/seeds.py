"""What trials left, by seed: a table's row is taken from one `Seeds`."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import numpy as np

from pipeline.files import read_json
from pipeline.report.run import reservations
from pipeline.scores.intervals import Score
from pipeline.scores.metrics import confusion
from pipeline.scores.predictions import (
    Predictions,
    headline,
    read_predictions,
    require_aligned,
)

PREDICTIONS, HISTORY, FACTS = "predictions.csv", "history.csv", "facts.json"
"""Files of a finished trial."""

SUM = "sum.csv"
"""A further one of a trial with both branches: predictions of the sum of their log p."""


@dataclass(frozen=True, slots=True)
class Seeds:
    """A system's trials over seeds, which may test different clips.

    Attributes:
        runs: branches by seed.
        sums: by seed the answers of the sum of both branches' log p; none without both.
        trained: parameters that training changes.
        total: all parameters of the network and its detector.
        steps: mean steps of the optimiser for one fold and its inner folds.
        train_s: mean seconds to train and calibrate for one fold.
        infer_ms: mean milliseconds per clip from inputs in memory to logits, detection included.
        network: accuracy of the headline branch's network alone, mean over seeds.
        weights: of the experts in the answer, mean over seeds: 1 / T of the network alone, or those
            of a pool; empty without calibration.
        warnings: why answers of a seed are not all that they seem, each with its seeds.
    """

    runs: Mapping[int, Mapping[str, Predictions]]
    sums: Mapping[int, Predictions]
    trained: int
    total: int
    steps: float
    train_s: float
    infer_ms: float
    network: float
    weights: Mapping[str, float]
    warnings: tuple[str, ...] = ()

    @property
    def headline(self) -> str:
        """Branch of the headline figures."""
        return headline(self.first)

    @property
    def first(self) -> Mapping[str, Predictions]:
        """Branches of the first seed."""
        return next(iter(self.runs.values()))

    @property
    def branches(self) -> dict[str, Predictions]:
        """All seeds' predictions by branch, folds named `<fold>#<seed>`."""
        return {
            branch: over_seeds({seed: branches[branch] for seed, branches in self.runs.items()})
            for branch in self.first
        }

    @property
    def main(self) -> Predictions:
        """All seeds' predictions of the headline branch."""
        return self.branches[self.headline]

    def each(self, score: Score, branch: str = "") -> list[float]:
        """A score of each seed; of the headline branch where none is named."""
        name = branch or self.headline
        return [float(score(confusion(one[name]))) for one in self.runs.values()]

    def mean(self, score: Callable[[Predictions], float]) -> float:
        """A score of the headline branch's predictions, mean over seeds."""
        return fmean(score(one[self.headline]) for one in self.runs.values())


def read_seeds(folders: Mapping[int, Path]) -> Seeds:
    """Read the finished trials of one system, by seed.

    Raises:
        CorpusError: a table is damaged, or a sum is not of the clips of its branches.
    """
    runs = {seed: read_predictions(folder / PREDICTIONS) for seed, folder in folders.items()}
    sums = {
        seed: read_predictions(folder / SUM)["av"]
        for seed, folder in folders.items()
        if (folder / SUM).is_file()
    }
    for seed, one in sums.items():
        require_aligned({**runs[seed], "sum": one}, str(folders[seed]))
    main = headline(next(iter(runs.values())))
    facts = [
        read_json(f / FACTS, "delete results/tables and run `make tables`")
        for f in folders.values()
    ]
    experts = dict.fromkeys(expert for fact in facts for expert in fact["weights"])
    return Seeds(
        runs,
        sums,
        facts[0]["trained"],
        facts[0]["total"],
        fmean(fact["steps"] for fact in facts),
        fmean(fact["train_s"] for fact in facts),
        fmean(fact["infer_ms"] for fact in facts),
        fmean(fact["as_trained"][main]["accuracy"] for fact in facts),
        {expert: fmean(fact["weights"].get(expert, 0.0) for fact in facts) for expert in experts},
        _warnings(runs, dict(zip(folders, facts, strict=True))),
    )


def _warnings(
    runs: Mapping[int, Mapping[str, Predictions]], facts: Mapping[int, Mapping[str, Any]]
) -> tuple[str, ...]:
    """Each warning once, behind the seeds that it is of."""
    seeds: dict[str, list[str]] = {}
    for seed, fact in facts.items():
        branches = runs[seed]
        clips, hears = len(branches[headline(branches)]), "audio" in branches
        said = reservations(clips, fact["collapsed"], fact["ties"], fact["faceless"], hears)
        for warning in (*said, *filter(None, [fact["detector"]])):
            seeds.setdefault(warning, []).append(str(seed))
    return tuple(f"seed {', '.join(own)}: {warning}" for warning, own in seeds.items())


def over_seeds(runs: Mapping[int, Predictions]) -> Predictions:
    """One table of all seeds' predictions.

    A clip recurs with each seed that tests it; an interval counts it once.
    """
    parts = [
        replace(one, fold=tuple(f"{fold}#{seed}" for fold in one.fold))
        for seed, one in runs.items()
    ]
    columns: dict[str, Any] = {
        name: tuple(value for part in parts for value in getattr(part, name))
        for name in ("fold", "clip_id", "speaker", "sentence")
    }
    arrays: dict[str, Any] = {
        name: np.concatenate([getattr(part, name) for part in parts])
        for name in ("emotion", "predicted", "confidence", "probabilities")
    }
    return replace(parts[0], **columns, **arrays)


def spread(values: Sequence[float]) -> float | None:
    """Standard deviation of a sample; None of a single value."""
    return stdev(values) if len(values) > 1 else None
