"""A run's results as the stages leave them, small and made up, for the report's tests."""

import csv
import json
from pathlib import Path

import cv2
import numpy as np

from pipeline.clips import EMOTIONS, ClipRecord, Reject, frame_name
from pipeline.report.frames import publish_frames, read_detections
from pipeline.report.run import Corpus, Method, Preset, Protocol, Run, Scores, write_run
from pipeline.scores.metrics import summarise, summarise_plainly
from pipeline.scores.predictions import Predictions, headline, write_predictions
from pipeline.scores.results import digest_of_test_set
from pipeline.splits import Fold, SplitParams
from pipeline.systems import SYSTEMS

KINDS = EMOTIONS[:7]
SPEAKERS = ("DC", "JE", "JK", "KL")
TAKES = 4
WIDTH, HEIGHT = 320, 256

DETECTOR = (
    '{"frames": 112, "frames_without_detection": 0, "emotion_accuracy": 0.55, "ap50": 0.99,'
    ' "ap75": 0.97, "ap90": 0.71, "mean_iou": 0.936, "sigma_nll": 1.42, "coverage_68": 0.71,'
    ' "coverage_95": 0.94, "truth": {"ap50": 0.99, "mean_iou": 0.841, "sigma_nll": null}}'
)
ANNOTATION = (
    '{"clips": 112, "frames": 112, "frames_without_face": 0, "found_rate": 1.0, "truth":'
    ' {"recall": 0.998, "mean_iou": 0.86, "speech_auc_by_speaker": {"DC": 0.93}}}'
)
METHOD = Method(
    audio_weights="untrained", detector_weights="untrained", handcrafted=True,
    speech_weighting=True, backbone="resnet18_light", box_loss="kl", voting=True, joint=False,
    pool=False, head="residual", embeddings=("Wavegram_Cnn14", "Wavegram_Logmel_Cnn14"),
)  # fmt: skip


def make_run(
    root: Path, system: str = "av_faster_rcnn", corpus: str = "demo", pool: bool = False
) -> Path:
    """Write the results of `system`; an audio system has no frames and no detector.

    Args:
        root: gets the stored frames as well.
        system: its name.
        corpus: `corpus.name`.
        pool: `fusion.pool`.

    Returns:
        The folder `results`.
    """
    generator = np.random.default_rng(3)
    visual = "video" in SYSTEMS[system].modalities
    records = [
        ClipRecord(
            f"{speaker}_{emotion[:2]}{take:02d}", speaker, emotion, "", 12 if visual else 0, 25.0,
            4, WIDTH, HEIGHT, 96_000, 48_000,
        )
        for speaker in SPEAKERS for emotion in KINDS for take in range(1, TAKES + 1)
    ]  # fmt: skip
    results = root / "results"
    results.mkdir(parents=True)
    branches = _branches(records, system, generator)
    write_predictions(results / "predictions.csv", branches)
    _write_history(
        results / "history.csv",
        ("audio", "visual", "warmup", "joint"),
        ("total", "l_av", "l_a", "l_v"),
    )
    boxes = _write_visual(root, records, generator) if visual else {}
    write_run(results / "run.json", _record(root, system, corpus, records, branches, boxes, pool))
    return results


def _record(root, system, corpus, records, branches, boxes, pool):
    results, main_branch = root / "results", headline(branches)
    main = branches[main_branch]
    bad = Reject("DC_xx", "AudioData/DC/täke 9.wav", "0 bytes; expected a recording; remove it")
    split = SplitParams(
        protocol="paper",
        test_per_emotion=10,
        speaker_groups=0,
        text_groups=5,
        folds_csv=Path("folds.csv"),
        seed=0,
    )
    detections = read_detections(results / "detector" / "detections.csv") if boxes else []
    scores = summarise(branches, 0.5) | {
        "as_trained": summarise_plainly(branches),
        "weights": dict.fromkeys(branches, 0.5) if pool else {main_branch: 0.5},
        "collapsed": (),
        "faceless": 0,
    }
    frames = publish_frames(results / "frames", root / "voc", records, main, detections, boxes.get)
    return Run(
        system=system,
        params={
            "corpus": {"label_source": "acted"},
            "training": {"seed": 7},
            "loss": {"alpha": 0.5, "beta": 1.0},
        },
        preset=Preset(name="demo", differing={"audio.epochs": ("40", "5")}),
        method=METHOD,
        corpus=Corpus.of(corpus, records, len(records), [bad]),
        protocol=Protocol.of(
            split,
            [Fold("paper", main.clip_id[:1], main.clip_id)],
            {r.clip_id: r.speaker for r in records},
            digest_of_test_set(main),
        ),
        scores=Scores.of(scores),
        detector=json.loads(DETECTOR) if boxes else {},
        annotation=json.loads(ANNOTATION) if boxes else {},
        frames=frames,
    )


