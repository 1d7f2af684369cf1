"""Nothing half-written: files and folders appear whole, under their final name, or not at all."""

import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path


def publish(out: Path, files: Iterable[tuple[str, Path]]) -> None:
    """Rebuild the whole folder `out` from copies of finished files.

    Copies, not hard links: a tool that edits a product in place must not reach into the cache.

    Args:
        out: folder to replace.
        files: (name relative to `out`, source file).
    """
    with replace_folder(out) as part:
        made: set[Path] = set()
        for name, source in files:
            target = part / name
            if target.parent not in made:
                target.parent.mkdir(parents=True, exist_ok=True)
                made.add(target.parent)
            shutil.copyfile(source, target)


@contextmanager
def replace_folder(out: Path) -> Iterator[Path]:
    """A temporary folder beside `out` that takes its place when the block succeeds."""
    out.parent.mkdir(parents=True, exist_ok=True)
    part = Path(tempfile.mkdtemp(prefix=f".{out.name}-", dir=out.parent))
    try:
        part.chmod(0o755)
        yield part
        if out.exists():
            shutil.rmtree(out)
        part.replace(out)
    finally:
        shutil.rmtree(part, ignore_errors=True)


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """A temporary file name beside `path` that takes its place when the block succeeds."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}-{os.getpid()}.part")
    try:
        yield part
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
