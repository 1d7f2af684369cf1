"""The sections of the report: each takes the results and gives what its template shows.

A section that a run does not have (no detector in an audio-only system) says so; it is never
blank. A further section is one builder here, its line in `SECTIONS` and its template.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from pipeline.report import charts
from pipeline.report import words as report_words
from pipeline.report.chart_style import BRANCH_NAMES
from pipeline.report.figures import box_figures, coverage, figures_of, losses_of
from pipeline.report.frames import Picture, exemplary, sigma_errors, surest
from pipeline.report.results import Results
from pipeline.scores.calibration import Abstention, abstention, reliability, risk_coverage
from pipeline.scores.metrics import confusion, per_emotion, per_speaker, published
from pipeline.systems import OURS, SYSTEMS

REFERENCES = {"dlib": "dlib's box", "truth": "the true box"}
THRESHOLDS = (0.5, 0.7, 0.9)

Content = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Absent:
    """Why a run has no such section."""

    reason: str


@dataclass(frozen=True, slots=True)
class SectionSpec:
    """A section: `key` names its template and anchor."""

    key: str
    title: str
    build: Callable[[Results], Content | Absent]


@dataclass(frozen=True, slots=True)
class ShownClip:
    """A clip and its answer: the three likeliest emotions and their probabilities."""

    clip_id: str
    speaker: str
    emotion: str
    predicted: str
    confidence: float
    likeliest: tuple[tuple[str, float], ...]
    picture: Picture | None


def headline(results: Results) -> Content:
    """Accuracy with its interval beside branches, chance, majority and the paper's figure."""
    run, scores = results.run, results.run.scores
    paper = SYSTEMS[run.system].paper if run.corpus.name != report_words.OWN else None
    landmark = None if paper is None else published(paper)
    marks = {"majority class": scores.majority, "chance": scores.chance}
    branches = scores.branches
    return {
        "branch": _headline_name(results),
        "colour": results.headline,
        "accuracy": branches[results.headline].interval("accuracy"),
        "rows": [
            {
                "branch": name,
                "name": _headline_name(results) if name == results.headline else BRANCH_NAMES[name],
                "accuracy": row.interval("accuracy"),
                "uar": row.interval("uar"),
                "macro_f1": row.interval("macro_f1"),
                "gain": scores.gains.get(name),
            }
            for name, row in branches.items()
        ],
        "compared": len(branches) > 1,
        "chart": charts.comparison(
            {name: row.interval("accuracy") for name, row in branches.items()},
            {} if landmark is None else {"the paper, on SAVEE": landmark},
            marks,
        ),
        "tiles": _tiles(results),
        "paper": landmark,
        "paper_alone": SYSTEMS["audio_wavegram_logmel"].paper if run.system == OURS else None,
        "on_savee": run.corpus.name == "savee",
    }


def what_was_run(results: Results) -> Content:
    """The parameters and counts in plain words."""
    return {"facts": report_words.flags(results)}


def occasion(results: Results) -> Content | Absent:
    """When, where and how long the stages ran."""
    training = report_words.training_of(results.occasions)
    if training is None:
        return Absent(
            "No note of this run lies in `results/occasion`: DVC restored it from its cache, or it "
            "was trained elsewhere."
        )
    # The note of `report` is that of the page before this one.
    stages = [one for one in results.occasions if one.stage != "report"]
    return {
        "facts": report_words.when_and_where(training),
        "stages": stages,
        "total": sum(one.seconds for one in stages),
        "elsewhere": [
            (one.stage, report_words.machine(one.hardware))
            for one in stages
            if one.hardware != training.hardware
        ],
    }


def meaning(results: Results) -> Content:
    """What the figures do and do not mean."""
    return {"paragraphs": report_words.meaning(results)}


def speakers_and_emotions(results: Results) -> Content:
    """Accuracy by speaker and recall by emotion, each branch."""
    main, branches = results.main, results.branches
    emotions = {branch: per_emotion(one) for branch, one in branches.items()}
    table = {branch: per_speaker(one) for branch, one in branches.items()}
    shares = {branch: [accuracy for _, accuracy in table[branch].values()] for branch in branches}
    values = [share.value for share in shares[results.headline]]
    return {
        "speakers": charts.rows("accuracy", list(table[results.headline]), shares),
        "alone": len(values) == 1,
        "spread": (min(values), max(values), float(np.std(values, ddof=len(values) > 1))),
        "emotions": charts.rows(
            "recall", main.emotions, {b: [row.recall for row in e] for b, e in emotions.items()}
        ),
        "rows": emotions[results.headline],
        "branch": BRANCH_NAMES[results.headline],
    }


def confusions(results: Results) -> Content:
    """A confusion matrix per branch."""
    return {
        "matrices": [
            (
                BRANCH_NAMES[branch],
                charts.confusion_matrix(branch, confusion(one), one.emotions),
            )
            for branch, one in results.branches.items()
        ]
    }


def confidence(results: Results) -> Content:
    """Reliability, risk and coverage, and what abstaining would give."""
    scores, main = results.run.scores, results.main
    chosen = scores.abstention.below
    return {
        "reliability": charts.reliability_diagram(results.headline, reliability(main)),
        "risk": charts.risk_curves({b: risk_coverage(p) for b, p in results.branches.items()}),
        "rows": [
            (BRANCH_NAMES[b], row, scores.as_trained[b].nll) for b, row in scores.branches.items()
        ],
        "abstentions": _abstentions(results, chosen),
        "chosen": chosen,
        "calibration": _calibration(results),
        "branch": BRANCH_NAMES[results.headline],
    }


