"""What is switched off or turned in the ablations, and their rows. Light: no torch.

A study holds variants of systems; each variant but the reference names the one it is measured
against. The study of the box loss is apart: its figures are boxes, not emotions.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.report.comparison.rows import Row, calibration, correct, rounded, scores, versus
from pipeline.report.comparison.trials import Pooled, spread
from pipeline.scores.intervals import mean_interval, resample
from pipeline.scores.metrics import SCORES
from pipeline.scores.predictions import require_aligned

GRID = (0.0, 0.25, 0.5, 1.0, 2.0)
"""Values of alpha and of beta in the grid."""

BOX_SCORES = ("ap50", "ap75", "ap90", "mean_iou")
REFERENCES = ("truth", "dlib")

BOXES, GRID_STUDY = "boxes", "loss"
"""Keys of the two studies that are shown in their own way."""

COLUMNS = (
    *("study", "variant", "system", "protocol", "corpus", "audio_weights", "overrides", "absent"),
    *("seeds", "folds", "clips"),
    *(f"{name}{part}" for name in SCORES for part in ("", "_low", "_high", "_sd")),
    *("nll", "against", "gain", "gain_low", "gain_high", "mcnemar_p", "holm_p"),
    *(f"{ref}_{name}{part}" for ref in REFERENCES for name in BOX_SCORES for part in ("", "_sd")),
)
"""Of `results/ablations.csv`."""


@dataclass(frozen=True, slots=True)
class Variant:
    """A system with settings that differ from `params.yaml`, as (`section.key`, value).

    `against` is the name of the variant that it is measured against, "" for a reference.
    """

    name: str
    system: str
    overrides: tuple[tuple[str, object], ...] = ()
    against: str = ""


@dataclass(frozen=True, slots=True)
class Study:
    """Variants that answer one question."""

    key: str
    title: str
    variants: tuple[Variant, ...]


SOUNDS = {"log-mel": "audio_cnn", "wavegram": "audio_wavegram", "both": "audio_wavegram_logmel"}
"""What the audio network reads, and the system that it is the network of."""


def _sound() -> tuple[Variant, ...]:
    reference = "both + hand-crafted"
    return tuple(
        Variant(
            name := sound + more,
            system,
            (("audio.handcrafted", bool(more)),),
            "" if name == reference else reference,
        )
        for more in (" + hand-crafted", "")
        for sound, system in SOUNDS.items()
    )


def _switch(key: str, words: Mapping[bool, str], systems: Mapping[str, str]) -> tuple[Variant, ...]:
    """Both states of a switch for each system; on is measured against off."""
    return tuple(
        Variant(
            f"{label}{words[state]}",
            system,
            ((key, state),),
            f"{label}{words[False]}" if state else "",
        )
        for system, label in systems.items()
        for state in (False, True)
    )


def _grid() -> tuple[Variant, ...]:
    """The fused network itself: a pool that believes its branches more would hide the weights."""

    def name(alpha: float, beta: float) -> str:
        return f"alpha {alpha:g}, beta {beta:g}"

    return tuple(
        Variant(
            name(alpha, beta),
            "av_faster_rcnn",
            (("loss.alpha", alpha), ("loss.beta", beta), ("inner_folds.count", 0)),
            "" if alpha == beta == 0 else name(0, 0),
        )
        for alpha in GRID
        for beta in GRID
    )


STUDIES = (
    Study("sound", "Log-mel, wavegram, both; hand-crafted features", _sound()),
    Study(
        "speech",
        "Frames weighted by visual speech activity",
        _switch(
            "visual.speech_weighting",
            {False: "all frames alike", True: "weighted by speech"},
            {"visual_faster_rcnn": "visual, ", "av_faster_rcnn": "audio-visual, "},
        ),
    ),
    Study(
        "joint",
        "Staged and joint training",
        _switch("fusion.joint", {False: "staged", True: "joint"}, {"av_faster_rcnn": ""}),
    ),
    Study(GRID_STUDY, "Weights of the loss, Eq. (4), on the fused network before pooling", _grid()),
)


def study_rows(
    study: Study,
    pooled: Mapping[str, Pooled],
    refused: Mapping[str, str],
    about: Mapping[str, object],
) -> list[Row]:
    """Rows of a study, in its order.

    Args:
        study: what was asked.
        pooled: trials by variant.
        refused: why a variant is absent, by variant.
        about: cells that every row repeats.

    Raises:
        CorpusError: the variants do not cover the same clips.
    """
    mains = {name: one.main for name, one in pooled.items()}
    if mains:
        require_aligned(mains, f"study {study.key}")
    drawn = resample(mains) if mains else {}
    rows: list[Row] = []
    for variant in study.variants:
        row = _about(study, variant, about)
        if variant.name in pooled:
            row |= scores(pooled[variant.name], drawn[variant.name])
            row |= calibration(pooled[variant.name])
            if variant.against in pooled:
                pair = (drawn[variant.name], drawn[variant.against])
                row |= versus(pooled[variant.name], pooled[variant.against], pair)
                row["against"] = variant.against
        else:
            row["absent"] = refused.get(variant.name, "not run")
        rows.append(row)
    correct(rows)
    return [rounded(row) for row in rows]


@dataclass(frozen=True, slots=True)
class BoxScores:
    """Boxes of one box loss, with or without voting, on the same test frames.

    Attributes:
        name: of the variant.
        overrides: settings of the section `detector` that differ.
        seeds: by seed the content of the detector's `metrics.json`, see `detect`.
        iou: IoU with the truth, mean over seeds and frames of each test clip, by clip.
    """

    name: str
    overrides: Mapping[str, object]
    seeds: Mapping[int, Mapping[str, object]]
    iou: Mapping[str, float]


def box_rows(
    variants: Sequence[BoxScores], speaker: Mapping[str, str], about: Mapping[str, object]
) -> list[Row]:
    """Rows of the study of the box loss; the first variant is the reference.

    The gain is in mean IoU with the truth, where the truth is known.
    """
    rows: list[Row] = []
    reference = variants[0]
    for variant in variants:
        row: Row = {
            **about,
            "study": BOXES,
            "variant": variant.name,
            "system": "detector",
            "overrides": json.dumps(dict(variant.overrides)),
            "seeds": len(variant.seeds),
            **_means(variant),
        }
        if variant is not reference and variant.iou:
            row |= {"against": reference.name, **_gain(variant, reference, speaker)}
        rows.append(rounded(row))
    return rows


def _about(study: Study, variant: Variant, about: Mapping[str, object]) -> Row:
    return {
        **about,
        "study": study.key,
        "variant": variant.name,
        "system": variant.system,
        "overrides": json.dumps(dict(variant.overrides)),
    }


def _means(variant: BoxScores) -> Row:
    row: Row = {}
    for reference in REFERENCES:
        for name in BOX_SCORES:
            values = [_score(one, reference, name) for one in variant.seeds.values()]
            known = [value for value in values if value is not None]
            key = f"{reference}_{name}"
            row[key] = float(np.mean(known)) if known else None
            row[f"{key}_sd"] = spread(known)
    return row


def _score(metrics: Mapping[str, object], reference: str, name: str) -> float | None:
    part = metrics if reference == "dlib" else metrics.get("truth")
    value = part.get(name) if isinstance(part, Mapping) else None
    return float(value) if isinstance(value, int | float) else None


def _gain(variant: BoxScores, reference: BoxScores, speaker: Mapping[str, str]) -> Row:
    clips = sorted(variant.iou)
    gains = np.array([variant.iou[clip] - reference.iou[clip] for clip in clips])
    low, high = mean_interval(gains, [speaker[clip] for clip in clips])
    return {"gain": float(gains.mean()), "gain_low": low, "gain_high": high}
