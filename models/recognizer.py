"""A saved model and what it says of a recording.

A recording goes through the same functions as in the stages, so that a test clip gets its row of
`results/predictions.csv`. A longer one is decoded to a temporary folder and answered window by
window: no more than a window's frames and sound lie in memory.
"""

import json
import math
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from annotations.annotate import annotate_frames
from annotations.box import Box
from models.audio.compact import heard_logmel
from models.audio.embed import embed_waveform
from models.audio.panns import SHORTEST
from models.audio.weights import PUBLISHED, UNTRAINED, Weights, resolve
from models.checkpoint import load_safetensors, load_strictly
from models.expressions.embed import embed_clip
from models.expressions.encoders import Encoder, FerEncoder, ImageClassifier, load_encoder
from models.expressions.encoders import resolve as resolve_encoder
from models.faces.detector import Detections, Detector
from models.faces.frames import image_tensor, sampled_frames
from models.faces.weights import load_detector
from models.fusion.branches import frame_weights
from models.fusion.pool import pooled
from models.losses import log_scores
from models.saved_model import CARD, DETECTOR, ENCODER, NETWORK, ModelCard, read_card
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
from models.systems.inputs import HANDCRAFTED, audio_keys, collate
from models.systems.makers import build_network, inputs_of
from models.systems.params import Settings
from models.threads import pinned_threads
from pipeline.clips import Clip, ClipRecord
from pipeline.errors import MediaError, WeightsError
from pipeline.media.decode import FRAMES, SOUND, ExtractJob, extract_clip, read_record
from pipeline.media.images import Picture, read_gray, read_image
from pipeline.media.params import ExtractParams
from pipeline.media.probe import probe
from pipeline.media.sound import SAMPLE_RATE_HZ, read_wav, resample, to_mono
from pipeline.systems import SYSTEMS

AROUND_S = 2.0
"""Length of the stretch around each moment of a timeline, s."""

HOP_S = 0.5
"""Time between two moments of a timeline, s."""

_CLIP = "clip"
_SOUND_INPUTS = frozenset({"audio", "handcrafted", "waveform", "logmel", "windows", "cepstra"})
_FACE_INPUTS = frozenset({"faces", "expressions", "crops"})


@dataclass(frozen=True, slots=True)
class FrameFace:
    """The best face of a frame.

    Attributes:
        time_s: of the frame, from the start of the recording.
        box: x1, y1, x2, y2 in px of the frame, half-open; None without a face.
        sigma: standard deviation of each corner coordinate, px; None where none is predicted.
        score: of the detector in [0, 1]; 1 for a box of dlib, 0 without a face.
        speech: how likely the mouth speaks, in [0, 1]: visual speech activity of dlib's face.
    """

    time_s: float
    box: tuple[float, float, float, float] | None
    sigma: tuple[float, float, float, float] | None
    score: float
    speech: float


@dataclass(frozen=True, slots=True)
class WindowAnswer:
    """What the model says of a stretch of the recording: branch, p by emotion, notes."""

    start_s: float
    end_s: float
    branch: str
    probabilities: dict[str, float]
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Moment:
    """What the model says of the `AROUND_S` around a moment, within its window: p by emotion."""

    time_s: float
    probabilities: dict[str, float]


@dataclass(frozen=True, slots=True)
class Recognition:
    """What the model says of a recording.

    Attributes:
        file: the recording.
        duration_s: of picture or sound, the longer one.
        fps: frames per second of the source; 0 where no picture is looked at.
        width_px: of its frames; 0 where no picture is looked at.
        height_px: of its frames.
        has_sound: whether there is sound that is more than silence.
        emotion: the likeliest one.
        confidence: its calibrated probability, the mean over windows.
        runner_up: the second likeliest emotion.
        abstains: whether the confidence is below `predict.abstain_below`.
        branch: that answered: `av`, `audio` or `visual`, in most windows.
        probabilities: by emotion.
        face_share: share of the frames looked at that show a face; None where none is looked at.
        windows: equal parts in time order; one for a clip of at most `pack.window_s`.
        timeline: answers around moments `HOP_S` apart; empty unless asked for.
        faces: of the frames looked at, in time order.
        face_finder: whose boxes these are: `detector` or `dlib`; "" where no face is looked for.
        notes: what was missing, in words.
    """

    file: str
    duration_s: float
    fps: float
    width_px: int
    height_px: int
    has_sound: bool
    emotion: str
    confidence: float
    runner_up: str
    abstains: bool
    branch: str
    probabilities: dict[str, float]
    face_share: float | None
    windows: tuple[WindowAnswer, ...]
    timeline: tuple[Moment, ...]
    faces: tuple[FrameFace, ...]
    face_finder: Literal["detector", "dlib", ""]
    notes: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """As plain values."""
        return asdict(self)