def clips(results: Results) -> Content:
    """The clips that the run was surest of: right and wrong."""
    groups = {
        name: [_shown(results, row) for row in surest(results.main, right=name == "right")]
        for name in ("right", "wrong")
    }
    return {**groups, "pictures": any(clip.picture for group in groups.values() for clip in group)}


def detector(results: Results) -> Content | Absent:
    """Box quality, how well sigma fits the errors, and frames to look at."""
    figures = results.run.detector
    if not figures.get("frames"):
        return Absent(f"{figures.get('note', 'The detector was not run')}.")
    errors = {
        name: coverage(found)
        for reference, name in REFERENCES.items()
        if (found := sigma_errors(results.detections, reference)).size
    }
    shown = exemplary(results.detections, results.speakers)
    pictures = {(one.shown.clip_id, one.shown.frame): one for one in results.pictures.values()}
    trained = figures.get("sigma_nll") is not None
    after = results.run.joint_detector
    frames = figures["frames"]
    tables = {f"Boxes on {frames} test frames": figures}
    if after:
        tables = {
            f"Before joint training, {frames} test frames": figures,
            "After joint training": after,
        }
    return {
        "tables": [
            (
                title,
                box_figures(one),
                one.get("frames_without_detection", 0),
                one.get("emotion_accuracy"),
            )
            for title, one in tables.items()
        ],
        "joint": after is not None,
        "sigma": charts.sigma_curves(errors) if trained and errors else None,
        "pictures": [
            pictures[key] for one in shown if (key := (one.clip_id, one.frame)) in pictures
        ],
    }


def training(results: Results) -> Content | Absent:
    """Losses by epoch, a chart per phase, and the detector's."""
    phases = losses_of(results.history, results.detector_history)
    if not phases:
        return Absent("No training history was written.")
    return {
        "charts": [
            (losses.title, charts.loss_curves(f"loss-{phase}", losses))
            for phase, losses in phases.items()
        ],
        "folds": len(results.run.protocol.folds),
        "weights": results.run.params["loss"],
        "warmup": "warmup" in phases,
    }


def annotations(results: Results) -> Content | Absent:
    """How good the boxes and the speech activity are that everything else builds on."""
    if not results.run.annotation.get("frames"):
        return Absent("The corpus has no frames to annotate.")
    return {"figures": figures_of(results.run.annotation)}


def quarantine(results: Results) -> Content:
    """Recordings that were not used, and why."""
    return {"rejects": results.run.corpus.quarantined}


def sources(results: Results) -> Content:
    """Where the method, the data and the measures come from."""
    return {"sources": report_words.SOURCES}


SECTIONS = (
    SectionSpec("run", "What was run", what_was_run),
    SectionSpec("meaning", "What the figures mean, and what they do not", meaning),
    SectionSpec("rows", "By speaker and by emotion", speakers_and_emotions),
    SectionSpec("confusion", "What is taken for what", confusions),
    SectionSpec("confidence", "Is the confidence calibrated?", confidence),
    SectionSpec("clips", "Surest right, surest wrong", clips),
    SectionSpec("detector", "The face detector and its uncertainty", detector),
    SectionSpec("training", "Training", training),
    SectionSpec("annotations", "Annotation quality", annotations),
    SectionSpec("quarantine", "Quarantined recordings", quarantine),
    SectionSpec("occasion", "When, where and how long", occasion),
    SectionSpec("sources", "Sources", sources),
)


def _abstentions(results: Results, chosen: float) -> list[Abstention]:
    return [abstention(results.main, below) for below in sorted({0.0, chosen, *THRESHOLDS})]


def _headline_name(results: Results) -> str:
    """The headline branch, and that it is a pool where it is one."""
    name = BRANCH_NAMES[results.headline]
    return f"{name} (pool)" if results.run.scores.pooled else name


def _calibration(results: Results) -> str:
    """What the confidence was calibrated on, and by which weights, in words."""
    scores, folds = results.run.scores, len(results.run.protocol.folds)
    if not scores.weights:
        return "Not calibrated: no training clips were held out for it."
    mean = f", the mean of {folds} folds," * (folds > 1)
    held_out = "on training clips that were held out"
    if not scores.pooled:
        (weight,) = scores.weights.values()
        return f"Log p is divided by a temperature, 1/T = {weight:.2f}{mean} fitted {held_out}."
    names = {**BRANCH_NAMES, "av": "the fused network"}
    weights = ", ".join(f"{names[e]} {w:.2f}" for e, w in scores.weights.items())
    return (
        f"The audio-visual answer is a pool, a weighted sum of log p: {weights}{mean} fitted "
        f"{held_out}. The fused network alone has an accuracy of "
        f"{scores.as_trained['av'].accuracy:.1%}."
    )


def _tiles(results: Results) -> list[tuple[str, str]]:
    row = results.run.scores.branches[results.headline]
    tiles = [
        ("UA, mean recall", f"{row.uar:.1%}"),
        ("Macro F1", f"{row.macro_f1:.1%}"),
        ("Calibration error (ECE)", f"{row.ece:.3f}"),
    ]
    detector = results.run.joint_detector or results.run.detector
    if isinstance(iou := detector.get("mean_iou"), float):
        tiles.append(("Box IoU with dlib", f"{iou:.3f}"))
    return tiles


def _shown(results: Results, row: int) -> ShownClip:
    main = results.main
    order = np.argsort(-main.probabilities[row], kind="stable")[:3]
    return ShownClip(
        main.clip_id[row],
        main.speaker[row],
        main.emotions[main.emotion[row]],
        main.emotions[main.predicted[row]],
        float(main.confidence[row]),
        tuple((main.emotions[k], float(main.probabilities[row, k])) for k in order),
        results.picture_of(main.clip_id[row]),
    )
