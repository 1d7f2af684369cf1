"""From trials to rows: scores, intervals, tests and costs of systems and variants. NumPy only.

Scores are means over seeds; in their intervals a clip counts once, however many seeds tested it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from statistics import fmean
from typing import Any, TypeVar

import numpy as np

from pipeline.report.comparison.rows import (
    BOXES,
    BoxRow,
    Mean,
    Missing,
    MissingVariant,
    Score,
    Scored,
    Setting,
    SystemRow,
    VariantRow,
)
from pipeline.report.comparison.seeds import Seeds, over_seeds, spread
from pipeline.report.comparison.studies import Study, overrides_text
from pipeline.scores.calibration import brier, ece, nll
from pipeline.scores.comparisons import holm, mcnemar
from pipeline.scores.intervals import Interval, difference, mean_interval, score_interval
from pipeline.scores.metrics import SCORES, accuracy, chance, majority, per_emotion, per_speaker
from pipeline.scores.predictions import require_aligned
from pipeline.systems import OURS, SYSTEMS

BOX_SCORES = ("ap50", "ap75", "ap90", "mean_iou")
REFERENCES = ("truth", "dlib")

ScoredRow = TypeVar("ScoredRow", bound=Scored)


def system_rows(
    setting: Setting,
    systems: Mapping[str, Seeds],
    refused: Mapping[str, str],
    deviations: Mapping[str, tuple[str, ...]],
) -> list[SystemRow | Missing]:
    """Rows of one protocol, in the order of `systems`, then the systems that could not be run.

    Args:
        setting: the protocol and what the trials were made from.
        systems: trials by system; with each seed all cover the same clips.
        refused: why a system is absent.
        deviations: of each system from what was published, in phrases.

    Raises:
        CorpusError: the systems do not cover the same clips.
    """
    _require_aligned(systems, f"protocol {setting.protocol}")
    rows = [
        SystemRow(
            **asdict(setting),
            **_scores(name, one, systems.get(OURS) if name != OURS else None),
            **_own(name, one),
            deviations=deviations[name],
        )
        for name, one in systems.items()
    ]
    absent = [Missing(**asdict(setting), system=s, absent=why) for s, why in refused.items()]
    return [*_corrected(rows), *absent]


def study_rows(
    setting: Setting, study: Study, variants: Mapping[str, Seeds], refused: Mapping[str, str]
) -> list[VariantRow | MissingVariant]:
    """Rows of a study, in its order, then the variants that could not be run.

    Args:
        setting: the protocol and what the trials were made from.
        study: its variants.
        variants: trials by variant; with each seed all cover the same clips.
        refused: why a variant is absent, by variant.

    Raises:
        CorpusError: the variants do not cover the same clips.
    """
    _require_aligned(variants, f"study {study.key}")
    rows, absent = [], []
    for variant in study.variants:
        about = {**asdict(setting), "study": study.key, "variant": variant.name}
        if variant.name not in variants:
            why = refused.get(variant.name, "not run")
            absent.append(MissingVariant(**about, system=variant.system, absent=why))
            continue
        row = VariantRow(
            **about,
            overrides=overrides_text(variant.overrides),
            against=variant.against if variant.against in variants else "",
            **_scores(variant.system, variants[variant.name], variants.get(variant.against)),
        )
        rows.append(row)
    return [*_corrected(rows), *absent]


@dataclass(frozen=True, slots=True)
class BoxScores:
    """Boxes of one box loss, with or without voting, on the same test frames.

    Attributes:
        name: of the variant.
        overrides: settings that differ, as (`detector.key`, value).
        seeds: by seed the content of the detector's `metrics.json`, see `detect`.
        iou: by seed the IoU with the truth, mean over frames of each test clip, by clip.
    """

    name: str
    overrides: tuple[tuple[str, object], ...]
    seeds: Mapping[int, Mapping[str, object]]
    iou: Mapping[int, Mapping[str, float]]


def box_rows(
    setting: Setting, variants: Sequence[BoxScores], speaker: Mapping[str, str]
) -> list[BoxRow]:
    """Rows of the study of the box loss; the first variant is the reference.

    The gain is in mean IoU with the truth, where the truth is known.
    """
    reference = variants[0]
    rows = []
    for variant in variants:
        compared = variant is not reference and any(variant.iou.values())
        means: dict[str, Any] = {
            f"{against}_{name}": _box_mean(variant, against, name)
            for against in REFERENCES
            for name in BOX_SCORES
        }
        row = BoxRow(
            **asdict(setting),
            system="detector",
            study=BOXES,
            variant=variant.name,
            overrides=overrides_text(variant.overrides),
            seeds=len(variant.seeds),
            against=reference.name if compared else "",
            gain=_box_gain(variant, reference, speaker) if compared else None,
            **means,
        )
        rows.append(row)
    return rows


def _require_aligned(systems: Mapping[str, Seeds], where: str) -> None:
    if systems:
        require_aligned({name: one.main for name, one in systems.items()}, where)


def _scores(system: str, one: Seeds, reference: Seeds | None) -> dict[str, Any]:
    """The fields of `Scored`."""
    first, main = one.first[one.headline], one.main
    found: dict[str, Any] = {
        "system": system,
        "seeds": len(one.runs),
        "folds": len({*first.fold}),
        "clips": len(first),
        "nll": one.mean(nll),
        "warnings": one.warnings,
    }
    for name, score in SCORES.items():
        interval, each = score_interval(main, score), one.each(score)
        found[name] = Score(float(np.mean(each)), interval.low, interval.high, spread(each))
    if reference:
        found["gain"] = difference(main, reference.main, accuracy)
        found["mcnemar_p"] = mcnemar(first, reference.first[reference.headline])
    return found


def _corrected(rows: Sequence[ScoredRow]) -> list[ScoredRow]:
    """Rows with `holm_p` beside `mcnemar_p`."""
    corrected = iter(holm([row.mcnemar_p for row in rows if row.mcnemar_p is not None]))
    return [row if row.mcnemar_p is None else replace(row, holm_p=next(corrected)) for row in rows]


def _own(system: str, seeds: Seeds) -> dict[str, Any]:
    """What a system's row has apart from its scores."""
    main = seeds.main
    speakers = {name: share.value for name, (_, share) in per_speaker(main).items()}
    recalls = {row.emotion: row.recall.value for row in per_emotion(main) if row.clips}
    return {
        "chance": chance(main),
        "majority": majority(main),
        "paper_accuracy": SYSTEMS[system].paper,
        "ece": seeds.mean(ece),
        "brier": seeds.mean(brier),
        **_branches(seeds),
        "speaker_min": min(speakers.values()),
        "speaker_max": max(speakers.values()),
        "speaker_sd": spread(list(speakers.values())),
        "trained": seeds.trained,
        "total": seeds.total,
        "steps": seeds.steps,
        "train_s": seeds.train_s,
        "infer_ms": seeds.infer_ms,
        "speaker": speakers,
        "recall": recalls,
    }


