"""Intervals of scores: Wilson, and a bootstrap by clip within speaker."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import sqrt

import numpy as np

from pipeline.scores.predictions import Floats, Predictions

LEVEL = 0.95
RESAMPLES = 2000
SEED = 20200527
"""Fixed, so that the same predictions give the same interval."""

CHUNK = 250
"""Resamples drawn at a time: bounds memory at 250 x clips."""

Score = Callable[[Floats], Floats]
"""Confusion counts [..., K, K] (true x predicted) -> score [...]."""


@dataclass(frozen=True, slots=True)
class Interval:
    """A value with its interval at `LEVEL`."""

    value: float
    low: float
    high: float


def wilson(successes: int, trials: int, level: float = LEVEL) -> Interval:
    """Wilson's score interval of a proportion; [0, 1] around NaN without trials.

    Source: Wilson (1927), JASA 22; Brown, Cai and DasGupta (2001), Eq. (4).
    """
    if trials == 0:
        return Interval(float("nan"), 0.0, 1.0)
    from scipy.stats import binomtest  # takes a second to import

    found = binomtest(successes, trials).proportion_ci(level, method="wilson")
    return Interval(successes / trials, float(found.low), float(found.high))


@dataclass(frozen=True, slots=True)
class Resampled:
    """A branch's confusion counts [K, K], and those of `RESAMPLES` bootstrap samples [R, K, K]."""

    counts: Floats
    draws: Floats

    def interval(self, score: Score) -> Interval:
        """Percentile interval of a score."""
        return _percentiles(score(self.counts), score(self.draws))

    def minus(self, other: "Resampled", score: Score) -> Interval:
        """Paired percentile interval of a difference; both must come from one `resample`."""
        value = score(self.counts) - score(other.counts)
        return _percentiles(value, score(self.draws) - score(other.draws))


def resample(branches: Mapping[str, Predictions]) -> dict[str, Resampled]:
    """Draw clips with replacement within each speaker, the same draws for all branches.

    A clip that recurs in several folds is drawn with all of its rows.

    Args:
        branches: predictions of the same clips (`predictions.require_aligned`), at least one.
    """
    cells = {name: _cells(one) for name, one in branches.items()}
    first = next(iter(branches.values()))
    draws = _sums(*_by_clip(first, np.concatenate(list(cells.values()), axis=1)))
    parts = np.split(draws, len(cells), axis=1)
    return {
        name: Resampled(_square(one.sum(axis=0)), _square(part))
        for (name, one), part in zip(cells.items(), parts, strict=True)
    }


def mean_interval(values: Floats, speakers: Sequence[str]) -> tuple[float, float]:
    """Percentile interval of a mean over clips, drawn with replacement within each speaker.

    Args:
        values: one per clip, [N].
        speakers: of each clip, N.
    """
    draws = _sums(values[:, None], speakers)[:, 0] / len(values)
    interval = _percentiles(values.mean(), draws)
    return interval.low, interval.high


def _by_clip(predictions: Predictions, cells: Floats) -> tuple[Floats, list[str]]:
    """Sums of the rows' cells [N, C] per clip, [clips, C], and each clip's speaker."""
    _, first, clip = np.unique(
        np.array(predictions.clip_id), return_index=True, return_inverse=True
    )
    sums = np.zeros((len(first), cells.shape[1]))
    np.add.at(sums, clip, cells)
    return sums, [predictions.speaker[row] for row in first]


def _sums(values: Floats, speakers: Sequence[str]) -> Floats:
    """Column sums over clips drawn with replacement within each speaker, `RESAMPLES` times.

    Args:
        values: of each clip, [N, C].
        speakers: of each clip, N.

    Returns:
        [RESAMPLES, C].
    """
    generator = np.random.default_rng(SEED)
    total = np.zeros((RESAMPLES, values.shape[1]))
    names = np.array(speakers)
    for speaker in np.unique(names):
        group = np.flatnonzero(names == speaker)
        chances = np.full(len(group), 1 / len(group))
        for start in range(0, RESAMPLES, CHUNK):
            times = generator.multinomial(len(group), chances, size=CHUNK)
            total[start : start + CHUNK] += times.astype(np.float64) @ values[group]
    return total


def _cells(predictions: Predictions) -> Floats:
    """Each clip's one-hot cell of the confusion matrix, [N, K * K]."""
    kinds = len(predictions.emotions)
    cells = np.zeros((len(predictions), kinds * kinds))
    cells[np.arange(len(predictions)), predictions.emotion * kinds + predictions.predicted] = 1
    return cells


def _square(counts: Floats) -> Floats:
    kinds = round(sqrt(counts.shape[-1]))
    return counts.reshape(*counts.shape[:-1], kinds, kinds)


def _percentiles(value: Floats, draws: Floats) -> Interval:
    low, high = np.quantile(draws, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Interval(float(value), float(low), float(high))
