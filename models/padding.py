"""The one rule by which clips of any length fit the audio networks."""

from torch import Tensor
from torch.nn import functional as F

from models.logmel import HOP, RATE_HZ
from pipeline.errors import MediaError

SHORTEST = RATE_HZ // 10
"""Fewest samples of a clip: 0.1 s."""
GRID = 2 * HOP
"""Padded lengths are multiples of this, 20 ms.

Then both branches have T / GRID frames where they meet; otherwise half of all lengths would leave
the wavegram one frame short.
"""
SHORTEST_PADDED = 16 * GRID
"""0.32 s: the least that four more halvings of time leave one frame of."""


def padded_length(samples: int) -> int:
    """Length to which a clip is padded with zeros at its end, in samples.

    The next multiple of `GRID`, at least `SHORTEST_PADDED`. Zeros at the end are what the
    published networks were trained with for recordings shorter than 10 s.

    Args:
        samples: length of the clip at `RATE_HZ`.

    Raises:
        MediaError: the clip is shorter than `SHORTEST`.
    """
    if samples < SHORTEST:
        raise MediaError(
            f"sound of {samples} samples at {RATE_HZ} Hz: expected at least {SHORTEST} (0.1 s); "
            "leave the recording out or record it again"
        )
    return max(SHORTEST_PADDED, -(-samples // GRID) * GRID)


def pad(waveform: Tensor) -> Tensor:
    """Pad [..., T] to `padded_length(T)`."""
    return F.pad(waveform, (0, padded_length(waveform.shape[-1]) - waveform.shape[-1]))
