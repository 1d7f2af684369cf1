"""Whether a confidence is right: ECE, NLL, Brier, reliability, risk and coverage."""

from dataclasses import dataclass

import numpy as np

from pipeline.scores.intervals import Interval, share_interval
from pipeline.scores.predictions import Floats, Predictions

BINS = 10
"""Equal-width bins of confidence, (0, 0.1] to (0.9, 1]; 0 falls into the first."""

SMALLEST = 1e-6
"""Probabilities are clipped here before a logarithm: the CSV holds five decimals."""


@dataclass(frozen=True, slots=True)
class ReliabilityBin:
    """Clips whose confidence lies in (low, high]; the two means are NaN where there are none."""

    low: float
    high: float
    clips: int
    confidence: float
    accuracy: float


@dataclass(frozen=True, slots=True)
class RiskCoverage:
    """Error rate among the most confident share of the clips.

    `coverage` rises from 1/N to 1, `risk` in [0, 1], both [N].
    """

    coverage: Floats
    risk: Floats

    @property
    def area(self) -> float:
        """AURC: the mean risk over all coverages; 0 is perfect."""
        return float(self.risk.mean())


@dataclass(frozen=True, slots=True)
class Abstention:
    """What is left when clips below a confidence are not answered."""

    below: float
    answered: int
    clips: int
    accuracy: Interval

    @property
    def coverage(self) -> float:
        """Share of clips answered."""
        return self.answered / self.clips


def reliability(predictions: Predictions, bins: int = BINS) -> list[ReliabilityBin]:
    """Mean confidence and accuracy per bin of confidence.

    Source: Guo et al. (2017), arXiv 1706.04599, section 2.
    """
    confidence, correct = predictions.confidence, predictions.correct
    index = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
    table = []
    for position in range(bins):
        inside = index == position
        clips = int(inside.sum())
        means = (confidence[inside].mean(), correct[inside].mean()) if clips else (np.nan, np.nan)
        low, high = position / bins, (position + 1) / bins
        table.append(ReliabilityBin(low, high, clips, float(means[0]), float(means[1])))
    return table


def ece(predictions: Predictions, bins: int = BINS) -> float:
    """Expected calibration error: the bins' |accuracy - confidence|, weighted by clips.

    Ours, since the reliability diagram needs the bins, and torchmetrics needs torch; the tests
    hold it against torchmetrics.

    Source: Guo et al. (2017), Eq. (3).
    """
    filled = [row for row in reliability(predictions, bins) if row.clips]
    gaps = sum(row.clips * abs(row.accuracy - row.confidence) for row in filled)
    return float(gaps / len(predictions))


def nll(predictions: Predictions) -> float:
    """Mean -log p of the true emotion, in nats; log K for a uniform guess."""
    true = predictions.probabilities[np.arange(len(predictions)), predictions.emotion]
    return float(-np.log(np.clip(true, SMALLEST, 1)).mean())


def brier(predictions: Predictions) -> float:
    """Mean squared distance between probabilities and the one-hot truth, in [0, 2].

    Source: Brier (1950), the original form over all K emotions.
    """
    truth = np.eye(len(predictions.emotions))[predictions.emotion]  # [N, K]
    return float(((predictions.probabilities - truth) ** 2).sum(axis=1).mean())


def risk_coverage(predictions: Predictions) -> RiskCoverage:
    """Answer the most confident clips first; equally confident ones share their mean error.

    Source: Geifman and El-Yaniv (2017), arXiv 1705.08500.
    """
    order = np.argsort(-predictions.confidence, kind="stable")
    wrong = (~predictions.correct[order]).astype(np.float64)
    _, group, sizes = np.unique(
        -predictions.confidence[order], return_inverse=True, return_counts=True
    )
    wrong = (np.bincount(group, weights=wrong) / sizes)[group]
    answered = np.arange(1, len(predictions) + 1)
    return RiskCoverage(answered / len(predictions), np.cumsum(wrong) / answered)


def abstention(predictions: Predictions, below: float) -> Abstention:
    """Accuracy of the clips answered when confidences under `below` (in [0, 1]) are not."""
    answered = predictions.confidence >= below
    accuracy = share_interval(predictions, answered)
    return Abstention(below, int(answered.sum()), len(predictions), accuracy)
