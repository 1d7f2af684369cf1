"""Imports of large packages, sooner done."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def uncollected() -> Iterator[None]:
    """Keep the garbage collector from what is imported inside.

    Torch and transformers make some 600,000 objects that stay until the end. On the way there the
    collector walks through all of them again and again, and later in each full collection.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.freeze()
            gc.enable()
