"""One process at a time does a stage in a folder.

A DVC that is killed, for want of memory for one, leaves its stage at work, and another DVC would
begin the same stage beside it.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from pipeline.errors import AvemoError

TEMPORARY = Path(".dvc/tmp")
"""DVC's own locks lie there; it is in no repository."""

DYING_S = 2
"""What a killed process may take to end."""


@contextmanager
def alone_at(stage: str) -> Iterator[None]:
    """Keep other processes from a stage as long as the block lasts, or this process lives.

    Where there is no DVC, nothing begins a stage but the person who calls it.

    Raises:
        AvemoError: another process is at it.
    """
    if not TEMPORARY.parent.is_dir():
        yield
        return
    try:
        lock = FileLock(TEMPORARY / f"avemo-{stage}.lock").acquire(timeout=DYING_S)
    except Timeout as error:
        raise AvemoError(
            f"stage {stage}: another process is at it in {Path.cwd()}, perhaps one whose DVC was "
            "killed; wait for it or end it, then run again"
        ) from error
    with lock:
        yield
