"""How fast this machine is at what takes the time of a run: dlib, audio networks, the detector.

Networks have random weights, which are as fast, and work on random pictures and sound.
"""

import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from annotations.box import Box
from annotations.faces.detection import detect_faces
from annotations.params import AnnotateParams
from models.audio.embed import BATCH
from models.audio.front_end import RATE_HZ
from models.audio.handcrafted import HANDCRAFTED
from models.audio.params import EmbedParams
from models.audio.weights import UNTRAINED, load_network, resolve
from models.device import CPU, chosen_device, device_of
from models.faces.backbones import assemble
from models.faces.detector import Detector
from models.faces.detector_file import Origin
from models.faces.frames import FaceFrames, Frame, collate, image_tensor
from models.faces.params import DetectorParams
from models.faces.train import FRAMES_AT_ONCE
from models.threads import pinned_threads
from models.training import weighted_sum
from pipeline.media.images import Picture, read_image

ENOUGH_S = 1.5
"""A speed is timed for about so long, s."""


@dataclass(frozen=True, slots=True)
class NetworkSpeeds:
    """Seconds of networks on one core, or on one accelerator.

    Per frame that passes through the detector: `train` in an epoch on whole frames, `closer` in one
    on crops of faces, `detect` in inference. `embed` is per second of sound, all audio networks.
    """

    train: float
    closer: float
    detect: float
    embed: float


@dataclass(frozen=True, slots=True)
class Speeds:
    """What was timed on this machine.

    Attributes:
        look: seconds of one core per frame in which dlib looks for faces.
        features: seconds of one core per second of sound, all hand-crafted features.
        core: of networks on one core.
        device: of networks on the chosen device; those of one core where that is the processor.
        detector_bytes: of a detector's weights.
    """

    look: float
    features: float
    core: NetworkSpeeds
    device: NetworkSpeeds
    detector_bytes: int


@dataclass(frozen=True, slots=True)
class Timed:
    """Sections of `params.yaml` that say how much work a frame or a second of sound is."""

    annotate: AnnotateParams
    embed: EmbedParams
    detector: DetectorParams


