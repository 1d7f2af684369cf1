"""How good the detector is on test frames: scores, and each detection as a row of a table."""

import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from torchvision.ops import box_iou

from annotations import truth
from annotations.voc import Box
from models.faces.frames import Frame
from pipeline.splits import Fold

AP_THRESHOLDS = {"ap50": 0.5, "ap75": 0.75, "ap90": 0.9}

NORMAL_QUANTILES = {"coverage_68": 0.9945, "coverage_95": 1.9600}
"""Half-widths, in sigma, of the intervals that hold 68% and 95% of a normal distribution."""

FAILED_IOU = 0.5
"""Mean IoU with dlib's boxes below which a detector has not learned where the face is."""


@dataclass(frozen=True, slots=True)
class ScoredFrame:
    """A test frame and what the detector says of it.

    Attributes:
        boxes: detections [N, 4] px, best first.
        scores: theirs [N].
        sigma: theirs [N, 4] px.
        label: class index of the frame's clip.
        found: class index of the best detection, -1 without one.
        references: true face [4] px by name of the reference, None where it shows no face; a
            reference that does not know the frame is absent.
    """

    boxes: Tensor
    scores: Tensor
    sigma: Tensor
    label: int
    found: int
    references: dict[str, Tensor | None]

    @classmethod
    def of(
        cls, frame: Frame, faces: Mapping[str, Tensor], known: Mapping[str, Box | None]
    ) -> "ScoredFrame":
        """From a frame, its rows of `models.faces.task.all_detections` and its `references`."""
        return cls(
            faces["boxes"],
            faces["scores"],
            faces["sigma"],
            frame.label,
            int(faces["label"][0]) if len(faces["label"]) else -1,
            {name: None if box is None else box_tensor(box) for name, box in known.items()},
        )


def references(frame: Frame, true: Mapping[int, Box]) -> dict[str, Box | None]:
    """The boxes that a frame is scored against, by name; None where it shows no face.

    Args:
        frame: of a clip.
        true: the clip's true boxes by stored frame, see `read_truth`.
    """
    known = {"dlib": frame.box} if frame.is_reference else {}
    if frame.index in true:
        known["truth"] = true[frame.index]
    return known


def frame_by_frame(found: Mapping[str, Tensor], frames: int) -> Iterator[dict[str, Tensor]]:
    """The rows of each frame, of what `models.faces.task.all_detections` joined.

    Args:
        found: sorted by `frame`.
        frames: their number; some may have no row.
    """
    counts = torch.bincount(found["frame"], minlength=frames).tolist()
    parts = {name: part.split(counts) for name, part in found.items()}
    for position in range(frames):
        yield {name: part[position] for name, part in parts.items()}


def score_frames(
    frames: Sequence[ScoredFrame], learned_sigma: bool, emotions: bool
) -> dict[str, object]:
    """The content of `results/detector/metrics.json`, but for its `warning`.

    Args:
        frames: test frames of all folds.
        learned_sigma: whether the sigmas were trained; otherwise they are not scored.
        emotions: whether the classes are emotions.

    Returns:
        `ap50`, `ap75`, `ap90`, `mean_iou`, `sigma_nll`, `coverage_68` and `coverage_95` against
        dlib's boxes, the same against the true boxes under `truth` where they are known, and
        `emotion_accuracy` of the best box. A frame without detection has IoU 0 and no emotion.
        What cannot be scored is null.
    """
    missed = sum(len(frame.scores) == 0 for frame in frames)
    right = [frame.found == frame.label for frame in frames]
    known = any("truth" in frame.references for frame in frames)
    return {
        "frames": len(frames),
        "frames_without_detection": missed,
        "emotion_accuracy": _mean([float(r) for r in right]) if emotions else None,
        **against(frames, "dlib", learned_sigma),
        "truth": against(frames, "truth", learned_sigma) if known else None,
    }


def rounded(metrics: Mapping[str, object]) -> dict[str, object]:
    """The same with six decimals, as they are written."""
    found: dict[str, object] = json.loads(
        json.dumps(metrics), parse_float=lambda text: round(float(text), 6)
    )
    return found


def failure(
    overlaps: Mapping[str, float | None],
    totals: Mapping[str, Sequence[float]],
    rate: str = "detector.lr",
) -> str | None:
    """How training failed, for `warning` in `metrics.json`; a loss that is not finite stops it.

    Args:
        overlaps: `mean_iou` with dlib's boxes on held-out frames, by fold.
        totals: mean total loss of each epoch, by fold.
        rate: the parameter that sets the learning rate.

    Returns:
        What went wrong and a remedy; None where nothing did.
    """
    causes = [
        f"fold {fold} (the loss diverged, from {means[0]:.3f} in the first epoch to "
        f"{means[-1]:.3f} in the last)"
        for fold, means in totals.items()
        if means[-1] > means[0]
    ]
    causes += [
        f"fold {fold} (mean IoU with dlib's boxes is {overlap:.2f}, below {FAILED_IOU})"
        for fold, overlap in overlaps.items()
        if overlap is not None and overlap < FAILED_IOU
    ]
    if not causes:
        return None
    return f"the face detector failed in {', '.join(causes)}: try a lower {rate} or more epochs"


