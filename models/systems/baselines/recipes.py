"""How the paper's other systems are made and trained."""

from operator import attrgetter
from typing import NamedTuple

from torch import Tensor, nn
from torch.nn import functional as F

from models.fusion.network import SingleNet
from models.fusion.params import FusionParams
from models.losses import polarities, polarity_consistent_ce
from models.systems.baselines.inputs import (
    WINDOW_SAMPLES,
    cepstrum_reader,
    crop_reader,
    frame_reader,
    frozen_features,
    snippet_reader,
    window_reader,
)
from models.systems.baselines.params import BaselineParams
from models.systems.baselines.trunks import (
    Precomputed,
    image_trunk,
    output_shape,
    snippet_maps,
    sound_trunk,
    video_trunk,
)
from models.systems.baselines.tzirakis import RawSound, TzirakisNet
from models.systems.baselines.vaanet import AudioStream, VaaNet, VisualStream
from models.systems.baselines.visual_cnn import FrameNet
from models.systems.inputs import ClipSet, Reader, Store, audio_reader
from models.systems.params import Settings
from models.systems.recipe import (
    Phase,
    Recipe,
    audio_branch,
    audio_phase,
    branch_step,
    fusion_net,
    fusion_phases,
    whole,
)
from models.training import Step, TrainSettings
from pipeline.splits import Fold
from pipeline.systems import BEST_AUDIO


class Seen(NamedTuple):
    """A visual input; where its trunk is frozen, `reader` gives the trunk's outputs."""

    reader: Reader
    frozen: Precomputed | None


def visual_cnn(name: str, store: Store, fold: Fold, settings: Settings) -> Recipe:
    """CNN on whole frames (`frames`) or face crops (`crops`)."""
    seen = _trunk_inputs(name, store, settings.baselines)

    def assemble(clips: ClipSet) -> nn.Module:
        branch = _frame_net(name, seen, len(store.emotions), settings.baselines)
        return SingleNet("visual", branch)

    return Recipe(
        {name: seen.reader}, assemble, (_visual_phase("branch", name, settings.baselines),)
    )


def fused_cnn(name: str, store: Store, fold: Fold, settings: Settings) -> Recipe:
    """The same CNN fused with the paper's best audio branch."""
    params, emotions = settings.baselines, len(store.emotions)
    reader, widths = audio_reader(store, BEST_AUDIO, settings.audio.handcrafted)
    seen = _trunk_inputs(name, store, params)
    fusion = settings.fusion if seen.frozen else _own_schedule(settings.fusion, params)

    def assemble(clips: ClipSet) -> nn.Module:
        audio = audio_branch(clips, widths, emotions, settings.audio)
        return fusion_net(audio, _frame_net(name, seen, emotions, params), emotions, fusion)

    phases = (
        audio_phase("audio", settings.audio),
        _visual_phase("visual", name, params),
        *fusion_phases(fusion, settings.loss),
    )
    return Recipe({"audio": reader, name: seen.reader}, assemble, phases)


