"""What a network weighs."""

from typing import NamedTuple

from torch import nn


class Size(NamedTuple):
    """Numbers of parameters: those that training changes, and all."""

    trained: int
    total: int


def describe(network: nn.Module) -> Size:
    """Count the parameters of a system's network.

    Features that an earlier stage cached (audio embeddings, face features) come from networks that
    are not part of it.
    """
    counts = [(p.numel(), p.requires_grad) for p in network.parameters()]
    return Size(sum(n for n, trains in counts if trains), sum(n for n, _ in counts))