def against(
    frames: Sequence[ScoredFrame], reference: str, learned_sigma: bool
) -> dict[str, float | None]:
    """Boxes and sigmas against one reference, over the frames it knows."""
    known = [frame for frame in frames if reference in frame.references]
    pairs = [(f, box) for f in known if (box := f.references[reference]) is not None]
    found = [(frame, box) for frame, box in pairs if len(frame.scores) > 0]
    scores: dict[str, float | None] = {
        name: average_precision(known, reference, iou) for name, iou in AP_THRESHOLDS.items()
    }
    scores["mean_iou"] = mean_iou(frames, reference)
    if not learned_sigma or not found:
        return {**scores, "sigma_nll": None, **dict.fromkeys(NORMAL_QUANTILES, None)}
    errors = torch.stack([frame.boxes[0] - box for frame, box in found])  # [F, 4]
    return {**scores, **score_sigma(errors, torch.stack([f.sigma[0] for f, _ in found]))}


def mean_iou(frames: Iterable[ScoredFrame], reference: str) -> float | None:
    """IoU of the best box with the reference's, over the frames where that shows a face."""
    return _mean(
        [
            _best_iou(frame, box)
            for frame in frames
            if (box := frame.references.get(reference)) is not None
        ]
    )


def score_sigma(errors: Tensor, sigma: Tensor) -> dict[str, float | None]:
    """Does sigma tell the size of the errors?

    Args:
        errors: coordinate errors, any shape, px.
        sigma: stated standard deviations, same shape, px.

    Returns:
        `sigma_nll`, mean negative log likelihood of the errors under N(0, sigma^2), nat a
        coordinate; `coverage_68` and `coverage_95`, the shares of errors inside the intervals that
        should hold 68% and 95%.
    """
    z = errors / sigma
    nll = torch.log(sigma) + z**2 / 2 + math.log(2 * math.pi) / 2
    inside = {
        name: (z.abs() <= quantile).float().mean().item()
        for name, quantile in NORMAL_QUANTILES.items()
    }
    return {"sigma_nll": nll.mean().item(), **inside}


def average_precision(frames: Sequence[ScoredFrame], reference: str, iou: float) -> float | None:
    """COCO's average precision at one IoU threshold, faces of any emotion; None without a face."""
    if all(frame.references[reference] is None for frame in frames):
        return None
    from torchmetrics.detection import MeanAveragePrecision  # 3 s, and few import this to score

    metric = MeanAveragePrecision(iou_thresholds=[iou], backend="faster_coco_eval")
    metric.update(
        [_labelled(f.boxes, scores=f.scores) for f in frames],
        [_labelled(_rows(f.references[reference])) for f in frames],
    )
    return float(metric.compute()["map"])


def _labelled(boxes: Tensor, **more: Tensor) -> dict[str, Tensor]:
    return {"boxes": boxes, "labels": torch.ones(len(boxes), dtype=torch.int64), **more}


def _rows(box: Tensor | None) -> Tensor:
    return torch.zeros(0, 4) if box is None else box[None]


def _best_iou(frame: ScoredFrame, box: Tensor) -> float:
    if len(frame.scores) == 0:
        return 0.0
    return box_iou(frame.boxes[:1], box[None]).item()


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None


SIDES = ("x1", "y1", "x2", "y2")
REFERENCES = ("dlib", "truth")
DETECTION_COLUMNS = (
    *("fold", "split", "clip_id", "frame", "rank", "score", "label"),
    *SIDES,
    *(f"sigma_{side}" for side in SIDES),
    *(f"{reference}_{side}" for reference in REFERENCES for side in SIDES),
)
"""One row a detection; `rank` 0 is the frame's best; px; a reference that is unknown is empty."""


def detection_rows(
    fold: Fold,
    classes: Sequence[str],
    frame: Frame,
    faces: Mapping[str, Tensor],
    known: Mapping[str, Box | None],
) -> Iterator[dict[str, object]]:
    """Rows of one frame.

    Args:
        fold: whose detector it is; its test clips are marked.
        classes: of the detector, without the background.
        frame: the frame.
        faces: its rows of `models.faces.task.all_detections`, best first.
        known: reference boxes of the frame by name.
    """
    references = {
        f"{name}_{side}": _text(getattr(box, side))
        for name, box in known.items()
        if box is not None
        for side in SIDES
    }
    for rank, score in enumerate(faces["scores"].tolist()):
        box = dict(zip(SIDES, map(_text, faces["boxes"][rank].tolist()), strict=True))
        sigma = {
            f"sigma_{side}": _text(value)
            for side, value in zip(SIDES, faces["sigma"][rank].tolist(), strict=True)
        }
        yield {
            "fold": fold.name,
            "split": next(
                (part for part in ("train", "test") if frame.clip_id in getattr(fold, part)),
                "asked",
            ),
            "clip_id": frame.clip_id,
            "frame": frame.index,
            "rank": rank,
            "score": f"{score:.4f}",
            "label": classes[int(faces["label"][rank]) - 1],
            **box,
            **sigma,
            **references,
        }


def read_truth(path: Path, frame_step: int) -> dict[int, Box]:
    """True face boxes by stored-frame index; empty where the corpus states none.

    Args:
        path: `data/truth/<clip id>.csv`, numbered by source frame.
        frame_step: source frames per stored frame.

    Raises:
        CorpusError: the file is not a table of boxes.
    """
    if not path.is_file():
        return {}
    found = truth.read_truth(path).items()
    return {frame // frame_step: true.box for frame, true in found if frame % frame_step == 0}


def box_tensor(box: Box) -> Tensor:
    """Corners as float32 [4], px."""
    return torch.tensor([box.x1, box.y1, box.x2, box.y2])


def _text(value: float) -> str:
    return f"{value:.2f}"
