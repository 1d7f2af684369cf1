"""Two runs side by side on the test clips that they share: is the second better than the first?"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from pipeline.errors import CorpusError
from pipeline.scores.comparisons import mcnemar
from pipeline.scores.intervals import Interval, difference, score_interval
from pipeline.scores.metrics import SCORES
from pipeline.scores.predictions import Predictions

Key = tuple[str, str]
"""Fold and clip id, what runs are joined by."""


class Paired(NamedTuple):
    """A score of both runs on the same clips, and second minus first with its paired interval."""

    first: Interval
    second: Interval
    difference: Interval


class Group(NamedTuple):
    """Clips of one emotion or speaker, and how many of them each run has right."""

    clips: int
    first: int
    second: int


@dataclass(frozen=True, slots=True)
class PairedRuns:
    """What two runs say of the clips that both tested.

    Attributes:
        clips: test clips in common, counted per fold.
        only_first: tested by the first run alone.
        only_second: tested by the second run alone.
        scores: accuracy, uar and macro_f1.
        first_alone: clips that the first run alone has right.
        second_alone: clips that the second run alone has right.
        mcnemar_p: exact two-sided p of these two counts.
        emotions: accuracy by emotion, in the order of the first run.
        speakers: accuracy by speaker, by name.
    """

    clips: int
    only_first: tuple[Key, ...]
    only_second: tuple[Key, ...]
    scores: Mapping[str, Paired]
    first_alone: int
    second_alone: int
    mcnemar_p: float
    emotions: Mapping[str, Group]
    speakers: Mapping[str, Group]

    @property
    def same_clips(self) -> bool:
        """Whether the test sets are equal."""
        return not self.only_first and not self.only_second


def pair(first: Predictions, second: Predictions) -> PairedRuns:
    """Join two runs by fold and clip id and compare them where both have an answer.

    Raises:
        CorpusError: no clip in common, or a clip that has another label in the other run.
    """
    shared = set(first.keys) & set(second.keys)
    if not shared:
        raise CorpusError(
            f"no test clip in common: folds {sorted(set(first.fold))[:3]} with {len(first)} clips "
            f"and {sorted(set(second.fold))[:3]} with {len(second)}; compare runs of one corpus "
            "and one split.protocol"
        )
    emotions = tuple(dict.fromkeys((*first.emotions, *second.emotions)))
    ours, theirs = (_shared(one, shared, emotions) for one in (first, second))
    if len(unlike := np.flatnonzero(ours.emotion != theirs.emotion)):
        fold, clip_id = ours.keys[unlike[0]]
        raise CorpusError(
            f"fold {fold}, clip {clip_id}: {emotions[ours.emotion[unlike[0]]]} in one run, "
            f"{emotions[theirs.emotion[unlike[0]]]} in the other; compare runs of one corpus"
        )
    return PairedRuns(
        clips=len(ours),
        only_first=tuple(sorted(set(first.keys) - shared)),
        only_second=tuple(sorted(set(second.keys) - shared)),
        scores={
            name: Paired(
                score_interval(ours, score),
                score_interval(theirs, score),
                difference(theirs, ours, score),
            )
            for name, score in SCORES.items()
        },
        first_alone=int((ours.correct & ~theirs.correct).sum()),
        second_alone=int((theirs.correct & ~ours.correct).sum()),
        mcnemar_p=mcnemar(theirs, ours),
        emotions={
            name: _group(ours.emotion == number, ours, theirs)
            for number, name in enumerate(emotions)
            if number in ours.emotion
        },
        speakers={
            name: _group(np.array(ours.speaker) == name, ours, theirs)
            for name in sorted(set(ours.speaker))
        },
    )


def _group(mask: npt.NDArray[np.bool_], first: Predictions, second: Predictions) -> Group:
    return Group(int(mask.sum()), int(first.correct[mask].sum()), int(second.correct[mask].sum()))


def _shared(predictions: Predictions, keys: set[Key], emotions: tuple[str, ...]) -> Predictions:
    """The rows of `keys`, in their order, with indices into `emotions`."""
    order = sorted((key, row) for row, key in enumerate(predictions.keys) if key in keys)
    rows = [row for _, row in order]
    index = np.array([emotions.index(name) for name in predictions.emotions])
    probabilities = np.zeros((len(rows), len(emotions)))
    probabilities[:, index] = predictions.probabilities[rows]
    return replace(
        predictions,
        emotions=emotions,
        fold=tuple(predictions.fold[row] for row in rows),
        clip_id=tuple(predictions.clip_id[row] for row in rows),
        speaker=tuple(predictions.speaker[row] for row in rows),
        sentence=tuple(predictions.sentence[row] for row in rows),
        emotion=index[predictions.emotion[rows]],
        predicted=index[predictions.predicted[rows]],
        confidence=predictions.confidence[rows],
        probabilities=probabilities,
    )