Timed = TypeVar("Timed", Moment, FrameFace)


def unbroken(points: Sequence[Timed], gap_s: float) -> Iterator[list[Timed]]:
    """Runs of moments or frames of which none is further than `gap_s` from the one before."""
    run: list[Timed] = []
    for point in points:
        if run and point.time_s - run[-1].time_s > gap_s:
            yield run
            run = []
        run.append(point)
    if run:
        yield run


class _Window(NamedTuple):
    """A stretch of a decoded recording: stored frames, and sound [T] at 32 kHz or None."""

    start_s: float
    end_s: float
    frames: tuple[Path, ...]
    first_frame: int
    rate_hz: float
    waveform: NDArray[np.float32] | None


class _Looked(NamedTuple):
    """What a window shows; all empty where no face is looked for.

    `boxes` of dlib and `speech` activity of all frames; by index the `detections` and `faces` of
    the frames looked at, among them those `chosen` to answer from.
    """

    boxes: list[Box | None]
    speech: list[float]
    chosen: list[int]
    detections: dict[int, Detections]
    faces: dict[int, FrameFace]


class Recognizer:
    """A model that answers for recordings; `load` reads it.

    Args:
        card: what it is.
        network: of the system, in eval mode.
        detector: of faces, where the system reads its features.
        audio: weights of the frozen audio networks.
        encoders: frozen expression encoders, where the system reads them.
    """

    def __init__(
        self,
        card: ModelCard,
        network: nn.Module,
        detector: Detector | None,
        audio: dict[str, Weights],
        encoders: Sequence[FerEncoder | ImageClassifier] = (),
    ) -> None:
        self.card = card
        self.network = network.eval()
        self.detector = detector
        self._audio = audio
        self._encoders = encoders
        self._settings = Settings.load(card.settings)
        self.reads = inputs_of(card.system, self._settings)
        self._sees = "video" in SYSTEMS[card.system].modalities
        self._reads_faces = bool(_FACE_INPUTS & set(self.reads))

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
        network = build_network(card.system, card.widths, settings)
        load_strictly(network, state, folder / NETWORK)
        detector = load_detector(folder / DETECTOR) if DETECTOR in card.files else None
        audio = {n: _audio_weights(folder, card, n) for n in card.audio_networks}
        encoders = [load_encoder(one) for one in _encoders(folder, card, settings)]
        return cls(card, network, detector, audio, encoders)

    @property
    def audio_blocks(self) -> dict[str, Weights | None]:
        """What lies side by side in the input `audio`: weights by network, None for a feature."""
        if "audio" not in self.reads:
            return {}
        system, params = SYSTEMS[self.card.system], self._settings.audio
        networks = system.audio_networks(params.embeddings, params.encoders)
        keys = audio_keys(networks, params.handcrafted and system.reads_panns)
        return {key: self._audio.get(key) for key in keys}

    def first_window(self, path: Path) -> tuple[list[Picture], NDArray[np.float32] | None]:
        """Frames and sound [T] at 32 kHz of a recording's first window, as `predict` reads them.

        Raises:
            MediaError: it cannot be decoded.
        """
        if not path.is_file():
            raise MediaError(f"{path}: no such file; expected a recording")
        with tempfile.TemporaryDirectory(prefix="avemo-") as folder:
            record = _decode(path, self._sees, self.card.inputs.extract, Path(folder))
            window = next(self._windows(record, Path(folder)))
            return [read_image(frame) for frame in window.frames], window.waveform

    def predict(self, path: Path, over_time: bool = False, faces: bool = False) -> Recognition:
        """What a recording expresses.

        Args:
            path: video with or without sound, or a sound file.
            over_time: fill `Recognition.timeline`, and `Recognition.faces` with every stored frame,
                not only with those that the answer rests on; the answer is the same.
            faces: look for faces, with dlib, where the system reads none; `over_time` does, too.

        Raises:
            MediaError: it cannot be decoded, or lacks all that the model reads.
        """
        if not path.is_file():
            raise MediaError(f"{path}: no such file; expected a recording")
        answers: list[WindowAnswer] = []
        timeline: list[Moment] = []
        found: list[FrameFace] = []
        problems: list[str] = []
        look = self._sees or faces or over_time
        with tempfile.TemporaryDirectory(prefix="avemo-") as folder, pinned_threads(1):
            record = _decode(path, look, self.card.inputs.extract, Path(folder))
            for window in self._windows(record, Path(folder)):
                looked = self._look(window, faces or over_time, over_time)
                found += [looked.faces[index] for index in sorted(looked.faces)]
                try:
                    answers.append(self._answer(window, looked))
                except MediaError as error:
                    problems.append(str(error))
                if over_time:
                    timeline += self._timeline(window, looked)
        if not answers:
            raise MediaError(f"{path}: {problems[0]}")
        return self._summary(path, record, answers, timeline, found)

    def _windows(self, record: ClipRecord, folder: Path) -> Iterator[_Window]:
        """Equal stretches of what was decoded into `folder`, read one after another."""
        params = self.card.inputs
        frames = sorted((folder / FRAMES).glob("*.jpg"))
        frame_hz = record.fps / record.frame_step if frames else 0.0
        length_s = _length_s(record)
        count = max(1, math.ceil(length_s / params.pack.window_s))
        times = [length_s * part / count for part in range(count + 1)]
        # a frame belongs to the stretch in which it appears; the last stretch takes what is left
        first = [math.ceil(time_s * frame_hz - 1e-6) for time_s in times[:-1]]
        heard = [round(time_s * record.rate_hz) for time_s in times[:-1]]
        for part, (start_s, end_s) in enumerate(pairwise(times)):
            shown = frames[first[part] : (*first, len(frames))[part + 1]]
            start, end = (min(n, record.samples) for n in (*heard, record.samples)[part : part + 2])
            waveform = None
            if end > start:
                wav = folder / SOUND / f"{_CLIP}.wav"
                signal, sound_hz = read_wav(wav, start, end)
                method, quality = params.resample.method, params.resample.quality
                waveform = resample(to_mono(signal), sound_hz, method, quality)
                waveform = waveform if len(waveform) >= SHORTEST else None
            yield _Window(start_s, end_s, tuple(shown), first[part], frame_hz, waveform)

    def _look(self, window: _Window, wanted: bool, every_frame: bool) -> _Looked:
        """Faces of a window, if the system reads any or they are wanted."""
        frames, params = window.frames, self.card.inputs
        if not frames or not (self._reads_faces or wanted):
            return _Looked([], [], [], {}, {})
        grays = [read_gray(path) for path in frames]
        _, _, boxes, activity = annotate_frames(grays, window.rate_hz, params.annotate)
        speech = activity.speech.round(4).tolist()  # as many decimals as the stage stores
        if self.detector is None or params.detector is None:
            dlib = {
                i: _face_of_box(_time(window, i), boxes[i], speech[i]) for i in range(len(boxes))
            }
            return _Looked(boxes, speech, list(dlib), {}, dlib)
        chosen = sampled_frames(len(frames), params.detector.frames_per_clip)
        detections = self._detect(frames, chosen, params.detector.batch)
        if every_frame:
            others = [i for i in range(len(frames)) if i not in detections]
            detections |= self._detect(frames, others, params.detector.batch)
        faces = {i: _face(_time(window, i), one, speech[i]) for i, one in detections.items()}
        return _Looked(boxes, speech, chosen, detections, faces)

    def _timeline(self, window: _Window, looked: _Looked) -> Iterator[Moment]:
        """Answers around moments of a window of which every frame was looked at."""
        count = max(1, round((window.end_s - window.start_s) / HOP_S))
        for step in range(count + 1):
            time_s = window.start_s + (window.end_s - window.start_s) * step / count
            try:
                answer = self._answer(*self._around(window, looked, time_s))
            except MediaError:  # nothing to answer from at this moment
                continue
            yield Moment(time_s, answer.probabilities)

    def _around(self, window: _Window, looked: _Looked, time_s: float) -> tuple[_Window, _Looked]:
        """The `AROUND_S` around a moment, as far as they lie in its window."""
        start_s = max(window.start_s, time_s - AROUND_S / 2)
        end_s = min(window.end_s, time_s + AROUND_S / 2)
        first, last = (
            min(len(window.frames), math.ceil((t - window.start_s) * window.rate_hz - 1e-6))
            for t in (start_s, end_s)
        )
        waveform = window.waveform
        if waveform is not None:
            start, end = (round((t - window.start_s) * SAMPLE_RATE_HZ) for t in (start_s, end_s))
            waveform = waveform[start:end] if len(waveform[start:end]) >= SHORTEST else None
        part = _Window(
            start_s, end_s, window.frames[first:last], window.first_frame + first, window.rate_hz,
            waveform,
        )  # fmt: skip
        if not looked.faces:
            return part, looked
        inside = range(first, last)
        faces = {i - first: looked.faces[i] for i in inside}
        found = {i - first: looked.detections[i] for i in inside if i in looked.detections}
        chosen = list(faces)
        if found and self.card.inputs.detector is not None:
            chosen = sampled_frames(len(faces), self.card.inputs.detector.frames_per_clip)
        return part, _Looked(
            looked.boxes[first:last], looked.speech[first:last], chosen, found, faces
        )

    def _detect(
        self, frames: Sequence[Path], places: Sequence[int], batch: int
    ) -> dict[int, Detections]:
        assert self.detector is not None
        found: dict[int, Detections] = {}
        for start in range(0, len(places), batch):
            some = places[start : start + batch]
            images = [image_tensor(read_image(frames[place])) for place in some]
            found |= zip(some, self.detector.detect(images), strict=True)
        return found

    @torch.no_grad()
    def _answer(self, window: _Window, looked: _Looked) -> WindowAnswer:
        branch, notes = self._branch(window, looked)
        sound_only, picture_only = branch == "audio", branch == "visual"
        inputs = {
            name: self._input(name, window, looked)
            for name in self.reads
            if not (sound_only and name not in _SOUND_INPUTS)
            and not (picture_only and name in _SOUND_INPUTS)
        }
        batch = collate([inputs])
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
        missing: dict[str, str] = {}
        if "audio" in modalities and window.waveform is None:
            missing["audio"] = "no sound"
        faceless = False
        if "video" in modalities and not window.frames:
            missing["visual"] = "no picture"
        elif self._reads_faces:
            faceless = not any(looked.faces[index].box for index in looked.chosen)
            if faceless:
                missing["visual"] = f"no face in {len(looked.chosen)} frames"
        if not missing:
            return headline, ()
        words = " and ".join(missing.values())
        left = {"audio", "visual"} - missing.keys()
        other = next((name for name in self.card.branches[1:] if name in left), None)
        if len(missing) == 1 and other:
            return other, (f"{words}: answered by the {other} branch",)
        if len(missing) == 1 and headline == "av" and faceless:
            return headline, (f"{words}: its face crops are grey",)
        raise MediaError(f"{words}, and {self.card.system} cannot answer without; record it again")

    def _input(self, name: str, window: _Window, looked: _Looked) -> Tensor:
        """One input of the network, as `models.systems` looks it up."""
        base, frames, wave = self._settings.baselines, window.frames, window.waveform
        if name == "audio" and wave is not None:
            return torch.cat([embed_waveform(wave, *block) for block in self.audio_blocks.items()])
        if name == "handcrafted" and wave is not None:
            return torch.cat([embed_waveform(wave, key, None) for key in HANDCRAFTED])
        if name == "waveform" and wave is not None:
            return torch.from_numpy(wave)
        if name == "logmel" and wave is not None:
            return heard_logmel(torch.from_numpy(wave))
        if name == "windows" and wave is not None:
            return sound_windows(wave, base.windows)
        if name == "cepstra" and wave is not None:
            return cepstra(wave, base.segments, base.segment_frames)
        if name == "expressions":
            return self._expressions(frames, looked)
        if name in ("faces", "weights"):
            return self._face_input(name, looked)
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

    def _expressions(self, frames: Sequence[Path], looked: _Looked) -> Tensor:
        """What each frozen encoder says of the faces that the detector found, side by side."""
        corners = [looked.faces[index].box for index in looked.chosen]
        shown = [
            (read_image(frames[index]), Box(*box) if box else None)
            for index, box in zip(looked.chosen, corners, strict=True)
        ]
        margin = self._settings.faces.margin
        return torch.cat([embed_clip(one, shown, margin) for one in self._encoders], dim=1)

    def _face_input(self, name: str, looked: _Looked) -> Tensor:
        assert self.detector is not None
        detections = [looked.detections[index] for index in looked.chosen]
        if name == "faces":
            return torch.cat([self.detector.best_face(one).features for one in detections])
        visible = torch.tensor([len(one.scores) > 0 for one in detections])
        speech = torch.tensor([looked.speech[index] for index in looked.chosen])
        return frame_weights(speech, visible, self._settings.visual.silent_weight)

    def _summary(
        self,
        path: Path,
        record: ClipRecord,
        answers: list[WindowAnswer],
        timeline: list[Moment],
        faces: list[FrameFace],
    ) -> Recognition:
        mean = {
            emotion: sum(one.probabilities[emotion] for one in answers) / len(answers)
            for emotion in self.card.emotions
        }
        first, second = sorted(mean, key=lambda emotion: -mean[emotion])[:2]
        total = max(1, math.ceil(_length_s(record) / self.card.inputs.pack.window_s))
        notes = [] if total == 1 else [f"mean of {len(answers)} windows"]
        for note, count in Counter(note for one in answers for note in one.notes).items():
            notes.append(note if total == 1 else f"{note} ({count} of {total} windows)")
        if len(answers) < total:
            notes.append(f"no answer in {total - len(answers)} of {total} windows")
        share = sum(face.box is not None for face in faces) / len(faces) if faces else None
        return Recognition(
            file=str(path),
            duration_s=_length_s(record),
            fps=record.fps if record.has_video else 0.0,
            width_px=record.width_px,
            height_px=record.height_px,
            has_sound=record.has_audio,
            emotion=first,
            confidence=mean[first],
            runner_up=second,
            abstains=mean[first] < self.card.inputs.predict.abstain_below,
            branch=Counter(one.branch for one in answers).most_common(1)[0][0],
            probabilities=mean,
            face_share=share,
            windows=tuple(answers),
            timeline=tuple(timeline),
            faces=tuple(faces),
            face_finder="" if not faces else "dlib" if self.detector is None else "detector",
            notes=tuple(notes),
        )


