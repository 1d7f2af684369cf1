"""Section `embed` of `params.yaml`."""

from typing import Literal

from pydantic import Field, field_validator

from pipeline.params import Section, Seed


class EmbedParams(Section):
    """Section `embed`."""

    networks: tuple[Literal["Cnn14", "Wavegram_Cnn14", "Wavegram_Logmel_Cnn14"], ...]
    weights: str = Field(min_length=1)
    handcrafted: tuple[Literal["mfcc", "log_mfcc"], ...]
    seed: Seed

    @field_validator("networks", "handcrafted")
    @classmethod
    def _named_once(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(names)) != len(names):
            raise ValueError("each name may stand once")
        return names

    @property
    def names(self) -> tuple[str, ...]:
        """Networks, then features: the keys of a clip's embeddings."""
        return (*self.networks, *self.handcrafted)
