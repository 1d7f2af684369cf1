"""Progress bars on a terminal, and the one closing line of a stage."""

import sys
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

Item = TypeVar("Item")


def track(
    items: Iterable[Item], *, total: int | None = None, desc: str, unit: str
) -> Iterator[Item]:
    """Yield `items` behind a progress bar on stderr; silent where stderr is not a terminal."""
    if not sys.stderr.isatty():
        yield from items
        return
    from tqdm import tqdm

    yield from tqdm(items, total=total, desc=desc, unit=unit, leave=False)


def closing(stage: str, text: str, started: float) -> None:
    """Print the stage's closing line, e.g. `annotate: 84 clips, 420 frames, 2.1 s`.

    Args:
        stage: name of the stage.
        text: its numbers.
        started: `time.monotonic()` at the start.
    """
    print(f"{stage}: {text}, {time.monotonic() - started:.1f} s", flush=True)


def counted(count: int, noun: str) -> str:
    """A count with its noun: `1 fold`, `3 folds`."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def figure(value: object) -> str:
    """A figure with three decimals, `n/a` where it could not be had."""
    return "n/a" if value is None else f"{value:.3f}"
