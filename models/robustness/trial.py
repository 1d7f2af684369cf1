"""One clip under every condition: decoded once, damaged in memory, answered by the model as it is.

What a condition leaves alone is not computed again: sound in noise is answered beside the faces of
the clean clip.
"""

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from statistics import fmean
from typing import NamedTuple
from zlib import crc32

import cv2
import numpy as np
import torch
from torch import Tensor

from annotations.box import Box
from models.audio.embed import embed_waveform
from models.audio.noise import Waveform
from models.device import CPU
from models.faces.frames import image_tensor
from models.recognition.answers import WindowAnswer
from models.recognition.faces import NOTHING, Looked, look
from models.recognition.inputs import OF_SOUND
from models.recognition.recognizer import Recognizer
from models.recognition.windows import Window, decoded_clip
from models.robustness.attacks import fgsm, pgd, slopes
from models.robustness.conditions import CONDITIONS, SOUND, Clip, Condition, Severities
from models.robustness.white_box import WhiteBox, faced_frames
from models.threads import pinned_threads
from pipeline import clips
from pipeline.errors import MediaError
from pipeline.media.images import Picture, read_image
from pipeline.media.sound import read_waveform
from pipeline.report.robustness.answers import CLEAN, Answer, write_answers
from pipeline.work.progress import advance

ANSWERS = "answers.json"

LEVELS = 255
"""Grey levels above black."""


@dataclass(frozen=True, slots=True)
class Stored:
    """A clip as the stages left it: frames and when they are shown, and its sound at 32 kHz."""

    frames: tuple[Path, ...]
    times_s: tuple[float, ...]
    sound: Path | None


Source = Stored | clips.Clip
"""A clip of the stages' products, or a recording."""


@dataclass(frozen=True, slots=True)
class Trial:
    """What a worker needs.

    Attributes:
        model: folder of the model.
        clip_id: of the clip.
        label: index of its emotion.
        source: where it is.
        voices: others, whose sound is the babble.
        conditions: severities by name of a condition that the model can be tried under.
        seed: of all that is drawn.
    """

    model: Path
    clip_id: str
    label: int
    source: Source
    voices: tuple[Source, ...]
    conditions: Mapping[str, Severities]
    seed: int


class Version(NamedTuple):
    """A clip after damage: sound [T] at 32 kHz, and its frames where they are not the clean ones.

    `frames` is empty where the picture is missing, None where it is as it was.
    """

    sound: Waveform | None
    frames: Sequence[Picture] | None


def answer_trial(trial: Trial, folder: Path) -> None:
    """Work of one job: the answers by condition, and to the clean clip.

    Raises:
        MediaError: the clip cannot be decoded, or cannot be answered as it is.
    """
    recognizer = _recognizer(trial.model)
    with pinned_threads(1), _window(recognizer, trial.source) as window:
        opened = _OpenClip(recognizer, window)
        voices = [sound for one in trial.voices if (sound := _voice(recognizer, one)) is not None]
        clip = Clip(window.waveform, opened.shown, opened.boxes, voices)
        # all sound first, which takes little memory, so that a network is loaded once for all
        sounding = {
            name: list(_versions(trial, name, opened, clip))
            for name in trial.conditions
            if "sound" in CONDITIONS[name].parts
        }
        heard = _embedded(recognizer, [one.sound for own in sounding.values() for one in own])
        answers = {CLEAN: [opened.clean]}
        for name in trial.conditions:
            versions = sounding.get(name) or _versions(trial, name, opened, clip)
            answers[name] = [opened.answer(one, heard.get(id(one.sound), {})) for one in versions]
            advance(len(answers[name]), name)
    write_answers(folder / ANSWERS, answers)


