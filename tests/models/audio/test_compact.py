import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import pad_sequence

from models.audio.compact import HEARD_DB, CompactNet, heard_logmel, pool_statistics, relaxed
from models.audio.front_end import HOP, N_MELS, RATE_HZ
from models.losses import log_scores
from pipeline.errors import MediaError


@pytest.fixture
def network():
    """In eval mode, with statistics of batch norm that zeros do not pass unchanged."""
    torch.manual_seed(0)
    network = CompactNet(nn.Identity(), width=4, members=2, emotions=3, dropout=0.5).eval()
    for part in network.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.running_mean.normal_()
            part.running_var.uniform_(0.5, 2.0)
    return network


def batch(clips):
    return {
        "logmel": pad_sequence(clips, batch_first=True),
        "logmel_length": torch.tensor([len(clip) for clip in clips]),
    }


def test_a_batch_of_unequal_lengths_equals_its_singles(network):
    clips = [torch.randn(frames, N_MELS) for frames in (1, 2, 11, 50, 133, 200)]
    together = network(batch(clips))
    alone = [network(batch([clip])) for clip in clips]
    for joint, singles in zip(together, zip(*alone, strict=True), strict=True):
        assert joint.std(dim=0).max() > 1e-3
        assert torch.allclose(joint, torch.cat(singles), atol=1e-5)


def test_log_p_are_averaged_over_members_and_sizes_of_the_voice(network):
    logmel = torch.randn(80, N_MELS)
    smaller = torch.cat([logmel[:, 1:], logmel[:, -1:]], dim=1)
    larger = torch.cat([logmel[:, :1], logmel[:, :-1]], dim=1)
    features, logits = network(batch([logmel]))
    found = [answer for x in (logmel, smaller, larger) for answer in network.each(batch([x]))]
    assert torch.equal(features, torch.cat([found[0][0], found[1][0]], dim=1))
    log_p = torch.stack([z.log_softmax(dim=1) for _, z in found])
    assert log_p.std(dim=0).max() > 1e-3
    assert torch.allclose(log_scores(logits), log_p.mean(dim=0).log_softmax(dim=1), atol=1e-5)


def test_half_of_a_spectrogram_forgets_the_voice_and_half_the_level():
    clip = torch.randn(60, N_MELS)
    level, stretch = torch.randn(N_MELS), 0.5 + torch.rand(N_MELS)
    other = clip * stretch + level
    lengths = torch.tensor([60, 60])
    one, two = 2 * relaxed(torch.stack([clip, other]), lengths) - torch.stack([clip, other])
    assert torch.allclose(one, two, atol=0.1)  # OWN_FLOOR
    expected = (clip - clip.mean(dim=0)) / clip.std(dim=0, correction=0)
    assert torch.allclose(one, expected, atol=0.1)
    still = relaxed(torch.full((1, 9, N_MELS), 2.0), torch.tensor([9]))
    assert torch.allclose(still, torch.tensor(1.0), atol=1e-4)


def test_statistics_are_of_the_frames_of_a_clip():
    values = torch.randn(1, 4, 7)
    padded = torch.cat([values, torch.zeros(1, 4, 5)], dim=2)
    expected = torch.cat([values.mean(dim=2), values.std(dim=2, correction=0)], dim=1)
    assert torch.allclose(pool_statistics(padded, torch.tensor([7])), expected, atol=1e-5)


def test_silence_at_both_ends_is_left_out():
    tone = torch.sin(2 * torch.pi * 440 * torch.arange(RATE_HZ) / RATE_HZ)
    quiet = 10 ** (-(HEARD_DB + 20) / 20) * torch.randn(RATE_HZ)
    found = heard_logmel(torch.cat([quiet, tone, quiet]))
    assert len(found) == pytest.approx(RATE_HZ / HOP, abs=4)
    with pytest.raises(MediaError, match="at least"):
        heard_logmel(tone[:99])
