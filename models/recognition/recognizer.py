"""A saved model and what it says of a recording.

A recording goes through the same functions as in the stages, so that a test clip gets its row of
`results/predictions.csv`. A longer one is answered window by window.
"""

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

import torch
from accelerate.utils import send_to_device
from torch import Tensor, nn

from models.audio.params import PANNS
from models.audio.weights import PUBLISHED, UNTRAINED, Weights, resolve
from models.checkpoint import load_safetensors, load_strictly, require_fit
from models.device import chosen_device, device_of
from models.expressions.encoders import Encoder, FerEncoder, ImageClassifier, load_encoder
from models.expressions.encoders import resolve as resolve_encoder
from models.expressions.mini_xception import EXPRESSIONS
from models.fusion.pool import pooled
from models.losses import log_scores
from models.recognition.answers import (
    AROUND_S,
    HOP_S,
    FrameFace,
    Moment,
    Recognition,
    WindowAnswer,
)
from models.recognition.faces import NOTHING, Looked, expressions, look
from models.recognition.inputs import OF_FACES, OF_SOUND, InputReader
from models.recognition.windows import Recording, Window, decoded
from models.saved_model import CARD, DETECTOR, ENCODER, NETWORK, ModelCard, read_card
from models.systems.baselines.inputs import Precomputed
from models.systems.inputs import audio_keys, collate
from models.systems.params import Settings
from models.systems.registry import build_network, inputs_of
from models.threads import pinned_threads
from pipeline.errors import MediaError, WeightsError
from pipeline.systems import SYSTEMS

if TYPE_CHECKING:
    from models.faces.detector import Detector

