"""The expression encoders by their names in `faces.embeddings`.

One comes with the package; any other is a folder in the layout of Hugging Face's image classifiers.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor, nn

from models.checkpoint import FILES_ALONE, load_strictly, read_state, reason_of, require_finite
from models.device import device_of
from models.expressions.mini_xception import SIDE_PX, MiniXception
from models.expressions.params import DESCRIPTIONS, ENCODERS, WEIGHTS_FILE
from pipeline.errors import WeightsError
from pipeline.media.images import Picture


@dataclass(frozen=True, slots=True)
class Encoder:
    """A frozen expression encoder: its name in `faces.embeddings`, and the files that make it."""

    name: str
    files: tuple[Path, ...]


def resolve(name: str, folder: Path | None = None) -> Encoder:
    """The encoder of a name in `faces.embeddings`.

    Args:
        name: one of `ENCODERS`, which come with the package, or a folder.
        folder: where copies of its files lie.

    Raises:
        WeightsError: it is neither.
    """
    packaged = name in ENCODERS
    folder = folder or (Path(__file__).parent / name if packaged else Path(name))
    files = tuple(folder / file for file in (WEIGHTS_FILE, *(() if packaged else DESCRIPTIONS)))
    for file in files:
        if not file.is_file():
            raise WeightsError(
                f"faces.embeddings: {file}: no such file; expected {' or '.join(ENCODERS)}, or a "
                f"folder with {', '.join((WEIGHTS_FILE, *DESCRIPTIONS))}"
            )
    return Encoder(name, files)


class FerEncoder(nn.Module):
    """The encoder that comes with the package."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.network = MiniXception()
        load_strictly(self.network, read_state(path), path)
        self.eval()

    def forward(self, crops: Sequence[Picture]) -> tuple[Tensor, Tensor]:
        """Features [F, 128] and logits [F, 7] of F faces, RGB [H, W, 3] each."""
        gray = [cv2.cvtColor(crop, cv2.COLOR_RGB2GRAY) for crop in crops]
        size = (SIDE_PX, SIDE_PX)
        small = np.stack([cv2.resize(one, size, interpolation=cv2.INTER_AREA) for one in gray])
        pictures = torch.from_numpy(small).to(device_of(self))
        return self.network(pictures[:, None].float() / 127.5 - 1)


class ImageClassifier(nn.Module):
    """An image classifier of `transformers`, from files alone; none of its own code is run."""

    def __init__(self, folder: Path) -> None:
        # some seconds, that the other encoder need not wait for
        from transformers import AutoImageProcessor, AutoModelForImageClassification

        super().__init__()
        try:
            self.prepare = AutoImageProcessor.from_pretrained(folder, **FILES_ALONE)
            self.network, found = AutoModelForImageClassification.from_pretrained(
                folder, use_safetensors=True, output_loading_info=True, **FILES_ALONE
            )
        except Exception as error:  # whatever sizes and names of a stranger lead to
            raise WeightsError(f"{folder}: not an image classifier ({reason_of(error)})") from error
        if lacking := sorted(found["missing_keys"]):
            raise WeightsError(
                f"{folder / WEIGHTS_FILE}: not the weights of {type(self.network).__name__}: "
                f"{len(lacking)} parameters missing, first {lacking[0]}"
            )
        require_finite(self.network, folder / WEIGHTS_FILE)
        self.eval()

    def forward(self, crops: Sequence[Picture]) -> tuple[Tensor, Tensor]:
        """Features [F, D] and logits [F, K] of F faces, RGB [H, W, 3] each.

        Features are the last hidden state's mean over the positions of the picture.
        """
        pictures = self.prepare(list(crops), return_tensors="pt", input_data_format="channels_last")
        found = self.network(**pictures.to(self.network.device), output_hidden_states=True)
        last = found.hidden_states[-1]  # [F, T, D], or [F, D, H, W] of a convolutional network
        return last.mean(dim=(2, 3) if last.ndim == 4 else 1), found.logits


def load_encoder(encoder: Encoder) -> FerEncoder | ImageClassifier:
    """Build an encoder, in evaluation mode.

    Raises:
        WeightsError: its files are damaged or do not fit.
    """
    weights = encoder.files[0]
    return FerEncoder(weights) if encoder.name in ENCODERS else ImageClassifier(weights.parent)
