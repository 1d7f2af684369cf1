"""Pictures changed at random in training, as much as the detector's are.

Constants are those of `models.faces.frames` and `models.faces.closer_look`, so that no row of the
tables learns from more variety than another. All draw from torch's global generator, on the CPU, so
that every device sees the same pictures.
"""

import torch
from torch import Tensor, nn
from torchvision.ops import roi_align

from models.faces.closer_look import CONTEXT, jittered_squares, square_around
from models.faces.frames import BRIGHTNESS, CONTRAST, FLIP_PROBABILITY


def augmented(pictures: Tensor) -> Tensor:
    """Mirror, brighten and stretch the contrast at random, as `models.faces.frames.augment` does.

    Args:
        pictures: [N, ..., 3, H, W] in 0..1; each of the N is changed as one, all frames of a
            snippet alike.

    Returns:
        New pictures in 0..1, of the same shape.
    """
    each = (len(pictures), *(1 for _ in pictures.shape[1:]))
    flip, brightness, contrast = torch.rand(3, *each).to(pictures.device)
    pictures = torch.where(flip < FLIP_PROBABILITY, pictures.flip(-1), pictures)
    mean = pictures.mean(dim=tuple(range(1, pictures.ndim)), keepdim=True)
    stretched = (pictures - mean) * (1 + CONTRAST * (2 * contrast - 1))
    return (stretched + mean + BRIGHTNESS * (2 * brightness - 1)).clamp(0, 1)


def drawn(pictures: Tensor) -> Tensor:
    """One picture of each clip, so that a step has as many labels as pictures.

    Args:
        pictures: [B, F, ...].

    Returns:
        [B, 1, ...].
    """
    places = torch.randint(pictures.shape[1], (len(pictures),))
    return pictures[torch.arange(len(pictures)), places].unsqueeze(1)


class Jitter(nn.Module):
    """Face crops, in training shifted and scaled at random; unchanged in eval mode."""

    def forward(self, crops: Tensor) -> Tensor:
        """[N, 3, H, W] -> the same shape; 0 beyond the crop."""
        return jittered(crops) if self.training else crops


def jittered(crops: Tensor) -> Tensor:
    """Shift and scale at random, as the detector's closer look does with the squares it crops.

    Args:
        crops: [N, 3, S, S].

    Returns:
        [N, 3, S, S]; 0 beyond the crop.
    """
    side = crops.shape[-1]
    whole = crops.new_tensor([[0, 0, side, side]]).repeat(len(crops), 1)
    squares = jittered_squares(square_around(whole, 1 / CONTEXT))
    return roi_align(crops, list(squares.split(1)), side, sampling_ratio=2, aligned=True)
