"""A frozen speech encoder: statistics over time of the hidden states of Whisper's first layers.

`whisper_tiny_en` beside this file holds the convolutions and the first `LAYERS` layers of the
encoder of OpenAI's Whisper tiny.en, as published in 16 bits, with positions for `WINDOW_S`. Early
layers tell emotions better than the last one, which is about words.

The published network pads its sound to 30 s. Here it hears the sound alone, nothing is padded; and
statistics are of the frames in which somebody speaks, not of the pauses before, between and after.

Source: Radford et al., "Robust Speech Recognition via Large-Scale Weak Supervision", ICML 2023;
layers and shapes from openai/whisper-tiny.en.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import soxr
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from models.audio.front_end import RATE_HZ
from models.audio.panns import padded_length
from models.audio.params import LAYERS, Pooling
from models.checkpoint import load_strictly, read_state

SPEECH_FILES: Mapping[str, Path] = {
    "whisper_tiny_en": Path(__file__).parent / "whisper_tiny_en" / "model.safetensors"
}
"""Speech encoders that come with the package."""

SPEECH_HZ = 16_000
"""The rate that the encoder was trained at."""
FRAME = 320
"""Samples of a hidden state at `SPEECH_HZ`, 20 ms."""
WINDOW_S = 10
"""Longer sound is heard in equal windows of at most this, in s."""
WIDTH = 384
"""Numbers in a hidden state."""

_WINDOW = WINDOW_S * SPEECH_HZ // FRAME


class SpeechEncoder(nn.Module):
    """Whisper's log-mel front end, convolutions and first layers.

    Args:
        path: parameters, as in `SPEECH_FILES`.
        pooling: what is kept of the hidden states.

    Raises:
        WeightsError: the file is damaged or not the encoder's.
    """

    def __init__(self, path: Path, pooling: Pooling) -> None:
        # some seconds, that other networks need not wait for
        from transformers import WhisperConfig, WhisperFeatureExtractor
        from transformers.models.whisper.modeling_whisper import WhisperEncoder

        super().__init__()
        self.pooling = pooling
        self.log_mel = WhisperFeatureExtractor()
        self.encoder = WhisperEncoder(
            WhisperConfig(
                d_model=WIDTH,
                encoder_layers=LAYERS,
                encoder_attention_heads=6,
                encoder_ffn_dim=4 * WIDTH,
                max_source_positions=_WINDOW,
            )
        )
        # it would follow the last of all layers
        self.encoder.layer_norm = nn.Identity()  # type: ignore[assignment]
        load_strictly(self.encoder, read_state(path), path)
        self.positions = self.encoder.embed_positions.weight.detach()
        self.eval()

    @torch.no_grad()
    def embed(self, waveform: Tensor) -> Tensor:
        """Statistics over the hidden states of each clip, of all its windows together.

        Args:
            waveform: [B, T] at 32 kHz, full scale 1, T >= 0.1 s. Up to 20 ms at its end, which do
                not fill a frame, are not heard.

        Returns:
            [B, layers * statistics * WIDTH], layer by layer.

        Raises:
            MediaError: the clips are too short.
        """
        padded_length(waveform.shape[-1])  # refuses what is too short
        sound = soxr.resample(waveform.numpy().T, RATE_HZ, SPEECH_HZ, quality="HQ").T  # [B, T / 2]
        frames = sound.shape[1] // FRAME
        sound = sound[:, : frames * FRAME]
        bounds = np.linspace(0, frames, -(-frames // _WINDOW) + 1).round().astype(int) * FRAME
        windows = np.split(sound, bounds[1:-1], axis=1)
        states = torch.cat([self._hidden_states(window) for window in windows], dim=2)
        loud = spoken(sound, self.pooling.pause_db)
        return torch.stack([self._pool(s[:, kept]) for s, kept in zip(states, loud, strict=True)])

    def _pool(self, states: Tensor) -> Tensor:
        """[layers, F, WIDTH] -> [layers * statistics * WIDTH]."""
        kept = [_STATISTICS[name](states) for name in self.pooling.statistics]
        return torch.stack(kept, dim=1).flatten()

    def _hidden_states(self, window: np.ndarray) -> Tensor:
        """[B, F * FRAME] -> [B, layers, F, WIDTH]."""
        frames = window.shape[1] // FRAME
        self.encoder.config.max_source_positions = frames
        self.encoder.embed_positions = nn.Embedding.from_pretrained(self.positions[:frames])
        mel = self.log_mel(
            list(window), sampling_rate=SPEECH_HZ, padding="longest", return_tensors="pt"
        )
        found = self.encoder(mel["input_features"], output_hidden_states=True).hidden_states
        return torch.stack([found[layer] for layer in self.pooling.layers], dim=1)


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
"""[layers, F, WIDTH] -> [layers, WIDTH]."""
