"""Intervals and tests: Wilson, a bootstrap by clip within speaker, McNemar. NumPy only."""

from collections.abc import Callable
from dataclasses import dataclass
from math import comb, sqrt
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

from pipeline.predictions import Floats, Integers, Predictions

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


def bootstrap(predictions: Predictions, score: Score) -> Interval:
    """Percentile interval of a score of the confusion counts, clips resampled within speakers.

    A clip that recurs in several folds is drawn with all of its rows.

    Args:
        predictions: N clips over K emotions.
        score: vectorised over resamples.
    """
    cells = _cells(predictions)  # [N, K * K]
    by_clip = _sum_by_clip(predictions, cells)  # [clips, K * K]
    draws = _bootstrap(predictions, by_clip, score)
    return _interval(score(_square(cells.sum(axis=0))), draws)


def bootstrap_difference(ours: Predictions, other: Predictions, score: Score) -> Interval:
    """Paired interval of score(ours) - score(other) over the same clips.

    Both must hold the same keys in the same order (`predictions.require_aligned`).
    """
    cells = np.concatenate([_cells(ours), _cells(other)], axis=1)
    middle = cells.shape[1] // 2

    def difference(counts: Floats) -> Floats:
        return score(_square(counts[..., :middle])) - score(_square(counts[..., middle:]))

    by_clip = _sum_by_clip(ours, cells)
    draws = np.concatenate([difference(c) for c in _resampled_counts(ours, by_clip)])
    return _interval(difference(cells.sum(axis=0)), draws)


def mcnemar(ours: Predictions, other: Predictions) -> float:
    """Exact two-sided McNemar test: p of the discordant clips under a fair coin.

    Source: McNemar (1947), Psychometrika 12; the exact binomial form.
    """
    wins = int((ours.correct & ~other.correct).sum())
    losses = int((~ours.correct & other.correct).sum())
    discordant = wins + losses
    tail = sum(comb(discordant, k) for k in range(min(wins, losses) + 1))
    return min(1.0, 2 * tail / 2**discordant)


def _bootstrap(predictions: Predictions, by_clip: Floats, score: Score) -> Floats:
    chunks = _resampled_counts(predictions, by_clip)
    return np.concatenate([score(_square(counts)) for counts in chunks])


def _resampled_counts(predictions: Predictions, by_clip: Floats) -> list[Floats]:
    """`RESAMPLES` sums over resampled clips, as chunks [CHUNK, columns]."""
    speakers = _speaker_of_clip(predictions)
    groups = [np.flatnonzero(speakers == speaker) for speaker in np.unique(speakers)]
    generator = np.random.default_rng(SEED)
    chunks = []
    for _ in range(RESAMPLES // CHUNK):
        total = np.zeros((CHUNK, by_clip.shape[1]))
        for group in groups:
            size = len(group)
            times = generator.multinomial(size, np.full(size, 1 / size), size=CHUNK)
            total += times @ by_clip[group]
        chunks.append(total)
    return chunks


def _cells(predictions: Predictions) -> Floats:
    """Each clip's one-hot cell of the confusion matrix, [N, K * K]."""
    kinds = len(predictions.emotions)
    cells = np.zeros((len(predictions), kinds * kinds))
    cells[np.arange(len(predictions)), predictions.emotion * kinds + predictions.predicted] = 1
    return cells


def _clip_index(predictions: Predictions) -> Integers:
    _, index = np.unique(np.array(predictions.clip_id), return_inverse=True)
    return index


def _sum_by_clip(predictions: Predictions, cells: Floats) -> Floats:
    index = _clip_index(predictions)
    by_clip = np.zeros((index.max() + 1, cells.shape[1]))
    np.add.at(by_clip, index, cells)
    return by_clip


def _speaker_of_clip(predictions: Predictions) -> npt.NDArray[np.str_]:
    _, first = np.unique(np.array(predictions.clip_id), return_index=True)
    return np.array(predictions.speaker)[first]


def _square(counts: Floats) -> Floats:
    kinds = round(sqrt(counts.shape[-1]))
    return counts.reshape(*counts.shape[:-1], kinds, kinds)


def _interval(value: Floats, draws: Floats) -> Interval:
    low, high = np.quantile(draws, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Interval(float(value), float(low), float(high))
