"""Section `embed` of `params.yaml`."""

from typing import Annotated, Literal, TypeVar

from pydantic import AfterValidator, Field

from pipeline.params import Section, Seed

Name = TypeVar("Name", bound=str)


def _named_once(names: tuple[Name, ...]) -> tuple[Name, ...]:
    if len(set(names)) != len(names):
        raise ValueError("each name may stand once")
    return names


NetworkNames = Annotated[
    tuple[Literal["Cnn14", "Wavegram_Cnn14", "Wavegram_Logmel_Cnn14"], ...],
    AfterValidator(_named_once),
]
"""Names of frozen audio networks, each once."""


class EmbedParams(Section):
    """Section `embed`."""

    networks: NetworkNames
    weights: str = Field(min_length=1)
    handcrafted: Annotated[tuple[Literal["mfcc", "log_mfcc"], ...], AfterValidator(_named_once)]
    seed: Seed

    @property
    def names(self) -> tuple[str, ...]:
        """Networks, then features: the keys of a clip's embeddings."""
        return (*self.networks, *self.handcrafted)
