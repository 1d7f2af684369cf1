"""The sections of the report: each takes the run and gives what its template shows.

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
from pipeline.report.figures import box_figures, coverage, figures_of, interval_of, series_of
from pipeline.report.frames import Picture, exemplary, sigma_errors
from pipeline.report.run import Run
from pipeline.scores.calibration import abstention, reliability, risk_coverage
from pipeline.scores.metrics import confusion, per_emotion, per_speaker
from pipeline.systems import SYSTEMS

CLIPS_SHOWN = 4
"""Most confident right clips shown, and as many wrong ones."""

REFERENCES = {"dlib": "dlib's box", "truth": "the true box"}
DETECTOR = "face detector"
THRESHOLDS = (0.5, 0.7, 0.9)
LOSSES = ("total", "l_av", "l_a", "l_v")

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
    build: Callable[[Run], Content | Absent]


@dataclass(frozen=True, slots=True)
class ShownClip:
    """A clip with what was made of it: the three likeliest emotions and their probabilities."""

    clip_id: str
    speaker: str
    emotion: str
    predicted: str
    confidence: float
    likeliest: tuple[tuple[str, float], ...]
    picture: Picture | None


def headline(run: Run) -> Content:
    """Accuracy with its interval beside branches, chance, majority and the paper's figure."""
    metrics = run.metrics
    scores = {name: interval_of(row, "accuracy") for name, row in metrics["branches"].items()}
    paper = SYSTEMS[run.facts.system].paper
    marks = {"the paper, on SAVEE": paper} if paper is not None else {}
    marks |= {"majority class": metrics["majority"], "chance": metrics["chance"]}
    rows = [
        {
            "branch": name,
            "name": BRANCH_NAMES[name],
            **{key: interval_of(row, key) for key in ("accuracy", "uar", "macro_f1")},
            "versus": metrics.get(f"versus_{name}"),
        }
        for name, row in metrics["branches"].items()
    ]
    return {
        "branch": BRANCH_NAMES[run.headline],
        "colour": run.headline,
        "accuracy": interval_of(metrics, "accuracy"),
        "rows": rows,
        "compared": len(rows) > 1,
        "chart": charts.comparison(scores, marks),
        "tiles": _tiles(run),
        "on_savee": run.facts.corpus == "savee",
    }


def what_was_run(run: Run) -> Content:
    """The parameters and counts in plain words."""
    return {"facts": report_words.flags(run)}


def meaning(run: Run) -> Content:
    """What the figures do and do not mean."""
    return {"paragraphs": report_words.meaning(run)}


def speakers_and_emotions(run: Run) -> Content:
    """Accuracy by speaker and recall by emotion, each branch."""
    ordered = [run.headline, *(branch for branch in run.branches if branch != run.headline)]
    speakers = {branch: per_speaker(run.branches[branch]) for branch in ordered}
    emotions = {branch: per_emotion(run.branches[branch]) for branch in ordered}
    names = list(speakers[run.headline])
    shares = {branch: [table[name][1] for name in names] for branch, table in speakers.items()}
    recalls = {branch: [row.recall for row in table] for branch, table in emotions.items()}
    values = [score.value for score in shares[run.headline]]
    return {
        "speakers": charts.rows("accuracy", names, shares),
        "spread": (min(values), max(values), float(np.std(values, ddof=len(values) > 1))),
        "emotions": charts.rows("recall", run.main.emotions, recalls),
        "rows": emotions[run.headline],
        "branch": BRANCH_NAMES[run.headline],
    }


def confusions(run: Run) -> Content:
    """A confusion matrix per branch."""
    return {
        "matrices": [
            (
                BRANCH_NAMES[branch],
                charts.confusion_matrix(branch, confusion(one), one.emotions),
            )
            for branch, one in run.branches.items()
        ]
    }


def confidence(run: Run) -> Content:
    """Reliability, risk and coverage, and what abstaining would give."""
    chosen = run.metrics["abstention"]["below"]
    return {
        "reliability": charts.reliability_diagram(run.headline, reliability(run.main)),
        "risk": charts.risk_curves({b: risk_coverage(p) for b, p in run.branches.items()}),
        "rows": [
            (BRANCH_NAMES[b], row, run.metrics["before_pooling"][b]["nll"])
            for b, row in run.metrics["branches"].items()
        ],
        "abstentions": [abstention(run.main, b) for b in sorted({0.0, chosen, *THRESHOLDS})],
        "chosen": chosen,
        "pool": _believed(run.metrics["pool"]),
        "branch": BRANCH_NAMES[run.headline],
    }