def time_speeds(frame_px: tuple[int, int] | None, sound_s: float, timed: Timed) -> Speeds:
    """Time what takes the time, on one thread and on the chosen device; a few seconds.

    Args:
        frame_px: width and height of a frame; None where no clip has any.
        sound_s: length of the sound of a clip; 0 where none has any.
        timed: sections of what is timed.
    """
    generator = np.random.default_rng(0)
    wave = generator.normal(0, 0.1, round(sound_s * RATE_HZ)).astype(np.float32)
    look, size, device = 0.0, 0, chosen_device()
    with pinned_threads(1), torch.random.fork_rng(), tempfile.TemporaryDirectory() as folder:
        frame = detector = None
        if frame_px is not None:
            picture = generator.integers(0, 256, (*frame_px[::-1], 3), dtype=np.uint8)
            annotate = timed.annotate.model_copy(update={"second_look": False})  # noise is no face
            gray = np.ascontiguousarray(picture[:, :, 0])
            look = per_call_s(lambda: detect_faces(gray, annotate))
            frame = _frame(Path(folder) / "frame.jpg", picture // 8 + 96)  # as dull as a photograph
            detector, size = _detector(timed.detector)

        def networks(device: torch.device) -> NetworkSpeeds:
            train = closer = detect = 0.0
            if detector is not None and frame is not None:
                train, closer = _training_s(detector.to(device), frame, timed.detector)
                detect = _inference_s(detector, frame, timed.detector)
            embed = _embed_s(wave, timed.embed, device) if len(wave) else 0.0
            return NetworkSpeeds(train, closer, detect, embed)

        core = networks(CPU)
        features = _features_s(wave, timed.embed) if len(wave) else 0.0
        return Speeds(look, features, core, core if device == CPU else networks(device), size)


def per_call_s(work: Callable[[], object], device: torch.device = CPU) -> float:
    """Seconds of a call: one to warm up, then the median of as many as `ENOUGH_S` allows.

    Args:
        work: what to time.
        device: where it computes. On the processor the time is that of this process's cores, which
            other programs hardly change; elsewhere that until the device is done.
    """
    clock = time.process_time if device == CPU else time.perf_counter

    def once() -> float:
        start = clock()
        work()
        if device != CPU:
            torch.accelerator.synchronize(device)
        return clock() - start

    once()
    began, times = time.perf_counter(), list[float]()
    while not times or time.perf_counter() - began < ENOUGH_S:
        times.append(once())
    return sorted(times)[len(times) // 2]


def _embed_s(wave: NDArray[np.float32], embed: EmbedParams, device: torch.device) -> float:
    """Seconds per second of the sound [T], all audio networks."""
    total = 0.0
    params = embed.model_copy(update={"weights": UNTRAINED})
    batch = 1 if device == CPU else BATCH
    for name in params.networks:
        network = load_network(resolve(name, params)).to(device)
        sound = network.heard(torch.from_numpy(wave)).expand(batch, -1).to(device)
        with torch.inference_mode():
            total += per_call_s(partial(network.embed_heard, sound), device) / batch
    return total * RATE_HZ / len(wave)


def _features_s(wave: NDArray[np.float32], embed: EmbedParams) -> float:
    """Seconds per second of the sound [T], all hand-crafted features."""
    total = sum(per_call_s(partial(HANDCRAFTED[name], wave)) for name in embed.handcrafted)
    return total * RATE_HZ / len(wave)


def _frame(path: Path, picture: Picture) -> Frame:
    """A stored frame with a face in its middle."""
    cv2.imwrite(str(path), picture)
    height, width = picture.shape[:2]
    box = Box(width * 0.35, height * 0.3, width * 0.65, height * 0.8)
    return Frame("clip", 0, path, box, 1)


def _detector(params: DetectorParams) -> tuple[Detector, int]:
    """The configured detector with random weights, which are as fast, and its size in bytes."""
    origin: Origin = "untrained" if params.weights == "untrained" else "coco"
    detector = assemble(params, ("face",), origin)
    return detector, sum(4 * part.numel() for part in detector.state_dict().values())


def _training_s(detector: Detector, frame: Frame, params: DetectorParams) -> tuple[float, float]:
    """Seconds per frame of an epoch on whole frames, and of one on crops of faces."""
    device = device_of(detector)
    detector.train()
    detector.learn_variances(params.box_loss == "kl")
    trained = [p for p in detector.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=1e-6)

    def step(count: int, crops: bool) -> None:
        items = FaceFrames([frame] * count)
        images, targets = collate([items[i] for i in range(count)])
        images = [image.to(device) for image in images]
        targets = [{k: v.to(device) for k, v in target.items()} for target in targets]
        optimizer.zero_grad()
        if crops:
            total = detector.closer_loss(images, targets)
        else:
            total = weighted_sum(detector(images, targets), detector.loss_weights)
        total.backward()
        optimizer.step()

    batch = params.batch
    start = time.perf_counter()
    step(2, False)
    if time.perf_counter() - start > ENOUGH_S:
        batch = 2
    train = per_call_s(lambda: step(batch, False), device) / batch
    closer = per_call_s(lambda: step(batch, True), device) / batch if params.closer_px else 0.0
    detector.eval()
    return train, closer


def _inference_s(detector: Detector, frame: Frame, params: DetectorParams) -> float:
    """Seconds per frame; random weights find more faces than trained ones, so a little too long."""
    device = device_of(detector)
    count = min(params.batch, 2) if device == CPU else FRAMES_AT_ONCE

    def answer() -> None:
        detector.detect([image_tensor(read_image(frame.image), device) for _ in range(count)])

    return per_call_s(answer, device) / count
