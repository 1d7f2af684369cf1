"""How the paper's other systems are made and trained.

Like for like with the detector: a trunk over pictures, random or begun from published weights,
learns with the rest, from pictures that are changed at random as the detector's are, for as many
optimiser steps. With `baselines.trunk: frozen` it stays as published, in eval mode: its outputs are
computed once, and nothing changes its pictures.

`published` says whether the trunks of a network begin from published weights; random ones do where
all weights are loaded afterwards.
"""

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from operator import attrgetter

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.device import chosen_device
from models.fusion.network import SingleNet
from models.losses import polarity_consistent_ce
from models.systems.baselines.inputs import (
    WINDOW_SAMPLES,
    Precomputed,
    cepstrum_reader,
    crop_reader,
    frame_reader,
    frozen_features,
    snippet_reader,
    window_reader,
)
from models.systems.baselines.params import BaselineParams
from models.systems.baselines.trunks import (
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
from models.systems.params import Settings, Widths
from models.systems.recipe import (
    Phase,
    Recipe,
    Row,
    audio_branch,
    audio_phase,
    branch_step,
    entire,
    fusion_net,
    fusion_phases,
)
from models.training import Step, TrainSettings
from pipeline.splits import Fold


def visual_cnn(name: str, store: Store, fold: Fold, settings: Settings) -> Recipe:
    """CNN on whole frames (`frames`) or face crops (`crops`)."""
    params, widths = settings.baselines, Widths(len(store.emotions))
    build = partial(visual_cnn_net, name, widths, settings, params.weights == "published")
    phases = (_visual_phase("branch", name, params),)
    return Recipe({name: _pictures(name, store, params)}, widths, build, phases)


def visual_cnn_net(
    name: str, widths: Widths, settings: Settings, published: bool = False
) -> nn.Module:
    """The network of `visual_cnn`."""
    return SingleNet("visual", _frame_net(name, widths.emotions, settings.baselines, published))


def fused_cnn(name: str, store: Store, fold: Fold, settings: Settings) -> Recipe:
    """The same CNN fused with the audio branch over `audio.embeddings`."""
    params = settings.baselines
    reader, blocks = audio_reader(store, settings.audio.embeddings, settings.audio.handcrafted)
    widths = Widths(len(store.emotions), blocks)
    phases = (
        audio_phase("audio", settings.audio),
        _visual_phase("visual", name, params),
        *_joint_phases(settings),
    )
    build = partial(fused_cnn_net, name, widths, settings, params.weights == "published")
    readers = {"audio": reader, name: _pictures(name, store, params)}
    return Recipe(readers, widths, build, phases)


def fused_cnn_net(
    name: str, widths: Widths, settings: Settings, published: bool = False
) -> nn.Module:
    """The network of `fused_cnn`."""
    audio = audio_branch(widths, settings.audio)
    visual = _frame_net(name, widths.emotions, settings.baselines, published)
    return fusion_net(audio, visual, widths.emotions, settings.fusion)


def dnn(store: Store, fold: Fold, settings: Settings) -> Recipe:
    """Tzirakis et al. 2017."""
    params, widths = settings.baselines, Widths(len(store.emotions))

    def step(network: nn.Module, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        return {"l_av": F.cross_entropy(_log_p(network, batch), batch["label"])}

    readers = {
        "windows": store.once(
            ("windows", params.windows), lambda: window_reader(store, params.windows)
        ),
        "crops": _pictures("crops", store, params),
    }
    build = partial(dnn_net, widths, settings, params.weights == "published")
    return Recipe(readers, widths, build, (_end_to_end(step, 1, params),))


def dnn_net(widths: Widths, settings: Settings, published: bool = False) -> nn.Module:
    """The network of `dnn`."""
    params = settings.baselines
    faces = _image_trunk("crops", params, published)
    (width,) = output_shape(inside(faces), 3, params.face_px, params.face_px)
    sound = RawSound(params.dropout)
    return TzirakisNet(sound, faces, width + 2 * WINDOW_SAMPLES, widths.emotions)


def vaanet(store: Store, fold: Fold, settings: Settings) -> Recipe:
    """VAANet, Zhao et al. 2020."""
    params, widths = settings.baselines, Widths(len(store.emotions))
    polarity = torch.tensor(store.polarities)

    def step(network: nn.Module, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        log_p = _log_p(network, batch)
        signs = polarity.to(log_p.device)
        penalty = params.polarity_penalty
        return {"l_av": polarity_consistent_ce(log_p, batch["label"], signs, penalty)}

    shape = (params.segments, params.segment_frames)
    cepstra = store.once(("cepstra", *shape), lambda: cepstrum_reader(store, *shape))
    readers = {"snippets": _snippets(store, params), "cepstra": cepstra}
    build = partial(vaanet_net, widths, settings, params.weights == "published")
    return Recipe(readers, widths, build, (_end_to_end(step, params.snippets, params),))


def vaanet_net(widths: Widths, settings: Settings, published: bool = False) -> nn.Module:
    """The network of `vaanet`; its trunk over sound always learns."""
    params = settings.baselines
    trunk = _as_asked(video_trunk(params.video_net, published), params)
    channels, positions = snippet_maps(inside(trunk), params.snippet_px)
    visual = VisualStream(trunk, channels, positions, params.snippets)
    audio = AudioStream(sound_trunk(published), params.segments)
    return VaaNet(visual, audio, widths.emotions)


def _pictures(name: str, store: Store, params: BaselineParams) -> Reader:
    """Reader of `frames` or `crops`; of the trunk's outputs where it is frozen."""
    make = {"frames": frame_reader, "crops": crop_reader}[name]
    size_px = params.picture_px(name)
    key = (name, params.frames, size_px)
    read = store.once(key, lambda: make(store, params.frames, size_px))
    if params.trunk == "trained":
        return read
    return store.once(
        ("trunk", name, params),
        lambda: frozen_features(
            image_trunk(params.image_net, True).eval().to(chosen_device()), read
        ),
    )


def _snippets(store: Store, params: BaselineParams) -> Reader:
    """Reader of `snippets`; of the trunk's outputs where it is frozen."""
    shape = (params.snippets, params.snippet_px)
    read = store.once(("snippets", *shape), lambda: snippet_reader(store, *shape))
    if params.trunk == "trained":
        return read
    return store.once(
        ("trunk", "snippets", params),
        lambda: frozen_features(
            video_trunk(params.video_net, True).eval().to(chosen_device()), read
        ),
    )


def _image_trunk(name: str, params: BaselineParams, published: bool) -> nn.Module:
    return _as_asked(image_trunk(params.image_net, published, faces=name == "crops"), params)


def _as_asked(trunk: nn.Module, params: BaselineParams) -> nn.Module:
    """A trunk that learns with the rest, or whose outputs the reader computes beforehand."""
    return Precomputed(trunk) if params.trunk == "frozen" else trunk


def inside(trunk: nn.Module) -> nn.Module:
    """The trunk itself, whether its outputs are computed beforehand or not."""
    return trunk.backbone if isinstance(trunk, Precomputed) else trunk


def _frame_net(name: str, emotions: int, params: BaselineParams, published: bool) -> FrameNet:
    trunk = _image_trunk(name, params, published)
    size_px = params.picture_px(name)
    (width,) = output_shape(inside(trunk), 3, size_px, size_px)
    layers = nn.Sequential(
        nn.Dropout(params.dropout),
        nn.Linear(width, params.hidden),
        nn.ReLU(),
        nn.Dropout(params.dropout),
    )
    return FrameNet(name, trunk, layers, nn.Linear(params.hidden, emotions))


def _visual_phase(part: str, name: str, params: BaselineParams) -> Phase:
    step, weights = branch_step("visual"), {"l_v": 1.0}
    settings, clips = _schedule(params, 1), params.batch_clips(1)
    return Phase("visual", attrgetter(part), step, weights, settings, (name,), batch_size=clips)


def _end_to_end(step: Step, per_clip: int, params: BaselineParams) -> Phase:
    """Train all of a network that reads `per_clip` pictures, or snippets, of a clip at once."""
    settings, clips = _schedule(params, per_clip), params.batch_clips(per_clip)
    return Phase("end_to_end", entire, step, {"l_av": 1.0}, settings, batch_size=clips)


def _schedule(params: BaselineParams, per_clip: int) -> TrainSettings:
    return TrainSettings(params.epochs(per_clip), params.lr, params.weight_decay)


def _joint_phases(settings: Settings) -> tuple[Phase, ...]:
    """Warm-up and Eq. (4); a CNN that learns in them has a schedule of its own, a careful one."""
    params, fusion = settings.baselines, settings.fusion
    if params.trunk == "frozen":
        return fusion_phases(fusion, settings.loss)
    epochs = {"warmup_epochs": params.joint_epochs, "epochs": params.joint_epochs}
    own = fusion.model_copy(update={**epochs, "lr": fusion.joint_lr})
    phases = fusion_phases(own, settings.loss)
    return tuple(replace(phase, batch_size=params.batch_clips(1)) for phase in phases)


def _log_p(network: nn.Module, batch: dict[str, Tensor]) -> Tensor:
    """Log softmax [B, K] of a network that states log odds."""
    return F.logsigmoid(network(batch)["av"])


def _single(name: str) -> Row:
    """A row of the CNN alone, on `frames` or `crops`."""
    return Row(partial(visual_cnn, name), partial(visual_cnn_net, name), (name,))


def _fused(name: str) -> Row:
    """A row of the same CNN fused with sound."""
    return Row(partial(fused_cnn, name), partial(fused_cnn_net, name), ("audio", name))


ROWS: Mapping[str, Row] = {
    "visual_cnn": _single("frames"),
    "visual_cnn_fd": _single("crops"),
    "av_dnn": Row(dnn, dnn_net, ("windows", "crops")),
    "av_vaanet": Row(vaanet, vaanet_net, ("snippets", "cepstra")),
    "av_cnn": _fused("frames"),
    "av_cnn_fd": _fused("crops"),
}
"""By name in `params.yaml`."""
