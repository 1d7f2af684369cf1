import torch

from models.audio import augment
from models.audio.augment import excerpts, louder_and_noisier, mixed, striped


def ramps(lengths, bands=64):
    """Each frame holds its number, 100 dB apart from what lies beyond the clip's end."""
    longest = max(lengths)
    frames = torch.arange(float(longest))[None, :, None].expand(len(lengths), longest, bands)
    beyond = torch.arange(longest)[None, :, None] >= torch.tensor(lengths)[:, None, None]
    return torch.where(beyond, -1e3, frames), torch.tensor(lengths)


def test_an_excerpt_runs_through_a_clip_at_about_its_tempo_and_never_beyond_its_end():
    torch.manual_seed(0)
    logmel, lengths = ramps([300, 300, 200, 40, 1])
    found, heard = excerpts(logmel, lengths, 100)
    assert found.shape == (5, 100, 64)
    steps = found[:, :, 32].diff(dim=1)
    for row, (length, known) in enumerate(zip(lengths.tolist(), heard.tolist(), strict=True)):
        inside = steps[row, : max(0, known - 2)]
        assert ((inside - 1).abs() <= augment.STRETCH + 1e-3).all()
        assert found[row].min() >= -1e-3 and found[row].max() <= length - 1 + 1e-3
    assert heard[:3].tolist() == [100] * 3 and 36 <= heard[3] <= 45 and heard[4] == 1
    assert len(set(found[:3, 0, 0].tolist())) == 3  # each begins elsewhere


def test_noise_lies_as_far_below_a_clip_as_stated():
    torch.manual_seed(0)
    logmel = torch.full((50, 20, 64), -200.0)
    logmel[:, 0, 0] = 0.0
    found = louder_and_noisier(logmel)
    gain = found[:, 0, 0]
    assert gain.abs().max() <= augment.GAIN_DB + 1e-3 and gain.std() > 2
    below = gain - found[:, 1:].mean(dim=(1, 2))
    low, high = augment.NOISE_DB
    assert below.min() > low - 1 and below.max() < high + 1 and below.std() > 5


def test_stripes_hide_a_little_behind_the_mean():
    torch.manual_seed(0)
    logmel = torch.randn(40, 100, 64)
    found = striped(logmel)
    hidden = found != logmel
    assert torch.equal(
        found[hidden], logmel.mean(dim=(1, 2))[:, None, None].expand_as(found)[hidden]
    )
    share = hidden.float().mean(dim=(1, 2))
    assert share.max() < 0.5 and 0.05 < share.mean() < 0.25


def test_mixing_weighs_each_item_with_its_partner():
    values = torch.tensor([[1.0], [2.0]])
    assert mixed(0.75, torch.tensor([1, 0]), values).tolist() == [[1.25], [1.75]]
