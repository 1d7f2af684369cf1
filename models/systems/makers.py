"""The systems by their names in `params.yaml`.

Here are the audio rows and those on the Faster R-CNN; `models.systems.baselines` has the others.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch
from torch import nn

from models.faces.weights import load_detector
from models.fusion.joint import JointNet
from models.fusion.network import FusionNet, SingleNet
from models.systems.baselines.recipes import (
    dnn,
    dnn_net,
    fused_cnn,
    fused_cnn_net,
    vaanet,
    vaanet_net,
    visual_cnn,
    visual_cnn_net,
)
from models.systems.compact import compact, compact_net
from models.systems.inputs import (
    Reader,
    SoundReader,
    Store,
    audio_reader,
    expression_reader,
    face_readers,
)
from models.systems.joint import drawn_reader, face_readers_after, joint_phase
from models.systems.params import Settings, Widths
from models.systems.recipe import (
    Phase,
    Recipe,
    audio_branch,
    audio_phase,
    fusion_net,
    fusion_phases,
    heard_in_noise,
    linear_branch,
    linear_phase,
    visual_branch,
    visual_phase,
)
from models.systems.tuning import tuned, tuned_inputs, tuned_net
from pipeline.splits import Fold
from pipeline.systems import readable

Maker = Callable[[Store, Fold, Settings], Recipe]


def recipe(system: str, store: Store, fold: Fold, settings: Settings) -> Recipe:
    """The recipe of a system by its name in `params.yaml`.

    Raises:
        CorpusError: no clip has the sound or the video that the system needs.
    """
    readable(system, store.records)
    built = MAKERS[system](store, fold, settings)
    sound = built.readers.get("audio")
    if settings.embed.noisy_copies and isinstance(sound, SoundReader):
        return heard_in_noise(built, sound)
    return built


def build_network(system: str, widths: Widths, settings: Settings) -> nn.Module:
    """The network of a system from widths alone, with random weights.

    Args:
        system: a key of `SYSTEMS`.
        widths: of its inputs and answers.
        settings: sections of `params.yaml`.
    """
    return BUILDERS[system](widths, settings)


def inputs_of(system: str, settings: Settings) -> tuple[str, ...]:
    """What the network of a system reads, in the order of `INPUTS`."""
    return tuned_inputs(settings) if settings.tunes(system) else INPUTS[system]


def _audio(network: str, store: Store, fold: Fold, settings: Settings) -> Recipe:
    if settings.audio.train == "all":
        return tuned(network, store, settings)
    reader, blocks = audio_reader(store, [network], settings.audio.handcrafted)
    widths = Widths(len(store.emotions), blocks)
    build = partial(_audio_net, network, widths, settings)
    return Recipe({"audio": reader}, widths, build, (audio_phase("branch", settings.audio),))


def _audio_net(network: str, widths: Widths, settings: Settings) -> nn.Module:
    if settings.audio.train == "all":
        return tuned_net(network, widths, settings)
    return SingleNet("audio", audio_branch(widths, settings.audio))


def _speech(store: Store, fold: Fold, settings: Settings) -> Recipe:
    reader, blocks = audio_reader(store, settings.audio.encoders, handcrafted=False)
    widths = Widths(len(store.emotions), blocks)
    build = partial(_speech_net, widths, settings)
    return Recipe({"audio": reader}, widths, build, (linear_phase("branch", settings.audio),))


def _speech_net(widths: Widths, settings: Settings) -> nn.Module:
    return SingleNet("audio", linear_branch(widths))


def _visual(store: Store, fold: Fold, settings: Settings) -> Recipe:
    readers, width = _faces(store, fold, settings)
    widths = Widths(len(store.emotions), faces=width)
    phases = (visual_phase("branch", settings.visual, widths),)
    return Recipe(readers, widths, partial(_visual_net, widths, settings), phases)


def _expression(store: Store, fold: Fold, settings: Settings) -> Recipe:
    expressions, blocks = expression_reader(store, fold, settings.faces.embeddings)
    readers = {"expressions": expressions, "weights": _faces(store, fold, settings)[0]["weights"]}
    widths = Widths(len(store.emotions), expressions=blocks)
    phases = (visual_phase("branch", settings.visual, widths),)
    return Recipe(readers, widths, partial(_visual_net, widths, settings), phases)


def _visual_net(widths: Widths, settings: Settings) -> nn.Module:
    return SingleNet("visual", visual_branch(widths, settings.visual))


def _fused(store: Store, fold: Fold, settings: Settings) -> Recipe:
    reader, blocks = audio_reader(store, settings.audio.embeddings, settings.audio.handcrafted)
    faces, width = _faces(store, fold, settings)
    widths = Widths(len(store.emotions), blocks, width)
    phases = (
        audio_phase("audio", settings.audio),
        visual_phase("visual", settings.visual, widths),
        *fusion_phases(settings.fusion, settings.loss),
    )
    build = partial(_fused_net, widths, settings)
    staged = Recipe({"audio": reader, **faces}, widths, build, phases)
    return _joint(staged, store, fold, settings) if settings.fusion.joint else staged


def _fused_net(widths: Widths, settings: Settings) -> FusionNet:
    audio = audio_branch(widths, settings.audio)
    visual = visual_branch(widths, settings.visual)
    return fusion_net(audio, visual, widths.emotions, settings.fusion)


def _people(store: Store, fold: Fold, settings: Settings) -> Recipe:
    reader, blocks = audio_reader(store, settings.audio.encoders, handcrafted=False)
    faces, width = _faces(store, fold, settings)
    expressions, of_encoders = expression_reader(store, fold, settings.faces.embeddings)
    widths = Widths(len(store.emotions), blocks, width, of_encoders)
    phases = (
        linear_phase("audio", settings.audio),
        visual_phase("visual", settings.visual, widths),
        *fusion_phases(settings.fusion, settings.loss),
    )
    readers = {"audio": reader, "expressions": expressions, **faces}
    return Recipe(readers, widths, partial(_people_net, widths, settings), phases)


def _people_net(widths: Widths, settings: Settings) -> FusionNet:
    visual = visual_branch(widths, settings.visual)
    return fusion_net(linear_branch(widths), visual, widths.emotions, settings.fusion)


def _joint(staged: Recipe, store: Store, fold: Fold, settings: Settings) -> Recipe:
    """The staged recipe, but its last phase trains the detector too, which then looks again."""
    weights = store.detector / f"{fold.name}.safetensors"
    fusion, silent = settings.fusion, settings.visual.silent_weight
    classes = load_detector(weights).classes
    drawn = drawn_reader(store, fold, fusion.joint_frames, classes, staged.readers["weights"])
    before = (_of_fusion(phase) for phase in staged.phases if phase.name != "joint")
    return replace(
        staged,
        build=partial(_joint_net, staged.widths, settings, weights),
        phases=(*before, joint_phase(fusion, settings.loss, drawn)),
        after_training=partial(face_readers_after, store, fold, silent),
    )


def _of_fusion(phase: Phase) -> Phase:
    """A phase of the fusion network as one of the `JointNet` that holds it."""
    return replace(phase, part=lambda joint: phase.part(joint.fusion))  # type: ignore[arg-type]


def _joint_net(widths: Widths, settings: Settings, detector: Path) -> JointNet:
    fusion = _fused_net(widths, settings)
    with torch.random.fork_rng():  # the phases before draw the same numbers as in staged training
        return JointNet(fusion, load_detector(detector))


def _faces(store: Store, fold: Fold, settings: Settings) -> tuple[dict[str, Reader], int]:
    return face_readers(store, fold, settings.visual.silent_weight)


MAKERS: Mapping[str, Maker] = {
    "audio_cnn": partial(_audio, "Cnn14"),
    "audio_wavegram": partial(_audio, "Wavegram_Cnn14"),
    "audio_wavegram_logmel": partial(_audio, "Wavegram_Logmel_Cnn14"),
    "visual_cnn": partial(visual_cnn, "frames"),
    "visual_cnn_fd": partial(visual_cnn, "crops"),
    "visual_faster_rcnn": _visual,
    "av_dnn": dnn,
    "av_vaanet": vaanet,
    "av_cnn": partial(fused_cnn, "frames"),
    "av_cnn_fd": partial(fused_cnn, "crops"),
    "av_faster_rcnn": _fused,
    "audio_speech": _speech,
    "visual_expression": _expression,
    "av_people": _people,
    "audio_compact": compact,
}
"""The rows of both tables and our own, as `pipeline.systems` orders them."""

BUILDERS: Mapping[str, Callable[[Widths, Settings], nn.Module]] = {
    "audio_cnn": partial(_audio_net, "Cnn14"),
    "audio_wavegram": partial(_audio_net, "Wavegram_Cnn14"),
    "audio_wavegram_logmel": partial(_audio_net, "Wavegram_Logmel_Cnn14"),
    "visual_cnn": partial(visual_cnn_net, "frames"),
    "visual_cnn_fd": partial(visual_cnn_net, "crops"),
    "visual_faster_rcnn": _visual_net,
    "av_dnn": dnn_net,
    "av_vaanet": vaanet_net,
    "av_cnn": partial(fused_cnn_net, "frames"),
    "av_cnn_fd": partial(fused_cnn_net, "crops"),
    "av_faster_rcnn": _fused_net,
    "audio_speech": _speech_net,
    "visual_expression": _visual_net,
    "av_people": _people_net,
    "audio_compact": compact_net,
}
"""The network of each row from its widths."""

INPUTS: Mapping[str, tuple[str, ...]] = {
    "audio_cnn": ("audio",),
    "audio_wavegram": ("audio",),
    "audio_wavegram_logmel": ("audio",),
    "visual_cnn": ("frames",),
    "visual_cnn_fd": ("crops",),
    "visual_faster_rcnn": ("faces", "weights"),
    "av_dnn": ("windows", "crops"),
    "av_vaanet": ("snippets", "cepstra"),
    "av_cnn": ("audio", "frames"),
    "av_cnn_fd": ("audio", "crops"),
    "av_faster_rcnn": ("audio", "faces", "weights"),
    "audio_speech": ("audio",),
    "visual_expression": ("expressions", "weights"),
    "av_people": ("audio", "faces", "expressions", "weights"),
    "audio_compact": ("logmel",),
}
"""What the network of each row reads where its audio networks are frozen, see `inputs_of`."""
