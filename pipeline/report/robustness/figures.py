"""From answers to figures: scores by condition and severity, and whether they move with damage.

`results/robustness.json` is a `Robustness`; `results/robustness.csv` its severities, a row each.
A clip that the model cannot answer counts as wrong, with a uniform guess and its confidence.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from statistics import fmean
from typing import Literal

import numpy as np

from pipeline.files import write_json, write_table
from pipeline.report.robustness.answers import CLEAN, Answer, Answers, Kind
from pipeline.report.run import Ends, Part
from pipeline.scores.calibration import ece, nll
from pipeline.scores.intervals import Interval, difference, mean_interval, score_interval
from pipeline.scores.metrics import SCORES
from pipeline.scores.predictions import Predictions

JSON, CSV = "robustness.json", "robustness.csv"
DECIMALS = 4


@dataclass(frozen=True, slots=True)
class AnsweredClip:
    """A clip, who speaks, the index of its emotion, and what was answered."""

    clip_id: str
    speaker: str
    label: int
    answers: Answers


@dataclass(frozen=True, slots=True)
class Tried:
    """A condition in words: its name, title, kind, and the labels of its severities."""

    name: str
    title: str
    kind: Kind
    labels: tuple[str, ...]


class Figures(Part):
    """Scores of all clips under one condition at one severity.

    Attributes:
        severity: in words; "" of the clean clips.
        accuracy: share of clips that are right.
        accuracy_95: its interval.
        change: of the accuracy, from the clean clips.
        change_95: its interval, on the same clips.
        nll: mean -log p of the true emotion, nats.
        ece: expected calibration error.
        confidence: mean calibrated p of the answer.
        abstained: share of clips whose confidence is below `predict.abstain_below`.
        by_other_branch: share answered by another branch than the headline.
        unanswered: share that cannot be answered.
        face_share: mean share of frames with a face; None where none is looked for.
        sigma_px: mean sigma of the boxes of faces that were found, px; None where there is none.
    """

    severity: str
    accuracy: float
    accuracy_95: Ends
    change: float
    change_95: Ends
    nll: float
    ece: float
    confidence: float
    abstained: float
    by_other_branch: float
    unanswered: float
    face_share: float | None
    sigma_px: float | None

    @property
    def interval(self) -> Interval:
        """Of the accuracy."""
        return Interval(self.accuracy, self.accuracy_95.low, self.accuracy_95.high)


class Trend(Part):
    """Whether a value of a clip moves with the damage to it.

    Attributes:
        tau: Kendall's rank correlation with severity, the clean clip first, mean over clips; -1
            falls at every step in every clip.
        tau_95: its interval.
        clips: of which the value is known at two severities or more.
    """

    tau: float
    tau_95: Ends
    clips: int

    @property
    def direction(self) -> Literal["falls", "rises", ""]:
        """What the interval leaves no doubt of; "" where it holds 0."""
        return "falls" if self.tau_95.high < 0 else "rises" if self.tau_95.low > 0 else ""


class Tested(Part):
    """A condition, mildest severity first, and how confidence and sigma move with it."""

    name: str
    title: str
    kind: Kind
    severities: tuple[Figures, ...]
    confidence: Trend | None
    sigma: Trend | None

    @property
    def severest(self) -> Figures:
        """The last one."""
        return self.severities[-1]


class LeftOut(Part):
    """A clip that could not be used, and why."""

    clip_id: str
    reason: str


class Robustness(Part):
    """What `avemo robustness` found.

    Attributes:
        system: a key of `pipeline.systems.SYSTEMS`.
        corpus: that the model was trained on.
        audio_weights: `embed.weights` of the model.
        emotions: that it answers with, in its order.
        source: what the clips are, in words.
        branch: the headline.
        clips: that were answered.
        speakers: of them.
        learned: of the clips, those that the model was trained on.
        abstain_below: `predict.abstain_below` of the model.
        seed: of all that is drawn.
        clean: figures of the clips as they are.
        conditions: that were tried.
        absent: titles of those that were not, and why.
        left_out: clips that were not, and why.
    """

    schema_version: Literal[1] = 1
    system: str
    corpus: str
    audio_weights: str
    emotions: tuple[str, ...]
    source: str
    branch: str
    clips: int
    speakers: int
    learned: int
    abstain_below: float
    seed: int
    clean: Figures
    conditions: tuple[Tested, ...]
    absent: dict[str, str]
    left_out: tuple[LeftOut, ...]


class Scorer:
    """Scores the same clips under every condition.

    Args:
        clips: one or more, all with the answers of the same conditions.
        emotions: in the model's order.
        branch: the headline.
        abstain_below: see `Robustness`.
    """

    def __init__(
        self,
        clips: Sequence[AnsweredClip],
        emotions: Sequence[str],
        branch: str,
        abstain_below: float,
    ) -> None:
        self._clips, self._emotions = clips, tuple(emotions)
        self._branch, self._abstain_below = branch, abstain_below
        self._clean = self._predictions(CLEAN, 0)

    def clean(self) -> Figures:
        """Figures of the clips as they are."""
        return self._figures(CLEAN, 0, "")

    def tested(self, tried: Tried) -> Tested:
        """Figures of a condition."""
        return Tested(
            name=tried.name,
            title=tried.title,
            kind=tried.kind,
            severities=tuple(
                self._figures(tried.name, place, label) for place, label in enumerate(tried.labels)
            ),
            confidence=self._trend(tried.name, self._confidence),
            sigma=self._trend(tried.name, lambda answer: answer.sigma_px),
        )

    def _figures(self, name: str, place: int, label: str) -> Figures:
        answers = [clip.answers[name][place] for clip in self._clips]
        predictions = self._predictions(name, place)
        accuracy = score_interval(predictions, SCORES["accuracy"])
        change = difference(predictions, self._clean, SCORES["accuracy"])
        branches = [answer.branch for answer in answers]
        return Figures(
            severity=label,
            accuracy=_round(accuracy.value),
            accuracy_95=_ends(accuracy.low, accuracy.high),
            change=_round(change.value),
            change_95=_ends(change.low, change.high),
            nll=_round(nll(predictions)),
            ece=_round(ece(predictions)),
            confidence=_round(float(predictions.confidence.mean())),
            abstained=_round(float((predictions.confidence < self._abstain_below).mean())),
            by_other_branch=_round(fmean(one not in (self._branch, "") for one in branches)),
            unanswered=_round(fmean(one == "" for one in branches)),
            face_share=_mean(answer.face_share for answer in answers),
            sigma_px=_mean(answer.sigma_px for answer in answers),
        )

    def _predictions(self, name: str, place: int) -> Predictions:
        kinds = len(self._emotions)
        uniform = (1 / kinds,) * kinds
        answers = [clip.answers[name][place].probabilities for clip in self._clips]
        p = np.array([uniform if one is None else one for one in answers])
        label = np.array([clip.label for clip in self._clips])
        unanswered = np.array([one is None for one in answers])
        count = len(self._clips)
        return Predictions(
            emotions=self._emotions,
            fold=("",) * count,
            clip_id=tuple(clip.clip_id for clip in self._clips),
            speaker=tuple(clip.speaker for clip in self._clips),
            sentence=("",) * count,
            emotion=label,
            predicted=np.where(unanswered, (label + 1) % kinds, p.argmax(axis=1)),
            confidence=p.max(axis=1),
            probabilities=p,
        )

    def _confidence(self, answer: Answer) -> float:
        return max(answer.probabilities) if answer.probabilities else 1 / len(self._emotions)

    def _trend(self, name: str, value: Callable[[Answer], float | None]) -> Trend | None:
        taus, clips, moves = [], [], False
        for clip in self._clips:
            values = [value(one) for one in (*clip.answers[CLEAN], *clip.answers[name])]
            known = [one for one in values if one is not None]
            if len(known) > 1:
                taus.append(kendall(known))
                clips.append(clip)
                moves = moves or len(set(known)) > 1
        if len(clips) < 2 or not moves:
            return None
        ids, speakers = [one.clip_id for one in clips], [one.speaker for one in clips]
        low, high = mean_interval(np.array(taus), ids, speakers)
        ends = _ends(max(low, -1.0), min(high, 1.0))
        return Trend(tau=_round(fmean(taus)), tau_95=ends, clips=len(clips))


def kendall(values: Sequence[float]) -> float:
    """Kendall's tau-a between values and their order: rises minus falls among all pairs.

    Source: Kendall (1938), Biometrika 30.
    """
    pairs = list(combinations(values, 2))
    return sum(np.sign(later - earlier) for earlier, later in pairs) / len(pairs)


def write_figures(results: Path, found: Robustness) -> None:
    """Write the JSON and the CSV into a folder."""
    write_json(results / JSON, found.model_dump(mode="json"))
    rows = [{"condition": CLEAN, "kind": "", **_flat(found.clean)}]
    for one in found.conditions:
        named = {"condition": one.name, "kind": one.kind}
        rows += [{**named, **_flat(severity)} for severity in one.severities]
    write_table(results / CSV, list(rows[0]), rows)


def _flat(figures: Figures) -> dict[str, object]:
    """A column each for a value, and for each end of an interval."""
    flat: dict[str, object] = {}
    for name, value in figures:
        if isinstance(value, Ends):
            stem = name.removesuffix("_95")
            flat |= {f"{stem}_low": value.low, f"{stem}_high": value.high}
        else:
            flat[name] = value
    return flat


def _ends(low: float, high: float) -> Ends:
    return Ends(low=_round(low), high=_round(high))


def _round(value: float) -> float:
    return round(float(value), DECIMALS) + 0.0  # no -0


def _mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return _round(fmean(known)) if known else None