class _OpenClip:
    """A clip that is open: the model, the clean window, what it reads of it and answers.

    Args:
        recognizer: the model.
        window: the clip as it is.

    Raises:
        MediaError: the model cannot answer it.
    """

    def __init__(self, recognizer: Recognizer, window: Window) -> None:
        self.recognizer, self.window = recognizer, window
        self.looked = self._look(window)
        self.branch, _ = recognizer.branch(window, self.looked)
        self.inputs = recognizer.inputs(self.branch, window, self.looked)
        self.clean = _answer(recognizer.answer(window, self.looked, self.inputs), self.looked)
        self.shown = [read_image(frame) for frame in window.frames]

    @property
    def boxes(self) -> list[Box | None]:
        """Of the face in each frame: dlib's, or where it has none the detector's."""
        if not self.looked.boxes:
            return [None] * len(self.shown)
        corners = {index: face.box for index, face in self.looked.faces.items() if face.box}
        found = {index: Box(*box) for index, box in corners.items()}
        return [own or found.get(index) for index, own in enumerate(self.looked.boxes)]

    def answer(self, version: Version, heard: Mapping[str, Tensor]) -> Answer:
        """What the model says of a version, of whose sound these inputs are known."""
        known = dict(heard)
        if version.sound is self.window.waveform:
            known |= {name: value for name, value in self.inputs.items() if name in OF_SOUND}
        window = self.window._replace(waveform=version.sound)
        if version.frames is None:
            known |= {name: value for name, value in self.inputs.items() if name not in OF_SOUND}
            return self._answer(window, self.looked, known)
        with tempfile.TemporaryDirectory(prefix="avemo-") as folder:
            frames = _stored(version.frames, Path(folder))
            window = window._replace(frames=frames, times_s=window.times_s[: len(frames)])
            return self._answer(window, self._look(window), known)

    def _look(self, window: Window) -> Looked:
        recognizer = self.recognizer
        if not recognizer.reads_faces:
            return NOTHING
        return look(window, recognizer.detector, recognizer.card.inputs, every_frame=False)

    def _answer(self, window: Window, looked: Looked, known: Mapping[str, Tensor]) -> Answer:
        try:
            return _answer(self.recognizer.answer(window, looked, known), looked)
        except MediaError:  # it lacks what the model needs, and that is the finding
            return _answer(None, looked)


def _answer(answer: WindowAnswer | None, looked: Looked) -> Answer:
    faces = looked.faces.values()
    sigmas = [fmean(face.sigma) for face in faces if face.sigma is not None]
    return Answer(
        probabilities=tuple(answer.probabilities.values()) if answer else None,
        branch=answer.branch if answer else "",
        face_share=fmean(face.box is not None for face in faces) if faces else None,
        sigma_px=fmean(sigmas) if sigmas else None,
    )


def _versions(trial: Trial, name: str, opened: _OpenClip, clip: Clip) -> Iterator[Version]:
    """The clip under a condition by severity; as it is where it lacks what would be harmed."""
    condition, severities = CONDITIONS[name], trial.conditions[name]
    seed = (trial.seed, crc32(trial.clip_id.encode()), crc32(name.encode()))
    there = {"sound": clip.sound is not None, "picture": bool(clip.frames)}
    if condition.attack_steps:
        yield from _attacked(trial, opened, condition, severities, seed)
    elif not there[condition.parts[0]]:
        yield from [Version(clip.sound, None)] * len(severities)
    elif condition.harm is None:
        yield Version(None, None) if condition.parts == SOUND else Version(clip.sound, ())
    else:
        for severity in severities:  # the same draws at each
            harmed = condition.harm(clip, np.random.default_rng(seed), *severity)
            if isinstance(harmed, list):
                yield Version(clip.sound, harmed)
            else:
                yield Version(harmed, None)


