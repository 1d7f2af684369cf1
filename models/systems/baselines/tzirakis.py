"""End-to-end network on raw sound and faces, with a recurrent network over time (end2you).

Source: Tzirakis et al., "End-to-End Multimodal Emotion Recognition Using Deep Neural Networks",
IEEE JSTSP 2017, Section III, with the sizes of the authors' package end2you. Deviations:

- Emotions instead of arousal and valence, so cross-entropy instead of the concordance correlation,
  on the mean of the logits of all steps.
- A fixed number of steps of 40 ms, evenly spaced over the clip, instead of runs of 6 s; each takes
  the nearest of the clip's evenly spaced face crops. A training step sees of each clip a third of
  them in a row, and one crop, both drawn at random: as many labels as pictures, at no more cost.
- All parts are trained at once, without training each branch before.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.losses import log_odds
from models.systems.baselines.augment import drawn

FILTERS = 40
CHANNEL_POOL = 10
LSTM_WIDTH = 256
LSTM_LAYERS = 2


class RawSound(nn.Module):
    """Waveform windows [N, T] -> [N, 2 T]: two convolutions over time, pooled over channels.

    Args:
        dropout: share of samples dropped in training.
    """

    def __init__(self, dropout: float) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.fine = nn.Conv1d(1, FILTERS, 20)
        self.coarse = nn.Conv1d(FILTERS, FILTERS, 40)

    def forward(self, windows: Tensor) -> Tensor:
        """[N, T], T even -> [N, 2 T]."""
        found = F.relu(self.fine(_same(self.dropout(windows)[:, None], 20)))  # [N, 40, T]
        found = F.max_pool1d(found, 2)  # [N, 40, T / 2]
        found = F.relu(self.coarse(_same(found, 40)))  # [N, 40, T / 2]
        return found.unflatten(1, (-1, CHANNEL_POOL)).amax(dim=2).flatten(1)  # [N, 4 T / 2]


class TzirakisNet(nn.Module):
    """Raw sound and face crops -> logits of `av`; in training of a random part of each.

    Args:
        sound: windows [N, T] -> [N, D].
        faces: crops [N, 3, H, W] -> [N, C].
        width: D + C.
        emotions: K.
    """

    def __init__(self, sound: nn.Module, faces: nn.Module, width: int, emotions: int) -> None:
        super().__init__()
        self.sound = sound
        self.faces = faces
        self.recur = nn.LSTM(width, LSTM_WIDTH, LSTM_LAYERS, batch_first=True)
        self.classify = nn.Linear(LSTM_WIDTH, emotions)

    def forward(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Log odds [B, K] of `windows` [B, W, T] and `crops` [B, F, 3, H, W]."""
        windows, crops = batch["windows"], batch["crops"]
        if self.training:
            crops, windows = drawn(crops), _excerpt(windows)
        sound = self.sound(windows.flatten(0, 1)).unflatten(0, windows.shape[:2])  # [B, W, D]
        faces = self.faces(crops.flatten(0, 1)).unflatten(0, crops.shape[:2])  # [B, F, C]
        steps = torch.arange(windows.shape[1], device=windows.device)
        nearest = steps * crops.shape[1] // windows.shape[1]
        hidden, _ = self.recur(torch.cat([sound, faces[:, nearest]], dim=2))  # [B, W, 256]
        return {"av": log_odds(self.classify(hidden).mean(dim=1))}


def _excerpt(windows: Tensor) -> Tensor:
    """A third of a clip's steps in a row, at random: [B, W, T] -> [B, ceil(W / 3), T]."""
    length = -(-windows.shape[1] // 3)
    start = int(torch.randint(windows.shape[1] - length + 1, ()))
    return windows[:, start : start + length]


def _same(values: Tensor, kernel: int) -> Tensor:
    """Zeros at both ends, so that a convolution keeps the length; the odd one at the end."""
    return F.pad(values, ((kernel - 1) // 2, kernel // 2))
