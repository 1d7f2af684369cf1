import copy
import csv
from pathlib import Path

import pytest
import torch
from panns_reference import layers, panns_inference

from models.audio import panns
from pipeline.errors import WeightsError

KEYS = Path(__file__).with_name("panns_keys.tsv")
REFERENCE_TOLERANCE = 1e-4  # of the largest number; the Fourier transforms differ in rounding


@pytest.fixture(scope="module", params=sorted(panns.NETWORKS))
def network(request):
    return panns.build(request.param)


def noise(*shape, seed=0):
    return 0.1 * torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(scope="module")
def trained(network):
    """A copy whose batch norms have statistics and weights such as training leaves."""
    network = copy.deepcopy(network)
    generator = torch.Generator().manual_seed(1)
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm1d | torch.nn.BatchNorm2d):
            for values in (module.running_var, module.weight.data):
                values.uniform_(0.5, 1.5, generator=generator)
            for values in (module.running_mean, module.bias.data):
                values.normal_(0, 0.1, generator=generator)
    return network


def assert_agrees(ours, embedding, tags):
    for got, expected in ((ours["embedding"], embedding), (ours["clipwise_output"], tags)):
        atol = REFERENCE_TOLERANCE * expected.abs().max().item()
        torch.testing.assert_close(got, expected, rtol=0, atol=atol)


def published_keys(name):
    with KEYS.open(encoding="utf-8") as stream:
        rows = [row for row in csv.DictReader(stream, delimiter="\t") if row["network"] == name]
    return {row["key"]: (row["shape"], row["dtype"]) for row in rows}


def keys_of(state):
    return {
        key: (
            "x".join(map(str, value.shape)) or "scalar",
            str(value.dtype).removeprefix("torch."),
        )
        for key, value in state.items()
    }


def test_parameters_have_the_published_names_shapes_and_types(network):
    assert keys_of(network.state_dict()) == published_keys(type(network).__name__)


def test_published_key_set_loads_strictly_and_changes_the_embedding(network):
    waveform = noise(1, 16_000)
    other = panns.build(type(network).__name__, seed=1)
    before = other.embed(waveform)

    other.load_state_dict(network.state_dict(), strict=True)

    assert not torch.equal(before, network.embed(waveform))
    assert torch.equal(other.embed(waveform), network.embed(waveform))


def test_forward_tags_and_embeds(network):
    waveform = noise(2, 20_001)
    with torch.no_grad():
        output = network(waveform)
    assert output["clipwise_output"].shape == (2, panns.CLASSES)
    assert ((output["clipwise_output"] >= 0) & (output["clipwise_output"] <= 1)).all()
    assert torch.equal(output["embedding"], network.embed(waveform))


def test_network_is_that_of_the_published_layer_table(trained):
    waveform = noise(2, 12_801)
    with torch.no_grad():
        assert_agrees(trained(waveform), *layers(trained.state_dict(), panns.pad(waveform)))


@pytest.mark.parametrize("network", ["Cnn14"], indirect=True)
def test_cnn14_is_that_of_panns_inference(trained, tmp_path):
    reference = panns_inference(tmp_path).models.Cnn14(32_000, 1024, 320, 64, 50, 14_000, 527)
    reference.load_state_dict(trained.state_dict(), strict=True)
    waveform = noise(2, 32_000)
    with torch.no_grad():
        theirs = reference.eval()(waveform)
        assert_agrees(trained(waveform), theirs["embedding"], theirs["clipwise_output"])


def test_silence_and_the_shortest_clip_embed_finitely(network):
    for waveform in (torch.zeros(1, 32_000), torch.zeros(1, 3_200), noise(1, 3_200)):
        assert network.embed(waveform).isfinite().all()


def test_embedding_is_the_same_in_training_mode(network):
    waveform = noise(1, 16_000)
    expected = network.embed(waveform)
    try:
        network.train()
        assert torch.equal(network.embed(waveform), expected)
        assert network.training
    finally:
        network.eval()


def test_embeddings_of_different_clips_differ_in_more_than_scale(network):
    clips = [noise(16_000, seed=seed) * (seed + 1) for seed in range(3)]
    clips.append(torch.sin(torch.arange(16_000) * 0.05))
    embeddings = network.embed(torch.stack(clips))
    assert (embeddings.std(dim=0) > 0).float().mean() > 0.3
    assert torch.linalg.matrix_rank(embeddings) == len(clips)
    assert embeddings.std(dim=0).mean() > 1e-3  # 21 untrained layers must not fade it out


def test_unknown_network_is_refused():
    with pytest.raises(WeightsError, match="'Cnn10': expected one of Cnn14"):
        panns.build("Cnn10")


def test_build_is_seeded_and_leaves_the_global_generator_alone():
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    first, second = (panns.build("Cnn14", seed) for seed in (3, 3))
    assert torch.equal(torch.rand(3), expected)
    assert torch.equal(first.fc1.weight, second.fc1.weight)


@pytest.mark.parametrize("samples", [9 * panns.STEP, 11 * panns.STEP + 3 * panns.GRID + 7])
def test_a_long_clip_in_blocks_equals_it_in_one(trained, monkeypatch, samples):
    clip = noise(1, samples)
    clip[:, samples // 2 :] *= 10  # the two halves differ, and so would a block out of place
    whole = trained.embed(clip)
    longest, convolved = [], trained._convolved
    monkeypatch.setattr(panns, "BLOCK", 2)
    monkeypatch.setattr(trained, "_convolved", lambda x: longest.append(x.shape[1]) or convolved(x))
    atol = 1e-5 * whole.max().item()
    torch.testing.assert_close(trained.embed(clip), whole, rtol=0, atol=atol)
    assert len(longest) == -(-(samples // panns.STEP) // 2)
    assert max(longest) <= (2 + 2 * panns.CONTEXT + 2) * panns.STEP
