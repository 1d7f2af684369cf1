"""A run as `results/run.json`: everything that the report and the summary say of it.

Equal runs give equal bytes: dates, machines and paths are in `pipeline.work.occasion`.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, JsonValue, ValidationError

from pipeline.clips import ClipRecord, Reject, emotions_of
from pipeline.errors import CorpusError
from pipeline.files import write_json
from pipeline.report.frames import ShownFrame
from pipeline.scores.intervals import Interval
from pipeline.splits import Fold, SplitParams
from pipeline.systems import SYSTEMS

SCHEMA: Literal[1] = 1
"""Raised when a reader of an older `run.json` would go wrong."""

JOINT_DETECTORS = "detector"
"""Folder of the jointly trained detectors, beside the networks."""


class Part(BaseModel):
    """A part of the run: frozen, without unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Ends(Part):
    """Ends of a 95% interval."""

    low: float
    high: float


class BranchScores(Part):
    """Scores of one branch over all test clips; intervals as in `pipeline.scores.intervals`."""

    accuracy: float
    accuracy_95: Ends
    uar: float
    uar_95: Ends
    macro_f1: float
    macro_f1_95: Ends
    ece: float
    nll: float
    brier: float
    aurc: float

    def interval(self, score: Literal["accuracy", "uar", "macro_f1"]) -> Interval:
        """A score with its interval."""
        ends: Ends = getattr(self, f"{score}_95")
        return Interval(getattr(self, score), ends.low, ends.high)


class EmotionScores(Part):
    """Scores of one emotion; None where a ratio has no clips to be taken over."""

    recall: float | None = None
    precision: float | None = None
    f1: float | None = None


class Gain(Part):
    """The headline branch against another on the same clips."""

    accuracy_gain: float
    accuracy_gain_95: Ends
    mcnemar_p: float


class Uncalibrated(Part):
    """A network's scores before its calibration."""

    accuracy: float
    ece: float
    nll: float


class Answered(Part):
    """What is left where confidences under `below` are not answered."""

    below: float
    coverage: float
    accuracy: float | None = None
    accuracy_95: Ends


def reservations(
    clips: int, collapsed: Sequence[str], ties: int, faceless: int, hears: bool
) -> list[str]:
    """Why answers are not all that they seem, in words.

    Args:
        clips: test clips.
        collapsed: folds whose pool found no weights.
        ties: test clips with more than one likeliest emotion.
        faceless: test clips in which no face was found.
        hears: whether there is a branch for sound, which then answers them.
    """
    found = []
    if collapsed:
        found.append(
            f"the pool of network and branches collapsed in fold {', '.join(collapsed)}: "
            "the network answers alone there"
        )
    if ties:
        found.append(
            f"{ties} of {clips} test clips have more than one likeliest emotion, of which the "
            "first counts as the answer"
        )
    if faceless:
        answers = "sound alone answers" if hears else "nothing speaks for"
        found.append(f"no face was found in {faceless} of {clips} test clips: {answers} them")
    return found


class Scores(Part):
    """Scores of the test clips.

    Attributes:
        clips: predictions of a branch; a clip counts once per fold that tests it.
        chance: accuracy of a uniform guess.
        majority: accuracy of always naming the commonest emotion.
        speakers: accuracy by speaker, of the headline branch.
        emotions: scores by emotion, of the headline branch.
        branches: by branch, the headline first.
        gains: the headline over each other branch.
        abstention: of the headline branch.
        as_trained: by branch.
        weights: of the experts in the headline, mean over folds: 1 / T of the network alone, or
            those of a pool; empty without calibration.
        collapsed: folds whose pool found no weights, so that the network answers alone.
        ties: test clips with more than one likeliest emotion, of the headline branch.
        faceless: test clips in which no face was found, of a system that looks for faces.
    """

    clips: int
    chance: float
    majority: float
    speakers: dict[str, float]
    emotions: dict[str, EmotionScores]
    branches: dict[str, BranchScores]
    gains: dict[str, Gain]
    abstention: Answered
    as_trained: dict[str, Uncalibrated]
    weights: dict[str, float]
    collapsed: tuple[str, ...]
    ties: int
    faceless: int = 0

    @property
    def pooled(self) -> bool:
        """Whether the headline is a pool of network and branches, and not the network's own."""
        return len(self.weights) > 1

    @property
    def warnings(self) -> list[str]:
        """Why the headline's answers are not all that they seem, in words."""
        hears = "audio" in self.branches
        return reservations(self.clips, self.collapsed, self.ties, self.faceless, hears)

    @classmethod
    def of(cls, summary: Mapping[str, Any]) -> "Scores":
        """From what `pipeline.scores.metrics` summarises."""
        versus = "versus_"
        gains = {k.removeprefix(versus): v for k, v in summary.items() if k.startswith(versus)}
        names = [name for name in cls.model_fields if name != "gains"]
        values = {"gains": gains, **{name: summary[name] for name in names}}
        return cls.model_validate(values)


class Quarantined(Part):
    """A recording that was not used."""

    clip_id: str
    file: str
    reason: str


