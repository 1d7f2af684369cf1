"""The rows that hear alone: the paper's PANNs, and a frozen speech encoder.

`models.systems.compact` has the one without pretrained weights.
"""

from collections.abc import Mapping
from functools import partial

from torch import nn

from models.fusion.network import SingleNet
from models.systems.inputs import Store, audio_reader
from models.systems.params import Settings, Widths
from models.systems.recipe import (
    Recipe,
    Row,
    audio_branch,
    audio_phase,
    linear_branch,
    linear_phase,
)
from models.systems.tuning import tuned, tuned_net
from pipeline.splits import Fold


def _panns(network: str) -> Row:
    """A row of one of the PANNs."""
    return Row(partial(_audio, network), partial(_audio_net, network), ("audio",))


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


ROWS: Mapping[str, Row] = {
    "audio_cnn": _panns("Cnn14"),
    "audio_wavegram": _panns("Wavegram_Cnn14"),
    "audio_wavegram_logmel": _panns("Wavegram_Logmel_Cnn14"),
    "audio_speech": Row(_speech, _speech_net, ("audio",)),
}
"""By name in `params.yaml`."""
