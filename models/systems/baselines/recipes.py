"""How the paper's other systems are made and trained."""

from functools import partial
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
from models.systems.inputs import Reader, Store, audio_reader
from models.systems.params import Settings
from models.systems.recipe import (
    Phase,
    Recipe,
    Widths,
    audio_branch,
    audio_phase,
    branch_step,
    entire,
    fusion_net,
    fusion_phases,
)
from models.training import Step, TrainSettings
from pipeline.splits import Fold


class TrunkInput(NamedTuple):
    """A visual input; where its trunk is frozen, `reader` gives the trunk's outputs."""

    reader: Reader
    frozen: Precomputed | None


def visual_cnn(name: str, store: Store, fold: Fold, settings: Settings) -> Recipe:
    """CNN on whole frames (`frames`) or face crops (`crops`)."""
    pictures = _trunk_inputs(name, store, settings.baselines)
    widths = Widths(len(store.emotions))
    build = partial(visual_cnn_net, name, widths, settings, pictures.frozen)
    phases = (_visual_phase("branch", name, settings.baselines),)
    return Recipe({name: pictures.reader}, widths, build, phases)


def visual_cnn_net(
    name: str, widths: Widths, settings: Settings, frozen: Precomputed | None = None
) -> nn.Module:
    """The network of `visual_cnn`; `frozen` is a trunk with published weights."""
    return SingleNet("visual", _frame_net(name, frozen, widths.emotions, settings.baselines))


def fused_cnn(name: str, store: Store, fold: Fold, settings: Settings) -> Recipe:
    """The same CNN fused with the audio branch over `audio.embeddings`."""
    params = settings.baselines
    reader, blocks = audio_reader(store, settings.audio.embeddings, settings.audio.handcrafted)
    pictures = _trunk_inputs(name, store, params)
    fusion = settings.fusion if pictures.frozen else _own_schedule(settings.fusion, params)
    widths = Widths(len(store.emotions), blocks)
    phases = (
        audio_phase("audio", settings.audio),
        _visual_phase("visual", name, params),
        *fusion_phases(fusion, settings.loss),
    )
    build = partial(fused_cnn_net, name, widths, settings, pictures.frozen)
    return Recipe({"audio": reader, name: pictures.reader}, widths, build, phases)


def fused_cnn_net(
    name: str, widths: Widths, settings: Settings, frozen: Precomputed | None = None
) -> nn.Module:
    """The network of `fused_cnn`; `frozen` is a trunk with published weights."""
    audio = audio_branch(widths, settings.audio)
    visual = _frame_net(name, frozen, widths.emotions, settings.baselines)
    return fusion_net(audio, visual, widths.emotions, settings.fusion)


