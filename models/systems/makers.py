"""The systems of the paper's tables by their names in `params.yaml`.

Here are the audio rows and those on the Faster R-CNN; `models.baselines` has the others.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from operator import attrgetter

from torch import nn

from models.faces.weights import load_detector
from models.fusion.joint import JointNet, joint_phase, joint_readers
from models.fusion.network import SingleNet
from models.systems.baselines.recipes import dnn, fused_cnn, vaanet, visual_cnn
from models.systems.inputs import ClipSet, Reader, Store, audio_reader, face_readers
from models.systems.params import Settings
from models.systems.recipe import (
    Recipe,
    audio_branch,
    audio_phase,
    fusion_net,
    fusion_phases,
    visual_branch,
    visual_phase,
    warmup_phase,
)
from pipeline.splits import Fold
from pipeline.systems import BEST_AUDIO, require_modalities

__all__ = ["Recipe", "Settings", "recipe"]

Maker = Callable[[Store, Fold, Settings], Recipe]


def recipe(system: str, store: Store, fold: Fold, settings: Settings) -> Recipe:
    """The recipe of a system by its name in `params.yaml`.

    Raises:
        CorpusError: the corpus lacks the sound or the video that the system needs.
    """
    require_modalities(system, store.records)
    return MAKERS[system](store, fold, settings)


def _audio(network: str, store: Store, fold: Fold, settings: Settings) -> Recipe:
    reader, widths = audio_reader(store, network, settings.audio.handcrafted)

    def assemble(clips: ClipSet) -> nn.Module:
        branch = audio_branch(clips, widths, len(store.emotions), settings.audio)
        return SingleNet("audio", branch)

    return Recipe({"audio": reader}, assemble, (audio_phase("branch", settings.audio),))


def _visual(store: Store, fold: Fold, settings: Settings) -> Recipe:
    def assemble(clips: ClipSet) -> nn.Module:
        return SingleNet("visual", visual_branch(clips, len(store.emotions), settings.visual))

    phases = (visual_phase("branch", settings.visual),)
    return Recipe(_faces(store, fold, settings), assemble, phases)


def _fused(store: Store, fold: Fold, settings: Settings) -> Recipe:
    if settings.fusion.joint:
        return _joint(store, fold, settings)
    reader, widths = audio_reader(store, BEST_AUDIO, settings.audio.handcrafted)
    emotions = len(store.emotions)

    def assemble(clips: ClipSet) -> nn.Module:
        audio = audio_branch(clips, widths, emotions, settings.audio)
        visual = visual_branch(clips, emotions, settings.visual)
        return fusion_net(audio, visual, emotions, settings.fusion)

    phases = (
        audio_phase("audio", settings.audio),
        visual_phase("visual", settings.visual),
        *fusion_phases(settings.fusion, settings.loss),
    )
    return Recipe({"audio": reader, **_faces(store, fold, settings)}, assemble, phases)


def _joint(store: Store, fold: Fold, settings: Settings) -> Recipe:
    """As `_fused`, then a few epochs with the detector in the loop."""
    reader, widths = audio_reader(store, BEST_AUDIO, settings.audio.handcrafted)
    weights = store.detector / f"{fold.name}.safetensors"
    emotions, classes = len(store.emotions), load_detector(weights).classes

    def assemble(clips: ClipSet) -> nn.Module:
        audio = audio_branch(clips, widths, emotions, settings.audio)
        visual = visual_branch(clips, emotions, settings.visual)
        fused = fusion_net(audio, visual, emotions, settings.fusion)
        return JointNet(fused, load_detector(weights))

    phases = (
        audio_phase("fusion.audio", settings.audio),
        visual_phase("fusion.visual", settings.visual),
        replace(
            warmup_phase(settings.fusion),
            part=attrgetter("fusion"),
            inputs=("audio", "faces", "weights"),
        ),
        joint_phase(settings.fusion, settings.loss),
    )
    live = joint_readers(store, fold.name, settings.fusion.joint_frames, classes)
    return Recipe({"audio": reader, **_faces(store, fold, settings), **live}, assemble, phases)


def _faces(store: Store, fold: Fold, settings: Settings) -> dict[str, Reader]:
    floor = settings.visual.speech_floor if settings.visual.speech_weighting else 1.0
    return face_readers(store, fold, floor)


MAKERS: Mapping[str, Maker] = {
    "audio_cnn": partial(_audio, "Cnn14"),
    "audio_wavegram": partial(_audio, "Wavegram_Cnn14"),
    "audio_wavegram_logmel": partial(_audio, BEST_AUDIO),
    "visual_cnn": partial(visual_cnn, "frames"),
    "visual_cnn_fd": partial(visual_cnn, "crops"),
    "visual_faster_rcnn": _visual,
    "av_dnn": dnn,
    "av_vaanet": vaanet,
    "av_cnn": partial(fused_cnn, "frames"),
    "av_cnn_fd": partial(fused_cnn, "crops"),
    "av_faster_rcnn": _fused,
}
"""The rows of both tables, as `pipeline.systems` orders them."""
