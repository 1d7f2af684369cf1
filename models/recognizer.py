"""A saved model and what it says of a recording.

A recording goes through the same functions as in the stages, so that a test clip gets its row of
`results/predictions.csv`. A longer one is answered window by window: what lies in memory does not
grow with its length.
"""

import json
import math
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from annotations.annotate import annotate_frames
from annotations.box import Box
from models.audio.embed import embed_waveform
from models.audio.panns import SHORTEST
from models.audio.weights import PUBLISHED, UNTRAINED, Weights, resolve
from models.checkpoint import load_safetensors, load_strictly
from models.faces.detector import Detections, Detector
from models.faces.frames import image_tensor, sampled_frames
from models.faces.weights import load_detector
from models.fusion.branches import frame_weights
from models.fusion.joint import JointNet
from models.fusion.pool import pooled
from models.losses import log_scores
from models.saved_model import CARD, DETECTOR, NETWORK, ModelCard, read_card
from models.systems.baselines.inputs import (
    SNIPPET_FRAMES,
    as_snippets,
    cepstra,
    face_crop,
    grey_face,
    resized,
    sound_windows,
    trunk_features,
)
from models.systems.baselines.trunks import Precomputed
from models.systems.inputs import audio_keys
from models.systems.joint import joint_frames
from models.systems.makers import INPUTS, build_network
from models.systems.params import Settings
from models.threads import pinned_threads
from pipeline.clips import Clip, ClipRecord
from pipeline.errors import MediaError, WeightsError
from pipeline.media.decode import FRAMES, SOUND, ExtractJob, extract_clip, read_record
from pipeline.media.images import Picture, read_gray, read_image
from pipeline.media.params import ExtractParams
from pipeline.media.probe import probe
from pipeline.media.sound import read_wav, resample, to_mono
from pipeline.systems import SYSTEMS

_CLIP = "clip"
_SOUND_INPUTS = frozenset({"audio", "windows", "cepstra"})
_FACE_INPUTS = frozenset({"faces", "crops"})


@dataclass(frozen=True, slots=True)
class FrameFace:
    """The best face of a frame.

    Attributes:
        time_s: of the frame, from the start of the recording.
        box: x1, y1, x2, y2 in px of the frame, half-open; None without a face.
        sigma: standard deviation of each corner coordinate, px; None where none is predicted.
        score: of the detector in [0, 1]; 1 for a box of dlib, 0 without a face.
    """

    time_s: float
    box: tuple[float, float, float, float] | None
    sigma: tuple[float, float, float, float] | None
    score: float


@dataclass(frozen=True, slots=True)
class WindowAnswer:
    """What the model says of a stretch of the recording: branch, p by emotion, notes."""

    start_s: float
    end_s: float
    branch: str
    probabilities: dict[str, float]
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Recognition:
    """What the model says of a recording.

    Attributes:
        file: the recording.
        emotion: the likeliest one.
        confidence: its calibrated probability, the mean over windows.
        runner_up: the second likeliest emotion.
        abstains: whether the confidence is below `predict.abstain_below`.
        branch: that answered: `av`, `audio` or `visual`, in most windows.
        probabilities: by emotion.
        face_share: share of the frames looked at that show a face; None where none is looked at.
        windows: answers over time; one for a clip of usual length.
        faces: of the frames looked at, in time order.
        notes: what was missing, in words.
    """

    file: str
    emotion: str
    confidence: float
    runner_up: str
    abstains: bool
    branch: str
    probabilities: dict[str, float]
    face_share: float | None
    windows: tuple[WindowAnswer, ...]
    faces: tuple[FrameFace, ...]
    notes: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """As plain values."""
        return asdict(self)


class _Window(NamedTuple):
    """A stretch of a decoded recording: stored frames, and sound [T] at 32 kHz or None."""

    start_s: float
    end_s: float
    frames: tuple[Path, ...]
    first_frame: int
    rate_hz: float
    waveform: NDArray[np.float32] | None


class _Looked(NamedTuple):
    """What a window shows; all empty where the system reads no face.

    `boxes` of dlib and `speech` activity of all frames, `chosen` frames and their `detections`,
    and `faces` to report.
    """

    boxes: list[Box | None]
    speech: list[float]
    chosen: list[int]
    detections: list[Detections]
    faces: list[FrameFace]