def clips(run: Run) -> Content:
    """The clips that the run was surest of: right and wrong."""
    order = np.argsort(-run.main.confidence, kind="stable")
    right = [i for i in order if run.main.correct[i]][:CLIPS_SHOWN]
    wrong = [i for i in order if not run.main.correct[i]][:CLIPS_SHOWN]
    groups = {
        "right": [_shown(run, int(i)) for i in right],
        "wrong": [_shown(run, int(i)) for i in wrong],
    }
    return {**groups, "pictures": any(clip.picture for group in groups.values() for clip in group)}


def detector(run: Run) -> Content | Absent:
    """Box quality, whether sigma can be believed, and frames to look at."""
    if not run.detector.get("frames"):
        return Absent(run.detector.get("note", "The detector was not run") + ".")
    trained = run.detector.get("sigma_nll") is not None
    errors = {
        name: coverage(found)
        for reference, name in REFERENCES.items()
        if (found := sigma_errors(run.detections, reference)).size
    }
    shown = (run.picture(one.clip_id, one.frame) for one in exemplary(run.detections, run.records))
    return {
        "figures": box_figures(run.detector),
        "frames": run.detector["frames"],
        "missed": run.detector.get("frames_without_detection", 0),
        "emotion": run.detector.get("emotion_accuracy"),
        "sigma": charts.sigma_curves(errors) if trained and errors else None,
        "pictures": [picture for picture in shown if picture],
    }


def training(run: Run) -> Content | Absent:
    """Losses by epoch, a chart a phase, and the detector's."""
    drawn = []
    for phase in dict.fromkeys(row["phase"] for row in run.history):
        rows = [row for row in run.history if row["phase"] == phase]
        drawn.append((phase, charts.curves(f"loss-{phase}", phase, series_of(rows, LOSSES))))
    if run.detector_history:
        names = [n for n in run.detector_history[0] if n not in ("fold", "phase", "epoch")]
        losses = series_of(run.detector_history, names)
        drawn.append((DETECTOR, charts.curves("loss-detector", DETECTOR, losses)))
    if not drawn:
        return Absent("No training history was written.")
    return {"charts": drawn, "folds": len({row["fold"] for row in run.history})}


def annotations(run: Run) -> Content | Absent:
    """How good the boxes and the speech activity are that everything else builds on."""
    if not run.annotation.get("frames"):
        return Absent("The corpus has no frames to annotate.")
    return {"figures": figures_of(run.annotation)}


def quarantine(run: Run) -> Content:
    """Recordings that were not used, and why."""
    return {"rejects": run.rejects}


SECTIONS = (
    SectionSpec("run", "What was run", what_was_run),
    SectionSpec("meaning", "What the figures mean, and what they do not", meaning),
    SectionSpec("rows", "By speaker and by emotion", speakers_and_emotions),
    SectionSpec("confusion", "What is taken for what", confusions),
    SectionSpec("confidence", "Can its confidence be believed?", confidence),
    SectionSpec("clips", "Surest right, surest wrong", clips),
    SectionSpec("detector", "The face detector and its uncertainty", detector),
    SectionSpec("training", "Training", training),
    SectionSpec("annotations", "Annotation quality", annotations),
    SectionSpec("quarantine", "Quarantined recordings", quarantine),
)


def _believed(pool: Mapping[str, float]) -> str:
    """How far each expert is believed, in words."""
    if not pool:
        return "Not calibrated: no training clips were held out for it."
    names = {**BRANCH_NAMES, "av": "the fused network"}
    weights = ", ".join(f"{names[e]} {w:.2f}" for e, w in pool.items())
    return f"Log p is weighted, {weights}, as fits training clips that were held out best."


def _tiles(run: Run) -> list[tuple[str, str]]:
    tiles = [
        ("UA, mean recall", f"{run.metrics['uar']:.1%}"),
        ("Macro F1", f"{run.metrics['macro_f1']:.1%}"),
        ("Calibration error (ECE)", f"{run.metrics['ece']:.3f}"),
    ]
    if run.detector.get("mean_iou") is not None:
        tiles.append(("Box IoU with dlib", f"{run.detector['mean_iou']:.3f}"))
    return tiles


def _shown(run: Run, row: int) -> ShownClip:
    main = run.main
    clip_id = main.clip_id[row]
    order = np.argsort(-main.probabilities[row], kind="stable")[:3]
    seen = [found for found in run.detections if found.clip_id == clip_id]
    best = max(seen, key=lambda found: found.score, default=None)
    frame = best.frame if best else run.record(clip_id).frames // 2
    return ShownClip(
        clip_id,
        main.speaker[row],
        main.emotions[main.emotion[row]],
        main.emotions[main.predicted[row]],
        float(main.confidence[row]),
        tuple((main.emotions[k], float(main.probabilities[row, k])) for k in order),
        run.picture(clip_id, frame),
    )
