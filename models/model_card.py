"""What a saved model is: its card, as data in `model.json` and in words in `README.md`."""

from pathlib import Path
from typing import Any

from pydantic import model_validator

from annotations.params import AnnotateParams
from models.audio.params import EmbedParams
from models.faces.params import DetectorParams
from models.systems.params import PackParams, Widths
from pipeline.corpora.about import ABOUT
from pipeline.media.params import ExtractParams, ResampleParams
from pipeline.params import Section
from pipeline.report.chart_style import BRANCH_NAMES
from pipeline.report.run import BranchScores, Scores
from pipeline.scores.intervals import Interval
from pipeline.scores.metrics import DECIMALS, confusion
from pipeline.scores.params import PredictParams
from pipeline.scores.predictions import BRANCHES, Predictions
from pipeline.systems import SYSTEMS

TEMPLATE = Path(__file__).with_suffix(".md")


class InputParams(Section):
    """The sections of `params.yaml` by which a recording becomes a network's inputs."""

    extract: ExtractParams
    resample: ResampleParams
    annotate: AnnotateParams
    embed: EmbedParams
    detector: DetectorParams | None
    predict: PredictParams
    pack: PackParams


class HeldOutScores(Section):
    """How the networks of a run's folds answered the clips that each of them left out.

    Attributes:
        clips: that were tested.
        chance: accuracy of a uniform guess.
        majority: accuracy of always naming the commonest emotion.
        branches: scores with 95% intervals by branch, the headline first.
        folds: accuracy of the headline by fold.
        confusion: of the headline, clips by true emotion and answer, in the order of the emotions.
    """

    clips: int
    chance: float
    majority: float
    branches: dict[str, BranchScores]
    folds: dict[str, float]
    confusion: tuple[tuple[int, ...], ...]

    @classmethod
    def of(cls, scores: Scores, main: Predictions) -> "HeldOutScores":
        """From the scores of a run and the predictions of its headline branch."""
        right: dict[str, list[bool]] = {}
        for fold, correct in zip(main.fold, main.correct.tolist(), strict=True):
            right.setdefault(fold, []).append(correct)
        return cls(
            clips=scores.clips,
            chance=scores.chance,
            majority=scores.majority,
            branches=scores.branches,
            folds={fold: round(sum(one) / len(one), DECIMALS) for fold, one in right.items()},
            confusion=tuple(tuple(map(int, row)) for row in confusion(main)),
        )


class ModelCard(Section):
    """`model.json`.

    Attributes:
        schema_version: see `models.saved_model.SCHEMA`.
        system: a key of `pipeline.systems.SYSTEMS`.
        corpus: that the networks were trained on, as in `corpus.name`.
        fold: whose networks these are; `all` with `pack.clips: all`.
        emotions: in the order of the network's answers.
        branches: that the network answers with, the headline first.
        widths: of the network's inputs and answers.
        pools: by branch the weight of each expert; empty where nothing was calibrated.
        inputs: how inputs are computed.
        settings: sections by which the network was built and trained.
        audio_networks: identity of each frozen audio network's weights.
        training_clips: ids of the clips that the networks were trained on.
        metrics: of the run that it came from.
        files: SHA-256 of the other files of the folder.
        versions: of the packages that wrote it.
    """

    schema_version: int
    system: str
    corpus: str
    fold: str
    emotions: tuple[str, ...]
    branches: tuple[str, ...]
    widths: Widths
    pools: dict[str, dict[str, float]]
    inputs: InputParams
    settings: dict[str, Any]
    audio_networks: dict[str, str]
    training_clips: tuple[str, ...]
    metrics: HeldOutScores
    files: dict[str, str]
    versions: dict[str, str]

    @model_validator(mode="after")
    def _parts_agree(self) -> "ModelCard":
        """Refuse what would fail only once a recording is asked about."""
        widths = (*self.widths.audio, self.widths.faces, *self.widths.expressions)
        problems = {
            f"system {self.system} is unknown": self.system not in SYSTEMS,
            f"corpus {self.corpus} is unknown": self.corpus not in ABOUT,
            "expected two emotions or more, each once": len(set(self.emotions)) < 2
            or len(set(self.emotions)) < len(self.emotions),
            f"expected branches of {', '.join(BRANCHES)}": not self.branches
            or not set(self.branches) <= set(BRANCHES),
            "expected widths of 0 to 1e6": not all(0 <= width <= 1_000_000 for width in widths),
            "a pool weighs no branch, or one that it cannot": not all(
                0 < len(pool) and set(pool) <= self._experts(branch)
                for branch, pool in self.pools.items()
            ),
        }
        if wrong := [text for text, holds in problems.items() if holds]:
            raise ValueError(wrong[0])
        return self

    def _experts(self, branch: str) -> set[str]:
        """Branches that answer where `branch` is asked."""
        return set(self.branches) if branch in self.branches[:1] else {branch}


def describe(card: ModelCard) -> str:
    """The card in words, Markdown."""
    # Markdown, not HTML: what shows it escapes it
    from jinja2 import Environment, StrictUndefined  # for words alone, which few ask for

    template = Environment(  # noqa: S701
        undefined=StrictUndefined, keep_trailing_newline=True
    ).from_string(TEMPLATE.read_text(encoding="utf-8"))
    return template.render(
        card=card,
        scores=card.metrics,
        names=[emotion.replace("|", r"\|") for emotion in card.emotions],
        system=SYSTEMS[card.system],
        about=ABOUT[card.corpus],
        everything=card.inputs.pack.clips == "all",
        branch_names=BRANCH_NAMES,
        interval=_percent,
        uncalibrated="" if card.pools else _why_uncalibrated(card),
    )


def _why_uncalibrated(card: ModelCard) -> str:
    if card.settings["inner_folds"]["count"] == 0:
        return "`inner_folds.count: 0`"
    return "no part of its training clips could be held out"


def _percent(score: Interval) -> str:
    value, low, high = (f"{100 * part:.1f}" for part in (score.value, score.low, score.high))
    return f"{value} [{low}, {high}]"
