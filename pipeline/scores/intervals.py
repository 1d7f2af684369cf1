"""Intervals of scores: Wilson, and a bootstrap by clip within speaker. NumPy only."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import sqrt
from statistics import NormalDist

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


def wilson(successes: float, trials: int, level: float = LEVEL) -> Interval:
    """Wilson's score interval of a proportion; [0, 1] around NaN without trials.

    Source: Wilson (1927), JASA 22; Brown, Cai and DasGupta (2001), Eq. (4).
    """
    if trials == 0:
        return Interval(float("nan"), 0.0, 1.0)
    z = NormalDist().inv_cdf((1 + level) / 2)
    share = successes / trials
    centre = (share + z**2 / (2 * trials)) / (1 + z**2 / trials)
    half = z / (1 + z**2 / trials) * sqrt(share * (1 - share) / trials + (z / (2 * trials)) ** 2)
    return Interval(share, max(0.0, centre - half), min(1.0, centre + half))


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
    draws = _draw(first, np.concatenate(list(cells.values()), axis=1))
    parts = np.split(draws, len(cells), axis=1)
    return {
        name: Resampled(_square(one.sum(axis=0)), _square(part))
        for (name, one), part in zip(cells.items(), parts, strict=True)
    }


def _draw(predictions: Predictions, cells: Floats) -> Floats:
    """Sums of the cells [N, C] over resampled clips, [RESAMPLES, C]."""
    _, first, clip = np.unique(
        np.array(predictions.clip_id), return_index=True, return_inverse=True
    )
    by_clip = np.zeros((len(first), cells.shape[1]))
    np.add.at(by_clip, clip, cells)
    speakers = np.array(predictions.speaker)[first]
    generator = np.random.default_rng(SEED)
    total = np.zeros((RESAMPLES, cells.shape[1]))
    for speaker in np.unique(speakers):
        group = np.flatnonzero(speakers == speaker)
        chances = np.full(len(group), 1 / len(group))
        for start in range(0, RESAMPLES, CHUNK):
            times = generator.multinomial(len(group), chances, size=CHUNK)
            total[start : start + CHUNK] += times.astype(np.float64) @ by_clip[group]
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


def mean_interval(values: Floats, speakers: Sequence[str]) -> tuple[float, float]:
    """95% interval of a mean over clips, drawn with replacement within each speaker.

    Args:
        values: one a clip, [N].
        speakers: of each clip, N.
    """
    generator = np.random.default_rng(0)
    names, group = np.unique(np.array(speakers), return_inverse=True)
    total = np.zeros(2000)
    for number in range(len(names)):
        own = values[group == number]
        total += own[generator.integers(len(own), size=(2000, len(own)))].sum(axis=1)
    low, high = np.quantile(total / len(values), [0.025, 0.975])
    return float(low), float(high)
