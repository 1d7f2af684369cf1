"""The number of CPU threads changes the order of sums, and so the last bits of a result."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def pinned_threads(count: int) -> Iterator[None]:
    """Let torch compute with `count` threads inside the block, and with as many as before after."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
