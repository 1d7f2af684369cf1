"""Frames with an ellipse for a face and bars for brows and mouth, and their annotations."""

from pathlib import Path

import cv2
import numpy as np

from annotations.voc import Annotation, Box, FaceObject, write
from models.faces.params import DetectorParams
from pipeline.clips import ClipRecord, frame_name, write_clips

WIDTH_PX, HEIGHT_PX = 160, 128
EMOTIONS = ("anger", "happiness")

TINY = DetectorParams(
    classes="emotion",
    backbone="resnet18_light",
    weights="untrained",
    frozen_stages=0,
    min_size_px=64,
    max_size_px=80,
    box_loss="kl",
    box_weight=1.0,
    closer_px=0,
    closer_epochs=0,
    kl_warmup_epochs=0,
    voting=True,
    voting_sigma_t=0.02,
    proposals=32,
    roi_batch=16,
    score_threshold=0.05,
    nms_iou=0.5,
    corrupt=0.0,
    frames_per_clip_train=2,
    frames_per_clip=2,
    epochs=1,
    batch=4,
    lr=1e-3,
    weight_decay=1e-4,
    threads=1,
    seed=0,
)


def draw_face(x: int, y: int, radius: int, emotion: str) -> tuple[np.ndarray, Box]:
    """BGR image with a face centred at (x, y), and its box."""
    image = np.full((HEIGHT_PX, WIDTH_PX, 3), 90, np.uint8)
    cv2.ellipse(image, (x, y), (radius, radius), 0, 0, 360, (150, 180, 220), -1)
    start, end = (0, 180) if emotion == "happiness" else (180, 360)
    for eye in (-radius // 3, radius // 3):
        cv2.circle(image, (x + eye, y - radius // 3), radius // 6, (20, 20, 20), -1)
    mouth = (radius // 2, radius // 3)
    cv2.ellipse(image, (x, y + radius // 2), mouth, 0, start, end, (40, 40, 160), 3)
    corners = (x - radius, y - radius, x + radius + 1, y + radius + 1)
    return image, Box(*map(float, corners))


def write_voc(root: Path, clips: int = 4, frames: int = 3, faceless: str = "") -> list[ClipRecord]:
    """`voc/JPEGImages`, `voc/Annotations` and `clips.csv` below `root`."""
    folders = [root / "voc" / name for name in ("JPEGImages", "Annotations")]
    for folder in folders:
        folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    records = []
    for k in range(clips):
        emotion = EMOTIONS[k % 2]
        clip_id = f"S{k // 2}_c{k:02d}"
        records.append(_record(clip_id, emotion, frames))
        for index in range(frames):
            x, y = 80 + int(rng.integers(-30, 30)), 64 + int(rng.integers(-15, 15))
            image, box = draw_face(x, y, int(rng.integers(28, 40)), emotion)
            name = frame_name(clip_id, index)
            cv2.imwrite(str(folders[0] / f"{name}.jpg"), image)
            faces = () if clip_id == faceless else (FaceObject(box, emotion=emotion),)
            annotation = Annotation(f"{name}.jpg", WIDTH_PX, HEIGHT_PX, faces)
            write(folders[1] / f"{name}.xml", annotation)
    write_clips(root / "clips.csv", records)
    return records


def _record(clip_id: str, emotion: str, frames: int) -> ClipRecord:
    return ClipRecord(clip_id, clip_id[:2], emotion, "", frames, 25.0, 1, WIDTH_PX, HEIGHT_PX, 0, 0)
