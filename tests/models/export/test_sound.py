"""Sound of any length as a graph, against what the stage `embed` computes."""

import numpy as np
import pytest
import soxr
import torch
from torch import nn

from models.audio.embed import embed_waveform
from models.audio.encoders import PACKAGED
from models.audio.panns import GRID, SHORTEST, SHORTEST_PADDED, pad
from models.audio.params import EmbedParams
from models.audio.weights import load_network, resolve
from models.export.graph import TOLERANCE, Axis, Graph, write_graph
from models.export.sound import Tagger, halving_filter, sound_graph
from pipeline.presets import preset_values


class Sums(nn.Module):
    """Like one of the PANNs: takes whole hops alone."""

    def forward(self, waveform):
        hops = waveform.unflatten(1, (-1, GRID)).sum(dim=2)
        return {"embedding": torch.stack([hops.sum(dim=1), hops.amax(dim=1)], dim=1)}


def test_a_graph_pads_sound_of_any_length_as_the_published_networks_do(tmp_path):
    lengths = (17_777, SHORTEST, SHORTEST_PADDED, SHORTEST_PADDED + 1, 30 * GRID)
    trials = [{"waveform": np.linspace(-1, 2, n, dtype=np.float32)} for n in lengths]

    def padded(trial):
        return Sums()(pad(torch.from_numpy(trial["waveform"]))[None])["embedding"]

    axes = {"waveform": Axis("samples", SHORTEST, 10**6)}
    graph = Graph("sums", Tagger(Sums()), ("embedding",), padded, trials, axes)
    assert write_graph(graph, tmp_path) < TOLERANCE


@pytest.mark.parametrize("samples", [3200, 9_999, 40_638, 40_639])
def test_the_rate_is_halved_as_by_soxr(samples):
    sound = np.random.default_rng(samples).normal(0, 0.1, samples).astype(np.float32)
    taps = torch.from_numpy(halving_filter())
    halved = nn.functional.conv1d(
        torch.from_numpy(sound)[None, None], taps[None, None], stride=2, padding=len(taps) // 2
    )
    expected = soxr.resample(sound, 32_000, 16_000, quality="HQ")
    assert halved[0, 0].numpy() == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("name", ["mfcc", "log_mfcc", "whisper_tiny_en"])
@torch.no_grad()
def test_what_a_graph_hears_is_what_the_pipeline_hears(name):
    embed = EmbedParams.model_validate(preset_values("demo")["embed"])
    weights = resolve(name, embed) if name in PACKAGED else None
    graph = sound_graph(name, load_network(weights) if weights else None)
    rng = np.random.default_rng(0)
    for sound in (rng.normal(0, 0.1, 9_999), np.zeros(SHORTEST)):
        sound = sound.astype(np.float32)
        expected = embed_waveform(sound, name, weights)
        torch.testing.assert_close(graph(torch.from_numpy(sound)), expected, atol=1e-4, rtol=0)