class Recognizer:
    """A model that answers for recordings; `load` reads it.

    Args:
        card: what it is.
        network: of the system, in eval mode.
        detector: of faces, where the system reads its features.
        audio: weights of the frozen audio networks.
    """

    def __init__(
        self,
        card: ModelCard,
        network: nn.Module,
        detector: Detector | None,
        audio: dict[str, Weights],
    ) -> None:
        self.card = card
        self.network = network.eval()
        self.detector = detector
        self._audio = audio
        self._settings = Settings.load(card.settings)
        self._reads = INPUTS[card.system]

    @classmethod
    def load(cls, folder: Path) -> "Recognizer":
        """Read a model that the stage `pack` wrote.

        Raises:
            WeightsError: the folder is none, of another version, damaged, or its parts do not fit.
        """
        card = read_card(folder)
        settings = Settings.load(card.settings)
        state, facts = load_safetensors(folder / NETWORK)
        if json.loads(facts.get("emotions", "[]")) != list(card.emotions):
            raise WeightsError(
                f"{folder / CARD}: emotions {', '.join(card.emotions)} are not in the order of "
                f"{NETWORK}; run `dvc repro pack`"
            )
        has_detector = DETECTOR in card.files
        path = folder / DETECTOR if has_detector else None
        network = build_network(card.system, card.widths, settings, path)
        load_strictly(network, state, folder / NETWORK)
        detector = load_detector(path) if path else None
        audio = {n: _audio_weights(folder, card, n) for n in card.audio_networks}
        return cls(card, network, detector, audio)

    def predict(self, path: Path, every_frame: bool = False) -> Recognition:
        """What a recording expresses.

        Args:
            path: video with or without sound, or a sound file.
            every_frame: find the face of every stored frame for `Recognition.faces`, not only of
                those that the answer rests on; the answer is the same.

        Raises:
            MediaError: it cannot be decoded, or lacks all that the model reads.
        """
        if not path.is_file():
            raise MediaError(f"{path}: no such file; expected a recording")
        answers: list[WindowAnswer] = []
        faces: list[FrameFace] = []
        problems: list[str] = []
        with tempfile.TemporaryDirectory(prefix="avemo-") as folder, pinned_threads(1):
            for window in self._windows(path, Path(folder)):
                looked = self._look(window, every_frame)
                faces += looked.faces
                try:
                    answers.append(self._answer(window, looked))
                except MediaError as error:
                    problems.append(str(error))
        if not answers:
            raise MediaError(f"{path}: {problems[0]}")
        return self._summary(path, answers, faces, len(problems))

    def _windows(self, path: Path, folder: Path) -> Iterator[_Window]:
        """Decode into `folder`, then stretch after stretch."""
        params = self.card.inputs
        record = _decode(path, params.extract, folder)
        frames = sorted((folder / FRAMES).glob("*.jpg"))
        count = max(1, math.ceil(record.duration_s / params.pack.window_s))
        rate_hz = record.fps / record.frame_step if frames else 0.0
        for part in range(count):
            first, last = (len(frames) * p // count for p in (part, part + 1))
            start, end = (record.samples * p // count for p in (part, part + 1))
            waveform = None
            if end > start:
                wav = folder / SOUND / f"{_CLIP}.wav"
                signal, sound_hz = read_wav(wav, start, end)
                method, quality = params.resample.method, params.resample.quality
                waveform = resample(to_mono(signal), sound_hz, method, quality)
                waveform = waveform if len(waveform) >= SHORTEST else None
            times = (record.duration_s * part / count, record.duration_s * (part + 1) / count)
            yield _Window(*times, tuple(frames[first:last]), first, rate_hz, waveform)

    def _look(self, window: _Window, every_frame: bool) -> _Looked:
        """Faces of a window, as far as the system reads any."""
        frames, params = window.frames, self.card.inputs
        if not frames or not _FACE_INPUTS & set(self._reads):
            return _Looked([], [], [], [], [])
        grays = [read_gray(path) for path in frames]
        _, _, boxes, activity = annotate_frames(grays, window.rate_hz, params.annotate)
        speech = activity.speech.round(4).tolist()  # as many decimals as the stage stores
        if self.detector is None or params.detector is None:
            faces = [_face_of_box(_time(window, i), box) for i, box in enumerate(boxes)]
            return _Looked(boxes, speech, list(range(len(frames))), [], faces)
        chosen = sampled_frames(len(frames), params.detector.frames_per_clip)
        detections = self._detect([frames[i] for i in chosen], params.detector.batch)
        shown, found = chosen, detections
        if every_frame:
            shown = list(range(len(frames)))
            found = self._detect(frames, params.detector.batch)
        faces = [_face(_time(window, i), one) for i, one in zip(shown, found, strict=True)]
        return _Looked(boxes, speech, chosen, detections, faces)

    def _detect(self, frames: Sequence[Path], batch: int) -> list[Detections]:
        assert self.detector is not None
        found: list[Detections] = []
        for start in range(0, len(frames), batch):
            images = [image_tensor(read_image(path)) for path in frames[start : start + batch]]
            found += self.detector.detect(images)
        return found

    @torch.no_grad()
    def _answer(self, window: _Window, looked: _Looked) -> WindowAnswer:
        branch, notes = self._branch(window, looked)
        sound_only, picture_only = branch == "audio", branch == "visual"
        inputs = {
            name: self._input(name, window, looked)
            for name in self._input_names()
            if not (sound_only and name not in _SOUND_INPUTS)
            and not (picture_only and name in _SOUND_INPUTS)
        }
        batch = {name: value[None] for name, value in inputs.items()}
        if branch == self.card.branches[0]:
            logits = self.network(batch)
        else:
            logits = self.network.branch(branch, batch)  # type: ignore[operator]
        scores = {name: log_scores(one) for name, one in logits.items()}
        pool = self.card.pools.get(branch, {branch: 1.0})
        p = pooled(scores, pool)[0].tolist()
        probabilities = dict(zip(self.card.emotions, p, strict=True))
        return WindowAnswer(window.start_s, window.end_s, branch, probabilities, notes)

    def _branch(self, window: _Window, looked: _Looked) -> tuple[str, tuple[str, ...]]:
        """The branch that can answer, and what is missing.

        Raises:
            MediaError: none can.
        """
        headline = self.card.branches[0]
        modalities = SYSTEMS[self.card.system].modalities
        without = []
        if "audio" in modalities and window.waveform is None:
            without.append(("audio", "no sound"))
        if "video" in modalities and not window.frames:
            without.append(("visual", "no picture"))
        elif _FACE_INPUTS & set(self._reads) and not any(f.box for f in looked.faces):
            without.append(("visual", f"no face in {len(looked.faces)} frames"))
        if not without:
            return headline, ()
        words = " and ".join(what for _, what in without)
        left = {"audio", "visual"} - {name for name, _ in without}
        other = next((name for name in self.card.branches[1:] if name in left), None)
        if len(without) == 1 and other:
            return other, (f"{words}: answered by the {other} branch",)
        if len(without) == 1 and headline == "av" and "no face" in words:
            return headline, (f"{words}: its face crops are grey",)
        raise MediaError(f"{words}, and {self.card.system} cannot answer without; record it again")

    def _input_names(self) -> tuple[str, ...]:
        if isinstance(self.network, JointNet):
            return (*self._reads, "images", "boxes", "frame_weights")
        return self._reads

    def _input(self, name: str, window: _Window, looked: _Looked) -> Tensor:
        """One input of the network, as `models.systems` looks it up."""
        base, frames, wave = self._settings.baselines, window.frames, window.waveform
        if name == "audio" and wave is not None:
            networks = SYSTEMS[self.card.system].audio_networks(self._settings.audio.embeddings)
            keys = audio_keys(networks, self._settings.audio.handcrafted)
            return torch.cat([embed_waveform(wave, key, self._audio.get(key)) for key in keys])
        if name == "windows" and wave is not None:
            return sound_windows(wave, base.windows)
        if name == "cepstra" and wave is not None:
            return cepstra(wave, base.segments, base.segment_frames)
        if name in ("faces", "weights", "boxes", "frame_weights", "images"):
            return self._face_input(name, window, looked)
        picture = self._picture(name, frames, looked)
        count = base.snippets * SNIPPET_FRAMES if name == "snippets" else base.frames
        size_px = base.snippet_px if name == "snippets" else base.picture_px(name)
        pictures = resized(picture, len(frames), count, size_px)
        if name == "snippets":
            pictures = as_snippets(pictures, base.snippets)
        trunks = [part for part in self.network.modules() if isinstance(part, Precomputed)]
        return trunk_features(trunks[0].backbone, pictures) if trunks else pictures

    def _picture(self, name: str, frames: Sequence[Path], looked: _Looked) -> Any:
        def whole(index: int) -> Picture:
            return read_image(frames[index])

        def crop(index: int) -> Picture:
            face = face_crop(whole, looked.boxes.__getitem__, len(frames), index)
            return grey_face() if face is None else face

        return crop if name == "crops" else whole

    def _face_input(self, name: str, window: _Window, looked: _Looked) -> Tensor:
        assert self.detector is not None
        best = [_best(one, self.detector) for one in looked.detections]
        features, boxes = (torch.stack(part) for part in list(zip(*best, strict=True))[:2])
        visible = torch.tensor([len(one.scores) > 0 for one in looked.detections])
        if name == "faces":
            return features
        if name == "weights":
            speech = torch.tensor([looked.speech[i] for i in looked.chosen])
            return frame_weights(speech, visible, self._settings.visual.silent_weight)
        places, counts = joint_frames(len(best), self._settings.fusion.joint_frames)
        if name == "boxes":
            return boxes[places]
        if name == "frame_weights":
            return (visible[places] & counts).float()
        chosen = [window.frames[looked.chosen[place]] for place in places]
        return torch.stack([image_tensor(read_image(path)) for path in chosen])

    def _summary(
        self, path: Path, answers: list[WindowAnswer], faces: list[FrameFace], unanswered: int
    ) -> Recognition:
        mean = {
            emotion: sum(one.probabilities[emotion] for one in answers) / len(answers)
            for emotion in self.card.emotions
        }
        first, second = sorted(mean, key=lambda emotion: -mean[emotion])[:2]
        total = len(answers) + unanswered
        counted = Counter(note for one in answers for note in one.notes)
        notes = [
            f"{n}" if total == 1 else f"{n} ({c} of {total} windows)" for n, c in counted.items()
        ]
        if unanswered:
            notes.append(f"no answer in {unanswered} of {total} windows")
        share = sum(face.box is not None for face in faces) / len(faces) if faces else None
        return Recognition(
            file=str(path),
            emotion=first,
            confidence=mean[first],
            runner_up=second,
            abstains=mean[first] < self.card.inputs.predict.abstain_below,
            branch=Counter(one.branch for one in answers).most_common(1)[0][0],
            probabilities=mean,
            face_share=share,
            windows=tuple(answers),
            faces=tuple(faces),
            notes=tuple(notes),
        )


def _audio_weights(folder: Path, card: ModelCard, network: str) -> Weights:
    embed = card.inputs.embed
    file = folder / f"{network}.safetensors"
    if file.name in card.files:
        return Weights(network, file, embed.seed, card.audio_networks[network])
    source = embed.weights if embed.weights in (UNTRAINED, PUBLISHED) else UNTRAINED
    weights = resolve(network, source, embed.seed)
    if weights.identity != card.audio_networks[network]:
        raise WeightsError(
            f"{network}: weights are {weights.identity}, the model was trained on those of "
            f"{card.audio_networks[network]}"
        )
    return weights


def _decode(path: Path, params: ExtractParams, folder: Path) -> ClipRecord:
    """Frames and sound of a recording, as the stage `extract` stores them."""
    filmed = bool(probe(path).fps)
    clip = Clip(_CLIP, "", "", "", path if filmed else None, None if filmed else path)
    extract_clip(ExtractJob(clip, filmed, True, params), folder)
    return read_record(folder)


def _time(window: _Window, index: int) -> float:
    return (window.first_frame + index) / window.rate_hz


def _face_of_box(time_s: float, box: Box | None) -> FrameFace:
    if box is None:
        return FrameFace(time_s, None, None, 0.0)
    return FrameFace(time_s, (box.x1, box.y1, box.x2, box.y2), None, 1.0)


def _face(time_s: float, found: Detections) -> FrameFace:
    if len(found.scores) == 0:
        return FrameFace(time_s, None, None, 0.0)
    box, sigma = found.boxes[0].tolist(), torch.exp(found.log_var[0] / 2).tolist()
    return FrameFace(time_s, tuple(box), tuple(sigma), float(found.scores[0]))


def _best(found: Detections, detector: Detector) -> tuple[Tensor, Tensor]:
    """Features [D] and box [4] of the best face; zeros without one, as the stage stores them."""
    if len(found.scores) == 0:
        return torch.zeros(detector.embedding_dim), torch.zeros(4)
    return found.features[0], found.boxes[0]