def _attacked(
    trial: Trial,
    opened: _OpenClip,
    condition: Condition,
    severities: Severities,
    seed: tuple[int, ...],
) -> Iterator[Version]:
    sound, places = opened.window.waveform, faced_frames(opened.looked)
    clean: dict[str, Tensor] = {}
    unit: dict[str, Callable[[float], float]] = {}
    if "sound" in condition.parts and sound is not None:
        clean["sound"] = torch.from_numpy(sound)
        unit["sound"] = lambda decibels: float(np.abs(sound).max()) * 10 ** (decibels / 20)
    if "picture" in condition.parts and places:
        clean["picture"] = torch.stack([image_tensor(opened.shown[place]) for place in places])
        unit["picture"] = lambda levels: levels / LEVELS
    if not clean:
        yield from [Version(sound, None)] * len(severities)
        return
    loss = _white_box(trial.model).loss(trial.label, opened.branch, opened.looked, opened.inputs)
    steps = condition.attack_steps
    slope = slopes(loss, clean) if steps == 1 else {}
    for severity in severities:
        sizes: dict[str, float] = dict(zip(condition.parts, severity, strict=True))
        radius = {part: unit[part](sizes[part]) for part in clean}
        generator = torch.Generator().manual_seed(crc32(repr(seed).encode()))
        found = fgsm(clean, slope, radius) if slope else pgd(loss, clean, radius, steps, generator)
        heard = found["sound"].numpy() if "sound" in found else sound
        yield Version(heard, _shown(opened, places, found.get("picture")))


def _shown(
    opened: _OpenClip, places: Sequence[int], pictures: Tensor | None
) -> list[Picture] | None:
    """The clip's frames with attacked ones in their places, in whole grey levels."""
    if pictures is None:
        return None
    levels = (pictures * LEVELS).round().byte().permute(0, 2, 3, 1).numpy()
    changed = dict(zip(places, levels, strict=True))
    return [changed.get(place, frame) for place, frame in enumerate(opened.shown)]


def _embedded(
    recognizer: Recognizer, sounds: Sequence[Waveform | None]
) -> dict[int, dict[str, Tensor]]:
    """The input `audio` by `id` of the sound, where the model reads it."""
    present = [sound for sound in sounds if sound is not None]
    blocks = [
        [embed_waveform(sound, *block) for sound in present]
        for block in recognizer.audio_blocks.items()
    ]
    rows = zip(*blocks, strict=True)
    heard = zip(present, rows, strict=False)  # no rows where there are no blocks
    return {id(sound): {"audio": torch.cat(row)} for sound, row in heard}


def _stored(frames: Sequence[Picture], folder: Path) -> tuple[Path, ...]:
    """Frames as files, as they are: a bitmap loses nothing."""
    paths = tuple(folder / f"{index:05d}.bmp" for index in range(len(frames)))
    for path, frame in zip(paths, frames, strict=True):
        path.write_bytes(cv2.imencode(".bmp", frame[:, :, ::-1])[1].tobytes())
    return paths


@contextmanager
def _window(recognizer: Recognizer, source: Source) -> Iterator[Window]:
    """A clip as one window: of the stages' products the whole, of a recording the first window."""
    if isinstance(source, Stored):
        sound = read_waveform(source.sound) if source.sound else None
        frames, times_s = (source.frames, source.times_s) if recognizer.sees else ((), ())
        yield Window(0.0, 0.0, frames, times_s, sound, 0.0)
        return
    with decoded_clip(source, recognizer.sees, recognizer.card.inputs) as recording:
        yield next(recording.windows())


def _voice(recognizer: Recognizer, source: Source) -> Waveform | None:
    if isinstance(source, Stored):
        return read_waveform(source.sound) if source.sound else None
    with decoded_clip(source, False, recognizer.card.inputs) as recording:
        return next(recording.windows()).waveform


@lru_cache(maxsize=1)
def _recognizer(model: Path) -> Recognizer:
    """The model, kept for the next clip; on the processor, where gradients are followed, too."""
    return Recognizer.load(model, CPU)


@lru_cache(maxsize=1)
def _white_box(model: Path) -> WhiteBox:
    return WhiteBox(_recognizer(model))
