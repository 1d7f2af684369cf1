"""Where per-clip work runs: local processes, or a Dask cluster named by `AVEMO_SCHEDULER`.

Work is written once against `concurrent.futures.Executor`. Worker counts come from the
environment (`AVEMO_WORKERS`) and never from `params.yaml`: they must not change a result. With 0
all is done in this process, where a debugger sees it and no other need be started. Where
networks run on accelerators there is one worker for each, which finds its name in `AVEMO_DEVICE`.
"""

import multiprocessing
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from multiprocessing.connection import wait
from multiprocessing.queues import SimpleQueue
from typing import Any, TypeVar

from pipeline.errors import ParamsError
from pipeline.work.cluster import SCHEDULER, open_cluster

T = TypeVar("T")

OpenExecutor = Callable[[int], AbstractContextManager[Executor]]
"""Gives an executor of so many workers, e.g. `ThreadPoolExecutor`."""

_injected: ContextVar[OpenExecutor | None] = ContextVar("executors", default=None)

DEVICE = "AVEMO_DEVICE"
"""Variable that names the device of networks; `models.device` reads it."""

_SINGLE_THREADED = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def worker_count() -> int:
    """Local worker processes: `AVEMO_WORKERS`, else one per usable core; 0: this one works.

    Raises:
        ParamsError: `AVEMO_WORKERS` is not a whole number.
    """
    value = os.environ.get("AVEMO_WORKERS", "")
    if not value:
        return (
            len(os.sched_getaffinity(0))
            if hasattr(os, "sched_getaffinity")
            else os.cpu_count() or 1
        )
    if not value.isdigit():
        raise ParamsError(f"AVEMO_WORKERS: got {value!r}, expected a whole number")
    return int(value)


@contextmanager
def executors_from(opener: OpenExecutor) -> Iterator[None]:
    """Let the work within the block run in executors of one's own."""
    token = _injected.set(opener)
    try:
        yield
    finally:
        _injected.reset(token)


@contextmanager
def open_executor(workers: int | None = None, devices: Sequence[str] = ()) -> Iterator[Executor]:
    """An executor for per-clip work, closed on exit; pending work is cancelled on an error.

    Args:
        workers: local processes; None takes `worker_count()`.
        devices: values of `AVEMO_DEVICE`, one for each local process; none leaves it as it is.

    Raises:
        ParamsError: `AVEMO_SCHEDULER` is set, and no cluster is to be had there.
    """
    opener, count = _injected.get(), worker_count() if workers is None else workers
    if opener is not None:
        with opener(max(1, count)) as executor:
            yield executor
        return
    scheduler = os.environ.get(SCHEDULER)
    if scheduler:  # its workers have cards of their own; those named here say of which kind
        kind = devices[0].partition(":")[0] if devices else "cpu"
        with open_cluster(scheduler, {DEVICE: kind}) as executor:
            yield executor
        return
    with local_executor(count, devices) as executor:
        yield executor


@contextmanager
def local_executor(workers: int, devices: Sequence[str] = ()) -> Iterator[Executor]:
    """The same of processes of this machine, whatever the environment says.

    Args:
        workers: processes; 0: this one.
        devices: see `open_executor`.
    """
    if workers == 0:
        yield _ThisProcess()
        return
    # spawn: a forked child would inherit locked thread pools of torch and OpenCV
    context = multiprocessing.get_context("spawn")
    with _single_threaded_children():
        names = context.SimpleQueue()
        for name in devices:
            names.put(name)
        pool = ProcessPoolExecutor(workers, context, _begin_worker, (names,) if devices else ())
        try:
            yield pool
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


class _ThisProcess(Executor):
    """Does what it is given before it returns."""

    def submit(self, work: Callable[..., T], /, *args: Any, **named: Any) -> "Future[T]":
        """The future of work that has been done."""
        future: Future[T] = Future()
        try:
            future.set_result(work(*args, **named))
        except Exception as error:
            future.set_exception(error)
        return future


def _begin_worker(devices: "SimpleQueue[str] | None" = None) -> None:
    """Bind a worker process to its parent, and to the next of the devices."""
    _end_with_parent()
    if devices is not None:
        os.environ[DEVICE] = devices.get()


def _end_with_parent() -> None:
    """Let this worker end when the process that started it does, however that ends.

    A killed parent closes no pool; its workers would go on with what nobody waits for.
    """
    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch(sentinel: int) -> None:
        wait([sentinel])
        os._exit(1)

    threading.Thread(target=watch, args=(parent.sentinel,), daemon=True).start()


@contextmanager
def _single_threaded_children() -> Iterator[None]:
    before = {name: os.environ.get(name) for name in _SINGLE_THREADED}
    os.environ.update(dict.fromkeys(_SINGLE_THREADED, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
