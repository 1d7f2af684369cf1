"""Every system that can be trained, in one table: what it is, what it reads, what was published.

`models.systems.registry` knows where each row is made; a test holds that none is missing. A system
of one's own is one row here, without a published figure, one there, and one in the module that
makes it; such rows follow the paper's.

Source of the figures: Hussain, Wang, Bouaynaya, Fathallah-Shaykh, Mihaylova, *Deep Learning for
Audio Visual Emotion Recognition*, Tables I and II: accuracy on 70 random clips of SAVEE.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pipeline.clips import ClipRecord
from pipeline.errors import CorpusError, ParamsError
from pipeline.params import PARAMS_FILE, read_params

Modality = Literal["audio", "video"]

PAPER_TEST_CLIPS = 70
"""Behind each published figure."""

AUDIO: tuple[Modality, ...] = ("audio",)
VIDEO: tuple[Modality, ...] = ("video",)
BOTH: tuple[Modality, ...] = ("audio", "video")


@dataclass(frozen=True, slots=True)
class SystemSpec:
    """What a system is.

    Attributes:
        name: its name in `params.yaml`.
        title: in plain words, for the report.
        modalities: what a clip must have; it trains and is tested on those that do.
        reads: products that it reads: names below `data/`, and `face_features`,
            `face_embeddings` and `detector` of the protocol's folds; `detector`, and `voc` beside
            face features, only where `fusion.joint` is set.
        networks: PANNs that it is named after; see `audio_networks`.
        paper: published accuracy in [0, 1], None where there is none.
        speech: whether it reads a speech encoder alone, not PANNs and hand-crafted statistics.
    """

    name: str
    title: str
    modalities: tuple[Modality, ...]
    reads: tuple[str, ...]
    networks: tuple[str, ...] = ()
    paper: float | None = None
    speech: bool = False

    @property
    def branch(self) -> str:
        """Its headline branch in predictions, also its colour in charts."""
        return {AUDIO: "audio", VIDEO: "visual"}.get(self.modalities, "av")

    @property
    def fuses(self) -> bool:
        """Whether it is an audio branch over embeddings fused with a visual branch."""
        return self.branch == "av" and "embeddings" in self.reads

    def can_read(self, record: ClipRecord) -> bool:
        """Whether a clip has the modalities that the system needs."""
        has = {"audio": record.has_audio, "video": record.has_video}
        return all(has[modality] for modality in self.modalities)

    @property
    def reads_panns(self) -> bool:
        """Whether it reads embeddings of PANNs, and hand-crafted statistics if so set."""
        return "embeddings" in self.reads and not self.speech

    @property
    def fuses_panns(self) -> bool:
        """Whether it fuses embeddings of the networks that `audio.embeddings` names."""
        return self.fuses and self.reads_panns

    @property
    def can_be_tuned(self) -> bool:
        """Whether `audio.train` can train its audio network too."""
        return bool(self.networks) and not self.speech

    def audio_networks(self, embeddings: Sequence[str], encoders: Sequence[str]) -> tuple[str, ...]:
        """Frozen audio networks whose embeddings it reads.

        Args:
            embeddings: `audio.embeddings`, which systems that fuse PANNs read.
            encoders: `audio.encoders`, which systems that hear through speech encoders read.
        """
        if self.speech:
            return tuple(encoders)
        return tuple(embeddings) if self.fuses else self.networks

    @property
    def reads_faces(self) -> bool:
        """Whether it reads face features of the protocol's detectors."""
        return "face_features" in self.reads

    def reads_frames(self, joint: bool) -> bool:
        """Whether it reads stored frames, and not only what the detector found in them.

        Args:
            joint: whether the detector is trained in it.
        """
        return "voc" in self.reads and (joint or not self.can_be_joint)

    @property
    def can_be_joint(self) -> bool:
        """Whether `fusion.joint` can train the detector in it."""
        return "detector" in self.reads


_EMBEDDINGS = ("embeddings",)
_FACES = ("face_features", "speech.csv")
_EXPRESSIONS = ("face_embeddings", *_FACES)
_FILM = ("voc", "audio32k")

