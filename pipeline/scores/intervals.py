"""95% intervals of scores and of paired differences, in closed form, from 28 clips on.

A score has Wilson's interval with an effective number of clips: that of which a plain share would
vary as much. For accuracy it is the number of clips itself. A clip that recurs, under several seeds
or folds, counts once; where some recur more often than others, these weigh more, and the effective
number falls. Where there are `SPEAKERS` speakers or more, they are the sample: the effective number
falls by the design effect, and Student's t takes the place of the normal law. So it is for a share
of some of the rows, too: those answered, or those of one emotion.

Source: Wilson (1927), JASA 22; effective size in Wilson's interval: Franco, Little, Louis and Slud
(2019), Journal of Survey Statistics and Methodology 7; unequal weights: Kish (1965), Survey
Sampling, section 11.7; variance by influence: Jaeckel (1972).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import sqrt

import numpy as np
import numpy.typing as npt

from pipeline.scores.predictions import Floats, Integers, Predictions

LEVEL = 0.95
NORMAL = 1.959963984540054
"""97.5% quantile of the normal law."""

SPEAKERS = 8
"""From this many on speakers are the sample; the spread between fewer cannot be estimated."""

PRIOR = 4.0
"""Clips that each emotion's recall is drawn towards the accuracy with, to estimate a variance.

Agresti and Coull's (1998) number: Wilson's interval is centred on two hits and two misses more.
"""


@dataclass(frozen=True, slots=True)
class Interval:
    """A value with its interval at `LEVEL`."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Score:
    """A score of confusion counts [..., K, K], rows true, columns predicted.

    Attributes:
        value: counts -> score [...], in [0, 1], the same for counts of any scale.
        gradient: counts -> derivative by each count, [..., K, K].
    """

    value: Callable[[Floats], Floats]
    gradient: Callable[[Floats], Floats]

    def __call__(self, counts: Floats) -> Floats:
        """The score."""
        return self.value(counts)


def wilson(successes: float, trials: float) -> Interval:
    """Wilson's score interval of a proportion; [0, 1] around NaN without trials.

    Source: Brown, Cai and DasGupta (2001), Statistical Science 16, Eq. (4).
    """
    if trials == 0:
        return Interval(float("nan"), 0.0, 1.0)
    value = successes / trials
    low, high = wilson_ends(value, trials)
    return Interval(value, float(low), float(high))


def wilson_ends(
    share: Floats | float, trials: Floats | float, quantile: float = NORMAL
) -> tuple[Floats, Floats]:
    """Both ends of Wilson's interval; neither share nor trials need be whole counts."""
    square = quantile**2 / trials
    middle = (share + square / 2) / (1 + square)
    half = np.sqrt(square * share * (1 - share) + square**2 / 4) / (1 + square)
    return np.clip(middle - half, 0, share), np.clip(middle + half, share, 1)


def share_interval(predictions: Predictions, rows: npt.NDArray[np.bool_]) -> Interval:
    """Of the share of right answers among some of the rows, [N]; a clip that recurs counts once."""
    hits = predictions.correct[rows]
    if not len(hits):
        return wilson(0, 0)
    clip_id, speaker = (
        np.array(names)[rows].tolist() for names in (predictions.clip_id, predictions.speaker)
    )
    first, clip = _numbered(clip_id)
    influence = _sums(clip, (hits - hits.mean()) / len(hits))
    speakers = [speaker[row] for row in first]
    return _Sampled(
        float(hits.mean()), distinct_clips(np.bincount(clip)), influence, speakers
    ).interval


def distinct_clips(times: Integers) -> float:
    """Of how many clips, each met once, a mean over rows would vary as much.

    It is the number of clips where all recur alike, and less otherwise.

    Args:
        times: how often each clip is met, [N].

    Source: Kish (1965), Survey Sampling, section 11.7: (sum n)^2 / sum n^2.
    """
    return float(times.sum() ** 2 / (times**2).sum())


def effective_clips(score: Score, counts: Floats) -> Floats:
    """Of how many clips a plain share would vary as much as this score, [...].

    The variance is taken at counts drawn towards the accuracy of all clips (`PRIOR`), so that four
    clips of an emotion that are all right are not believed to be without error.

    Args:
        score: the score.
        counts: each clip once, [..., K, K].
    """
    kinds = counts.shape[-1]
    own = np.eye(kinds, dtype=bool)
    row = counts.sum(axis=-1, keepdims=True)
    total = counts.sum(axis=(-2, -1))
    right = (np.trace(counts, axis1=-2, axis2=-1) + PRIOR / 2) / (total + PRIOR)
    right = right[..., None, None]
    known = (counts.sum(axis=-1) + counts.sum(axis=-2) > 0)[..., None, :] & ~own
    others = known / np.maximum(known.sum(axis=-1, keepdims=True), 1)
    prior = np.where(own, right, (1 - right) * others)
    smooth = row * (counts + PRIOR * prior) / (row + PRIOR)
    variance = (smooth * score.gradient(smooth) ** 2).sum(axis=(-2, -1))
    value = score(smooth)
    effective = np.asarray(total, dtype=np.float64).copy()
    return np.divide(value * (1 - value), variance, out=effective, where=variance > 0)


