"""The rows that stand on the Faster R-CNN's faces: the paper's own system is one of them."""

from collections.abc import Mapping
from functools import partial

from torch import nn

from models.fusion.network import FusionNet, SingleNet
from models.systems.inputs import Reader, Store, audio_reader, expression_reader, face_readers
from models.systems.params import Settings, Widths
from models.systems.recipe import (
    Recipe,
    Row,
    audio_branch,
    audio_phase,
    fusion_net,
    fusion_phases,
    linear_branch,
    linear_phase,
    visual_branch,
    visual_phase,
)
from pipeline.splits import Fold


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
    if not settings.fusion.joint:
        return staged
    # imported here: who trains on stored face features need not wait for torchvision
    from models.systems.joint import joint

    return joint(staged, store, fold, settings)


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


def _faces(store: Store, fold: Fold, settings: Settings) -> tuple[dict[str, Reader], int]:
    return face_readers(store, fold, settings.visual.silent_weight)


ROWS: Mapping[str, Row] = {
    "visual_faster_rcnn": Row(_visual, _visual_net, ("faces", "weights")),
    "av_faster_rcnn": Row(_fused, _fused_net, ("audio", "faces", "weights")),
    "visual_expression": Row(_expression, _visual_net, ("expressions", "weights")),
    "av_people": Row(_people, _people_net, ("audio", "faces", "expressions", "weights")),
}
"""By name in `params.yaml`."""
