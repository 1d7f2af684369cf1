"""Stage `detect`: train the face detector per fold, and take face features of every clip with it.

It never sees a test clip; further detectors leave out the clips of each inner fold. Inputs:
`data/voc`, `data/clips.csv`, `data/truth`. Outputs: `results/detector` (weights, detections,
history, metrics), `data/face_features`. Params: `detector`, `split`, `inner_folds`.
"""

import time
from pathlib import Path

from models.faces.folds import DetectPaths, detect, train_beside
from models.faces.params import DetectorParams
from pipeline.clips import read_clips
from pipeline.params import load_section
from pipeline.splits import InnerFoldParams, SplitParams, all_inner_folds, make_folds
from pipeline.work.integrity import require_frames
from pipeline.work.progress import counted, figure, print_summary
from pipeline.work.ranks import rank
from stages.boundary import run


def main(voc: Path, clips: Path, truth: Path, results: Path, face_features: Path) -> None:
    """Train the face detector per fold, and take face features of every clip with it.

    Args:
        voc: frames and their annotations, `data/voc`.
        clips: table of clips, `data/clips.csv`.
        truth: true boxes by clip where the corpus states them, `data/truth`.
        results: folder for weights, detections, history and metrics.
        face_features: folder for the features of each fold.
    """
    started = time.monotonic()
    params = load_section("detector", DetectorParams)
    records = read_clips(clips)
    require_frames(voc)
    folds = make_folds(records, load_section("split", SplitParams))
    inner = all_inner_folds(records, folds, load_section("inner_folds", InnerFoldParams))
    paths = DetectPaths(voc, truth, results, face_features)
    if rank() > 0:
        train_beside(paths, records, folds, inner, params)
        return
    metrics = detect(paths, records, folds, inner, params).metrics
    if metrics["frames"] == 0:
        print_summary("detect", str(metrics["note"]), started)
        return
    print_summary(
        "detect",
        f"{counted(len(folds), 'fold')}, {counted(len(inner), 'inner fold')}, "
        f"{metrics['frames']} test frames, "
        f"{metrics['frames_without_detection']} without a detection, "
        f"mean IoU {figure(metrics['mean_iou'])}, AP90 {figure(metrics['ap90'])}",
        started,
    )


if __name__ == "__main__":
    run(main)