def score_interval(predictions: Predictions, score: Score) -> Interval:
    """Interval of a score of predictions; rows of one clip count once.

    A clip's answers under several seeds or folds are taken to be right or wrong together, so that
    the interval is rather too wide where they are not.
    """
    return _sampled(predictions, score).interval


def difference(second: Predictions, first: Predictions, score: Score) -> Interval:
    """Interval of second minus first, on the same rows: both intervals and their correlation.

    The correlation is lowered by its own standard error, so that two systems which agree on a few
    clips are not taken to be one.

    Source: Newcombe (1998), Statistics in Medicine 17, 2635, method 10; Zou and Donner (2008),
    Statistics in Medicine 27.
    """
    ours, theirs = _sampled(second, score), _sampled(first, score)
    shared = _correlation(ours.influence, theirs.influence)
    one, other = ours.interval, theirs.interval
    value = one.value - other.value
    down = _combined(one.value - one.low, other.high - other.value, shared)
    up = _combined(one.high - one.value, other.value - other.low, shared)
    return Interval(value, max(value - down, -1.0), min(value + up, 1.0))


def mean_interval(
    values: Floats, clip_id: Sequence[str], speakers: Sequence[str]
) -> tuple[float, float]:
    """Student's interval of a mean, over clips, or over speakers from `SPEAKERS` on.

    NaN for a single clip.

    Args:
        values: one per row, [N]; a clip may recur.
        clip_id: of each row, N.
        speakers: of each row, N.
    """
    mean = float(values.mean())
    _, unit = _numbered(speakers)
    if unit.max() + 1 < SPEAKERS:
        _, unit = _numbered(clip_id)
    units = unit.max() + 1
    if units < 2:
        return float("nan"), float("nan")
    sums = _sums(unit, (values - mean) / len(values))
    half = _student(units - 1) * sqrt(units / (units - 1) * float((sums**2).sum()))
    return mean - half, mean + half


class _Sampled:
    """A figure over a sample of clips, or of speakers.

    Args:
        value: the figure, in [0, 1].
        effective: of how many clips a plain share would vary as much.
        influence: of each clip on the figure, [N].
        speakers: of each clip, N.

    Attributes:
        interval: of the figure.
        influence: of each clip, or of each speaker, [U].
    """

    def __init__(
        self, value: float, effective: float, influence: Floats, speakers: Sequence[str]
    ) -> None:
        quantile = NORMAL
        _, speaker = _numbered(speakers)
        count = int(speaker.max()) + 1
        if count >= SPEAKERS:
            sums = _sums(speaker, influence)
            effective /= _design_effect(influence, sums)
            quantile = _student(count - 1)
            influence = sums
        low, high = wilson_ends(value, effective, quantile)
        self.interval = Interval(value, float(low), float(high))
        self.influence = influence


def _sampled(predictions: Predictions, score: Score) -> _Sampled:
    """A score of predictions."""
    kinds = len(predictions.emotions)
    cell = predictions.emotion * kinds + predictions.predicted
    first, clip = _numbered(predictions.clip_id)
    counts = _counts(cell, np.ones(len(cell)), kinds)
    times = np.bincount(clip)
    once = _counts(cell, 1 / times[clip], kinds)
    influence = _sums(clip, score.gradient(counts).ravel()[cell])
    effective = float(effective_clips(score, once)) * distinct_clips(times) / len(times)
    speakers = [predictions.speaker[row] for row in first]
    return _Sampled(float(score(counts)), effective, influence, speakers)


def _counts(cell: Integers, weights: Floats, kinds: int) -> Floats:
    counts: Floats = np.bincount(cell, weights=weights, minlength=kinds**2).astype(np.float64)
    return counts.reshape(kinds, kinds)


def _sums(number: Integers, values: Floats) -> Floats:
    """Sum of the values of each number, from 0 on."""
    return np.bincount(number, weights=values).astype(np.float64)


def _numbered(names: Sequence[str]) -> tuple[Integers, Integers]:
    """The row at which each name is first met, and each row's number of its name."""
    _, first, number = np.unique(np.array(names), return_index=True, return_inverse=True)
    return first, number


def _design_effect(clips: Floats, speakers: Floats) -> float:
    """By how much a variance over speakers exceeds that over clips; at least 1."""
    alone = float((clips**2).sum())
    count = len(speakers)
    together = count / (count - 1) * float((speakers**2).sum())
    return max(1.0, together / alone) if alone else 1.0


def _correlation(ours: Floats, theirs: Floats) -> float:
    """Of two influences, a positive one lowered by its standard error; 0 where one is constant."""
    scale = sqrt(float((ours**2).sum()) * float((theirs**2).sum()))
    if not scale:
        return 0.0
    found = float((ours * theirs).sum()) / scale
    return found if found < 0 else max(0.0, found - 1 / sqrt(len(ours)))


def _combined(one: float, other: float, correlation: float) -> float:
    """Half a difference's interval from the halves of both."""
    return sqrt(max(0.0, one**2 - 2 * correlation * one * other + other**2))


def _student(freedom: int) -> float:
    from scipy.special import stdtrit  # a tenth of a second, and few runs have many speakers

    return float(stdtrit(freedom, (1 + LEVEL) / 2))