_TABLE = (
    SystemSpec(
        "audio_cnn",
        "Cnn14 (log-mel), three fully connected layers",
        AUDIO, _EMBEDDINGS, ("Cnn14",), 0.593,
    ),
    SystemSpec(
        "audio_wavegram",
        "Wavegram_Cnn14, three fully connected layers",
        AUDIO, _EMBEDDINGS, ("Wavegram_Cnn14",), 0.622,
    ),
    SystemSpec(
        "audio_wavegram_logmel",
        "Wavegram_Logmel_Cnn14, three fully connected layers",
        AUDIO, _EMBEDDINGS, ("Wavegram_Logmel_Cnn14",), 0.655,
    ),
    SystemSpec(
        "visual_cnn", "a CNN on whole frames",
        VIDEO, ("voc",), paper=0.391,
    ),
    SystemSpec(
        "visual_cnn_fd", "a CNN on face crops",
        VIDEO, ("voc",), paper=0.319,
    ),
    SystemSpec(
        "visual_faster_rcnn", "Faster R-CNN face features",
        VIDEO, _FACES, paper=0.338,
    ),
    SystemSpec(
        "av_dnn",
        "raw audio and face crops into an LSTM (Tzirakis et al.)",
        BOTH, _FILM, paper=0.498,
    ),
    SystemSpec(
        "av_vaanet",
        "VAANet (Zhao et al.), attention over audio and video snippets",
        BOTH, _FILM, paper=0.638,
    ),
    SystemSpec(
        "av_cnn",
        "audio embeddings fused with a CNN on whole frames",
        BOTH, ("voc", *_EMBEDDINGS), paper=0.593,
    ),
    SystemSpec(
        "av_cnn_fd",
        "audio embeddings fused with a CNN on face crops",
        BOTH, ("voc", *_EMBEDDINGS), paper=0.614,
    ),
    SystemSpec(
        "av_faster_rcnn",
        "audio embeddings fused with Faster R-CNN face features",
        BOTH, ("voc", *_EMBEDDINGS, *_FACES, "detector"), paper=0.631,
    ),
    SystemSpec(
        "audio_speech",
        "a linear classifier over layers of a frozen speech encoder",
        AUDIO, _EMBEDDINGS, speech=True,
    ),
    SystemSpec(
        "visual_expression",
        "frozen expression encoders on the faces that the detector finds",
        VIDEO, _EXPRESSIONS,
    ),
    SystemSpec(
        "av_people",
        "speech encoders fused with expression encoders and Faster R-CNN face features",
        BOTH, (*_EMBEDDINGS, *_EXPRESSIONS), speech=True,
    ),
    SystemSpec(
        "audio_compact",
        "a small CNN over log-mel spectrograms, trained end to end from random weights",
        AUDIO, ("audio32k",),
    ),
)  # fmt: skip

SYSTEMS: dict[str, SystemSpec] = {spec.name: spec for spec in _TABLE}
"""By name, in the order of the paper's tables; those of our own follow."""

PAPER_SYSTEMS = tuple(spec.name for spec in _TABLE if spec.paper is not None)
"""The rows of the paper's tables."""

OURS = "av_faster_rcnn"
"""The default system; the other rows of a table are tested against it."""


def load_system(path: Path = PARAMS_FILE) -> str:
    """Name of the system to train and score, a key of `SYSTEMS`.

    Raises:
        ParamsError: an unknown system.
    """
    system = read_params(path).get("system")
    if not isinstance(system, str) or system not in SYSTEMS:
        raise ParamsError(f"{path}: system: got {system!r}, expected one of {', '.join(SYSTEMS)}")
    return system


def readable(system: str, records: Sequence[ClipRecord]) -> list[ClipRecord]:
    """The clips that have all that a system needs, those without an emotion too.

    Args:
        system: a key of `SYSTEMS`.
        records: all usable clips.

    Raises:
        CorpusError: no clip with an emotion has the sound, the video or both that it needs.
    """
    spec = SYSTEMS[system]
    found = [record for record in records if spec.can_read(record)]
    if not any(record.emotion for record in found):
        records = [record for record in records if record.emotion]
        there = {
            "audio": any(r.has_audio for r in records),
            "video": any(r.has_video for r in records),
        }
        absent = [one for one in spec.modalities if not there[one]] or spec.modalities
        needs = " and ".join({"audio": "sound", "video": "video"}[one] for one in absent)
        others = [one.name for one in _TABLE if any(map(one.can_read, records))]
        raise CorpusError(
            f"system {system} needs {needs}, which none of {len(records)} labelled clips has; "
            f"use one of {', '.join(others) or '(none)'}, or set corpus.modalities"
        )
    return found