UNKNOWN: Mapping[str, Tensor] = MappingProxyType({})


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
        detector: "Detector | None",
        audio: dict[str, Weights],
        encoders: Sequence[FerEncoder | ImageClassifier] = (),
    ) -> None:
        settings = Settings.load(card.settings)
        self.card = card
        self._margin = settings.faces.margin
        self.network = network.eval()
        self.detector = detector
        self.reads = inputs_of(card.system, settings)
        self.audio_blocks = _audio_blocks(card.system, settings, audio) if self._hears else {}
        trunks = [part for part in network.modules() if isinstance(part, Precomputed)]
        trunk = trunks[0].backbone if trunks else None
        self._inputs = InputReader(settings, self.audio_blocks, detector, encoders, trunk)

    @classmethod
    def load(cls, folder: Path, device: torch.device | None = None) -> "Recognizer":
        """Read a model that the stage `pack` wrote.

        Args:
            folder: `results/model`.
            device: where its networks compute; None takes the chosen one.

        Raises:
            WeightsError: the folder is none, of another version, damaged, or its parts do not fit.
        """
        device = device or chosen_device()
        card = read_card(folder)
        settings = Settings.load(card.settings)
        state, facts = load_safetensors(folder / NETWORK)
        if facts.get("emotions") != json.dumps(card.emotions):
            raise WeightsError(
                f"{folder / CARD}: emotions {', '.join(card.emotions)} are not in the order of "
                f"{NETWORK}; run `dvc repro pack`"
            )
        with torch.device("meta"):  # before memory is taken for sizes that a stranger states
            require_fit(build_network(card.system, card.widths, settings), state, folder / NETWORK)
        network = build_network(card.system, card.widths, settings)
        load_strictly(network, state, folder / NETWORK)
        detector = _detector(folder) if DETECTOR in card.files else None
        audio = {n: _audio_weights(folder, card, n) for n in card.audio_networks}
        encoders = [load_encoder(one).to(device) for one in _encoders(folder, card, settings)]
        return cls(card, network.to(device), detector and detector.to(device), audio, encoders)

    @property
    def sees(self) -> bool:
        """Whether it looks at the picture."""
        return "video" in SYSTEMS[self.card.system].modalities

    @property
    def _hears(self) -> bool:
        return "audio" in self.reads

    @property
    def reads_faces(self) -> bool:
        """Whether it looks for faces in the picture."""
        return not OF_FACES.isdisjoint(self.reads)

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
        wanted = faces or over_time
        with decoded(path, self.sees or wanted, self.card.inputs) as recording, pinned_threads(1):
            return self.recognize(recording, over_time, faces)

    def recognize(
        self, recording: Recording, over_time: bool = False, faces: bool = False
    ) -> Recognition:
        """The same of a recording that is decoded already, with the card's `inputs`.

        Raises:
            MediaError: it lacks all that the model reads.
        """
        answers: list[WindowAnswer] = []
        timeline: list[Moment] = []
        found: list[FrameFace] = []
        opinions: list[Tensor] = []
        problems: list[str] = []
        looks = self.reads_faces or faces or over_time
        for window in recording.windows():
            looked = NOTHING
            if looks:
                looked = look(window, self.detector, self.card.inputs, over_time)
            found += [looked.faces[index] for index in sorted(looked.faces)]
            if not self.sees:
                opinions.append(expressions(window, looked, self._margin))
            try:
                answers.append(self.answer(window, looked))
            except MediaError as error:
                problems.append(str(error))
            if over_time:
                timeline += self._timeline(window, looked)
        if not answers:
            raise MediaError(f"{recording.path}: {problems[0]}")
        return self._summary(recording, answers, timeline, found, opinions)

    @torch.no_grad()
    def answer(
        self, window: Window, looked: Looked, known: Mapping[str, Tensor] = UNKNOWN
    ) -> WindowAnswer:
        """What the model says of one window.

        Args:
            window: of a recording.
            looked: what it shows.
            known: inputs of the network that need not be computed, by name.

        Raises:
            MediaError: it lacks all that the model reads.
        """
        branch, notes = self.branch(window, looked)
        inputs = self.inputs(branch, window, looked, known)
        p = self.probabilities(branch, inputs).tolist()
        probabilities = dict(zip(self.card.emotions, p, strict=True))
        return WindowAnswer(window.start_s, window.end_s, branch, probabilities, notes)

    def inputs(
        self, branch: str, window: Window, looked: Looked, known: Mapping[str, Tensor] = UNKNOWN
    ) -> dict[str, Tensor]:
        """What a branch reads of a window that has it, by name; see `answer`."""
        sound_only, picture_only = branch == "audio", branch == "visual"
        return {
            name: known[name] if name in known else self._inputs.read(name, window, looked)
            for name in self.reads
            if not (sound_only and name not in OF_SOUND) and not (picture_only and name in OF_SOUND)
        }

    def probabilities(self, branch: str, inputs: Mapping[str, Tensor]) -> Tensor:
        """Calibrated p of the emotions [K] by a branch, differentiable in its inputs."""
        batch = send_to_device(collate([dict(inputs)]), device_of(self.network))
        if branch == self.card.branches[0]:
            logits = self.network(batch)
        else:
            logits = self.network.branch(branch, batch)  # type: ignore[operator]
        scores = {name: log_scores(one.cpu()) for name, one in logits.items()}
        return pooled(scores, self.card.pools.get(branch, {branch: 1.0}))[0]

    def _timeline(self, window: Window, looked: Looked) -> Iterator[Moment]:
        """Answers around moments of a window of which every frame was looked at."""
        count = max(1, round((window.end_s - window.start_s) / HOP_S))
        for step in range(count + 1):
            time_s = window.start_s + (window.end_s - window.start_s) * step / count
            part, inside = window.around(time_s, AROUND_S)
            try:
                answer = self.answer(part, looked.within(inside, self.card.inputs))
            except MediaError:  # nothing to answer from at this moment
                continue
            yield Moment(time_s, answer.probabilities)

    def branch(self, window: Window, looked: Looked) -> tuple[str, tuple[str, ...]]:
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
        elif self.reads_faces:
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
        raise MediaError(
            f"{words}, and {self.card.system} cannot answer without; take another recording, or a "
            "model that reads what this one has"
        )

    def _summary(
        self,
        recording: Recording,
        answers: list[WindowAnswer],
        timeline: list[Moment],
        faces: list[FrameFace],
        opinions: list[Tensor],
    ) -> Recognition:
        record, total = recording.record, recording.window_count
        mean = {
            emotion: sum(one.probabilities[emotion] for one in answers) / len(answers)
            for emotion in self.card.emotions
        }
        first, second = sorted(mean, key=lambda emotion: -mean[emotion])[:2]
        notes = [] if total == 1 else [f"mean of {len(answers)} windows"]
        for note, count in Counter(note for one in answers for note in one.notes).items():
            notes.append(note if total == 1 else f"{note} ({count} of {total} windows)")
        if len(answers) < total:
            notes.append(f"no answer in {total - len(answers)} of {total} windows")
        share = sum(face.box is not None for face in faces) / len(faces) if faces else None
        return Recognition(
            file=str(recording.path),
            duration_s=recording.length_s,
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
            face_opinion=_mean_opinion(opinions),
            notes=tuple(notes),
        )


def _detector(folder: Path) -> "Detector":
    # imported here: who asks a model of sound alone need not wait seconds for torchvision
    from models.faces.weights import load_detector

    return load_detector(folder / DETECTOR)


def _mean_opinion(opinions: Sequence[Tensor]) -> dict[str, float]:
    """Mean p by expression over all faces, p [F, 7] by window."""
    faces = [p for window in opinions for p in window]
    if not faces:
        return {}
    return dict(zip(EXPRESSIONS, torch.stack(faces).mean(dim=0).tolist(), strict=True))


def _audio_blocks(
    system: str, settings: Settings, weights: dict[str, Weights]
) -> dict[str, Weights | None]:
    """What lies side by side in the input `audio`: weights by network, None for a feature."""
    spec, params = SYSTEMS[system], settings.audio
    networks = spec.audio_networks(params.embeddings, params.encoders)
    keys = audio_keys(networks, params.handcrafted and spec.reads_panns)
    return {key: weights.get(key) for key in keys}


def _audio_weights(folder: Path, card: ModelCard, network: str) -> Weights:
    embed = card.inputs.embed
    file = folder / f"{network}.safetensors"
    if network in PANNS and file.name in card.files:
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
