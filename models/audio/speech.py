"""A frozen speech encoder: statistics over time of the hidden states of some of its layers.

Any encoder that `transformers` knows as one, with a hidden state every 20 ms: Whisper, wav2vec 2.0,
HuBERT, WavLM, data2vec and their kin. Early and middle layers tell emotions better than the last
one, which is about words; those above the highest that is asked for are not computed.

The sound is heard alone: Whisper as published pads it to 30 s, here nothing is padded; and
statistics are of the frames in which somebody speaks, not of the pauses before, between and after.

Source: Radford et al., "Robust Speech Recognition via Large-Scale Weak Supervision", ICML 2023, for
Whisper; Baevski et al., "wav2vec 2.0", NeurIPS 2020, for the shape of the others.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import soxr
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from models.audio.encoders import SPEECH_HZ, described_in
from models.audio.front_end import RATE_HZ
from models.audio.panns import padded_length
from models.audio.params import Pooling
from models.checkpoint import FILES_ALONE, reason_of, require_finite
from pipeline.errors import WeightsError
from pipeline.work.imports import uncollected

FRAME = 320
"""Samples of a hidden state at `SPEECH_HZ`, 20 ms."""
WINDOW_S = 10
"""Longer sound is heard in equal windows of at most this, in s."""

_WINDOW = WINDOW_S * SPEECH_HZ // FRAME
_UNREAD = re.compile(r"(projector|classifier|encoder\.layer_norm)\.|(.+\.)?masked_spec_embed$")
"""Parameters that no hidden state depends on: a head's, what Whisper ends with, masks of training.

