"""How good the predictions are: what `results/run.json` holds. Light: NumPy only.

WA (weighted accuracy) is the share of clips that are right, UA (unweighted) the mean recall.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from pipeline.files import rounded
from pipeline.scores.calibration import abstention, brier, ece, nll, risk_coverage
from pipeline.scores.comparisons import mcnemar
from pipeline.scores.intervals import (
    Interval,
    Score,
    difference,
    score_interval,
    share_interval,
    wilson,
)
from pipeline.scores.predictions import Floats, Predictions, headline, require_aligned
from pipeline.systems import PAPER_TEST_CLIPS

DECIMALS = 4


@dataclass(frozen=True, slots=True)
class EmotionScores:
    """One emotion against the others; `clips` is how often it is true.

    NaN where a ratio has no clips to be taken over.
    """

    emotion: str
    clips: int
    recall: Interval
    precision: float
    f1: float


def confusion(predictions: Predictions) -> Floats:
    """Counts [K, K], rows true, columns predicted."""
    kinds = len(predictions.emotions)
    flat = np.bincount(predictions.emotion * kinds + predictions.predicted, minlength=kinds**2)
    return flat.reshape(kinds, kinds).astype(np.float64)


def _accuracy(counts: Floats) -> Floats:
    return np.trace(counts, axis1=-2, axis2=-1) / counts.sum(axis=(-2, -1))


def _accuracy_gradient(counts: Floats) -> Floats:
    return (_own(counts) - _cells(_accuracy(counts))) / _cells(counts.sum(axis=(-2, -1)))


def _uar(counts: Floats) -> Floats:
    support = counts.sum(axis=-1)  # [..., K]
    return _mean_where(_ratio(_hits(counts), support), support > 0)


def _uar_gradient(counts: Floats) -> Floats:
    support = counts.sum(axis=-1)  # [..., K]
    recall = _ratio(_hits(counts), support)
    share = _ratio(np.ones_like(support), support * (support > 0).sum(axis=-1, keepdims=True))
    return (_own(counts) - recall[..., None]) * share[..., None]


def _macro_f1(counts: Floats) -> Floats:
    either = counts.sum(axis=-1) + counts.sum(axis=-2)  # [..., K]
    return _mean_where(_ratio(2 * _hits(counts), either), either > 0)


def _macro_f1_gradient(counts: Floats) -> Floats:
    either = counts.sum(axis=-1) + counts.sum(axis=-2)  # [..., K]
    share = _ratio(np.ones_like(either), either)
    loss = _ratio(2 * _hits(counts), either) * share
    gradient = 2 * _own(counts) * share[..., None] - loss[..., None] - loss[..., None, :]
    return gradient / _cells((either > 0).sum(axis=-1))


accuracy = Score(_accuracy, _accuracy_gradient)
"""WA."""

uar = Score(_uar, _uar_gradient)
"""UA: mean recall over the emotions that occur."""

macro_f1 = Score(_macro_f1, _macro_f1_gradient)
"""Mean F1 over the emotions that are true or predicted."""

SCORES = {"accuracy": accuracy, "uar": uar, "macro_f1": macro_f1}


def per_emotion(predictions: Predictions) -> list[EmotionScores]:
    """Recall with its interval, precision and F1 of each emotion, in canonical order."""
    counts = confusion(predictions)
    true, predicted, hits = counts.sum(axis=1), counts.sum(axis=0), np.diag(counts)
    return [
        EmotionScores(
            emotion,
            int(true[k]),
            share_interval(predictions, predictions.emotion == k),
            float(hits[k] / predicted[k]) if predicted[k] else float("nan"),
            float(2 * hits[k] / (true[k] + predicted[k]))
            if true[k] + predicted[k]
            else float("nan"),
        )
        for k, emotion in enumerate(predictions.emotions)
    ]


def per_speaker(predictions: Predictions) -> dict[str, tuple[int, Interval]]:
    """Clips and accuracy with Wilson's interval of each speaker, sorted by name."""
    speakers = np.array(predictions.speaker)
    table = {}
    for speaker in sorted(set(predictions.speaker)):
        mask = speakers == speaker
        table[speaker] = (int(mask.sum()), share_interval(predictions, mask))
    return table


