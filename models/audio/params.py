"""Section `embed` of `params.yaml`."""

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from models.audio.encoders import PACKAGED
from pipeline.files import is_address
from pipeline.params import Section, Seed, named_once

PANNS = ("Cnn14", "Wavegram_Cnn14", "Wavegram_Logmel_Cnn14")
"""PANNs by name."""


def _encoder_if_not_panns(name: str) -> str:
    if name in (*PANNS, *PACKAGED) or ("/" in name and not is_address(name)):
        return name
    raise ValueError(
        f"expected {', '.join((*PANNS, *PACKAGED))}, or a speech encoder by its folder "
        "(./encoder) or its name on the hub (microsoft/wavlm-base-plus)"
    )


NetworkName = Annotated[str, AfterValidator(_encoder_if_not_panns)]
NetworkNames = Annotated[tuple[NetworkName, ...], AfterValidator(named_once)]
"""Names of frozen audio networks, each once."""


def _of_encoders(names: tuple[str, ...]) -> tuple[str, ...]:
    panns = [name for name in names if name in PANNS]
    if panns:
        raise ValueError(f"{', '.join(panns)} is no speech encoder")
    return names


EncoderNames = Annotated[NetworkNames, AfterValidator(_of_encoders)]
"""Names of speech encoders, each once."""

Layer = Annotated[int, Field(ge=0, le=1000)]
"""A hidden state of a speech encoder: what leaves the n-th layer, 0: what enters the first."""

Statistic = Literal["mean", "std", "max"]
"""Over time, of each number of a hidden state."""


@dataclass(frozen=True, slots=True)
class Pooling:
    """What is kept of the hidden states of a speech encoder.

    Attributes:
        layers: which of them, see `Layer`.
        statistics: over the frames of a clip.
        pause_db: frames so much softer than the loudest do not count, dB.
    """

    layers: tuple[int, ...]
    statistics: tuple[Statistic, ...]
    pause_db: float


class EmbedParams(Section):
    """Section `embed`."""

    networks: NetworkNames
    weights: str = Field(min_length=1)
    layers: Annotated[tuple[Layer, ...], Field(min_length=1), AfterValidator(named_once)]
    statistics: Annotated[tuple[Statistic, ...], Field(min_length=1), AfterValidator(named_once)]
    pause_db: float = Field(gt=0, le=200)
    noisy_copies: int = Field(ge=0, le=100)
    handcrafted: Annotated[tuple[Literal["mfcc", "log_mfcc"], ...], AfterValidator(named_once)]
    seed: Seed

    @property
    def names(self) -> tuple[str, ...]:
        """Networks, then features: the keys of a clip's embeddings."""
        return (*self.networks, *self.handcrafted)

    @property
    def pooling(self) -> Pooling:
        """What is kept of the hidden states of speech encoders."""
        return Pooling(self.layers, self.statistics, self.pause_db)
