"""A place for what long work wants to find again after it was killed.

It belongs to one piece of work, lies outside of its products and goes when the work is done.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from shutil import rmtree

from pipeline.work.closure import code_digests
from pipeline.work.entries import UNFINISHED, cache_folder, prepare

_scratch: ContextVar[Path | None] = ContextVar("scratch", default=None)


@contextmanager
def scratch_at(folder: Path) -> Iterator[None]:
    """Let work within the block keep its state in `folder`, which goes when the block succeeds.

    Args:
        folder: named after all that decides about the work; made by who writes into it.
    """
    with scratch_beside(folder):
        yield
    rmtree(folder, ignore_errors=True)


@contextmanager
def scratch_beside(folder: Path | None) -> Iterator[None]:
    """The same for a part of the work, in a process of its own: the whole removes the folder."""
    token = _scratch.set(folder)
    try:
        yield
    finally:
        _scratch.reset(token)


def scratch() -> Path | None:
    """The folder of the work that runs; None where nobody would look there again."""
    return _scratch.get()


def scratch_of(
    stage: str, module: str, facts: Mapping[str, object], products: Iterable[Path]
) -> Path:
    """The folder of work that a stage does itself, by all that decides about the work.

    Args:
        stage: by the name in `dvc.yaml`.
        module: dotted name of that which does the work; its code counts, with all that it imports.
        facts: JSON-able.
        products: files and folders that it reads. They count by the name, size and time of each
            file: stages write them anew as a whole, and to read them all would take too long.

    Raises:
        ParamsError: the cache cannot be written.
    """
    prepare(cache_folder() / stage)
    files = [
        (path.as_posix(), path.stat().st_size, path.stat().st_mtime_ns)
        for product in products
        for path in sorted([product, *product.rglob("*")])
        if path.is_file()
    ]
    text = json.dumps([dict(code_digests(module)), dict(facts), files], sort_keys=True)
    return cache_folder() / stage / UNFINISHED / hashlib.sha256(text.encode()).hexdigest()
