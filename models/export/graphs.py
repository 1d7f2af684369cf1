"""The graphs of a saved model, each with what it is compared on: noise, and a recording's window.

| graph         | from                           | to                                   |
|---------------|--------------------------------|--------------------------------------|
| `<block>`     | `waveform` [T] at 32 kHz       | `embedding` [D], a block of `audio`  |
| `detector`    | `frame` RGB [H, W, 3] uint8    | `box`, `sigma` [4] px; `score` [];   |
|               |                                | `features` [D]                       |
| `audio_head`  | `audio` [D]                    | `probabilities` [K]                  |
| `visual_head` | `faces` [F, D], `weights` [F]  | `probabilities` [K]                  |
| `fusion`      | `audio`, `faces`, `weights`    | `probabilities` [K]                  |
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.audio.embed import embed_waveform
from models.audio.panns import SHORTEST
from models.audio.weights import Weights, load_network
from models.export.answer import Answer
from models.export.face import BestFace
from models.export.graph import Axis, Graph, Inputs
from models.export.sound import sound_graph
from models.faces.detector import Detector
from models.faces.frames import image_tensor
from models.recognition.recognizer import Recognizer
from pipeline.media.images import Picture
from pipeline.media.sound import SAMPLE_RATE_HZ

HEADS = {
    "av": ("fusion", ("audio", "faces", "weights")),
    "audio": ("audio_head", ("audio",)),
    "visual": ("visual_head", ("faces", "weights")),
}
"""By branch the name of its graph and what that reads."""

NOISE_SAMPLES = (17_777, SHORTEST, 64_001)
"""Lengths of the noise that sound is compared on; only the shortest fills whole frames."""
NOISE = 0.1
"""Its standard deviation."""
FACES = (5, 1, 8)
"""Numbers of faces that heads are compared on."""
MOST_FACES = 10_000


@dataclass(frozen=True, slots=True)
class Sample:
    """A window of a recording: its frames to look at, its sound [T] at 32 kHz or None."""

    pictures: Sequence[Picture]
    waveform: NDArray[np.float32] | None


def graphs_of(recognizer: Recognizer, sample: Sample) -> Iterator[Graph]:
    """One after another, so that one audio network at a time lies in memory.

    Args:
        recognizer: the model; it reads `audio`, `faces` and `weights` alone.
        sample: has pictures, all of one size, where the model has a detector.
    """
    rng = np.random.default_rng(0)
    sounds = [rng.normal(0, NOISE, samples).astype(np.float32) for samples in NOISE_SAMPLES]
    if sample.waveform is not None:
        sounds.insert(0, sample.waveform)
    for name, weights in recognizer.audio_blocks.items():
        yield _block(name, weights, sounds)
    pictures = list(sample.pictures)
    if recognizer.detector is not None:
        shape = pictures[0].shape
        pictures.append(rng.integers(0, 256, shape, np.uint8))
        yield _face(recognizer.detector, pictures)
    trials = _head_trials(recognizer, sounds, pictures, rng)
    headline = recognizer.card.branches[0]
    for branch in recognizer.card.branches:
        name, inputs = HEADS[branch]
        pool = recognizer.card.pools.get(branch, {branch: 1.0})
        module = Answer(recognizer.network, branch, branch != headline, pool)
        axes = {key: Axis("frames", 1, MOST_FACES) for key in inputs if key != "audio"}
        some = [{key: trial[key] for key in inputs} for trial in trials]
        yield Graph(name, module, ("probabilities",), _asked(module), some, axes)


def graph_name(block: str) -> str:
    """Of a block: its own, without the folders of a speech encoder's."""
    return block.strip("./").replace("/", "--")


def _block(name: str, weights: Weights | None, sounds: Sequence[NDArray[np.float32]]) -> Graph:
    module = sound_graph(name, load_network(weights) if weights else None)
    most = module.longest_s * SAMPLE_RATE_HZ
    trials = [{"waveform": sound} for sound in sounds if len(sound) <= most]

    def embedded(trial: Inputs) -> tuple[Tensor]:
        return (embed_waveform(trial["waveform"], name, weights),)

    axes = {"waveform": Axis("samples", SHORTEST, most)}
    return Graph(graph_name(name), module, ("embedding",), embedded, trials, axes)


def _face(detector: Detector, pictures: Sequence[Picture]) -> Graph:
    height, width = pictures[0].shape[:2]

    def best(trial: Inputs) -> tuple[Tensor, ...]:
        face = detector.best_face(detector.detect([image_tensor(trial["frame"])])[0])
        found = face.scores[0] > 0
        sigma = torch.exp(face.log_var[0] / 2).where(found, 0.0)
        return face.boxes[0], sigma, face.scores[0], face.features[0]

    return Graph(
        "detector",
        BestFace(detector, height, width),
        ("box", "sigma", "score", "features"),
        best,
        [{"frame": picture} for picture in pictures],
    )


def _head_trials(
    recognizer: Recognizer,
    sounds: Sequence[NDArray[np.float32]],
    pictures: Sequence[Picture],
    rng: np.random.Generator,
) -> list[Inputs]:
    """Embeddings of the sounds beside faces of the pictures, drawn with random weights."""
    blocks = recognizer.audio_blocks.items()
    columns = [[embed_waveform(sound, *block) for sound in sounds] for block in blocks]
    audio = [torch.cat(row).numpy() for row in zip(*columns, strict=True)]
    trials: list[Inputs] = []
    if recognizer.detector is None:
        return [{"audio": values} for values in audio]
    detector = recognizer.detector
    images = [image_tensor(picture) for picture in pictures]
    faces = torch.cat([detector.best_face(f).features for f in detector.detect(images)]).numpy()
    for index, count in enumerate(FACES):
        drawn = {
            "faces": faces[rng.integers(0, len(faces), count)],
            "weights": rng.random(count, np.float32),
        }
        trials.append(drawn | ({"audio": audio[index % len(audio)]} if audio else {}))
    return trials


def _asked(module: Answer) -> Callable[[Inputs], tuple[Tensor]]:
    def answer(trial: Inputs) -> tuple[Tensor]:
        return (module(**{name: torch.from_numpy(value) for name, value in trial.items()}),)

    return answer
