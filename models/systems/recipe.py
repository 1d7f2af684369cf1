"""How a system is made and trained, and the parts that several systems share.

A system is a `Recipe`. Its network maps a batch of `models.systems.inputs` to logits [B, K] by
branch (`av`, `audio`, `visual`); its phases train parts of the network one after the other.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from operator import attrgetter
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.audio.compact import CompactNet
from models.fusion.branches import AudioNet, LinearAudioNet, Standardize, VisualNet
from models.fusion.network import FusionHead, FusionNet
from models.fusion.params import AudioParams, FusionParams, LossParams, VisualParams
from models.losses import emotion_bce, fusion_loss_weights, log_scores
from models.systems.inputs import ClipSet, Reader, SoundReader, Store
from models.systems.params import Settings, Widths
from models.training import ConvexSettings, Step, TrainSettings
from pipeline.splits import Fold

if TYPE_CHECKING:
    from models.faces.scores import ScoredFrame

LOSS_NAMES = {"av": "l_av", "audio": "l_a", "visual": "l_v"}
"""Name of each branch's loss, as in Eq. (4)."""


@dataclass(frozen=True, slots=True)
class Phase:
    """One stretch of training: a part of the network, its named losses and their weights.

    `inputs` names the inputs that the part reads; the others are not loaded. Empty: all.
    `batch_size` is in clips; None: `training.batch_size`. `ConvexSettings` take all clips at once.
    `readers` are of inputs that this phase alone reads.
    """

    name: str
    part: Callable[[nn.Module], nn.Module]
    step: Step
    weights: Mapping[str, float]
    settings: TrainSettings | ConvexSettings
    inputs: tuple[str, ...] = ()
    batch_size: int | None = None
    readers: Mapping[str, Reader] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Looked:
    """What a network that looks for faces itself found in clips that did not train.

    Attributes:
        readers: of what it has changed of its own inputs.
        boxes: its boxes in frames of test clips.
    """

    readers: Mapping[str, Reader] = field(default_factory=dict)
    boxes: tuple["ScoredFrame", ...] = ()


@dataclass(frozen=True, slots=True)
class Recipe:
    """How a system is made for one fold.

    Attributes:
        readers: its inputs, looked up by clip id.
        widths: of its inputs and answers.
        build: its network with random weights; statistics are fitted apart, see `fit_statistics`.
        phases: of its training, in order.
        look_again: what the trained network finds in other clips; they are read by its readers.
    """

    readers: Mapping[str, Reader]
    widths: Widths
    build: Callable[[], nn.Module]
    phases: tuple[Phase, ...]
    look_again: Callable[[nn.Module], Looked] = lambda network: Looked()


@dataclass(frozen=True, slots=True)
class Row:
    """How a system, a row of the tables, is made.

    Attributes:
        recipe: for a fold.
        network: from widths alone, with random weights.
        inputs: what the network reads where its audio networks are frozen.
    """

    recipe: Callable[[Store, Fold, Settings], Recipe]
    network: Callable[[Widths, Settings], nn.Module]
    inputs: tuple[str, ...]


def heard_in_noise(recipe: Recipe, sound: SoundReader) -> Recipe:
    """The recipe, but training hears the copies of its clips in noise, too.

    In each epoch it draws one version of each clip; where it takes all clips at once, all versions.
    Statistics are of the clips as they are, and so are the clips that are answered.
    """

    def heard(phase: Phase) -> Phase:
        if phase.inputs and "audio" not in phase.inputs:
            return phase
        at_once = isinstance(phase.settings, ConvexSettings)
        read = sound.versions.__getitem__ if at_once else sound.drawn
        return replace(phase, readers={**phase.readers, "audio": read})

    return replace(recipe, phases=tuple(map(heard, recipe.phases)))


def fit_statistics(network: nn.Module, clips: ClipSet) -> None:
    """Standardise the inputs of each branch by training clips.

    Args:
        network: built by a recipe.
        clips: training clips and nothing else, so that no statistic is taken of test clips.
    """
    for part in network.modules():
        if isinstance(part, AudioNet | LinearAudioNet):
            part.fit_statistics(clips.stack("audio"))
        elif isinstance(part, VisualNet):
            part.fit_statistics({name: clips.stack(name) for name in (*part.inputs, "weights")})
        elif isinstance(part, CompactNet):
            assert isinstance(part.standardize, Standardize)
            part.standardize.fit(torch.cat(clips.each("logmel")))


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