class Corpus(Part):
    """The clips of the run; counts by name.

    Attributes:
        used: that have an emotion and what the system reads.
        unlabelled: that have no emotion, and are predicted only.
    """

    name: str
    clips: int
    used: int
    unlabelled: int
    minutes: float
    with_video: int
    with_sound: int
    speakers: dict[str, int]
    emotions: dict[str, int]
    quarantined: tuple[Quarantined, ...]

    @classmethod
    def of(
        cls, name: str, records: Sequence[ClipRecord], used: int, rejects: Iterable[Reject]
    ) -> "Corpus":
        """From the tables that `extract` writes."""
        speakers = [record.speaker for record in records]
        emotions = [record.emotion for record in records]
        return cls(
            name=name,
            clips=len(records),
            used=used,
            unlabelled=sum(not record.emotion for record in records),
            minutes=round(sum(record.duration_s for record in records) / 60, 2),
            with_video=sum(record.has_video for record in records),
            with_sound=sum(record.has_audio for record in records),
            speakers={one: speakers.count(one) for one in sorted(set(speakers))},
            emotions={one: emotions.count(one) for one in emotions_of(records)},
            quarantined=tuple(
                Quarantined(clip_id=r.clip_id, file=r.file, reason=r.reason) for r in rejects
            ),
        )


class FoldClips(Part):
    """Numbers of a fold.

    Attributes:
        name: of the fold.
        train: training clips.
        test: test clips.
        speakers: of its test clips.
        known: those of them who are in training too.
    """

    name: str
    train: int
    test: int
    speakers: int
    known: int


class Protocol(Part):
    """How test clips were held out; `test_set` is a digest of the test clips by fold."""

    split: SplitParams
    folds: tuple[FoldClips, ...]
    test_set: str

    @classmethod
    def of(
        cls,
        split: SplitParams,
        folds: Sequence[Fold],
        speaker: Mapping[str, str],
        test_set: str,
    ) -> "Protocol":
        """From the section `split`, the folds made by it, and the speaker of each clip."""
        counts = []
        for fold in folds:
            tested, trained = ({speaker[i] for i in ids} for ids in (fold.test, fold.train))
            one = FoldClips(
                name=fold.name,
                train=len(fold.train),
                test=len(fold.test),
                speakers=len(tested),
                known=len(tested & trained),
            )
            counts.append(one)
        return cls(split=split, folds=tuple(counts), test_set=test_set)


class Method(Part):
    """Switches of `params.yaml` that tell one run of a system from another."""

    audio_weights: str
    detector_weights: str
    handcrafted: bool
    speech_weighting: bool
    backbone: str
    box_loss: Literal["kl", "smooth_l1"]
    voting: bool
    joint: bool
    pool: bool
    head: Literal["paper", "residual"]
    embeddings: tuple[str, ...]


class Preset(Part):
    """Values that differ from a preset, `section.key` to (preset's, used) as JSON."""

    name: str
    differing: dict[str, tuple[str, str]]


class Run(Part):
    """A finished run.

    Attributes:
        system: a key of `pipeline.systems.SYSTEMS`.
        params: validated sections of `params.yaml`, without the corpus folder.
        preset: that of the corpus, None where it has none.
        method: what the words of the report need of `params`.
        corpus: the clips.
        protocol: the folds.
        scores: of the test clips.
        detector: `results/detector/metrics.json`.
        joint_detector: the same of the detectors that joint training left, which the answers come
            from; None without it.
        annotation: `data/annotation_metrics.json`; empty where the corpus has no video.
        frames: the few frames that the report shows, in `results/frames`.
    """

    schema_version: Literal[1] = SCHEMA
    system: str
    params: dict[str, dict[str, JsonValue]]
    preset: Preset | None
    method: Method
    corpus: Corpus
    protocol: Protocol
    scores: Scores
    detector: dict[str, JsonValue]
    joint_detector: dict[str, JsonValue] | None = None
    annotation: dict[str, JsonValue]
    frames: tuple[ShownFrame, ...]

    @property
    def seeds(self) -> dict[str, int]:
        """Seeds by section."""
        values = {name: section.get("seed") for name, section in self.params.items()}
        return {name: seed for name, seed in values.items() if isinstance(seed, int)}


def write_run(path: Path, run: Run) -> None:
    """Write `results/run.json`; the inverse of `read_run`."""
    write_json(path, run.model_dump(mode="json"))


def read_run(path: Path) -> Run:
    """Read `results/run.json`.

    Raises:
        CorpusError: no such file, or another version's.
    """
    try:
        return Run.model_validate_json(path.read_bytes())
    except FileNotFoundError as error:
        raise CorpusError(f"{path}: no results yet; run `dvc repro`") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise CorpusError(
            f"{path}: not a run of this version ({where}: {first['msg']}); run `dvc repro fuse`"
        ) from error


def saved_networks(run: Run, results: Path, fold: str) -> tuple[Path, Path | None]:
    """Files of a fold's network, and of its detector where the system reads face features."""
    system, name = SYSTEMS[run.system], f"{fold}.safetensors"
    joint = system.can_be_joint and run.method.joint
    detectors = results / "fusion" / JOINT_DETECTORS if joint else results / "detector"
    return results / "fusion" / name, detectors / name if system.reads_faces else None