Others have their prefix before `encoder.layer_norm`, which precedes their layers.
"""


class SpeechEncoder:
    """A frozen encoder and what is kept of its hidden states.

    Args:
        folder: `config.json`, `preprocessor_config.json` and the weights, as `transformers` keeps
            them; no code of it is run.
        pooling: what is kept of the hidden states.

    Raises:
        WeightsError: the folder holds no encoder of speech at 16 kHz, lacks some of its weights, or
            has fewer layers than are asked for.
    """

    def __init__(self, folder: Path, pooling: Pooling) -> None:
        self.pooling, self.folder = pooling, folder
        self.extract, self.network = _load(folder)
        encoder = self.network.encoder
        deepest = max(pooling.layers)
        if deepest > len(encoder.layers):
            raise WeightsError(
                f"embed.layers: got {deepest}, but {folder} has {len(encoder.layers)} layers"
            )
        encoder.layers = encoder.layers[: max(deepest, 1)]
        whisper = hasattr(encoder, "embed_positions")
        self.positions = encoder.embed_positions.weight.detach() if whisper else None

    def to(self, device: torch.device) -> "SpeechEncoder":
        """Move the encoder to a device."""
        self.network.to(device)
        self.positions = None if self.positions is None else self.positions.to(device)
        return self

    def embed(self, waveform: Tensor) -> Tensor:
        """Statistics over the hidden states of each clip, of all its windows together.

        Args:
            waveform: [B, T] at 32 kHz, full scale 1, T >= 0.1 s. Up to 20 ms at its end, which do
                not fill a frame, are not heard.

        Returns:
            [B, layers * statistics * W], W numbers in a hidden state, layer by layer.

        Raises:
            MediaError: the clips are too short.
            WeightsError: the hidden states are not 20 ms apart.
        """
        return self.embed_heard(torch.stack([self.heard(one) for one in waveform]))

    def heard(self, waveform: Tensor) -> Tensor:
        """What `embed_heard` takes of a clip: [T] at 32 kHz -> [F * FRAME] at `SPEECH_HZ`.

        Raises:
            MediaError: the clip is too short.
        """
        padded_length(waveform.shape[-1])  # refuses what is too short
        sound = soxr.resample(waveform.numpy(), RATE_HZ, SPEECH_HZ, quality="HQ")  # [T / 2]
        return torch.from_numpy(sound[: len(sound) // FRAME * FRAME])

    @torch.no_grad()
    def embed_heard(self, sound: Tensor) -> Tensor:
        """As `embed`, of clips that are equal in length as heard, [B, F * FRAME].

        Raises:
            WeightsError: the hidden states are not 20 ms apart.
        """
        signal = sound.cpu().numpy()
        frames = signal.shape[1] // FRAME
        bounds = np.linspace(0, frames, -(-frames // _WINDOW) + 1).round().astype(int) * FRAME
        windows = np.split(signal, bounds[1:-1], axis=1)
        states = torch.cat([self._hidden_states(window) for window in windows], dim=2)
        speech = spoken(signal, self.pooling.pause_db).to(states.device)
        return torch.stack([self._pool(s[:, kept]) for s, kept in zip(states, speech, strict=True)])

    def _pool(self, states: Tensor) -> Tensor:
        """[layers, F, W] -> [layers * statistics * W]."""
        kept = [_STATISTICS[name](states) for name in self.pooling.statistics]
        return torch.stack(kept, dim=1).flatten()

    def _hidden_states(self, window: NDArray[np.float32]) -> Tensor:
        """[B, F * FRAME] -> [B, layers, F, W]."""
        frames = window.shape[1] // FRAME
        inputs = self.extract(
            list(window), sampling_rate=SPEECH_HZ, padding="longest", return_tensors="pt"
        )
        if self.positions is not None:  # Whisper expects as many frames as it has positions
            encoder = self.network.encoder
            encoder.config.max_source_positions = frames
            encoder.embed_positions = nn.Embedding.from_pretrained(self.positions[:frames])
        with _recorded(self.network.encoder.layers) as found:
            self.network(inputs[self.network.main_input_name].to(self.network.device))
        states = torch.stack([found[layer] for layer in self.pooling.layers], dim=1)
        lacking = frames - states.shape[2]
        if lacking not in (0, 1):
            raise WeightsError(
                f"{self.folder}: {states.shape[2]} hidden states in {frames * 0.02:g} s, expected "
                f"one every 20 ms; choose another encoder"
            )
        # convolutions without padding end before the last frame does
        return (
            nn.functional.pad(states, (0, 0, 0, lacking), mode="replicate") if lacking else states
        )


def spoken(sound: NDArray[np.float32], pause_db: float) -> Tensor:
    """Which frames are no pause.

    Args:
        sound: [B, F * FRAME] at `SPEECH_HZ`.
        pause_db: a frame that is this much softer than its clip's loudest is a pause, dB.

    Returns:
        [B, F] bool, at least one of each clip; all of them where a clip is silent.
    """
    power = np.square(sound.reshape(len(sound), -1, FRAME), dtype=np.float64).mean(axis=2)  # [B, F]
    level_db = 10 * np.log10(power + np.finfo(np.float32).tiny)
    return torch.from_numpy(level_db > level_db.max(axis=1, keepdims=True) - pause_db)


_STATISTICS = {
    "mean": lambda states: states.mean(dim=1),
    "std": lambda states: states.std(dim=1, correction=0),
    "max": lambda states: states.amax(dim=1),
}
"""[layers, F, W] -> [layers, W]."""


@uncollected()
def _load(folder: Path) -> tuple[Any, Any]:
    """The feature extractor and the network without its head, in 32 bits."""
    # some seconds, that other networks need not wait for
    from transformers import AutoConfig, AutoFeatureExtractor, AutoModelForAudioClassification
    from transformers.utils import logging

    _require_rate(folder, described_in(folder).rate_hz or SPEECH_HZ)
    shown, barred = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()  # that the head, which nothing here reads, is not in the file
    logging.disable_progress_bar()
    try:
        config = AutoConfig.from_pretrained(folder, **FILES_ALONE)
        extract = AutoFeatureExtractor.from_pretrained(folder, **FILES_ALONE)
        # a classifier, because Whisper's is built of the encoder alone
        classifier, found = AutoModelForAudioClassification.from_pretrained(
            folder, config=config, output_loading_info=True, **FILES_ALONE
        )
    except Exception as error:  # whatever sizes and names of a stranger lead to
        raise WeightsError(
            f"{folder}: not a speech encoder that transformers can read ({reason_of(error)})"
        ) from error
    finally:
        logging.set_verbosity(shown)
        if barred:
            logging.enable_progress_bar()
    network = classifier.base_model
    lacking = [n for n in found["missing_keys"] if not _UNREAD.match(n)]
    if lacking or found["mismatched_keys"]:
        raise WeightsError(
            f"{folder}: weights of {len(lacking)} parameters are missing and of "
            f"{len(found['mismatched_keys'])} do not fit; fetch the files again"
        )
    if not hasattr(getattr(network, "encoder", None), "layers"):
        raise WeightsError(f"{folder}: {config.model_type} is no encoder of layers over sound")
    _require_rate(folder, extract.sampling_rate)  # its own where the files are silent
    network = network.float().eval()
    require_finite(network, folder)
    return extract, network


def _require_rate(folder: Path, rate_hz: int) -> None:
    if rate_hz != SPEECH_HZ:
        raise WeightsError(f"{folder}: hears {rate_hz} Hz, expected {SPEECH_HZ}; choose another")


@contextmanager
def _recorded(layers: nn.ModuleList) -> Iterator[dict[int, Tensor]]:
    """What enters the first layer, by 0, and what leaves the n-th, by n, each [B, F, W].

    Taken from the layers themselves: `output_hidden_states` has the last one normalised, if it is
    the encoder's last.
    """
    found: dict[int, Tensor] = {}

    def note(layer: int, value: Any) -> None:
        found[layer] = value[0] if isinstance(value, tuple) else value

    hooks = [layers[0].register_forward_pre_hook(lambda _, given: note(0, given))]
    for number, layer in enumerate(layers, start=1):
        hooks.append(layer.register_forward_hook(lambda *given, n=number: note(n, given[2])))
    try:
        yield found
    finally:
        for hook in hooks:
            hook.remove()
