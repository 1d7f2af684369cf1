"""The systems by their names in `params.yaml`, and where each is made.

A module is imported when one of its systems is asked for: who hears alone waits for no detector.
"""

from collections.abc import Mapping
from importlib import import_module

from torch import nn

from models.systems.inputs import SoundReader, Store
from models.systems.params import Settings, Widths
from models.systems.recipe import Recipe, Row, heard_in_noise
from models.systems.tuning import tuned_inputs
from pipeline.splits import Fold
from pipeline.systems import readable

MODULES: Mapping[str, str] = {
    "audio_cnn": "sound",
    "audio_wavegram": "sound",
    "audio_wavegram_logmel": "sound",
    "visual_cnn": "baselines.recipes",
    "visual_cnn_fd": "baselines.recipes",
    "visual_faster_rcnn": "faces",
    "av_dnn": "baselines.recipes",
    "av_vaanet": "baselines.recipes",
    "av_cnn": "baselines.recipes",
    "av_cnn_fd": "baselines.recipes",
    "av_faster_rcnn": "faces",
    "audio_speech": "sound",
    "visual_expression": "faces",
    "av_people": "faces",
    "audio_compact": "compact",
}
"""The rows of both tables and our own, as `pipeline.systems` orders them."""


def row(system: str) -> Row:
    """How a system is made, by its name in `params.yaml`."""
    rows: Mapping[str, Row] = import_module(f"models.systems.{MODULES[system]}").ROWS
    return rows[system]


def recipe(system: str, store: Store, fold: Fold, settings: Settings) -> Recipe:
    """The recipe of a system by its name in `params.yaml`.

    Raises:
        CorpusError: no clip has the sound or the video that the system needs.
    """
    readable(system, store.records)
    built = row(system).recipe(store, fold, settings)
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
    return row(system).network(widths, settings)


def inputs_of(system: str, settings: Settings) -> tuple[str, ...]:
    """What the network of a system reads, in the order of `Row.inputs`."""
    return tuned_inputs(settings) if settings.tunes(system) else row(system).inputs