def _branches(records, system, generator):
    names = {"audio": ["audio"], "visual": ["visual"]}.get(
        SYSTEMS[system].branch, ["av", "audio", "visual"]
    )
    strength = {"av": 2.6, "audio": 1.5, "visual": 2.0}
    truth = np.array([KINDS.index(record.emotion) for record in records])
    noise = generator.normal(size=(len(records), len(KINDS)))
    return {name: _predictions(records, truth, noise, strength[name]) for name in names}


def _predictions(records, truth, noise, strength):
    logits = 1.3 * (noise + strength * np.eye(len(KINDS))[truth])
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return Predictions(
        emotions=KINDS,
        fold=("paper",) * len(records),
        clip_id=tuple(record.clip_id for record in records),
        speaker=tuple(record.speaker for record in records),
        sentence=("",) * len(records),
        emotion=truth,
        predicted=probabilities.argmax(axis=1),
        confidence=probabilities.max(axis=1),
        probabilities=probabilities,
    )


def _write_history(path, phases, names):
    rows, epoch = [], 0
    for phase in phases:
        for _ in range(12):
            epoch += 1
            losses = {name: 2.2 * np.exp(-epoch / (6 + 4 * i)) for i, name in enumerate(names)}
            rows.append({"fold": "paper", "phase": phase, "epoch": epoch, **losses})
    _write_rows(path, rows)


def _write_visual(root, records, generator):
    """Frames, detections and figures; returns the annotated box of each drawn frame."""
    jpegs = root / "voc"
    jpegs.mkdir(parents=True)
    detector = root / "results" / "detector"
    detector.mkdir()
    boxes, rows = {}, []
    for record in records:
        for frame in (6,):
            name = frame_name(record.clip_id, frame)
            centre = generator.uniform((130, 110), (190, 146))
            boxes[name] = (*(centre - 55), *(centre + 55))
            cv2.imwrite(str(jpegs / f"{name}.jpg"), _face(centre, record))
            rows.append(_detection(record, frame, boxes[name], generator))
    _write_rows(detector / "detections.csv", rows)
    _write_history(detector / "history.csv", ("detector",), ("total", "class", "box"))
    return boxes


def _detection(record, frame, box, generator):
    sigma = generator.uniform(1.5, 4.0, size=4)
    found = np.array(box) + generator.normal(size=4) * sigma
    sides = ("x1", "y1", "x2", "y2")
    return {
        "fold": "paper", "split": "test", "clip_id": record.clip_id, "frame": frame,
        "rank": 0, "score": generator.uniform(0.6, 1), "label": record.emotion,
        **dict(zip(sides, found, strict=True)),
        **{f"sigma_{side}": value for side, value in zip(sides, sigma, strict=True)},
        **{f"dlib_{side}": value for side, value in zip(sides, box, strict=True)},
        **{f"truth_{side}": value + 2 for side, value in zip(sides, box, strict=True)},
    }  # fmt: skip


def _face(centre, record):
    image = np.full((HEIGHT, WIDTH, 3), (150, 160, 165), np.uint8)
    x, y = (int(value) for value in centre)
    cv2.ellipse(image, (x, y), (52, 66), 0, 0, 360, (140, 175, 215), -1, cv2.LINE_AA)
    for side in (-20, 20):
        cv2.circle(image, (x + side, y - 16), 6, (60, 50, 40), -1, cv2.LINE_AA)
    bend = 10 if record.emotion == "happiness" else -6
    cv2.ellipse(image, (x, y + 30), (20, abs(bend)), 0, 0, 180 * np.sign(bend), (60, 60, 160), 3)
    return image


def _write_rows(path, rows):
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
