"""The systems of the paper's tables: what each reads, how it is built, how it is trained.

A system is a `Recipe`. Its network maps a batch of `models.data` to logits [B, K] by branch (`av`,
`audio`, `visual`); its phases train parts of the network one after the other.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from operator import attrgetter

from torch import Tensor, nn

from models.audio import AudioNet, AudioParams
from models.data import ClipSet, Reader, Store, audio_reader, face_readers
from models.fusion import FusionHead, FusionNet, FusionParams, LossParams, SingleNet
from models.losses import emotion_bce
from models.standardize import Standardize
from models.training import Step, TrainSettings
from models.visual import VisualNet, VisualParams, pool_frames
from pipeline.errors import CorpusError
from pipeline.splits import Fold

LOSS_NAMES = {"av": "l_av", "audio": "l_a", "visual": "l_v"}
"""Name of each branch's loss, as in Eq. (4)."""

NETWORK_OF = {
    "audio_cnn": "Cnn14",
    "audio_wavegram": "Wavegram_Cnn14",
    "audio_wavegram_logmel": "Wavegram_Logmel_Cnn14",
}
"""The PANNs network behind each audio row; audio-visual rows take the last, the paper's best."""


@dataclass(frozen=True, slots=True)
class Settings:
    """The sections of `params.yaml` that systems read."""

    audio: AudioParams
    visual: VisualParams
    fusion: FusionParams
    loss: LossParams


@dataclass(frozen=True, slots=True)
class Phase:
    """One stretch of training: a part of the network, its named losses and their weights."""

    name: str
    part: Callable[[nn.Module], nn.Module]
    step: Step
    weights: Mapping[str, float]
    settings: TrainSettings


@dataclass(frozen=True, slots=True)
class Recipe:
    """How a system is made for one fold.

    `assemble` gets the training clips and nothing else, so that no statistic is taken of test
    clips.
    """

    readers: Mapping[str, Reader]
    assemble: Callable[[ClipSet], nn.Module]
    phases: tuple[Phase, ...]


def recipe(system: str, store: Store, fold: Fold, settings: Settings) -> Recipe:
    """The recipe of a system by its name in `params.yaml`.

    Raises:
        CorpusError: the corpus lacks the sound or the video that the system needs.
    """
    require_modalities(system, store)
    if system in NETWORK_OF:
        return _audio(store, settings, NETWORK_OF[system])
    if system == "visual_faster_rcnn":
        return _visual(store, fold, settings)
    if system == "av_faster_rcnn":
        return _fused(store, fold, settings)
    raise NotImplementedError(system)


def require_modalities(system: str, store: Store) -> None:
    """Refuse a system that the corpus cannot serve.

    Raises:
        CorpusError: as said.
    """
    lacking = {
        "sound": not all(r.has_audio for r in store.records) and not system.startswith("visual"),
        "video": not all(r.has_video for r in store.records) and not system.startswith("audio"),
    }
    for what, lacks in lacking.items():
        if lacks:
            other = "visual_*" if what == "sound" else "audio_*"
            raise CorpusError(
                f"system {system} needs {what}, and clips of this corpus have none; "
                f"use one of the {other} systems or set corpus.modalities"
            )


def emotion_step(branches: tuple[str, ...]) -> Step:
    """Losses of a whole network, one for each of its branches."""

    def step(network: nn.Module, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        logits = network(batch)
        return {LOSS_NAMES[b]: emotion_bce(logits[b], batch["label"]) for b in branches}

    return step


def branch_step(name: str) -> Step:
    """Loss of one branch, called alone."""

    def step(branch: nn.Module, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        return {LOSS_NAMES[name]: emotion_bce(branch(batch)[1], batch["label"])}

    return step


def branch_phase(name: str, part: str, params: AudioParams | VisualParams) -> Phase:
    """Train one branch alone; `part` is the network's attribute that holds it."""
    settings = TrainSettings(params.epochs, params.lr, params.weight_decay)
    return Phase(name, attrgetter(part), branch_step(name), {LOSS_NAMES[name]: 1.0}, settings)


def fusion_phases(params: FusionParams, loss: LossParams) -> tuple[Phase, ...]:
    """Warm-up on L_av alone, then L = l_av + alpha l_a + beta l_v, Eq. (4)."""
    step = emotion_step(("av", "audio", "visual"))
    joint = {"l_av": 1.0, "l_a": loss.alpha, "l_v": loss.beta}
    stretches = [
        ("warmup", {"l_av": 1.0, "l_a": 0.0, "l_v": 0.0}, params.warmup_epochs),
        ("joint", joint, params.epochs),
    ]
    return tuple(
        Phase(name, _whole, step, weights, TrainSettings(epochs, params.lr, params.weight_decay))
        for name, weights, epochs in stretches
        if epochs > 0
    )


def audio_branch(clips: ClipSet, widths: list[int], emotions: int, params: AudioParams) -> AudioNet:
    """An audio network with the statistics of `clips`."""
    standardize = Standardize.fit(clips.stack("audio"), widths)
    return AudioNet(standardize, params.hidden, emotions, params.dropout)


def visual_branch(clips: ClipSet, emotions: int, params: VisualParams) -> VisualNet:
    """A visual network with the statistics of `clips`."""
    pooled = pool_frames(clips.stack("faces"), clips.stack("weights"))
    return VisualNet(Standardize.fit(pooled), params.hidden, emotions, params.dropout)


def fusion_net(
    audio: nn.Module, visual: nn.Module, emotions: int, params: FusionParams
) -> FusionNet:
    """Both branches under a fresh head."""
    width = int(audio.feature_width) + int(visual.feature_width)  # type: ignore[arg-type]
    return FusionNet(audio, visual, FusionHead(width, params.hidden, emotions, params.dropout))


def _audio(store: Store, settings: Settings, network: str) -> Recipe:
    reader, widths = audio_reader(store, network, settings.audio.handcrafted)

    def assemble(clips: ClipSet) -> nn.Module:
        branch = audio_branch(clips, widths, len(store.emotions), settings.audio)
        return SingleNet("audio", branch)

    return Recipe({"audio": reader}, assemble, (branch_phase("audio", "branch", settings.audio),))


def _visual(store: Store, fold: Fold, settings: Settings) -> Recipe:
    def assemble(clips: ClipSet) -> nn.Module:
        return SingleNet("visual", visual_branch(clips, len(store.emotions), settings.visual))

    phases = (branch_phase("visual", "branch", settings.visual),)
    return Recipe(_faces(store, fold, settings), assemble, phases)


def _fused(store: Store, fold: Fold, settings: Settings) -> Recipe:
    network = NETWORK_OF["audio_wavegram_logmel"]
    reader, widths = audio_reader(store, network, settings.audio.handcrafted)
    emotions = len(store.emotions)

    def assemble(clips: ClipSet) -> nn.Module:
        audio = audio_branch(clips, widths, emotions, settings.audio)
        visual = visual_branch(clips, emotions, settings.visual)
        return fusion_net(audio, visual, emotions, settings.fusion)

    phases = (
        branch_phase("audio", "audio", settings.audio),
        branch_phase("visual", "visual", settings.visual),
        *fusion_phases(settings.fusion, settings.loss),
    )
    return Recipe({"audio": reader, **_faces(store, fold, settings)}, assemble, phases)


def _faces(store: Store, fold: Fold, settings: Settings) -> dict[str, Reader]:
    floor = settings.visual.speech_floor if settings.visual.speech_weighting else 1.0
    return face_readers(store, fold.name, floor)


def _whole(network: nn.Module) -> nn.Module:
    return network