def _branches(seeds: Seeds) -> dict[str, Any]:
    """Whether the fused branch is at least as good as the better of the two, and as their sum."""
    branches = seeds.branches
    if not {"audio", "visual", "av"} <= branches.keys():
        return {}
    each = {name: seeds.each(accuracy, name) for name in ("audio", "visual", "av")}
    best = max(("audio", "visual"), key=lambda name: sum(each[name]))
    plain = over_seeds(seeds.sums)
    return {
        "network": seeds.network,
        "weight": dict(seeds.weights),
        "audio": float(np.mean(each["audio"])),
        "visual": float(np.mean(each["visual"])),
        "best_branch": best,
        "over_best": difference(branches["av"], branches[best], accuracy),
        "over_best_worst_seed": min(
            av - other for av, other in zip(each["av"], each[best], strict=True)
        ),
        "branch_sum": fmean(float(one.correct.mean()) for one in seeds.sums.values()),
        "over_sum": difference(branches["av"], plain, accuracy),
    }


def _box_mean(variant: BoxScores, reference: str, name: str) -> Mean | None:
    known = []
    for metrics in variant.seeds.values():
        part = metrics if reference == "dlib" else metrics.get("truth")
        value = part.get(name) if isinstance(part, Mapping) else None
        if isinstance(value, int | float):
            known.append(float(value))
    return Mean(float(np.mean(known)), spread(known)) if known else None


def _box_gain(variant: BoxScores, reference: BoxScores, speaker: Mapping[str, str]) -> Interval:
    rows = [(seed, clip) for seed, clips in variant.iou.items() for clip in clips]
    gains = np.array([variant.iou[seed][clip] - reference.iou[seed][clip] for seed, clip in rows])
    clips = [clip for _, clip in rows]
    low, high = mean_interval(gains, clips, [speaker[clip] for clip in clips])
    return Interval(float(gains.mean()), low, high)
