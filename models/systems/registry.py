"""The systems by their names in `params.yaml`, and where each is made.

A module is imported when one of its systems is asked for: who hears alone waits for no detector.
"""

from collections.abc import Callable, Mapping

from torch import nn

from models.systems.inputs import SoundReader, Store
from models.systems.params import Settings, Widths
from models.systems.recipe import Recipe, Row, heard_in_noise
from models.systems.tuning import tuned_inputs
from pipeline.splits import Fold
from pipeline.systems import readable

Rows = Mapping[str, Row]


# written out, so that `pipeline.work.closure` sees on which code a trained system depends
def _sound() -> Rows:
    from models.systems.sound import ROWS

    return ROWS


def _compact() -> Rows:
    from models.systems.compact import ROWS

    return ROWS


def _faces() -> Rows:
    from models.systems.faces import ROWS

    return ROWS


def _baselines() -> Rows:
    from models.systems.baselines.recipes import ROWS

    return ROWS


ROWS_OF: Mapping[str, Callable[[], Rows]] = {
    "audio_cnn": _sound,
    "audio_wavegram": _sound,
    "audio_wavegram_logmel": _sound,
    "visual_cnn": _baselines,
    "visual_cnn_fd": _baselines,
    "visual_faster_rcnn": _faces,
    "av_dnn": _baselines,
    "av_vaanet": _baselines,
    "av_cnn": _baselines,
    "av_cnn_fd": _baselines,
    "av_faster_rcnn": _faces,
    "audio_speech": _sound,
    "visual_expression": _faces,
    "av_people": _faces,
    "audio_compact": _compact,
}
"""What gives the rows among which each system is, as `pipeline.systems` orders them."""


def row(system: str) -> Row:
    """How a system is made, by its name in `params.yaml`."""
    return ROWS_OF[system]()[system]


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
