"""Train a small detector over and over while it is killed at random; the result must be the same.

    python -m benchmarks.kills --kills 100

The whole process group gets SIGKILL, after a random part of what an uninterrupted training takes.
"""

import argparse
import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import cv2
import numpy as np

from annotations.box import Box
from models.faces.frames import Frame
from models.faces.params import DetectorParams
from models.faces.task import DetectorTask, train_and_detect
from pipeline.params import load_section
from pipeline.work.cache import ClipCache, Job

UNTIMED = ("train_s", "infer_s")
"""Of a detector's cost: they are never the same twice."""


def task(folder: Path, epochs: int) -> DetectorTask:
    """A detector of noise with boxes, small enough for seconds of training."""
    generator, frames = np.random.default_rng(0), []
    for number in range(8):
        image = folder / f"{number}.png"
        if not image.exists():
            cv2.imwrite(str(image), generator.integers(0, 256, (96, 128, 3), dtype=np.uint8))
        frames.append(Frame("clip", number, image, Box(30, 20, 80, 70), 1 + number % 2))
    small = {"weights": "untrained", "frozen_stages": 0, "backbone": "resnet18_light"}
    small |= {"min_size_px": 64, "max_size_px": 96, "closer_px": 32, "closer_epochs": epochs}
    small |= {"epochs": epochs, "batch": 2, "threads": 1, "proposals": 32, "roi_batch": 16}
    params = load_section("detector", DetectorParams).model_copy(update=small)
    return DetectorTask(("a", "b"), ("clip",), tuple(frames), tuple(frames[:2]), params)


def train(folder: Path, epochs: int) -> None:
    """The work of the process that is killed."""
    cache = ClipCache("detect", train_and_detect)
    products = cache.run([Job("detector", task(folder, epochs))], "kills")
    print(result(products.folders["detector"]), flush=True)


def result(folder: Path) -> str:
    """SHA-256 of all that a detector is, without the seconds that it took."""
    found = hashlib.sha256()
    for path in sorted(folder.iterdir()):
        content = path.read_bytes()
        if path.suffix == ".json":
            facts = {k: v for k, v in json.loads(content).items() if k not in UNTIMED}
            content = json.dumps(facts).encode()
        found.update(path.name.encode() + content)
    return found.hexdigest()


def begin(folder: Path, cache: str, epochs: int) -> "subprocess.Popen[str]":
    """Start the work in a process group of its own."""
    command = [sys.executable, "-m", "benchmarks.kills", "--work", str(folder)]
    return subprocess.Popen(
        [*command, "--epochs", str(epochs)],
        env={**os.environ, "AVEMO_CACHE": str(folder / cache), "AVEMO_WORKERS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    )


def soak(kills: int, epochs: int, seed: int) -> None:
    """Kill until there were enough, then compare.

    A training that ends before it is killed begins again in a cache of its own.
    """
    draw = np.random.default_rng(seed)
    with TemporaryDirectory() as name:
        folder = Path(name)
        started = time.monotonic()
        expected = begin(folder, "whole", epochs).communicate()[0].strip()
        whole_s = time.monotonic() - started
        print(f"uninterrupted: {whole_s:.1f} s, {expected[:12]}", flush=True)
        done = finished = resumed = 0
        while done < kills:
            process = begin(folder, f"killed{finished}", epochs)
            state = folder / f"killed{finished}" / "detect" / "unfinished"
            resumed += any(state.glob("*/*"))
            try:
                output = process.communicate(timeout=draw.uniform(0.2, 1.1) * whole_s)[0]
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.communicate()
                done += 1
                if done % 10 == 0:
                    print(f"{done} kills, {finished} finished", flush=True)
                continue
            finished += 1
            if output.strip() != expected:
                sys.exit(f"after {done} kills: another result, {output.strip()[:12]}")
        output = begin(folder, f"killed{finished}", epochs).communicate()[0]
        if output.strip() != expected:
            sys.exit(f"after {done} kills: another result, {output.strip()[:12]}")
    print(
        f"{done} kills, {resumed} runs that began from an epoch's state, {finished + 1} finished: "
        "every result the same"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--epochs", type=int, default=6, help="of each of both phases")
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    parser.add_argument("--work", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.work:
        train(given.work, given.epochs)
    else:
        soak(given.kills, given.epochs, given.seed)


if __name__ == "__main__":
    main()
