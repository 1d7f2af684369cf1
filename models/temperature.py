"""Temperature scaling: confidence that means what it says, fitted on training clips only.

Source: Guo et al., "On Calibration of Modern Neural Networks", ICML 2017.
"""

import random
from collections.abc import Iterator, Sequence

import torch
from pydantic import Field
from scipy.optimize import minimize_scalar
from torch import Tensor
from torch.nn import functional as F

from pipeline.clips import ClipRecord
from pipeline.params import Section
from pipeline.splits import Fold

LIMITS = (0.05, 20.0)
"""Range of a temperature."""


class CalibrateParams(Section):
    """Section `calibrate` of `params.yaml`."""

    folds: int = Field(ge=0)
    seed: int = Field(ge=0)


def fit_temperature(scores: Tensor, labels: Tensor) -> float:
    """The T that minimises the negative log-likelihood of softmax(scores / T).

    Args:
        scores: log scores [N, K] of clips that the network was not trained on.
        labels: emotion indices [N].
    """

    def nll(log_t: float) -> float:
        return float(F.cross_entropy(scores / torch.tensor(log_t).exp(), labels))

    low, high = (float(torch.tensor(limit).log()) for limit in LIMITS)
    found = minimize_scalar(nll, bounds=(low, high), method="bounded")
    return float(torch.tensor(found.x).exp())


def inner_folds(
    records: Sequence[ClipRecord], fold: Fold, params: CalibrateParams
) -> Iterator[tuple[list[str], list[str]]]:
    """Parts of a fold's training clips: (train on these, calibrate on those).

    The parts mirror the protocol: where the fold's test speakers do not train, whole speakers are
    held out; otherwise clips are dealt evenly by emotion. Yields nothing where `calibrate.folds` is
    0 or there is only one speaker to hold out.
    """
    by_id = {record.clip_id: record for record in records}
    train = [by_id[i] for i in fold.train]
    unseen = {by_id[i].speaker for i in fold.test}.isdisjoint({r.speaker for r in train})
    parts = _by_speaker(train) if unseen else _by_emotion(train, params)
    if params.folds == 0 or len(parts) < 2:
        return
    for held in parts[: params.folds]:
        yield sorted(set(fold.train) - set(held)), sorted(held)


def _by_speaker(train: Sequence[ClipRecord]) -> list[list[str]]:
    speakers = sorted({record.speaker for record in train})
    return [[r.clip_id for r in train if r.speaker == speaker] for speaker in speakers]


def _by_emotion(train: Sequence[ClipRecord], params: CalibrateParams) -> list[list[str]]:
    generator = random.Random(params.seed)
    parts: list[list[str]] = [[] for _ in range(max(params.folds, 1))]
    ordered = sorted(train, key=lambda r: (r.emotion, generator.random()))
    for number, record in enumerate(ordered):
        parts[number % len(parts)].append(record.clip_id)
    return parts
