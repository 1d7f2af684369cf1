"""How well the annotation agrees with a corpus's ground truth, where it comes with one."""

from collections import defaultdict
from collections.abc import Mapping, Sequence

from annotations.faces.annotate import FrameSummary
from annotations.truth import TrueFrame
from pipeline.clips import ClipRecord
from pipeline.work.progress import counted

FOUND_IOU = 0.5
"""Overlap with the true box from which a face counts as found."""

SPEAKS = 0.5
"""Speech probability from which a frame counts as speech."""


def measure(
    records: Sequence[ClipRecord],
    summaries: Mapping[str, Sequence[FrameSummary]],
    truths: Mapping[str, Mapping[int, TrueFrame]],
) -> dict[str, object]:
    """Compare boxes and speech probabilities with the truth.

    Args:
        records: clips; those without a truth are left out.
        summaries: rows of each clip's frames.
        truths: true frames of each clip, by source frame.

    Returns:
        `frames`: frames with a true face. `recall`: share of them whose speaker box overlaps it by
        `FOUND_IOU`. `mean_iou`: over frames with a speaker box. `speech_auc`: area under the ROC
        curve of the speech probability, mean over speakers; `speech_auc_by_speaker` has each.
        `speech_f1`: F1 of the frames whose probability is at least `SPEAKS`.
        Figures without data are left out.
    """
    overlaps: list[float] = []
    frames = 0
    speech: dict[str, list[tuple[bool, float]]] = defaultdict(list)
    for record in records:
        for row in summaries.get(record.clip_id, ()):
            true = truths.get(record.clip_id, {}).get(row.frame * record.frame_step)
            if true is None:
                continue
            frames += 1
            overlaps += [row.box.iou(true.box)] if row.box else []
            speech[record.speaker].append((true.speaking, row.speech))
    found: dict[str, object] = {"frames": frames}
    if frames:
        found["recall"] = round(sum(iou >= FOUND_IOU for iou in overlaps) / frames, 4)
    if overlaps:
        found["mean_iou"] = round(sum(overlaps) / len(overlaps), 4)
    areas = {name: area_under_roc(pairs) for name, pairs in sorted(speech.items())}
    by_speaker = {name: round(area, 4) for name, area in areas.items() if area is not None}
    if by_speaker:
        found["speech_auc"] = round(sum(by_speaker.values()) / len(by_speaker), 4)
        found["speech_auc_by_speaker"] = by_speaker
    pairs = [pair for pairs in speech.values() for pair in pairs]
    if any(speaking for speaking, _ in pairs):
        found["speech_f1"] = round(f1([(true, p >= SPEAKS) for true, p in pairs]), 4)
    return found


def describe(figures: Mapping[str, object]) -> str:
    """The summary line's numbers: counts, and agreement with the truth where there is one."""
    counts = (counted(int(str(figures[f"{noun}s"])), noun) for noun in ("clip", "frame"))
    text = f"{', '.join(counts)}, {figures['frames_without_face']} without a face"
    truth = figures.get("truth")
    if isinstance(truth, dict) and "speech_auc" in truth and "mean_iou" in truth:
        text += "; against truth: recall {recall:.3f}, mean IoU {mean_iou:.3f}".format(**truth)
        text += ", speech AUC {speech_auc:.3f}".format(**truth)
    return text


def f1(pairs: Sequence[tuple[bool, bool]]) -> float:
    """Harmonic mean of precision and recall of (is positive, is said to be) pairs, 0 to 1."""
    both = sum(true and said for true, said in pairs)
    either = sum(true + said for true, said in pairs)
    return 2 * both / either


def area_under_roc(pairs: Sequence[tuple[bool, float]]) -> float | None:
    """Chance that a positive has the higher score than a negative, ties counted half.

    Args:
        pairs: (is positive, score).

    Returns:
        0 to 1, None where one of the classes is missing.

    Source: Mann and Whitney (1947): their U over the number of pairs.
    """
    from scipy.stats import mannwhitneyu  # takes a second to import

    positives = [score for positive, score in pairs if positive]
    negatives = [score for positive, score in pairs if not positive]
    if not positives or not negatives:
        return None
    u = mannwhitneyu(positives, negatives, method="asymptotic").statistic
    return float(u / (len(positives) * len(negatives)))