def _audio_weights(folder: Path, card: ModelCard, network: str) -> Weights:
    embed = card.inputs.embed
    file = folder / f"{network}.safetensors"
    if file.name in card.files:
        return Weights(network, file, embed.seed, card.audio_networks[network])
    source = embed.weights if embed.weights in (UNTRAINED, PUBLISHED) else UNTRAINED
    update = {"weights": source}
    weights = resolve(network, embed.model_copy(update=update), card.audio_networks[network])
    if weights.identity != card.audio_networks[network]:
        raise WeightsError(
            f"{network}: weights are {weights.identity}, the model was trained on those of "
            f"{card.audio_networks[network]}"
        )
    return weights


def _encoders(folder: Path, card: ModelCard, settings: Settings) -> list[Encoder]:
    if "expressions" not in inputs_of(card.system, settings):
        return []
    names = settings.faces.embeddings
    return [resolve_encoder(name, folder / ENCODER.format(n)) for n, name in enumerate(names)]


def _decode(path: Path, look: bool, params: ExtractParams, folder: Path) -> ClipRecord:
    """Frames, if they are to be looked at, and sound, as the stage `extract` stores them."""
    tracks = probe(path)
    filmed = tracks.picture is not None
    if not filmed and not tracks.sounds:
        raise MediaError(f"{path}: neither picture nor sound; expected a recording")
    clip = Clip(_CLIP, "", "", "", path if filmed else None, None if filmed else path)
    extract_clip(ExtractJob(clip, filmed and look, True, params), folder)
    return read_record(folder)


def _length_s(record: ClipRecord) -> float:
    """Of picture or sound, the longer one."""
    shown_s = record.frames * record.frame_step / record.fps if record.frames else 0.0
    heard_s = record.samples / record.rate_hz if record.samples else 0.0
    return max(shown_s, heard_s)


def _time(window: _Window, index: int) -> float:
    return (window.first_frame + index) / window.rate_hz


def _face_of_box(time_s: float, box: Box | None, speech: float) -> FrameFace:
    if box is None:
        return FrameFace(time_s, None, None, 0.0, speech)
    return FrameFace(time_s, (box.x1, box.y1, box.x2, box.y2), None, 1.0, speech)


def _face(time_s: float, found: Detections, speech: float) -> FrameFace:
    if len(found.scores) == 0:
        return FrameFace(time_s, None, None, 0.0, speech)
    box, sigma = found.boxes[0].tolist(), torch.exp(found.log_var[0] / 2).tolist()
    return FrameFace(time_s, tuple(box), tuple(sigma), float(found.scores[0]), speech)