def published(paper: float) -> Interval:
    """An accuracy of the paper (`SystemSpec.paper`) with Wilson's interval of its test clips."""
    return wilson(paper * PAPER_TEST_CLIPS, PAPER_TEST_CLIPS)


def chance(predictions: Predictions) -> float:
    """Expected accuracy and UA of a uniform guess: 1 / K."""
    return 1 / len(predictions.emotions)


def majority(predictions: Predictions) -> float:
    """Accuracy of always naming the commonest emotion of the test clips."""
    return float(np.bincount(predictions.emotion).max() / len(predictions))


def ties(predictions: Predictions) -> int:
    """Clips with more than one likeliest emotion: naming the first of them is arbitrary."""
    likeliest = predictions.probabilities == predictions.probabilities.max(axis=1, keepdims=True)
    return int((likeliest.sum(axis=1) > 1).sum())


def summarise(branches: Mapping[str, Predictions], abstain_below: float) -> dict[str, object]:
    """What goes into `scores` of `results/run.json`: nested numbers, rounded.

    The headline branch (av, else the only one) stands at the top; `branches` repeats the scores of
    each; `versus_<branch>` compares the headline with another branch on the same clips;
    `abstention` is what is left of the headline where confidences under `predict.abstain_below`
    are not answered. All other scores count every clip.

    Args:
        branches: predictions of the same clips.
        abstain_below: in [0, 1].

    Raises:
        CorpusError: branches do not cover the same clips.
    """
    require_aligned(branches, "predictions")
    name = headline(branches)
    main = branches[name]
    scores = {branch: _scores(one) for branch, one in branches.items()}
    answered = abstention(main, abstain_below)
    summary: dict[str, object] = {
        "clips": len(main),
        **scores[name],
        "chance": chance(main),
        "majority": majority(main),
        "ties": ties(main),
        "speakers": {speaker: score.value for speaker, (_, score) in per_speaker(main).items()},
        "emotions": {
            row.emotion: {"recall": row.recall.value, "precision": row.precision, "f1": row.f1}
            for row in per_emotion(main)
        },
        "branches": scores,
        "abstention": {
            "below": abstain_below,
            "coverage": answered.coverage,
            "accuracy": answered.accuracy.value,
            "accuracy_95": {"low": answered.accuracy.low, "high": answered.accuracy.high},
        },
    }
    for branch, other in branches.items():
        if branch != name:
            gain = difference(main, other, accuracy)
            summary[f"versus_{branch}"] = {
                "accuracy_gain": gain.value,
                "accuracy_gain_95": {"low": gain.low, "high": gain.high},
                "mcnemar_p": mcnemar(main, other),
            }
    return rounded(summary, DECIMALS)


def summarise_plainly(branches: Mapping[str, Predictions]) -> dict[str, object]:
    """Accuracy, ECE and NLL of each branch, without intervals."""
    scores = {
        branch: {"accuracy": float(one.correct.mean()), "ece": ece(one), "nll": nll(one)}
        for branch, one in branches.items()
    }
    return rounded(scores, DECIMALS)


def _scores(predictions: Predictions) -> dict[str, object]:
    scores: dict[str, object] = {}
    for name, score in SCORES.items():
        interval = score_interval(predictions, score)
        scores[name] = interval.value
        scores[f"{name}_95"] = {"low": interval.low, "high": interval.high}
    scores |= {"ece": ece(predictions), "nll": nll(predictions), "brier": brier(predictions)}
    scores["aurc"] = risk_coverage(predictions).area
    return scores


def _own(counts: Floats) -> Floats:
    """1 on the diagonal, [K, K]."""
    return np.eye(counts.shape[-1])


def _cells(values: Floats) -> Floats:
    """[...] -> [..., 1, 1]."""
    return np.asarray(values)[..., None, None]


def _hits(counts: Floats) -> Floats:
    return np.diagonal(counts, axis1=-2, axis2=-1)


def _ratio(top: Floats, bottom: Floats) -> Floats:
    return np.divide(top, bottom, out=np.zeros_like(top), where=bottom > 0)


def _mean_where(values: Floats, mask: np.ndarray) -> Floats:
    return (values * mask).sum(axis=-1) / mask.sum(axis=-1)
