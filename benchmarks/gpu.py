"""Networks on the chosen device, end to end from files, beside the same networks alone.

    AVEMO_DEVICE=cuda python -m benchmarks.gpu

Each figure is the median of `REPEATS` after one to warm up, rival and ours in the same run on the
same input. On an H100, PANNs alone take 3,300 clips/s of 4 s at batch 64, and torchvision's
detector alone 373 images/s in inference at batch 32 and 156 in training, where the host is what
limits it. Ours end to end has not been measured on a card yet.
"""

import argparse
import os
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import cv2
import numpy as np
import torch
from torchvision.models.detection import fasterrcnn_resnet50_fpn

from annotations.box import Box
from models.audio.embed import BATCH, embed_all, make_jobs
from models.audio.front_end import RATE_HZ
from models.audio.panns import build
from models.audio.params import EmbedParams
from models.device import CPU, chosen_device, device_name
from models.faces.frames import Frame, image_tensor, target_of
from models.faces.params import DetectorParams
from models.faces.train import FRAMES_AT_ONCE, detect_frames, train_detector
from models.faces.weights import build_detector
from pipeline.clips import ClipRecord
from pipeline.media.images import read_image
from pipeline.media.sound import write_wav
from pipeline.params import load_section

REPEATS = 5
SOUND_S = 4.0
NETWORK = "Wavegram_Logmel_Cnn14"
WIDTH_PX, HEIGHT_PX = 1280, 720


def median_s(work: Callable[[], object], device: torch.device) -> float:
    """Seconds of one call until the device is done."""
    times = []
    for _ in range(REPEATS + 1):
        started = time.perf_counter()
        work()
        if device != CPU:
            torch.accelerator.synchronize(device)
        times.append(time.perf_counter() - started)
    return sorted(times[1:])[REPEATS // 2]


def row(what: str, alone: float, ours: float, unit: str) -> None:
    print(f"{what:20} {alone:9.1f} {ours:9.1f} {unit:10} {ours / alone:5.2f} x", flush=True)


def sound(folder: Path, clips: int, device: torch.device) -> None:
    """The network alone on one batch; ours from wavs to the clip cache."""
    generator, samples = np.random.default_rng(0), round(SOUND_S * RATE_HZ)
    records = []
    for number in range(clips):
        wave = generator.normal(0, 0.1, samples).astype(np.float32)
        write_wav(folder / f"c{number}.wav", wave, RATE_HZ)
        size = (0, 0.0, 1, 0, 0, samples, RATE_HZ)
        records.append(ClipRecord(f"c{number}", "s", "anger", "", *size))
    size = min(BATCH, clips)
    network, batch = build(NETWORK).to(device), torch.zeros(size, samples, device=device)
    alone = size / median_s(lambda: network.embed(batch), device)
    only = {"networks": (NETWORK,), "handcrafted": (), "weights": "untrained"}
    params = load_section("embed", EmbedParams).model_copy(update=only)
    times = []
    for attempt in range(REPEATS + 1):
        os.environ["AVEMO_CACHE"] = str(folder / f"cache{attempt}")
        jobs = make_jobs(records, folder, params)
        started = time.perf_counter()
        embed_all(jobs)
        times.append(time.perf_counter() - started)
    row("embed", alone, clips / sorted(times[1:])[REPEATS // 2], "clips/s")


def faces(folder: Path, count: int, device: torch.device) -> None:
    """Torchvision's detector on images in memory; ours from JPEGs on disk."""
    generator, frames = np.random.default_rng(0), []
    noise = generator.integers(96, 128, (HEIGHT_PX, WIDTH_PX, 3), dtype=np.uint8)
    for number in range(count):
        path = folder / f"{number}.jpg"
        cv2.imwrite(str(path), np.roll(noise, 7 * number, axis=1))
        frames.append(Frame("clip", number, path, Box(500, 200, 800, 500), 1))
    changes = {"weights": "untrained", "frozen_stages": 0, "backbone": "resnet50", "closer_px": 0}
    changes |= {"min_size_px": 800, "max_size_px": 1333, "epochs": 1, "threads": 1}
    params = load_section("detector", DetectorParams).model_copy(update=changes)
    rival = fasterrcnn_resnet50_fpn(weights=None, weights_backbone=None, num_classes=2).to(device)
    images = [image_tensor(read_image(f.image), device) for f in frames[:FRAMES_AT_ONCE]]
    with torch.inference_mode():
        seconds = median_s(lambda: rival.eval()(images), device)
    detector = build_detector(params, ("face",)).to(device).eval()
    ours = median_s(lambda: list(detect_frames(detector, frames, params.batch)), device)
    row("detect, inference", len(images) / seconds, count / ours, "images/s")

    optimizer = torch.optim.SGD(rival.parameters(), lr=1e-6, momentum=0.9)

    def reference_epoch() -> None:
        """As in torchvision's references/detection/engine.py, images in memory."""
        rival.train()
        for start in range(0, len(images), params.batch):
            part = images[start : start + params.batch]
            targets = [
                {name: value.to(device) for name, value in target_of(frame).items()}
                for frame in frames[start : start + params.batch]
            ]
            total = torch.stack(list(rival(part, targets).values())).sum()
            total.item()
            optimizer.zero_grad()
            total.backward()
            optimizer.step()

    reference = median_s(reference_epoch, device)
    ours = median_s(lambda: train_detector(frames, ("face",), params), device)
    row("detect, training", len(images) / reference, count / ours, "images/s")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--clips", type=int, default=2048, help="of sound")
    parser.add_argument("--frames", type=int, default=512)
    given = parser.parse_args()
    device = chosen_device()
    print(f"{device_name(device)}, torch {torch.__version__}")
    print(f"{'':20} {'alone':>9} {'ours':>9}")
    with TemporaryDirectory() as name:
        for work, count in ((sound, given.clips), (faces, given.frames)):
            folder = Path(name) / work.__name__
            folder.mkdir()
            work(folder, count, device)


if __name__ == "__main__":
    main()
