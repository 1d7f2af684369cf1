"""Throughput of the parts that take the time: each on one thread, on drawn or random input.

Run with `make bench`. Pipelines scale with processes, so one thread is what a worker has.
"""

import time
from collections.abc import Callable
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import cv2
import numpy as np
import torch

from annotations.faces.detection import detect_faces
from annotations.params import AnnotateParams
from models.audio.front_end import RATE_HZ
from models.audio.handcrafted import mfcc
from models.audio.panns import build
from models.faces.voting import nms_with_voting
from pipeline.corpora.demo.cast import SPEAKERS
from pipeline.corpora.demo.film import film, pose
from pipeline.corpora.demo.plan import Variation, perform
from pipeline.corpora.demo.score import compose
from pipeline.media.sound import resample
from pipeline.presets import preset_values
from tests.panns_reference import panns_inference

REPEATS = 5
SOUND_S = 4.0
NATIVE_HZ = 44_100
SIZE_PX = (320, 256)
BOXES = 500


def median_s(work: Callable[[], object]) -> float:
    """Seconds of one call, the median of `REPEATS` after one to warm up."""
    work()
    times = []
    for _ in range(REPEATS):
        started = time.perf_counter()
        work()
        times.append(time.perf_counter() - started)
    return sorted(times)[REPEATS // 2]


def sound() -> None:
    generator = np.random.default_rng(0)
    native = generator.normal(0, 0.1, int(SOUND_S * NATIVE_HZ)).astype(np.float32)
    wave = generator.normal(0, 0.1, int(SOUND_S * RATE_HZ)).astype(np.float32)
    for method in ("soxr", "resampy"):
        seconds = median_s(lambda m=method: resample(native, NATIVE_HZ, m, "high"))
        row(f"resample, {method}", SOUND_S / seconds, "s of sound a second")
    row("mfcc statistics", SOUND_S / median_s(lambda: mfcc(wave)), "s of sound a second")
    batch = torch.from_numpy(wave)[None]  # [1, T]
    for name in ("Cnn14", "Wavegram_Cnn14", "Wavegram_Logmel_Cnn14"):
        network = build(name).eval()
        with torch.inference_mode():
            seconds = median_s(lambda n=network: n.embed(batch))
        row(f"embed, {name}", SOUND_S / seconds, "s of sound a second")
    with TemporaryDirectory() as folder:
        published = published_cnn14(Path(folder))
    seconds = median_s(lambda: published.inference(batch))
    row("embed, Cnn14 of panns-inference", SOUND_S / seconds, "s of sound a second")


def published_cnn14(folder: Path) -> Any:
    """`panns_inference.AudioTagging` with our untrained weights, on the CPU."""
    checkpoint = folder / "Cnn14.pth"
    torch.save({"model": build("Cnn14").state_dict()}, checkpoint)
    with redirect_stdout(StringIO()):
        tagging = panns_inference(folder).AudioTagging
        return tagging(checkpoint_path=str(checkpoint), device="cpu")


def faces() -> None:
    play = perform(SPEAKERS[0], "anger", 1, Variation(0, 0.3))
    score = compose(play, (1.5, 1.6), 25.0)
    frame = next(iter(film(play, pose(play, score, SIZE_PX), SIZE_PX)))
    gray = cv2.cvtColor(frame, cv2.COLOR_BGR2GRAY)
    params = AnnotateParams(**preset_values("demo")["annotate"])
    for width_px in (320, 1920):
        size = (width_px, width_px * SIZE_PX[1] // SIZE_PX[0])
        sized = cv2.resize(gray, size)
        speed = 1 / median_s(lambda picture=sized: detect_faces(picture, params))
        row(f"dlib, {size[0]} x {size[1]}", speed, "frames a second")


def voting() -> None:
    """What variance voting costs over NMS alone."""
    generator = torch.Generator().manual_seed(0)
    corners = torch.rand(BOXES, 2, generator=generator) * 200
    boxes = torch.cat([corners, corners + 60], dim=1)
    scores = torch.rand(BOXES, generator=generator)
    log_var = torch.zeros(BOXES, 4)
    plain = median_s(lambda: nms_with_voting(boxes, scores, log_var, 0.5, None))
    voted = median_s(lambda: nms_with_voting(boxes, scores, log_var, 0.5, 0.02))
    row(f"NMS of {BOXES} boxes", 1000 * plain, "ms")
    row("the same with variance voting", 1000 * voted, "ms")


def row(what: str, value: float, unit: str) -> None:
    print(f"{what:32} {value:10.2f} {unit}", flush=True)


def main() -> None:
    torch.set_num_threads(1)
    sound()
    faces()
    voting()


if __name__ == "__main__":
    main()