def dnn(store: Store, fold: Fold, settings: Settings) -> Recipe:
    """Tzirakis et al. 2017."""
    params = settings.baselines

    def assemble(clips: ClipSet) -> nn.Module:
        faces = image_trunk(params.image_net, params.weights == "published")
        (width,) = output_shape(faces, 3, params.face_px, params.face_px)
        sound = RawSound(params.dropout)
        return TzirakisNet(sound, faces, width + 2 * WINDOW_SAMPLES, len(store.emotions))

    def step(network: nn.Module, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        return {"l_av": F.cross_entropy(_log_p(network, batch), batch["label"])}

    readers = {
        "windows": store.once(
            ("windows", params.windows), lambda: window_reader(store, params.windows)
        ),
        "crops": _pictures("crops", store, params),
    }
    return Recipe(readers, assemble, (_end_to_end(step, params),))


def vaanet(store: Store, fold: Fold, settings: Settings) -> Recipe:
    """VAANet, Zhao et al. 2020."""
    params = settings.baselines
    seen = _snippets(store, params)
    polarity = polarities(store.emotions)

    def assemble(clips: ClipSet) -> nn.Module:
        trunk = seen.frozen or video_trunk(params.video_net, published=False)
        channels, positions = snippet_maps(_inside(trunk), params.snippet_px)
        visual = VisualStream(trunk, channels, positions, params.snippets)
        audio = AudioStream(sound_trunk(params.weights == "published"), params.segments)
        return VaaNet(visual, audio, len(store.emotions))

    def step(network: nn.Module, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        log_p = _log_p(network, batch)
        signs = polarity.to(log_p.device)
        penalty = params.polarity_penalty
        return {"l_av": polarity_consistent_ce(log_p, batch["label"], signs, penalty)}

    shape = (params.segments, params.segment_frames)
    cepstra = store.once(("cepstra", *shape), lambda: cepstrum_reader(store, *shape))
    readers = {"snippets": seen.reader, "cepstra": cepstra}
    return Recipe(readers, assemble, (_end_to_end(step, params),))


def _trunk_inputs(name: str, store: Store, params: BaselineParams) -> Seen:
    """Pictures of the visual CNNs, through the trunk where it is frozen."""
    read = _pictures(name, store, params)
    if params.weights == "untrained":
        return Seen(read, None)
    return store.once(
        ("trunk", name, params), lambda: _frozen(image_trunk(params.image_net, True), read)
    )


def _snippets(store: Store, params: BaselineParams) -> Seen:
    shape = (params.snippets, params.snippet_px)
    read = store.once(("snippets", *shape), lambda: snippet_reader(store, *shape))
    if params.weights == "untrained":
        return Seen(read, None)
    return store.once(
        ("trunk", "snippets", params), lambda: _frozen(video_trunk(params.video_net, True), read)
    )


def _pictures(name: str, store: Store, params: BaselineParams) -> Reader:
    make, size_px = {
        "frames": (frame_reader, params.frame_px),
        "crops": (crop_reader, params.face_px),
    }[name]
    key = (name, params.frames, size_px)
    return store.once(key, lambda: make(store, params.frames, size_px))


def _frozen(trunk: nn.Module, read: Reader) -> Seen:
    frozen = Precomputed(trunk)
    return Seen(frozen_features(frozen.backbone, read), frozen)


def _own_schedule(fusion: FusionParams, params: BaselineParams) -> FusionParams:
    """A CNN that learns costs more an epoch than cached features: fewer epochs, careful ones."""
    epochs = {"warmup_epochs": params.joint_epochs, "epochs": params.joint_epochs}
    return fusion.model_copy(update={**epochs, "lr": fusion.joint_lr})


def _frame_net(name: str, seen: Seen, emotions: int, params: BaselineParams) -> FrameNet:
    trunk = seen.frozen or image_trunk(params.image_net, published=False)
    size_px = params.frame_px if name == "frames" else params.face_px
    (width,) = output_shape(_inside(trunk), 3, size_px, size_px)
    layers = nn.Sequential(
        nn.Dropout(params.dropout),
        nn.Linear(width, params.hidden),
        nn.ReLU(),
        nn.Dropout(params.dropout),
    )
    return FrameNet(name, trunk, layers, nn.Linear(params.hidden, emotions))


def _inside(trunk: nn.Module) -> nn.Module:
    return trunk.backbone if isinstance(trunk, Precomputed) else trunk


def _visual_phase(part: str, name: str, params: BaselineParams) -> Phase:
    settings = TrainSettings(params.epochs, params.lr, params.weight_decay)
    step = branch_step("visual")
    return Phase("visual", attrgetter(part), step, {"l_v": 1.0}, settings, (name,))


def _end_to_end(step: Step, params: BaselineParams) -> Phase:
    settings = TrainSettings(params.epochs, params.lr, params.weight_decay)
    return Phase("end_to_end", whole, step, {"l_av": 1.0}, settings)


def _log_p(network: nn.Module, batch: dict[str, Tensor]) -> Tensor:
    """Log softmax [B, K] of a network that states log odds."""
    return F.logsigmoid(network(batch)["av"])