def dnn(store: Store, fold: Fold, settings: Settings) -> Recipe:
    """Tzirakis et al. 2017."""
    params, widths = settings.baselines, Widths(len(store.emotions))
    published = params.weights == "published"

    def step(network: nn.Module, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        return {"l_av": F.cross_entropy(_log_p(network, batch), batch["label"])}

    readers = {
        "windows": store.once(
            ("windows", params.windows), lambda: window_reader(store, params.windows)
        ),
        "crops": _pictures("crops", store, params),
    }
    build = partial(dnn_net, widths, settings, published)
    return Recipe(readers, widths, build, (_end_to_end(step, params),))


def dnn_net(widths: Widths, settings: Settings, published: bool = False) -> nn.Module:
    """The network of `dnn`, its trunk with published weights or random ones."""
    params = settings.baselines
    faces = image_trunk(params.image_net, published)
    (width,) = output_shape(faces, 3, params.face_px, params.face_px)
    sound = RawSound(params.dropout)
    return TzirakisNet(sound, faces, width + 2 * WINDOW_SAMPLES, widths.emotions)


def vaanet(store: Store, fold: Fold, settings: Settings) -> Recipe:
    """VAANet, Zhao et al. 2020."""
    params, widths = settings.baselines, Widths(len(store.emotions))
    snippets = _snippets(store, params)
    polarity = polarities(store.emotions)

    def step(network: nn.Module, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        log_p = _log_p(network, batch)
        signs = polarity.to(log_p.device)
        penalty = params.polarity_penalty
        return {"l_av": polarity_consistent_ce(log_p, batch["label"], signs, penalty)}

    shape = (params.segments, params.segment_frames)
    cepstra = store.once(("cepstra", *shape), lambda: cepstrum_reader(store, *shape))
    readers = {"snippets": snippets.reader, "cepstra": cepstra}
    build = partial(vaanet_net, widths, settings, snippets.frozen, params.weights == "published")
    return Recipe(readers, widths, build, (_end_to_end(step, params),))


def vaanet_net(
    widths: Widths,
    settings: Settings,
    frozen: Precomputed | None = None,
    published: bool = False,
) -> nn.Module:
    """The network of `vaanet`.

    Args:
        widths: K.
        settings: section `baselines`.
        frozen: a video trunk with published weights.
        published: whether the sound trunk starts from published weights.
    """
    params = settings.baselines
    trunk = frozen or _frozen_where_published(video_trunk(params.video_net, False), params)
    channels, positions = snippet_maps(inside(trunk), params.snippet_px)
    visual = VisualStream(trunk, channels, positions, params.snippets)
    audio = AudioStream(sound_trunk(published), params.segments)
    return VaaNet(visual, audio, widths.emotions)


def _trunk_inputs(name: str, store: Store, params: BaselineParams) -> TrunkInput:
    """Pictures of the visual CNNs, through the trunk where it is frozen."""
    read = _pictures(name, store, params)
    if params.weights == "untrained":
        return TrunkInput(read, None)
    return store.once(
        ("trunk", name, params), lambda: _frozen(image_trunk(params.image_net, True), read)
    )


def _snippets(store: Store, params: BaselineParams) -> TrunkInput:
    shape = (params.snippets, params.snippet_px)
    read = store.once(("snippets", *shape), lambda: snippet_reader(store, *shape))
    if params.weights == "untrained":
        return TrunkInput(read, None)
    return store.once(
        ("trunk", "snippets", params), lambda: _frozen(video_trunk(params.video_net, True), read)
    )


def _pictures(name: str, store: Store, params: BaselineParams) -> Reader:
    make = {"frames": frame_reader, "crops": crop_reader}[name]
    size_px = params.picture_px(name)
    key = (name, params.frames, size_px)
    return store.once(key, lambda: make(store, params.frames, size_px))


def _frozen(trunk: nn.Module, read: Reader) -> TrunkInput:
    frozen = Precomputed(trunk)
    return TrunkInput(frozen_features(frozen.backbone, read), frozen)


def _frozen_where_published(trunk: nn.Module, params: BaselineParams) -> nn.Module:
    """A trunk shaped like the one that was trained; its weights are loaded afterwards."""
    return Precomputed(trunk) if params.weights == "published" else trunk


def _own_schedule(fusion: FusionParams, params: BaselineParams) -> FusionParams:
    """A CNN that learns costs more an epoch than cached features: fewer epochs, careful ones."""
    epochs = {"warmup_epochs": params.joint_epochs, "epochs": params.joint_epochs}
    return fusion.model_copy(update={**epochs, "lr": fusion.joint_lr})


def _frame_net(
    name: str, frozen: Precomputed | None, emotions: int, params: BaselineParams
) -> FrameNet:
    trunk = frozen or _frozen_where_published(image_trunk(params.image_net, False), params)
    size_px = params.picture_px(name)
    (width,) = output_shape(inside(trunk), 3, size_px, size_px)
    layers = nn.Sequential(
        nn.Dropout(params.dropout),
        nn.Linear(width, params.hidden),
        nn.ReLU(),
        nn.Dropout(params.dropout),
    )
    return FrameNet(name, trunk, layers, nn.Linear(params.hidden, emotions))


def inside(trunk: nn.Module) -> nn.Module:
    """The trunk itself, whether its outputs are computed beforehand or not."""
    return trunk.backbone if isinstance(trunk, Precomputed) else trunk


def _visual_phase(part: str, name: str, params: BaselineParams) -> Phase:
    settings = TrainSettings(params.epochs, params.lr, params.weight_decay)
    step = branch_step("visual")
    return Phase("visual", attrgetter(part), step, {"l_v": 1.0}, settings, (name,))


def _end_to_end(step: Step, params: BaselineParams) -> Phase:
    settings = TrainSettings(params.epochs, params.lr, params.weight_decay)
    return Phase("end_to_end", entire, step, {"l_av": 1.0}, settings)


def _log_p(network: nn.Module, batch: dict[str, Tensor]) -> Tensor:
    """Log softmax [B, K] of a network that states log odds."""
    return F.logsigmoid(network(batch)["av"])
