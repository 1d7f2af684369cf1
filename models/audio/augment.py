"""Log-mel spectrograms changed at random in training, lightly: what is heard must stay what it was.

All draw from torch's global generator, on the CPU, so that every device hears the same.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

STRETCH = 0.1
"""Greatest change of tempo."""
MEL_SCALE, MEL_SHIFT = 0.04, 1.0
"""Greatest warp of the mel axis around its middle, and its greatest shift in bands: a voice of
another size."""
GAIN_DB = 6.0
NOISE_DB = (50.0, 90.0)
"""How far noise lies below the loudest value of a clip."""
NOISE_SPREAD_DB = 4.0
"""Standard deviation of noise from frame to frame and band to band."""
MASKS = 2
"""Stripes of SpecAugment in time, and as many in frequency."""
MASK_BANDS, MASK_SHARE = 5, 0.06
"""Greatest width of a stripe: mel bands, share of the frames."""


def excerpts(logmel: Tensor, lengths: Tensor, frames: int) -> tuple[Tensor, Tensor]:
    """A random stretch of each clip, its tempo and the size of its voice changed a little.

    Args:
        logmel: [B, F, M] in dB.
        lengths: of the clips, [B].
        frames: of a stretch; a shorter clip is taken whole.

    Returns:
        [B, frames, M], the last frame repeated where a clip ends before, and lengths [B].
    """
    count, longest, bands = logmel.shape
    draw = torch.rand(4, count, 1).to(logmel.device)
    tempo = 1 + STRETCH * (2 * draw[0] - 1)
    start = draw[1] * (lengths[:, None] - tempo * frames).clamp_min(0)
    time = start + tempo * torch.arange(frames, device=logmel.device)  # [B, frames]
    time = torch.minimum(time, lengths[:, None] - 1)
    centred = torch.arange(bands, device=logmel.device) - (bands - 1) / 2
    mel = (1 + MEL_SCALE * (2 * draw[2] - 1)) * centred + MEL_SHIFT * (2 * draw[3] - 1)  # [B, M]
    across, along = 2 * mel / (bands - 1), 2 * time / max(1, longest - 1) - 1  # in [-1, 1]
    shape = (count, frames, bands)
    grid = torch.stack([across[:, None].expand(shape), along[..., None].expand(shape)], dim=3)
    found = F.grid_sample(logmel[:, None], grid, padding_mode="border", align_corners=True)
    heard = ((lengths - 1) / tempo[:, 0]).long() + 1
    return found[:, 0], heard.clamp_max(frames)


def louder_and_noisier(logmel: Tensor) -> Tensor:
    """Another level, and noise below it, [B, F, M] in dB."""
    gain, below = torch.rand(2, len(logmel), 1, 1).to(logmel.device)
    low, high = NOISE_DB
    floor = logmel.amax(dim=(1, 2), keepdim=True) - (low + (high - low) * below)
    noise = floor + NOISE_SPREAD_DB * torch.randn(logmel.shape).to(logmel.device)
    to_log = torch.log(torch.tensor(10.0)) / 10  # powers add up, not decibels
    return torch.logaddexp(logmel * to_log, noise * to_log) / to_log + GAIN_DB * (2 * gain - 1)


def striped(logmel: Tensor) -> Tensor:
    """SpecAugment: stripes in time and frequency at the mean of their clip, [B, F, M].

    Source: Park et al., "SpecAugment: A Simple Data Augmentation Method for Automatic Speech
    Recognition", Interspeech 2019; without its time warping.
    """
    count, frames, bands = logmel.shape
    hidden = torch.zeros(logmel.shape, dtype=torch.bool, device=logmel.device)
    for _ in range(MASKS):
        hidden |= _stripe(count, frames, MASK_SHARE * frames).to(logmel.device)[:, :, None]
        hidden |= _stripe(count, bands, MASK_BANDS).to(logmel.device)[:, None, :]
    return torch.where(hidden, logmel.mean(dim=(1, 2), keepdim=True), logmel)


def _stripe(count: int, length: int, widest: float) -> Tensor:
    """A random stretch of at most `widest` of `length` places, [count, length] bool."""
    width, start = torch.rand(2, count, 1)
    width = width * widest
    start = start * (length - width)
    places = torch.arange(length)
    return (places >= start) & (places < start + width)


def mixed(share: float, partner: Tensor, values: Tensor) -> Tensor:
    """Each item of a batch with a share of another, [B, ...].

    Args:
        share: of the item itself, in [0, 1].
        partner: index of the other item [B].
        values: inputs or soft targets.

    Source: Zhang et al., "mixup: Beyond Empirical Risk Minimization", ICLR 2018.
    """
    return share * values + (1 - share) * values[partner]