def audio_phase(part: str, params: AudioParams) -> Phase:
    """Train the audio branch alone; `part` is the network's attribute that holds it."""
    return _branch_phase("audio", part, params, ("audio",))


def linear_phase(part: str, params: AudioParams) -> Phase:
    """Train a linear audio branch alone; `part` is the network's attribute that holds it.

    The loss is the cross-entropy per clip plus `audio.l2` times half the squared weights.
    """
    weights = {LOSS_NAMES["audio"]: 1.0, "l2": params.l2}
    return Phase("audio", attrgetter(part), _linear_step, weights, ConvexSettings(), ("audio",))


def _linear_step(branch: nn.Module, batch: dict[str, Tensor]) -> dict[str, Tensor]:
    assert isinstance(branch, LinearAudioNet)
    audio = batch["audio"]  # [B, D], of V versions of each clip [B, V, D]
    labels = batch["label"].repeat_interleave(audio[0, ..., 0].numel())
    log_p = log_scores(branch({"audio": audio.flatten(0, -2)})[1])
    misfit = F.nll_loss(log_p, labels)
    return {LOSS_NAMES["audio"]: misfit, "l2": branch.penalty()}


def visual_phase(part: str, params: VisualParams, widths: Widths) -> Phase:
    """Train the branch over faces alone; `part` is the network's attribute that holds it."""
    return _branch_phase("visual", part, params, (*_face_blocks(widths), "weights"))


def _branch_phase(
    name: str, part: str, params: AudioParams | VisualParams, inputs: tuple[str, ...]
) -> Phase:
    settings = TrainSettings(params.epochs, params.lr, params.weight_decay)
    step, weights = branch_step(name), {LOSS_NAMES[name]: 1.0}
    return Phase(name, attrgetter(part), step, weights, settings, inputs)


def fusion_phases(params: FusionParams, loss: LossParams) -> tuple[Phase, ...]:
    """Warm-up on L_av alone, then L = l_av + alpha l_a + beta l_v, Eq. (4)."""
    warmup, step = warmup_phase(params), emotion_step(("av", "audio", "visual"))
    weights = fusion_loss_weights(loss.alpha, loss.beta)
    settings = TrainSettings(params.epochs, params.lr, params.weight_decay)
    joint = Phase("joint", entire, step, weights, settings)
    planned = ((warmup, params.warmup_epochs), (joint, params.epochs))
    return tuple(phase for phase, epochs in planned if epochs > 0)


def warmup_phase(params: FusionParams) -> Phase:
    """The first epochs of fusion, on L_av alone."""
    settings = TrainSettings(params.warmup_epochs, params.lr, params.weight_decay)
    weights = fusion_loss_weights(0.0, 0.0)
    return Phase("warmup", entire, emotion_step(("av", "audio", "visual")), weights, settings)


def audio_branch(widths: Widths, params: AudioParams) -> AudioNet:
    """The branch over embeddings and hand-crafted statistics."""
    return AudioNet(widths.audio, params.hidden, widths.emotions, params.dropout)


def linear_branch(widths: Widths) -> LinearAudioNet:
    """The linear branch over an embedding."""
    return LinearAudioNet(widths.audio, widths.emotions)


def visual_branch(widths: Widths, params: VisualParams) -> VisualNet:
    """The branch over faces."""
    return VisualNet(_face_blocks(widths), params.hidden, widths.emotions, params.dropout)


def _face_blocks(widths: Widths) -> dict[str, tuple[int, ...]]:
    """Inputs of the branch over faces, and the widths of their blocks."""
    blocks = {"faces": (widths.faces,) * (widths.faces > 0), "expressions": widths.expressions}
    return {name: part for name, part in blocks.items() if part}


def fusion_net(
    audio: nn.Module, visual: nn.Module, emotions: int, params: FusionParams
) -> FusionNet:
    """Both branches under a fresh head, see `fusion.head`."""
    width = int(audio.feature_width) + int(visual.feature_width)  # type: ignore[arg-type]
    residual = params.head == "residual"
    head = FusionHead(
        width, params.hidden, emotions, params.dropout, residual, params.modality_dropout
    )
    return FusionNet(audio, visual, head)


def entire(network: nn.Module) -> nn.Module:
    """The part of a network that is all of it."""
    return network
