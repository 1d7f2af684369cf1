"""Progress on a terminal, where the time went, and the one summary line of a stage.

A work function says how far it is with `advance` and what it spends its time on with `timed`; both
work wherever it runs. A worker leaves its progress in a small file that the parent looks at.
"""

import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import TypeVar

Item = TypeVar("Item")

SHOWN = 3
"""Names that one line tells."""

_WRITE_EVERY_S = 0.5


class TaskLog:
    """Progress and times of one task, in its worker.

    Args:
        path: file that the parent reads.
    """

    def __init__(self, path: Path) -> None:
        self.seconds: dict[str, float] = {}
        self._path = path
        self._steps = 0
        self._written = 0.0

    def advance(self, steps: int, text: str) -> None:
        """Count steps, and write them down now and then."""
        self._steps += steps
        if time.monotonic() - self._written > _WRITE_EVERY_S:
            self._path.write_text(f"{self._steps} {text}", encoding="utf-8")
            self._written = time.monotonic()


_task: ContextVar[TaskLog | None] = ContextVar("task", default=None)
_spent: dict[str, float] = {}


@contextmanager
def task_log(path: Path) -> Iterator[TaskLog]:
    """Let `advance` and `timed` within the block speak of one task."""
    log = TaskLog(path)
    token = _task.set(log)
    try:
        yield log
    finally:
        _task.reset(token)


def advance(steps: int, text: str) -> None:
    """Say that `steps` more of a task's steps are done; `text` tells what, e.g. `epoch 3/16`."""
    log = _task.get()
    if log is not None:
        log.advance(steps, text)


@contextmanager
def timed(phase: str) -> Iterator[None]:
    """Count the block's time to `phase`, for the summary line."""
    log = _task.get()
    started = time.monotonic()
    try:
        yield
    finally:
        add_times({phase: time.monotonic() - started}, _spent if log is None else log.seconds)


def add_times(times: Mapping[str, float], to: dict[str, float] = _spent) -> None:
    """Add seconds by phase to those of the process."""
    for phase, seconds in times.items():
        to[phase] = to.get(phase, 0.0) + seconds


class Bar:
    """A progress bar over tasks of several steps; silent where stderr is not a terminal.

    Args:
        desc: label.
        tasks: their number.
        steps: of all tasks together.
        unit: what a task is, e.g. `fold`.
        step: what a step is, e.g. `frame`.
    """

    def __init__(self, desc: str, tasks: int, steps: int, unit: str, step: str) -> None:
        self.shown = sys.stderr.isatty()
        self._label = (desc, tasks, unit)
        self._long = steps > tasks
        self._started = time.monotonic()
        self._finished = self._done = 0
        if self.shown:
            from tqdm import tqdm

            # smoothing 0: steps of training and of detection last differently long
            self._bar = tqdm(
                total=steps, desc=desc, unit=step if self._long else unit, leave=False, smoothing=0
            )

    def look(self, running: Mapping[str, Path]) -> None:
        """Show what running tasks wrote down; by name the file of each."""
        found = {name: _read(path) for name, path in running.items()}
        texts = [f"{name} {text}" for name, (_, text) in found.items() if text]
        self._show(self._done + sum(steps for steps, _ in found.values()), texts)

    def finish(self, name: str, steps: int) -> None:
        """Count a finished task."""
        self._done += steps
        self._finished += 1
        desc, tasks, unit = self._label
        if self.shown:
            self._show(self._done, [])
        elif self._long:
            seconds = time.monotonic() - self._started
            text = f"{desc}: {unit} {name} after {seconds:.0f} s, {self._finished} of {tasks}"
            print(text, file=sys.stderr, flush=True)

    def close(self) -> None:
        """Take the bar from the terminal."""
        if self.shown:
            self._bar.close()

    def _show(self, steps: int, texts: list[str]) -> None:
        if not self.shown:
            return
        desc, tasks, unit = self._label
        if self._long:
            self._bar.set_description_str(f"{desc}, {unit} {self._finished}/{tasks}", refresh=False)
            self._bar.set_postfix_str(", ".join(texts[:3]), refresh=False)
        self._bar.update(max(0, min(steps, self._bar.total) - self._bar.n))
        self._bar.refresh()


def _read(path: Path) -> tuple[int, str]:
    """Steps and text that a task wrote down; nothing where it is just being written."""
    try:
        steps, _, text = path.read_text(encoding="utf-8").partition(" ")
        return int(steps), text
    except (OSError, ValueError):
        return 0, ""


def track(
    items: Iterable[Item], *, total: int | None = None, desc: str, unit: str
) -> Iterator[Item]:
    """Yield `items` behind a progress bar on stderr; silent where stderr is not a terminal."""
    if not sys.stderr.isatty():
        yield from items
        return
    from tqdm import tqdm

    yield from tqdm(items, total=total, desc=desc, unit=unit, leave=False)


def print_summary(stage: str, text: str, started: float) -> None:
    """Print the stage's summary line, e.g. `annotate: 84 clips, 420 frames, 2.1 s`.

    Times that were taken with `timed` follow in brackets, summed over workers.

    Args:
        stage: name of the stage.
        text: its numbers.
        started: `time.monotonic()` at the start.
    """
    times = ", ".join(f"{phase} {seconds:.0f} s" for phase, seconds in _spent.items())
    _spent.clear()
    brackets = f" ({times})" if times else ""
    print(f"{stage}: {text}, {time.monotonic() - started:.1f} s{brackets}", flush=True)


def counted(count: int, noun: str) -> str:
    """A count with its noun: `1 fold`, `3 folds`."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def listed(names: Sequence[str]) -> str:
    """The first `SHOWN` names, and how many more there are."""
    more = f", and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more


def figure(value: object) -> str:
    """A figure with three decimals, `n/a` where it could not be had."""
    return "n/a" if value is None else f"{value:.3f}"
